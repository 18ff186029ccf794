//! Drafts that end early: the engine makes exactly the iterations that the simulator replays from
//! confidences.

#![allow(clippy::unwrap_used, reason = "tests")]

use s3d_data::{DraftPlan, Drafting, Plan, Predictors, Trace, load_prompts};
use s3d_model::{
    DraftThreshold, Generation, Limits, LoadOptions, Model, Silent, Step, TextTrace, trace_text,
};
use s3d_simulator::traces::replay::replay;
use s3d_simulator::{Affine, DraftCost, DraftLength, PassLaw, Replay, ReplayOptions, TypedCosts};
use std::path::Path;

const TOKENS: usize = 48;
const GAMMA_MAX: usize = 6;

fn steps(model: &Model, prompt: &[u32], plan: &Plan, threshold: f64) -> Vec<Step> {
    let mut silent = Silent;
    let generation = Generation::new(model, prompt, plan, Limits::tokens(TOKENS), &mut silent);
    let threshold = DraftThreshold::new(threshold).unwrap();
    generation.unwrap().ending_drafts(threshold).map(Result::unwrap).collect()
}

fn tokens(steps: &[Step]) -> Vec<u32> {
    steps.iter().flat_map(|step| step.tokens.iter().copied()).collect()
}

/// The replay of one text in costs that count: a verify pass costs its width, all else nothing.
fn replayed(trace: &TextTrace, prompt: usize, plan: &DraftPlan, threshold: f64) -> Replay {
    let line = serde_json::json!({
        "id": "a", "prompt": prompt, "gamma_max": GAMMA_MAX, "drafting": plan.drafting,
        "accepted": trace.accepted, "confidence": trace.confidence,
    });
    // Through the form that files hold, as confidences reach a replay.
    let trace: Trace = serde_json::from_str(&line.to_string()).unwrap();
    let full = PassLaw::Affine(Affine::new(0.0, 1.0, 0.0).unwrap());
    let costs = TypedCosts { full, draft: DraftCost::ShareOfFull(0.0), step: 0.0 };
    let options = ReplayOptions {
        drafting: plan.drafting,
        draft_length: DraftLength::Confident { most: plan.predictors, threshold },
        batch: 1,
        include_prompt: false,
    };
    replay(&[trace], &costs, &options).unwrap()
}

#[test]
fn replayed_iterations_are_those_that_were_generated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let model =
        Model::load(&folder, &LoadOptions { threads: 1, ..LoadOptions::default() }).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let (mut kept, mut ended) = (0, 0);
    for prompt in load_prompts(&folder.join("prompts.jsonl"), Some(2)).unwrap() {
        let prompt = tokenizer.encode(&prompt.text).unwrap();
        let text = tokens(&steps(&model, &prompt, &Plan::Plain, 0.0));
        for drafting in Drafting::ALL {
            let skip = s3d_data::Skip::from(s3d_data::SkipWindow::new(2, 10).unwrap());
            let skips = [skip.clone()];
            let traces =
                trace_text(&model, &prompt, &text, drafting, &skips, GAMMA_MAX, true).unwrap();
            // A threshold that is a confidence itself: that draft is as sure as it must be.
            let exactly = f64::from(traces[0].confidence.as_ref().unwrap()[TOKENS / 2][0]);
            for (predictors, threshold) in
                [(6, 0.0), (6, 0.3), (4, 0.6), (6, 0.9), (5, exactly), (3, 1.0)]
            {
                let predictors = Predictors::new(predictors).unwrap();
                let plan = DraftPlan { drafting, skip: skip.clone(), predictors };
                let found = steps(&model, &prompt, &Plan::Speculate(plan.clone()), threshold);
                assert_eq!(tokens(&found), text, "{plan}, threshold {threshold}");
                let expected = replayed(&traces[0], prompt.len(), &plan, threshold).total;
                let iterations = (found.len() - 1) as f64;
                assert_eq!(iterations, expected.iterations, "{plan}, threshold {threshold}");
                let drafted: usize = found[1..].iter().map(|step| step.drafted).sum();
                if drafting == Drafting::Simultaneous {
                    // Widths of verify passes: a draft each, and the token that is known.
                    let widths = (drafted + found.len() - 1) as f64;
                    assert_eq!(widths, expected.speculative_seconds, "{plan}, {threshold}");
                }
                if threshold > 0.0 && threshold < 1.0 {
                    kept += drafted;
                    ended += predictors.get() * (found.len() - 1) - drafted;
                }
            }
        }
    }
    assert!(kept > 100 && ended > 100, "the comparison must not be trivial: {kept} {ended}");
}
