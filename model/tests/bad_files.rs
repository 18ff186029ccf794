//! Hugging Face folders that are damaged or do not fit together: each is refused in one line that says
//! where and what.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::options;
use s3d_model::Model;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A copy of a fixture.
fn copy(name: &str, to: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name);
    let folder = to.join(name);
    std::fs::create_dir(&folder).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    folder
}

fn refusal(folder: &Path) -> String {
    let error = Model::load(folder, &options(1, 1)).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// Changes `config.json`, expects a refusal with `word`, and changes it back.
fn with_config(folder: &Path, change: impl Fn(&mut Value), word: &str) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
    let error = refusal(folder);
    assert!(error.contains(word), "{error}");
    std::fs::write(&path, text).unwrap();
}

#[test]
fn shards_that_are_cut_or_missing_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("llama2", dir.path());
    let shard = folder.join("model-00002-of-00003.safetensors");
    let whole = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &whole[..whole.len() - 10]).unwrap();
    let error = refusal(&folder);
    assert!(error.contains("00002-of-00003") && error.contains("incomplete"), "{error}");
    std::fs::remove_file(&shard).unwrap();
    let error = refusal(&folder);
    assert!(error.contains("00002-of-00003") && error.contains("cannot open"), "{error}");
    // Header lengths that lie.
    for length in [u64::MAX, 1 << 40, whole.len() as u64 - 8] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        std::fs::write(&shard, bytes).unwrap();
        assert!(refusal(&folder).contains("00002-of-00003"));
    }
}

#[test]
fn configurations_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("llama3-older", dir.path());
    with_config(
        &folder,
        |c| c["num_attention_heads"] = json!(3),
        "multiple of num_key_value_heads",
    );
    with_config(&folder, |c| c["num_key_value_heads"] = json!(0), "num_key_value_heads");
    with_config(
        &folder,
        |c| {
            c["num_attention_heads"] = json!(6);
            c["head_dim"] = Value::Null;
        },
        "hidden_size = 32 must be a multiple",
    );
    with_config(&folder, |c| c["architectures"] = json!(["FalconForCausalLM"]), "Qwen3ForCausalLM");
    with_config(&folder, |c| c["rope_scaling"] = json!({"type": "ntk"}), "llama3, yarn");
    with_config(&folder, |c| c["hidden_size"] = json!(1u64 << 40), "hidden_size");
    with_config(&folder, |c| c["hidden_size"] = json!("wide"), "config.json");
    with_config(&folder, |c| c["num_hidden_layers"] = json!(4), "no tensor 'model.layers.3.");
    with_config(&folder, |c| c["num_hidden_layers"] = json!(2), "does not call for");
    with_config(&folder, |c| c["vocab_size"] = json!(1 << 24), "[16777216, 32]");
    with_config(&folder, |c| c["max_position_embeddings"] = json!(-1), "config.json");
    let biased = copy("llama-linear-bias", dir.path());
    with_config(&biased, |c| c["attention_bias"] = json!(false), "_proj.bias'");
}

/// Writes the weights of `folder` again, with one tensor changed.
fn rewrite(folder: &Path, change: impl Fn(&str, Dtype, Vec<u8>) -> (Dtype, Vec<u8>)) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<_> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let (dtype, data) = change(&name, view.dtype(), view.data().to_vec());
            (name, dtype, view.shape().to_vec(), data)
        })
        .collect();
    let views = changed.iter().map(|(name, dtype, shape, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("qwen3", dir.path());
    let name = "model.layers.2.mlp.down_proj.weight";
    rewrite(&folder, |found, dtype, mut data| {
        if found == name {
            data[20..22].copy_from_slice(&0x7e00u16.to_le_bytes());
        }
        (dtype, data)
    });
    let error = refusal(&folder);
    assert!(error.contains(name) && error.contains("NaN"), "{error}");
    rewrite(
        &folder,
        |found, dtype, data| {
            if found == name { (Dtype::I16, data) } else { (dtype, data) }
        },
    );
    let error = refusal(&folder);
    assert!(error.contains(name) && error.contains("I16"), "{error}");
}

#[test]
fn a_tokenizer_much_larger_than_the_embedding_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("qwen2", dir.path());
    let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat/tokenizer.json");
    let text = std::fs::read_to_string(chat).unwrap();
    std::fs::write(folder.join("tokenizer.json"), &text).unwrap();
    assert!(Model::load(&folder, &options(1, 1)).unwrap().tokenizer().is_some());
    let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    for extra in 0..257 {
        let mut token = added[0].clone();
        token["id"] = json!(288 + extra);
        token["content"] = json!(format!("<extra {extra}>"));
        added.push(token);
    }
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let error = refusal(&folder);
    assert!(error.contains("tokenizer.json") && error.contains("288"), "{error}");
    std::fs::write(folder.join("tokenizer.json"), "{").unwrap();
    assert!(refusal(&folder).contains("not a tokenizer"));
}

#[test]
fn an_index_that_lies_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("llama2", dir.path());
    let index = folder.join("model.safetensors.index.json");
    for (text, word) in [
        ("{", "index.json"),
        (r#"{"weight_map": {"x": "/etc/hostname"}}"#, "plain file name"),
        (r#"{"weight_map": {}}"#, "no tensor"),
    ] {
        std::fs::write(&index, text).unwrap();
        let error = refusal(&folder);
        assert!(error.contains(word), "{error}");
    }
}
