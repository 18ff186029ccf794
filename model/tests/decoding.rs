//! Decoding by every plan gives the tokens of plain decoding, and traces replay it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{adapted, grouped, options, random, sub_layers, tied, window};
use s3d_data::{DraftPlan, Drafting, Plan, Predictors, Skip};
use s3d_model::config::EndTokens;
use s3d_model::{
    DraftPolicy, DraftThreshold, Event, Finish, Generation, Limits, Model, ModelConfig, Observer,
    Result, Silent, Step, trace_text,
};

const PROMPT: [u32; 6] = [1, 2, 3, 5, 8, 2];

fn plan(drafting: Drafting, skip: Skip, predictors: usize) -> Plan {
    Plan::Speculate(DraftPlan { drafting, skip, predictors: Predictors::new(predictors).unwrap() })
}

/// Both draftings, skip ratios from 0 to 0.8, 1 to 8 predictors, free sets.
fn plans() -> Vec<Plan> {
    let skips =
        [window(2, 2), window(2, 3), window(1, 4), window(0, 4), window(3, 5), sub_layers()];
    let kinds = Drafting::ALL.into_iter().flat_map(|d| skips.iter().map(move |s| (d, s.clone())));
    kinds.flat_map(|(d, s)| [1, 2, 3, 5, 8].map(|n| plan(d, s.clone(), n))).collect()
}

fn decode(model: &Model, plan: &Plan, limits: Limits) -> Vec<u32> {
    Generation::new(model, &PROMPT, plan, limits, &mut Silent).unwrap().finish().unwrap()
}

fn steps(model: &Model, plan: &Plan, limits: Limits) -> Vec<Step> {
    let mut silent = Silent;
    let generation = Generation::new(model, &PROMPT, plan, limits, &mut silent).unwrap();
    generation.collect::<Result<_>>().unwrap()
}

#[test]
fn every_plan_gives_the_tokens_of_plain_decoding() {
    let plain = [(grouped(), 1), (grouped(), 2), (tied(), 3)];
    for (config, seed) in plain.into_iter().chain([(adapted(grouped()), 1), (adapted(tied()), 3)]) {
        let model = random(&config, seed);
        let plain = decode(&model, &Plan::Plain, Limits::tokens(60));
        assert_eq!(plain.len(), 60);
        let own = ModelConfig { s3d: None, ..config };
        assert_eq!(decode(&random(&own, seed), &Plan::Plain, Limits::tokens(60)), plain);
        for plan in plans() {
            assert_eq!(decode(&model, &plan, Limits::tokens(60)), plain, "seed {seed}, {plan}");
        }
    }
}

fn ending(model: &Model, plan: &Plan, threshold: f64) -> Vec<Step> {
    let mut silent = Silent;
    let generation =
        Generation::new(model, &PROMPT, plan, Limits::tokens(60), &mut silent).unwrap();
    let threshold = DraftThreshold::new(threshold).unwrap();
    generation.ending_drafts(threshold).collect::<Result<_>>().unwrap()
}

#[test]
fn drafts_that_end_early_change_no_token() {
    let model = random(&grouped(), 1);
    let plain = decode(&model, &Plan::Plain, Limits::tokens(60));
    let mut lengths = [0; 9];
    for plan in plans() {
        let most = plan.draft().unwrap().predictors.get();
        for threshold in [0.0, 0.12, 0.15, 0.2, 0.3, 1.0] {
            let found = ending(&model, &plan, threshold);
            let tokens: Vec<u32> = found.iter().flat_map(|step| step.tokens.clone()).collect();
            assert_eq!(tokens, plain, "{plan}, threshold {threshold}");
            match threshold {
                0.0 => assert_eq!(found, steps(&model, &plan, Limits::tokens(60))),
                // Nothing that this model says is certain.
                1.0 => {
                    assert!(found.iter().all(|step| step.drafted == 0 && step.tokens.len() == 1))
                }
                _ => found[1..].iter().for_each(|step| lengths[most - step.drafted] += 1),
            }
        }
    }
    assert!(lengths.iter().filter(|&&count| count > 20).count() > 5, "{lengths:?}");
}

