//! The shipped model: speculative decoding gives the plain text, token for token, in exactly the
//! iterations that its traces replay. `scripts/lossless` does the same with ten times the prompts.

#![allow(clippy::unwrap_used, reason = "tests")]

use s3d_data::{DraftPlan, Drafting, Plan, Skip, load_prompts};
use s3d_model::{Generation, Limits, LoadOptions, Model, Silent, trace_text};
use std::path::Path;

const PROMPTS: usize = 20;
const TOKENS: usize = 128;
const GAMMA_MAX: usize = 6;

/// Both draftings, skip ratios 0 to 0.83, 1 to 6 predictors.
const PLANS: [&str; 12] = [
    "6..6:1",
    "5..7:2",
    "4..8:3",
    "3..9:4",
    "2..10:5",
    "1..11:6", //
    "seq:6..6:2",
    "seq:5..7:1",
    "seq:4..8:4",
    "seq:3..9:3",
    "seq:2..10:6",
    "seq:1..11:5",
];

fn decode(model: &Model, prompt: &[u32], plan: &Plan) -> (Vec<u32>, usize) {
    let mut silent = Silent;
    let generation = Generation::new(model, prompt, plan, Limits::tokens(TOKENS), &mut silent);
    let steps: Vec<_> = generation.unwrap().map(Result::unwrap).collect();
    let tokens = steps.iter().flat_map(|step| step.tokens.iter().copied()).collect();
    (tokens, steps.len() - 1)
}

/// Iterations of a walk over a trace, as decoding would make them.
fn replayed(accepted: &[u32], predictors: usize) -> usize {
    let (mut committed, mut iterations) = (1, 0);
    while committed < accepted.len() {
        committed += (accepted[committed - 1] as usize).min(predictors) + 1;
        iterations += 1;
    }
    iterations
}

#[test]
fn twenty_prompts_are_lossless_and_replay_exactly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let model = Model::load(&folder, &LoadOptions::default()).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let plans: Vec<Plan> = PLANS.iter().map(|plan| plan.parse().unwrap()).collect();
    let drafts: Vec<&DraftPlan> = plans.iter().filter_map(Plan::draft).collect();
    let skips: Vec<Skip> = drafts.iter().take(6).map(|draft| draft.skip.clone()).collect();
    for prompt in load_prompts(&folder.join("prompts.jsonl"), Some(PROMPTS)).unwrap() {
        let tokens = tokenizer.encode(&prompt.text).unwrap();
        let (text, _) = decode(&model, &tokens, &Plan::Plain);
        let traces = Drafting::ALL.map(|drafting| {
            trace_text(&model, &tokens, &text, drafting, &skips, GAMMA_MAX, false).unwrap()
        });
        for (plan, draft) in plans.iter().zip(&drafts) {
            let (found, iterations) = decode(&model, &tokens, plan);
            assert_eq!(found, text, "plan {plan}, prompt {}", prompt.id);
            let of_drafting = &traces[usize::from(draft.drafting == Drafting::Sequential)];
            let place = skips.iter().position(|skip| *skip == draft.skip).unwrap();
            let accepted = &of_drafting[place].accepted;
            let replayed = replayed(accepted, draft.predictors.get());
            assert_eq!(iterations, replayed, "plan {plan}, prompt {}", prompt.id);
        }
    }
}
