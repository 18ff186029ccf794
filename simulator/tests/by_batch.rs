//! Many texts at once: the plan for each number of texts, against a planted law of passes over rows
//! and texts, by brute force.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod planted;

use planted::{CONTEXT, Planted};
use s3d_data::{
    Answer, Component, DraftPlan, Drafting, LatencySample, Plan, Recommendation, Run, Seconds,
};
use s3d_simulator::cost::measured::MeasuredCosts;
use s3d_simulator::{AcceptanceCurve, Error, Family, Request, choose, choose_for_all};

const BATCHES: [usize; 4] = [2, 4, 8, 16];

fn world() -> Planted {
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.9).unwrap();
    Planted {
        draftings: vec![Drafting::Simultaneous],
        gamma_max: 4,
        noise: 0.01,
        widening: 0.2,
        ..Planted::small(curve, 5)
    }
}

/// Seconds of a full pass over `width` rows of each of `batch` texts: rows share the weights, and
/// every text attends to its own context.
fn full(world: &Planted, batch: usize, width: usize) -> f64 {
    world.full_seconds(batch * width, batch * CONTEXT)
}

/// Seconds of an iteration of `batch` texts.
fn iteration(world: &Planted, batch: usize, plan: &DraftPlan) -> f64 {
    let (gamma, window) = (plan.predictors.get(), plan.skip.window().unwrap());
    world.draft_pass_seconds(window, batch * gamma, batch * CONTEXT) + full(world, batch, gamma + 1)
}

/// Passes of every plan at every number of texts, in blocks of their own drift.
fn shared_passes(world: &Planted) -> Vec<LatencySample> {
    let mut rows: Vec<LatencySample> = Vec::new();
    for block in 0..4 {
        for batch in BATCHES {
            let drift = 1.0 + 0.1 * block as f64;
            let mut push = |component, plan: Plan, width, seconds: f64| {
                let (order, plan) = (rows.len(), Some(plan));
                let wobble = 1.0 + 0.004 * f64::from(u8::from(order % 3 == 1));
                rows.push(LatencySample {
                    machine: 0,
                    component,
                    layer: None,
                    plan,
                    width,
                    context: CONTEXT,
                    block,
                    order,
                    copy: 0,
                    seconds: Seconds(seconds * drift * wobble),
                    cpu_seconds: None,
                    batch,
                });
            };
            push(Component::FullPass, Plan::Plain, 1, full(world, batch, 1));
            for plan in world.plans() {
                let (gamma, verify) =
                    (plan.predictors.get(), full(world, batch, plan.predictors.get() + 1));
                let draft = iteration(world, batch, &plan) - verify;
                let plan = Plan::Speculate(plan);
                push(Component::DraftPass, plan.clone(), gamma, draft);
                push(Component::VerifyPass, plan, gamma + 1, verify);
            }
        }
    }
    rows
}

fn run(world: &Planted) -> Run {
    let mut run = world.run();
    run.observations.together.latency = shared_passes(world);
    run
}

fn asked(run: &Run) -> Request {
    Request { draws: 200, with_errors: false, ..Request::of(&run.header) }
}

/// The speedup of every plan at `batch` texts by the planted law, at the tokens per iteration of
/// its traces.
fn exact(world: &Planted, run: &Run, batch: usize) -> Vec<(Plan, f64)> {
    let choice = choose(run, &asked(run)).unwrap();
    let of = |plan: &Plan, tokens: f64| {
        tokens * full(world, batch, 1) / iteration(world, batch, plan.draft().unwrap())
    };
    let rows = choice.grid.iter();
    rows.map(|row| (row.plan.clone(), of(&row.plan, row.tokens_per_iteration.value))).collect()
}

fn recommended(run: &Run) -> Recommendation {
    choose_for_all(run, &asked(run)).unwrap().recommendation
}

/// source: the planted law, over all plans.
#[test]
fn the_plan_for_each_number_of_texts_is_that_of_a_search_by_the_planted_law() {
    let world = world();
    let run = run(&world);
    let found = recommended(&run);
    let batches: Vec<usize> = found.by_batch.iter().map(|row| row.batch).collect();
    assert_eq!(batches, [1, 2, 4, 8, 16]);
    let mut bests = Vec::new();
    for row in &found.by_batch[1..] {
        let exact = exact(&world, &run, row.batch);
        let own = exact.iter().find(|(plan, _)| *plan == row.plan).unwrap().1;
        let best = exact.iter().map(|(_, speedup)| *speedup).fold(0.0, f64::max);
        assert!(own > 0.99 * best, "{}: {} at {own}, best {best}", row.batch, row.plan);
        let off = row.predicted_speedup.value / own - 1.0;
        assert!(off.abs() < 0.015, "{}: {off}", row.batch);
        let (plain, rate) =
            (row.plain_tokens_per_s.unwrap().value, row.batch as f64 / full(&world, row.batch, 1));
        // The machine drifts by 15 % on average.
        assert!((plain / rate * 1.15 - 1.0).abs() < 0.05, "{plain} {rate}");
        bests.push(best);
    }
    assert!(bests[0] > 1.05 && bests[3] < 0.97, "the case must hold both: {bests:?}");
    assert_eq!(found.by_batch[0].verdict, Answer::Speculate);
    let even = found.break_even_batch.unwrap();
    let below = 1 + bests.iter().rposition(|best| *best >= 1.0).unwrap();
    assert_eq!((even.below, even.above), (batches[below], batches[below + 1]));
    assert!((even.below as f64..=even.above as f64).contains(&even.texts.value), "{even:?}");
}

/// source: the planted law: seconds per cached token, once for every text.
#[test]
fn a_pass_of_several_texts_grows_with_the_context_of_each() {
    let world = world();
    let run = run(&world);
    for batch in BATCHES {
        let at =
            |context| MeasuredCosts::of_texts(&run, 0, &[(context, 1.0)], batch).unwrap().plain.0;
        let grown = at(3 * CONTEXT) - at(CONTEXT);
        let planted = world.full_seconds(1, 2 * batch * CONTEXT) - world.full_seconds(1, 0);
        assert!((grown / planted - 1.0).abs() < 0.3, "{batch}: {grown} {planted}");
    }
}

/// source: memory of a key-value cache: that of one text times the texts.
#[test]
fn the_memory_of_several_texts_must_fit_the_budget() {
    let run = run(&world());
    let own = asked(&run);
    let peak = |batch| {
        let request = Request { batch, ..own.clone() };
        choose(&run, &request).unwrap().recommendation.choice.unwrap().peak_memory_bytes.unwrap()
    };
    let shape = &run.header.model.shape;
    let text = shape.kv_elements_per_token() * 4 * (CONTEXT as u64);
    assert!(peak(16) - peak(2) >= 14 * text, "{} {}", peak(16), peak(2));
    let budget = s3d_data::Bytes((peak(2) + peak(16)) / 2);
    let tight = Request { memory_budget: Some(budget), batch: 16, ..own };
    assert!(choose(&run, &tight).unwrap().recommendation.choice.is_none());
}

#[test]
fn a_number_of_texts_that_was_not_timed_is_missing_and_says_how_to_time_it() {
    let run = run(&world());
    let error = choose(&run, &Request { batch: 3, ..asked(&run) }).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    assert!(error.to_string().contains("--batch 3"), "{error}");
    assert!(choose(&run, &Request { batch: 0, ..asked(&run) }).is_err());
    // Where nothing of several texts was timed, nothing is said of them.
    let mut alone = run;
    alone.observations.together = Default::default();
    let found = recommended(&alone);
    assert!(found.by_batch.is_empty() && found.break_even_batch.is_none());
}
