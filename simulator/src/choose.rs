//! The choice: which window, how many predictors, which drafting.
//!
//! Tokens per iteration come from exact replay of traces, costs from passes timed in situ; every
//! plan is predicted with an interval, the best one that fits the memory is chosen, and what cannot
//! be told apart from it is listed. Where plans were run end to end, the first half of their blocks
//! helps to choose, through what it says about the costs of all plans, and only the second half is reported. Where the
//! leading plans were set beside each other (a run-off), their costs there decide among them.

mod baseline;
pub mod machines;
mod notes;
pub mod runs;
mod select;
pub mod with_curves;

use crate::cost::improvement::{IterationCost, break_even_acceptance};
use crate::cost::memory::plan_memory;
use crate::error::{Error, Result};
use crate::fit::check_machine;
use crate::predict::additive::Additive;
use crate::predict::costs::Costs;
use crate::predict::measured::Blocks;
use crate::predict::prediction::{Known, Pool, Prediction, Texts, predict};
use crate::predict::reported::{Reported, reported};
use crate::tokens::curves::AcceptanceRate;
use crate::traces::table::{TraceTable, skipped_layers};
use crate::validate;
use s3d_data::memory::Memory;
use s3d_data::{
    BlockPurpose, Bytes, Estimate, Plan, Recommendation, Run, RunHeader, SkipRatio,
    ThroughputSample,
};
use serde::Serialize;

/// What is asked of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Contexts in tokens, with weights: one, or a range.
    pub contexts: Vec<(usize, f64)>,
    /// Peak memory that a plan must fit.
    pub memory_budget: Option<Bytes>,
    /// Most predictors.
    pub gamma_max: usize,
    /// Which machine of a merged run.
    pub machine: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Bootstrap draws.
    pub draws: usize,
    /// Whether plans that were run end to end are predicted as if they had not been, to say how wrong
    /// predictions are; of no use to who only asks for the choice.
    pub with_errors: bool,
}

impl Request {
    /// The question that the run's own header asks.
    pub fn of(header: &RunHeader) -> Self {
        Self {
            contexts: vec![(header.context, 1.0)],
            memory_budget: header.memory_budget_bytes,
            gamma_max: header.gamma_max.get(),
            machine: 0,
            seed: header.seed,
            draws: 1000,
            with_errors: true,
        }
    }

    /// The weighted mean context, in tokens: what records call the context.
    pub fn context(&self) -> usize {
        let weights: f64 = self.contexts.iter().map(|c| c.1).sum();
        let sum: f64 = self.contexts.iter().map(|c| c.0 as f64 * c.1).sum();
        (sum / weights).round() as usize
    }

    fn check(&self, run: &Run) -> Result<()> {
        check_machine(run, self.machine)?;
        if self.gamma_max == 0 {
            return Err(Error::domain("gamma_max", "at least 1", 0));
        }
        if self.draws < 40 {
            return Err(Error::domain("bootstrap draws", "at least 40", self.draws));
        }
        self.check_budget(&run.header)
    }

    /// A budget is of use only where the memory is known.
    ///
    /// # Errors
    /// A budget on a model whose shape is not known.
    pub fn check_budget(&self, header: &RunHeader) -> Result<()> {
        match self.memory_budget {
            Some(budget) if !header.model.shape.is_known() => {
                let what = format!(
                    "peak memory of {}, needed to check the memory budget of {budget}",
                    header.model.name
                );
                let advice = "only its number of layers is known: import again with --model NAME of a \
                              known geometry (such as llama-2-7b) and --dtype, or leave the budget out";
                Err(Error::missing(what, advice))
            }
            _ => Ok(()),
        }
    }
}

/// All that is known of one plan: a row of the evaluated grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanEvaluation {
    /// The plan.
    pub plan: Plan,
    /// Speedup in the paper's ideal case at the same tokens per iteration.
    pub ideal_speedup: Option<f64>,
    /// Predicted speedup over plain decoding.
    pub predicted_speedup: Estimate,
    /// Speedup measured end to end ([`reported()`]); nothing where too few blocks or texts were run.
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
    /// Speedup to choose by: the prediction, moved by what was run end to end of the plan's own skip set; of a plan
    /// in the run-off, its tokens per iteration by replay over what an iteration cost there.
    pub score: f64,
    /// Weights, cache, activations, masks; null where the model's shape is not known.
    pub peak_memory_bytes: Option<u64>,
    /// Whether that fits the budget, where there is one.
    pub fits: bool,
    /// Whether its draft pass was timed; else it comes from a law.
    pub timed: bool,
    /// Whether no plan that fits is both faster and smaller.
    pub pareto: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// What is recorded and printed.
    pub recommendation: Recommendation,
    /// Every plan, the fastest prediction first.
    pub grid: Vec<PlanEvaluation>,
    /// Of the choice and its ties, the one with the least memory.
    pub cheapest_tie: Option<Plan>,
    /// Whether a context lies outside those that were timed.
    pub extrapolated: bool,
}

/// Chooses from what `run` holds.
///
/// # Errors
/// No traces, no timed plain pass, a trace that contradicts itself, nonsense in the request.
pub fn choose(run: &Run, request: &Request) -> Result<Choice> {
    request.check(run)?;
    let evaluated = Evaluated::new(run, request)?;
    select::select(run, request, &evaluated)
}