/// Any number of drafts at any time, from a linear congruential generator; remembers what it was
/// told.
struct Anything {
    state: u64,
    most: usize,
    told: Vec<(usize, usize)>,
}

impl DraftPolicy for Anything {
    fn drafts(&mut self) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) as usize % (self.most + 1)
    }

    fn told(&mut self, drafted: usize, accepted: usize) {
        self.told.push((drafted, accepted));
    }
}

#[test]
fn any_policy_gives_the_tokens_of_plain_decoding() {
    let mut lengths = [0; 9];
    for (config, seed) in [(grouped(), 1), (tied(), 3), (adapted(grouped()), 1)] {
        let model = random(&config, seed);
        let plain = decode(&model, &Plan::Plain, Limits::tokens(60));
        for (plan, state) in plans().into_iter().zip(1..) {
            let most = plan.draft().unwrap().predictors.get();
            // It may ask for more than the plan drafts at most.
            let mut policy = Anything { state, most: most + 1, told: Vec::new() };
            let mut silent = Silent;
            let generation =
                Generation::new(&model, &PROMPT, &plan, Limits::tokens(60), &mut silent).unwrap();
            let steps: Vec<Step> = generation.adapting(&mut policy).map(Result::unwrap).collect();
            let tokens: Vec<u32> = steps.iter().flat_map(|step| step.tokens.clone()).collect();
            assert_eq!(tokens, plain, "{plan}");
            // It is told of every step but the prompt's; the last one may be cut by the end.
            let made: Vec<_> = steps[1..].iter().map(|s| (s.drafted, s.accepted)).collect();
            let last = made.len() - 1;
            assert_eq!(policy.told[..last], made[..last], "{plan}");
            assert!(policy.told[last].1 >= made[last].1 && made.iter().all(|s| s.0 <= most));
            made.iter().for_each(|(drafted, _)| lengths[*drafted] += 1);
        }
    }
    assert!(lengths.iter().all(|&count| count > 20), "{lengths:?}");
}

#[test]
fn a_draft_that_skips_nothing_is_always_right_when_it_is_sequential() {
    let model = random(&grouped(), 4);
    for predictors in [1, 4] {
        let steps = steps(
            &model,
            &plan(Drafting::Sequential, window(2, 2), predictors),
            Limits::tokens(50),
        );
        for step in &steps[1..steps.len() - 1] {
            assert_eq!((step.drafted, step.accepted), (predictors, predictors));
        }
    }
    // With one predictor the two draftings are the same pass.
    let [one, other] =
        Drafting::ALL.map(|d| steps(&model, &plan(d, window(2, 2), 1), Limits::tokens(50)));
    assert_eq!(one, other);
}

#[test]
fn replayed_iterations_are_those_that_were_generated() {
    replayed(&random(&grouped(), 5));
    replayed(&random(&adapted(grouped()), 5));
}

fn replayed(model: &Model) {
    let limits = Limits { stop_at_end: false, ..Limits::tokens(70) };
    let output = decode(model, &Plan::Plain, limits.clone());
    for plan in plans() {
        let draft = plan.draft().unwrap();
        let skips = [draft.skip.clone()];
        let traces = trace_text(model, &PROMPT, &output, draft.drafting, &skips, 8, false).unwrap();
        let mut committed = 1;
        for step in &steps(model, &plan, limits.clone())[1..] {
            let accepted = traces[0].accepted[committed - 1].min(draft.predictors.get() as u32);
            assert_eq!(step.accepted, accepted as usize, "{plan} at {committed}");
            committed += step.tokens.len();
        }
        assert_eq!(committed, output.len());
    }
}

