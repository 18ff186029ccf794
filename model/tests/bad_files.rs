//! Hugging Face folders that are damaged or do not fit together: each is refused in one line that
//! says where and what.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::options;
use s3d_model::{Generation, Limits, LoadOptions, Model, Silent};
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

/// Writes a tensor of zeros into `folder`, beside those that are there.
fn add(folder: &Path, name: &str, shape: &[usize]) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let zeros = vec![0; 2 * shape.iter().product::<usize>()];
    let mut views = tensors.tensors();
    views.push((name.into(), TensorView::new(Dtype::F16, shape.to_vec(), &zeros).unwrap()));
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(&path, file).unwrap();
}

#[test]
fn tensors_that_nothing_reads_are_named_wherever_they_belong() {
    for name in ["lm_head.bias", "model.embed_tokens_norm.weight", "v_head.summary.weight"] {
        let dir = tempfile::tempdir().unwrap();
        let folder = copy("qwen3", dir.path());
        add(&folder, name, &[288]);
        let error = refusal(&folder);
        assert!(error.contains(name) && error.contains("does not call for"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("qwen3", dir.path());
    add(&folder, "model.layers.0.self_attn.rotary_emb.inv_freq", &[8]);
    assert!(Model::load(&folder, &options(1, 1)).is_ok());
}

/// Rewrites `name` in f32, its first number replaced.
fn with_number(folder: &Path, name: &str, number: f32) {
    rewrite(folder, |found, dtype, data| {
        if found != name {
            return (dtype, data);
        }
        let halves = data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32());
        let mut numbers: Vec<f32> = halves.collect();
        numbers[0] = number;
        (Dtype::F32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    });
}

#[test]
fn weights_that_a_number_type_cannot_hold_are_named_with_one_that_can() {
    let names =
        ["model.layers.1.mlp.down_proj.weight", "lm_head.weight", "model.embed_tokens.weight"];
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        let folder = copy("qwen3", dir.path());
        // source: the largest half is 65504; from 65520 on, numbers round to infinity
        with_number(&folder, name, 65_519.0);
        let load = |dtype| Model::load(&folder, &LoadOptions { dtype, ..options(1, 1) });
        assert!(load(s3d_data::Dtype::F16).is_ok());
        with_number_again(&folder, name, 70_000.0);
        let error = load(s3d_data::Dtype::F16).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("70000") && error.contains("bf16"),
            "{error}"
        );
        assert!(load(s3d_data::Dtype::Bf16).is_ok() && load(s3d_data::Dtype::F32).is_ok());
    }
}

/// Replaces the first number of `name`, which is in f32.
fn with_number_again(folder: &Path, name: &str, number: f32) {
    rewrite(folder, |found, dtype, mut data| {
        if found == name {
            data[..4].copy_from_slice(&number.to_le_bytes());
        }
        (dtype, data)
    });
}

#[test]
fn logits_that_are_no_numbers_end_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("qwen3", dir.path());
    // A number of some 1e38 times another is infinite, and the norm after it is no number.
    with_number(&folder, "model.layers.2.mlp.up_proj.weight", 3e38);
    with_number(&folder, "model.layers.2.mlp.down_proj.weight", 3e38);
    let model = Model::load(&folder, &options(1, 1)).unwrap();
    let (plan, mut silent) = ("plain".parse().unwrap(), Silent);
    let limits = Limits::tokens(5);
    let text = Generation::new(&model, &[5, 9], &plan, limits, &mut silent).unwrap().finish();
    let error = text.unwrap_err().to_string();
    assert!(error.contains("not finite") && error.contains("--dtype"), "{error}");
}

#[test]
fn folders_that_hold_something_else_are_named_for_what_they_are() {
    let cases: [(&[&str], &str); 6] = [
        (&["adapter_config.json", "adapter_model.safetensors"], "merge"),
        (&["config.json", "pytorch_model.bin"], "save_pretrained"),
        (&["config.json", "pytorch_model-00001-of-00002.bin"], "PyTorch"),
        (&["params.json", "consolidated.safetensors"], "consolidated"),
        (&["config.json", "model.Q4_K_M.gguf"], "model.Q4_K_M.gguf"),
        (&["config.json", "model-00001-of-00002.safetensors"], "index"),
    ];
    for (files, word) in cases {
        let dir = tempfile::tempdir().unwrap();
        let whole = copy("qwen3", dir.path());
        let folder = dir.path().join("other");
        std::fs::create_dir(&folder).unwrap();
        for file in files {
            match *file {
                "config.json" => std::fs::copy(whole.join(file), folder.join(file)).map(drop),
                file => std::fs::write(folder.join(file), "?"),
            }
            .unwrap();
        }
        let error = refusal(&folder);
        assert!(error.contains(word), "{files:?}: {error}");
    }
}

