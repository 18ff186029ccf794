//! Logits against candle-transformers' Llama on the same files: a second independent
//! implementation.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use common::{options, rows};
use s3d_model::{Model, Silent};
use std::collections::HashMap;
use std::path::Path;

/// Folders whose config.json is of the older form, which is the one that candle-transformers reads.
const FOLDERS: [&str; 2] = ["llama2", "llama3-older"];
const TOKENS: [u32; 24] = [
    5, 17, 250, 33, 9, 200, 33, 101, 7, 64, 128, 255, 3, 3, 90, 41, 5, 17, 250, 34, 11, 180, 77,
    260,
];

/// The logits after the last of `tokens`, by candle-transformers.
fn theirs(folder: &Path, tokens: &[u32]) -> Vec<f32> {
    let text = std::fs::read(folder.join("config.json")).unwrap();
    let config: LlamaConfig = serde_json::from_slice(&text).unwrap();
    let config = config.into_config(false);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let shards = files.filter(|file| file.extension().is_some_and(|end| end == "safetensors"));
    let tensors: HashMap<String, Tensor> = shards
        .flat_map(|file| candle_core::safetensors::load(file, &Device::Cpu).unwrap())
        .collect();
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let llama = Llama::load(weights, &config).unwrap();
    let mut cache = Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
    let tokens = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let logits = llama.forward(&tokens, 0, &mut cache).unwrap();
    logits.squeeze(0).unwrap().to_vec1().unwrap()
}

#[test]
fn logits_are_those_of_candle_transformers() {
    for name in FOLDERS {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name);
        let model = Model::load(&folder, &options(1, 2)).unwrap();
        let mut cache = model.new_cache(TOKENS.len()).unwrap();
        let ours = rows(&model.full_pass(&TOKENS, &mut cache, &mut Silent).unwrap());
        // At 1 there is nothing to attend to, at 24 rotary positions have turned.
        for length in [1, 2, 9, 24] {
            let theirs = theirs(&folder, &TOKENS[..length]);
            let largest = theirs.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            assert!(largest > 1.0, "{name}: logits must differ from nothing");
            for (ours, theirs) in ours[length - 1].iter().zip(&theirs) {
                let gap = (ours - theirs).abs() / largest;
                assert!(gap < 1e-4, "{name} after {length} tokens: {ours} {theirs}");
            }
        }
    }
}
