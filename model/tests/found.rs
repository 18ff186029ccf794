//! Folders as they are found, each of a kind that was once read wrongly: logits against
//! transformers 5.24.0 (f32, eager), and a line that says what was not followed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{options, rows};
use s3d_model::checkpoint::describe;
use s3d_model::{Model, Silent};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    logits_after_last: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/found").join(name)
}

/// Compares the last logits of the folder's text, and returns the notes.
fn check(name: &str) -> Vec<String> {
    let folder = folder(name);
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let mut model = Model::load(&folder, &options(1, 1)).unwrap();
    model.expect(expected.tokens.len()).unwrap();
    let mut cache = model.new_cache(expected.tokens.len()).unwrap();
    let logits = rows(&model.prompt_pass(&expected.tokens, &mut cache, &mut Silent).unwrap());
    let largest = expected.logits_after_last.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    for (found, exact) in logits[0].iter().zip(&expected.logits_after_last) {
        assert!((found - exact).abs() < 1e-4 * largest, "{name}: {found} {exact}");
    }
    let notes = model.notes().to_vec();
    assert_eq!(describe(&folder).unwrap().notes, notes);
    notes
}

#[test]
fn the_base_of_the_rotation_may_stand_in_its_scaling() {
    assert!(check("rope-scaling-holds-theta").is_empty());
}

#[test]
fn a_missing_epsilon_is_the_architectures() {
    assert!(check("phi3-eps-default").is_empty());
}

#[test]
fn yarn_with_short_factors_is_longrope_in_phi3() {
    check("phi3-yarn-means-longrope");
}

#[test]
fn a_single_file_goes_before_an_index() {
    let notes = check("stale-index-beside-single");
    assert!(notes[0].contains("model.safetensors.index.json is not followed"), "{notes:?}");
}

#[test]
fn a_head_of_its_own_is_kept_where_it_differs_from_the_embedding() {
    let notes = check("tied-but-head-differs");
    assert!(notes[0].contains("tie_word_embeddings = true is not followed"), "{notes:?}");
}

#[test]
fn a_text_beyond_the_training_has_the_long_factors_from_its_start() {
    check("logits-beyond-longrope");
    // Without announcement it is refused.
    let model = Model::load(&folder("logits-beyond-longrope"), &options(1, 1)).unwrap();
    let mut cache = model.new_cache(40).unwrap();
    let error = model.prompt_pass(&[5; 40], &mut cache, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("32 positions") && error.contains("longer context"), "{error}");
}