#[test]
fn pointers_pipes_and_devices_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for (name, copied) in [("config.json", "qwen3"), ("model.safetensors", "qwen2")] {
        let folder = copy(copied, dir.path());
        let path = folder.join(name);
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
            .unwrap();
        let error = refusal(&folder);
        assert!(error.contains(name) && error.contains("git lfs pull"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        if made.is_ok_and(|status| status.success()) {
            let error = refusal(&folder);
            assert!(error.contains(name) && error.contains("regular file"), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            let error = refusal(&folder);
            assert!(error.contains(name) && error.contains("regular file"), "{error}");
        }
    }
}

#[test]
fn a_tensor_in_two_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("llama2", dir.path());
    let from = folder.join("model-00002-of-00003.safetensors");
    std::fs::copy(&from, folder.join("model-00004-of-00003.safetensors")).unwrap();
    let index = folder.join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let mut parsed: Value = serde_json::from_str(&text).unwrap();
    parsed["weight_map"]["x"] = json!("model-00004-of-00003.safetensors");
    std::fs::write(&index, parsed.to_string()).unwrap();
    let error = refusal(&folder);
    assert!(error.contains("more than one file"), "{error}");
}

#[test]
fn sizes_that_overflow_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("llama3-older", dir.path());
    with_config(&folder, |c| c["s3d"] = json!({"masks": u64::MAX}), "masks");
    with_config(
        &folder,
        |c| {
            c["hidden_size"] = json!(1 << 20);
            c["head_dim"] = json!(1 << 14);
            c["num_attention_heads"] = json!(1 << 14);
        },
        "the sizes call for",
    );
}

/// Writes a list of tokens for drafts beside the weights of `folder`, and its length into
/// `config.json`.
fn list(folder: &Path, dtype: Dtype, bytes: &[u8], named: usize) {
    let each = if dtype == Dtype::I64 { 8 } else { 4 };
    let view = TensorView::new(dtype, vec![bytes.len() / each], bytes).unwrap();
    let path = folder.join("s3d.safetensors");
    safetensors::serialize_to_file([("s3d.draft_vocabulary", view)], None, &path).unwrap();
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["s3d"] = json!({"masks": 0, "draft_vocabulary": named});
    std::fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn damaged_lists_of_tokens_for_drafts_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = copy("qwen3", dir.path());
    let ids = |ids: &[i64]| ids.iter().flat_map(|id| (*id as u32).to_le_bytes()).collect();
    let refuse = |dtype, bytes: Vec<u8>, named, words: [&str; 2]| {
        list(&folder, dtype, &bytes, named);
        let error = refusal(&folder);
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let file = "s3d.safetensors";
    refuse(Dtype::U32, ids(&[7, 288, 3]), 3, [file, "token 288, expected 0 to 287"]);
    refuse(Dtype::I32, ids(&[7, -1, 3]), 3, [file, "token -1"]);
    refuse(Dtype::U32, ids(&[7, 9, 7]), 3, [file, "token 7 twice"]);
    refuse(Dtype::F32, ids(&[7, 9, 3]), 3, [file, "expected U32 or I32"]);
    refuse(Dtype::I64, vec![0; 24], 3, [file, "expected U32 or I32"]);
    refuse(Dtype::U32, ids(&[7, 9, 3]), 4, [file, "[3]; config.json calls for [4]"]);
    refuse(Dtype::U32, ids(&[]), 0, ["s3d.draft_vocabulary", "2..=288"]);
    refuse(Dtype::U32, ids(&[4]), 1, ["s3d.draft_vocabulary", "2..=288"]);
    refuse(Dtype::U32, ids(&[4; 400]), 400, ["s3d.draft_vocabulary", "found 400"]);
    for dtype in [Dtype::U32, Dtype::I32] {
        list(&folder, dtype, &ids(&[7, 287, 3]), 3);
        let model = Model::load(&folder, &options(1, 1)).unwrap();
        assert_eq!(model.draft_tokens(), Some(&[3, 7, 287][..]));
    }
    // A list that the configuration does not name, and a name without a list.
    with_config(&folder, |c| c["s3d"] = json!({"masks": 0}), "'s3d.draft_vocabulary', which");
    std::fs::remove_file(folder.join(file)).unwrap();
    assert!(refusal(&folder).contains("no tensor 's3d.draft_vocabulary'"));
}