/// All plans predicted, with what choosing needs.
pub(crate) struct Evaluated<'a> {
    pub(crate) predictions: Vec<Prediction>,
    /// Speedups to choose by: the predictions, moved by what was run of the plans' own skip sets; or from a run-off.
    pub(crate) scores: Vec<f64>,
    /// Plans that were set beside each other for this question.
    pub(crate) ran_off: Vec<bool>,
    pub(crate) memory: Vec<Option<Memory>>,
    pub(crate) fits: Vec<bool>,
    pub(crate) best_of_draws: Vec<(usize, f64)>,
    pub(crate) probability_best: Vec<f64>,
    pub(crate) costs: Costs,
    pub(crate) blocks: Blocks<'a>,
    /// What end-to-end blocks say of each plan's speedup, where they are enough.
    pub(crate) reported: Vec<Option<Reported>>,
    /// End-to-end blocks of each plan.
    pub(crate) block_counts: Vec<usize>,
    pub(crate) prompts: usize,
}

impl<'a> Evaluated<'a> {
    pub(crate) fn new(run: &'a Run, request: &Request) -> Result<Self> {
        let table = TraceTable::of(run)?;
        if table.ways.is_empty() {
            let advice = "measure acceptance first: s3d measure acceptance";
            return Err(Error::missing("acceptance traces in the run", advice));
        }
        let costs = Costs::new(run, request.machine, &request.contexts)?;
        let texts = Texts::new(&table, request.gamma_max, request.draws, request.seed);
        let blocks = Blocks::new(run, request.machine, request.seed);
        let runs = validate::known_runs(run, request)?;
        let pool = Pool::new(request.seed, request.draws);
        let predictions = predict(&texts, &Known { costs: &costs, runs: &runs }, &pool);
        if predictions.is_empty() {
            let advice =
                "measure latency of draft and verify passes, with texts of two tokens or more";
            return Err(Error::missing("plan whose cost is known", advice));
        }
        let beside = run_off(run, request);
        let score = |p: &Prediction| match beside.iteration_cost(&Plan::Speculate(p.plan.clone())) {
            Some(cost) => (p.tokens_per_iteration.value / cost.value, true),
            None => {
                let own = runs.with_own(&p.plan).factor / runs.of(&p.plan).factor;
                (p.speedup.value * own, false)
            }
        };
        let (scores, ran_off) = predictions.iter().map(score).unzip();
        let memory: Vec<Option<Memory>> = predictions
            .iter()
            .map(|p| plan_memory(run, &p.plan, request.context()))
            .collect::<Result<_>>()?;
        let budget = request.memory_budget.unwrap_or(Bytes(u64::MAX));
        let fits: Vec<bool> =
            memory.iter().map(|m| m.is_none_or(|m| m.peak_bytes <= budget)).collect();
        let best_of_draws = best_of_draws(&predictions, &fits, request.draws);
        let probability_best = probability_best(predictions.len(), &best_of_draws);
        let prompts = table.prompts.len();
        let timed = all_blocks(run, request.machine);
        let names: Vec<Plan> =
            predictions.iter().map(|p| Plan::Speculate(p.plan.clone())).collect();
        let reported = names.iter().map(|plan| reported(plan, &texts, &timed, &pool)).collect();
        let block_counts = names.iter().map(|plan| timed.blocks(plan)).collect();
        Ok(Self {
            predictions,
            scores,
            ran_off,
            memory,
            fits,
            best_of_draws,
            probability_best,
            costs,
            blocks,
            reported,
            block_counts,
            prompts,
        })
    }
}

/// What iterations cost by all end-to-end blocks of a machine.
pub(crate) fn all_blocks(run: &Run, machine: usize) -> Additive<'_> {
    Additive::fit(run.observations.throughput.iter().filter(|sample| sample.machine == machine))
}

/// What iterations cost in the blocks that set the leading plans beside each other: what a machine does to wide passes
/// changes within minutes, and there it did the same to all. Nothing at other contexts, where others may lead.
fn run_off<'a>(run: &'a Run, request: &Request) -> Additive<'a> {
    let asked = request.contexts == Request::of(&run.header).contexts;
    let used = |sample: &&ThroughputSample| {
        let here = asked && sample.machine == request.machine;
        here && sample.purpose() == BlockPurpose::RunOff
    };
    Additive::fit(run.observations.throughput.iter().filter(used))
}

/// Speedup of a prediction in the ideal case: its tokens per iteration at the paper's costs.
pub(crate) fn ideal_speedup(run: &Run, prediction: &Prediction) -> Option<f64> {
    let layers = run.header.model.shape.layers as f64;
    let ratio = SkipRatio::new(skipped_layers(&prediction.plan.skip) / layers).ok()?;
    let plan = &prediction.plan;
    let cost = IterationCost::ideal(plan.drafting, ratio, plan.predictors.get());
    Some(cost.improvement(prediction.tokens_per_iteration.value))
}

/// The fastest plan that fits in each draw, with its speedup.
fn best_of_draws(predictions: &[Prediction], fits: &[bool], draws: usize) -> Vec<(usize, f64)> {
    let mut best = vec![(usize::MAX, 0.0); draws];
    for (index, prediction) in predictions.iter().enumerate().filter(|(index, _)| fits[*index]) {
        for (best, &speedup) in best.iter_mut().zip(&prediction.draws) {
            if speedup > best.1 {
                *best = (index, speedup);
            }
        }
    }
    best
}

/// In which share of the draws each plan is the fastest.
fn probability_best(plans: usize, best: &[(usize, f64)]) -> Vec<f64> {
    let mut share = vec![0.0; plans];
    let winners = best.iter().filter_map(|(index, _)| (*index < plans).then_some(*index));
    winners.for_each(|index| share[index] += (best.len() as f64).recip());
    share
}

/// The equal acceptance rate at which a plan of this cost breaks even.
pub(crate) fn break_even(prediction: &Prediction) -> Option<f64> {
    let cost = &prediction.cost;
    let iteration =
        IterationCost::new(1.0, cost.draft.value, cost.verify.value, cost.step.value).ok()?;
    break_even_acceptance(&iteration, prediction.plan.predictors.get()).map(AcceptanceRate::get)
}
