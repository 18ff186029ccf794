//! Checkpoints on disk: what fits is loaded, what does not is named.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{grouped, options, random, rows};
use s3d_model::weights::{Seeded, WeightSource};
use s3d_model::{Finish, Generation, Limits, LoadOptions, Model, ModelConfig, Result, Silent};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

/// Names and shapes of a checkpoint.
fn tensors(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, neurons) = (config.hidden_size, config.intermediate_size);
    let (q, kv) =
        (config.num_attention_heads * config.head_dim(), config.kv_heads() * config.head_dim());
    let mut all = vec![
        ("model.embed_tokens.weight".to_string(), vec![config.vocab_size, hidden]),
        ("model.norm.weight".to_string(), vec![hidden]),
        ("lm_head.weight".to_string(), vec![config.vocab_size, hidden]),
        ("s3d.mask_embeddings.weight".to_string(), vec![config.masks(), hidden]),
    ];
    for layer in 0..config.num_hidden_layers {
        let parts: [(&str, &[usize]); 9] = [
            ("self_attn.q_proj", &[q, hidden]),
            ("self_attn.k_proj", &[kv, hidden]),
            ("self_attn.v_proj", &[kv, hidden]),
            ("self_attn.o_proj", &[hidden, q]),
            ("mlp.gate_proj", &[neurons, hidden]),
            ("mlp.up_proj", &[neurons, hidden]),
            ("mlp.down_proj", &[hidden, neurons]),
            ("input_layernorm", &[hidden]),
            ("post_attention_layernorm", &[hidden]),
        ];
        for (part, shape) in parts {
            all.push((format!("model.layers.{layer}.{part}.weight"), shape.to_vec()));
        }
    }
    all
}

/// Writes the weights of `Model::random(config, seed)` as a checkpoint.
fn write(dir: &Path, config: &ModelConfig, seed: u64) {
    config.save(dir).unwrap();
    let source = Seeded::new(seed);
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors(config)
        .into_iter()
        .map(|(name, shape)| {
            let weights = source.tensor(&name, &shape).unwrap();
            (name, shape, weights.iter().flat_map(|w| w.to_le_bytes()).collect())
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
}

fn error(dir: &Path) -> String {
    Model::load(dir, &options(1, 1)).unwrap_err().to_string()
}

#[test]
fn a_checkpoint_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &grouped(), 1);
    let (loaded, random) =
        (Model::load(dir.path(), &options(1, 1)).unwrap(), random(&grouped(), 1));
    let logits = |model: &Model| {
        let mut cache = model.new_cache(10).unwrap();
        rows(&model.full_pass(&[1, 2, 3], &mut cache, &mut Silent).unwrap())
    };
    assert_eq!(logits(&loaded), logits(&random));
    let identity = loaded.identity();
    assert!(!identity.random_weights && random.identity().random_weights);
    assert_eq!(identity.content_hash.len(), 64);
    assert_eq!(identity.name, dir.path().file_name().unwrap().to_string_lossy());
    let wide = Model::load(dir.path(), &options(2, 1)).unwrap().identity();
    assert_eq!(wide.content_hash, identity.content_hash);
    assert_eq!(wide.shape.hidden, 2 * identity.shape.hidden);
    write(dir.path(), &grouped(), 2);
    let other = Model::load(dir.path(), &options(1, 1)).unwrap().identity();
    assert_ne!(other.content_hash, identity.content_hash);
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(error(dir.path()).contains("config.json"));
    grouped().save(dir.path()).unwrap();
    assert!(error(dir.path()).contains("model.safetensors"));
    std::fs::write(dir.path().join("config.json"), "{\"hidden_size\": 5").unwrap();
    assert!(error(dir.path()).contains("config.json"));
}

#[test]
fn a_config_that_does_not_fit_its_weights_is_refused_with_both_shapes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &grouped(), 1);
    let refuse = |change: fn(&mut ModelConfig)| {
        let mut config = grouped();
        change(&mut config);
        config.save(dir.path()).unwrap();
        error(dir.path())
    };
    let wide = refuse(|c| c.intermediate_size = 38);
    assert!(wide.contains("[37, 28]") && wide.contains("[38, 28]"), "{wide}");
    let deep = refuse(|c| c.num_hidden_layers = 6);
    assert!(deep.contains("no tensor 'model.layers.5."), "{deep}");
    let zero = refuse(|c| c.num_attention_heads = 0);
    assert!(zero.contains("num_attention_heads"), "{zero}");
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &grouped(), 1);
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for share in 0..50 {
        std::fs::write(&path, &whole[..whole.len() * share / 50]).unwrap();
        let error = error(dir.path());
        assert!(error.contains("model.safetensors"), "{error}");
    }
    std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert!(error(dir.path()).contains("incomplete or damaged"));
}

#[test]
fn wrong_options_are_refused() {
    assert!(
        Model::random(&grouped(), 1, &options(3, 1)).unwrap_err().to_string().contains("1, 2 or 4")
    );
    let odd = LoadOptions { dtype: s3d_data::Dtype::Nf4, ..LoadOptions::default() };
    assert!(Model::random(&grouped(), 1, &odd).unwrap_err().to_string().contains("q8_0"));
}

/// A tokenizer of one token per letter.
fn letters(dir: &Path, count: usize) {
    let vocab: Vec<String> =
        (0..count).map(|i| format!("\"{}\": {i}", char::from(b'a' + i as u8))).collect();
    let text = format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":null,
        "post_processor":null,"decoder":{{"type":"Fuse"}},"model":{{"type":"BPE","dropout":null,"unk_token":null,
        "continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,
        "vocab":{{{}}},"merges":[]}}}}"#,
        vocab.join(",")
    );
    std::fs::write(dir.join("tokenizer.json"), text).unwrap();
}

#[test]
fn stop_strings_end_a_text_with_the_token_that_completes_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &grouped(), 3);
    letters(dir.path(), 11);
    let model = Model::load(dir.path(), &options(1, 1)).unwrap();
    let prompt = model.tokenizer().unwrap().encode("abcab").unwrap();
    assert_eq!(prompt, [0, 1, 2, 0, 1]);
    let decode = |plan: &str, stop: &[String]| -> (String, Option<Finish>) {
        let limits = Limits { stop_strings: stop.to_vec(), ..Limits::tokens(30) };
        let (plan, mut silent) = (plan.parse().unwrap(), Silent);
        let generation = Generation::new(&model, &prompt, &plan, limits, &mut silent).unwrap();
        let steps: Vec<_> = generation.collect::<Result<_>>().unwrap();
        let tokens: Vec<u32> = steps.iter().flat_map(|s| s.tokens.clone()).collect();
        (model.tokenizer().unwrap().decode(&tokens).unwrap(), steps[steps.len() - 1].finish)
    };
    let (free, _) = decode("plain", &[]);
    let stop = free[10..13].to_string();
    let expected = free[..free.find(&stop).unwrap() + 3].to_string();
    for plan in ["plain", "1..4:4", "seq:1..4:4", "seq:2..2:8"] {
        let (text, finish) = decode(plan, &["zz".into(), stop.clone()]);
        assert_eq!((text, finish), (expected.clone(), Some(Finish::Stop)), "{plan}");
    }
    letters(dir.path(), 13);
    assert!(error(dir.path()).contains("13 tokens"));
}
