//! One model by every backend, instruction set, number type and rotation.

mod draft_head;

use super::Model;
use super::options::LoadOptions;
use crate::backend::{Backend, number_on_device};
use crate::config::ModelConfig;
use crate::config::{AdapterConfig, S3dConfig};
use crate::decode::observer::Silent;
use crate::decode::trace_text::trace_text;
use crate::device::Device;
use crate::error::Result;
use crate::weights::encoded::{decode_row, encode_row};
use crate::weights::source::{Seeded, WeightSource};
use candle_core::DType;
use s3d_data::Dtype;
use s3d_data::{Drafting, Skip, SkipWindow};
use s3d_kernels::isa::Isa;

fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 40,
        intermediate_size: 50,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(12),
        vocab_size: 13,
        s3d: Some(S3dConfig { masks: 3, ..S3dConfig::default() }),
        ..ModelConfig::story()
    }
}

fn model(backend: Backend) -> Model {
    Model::build(&Seeded::new(1), &config(), &LoadOptions::default(), backend, "test").unwrap()
}

/// The same with adapters.
fn adapted(backend: Backend) -> Model {
    let adapters = Some(AdapterConfig { rank: 3, alpha: 4.0 });
    let s3d = Some(S3dConfig { masks: 3, adapters, ..S3dConfig::default() });
    let config = ModelConfig { s3d, ..config() };
    Model::build(&Seeded::new(1), &config, &LoadOptions::default(), backend, "test").unwrap()
}

/// Logits of a text in three passes, and of a draft after it.
fn logits(model: &Model) -> Vec<Vec<f32>> {
    let skip = Skip::from(SkipWindow::new(1, 3).unwrap());
    let mut cache = model.new_cache(40).unwrap();
    let mut all = Vec::new();
    for text in [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..], &[12], &[0, 3, 6]] {
        let pass = model.full_pass(text, &mut cache, &mut Silent).unwrap();
        all.extend(pass.to_rows().unwrap());
    }
    let pass =
        model.draft_pass(Drafting::Simultaneous, 5, 3, &skip, &mut cache, &mut Silent).unwrap();
    all.extend(pass.to_rows().unwrap());
    all
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for build in [model, adapted] {
        let portable = logits(&build(Backend::cpu(1, Isa::Portable)));
        for isa in Isa::available() {
            assert_eq!(logits(&build(Backend::cpu(2, isa))), portable, "{isa:?}");
        }
    }
}

/// Weights of a seed, rounded to a number type and given as numbers.
struct Rounded(Dtype);

impl WeightSource for Rounded {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let mut weights = Seeded::new(1).tensor(name, shape)?;
        let tables = name.contains("embed") || name.contains("lm_head");
        let dtype = if tables { self.0.of_tables() } else { self.0 };
        if let (&[_, columns], false) = (shape, name.contains("mask")) {
            let mut raw = vec![0; s3d_kernels::packed::row_bytes(dtype, columns)];
            for row in weights.chunks_exact_mut(columns) {
                encode_row(dtype, row, &mut raw);
                decode_row(dtype, &raw, row);
            }
        }
        Ok(weights)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn content_hash(&self) -> Result<String> {
        Ok(String::new())
    }
}

#[test]
fn logits_in_a_number_type_are_those_of_its_weights() {
    let config =
        ModelConfig { hidden_size: 256, intermediate_size: 256, head_dim: Some(64), ..config() };
    let run = |source: &dyn WeightSource, dtype| {
        let options = LoadOptions { dtype, ..LoadOptions::default() };
        let backend = Backend::cpu(2, Isa::detect());
        logits(&Model::build(source, &config, &options, backend, "test").unwrap()).concat()
    };
    let size = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let gap = |x: &[f32], y: &[f32]| {
        size(&x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<_>>()) / size(y)
    };
    let exact = run(&Rounded(Dtype::F32), Dtype::F32);
    for dtype in Dtype::ENGINE {
        let rounded = run(&Rounded(dtype), Dtype::F32);
        let found = run(&Rounded(Dtype::F32), dtype);
        if dtype.is_quantized() {
            // Activations in 8 bits cost no more than weights in 8 bits or fewer do.
            let (own, weights) = (gap(&found, &rounded), gap(&rounded, &exact));
            assert!(own < 1.5 * weights && own < 0.03, "{dtype}: {own} {weights}");
        } else {
            assert_eq!(found, rounded, "{dtype}");
        }
    }
}

