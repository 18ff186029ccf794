//! Whether a device computes what the CPU computes: products in every number type, and a small
//! model.

use crate::backend::convert::Rows;
use crate::backend::linear::Linear;
use crate::backend::logits::Logits;
use crate::backend::{Backend, Home};
use crate::config::ModelConfig;
use crate::decode::observer::Silent;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::options::LoadOptions;
use crate::weights::encoded::{Matrix, decode_row, encode_row};
use crate::weights::source::{Seeded, WeightSource};
use candle_core::{DType, Device as Tensors, Tensor};
use s3d_data::{Drafting, Dtype, Skip, SkipWindow};

/// One comparison with the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What was computed.
    pub what: String,
    /// Size of the difference, as a share of the size of the result (Euclidean).
    pub gap: f64,
    /// The most that rounding explains.
    pub bound: f64,
}

impl Check {
    /// Whether rounding explains the difference.
    pub fn passed(&self) -> bool {
        self.gap <= self.bound
    }

    fn new(what: String, found: &Tensor, expected: &Tensor, bound: f64) -> Result<Self> {
        let host = |x: &Tensor| -> Result<Vec<f32>> {
            let x = x.to_dtype(DType::F32)?.to_device(&Tensors::Cpu)?;
            Ok(x.flatten_all()?.to_vec1()?)
        };
        Ok(Self::of(what, &host(found)?, &host(expected)?, bound))
    }

    fn of(what: String, found: &[f32], expected: &[f32], bound: f64) -> Self {
        let size =
            |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let gap = size(&mut found.iter().zip(expected).map(|(x, y)| x - y))
            / size(&mut expected.iter().copied());
        // A result that is no number passes no bound.
        Self { what, gap: if gap.is_finite() { gap } else { f64::INFINITY }, bound }
    }
}

/// All comparisons: products of halves and floats, of codes over 1, 8 and 64 rows (three kernels on
/// a card), and passes of a small model, a rejected draft among them: in the text's own shapes, and
/// in recorded ones.
///
/// # Errors
/// When the device refuses an operation.
pub fn checks(device: &Device) -> Result<Vec<Check>> {
    let mut all = Vec::new();
    for (number, bound) in [(DType::F32, 1e-5), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        all.push(product(device, number, bound)?);
    }
    for dtype in [Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4K] {
        for rows in [1, 8, 64] {
            all.push(coded_product(device, dtype, rows)?);
        }
    }
    for repeated in [false, true] {
        for dtype in Dtype::ENGINE {
            all.push(small_model(device, dtype, repeated)?);
        }
    }
    Ok(all)
}

/// The comparisons on a Vulkan device: passes of the small model, in every number type that it has.
///
/// # Errors
/// When the device refuses an operation.
#[cfg(feature = "gpu")]
pub fn checks_on_gpu(gpu: &super::Gpu) -> Result<Vec<Check>> {
    let device = Device::Gpu(gpu.clone());
    s3d_gpu::Matrix::DTYPES.map(|dtype| small_model(&device, dtype, false)).into_iter().collect()
}

const WIDE: usize = 1024;

fn drawn(seed: u64, shape: [usize; 2]) -> Result<Tensor> {
    let numbers = Seeded::new(seed).tensor("check", &shape)?;
    Ok(Tensor::from_vec(numbers, (shape[0], shape[1]), &Tensors::Cpu)?)
}

fn product(device: &Device, number: DType, bound: f64) -> Result<Check> {
    let rounded = |seed| -> Result<Tensor> { Ok(drawn(seed, [WIDE, WIDE])?.to_dtype(number)?) };
    let (x, w, place) = (rounded(1)?, rounded(2)?, device.tensors());
    let there = x.to_device(place)?.matmul(&w.to_device(place)?.t()?)?;
    let here = x.to_dtype(DType::F32)?.matmul(&w.to_dtype(DType::F32)?.t()?)?;
    Check::new(format!("{WIDE} x {WIDE} product in {number:?}"), &there, &here, bound)
}

