//! Every number type: speculative decoding gives the plain text, and imposed acceptance what was
//! drawn.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{grouped, random};
use s3d_data::{Dtype, Plan, load_prompts};
use s3d_model::{Generation, Imposed, Limits, LoadOptions, Model, Peek, Silent};
use std::path::Path;

const PROMPTS: usize = 4;
const TOKENS: usize = 64;
const PLANS: [&str; 4] = ["3..9:4", "1..11:8", "seq:4..8:3", "seq:2..10:5"];

fn decode(model: &Model, prompt: &[u32], plan: &Plan, peek: Option<Peek<'_>>) -> Vec<Vec<u32>> {
    let mut silent = Silent;
    let limits = Limits { stop_at_end: false, ..Limits::tokens(TOKENS) };
    let generation = Generation::new(model, prompt, plan, limits, &mut silent).unwrap();
    generation.imposing(peek).map(|step| step.unwrap().tokens).collect()
}

#[test]
fn the_shipped_model_decodes_losslessly_in_every_number_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let prompts = load_prompts(&folder.join("prompts.jsonl"), Some(PROMPTS)).unwrap();
    let mut texts = Vec::new();
    for dtype in Dtype::ENGINE {
        let load = |threads| {
            let options = LoadOptions { dtype, threads, ..LoadOptions::default() };
            Model::load(&folder, &options).unwrap()
        };
        let (model, one_thread) = (load(2), load(1));
        for prompt in &prompts {
            let tokens = model.tokenizer().unwrap().encode(&prompt.text).unwrap();
            let plain = decode(&model, &tokens, &Plan::Plain, None).concat();
            assert_eq!(plain, decode(&one_thread, &tokens, &Plan::Plain, None).concat(), "{dtype}");
            for plan in PLANS.map(|plan| plan.parse::<Plan>().unwrap()) {
                let steps = decode(&model, &tokens, &plan, None);
                assert!(steps.len() < TOKENS, "{dtype}: {plan} accepts no draft");
                assert_eq!(steps.concat(), plain, "{dtype}, plan {plan}, prompt {}", prompt.id);
            }
            texts.push((dtype, prompt.id.clone(), plain));
        }
    }
    // Halves of a checkpoint in halves are its own numbers: the text of f32, to the token.
    for (_, id, text) in texts.iter().filter(|(dtype, ..)| *dtype == Dtype::F16) {
        assert!(texts.contains(&(Dtype::F32, id.clone(), text.clone())), "{id}");
    }
}

#[test]
fn quantized_text_stays_near_the_text_of_f32() {
    // source: the same prompt through candle's quantizer (8 bits of weight and activation) is known
    // to change few tokens; half of the first 16 is a bound that random text would not reach
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let prompt = load_prompts(&folder.join("prompts.jsonl"), Some(1)).unwrap().remove(0);
    let text = |dtype| {
        let model = Model::load(&folder, &LoadOptions { dtype, ..LoadOptions::default() }).unwrap();
        let tokens = model.tokenizer().unwrap().encode(&prompt.text).unwrap();
        decode(&model, &tokens, &Plan::Plain, None).concat()
    };
    let exact = text(Dtype::F32);
    for dtype in [Dtype::Bf16, Dtype::Q8_0] {
        let found = text(dtype);
        let same = exact.iter().zip(&found).take(16).filter(|(a, b)| a == b).count();
        assert!(same >= 8, "{dtype}: {same} of 16 tokens");
    }
}

#[test]
fn imposed_acceptance_changes_the_steps_and_never_the_text() {
    let model = random(&grouped(), 3);
    let prompt = [1, 2, 3];
    let plain = decode(&model, &prompt, &Plan::Plain, None).concat();
    let imposed = Imposed::new(vec![0.9, 0.8, 0.7], 5).unwrap();
    let peek = Peek { imposed: &imposed, text: "a", reference: &plain };
    for (plan, predictors) in [("1..4:4", 4), ("seq:1..4:2", 2), ("2..2:1", 1)] {
        let steps = decode(&model, &prompt, &plan.parse().unwrap(), Some(peek));
        assert_eq!(steps.concat(), plain, "{plan}");
        let mut committed = 1;
        for step in &steps[1..steps.len() - 1] {
            let drawn = imposed.accepted("a", committed, predictors);
            assert_eq!(step.len(), drawn + 1, "{plan} after {committed} tokens");
            committed += step.len();
        }
    }
}
