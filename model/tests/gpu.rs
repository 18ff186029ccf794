//! Models on a Vulkan device: their logits beside the CPU's, losslessness to the token, and what is
//! said where a device is full, lost, or cannot have a model.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod common;

use common::{adapted, options, rows, tied, window};
use s3d_data::{Bytes, Drafting, Dtype};
use s3d_gpu::{Gpu, Options, adapters};
use s3d_model::config::S3dConfig;
use s3d_model::device::Device;
use s3d_model::{
    Generation, Limits, LoadOptions, Model, ModelConfig, Order, Sampling, Silent, TokenizerFrom,
    argmax_rows, decode_together, trace_text,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

const DTYPES: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::Q8_0, Dtype::Q4_0];

/// One device for all tests: its pipelines are made once. None without an adapter.
fn gpu() -> Option<Device> {
    static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    let open = || {
        if adapters().is_empty() {
            eprintln!("skipped: no Vulkan adapter here (Debian: mesa-vulkan-drivers)");
            return None;
        }
        Some(Arc::new(Gpu::open(0).unwrap()))
    };
    GPU.get_or_init(open).clone().map(Device::Gpu)
}

fn on(device: &Device, dtype: Dtype) -> LoadOptions {
    LoadOptions { device: device.clone(), dtype, ..options(1, 1) }
}

/// Grouped heads, adapters, a draft vocabulary, sizes that are no whole blocks of codes.
fn small() -> ModelConfig {
    let config = adapted(tied());
    let s3d = config.s3d.clone().unwrap();
    ModelConfig {
        num_key_value_heads: Some(1),
        vocab_size: 60,
        intermediate_size: 72,
        s3d: Some(S3dConfig { draft_vocabulary: Some(33), ..s3d }),
        ..config
    }
}

fn decode(model: &Model, prompt: &[u32], plan: &str, tokens: usize) -> Vec<u32> {
    let plan = plan.parse().unwrap();
    Generation::new(model, prompt, &plan, Limits::tokens(tokens), &mut Silent)
        .unwrap()
        .finish()
        .unwrap()
}

/// source: the CPU's kernels, which are compared with transformers in `architectures.rs`
#[test]
fn logits_of_every_architecture_are_near_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("expected.json").exists() {
            continue;
        }
        let logits = |options: LoadOptions| {
            let options = LoadOptions { tokenizer: TokenizerFrom::Nowhere, ..options };
            let model = Model::load(&path, &options).unwrap();
            let length = model.positions().min(40) as u32;
            let tokens: Vec<u32> = (0..length).map(|i| (i * 7 + 3) % 30).collect();
            let mut cache = model.new_cache(tokens.len()).unwrap();
            rows(&model.full_pass(&tokens, &mut cache, &mut Silent).unwrap()).concat()
        };
        let (found, right) = (logits(on(&gpu, Dtype::F32)), logits(options(1, 1)));
        assert_eq!(found.len(), right.len());
        let most = right.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let gap = found.iter().zip(&right).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(gap <= 1e-3 * most, "{}: {gap} of {most}", path.display());
        seen += 1;
    }
    assert!(seen >= 7, "{seen} checkpoints");
}

#[test]
fn a_row_has_the_same_bits_in_a_pass_of_any_width() {
    let Some(gpu) = gpu() else { return };
    for dtype in DTYPES {
        let model = Model::random(&small(), 3, &on(&gpu, dtype)).unwrap();
        let tokens: Vec<u32> = (0..17).map(|i| i * 11 % 60).collect();
        let passes = |width: usize| {
            let mut cache = model.new_cache(20).unwrap();
            let passes = tokens.chunks(width);
            let passes = passes
                .map(|tokens| rows(&model.full_pass(tokens, &mut cache, &mut Silent).unwrap()));
            passes.flatten().flatten().map(f32::to_bits).collect::<Vec<u32>>()
        };
        let alone = passes(1);
        for width in [2, 3, 5, 8, 9, 17] {
            assert!(passes(width) == alone, "{dtype}, width {width}");
        }
        assert_eq!(model.tie_width(), 0.0);
    }
}

