//! The choice by context, on runs whose truth is known.

#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod planted;

use planted::{CONTEXT, Planted};
use s3d_data::{
    Answer, Component, ContextBasis, ContextLimit, DraftPlan, Drafting, Plan, Run, Seconds,
};
use s3d_simulator::choose::by_context::{ByContext, by_context};
use s3d_simulator::choose::{Request, choose};
use s3d_simulator::{AcceptanceCurve, Family, expected_tokens};

/// How much longer texts are than the planted ones.
const LONGER: usize = 8;
/// The shortest context that is timed: the run's own.
const OWN: usize = 16 * LONGER;

/// A world in which each row of a pass attends to the whole context by itself: wide passes get
/// dearer with it, so fewer drafts pay, and at last none.
struct World {
    planted: Planted,
    seconds_per_row_and_token: f64,
}

impl World {
    fn new(seconds_per_row_and_token: f64) -> Self {
        let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.9).unwrap();
        Self { planted: Planted::small(curve, 5), seconds_per_row_and_token }
    }

    fn kept(&self, plan: &Plan) -> f64 {
        let skipped = plan.draft().map_or(0, |draft| draft.skip.window().unwrap().len());
        1.0 - skipped as f64 / self.planted.layers as f64
    }

    fn run(&self) -> Run {
        let mut run = self.planted.run();
        run.observations.latency = self.planted.latency_in_turns(&[16, 64, CONTEXT]);
        for sample in &mut run.observations.latency {
            sample.context *= LONGER;
            let share = match (sample.component, &sample.plan) {
                (Component::DraftPass, Some(plan)) => self.kept(plan),
                _ => 1.0,
            };
            let rows = (sample.width * sample.context) as f64;
            sample.seconds += Seconds(share * self.seconds_per_row_and_token * rows);
        }
        run.header.context = OWN;
        run
    }

    /// The planted speedup of a plan, the cut of the last iteration left out.
    fn truth(&self, plan: &DraftPlan, context: f64) -> f64 {
        let (gamma, window) = (plan.predictors.get(), plan.skip.window().unwrap());
        let row = self.seconds_per_row_and_token * context;
        let fixed = |width| self.planted.full_seconds(width, 0) + 1e-6 * context / LONGER as f64;
        let drafted = self.kept(&Plan::Speculate(plan.clone())) * gamma as f64 * row;
        let draft = self.planted.iteration_seconds(plan, 0)
            - self.planted.full_seconds(gamma + 1, 0)
            + drafted;
        let iteration = draft + fixed(gamma + 1) + (gamma + 1) as f64 * row;
        let rates = self.planted.rates(window, gamma);
        expected_tokens(&rates) * (fixed(1) + row + 4e-5) / iteration
    }

    fn best(&self, context: f64) -> f64 {
        self.planted.plans().iter().map(|plan| self.truth(plan, context)).fold(0.0, f64::max)
    }

    fn asked(&self, contexts: &[usize]) -> ByContext {
        let run = self.run();
        let request = Request::of(&run.header);
        let choice = choose(&run, &request).unwrap().recommendation.choice;
        by_context(&run, &request, contexts, choice.as_ref()).unwrap()
    }
}

#[test]
fn the_plan_of_each_context_is_near_the_planted_best_of_it() {
    let world = World::new(2e-6);
    let found = world.asked(&[128, 512, 1024]);
    let mut drafts = Vec::new();
    for at in &found.contexts {
        let plan = at.plan.as_ref().unwrap();
        let (own, best) =
            (world.truth(plan.draft().unwrap(), at.context as f64), world.best(at.context as f64));
        assert!(own / best > 0.97, "{plan} has {own} at {}, the best {best}", at.context);
        let speedup = at.speedup.unwrap();
        assert!((speedup.value / own - 1.0).abs() < 0.06, "{speedup} for {own} at {}", at.context);
        assert_eq!(at.basis, ContextBasis::Predicted, "{}", at.context);
        drafts.push(plan.draft().unwrap().predictors.get());
    }
    assert!(drafts[0] > drafts[2], "fewer drafts at longer contexts: {drafts:?}");
    let [.., last] = &found.contexts[..] else { panic!() };
    assert!(last.loss_of_choice.unwrap().value > 0.0, "{last:?}");
    // Plain decoding, the choice, and what is best elsewhere.
    assert!(found.curves.len() >= 3 && found.curves[0].plan == Plan::Plain);
    assert!(found.curves.iter().all(|curve| curve.points.len() == 3));
}

