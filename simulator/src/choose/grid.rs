//! Every plan with all that is known of it.

use crate::choose::baseline::plain_rate;
use crate::predict::evaluated::{Evaluated, break_even, ideal_speedup};
use crate::statistics::product;
use s3d_data::{Drafting, Estimate, Plan, Recommendation, Run, Skip, SkipWindow};
use serde::Serialize;

/// All that is known of one plan: a row of the evaluated grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanEvaluation {
    /// The plan.
    pub plan: Plan,
    /// Speedup in the paper's ideal case at the same tokens per iteration.
    pub ideal_speedup: Option<f64>,
    /// Predicted speedup over plain decoding; what was measured where nothing was traced.
    pub predicted_speedup: Estimate,
    /// Whether that is a prediction.
    pub predicted: bool,
    /// Speedup measured end to end ([`crate::predict::reported`]); nothing where too few blocks or
    /// texts were run.
    pub measured_speedup: Option<Estimate>,
    /// Predicted tokens per second, where the speed of plain decoding is known.
    pub predicted_tokens_per_s: Option<Estimate>,
    /// Tokens per iteration by replay.
    pub tokens_per_iteration: Estimate,
    /// Tokens per iteration at which the plan breaks even: the cost of an iteration in plain steps.
    pub break_even_tokens: f64,
    /// Equal acceptance rate at which it breaks even; null when full acceptance loses.
    pub break_even_acceptance: Option<f64>,
    /// Share of draws in which it is the best that fits the memory.
    pub probability_best: f64,
    /// Speedup to choose by: the prediction, moved by what was run end to end of the plan's own
    /// skip set; of a plan in the run-off, its tokens per iteration by replay over what an
    /// iteration cost there.
    pub score: f64,
    /// Weights, cache, activations, masks; null where the model's shape is not known.
    pub peak_memory_bytes: Option<u64>,
    /// Whether that fits the budget, where there is one.
    pub fits: bool,
    /// Whether its draft pass was timed; else it comes from a law.
    pub timed: bool,
    /// Whether no plan that fits is both faster and smaller.
    pub pareto: bool,
    /// Tokens per second: of the choice and its ties those recommended, else the prediction.
    pub tokens_per_s: Option<Estimate>,
    /// Whether it cannot be told apart from the choice.
    pub tie: bool,
}

impl PlanEvaluation {
    /// The predicted speedup, where it is a prediction.
    pub fn prediction(&self) -> Option<Estimate> {
        self.predicted.then_some(self.predicted_speedup)
    }

    /// How it drafts.
    pub fn drafting(&self) -> Option<Drafting> {
        self.plan.draft().map(|draft| draft.drafting)
    }

    /// Tokens drafted per iteration.
    pub fn predictors(&self) -> usize {
        self.plan.draft().map_or(0, |draft| draft.predictors.get())
    }

    /// Layers skipped (a free set: whole layers' worth, rounded).
    pub fn skipped(&self) -> usize {
        match self.plan.draft().map(|draft| &draft.skip) {
            Some(Skip::Window(window)) => window.len(),
            Some(Skip::Set { layers, .. }) => (layers.attention.len() + layers.mlp.len()) / 2,
            None => 0,
        }
    }

    /// The skipped window, where it is one.
    pub fn window(&self) -> Option<SkipWindow> {
        self.plan.draft()?.skip.window()
    }

    /// Whether it skips the window in the middle of `layers`.
    pub fn is_symmetric(&self, layers: usize) -> bool {
        let middle = SkipWindow::symmetric(layers, self.skipped()).ok();
        self.window().is_some() && self.window() == middle
    }
}

/// Every plan, the fastest prediction first, the Pareto front of speed and memory and what ties
/// with the choice marked.
pub(super) fn grid(
    run: &Run,
    all: &Evaluated,
    recommendation: &Recommendation,
) -> Vec<PlanEvaluation> {
    let ties = &recommendation.ties;
    let mut order: Vec<usize> = (0..all.predictions.len()).collect();
    let value = |index: usize| all.predictions[index].speedup.value;
    order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    let plain = plain_rate(all);
    let mut smallest = u64::MAX;
    let row = |index: usize| {
        let (prediction, name) = (&all.predictions[index], all.plan(index));
        let peak = all.memory[index].map(|memory| memory.peak_bytes.0);
        // Rows come fastest first: on the front is what is smaller than all before it.
        let pareto = all.fits[index] && peak.is_some_and(|peak| peak < smallest);
        smallest = peak.filter(|_| pareto).unwrap_or(smallest);
        let mut listed = ties.iter().chain(&recommendation.choice);
        let recommended = listed.find(|result| result.plan == name);
        let predicted = plain.map(|plain| product(prediction.speedup, plain));
        PlanEvaluation {
            tokens_per_s: recommended.and_then(|result| result.tokens_per_s).or(predicted),
            tie: ties.iter().any(|tie| tie.plan == name),
            ideal_speedup: ideal_speedup(run, prediction),
            predicted_speedup: prediction.speedup,
            predicted: all.traced,
            predicted_tokens_per_s: predicted,
            measured_speedup: all.reported[index].as_ref().map(|reported| reported.speedup),
            plan: name,
            tokens_per_iteration: prediction.tokens_per_iteration,
            break_even_tokens: prediction.cost.in_plain_steps(),
            break_even_acceptance: break_even(prediction),
            probability_best: all.probability_best[index],
            peak_memory_bytes: peak,
            score: all.scores[index],
            fits: all.fits[index],
            timed: prediction.cost.draft.timed,
            pareto,
        }
    };
    order.into_iter().map(row).collect()
}