/// source: each row's largest, looked for on the host
#[test]
fn the_arg_max_of_the_device_is_that_of_its_logits() {
    let Some(gpu) = gpu() else { return };
    let model = Model::random(&small(), 4, &on(&gpu, Dtype::F32)).unwrap();
    let mut cache = model.new_cache(20).unwrap();
    let logits = model.full_pass(&[1, 2, 3, 4], &mut cache, &mut Silent).unwrap();
    let first_of_largest = |row: &Vec<f32>| {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().position(|&x| x == most).unwrap() as u32
    };
    let right: Vec<u32> = rows(&logits).iter().map(first_of_largest).collect();
    assert_eq!(argmax_rows(&logits).unwrap(), right);
}

/// source: plain decoding. 20 prompts, 64 tokens, 8 plans, 4 number types.
#[test]
fn speculation_changes_no_token() {
    let Some(gpu) = gpu() else { return };
    let plans = [
        "1..2:4",
        "0..1:2",
        "1..3:8",
        "0..2:1",
        "2..3:3",
        "seq:1..2:2",
        "seq:0..2:1",
        "seq:1..3:3",
    ];
    let config = ModelConfig { num_hidden_layers: 3, ..small() };
    let mut different = std::collections::HashSet::new();
    for dtype in DTYPES {
        let model = Model::random(&config, 5, &on(&gpu, dtype)).unwrap();
        for number in 0..20 {
            let prompt: Vec<u32> =
                (0..5 + number % 7).map(|i| (number * 13 + i * 17) % 60).collect();
            let plain = decode(&model, &prompt, "plain", 64);
            assert_eq!(plain.len(), 64);
            for plan in plans {
                assert_eq!(decode(&model, &prompt, plan, 64), plain, "{dtype}, {plan}, {prompt:?}");
            }
            different.insert(plain);
        }
    }
    assert!(different.len() > 20, "{} texts: the comparison must not be trivial", different.len());
}

/// source: the CPU. No token of these texts lies so near a border that rounding decides.
#[test]
fn drawn_texts_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let sampling = Sampling::new(0.9, 7).unwrap();
    for plan in ["plain", "1..4:4", "seq:2..4:2"] {
        let text = |options: &LoadOptions| {
            let model = Model::random(&small(), 5, options).unwrap();
            let (plan, limits) = (plan.parse().unwrap(), Limits::tokens(24));
            let mut watch = Silent;
            let text = Generation::new(&model, &[3, 1, 4], &plan, limits, &mut watch);
            text.unwrap().sampling(sampling).finish().unwrap()
        };
        assert_eq!(text(&on(&gpu, Dtype::F32)), text(&options(1, 1)), "{plan}");
    }
}

/// source: the CPU's kernels; with weights in f32 no draft of this text is so near a tie that
/// rounding decides
#[test]
fn traces_of_a_text_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let skips = [window(1, 4), window(2, 3)];
    for drafting in [Drafting::Simultaneous, Drafting::Sequential] {
        let traces = |options: &LoadOptions| {
            let model = Model::random(&small(), 6, options).unwrap();
            let text = decode(&model, &[1, 2, 3], "plain", 40);
            let traces = trace_text(&model, &[1, 2, 3], &text, drafting, &skips, 4, false);
            (traces.unwrap(), text)
        };
        assert_eq!(traces(&on(&gpu, Dtype::F32)), traces(&options(1, 1)), "{drafting:?}");
    }
}

