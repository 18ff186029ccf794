//! A thousand texts in batches: random models of every number type, random plans of both draftings,
//! random numbers of texts at once. Every text must be the plain text of its prompt alone, in as
//! many iterations as its plan needs alone.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{adapted, grouped, random_plan, tied};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::{Dtype, Plan};
use s3d_model::config::EndTokens;
use s3d_model::{
    Generation, Limits, LoadOptions, Lockstep, Model, ModelConfig, Order, Sampling, Silent, Step,
    Written,
};
use std::path::Path;

fn greedy() -> Sampling {
    Sampling::new(0.0, 0).unwrap()
}

fn model(dtype: Dtype, kind: usize, seed: u64) -> Model {
    // Sizes in whole blocks of 32 inputs, which quantized weights come in; of 256 for q4_k.
    let wide = if dtype == Dtype::Q4K { 256 } else { 64 };
    let base = if kind.is_multiple_of(2) { grouped() } else { tied() };
    let config = ModelConfig {
        hidden_size: wide,
        intermediate_size: wide,
        head_dim: Some(wide / 4),
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        vocab_size: 37,
        eos_token_id: Some(EndTokens::One(5)),
        ..base
    };
    let config = if kind.is_multiple_of(3) { adapted(config) } else { config };
    let options = LoadOptions { dtype, threads: 2, ..LoadOptions::default() };
    Model::random(&config, seed, &options).unwrap()
}

fn alone(model: &Model, plan: &Plan, order: &Order) -> Vec<Step> {
    let limits = Limits::tokens(order.tokens);
    let mut silent = Silent;
    let generation = Generation::new(model, &order.prompt, plan, limits, &mut silent).unwrap();
    generation.collect::<Result<_, _>>().unwrap()
}

fn tokens(steps: &[Step]) -> Vec<u32> {
    steps.iter().flat_map(|step| step.tokens.clone()).collect()
}

/// Some prompts, each in one pass of its own or along with the others' rows.
fn together(
    model: &Model,
    plan: &Plan,
    (orders, width): (&[Order], usize),
    apart: bool,
) -> Vec<Written> {
    let mut lockstep = Lockstep::new(model, plan).unwrap();
    let (mut waiting, mut found) = (orders.iter().cloned().enumerate(), Vec::new());
    loop {
        while lockstep.len() < width {
            let Some((number, order)) = waiting.next() else { break };
            lockstep.enter(number, order).unwrap();
        }
        if lockstep.is_empty() {
            found.sort_by_key(|text: &Written| text.number);
            return found;
        }
        if apart {
            found.extend(lockstep.read_prompts(&mut Silent).unwrap());
        }
        found.extend(lockstep.step(&mut Silent).unwrap());
    }
}

/// Compares the texts of a batch with the same texts alone; returns how many.
fn compare(model: &Model, orders: &[Order], source: &mut ChaCha8Rng, case: &str) -> usize {
    let plan = random_plan(model.shape().layers, 3, source);
    if model.check_plan(plan.draft().unwrap()).is_err() {
        return 0;
    }
    let width = [1, 2, 3, 5, 8, 16, 40][source.random_range(0..7usize)];
    let found = together(model, &plan, (orders, width), source.random());
    assert_eq!(found.len(), orders.len());
    for (text, order) in found.iter().zip(orders) {
        let case = format!("{case}, {plan}, {width} at a time, text {}", text.number);
        let plain = tokens(&alone(model, &Plan::Plain, order));
        assert_eq!(text.output, plain, "{case}");
        let own = alone(model, &plan, order);
        assert_eq!(text.iterations, own.len() - 1, "{case}");
    }
    found.len()
}

fn orders(count: usize, vocabulary: usize, source: &mut ChaCha8Rng) -> Vec<Order> {
    let order = |_| Order {
        prompt: (0..source.random_range(1..20))
            .map(|_| source.random_range(0..vocabulary) as u32)
            .collect(),
        tokens: source.random_range(1..24),
        sampling: greedy(),
    };
    (0..count).map(order).collect()
}

/// source: `Generation`, which decodes one text, plainly and by the same plan.
#[test]
fn a_thousand_texts_in_batches_are_the_texts_alone() {
    let mut source = ChaCha8Rng::seed_from_u64(22);
    let (mut texts, mut kinds) = (0, 0);
    while texts < 1_000 {
        let dtype = Dtype::ENGINE[kinds % Dtype::ENGINE.len()];
        let model = model(dtype, kinds / Dtype::ENGINE.len(), source.random());
        for _ in 0..4 {
            let orders = orders(12, model.shape().vocab, &mut source);
            texts += compare(&model, &orders, &mut source, &dtype.to_string());
        }
        kinds += 1;
    }
    assert!(kinds > 2 * Dtype::ENGINE.len(), "every number type, of several models");
}

/// source: as above, on the shipped model and its prompts. How many texts: `S3D_BATCH_TEXTS`.
#[test]
#[ignore = "a thousand texts of the shipped model take minutes"]
fn texts_of_the_shipped_model_in_batches_are_the_texts_alone() {
    let wanted = std::env::var("S3D_BATCH_TEXTS").map_or(1_000, |v| v.parse().unwrap());
    assert_eq!(shipped(wanted), wanted);
}

/// source: as above, a few texts.
#[test]
fn a_few_texts_of_the_shipped_model_in_batches_are_the_texts_alone() {
    assert_eq!(shipped(8), 8);
}

fn shipped(wanted: usize) -> usize {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let texts = s3d_data::load_prompts(&story.join("prompts.jsonl"), None).unwrap();
    let mut source = ChaCha8Rng::seed_from_u64(4);
    let mut compared = 0;
    while compared < wanted {
        let dtype = Dtype::ENGINE[compared / 8 % Dtype::ENGINE.len()];
        let options = LoadOptions { dtype, threads: 2, ..LoadOptions::default() };
        let model = Model::load(&story, &options).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        let chosen = (0..8.min(wanted - compared)).map(|i| &texts[(compared + i) % texts.len()]);
        let order = |prompt: &s3d_data::Prompt| Order {
            prompt: tokenizer.encode(&prompt.text).unwrap(),
            tokens: 24,
            sampling: greedy(),
        };
        let orders: Vec<Order> = chosen.map(order).collect();
        compared += compare(&model, &orders, &mut source, &dtype.to_string());
    }
    compared
}