#[test]
fn composed_operations_compute_the_same_function() {
    compare(
        &model(Backend::cpu(1, Isa::detect())),
        &model(Backend::candle(DType::F32, &Device::Cpu)),
    );
    compare(
        &adapted(Backend::cpu(1, Isa::detect())),
        &adapted(Backend::candle(DType::F32, &Device::Cpu)),
    );
}

fn compare(fused: &Model, composed: &Model) {
    for (fused, composed) in logits(fused).iter().flatten().zip(logits(composed).iter().flatten()) {
        assert!((fused - composed).abs() < 1e-4, "{fused} {composed}");
    }
    let skips = [Skip::from(SkipWindow::new(1, 3).unwrap())];
    for drafting in Drafting::ALL {
        let trace = |model| {
            trace_text(model, &[1, 2, 3], &[4, 5, 6, 7, 8, 9], drafting, &skips, 4, false).unwrap()
        };
        assert_eq!(trace(fused), trace(composed));
    }
}

#[test]
fn composed_operations_run_every_number_type() {
    let config =
        ModelConfig { hidden_size: 256, intermediate_size: 256, head_dim: Some(64), ..config() };
    let size = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    for dtype in Dtype::ENGINE {
        let options = LoadOptions { dtype, ..LoadOptions::default() };
        let run = |backend| {
            let source = Seeded::new(1);
            logits(&Model::build(&source, &config, &options, backend, "test").unwrap()).concat()
        };
        let number = number_on_device(dtype);
        let exact = run(Backend::cpu(1, Isa::detect()));
        let found = run(Backend::candle(number, &Device::Cpu));
        // source: some 20 roundings of the number type one after the other; codes of activations
        // differ between the kernels by one in 127 at most
        let bound = match number {
            DType::F32 => 1e-5,
            DType::F16 if dtype.is_quantized() => 2e-2,
            DType::F16 => 5e-3,
            _ => 4e-2,
        };
        let gap: Vec<f32> = found.iter().zip(&exact).map(|(x, y)| x - y).collect();
        let gap = size(&gap) / size(&exact);
        assert!(gap < bound, "{dtype}: {gap}");
    }
}

#[test]
fn on_a_device_texts_may_differ_at_near_ties_alone() {
    let of = |backend| model(backend).tie_width();
    assert_eq!(of(Backend::cpu(1, Isa::detect())), 0.0);
    // source: unit in the last place of 1: 2^-23, 2^-10, 2^-7
    assert_eq!(of(Backend::candle(DType::F32, &Device::Cpu)), 16.0 * 2.0f64.powi(-23));
    assert_eq!(of(Backend::candle(DType::F16, &Device::Cpu)), 16.0 * 2.0f64.powi(-10));
    assert_eq!(of(Backend::candle(DType::BF16, &Device::Cpu)), 16.0 * 2.0f64.powi(-7));
}

#[test]
fn composed_operations_read_long_prompts_in_parts() {
    let tokens: Vec<u32> = (0..600).map(|i| i % 13).collect();
    let last = |backend| {
        let model = model(backend);
        let mut cache = model.new_cache(601).unwrap();
        model.prompt_pass(&tokens, &mut cache, &mut Silent).unwrap();
        let next = model.full_pass(&[7], &mut cache, &mut Silent).unwrap();
        next.to_rows().unwrap().concat()
    };
    let (fused, composed) =
        (last(Backend::cpu(2, Isa::detect())), last(Backend::candle(DType::F32, &Device::Cpu)));
    for (fused, composed) in fused.iter().zip(&composed) {
        assert!((fused - composed).abs() < 1e-4, "{fused} {composed}");
    }
}