/// source: the planted speedup of the best of all plans, followed to 1 by bisection
#[test]
fn speculation_stops_to_pay_where_the_planted_best_falls_to_one() {
    let world = World::new(8e-6);
    let found = world.asked(&[128, 256, 512, 1024]);
    let (mut pays, mut stops) = (128.0, 4096.0);
    while stops - pays > 0.5 {
        let middle = (pays + stops) / 2.0;
        if world.best(middle) > 1.0 { pays = middle } else { stops = middle }
    }
    let limit = found.limit.unwrap();
    let crossing = limit.crossing.unwrap_or_else(|| panic!("{limit:?}, truth {pays}"));
    assert!((crossing.value / pays - 1.0).abs() < 0.2, "{crossing} for {pays}");
    assert!(limit.pays_up_to < Some(pays as usize + 64), "{limit:?}");
    assert!(limit.stops_by.is_some_and(|stops| stops as f64 > 0.9 * pays), "{limit:?}");
    let [.., last] = &found.contexts[..] else { panic!() };
    assert_ne!(last.verdict, Answer::Speculate, "{last:?}");
}

#[test]
fn beyond_the_timed_contexts_it_is_extrapolated_and_within_them_it_pays_at_all() {
    let world = World::new(0.0);
    let found = world.asked(&[64, 128, 1024, 4096]);
    let bases: Vec<_> = found.contexts.iter().map(|at| at.basis).collect();
    use ContextBasis::{Extrapolated, Predicted};
    assert_eq!(bases, [Extrapolated, Predicted, Predicted, Extrapolated]);
    let limit = ContextLimit { pays_up_to: Some(4096), stops_by: None, crossing: None };
    assert_eq!(found.limit, Some(limit));
    assert_eq!(CONTEXT * LONGER, 1024, "the longest that is timed");
}

#[test]
fn at_the_context_of_the_run_it_is_the_answer_of_the_run() {
    let world = World::new(2e-6);
    let mut run = world.run();
    let plans: Vec<DraftPlan> = world
        .planted
        .plans()
        .into_iter()
        .filter(|plan| plan.drafting == Drafting::Simultaneous)
        .step_by(5)
        .collect();
    run.observations.throughput =
        world.planted.throughput(&plans, &run.observations.traces, 0..10, false);
    let request = Request::of(&run.header);
    let choice = choose(&run, &request).unwrap().recommendation.choice.unwrap();
    let found = by_context(&run, &request, &[OWN, 4 * OWN], Some(&choice)).unwrap();
    let own = &found.contexts[0];
    assert_eq!(own.plan.as_ref(), Some(&choice.plan));
    assert_eq!(own.speedup, choice.measured_speedup.or(choice.predicted_speedup));
    assert_eq!(own.tokens_per_s, choice.tokens_per_s);
    assert_eq!(own.loss_of_choice.map(|loss| loss.value), Some(0.0));
    assert_ne!(found.contexts[1].basis, ContextBasis::Measured, "no block was run there");
    // One context, or a question about another than the run's own: nothing to compare.
    assert_eq!(by_context(&run, &request, &[OWN], None).unwrap(), ByContext::default());
    let other = Request { contexts: vec![(512, 1.0)], ..request };
    assert_eq!(by_context(&run, &other, &[128, 512], None).unwrap(), ByContext::default());
}