#[test]
fn a_widened_model_and_the_stock_matmul_give_the_same_text() {
    for config in [grouped(), tied()] {
        let plain = decode(&random(&config, 6), &Plan::Plain, Limits::tokens(40));
        for widen in [2, 4] {
            let wide = Model::random(&config, 6, &options(widen, 2)).unwrap();
            assert_eq!(decode(&wide, &Plan::Plain, Limits::tokens(40)), plain);
            let draft = plan(Drafting::Simultaneous, window(1, 4), 3);
            assert_eq!(decode(&wide, &draft, Limits::tokens(40)), plain);
        }
        assert_eq!(decode(&random(&config, 6), &Plan::Stock, Limits::tokens(40)), plain);
    }
}

#[test]
fn a_text_ends_at_its_end_token_whatever_the_plan() {
    let free = decode(&random(&grouped(), 7), &Plan::Plain, Limits::tokens(30));
    let end = free[12];
    let first = free.iter().position(|&token| token == end).unwrap();
    let config = ModelConfig { eos_token_id: Some(EndTokens::One(end)), ..grouped() };
    let model = random(&config, 7);
    for plan in plans().into_iter().chain([Plan::Plain]) {
        let steps = steps(&model, &plan, Limits::tokens(30));
        let tokens: Vec<u32> = steps.iter().flat_map(|s| s.tokens.clone()).collect();
        assert_eq!(tokens, free[..=first], "{plan}");
        assert_eq!(steps[steps.len() - 1].finish, Some(Finish::End));
        assert!(steps.iter().all(|s| s.accepted <= s.tokens.len()));
        let on = Limits { stop_at_end: false, ..Limits::tokens(30) };
        assert_eq!(decode(&model, &plan, on), free);
    }
}

#[test]
fn a_text_ends_with_the_models_positions() {
    let config = ModelConfig { max_position_embeddings: 20, ..grouped() };
    let model = random(&config, 8);
    for plan in [Plan::Plain, plan(Drafting::Simultaneous, window(1, 3), 8)] {
        let steps = steps(&model, &plan, Limits::tokens(100));
        let tokens: usize = steps.iter().map(|s| s.tokens.len()).sum();
        assert_eq!((tokens, steps[steps.len() - 1].finish), (14, Some(Finish::Context)));
    }
    assert!(decode(&model, &Plan::Plain, Limits::tokens(0)).is_empty());
}

#[test]
fn events_frame_every_step() {
    #[derive(Default)]
    struct Events(Vec<Event>);
    impl Observer for Events {
        fn event(&mut self, event: Event) {
            self.0.push(event);
        }
    }
    let model = random(&grouped(), 9);
    let mut events = Events::default();
    let draft = plan(Drafting::Sequential, window(1, 3), 2);
    let mut generation =
        Generation::new(&model, &PROMPT, &draft, Limits::tokens(50), &mut events).unwrap();
    generation.next().unwrap().unwrap();
    generation.next().unwrap().unwrap();
    drop(generation);
    let expected =
        [Event::PromptDone, Event::StepDone, Event::DraftDone, Event::VerifyDone, Event::StepDone];
    assert_eq!(events.0, expected);
}

#[test]
fn plans_and_prompts_that_do_not_fit_are_refused() {
    let model = random(&grouped(), 10);
    let refuse = |prompt: &[u32], plan: &Plan, limits: Limits| {
        Generation::new(&model, prompt, plan, limits, &mut Silent).err().unwrap().to_string()
    };
    let ten = || Limits::tokens(10);
    let far = plan(Drafting::Sequential, window(3, 6), 2);
    assert!(refuse(&PROMPT, &far, ten()).contains("skips layer 5; the model has layers 0..5"));
    let all = plan(Drafting::Sequential, window(0, 5), 2);
    assert!(refuse(&PROMPT, &all, ten()).contains("skips all of the 5 layers"));
    let wide = plan(Drafting::Simultaneous, window(1, 2), 9);
    assert!(refuse(&PROMPT, &wide, ten()).contains("7 masks"));
    assert!(refuse(&[], &Plan::Plain, ten()).contains("1 to 199 tokens"));
    assert!(refuse(&[1; 200], &Plan::Plain, ten()).contains("found 200"));
    let stop = Limits { stop_strings: vec!["x".into()], ..ten() };
    assert!(refuse(&PROMPT, &Plan::Plain, stop).contains("tokenizer"));
}
