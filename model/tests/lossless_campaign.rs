//! Random models, number types, widenings, prompts, plans, thresholds and stop strings: every
//! speculative text must be the plain one. A short round is part of the tests;
//! `scripts/lossless-campaign` runs a long one.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests; a campaign says how far it is"
)]

mod common;

use common::{adapted, grouped, random_plan, tied};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::{Dtype, Plan, Prompt};
use s3d_model::{DraftThreshold, Generation, Limits, LoadOptions, Model, ModelConfig, Silent};
use std::path::{Path, PathBuf};

/// Tokens compared in the short round.
const SHORT: usize = 3_000;

/// What was compared so far.
#[derive(Debug, Default)]
struct Tally {
    tokens: usize,
    plans: usize,
    models: usize,
    differences: Vec<String>,
}

fn story() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story")
}

/// A model of random sizes and weights. Its texts are noise, so that drafts are rejected at every
/// place.
fn random_model(options: &LoadOptions, source: &mut ChaCha8Rng) -> Option<Model> {
    let base = if source.random() { grouped() } else { tied() };
    let (heads, groups) = (1 << source.random_range(1..3usize), source.random_range(0..2usize));
    let config = ModelConfig {
        hidden_size: 32 * source.random_range(1..4usize),
        intermediate_size: 32 * source.random_range(1..5usize),
        num_hidden_layers: source.random_range(2..9),
        num_attention_heads: heads,
        num_key_value_heads: Some(heads >> groups),
        head_dim: Some(2 * source.random_range(4..17usize)),
        vocab_size: source.random_range(3..400),
        ..base
    };
    let mut config = if source.random() { adapted(config) } else { config };
    if let (true, Some(s3d)) = (source.random(), &mut config.s3d) {
        s3d.draft_vocabulary = Some(source.random_range(2..=config.vocab_size));
    }
    Model::random(&config, source.random(), options).ok()
}

fn options(source: &mut ChaCha8Rng) -> LoadOptions {
    LoadOptions {
        dtype: Dtype::ENGINE[source.random_range(0..Dtype::ENGINE.len())],
        widen: [1, 1, 2][source.random_range(0..3usize)],
        threads: source.random_range(1..3),
        ..LoadOptions::default()
    }
}

fn decode(model: &Model, prompt: &[u32], plan: &Plan, limits: &Limits, threshold: f64) -> Vec<u32> {
    let mut silent = Silent;
    let generation = Generation::new(model, prompt, plan, limits.clone(), &mut silent).unwrap();
    generation.ending_drafts(DraftThreshold::new(threshold).unwrap()).finish().unwrap()
}

/// A prompt of one token up to all positions but one, and when its text ends.
fn random_prompt(model: &Model, texts: &[Prompt], source: &mut ChaCha8Rng) -> (Vec<u32>, Limits) {
    let limits =
        Limits { stop_at_end: source.random(), ..Limits::tokens(source.random_range(1..120)) };
    if let Some(tokenizer) = model.tokenizer() {
        let text = &texts[source.random_range(0..texts.len())].text;
        let stops = ["\n", " the", "e", ". "];
        let stop_strings =
            stops.iter().filter(|_| source.random_range(0..6) == 0).map(ToString::to_string);
        return (
            tokenizer.encode(text).unwrap(),
            Limits { stop_strings: stop_strings.collect(), ..limits },
        );
    }
    let positions = model.config().positions();
    let length = [1, 2, source.random_range(1..40), positions - 1][source.random_range(0..4usize)];
    let vocabulary = model.shape().vocab as u32;
    ((0..length).map(|_| source.random_range(0..vocabulary)).collect(), limits)
}

/// One model: some prompts, each under some plans.
fn round(texts: &[Prompt], source: &mut ChaCha8Rng, tally: &mut Tally) {
    let real = source.random_range(0..4) == 0;
    let options = options(source);
    let model = match real {
        true => Some(Model::load(&story(), &options).unwrap()),
        false => random_model(&options, source),
    };
    // Sizes that a number type cannot hold are refused, which other tests are about.
    let Some(model) = model else { return };
    tally.models += 1;
    for _ in 0..2 {
        let (prompt, limits) = random_prompt(&model, texts, source);
        let plain = decode(&model, &prompt, &Plan::Plain, &limits, 0.0);
        for _ in 0..6 {
            let plan = random_plan(model.shape().layers, 4, source);
            if model.check_plan(plan.draft().unwrap()).is_err() {
                continue;
            }
            let threshold = [0.0, 0.0, source.random(), 1.0][source.random_range(0..4usize)];
            let found = decode(&model, &prompt, &plan, &limits, threshold);
            let same = found.iter().zip(&plain).take_while(|(a, b)| a == b).count();
            tally.tokens += same;
            tally.plans += 1;
            if found != plain {
                let case =
                    format!("{plan}, threshold {threshold}, place {same}, {:?}", options.dtype);
                tally.differences.push(case);
            }
        }
    }
}

fn campaign(tokens: usize, seed: u64) -> Tally {
    let texts = s3d_data::load_prompts(&story().join("prompts.jsonl"), Some(60)).unwrap();
    let mut source = ChaCha8Rng::seed_from_u64(seed);
    let (mut tally, mut said) = (Tally::default(), 0);
    while tally.tokens < tokens {
        round(&texts, &mut source, &mut tally);
        if tally.tokens / 100_000 > said {
            said = tally.tokens / 100_000;
            println!(
                "{} tokens, {} plans, {} models, {} differences",
                tally.tokens,
                tally.plans,
                tally.models,
                tally.differences.len()
            );
        }
    }
    tally
}

#[test]
fn random_plans_on_random_models_change_no_token() {
    let tally = campaign(SHORT, 1);
    assert!(tally.differences.is_empty(), "{:?}", tally.differences);
    assert!(tally.tokens >= SHORT && tally.plans > 20, "{tally:?}");
}

/// `scripts/lossless-campaign` says how many tokens and from which seed.
#[test]
#[ignore = "takes as long as one wants"]
fn a_long_campaign() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |v| v.parse().unwrap());
    let (tokens, seed) = (number("S3D_CAMPAIGN_TOKENS", 1_000_000), number("S3D_CAMPAIGN_SEED", 2));
    let tally = campaign(tokens as usize, seed);
    println!(
        "{} tokens under {} random plans of {} models: {} differences",
        tally.tokens,
        tally.plans,
        tally.models,
        tally.differences.len()
    );
    assert!(tally.differences.is_empty(), "{:?}", tally.differences);
}