/// source: the CPU, whose prompt pass is one piece
#[test]
fn a_prompt_longer_than_a_pass_is_read_in_pieces() {
    let Some(gpu) = gpu() else { return };
    let config = ModelConfig { max_position_embeddings: 700, ..small() };
    let prompt: Vec<u32> = (0..600).map(|i| i * 7 % 60).collect();
    let logits = |options: &LoadOptions| {
        let model = Model::random(&config, 6, options).unwrap();
        let mut cache = model.new_cache(prompt.len()).unwrap();
        let logits = model.prompt_pass(&prompt, &mut cache, &mut Silent).unwrap();
        assert_eq!(cache.len(), prompt.len());
        rows(&logits).concat()
    };
    let (found, right) = (logits(&on(&gpu, Dtype::F32)), logits(&options(1, 1)));
    let most = right.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert_eq!(found.len(), right.len());
    assert!(found.iter().zip(&right).all(|(a, b)| (a - b).abs() <= 1e-3 * most));
}

#[test]
fn a_number_type_that_it_has_not_is_refused_by_name() {
    let Some(gpu) = gpu() else { return };
    let error = Model::random(&small(), 1, &on(&gpu, Dtype::Q4K)).unwrap_err().to_string();
    assert_eq!(error, "a Vulkan device runs f32, bf16, f16, q8_0, q4_0; found q4_k");
}

/// source: each text decoded alone on the device, greedy and drawn
#[test]
fn every_text_of_a_batch_is_what_it_is_alone() {
    let Some(gpu) = gpu() else { return };
    let mut different = std::collections::HashSet::new();
    for dtype in DTYPES {
        let model = Model::random(&small(), 7, &on(&gpu, dtype)).unwrap();
        for temperature in [0.0, 0.8] {
            let order = |i: u32| Order {
                prompt: (0..=i * 5 % 23).map(|j| (i * 7 + j * 3) % 60).collect(),
                tokens: 3 + (i as usize * 11) % 17,
                sampling: Sampling::new(temperature, u64::from(i)).unwrap(),
            };
            for plan in ["plain", "1..2:4", "seq:0..1:2"].map(|plan| plan.parse().unwrap()) {
                let alone = |i| {
                    let Order { prompt, tokens, sampling } = order(i);
                    Generation::new(&model, &prompt, &plan, Limits::tokens(tokens), &mut Silent)
                        .unwrap()
                        .sampling(sampling)
                        .finish()
                        .unwrap()
                };
                let mut found = vec![Vec::new(); 9];
                let mut done = |number: usize, output| {
                    found[number] = output;
                    Ok(ControlFlow::Continue(()))
                };
                let orders = (0..9).map(|i| Ok(order(i)));
                decode_together(&model, &plan, orders, 4, &mut done).unwrap();
                let right: Vec<Vec<u32>> = (0..9).map(alone).collect();
                assert_eq!(found, right, "{dtype}, {plan}, temperature {temperature}");
                different.extend(right);
            }
        }
    }
    assert!(different.len() > 20, "the comparison must not be trivial");
}

#[test]
fn a_device_that_is_full_says_what_was_asked_for_and_held() {
    if gpu().is_none() {
        return;
    }
    let least = Options { most: Some(Bytes(100_000)), ..Options::default() };
    let device = Device::Gpu(Arc::new(Gpu::open_with(0, least).unwrap()));
    let error = Model::random(&small(), 1, &on(&device, Dtype::F32)).unwrap_err().to_string();
    assert!(error.contains("more do not fit: ") && error.contains("of 97.7 KiB; take"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_device_that_is_lost_ends_a_text_with_an_error() {
    if gpu().is_none() {
        return;
    }
    let gpu = Arc::new(Gpu::open(0).unwrap());
    let model = Model::random(&small(), 1, &on(&Device::Gpu(gpu.clone()), Dtype::F32)).unwrap();
    let plan = "1..3:2".parse().unwrap();
    let mut watch = Silent;
    let mut text = Generation::new(&model, &[1, 2], &plan, Limits::tokens(20), &mut watch).unwrap();
    text.next().unwrap().unwrap();
    gpu.give_back();
    let error = text.next().unwrap().unwrap_err().to_string();
    assert!(error.starts_with("the device was lost ("), "{error}");
    assert_eq!(error.lines().count(), 1);
}
