//! Every traced plan predicted, with what choosing among them needs.

use crate::cost::improvement::break_even_acceptance;
use crate::cost::measured::MeasuredCosts;
use crate::cost::memory::plan_memory;
use crate::cost::model::IterationCost;
use crate::error::{Error, Result};
use crate::predict::additive::{Additive, StartSpread};
use crate::predict::blocks::Blocks;
use crate::predict::plans_alone::as_predictions;
use crate::predict::plans_run::known_runs;
use crate::predict::prediction::{Known, Prediction, predict};
use crate::predict::reported::Reported;
use crate::predict::request::Request;
use crate::predict::walked::Walked;
use crate::tokens::curves::AcceptanceRate;
use crate::traces::table::skipped_layers;
use s3d_data::memory::Memory;
use s3d_data::{BlockPurpose, Bytes, DraftPlan, Plan, Run, SkipRatio, ThroughputSample, TimesFrom};

/// All plans predicted, with what choosing needs.
pub(crate) struct Evaluated<'a> {
    /// The traces, walked.
    pub(crate) walked: Walked<'a>,
    pub(crate) predictions: Vec<Prediction>,
    /// Speedups to choose by: the predictions, moved by what was run of the plans' own skip sets;
    /// or from a run-off.
    pub(crate) scores: Vec<f64>,
    /// Plans that were set beside each other for this question.
    pub(crate) ran_off: Vec<bool>,
    pub(crate) memory: Vec<Option<Memory>>,
    pub(crate) fits: Vec<bool>,
    pub(crate) best_of_draws: Vec<(usize, f64)>,
    pub(crate) probability_best: Vec<f64>,
    pub(crate) costs: MeasuredCosts,
    /// Seconds of a plain pass at the context asked about over those at the run's own.
    pub(crate) plain_growth: f64,
    pub(crate) blocks: Blocks<'a>,
    /// What end-to-end blocks say of each plan's speedup, where they are enough.
    pub(crate) reported: Vec<Option<Reported>>,
    /// End-to-end blocks of each plan.
    pub(crate) block_counts: Vec<usize>,
    pub(crate) prompts: usize,
    /// Whether anything was traced; else only plans that were run are known, and nothing is
    /// predicted.
    pub(crate) traced: bool,
}

impl<'a> Evaluated<'a> {
    pub(crate) fn new(run: &'a Run, request: &Request) -> Result<Self> {
        let walked = Walked::new(run, request)?;
        let traced = !walked.table.ways.is_empty();
        if !traced && !runs_alone(run, request, &walked) {
            let advice = "measure acceptance first: s3d measure acceptance";
            return Err(Error::missing("acceptance traces in the run", advice));
        }
        let costs =
            MeasuredCosts::of_texts(run, request.machine, &request.contexts, request.batch)?;
        let blocks = Blocks::new(run, request.machine, request.seed);
        let runs = known_runs(run, request, &walked.table)?;
        let predictions = match traced {
            true => predict(&walked.texts, &Known { costs: &costs, runs: &runs }, &walked.pool),
            false => as_predictions(run, request, &walked),
        };
        some_known(&predictions)?;
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
            .map(|p| plan_memory(run, &p.plan, (request.context(), request.batch)))
            .collect::<Result<_>>()?;
        let budget = request.memory_budget.unwrap_or(Bytes(u64::MAX));
        let fits: Vec<bool> =
            memory.iter().map(|m| m.is_none_or(|m| m.peak_bytes <= budget)).collect();
        let best_of_draws = best_of_draws(&predictions, &fits, request.draws);
        let probability_best = probability_best(predictions.len(), &best_of_draws);
        let prompts = if traced { walked.table.prompts.len() } else { walked.counted.texts() };
        let here = request.asks_where_measured(&run.header);
        let (reported, block_counts) = match here {
            true => predictions.iter().map(|p| run_of(&walked, &p.plan)).unzip(),
            false => (vec![None; predictions.len()], vec![0; predictions.len()]),
        };
        let plain_growth = if here { 1.0 } else { plain_growth(run, request, &costs)? };
        Ok(Self {
            walked,
            predictions,
            scores,
            ran_off,
            memory,
            fits,
            best_of_draws,
            probability_best,
            costs,
            plain_growth,
            blocks,
            reported,
            block_counts,
            prompts,
            traced,
        })
    }

    /// The plan of row `index`.
    pub(crate) fn plan(&self, index: usize) -> Plan {
        Plan::Speculate(self.predictions[index].plan.clone())
    }
}

/// Refuses to choose where no cost is known.
fn some_known(predictions: &[Prediction]) -> Result<()> {
    let advice = "measure latency of draft and verify passes, with texts of two tokens or more";
    match predictions.is_empty() {
        true => Err(Error::missing("plan whose cost is known", advice)),
        false => Ok(()),
    }
}

/// What end-to-end blocks say of a plan's speedup, and how many of them hold it.
fn run_of(walked: &Walked, draft: &DraftPlan) -> (Option<Reported>, usize) {
    let plan = Plan::Speculate(draft.clone());
    let reported = match walked.table.ways.is_empty() {
        false => walked.reported(&plan),
        true => walked.reported_or_counted(&plan),
    };
    (reported, walked.timed.blocks(&plan))
}

/// Whether plans that this engine ran can be chosen from without any trace: at the context that
/// they were run for.
fn runs_alone(run: &Run, request: &Request, walked: &Walked) -> bool {
    run.header.times_from() == TimesFrom::Clock
        && request.asks_where_measured(&run.header)
        && walked.counted.plans().next().is_some()
}

/// Seconds of a plain pass at the context asked about over those at the run's own.
fn plain_growth(run: &Run, request: &Request, costs: &MeasuredCosts) -> Result<f64> {
    let own = Request::of(&run.header).contexts;
    let own = MeasuredCosts::of_texts(run, request.machine, &own, request.batch)?;
    Ok(costs.plain.0 / own.plain.0)
}

/// What iterations cost in the blocks that set the leading plans beside each other: what a machine
/// does to wide passes changes within minutes, and there it did the same to all. Nothing at other
/// contexts, where others may lead.
fn run_off<'a>(run: &'a Run, request: &Request) -> Additive<'a> {
    let asked = request.asks_where_measured(&run.header);
    let used = |sample: &&ThroughputSample| {
        let here = asked && sample.machine == request.machine;
        here && sample.purpose() == BlockPurpose::RunOff
    };
    Additive::fit(run.observations.throughput.iter().filter(used), StartSpread::NONE)
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
    let predictors = prediction.plan.predictors.get();
    break_even_acceptance(&prediction.cost, predictors).map(AcceptanceRate::get)
}