fn coded_product(device: &Device, dtype: Dtype, rows: usize) -> Result<Check> {
    let (x, w) = (drawn(3, [rows, WIDE])?, Seeded::new(4).tensor("check", &[WIDE, WIDE])?);
    let mut meant = w.clone();
    let mut raw = vec![0; s3d_kernels::row_bytes(dtype, WIDE)];
    for row in meant.chunks_exact_mut(WIDE) {
        encode_row(dtype, row, &mut raw);
        decode_row(dtype, &raw, row);
    }
    let layer = Linear::new(&[&Matrix::F32(w)], WIDE, dtype, Home::Rows(device.tensors()))?;
    let up = Rows::Tensor(x.to_dtype(DType::F16)?.to_device(device.tensors())?);
    let there = layer.forward(&Backend::candle(DType::F16, device), &up)?;
    let here = x.matmul(&Tensor::from_vec(meant, (WIDE, WIDE), &Tensors::Cpu)?.t()?)?;
    // Activations in codes of 8 bits: a step of the largest of 32 over 127, uniformly rounded: 0.4
    // %.
    Check::new(format!("product of {rows} rows with {dtype}"), there.tensor()?, &here, 1e-2)
}

/// A prompt, drafts and a verify pass that are rejected, and a wide pass after them. A pass of
/// every shape comes twice, with other tokens, so that a recorded one is seen repeated.
fn small_model(device: &Device, dtype: Dtype, repeated: bool) -> Result<Check> {
    let config = ModelConfig {
        hidden_size: 256,
        intermediate_size: 512,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(64),
        vocab_size: 512,
        ..ModelConfig::story()
    };
    let logits = |device: &Device, repeated: bool| -> Result<Logits> {
        let composed = repeated;
        let device = device.clone();
        let options = LoadOptions { device, dtype, composed, repeated, ..LoadOptions::default() };
        let model = Model::random(&config, 5, &options)?;
        let mut cache = model.new_cache(300)?;
        let prompt: Vec<u32> = (0..280).map(|i| i * 7 % 512).collect();
        model.prompt_pass(&prompt, &mut cache, &mut Silent)?;
        let skip = Skip::from(SkipWindow::new(1, 3)?);
        model.full_pass(&[1, 2, 3, 4, 5], &mut cache, &mut Silent)?;
        for token in [10, 9] {
            cache.truncate(prompt.len());
            model.draft_pass(Drafting::Simultaneous, token, 3, &skip, &mut cache, &mut Silent)?;
        }
        cache.truncate(prompt.len());
        model.full_pass(&[9, 8, 7, 6, 5], &mut cache, &mut Silent)
    };
    let bound = match dtype {
        Dtype::F32 => 1e-4,
        Dtype::F16 => 1e-2,
        Dtype::Bf16 => 8e-2,
        _ => 4e-2,
    };
    let all = |logits: Logits| Ok::<_, Error>(logits.to_rows()?.concat());
    let (there, here) = (all(logits(device, repeated)?)?, all(logits(&Device::Cpu, false)?)?);
    let how = if repeated { "recorded passes" } else { "passes" };
    Ok(Check::of(format!("{how} of a small model in {dtype}"), &there, &here, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes_what_it_computes() {
        for check in checks(&Device::Cpu).unwrap() {
            assert!(check.passed(), "{check:?}");
        }
    }

    #[test]
    fn a_wrong_result_and_one_that_is_no_number_are_found() {
        let x = Tensor::new(&[1.0f32, 2.0], &Tensors::Cpu).unwrap();
        let check = |found: &[f32]| {
            let found = Tensor::new(found, &Tensors::Cpu).unwrap();
            Check::new("test".into(), &found, &x, 1e-3).unwrap()
        };
        assert!(check(&[1.0, 2.0]).passed());
        assert!(!check(&[1.0, 2.1]).passed() && !check(&[f32::NAN, 2.0]).passed());
    }
}
