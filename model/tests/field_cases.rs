//! Public files that were once read wrongly, or refused, each with its right value: small stand-ins
//! made after bug reports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{options, rows};
use s3d_model::{Generation, Limits, Model, Silent};
use std::path::{Path, PathBuf};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/field").join(name)
}

/// What transformers gives (each file says which version).
#[derive(serde::Deserialize)]
struct Logits {
    tokens: Vec<u32>,
    logits_after_last: Vec<f32>,
}

/// Compares the logits of a file with those of its case.
fn logits_are_those_of_transformers(name: &str, file: &str) {
    let expected = std::fs::read(case(name).join("expected.json")).unwrap();
    let expected: Logits = serde_json::from_slice(&expected).unwrap();
    let model = Model::load(&case(name).join(file), &options(1, 1)).unwrap();
    let mut cache = model.new_cache(expected.tokens.len()).unwrap();
    let found = rows(&model.full_pass(&expected.tokens, &mut cache, &mut Silent).unwrap());
    let found = found.last().unwrap();
    assert_eq!(found.len(), expected.logits_after_last.len());
    let most = found.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected.logits_after_last) {
        assert!((found - expected).abs() < 1e-4 * most, "{file}: {found} for {expected}");
    }
}

#[test]
fn a_factor_without_a_type_scales_positions_linearly() {
    logits_are_those_of_transformers("gguf-scaling-factor-without-type", "m.gguf");
}

#[test]
fn the_older_key_scales_positions_linearly() {
    logits_are_those_of_transformers("gguf-scale-linear", "m.gguf");
}

#[test]
fn a_split_file_is_read_from_any_of_its_parts() {
    for part in 1..=3 {
        logits_are_those_of_transformers("gguf-split", &format!("m-0000{part}-of-00003.gguf"));
    }
}

#[test]
fn missing_and_foreign_parts_of_a_split_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let parts = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];
    let copy = |from: &str, to: &str| {
        std::fs::copy(case("gguf-split").join(from), at(to)).unwrap();
    };
    let refusal = |name: &str| Model::load(&at(name), &options(1, 1)).unwrap_err().to_string();
    copy(parts[1], parts[1]);
    let error = refusal(parts[1]);
    assert!(
        error.contains("part 2 of 3") && error.contains(parts[0]) && error.contains(parts[2]),
        "{error}"
    );
    copy(parts[1], "other.gguf");
    assert!(refusal("other.gguf").contains("-00002-of-00003.gguf"));
    copy(parts[0], parts[0]);
    copy(parts[1], parts[2]);
    assert!(refusal(parts[0]).contains("is not part 3 of 3"));
    // A part of another model of as many parts: its tensors do not add up.
    let strange = std::fs::read(case("gguf-split").join(parts[2])).unwrap();
    let at_count = strange.windows(4).position(|four| four == 21u32.to_le_bytes()).unwrap();
    let mut changed = strange.clone();
    changed[at_count] = 22;
    std::fs::write(at(parts[2]), changed).unwrap();
    assert!(refusal(parts[2]).contains("split.tensors.count = 22, its 3 parts have 21 tensors"));
}

#[derive(serde::Deserialize)]
struct Text {
    prompt: String,
    prompt_ids: Vec<u32>,
    greedy_8: Vec<u32>,
}

/// Compares prompt and greedy text of a checkpoint with those of its case.
fn text_is_that_of_transformers(name: &str) -> Model {
    let expected = std::fs::read(case(name).join("expected.json")).unwrap();
    let expected: Text = serde_json::from_slice(&expected).unwrap();
    let model = Model::load(&case(name).join("ck"), &options(1, 1)).unwrap();
    assert_eq!(model.tokenizer().unwrap().encode(&expected.prompt).unwrap(), expected.prompt_ids);
    let (plan, limits) = ("plain".parse().unwrap(), Limits::tokens(8));
    let mut silent = Silent;
    let text = Generation::new(&model, &expected.prompt_ids, &plan, limits, &mut silent).unwrap();
    assert_eq!(text.finish().unwrap(), expected.greedy_8);
    model
}

#[test]
fn a_tokenizer_that_was_saved_cutting_texts_does_not_cut_prompts() {
    text_is_that_of_transformers("tokenizer-truncation-baked-in");
}

#[test]
fn a_token_beyond_the_embedding_is_refused_where_a_prompt_uses_it() {
    let model = text_is_that_of_transformers("tokenizer-one-token-too-many");
    let vocab = model.shape().vocab;
    let tokenizer = model.tokenizer().unwrap();
    assert_eq!(tokenizer.vocab_size(), vocab + 1);
    let added = tokenizer.encode("one [PAD]").unwrap();
    assert_eq!(added.last(), Some(&(vocab as u32)));
    let plan = "plain".parse().unwrap();
    let refused = Generation::new(&model, &added, &plan, Limits::tokens(1), &mut Silent)
        .and_then(Generation::finish);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("outside the vocabulary"), "{error}");
}
