//! What was concluded: `fit.json` and `recommendation.json`.

mod by_batch;
mod by_context;
mod by_task;
mod kinds;

pub use by_batch::{BatchResult, BreakEvenBatch};
pub use by_context::{CONTEXTS, ContextBasis, ContextLimit, ContextResult, ContextRow};
pub use by_task::TaskResult;
pub use kinds::{Family, LawKind, RegretBasis};

use crate::error::{Error, Result};
use crate::limits::{self, within};
use crate::plan::{Drafting, LayerSet, Plan, SkipRatio};
use crate::records::bounds::Bounds;
use crate::records::latency::Component;
use crate::run::{Drawn, TimesFrom};
use crate::units::{Estimate, Seconds};
use serde::{Deserialize, Serialize};

/// Whether a number was measured or predicted by the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Measured end to end.
    Measured,
    /// Computed from the cost model.
    Predicted,
}

/// The answer to "should this model speculate on this machine?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// 95 % sure that the choice is faster than plain decoding.
    Speculate,
    /// 95 % sure that no plan gains more than 3 %, or no plan fits the memory.
    DoNot,
    /// Neither; the reason says what is missing.
    CannotTellYet,
}

/// One fitted acceptance curve of one predictor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveFit {
    /// How drafts were made.
    pub drafting: Drafting,
    /// The predictor, from 1.
    pub predictor: usize,
    /// The family of the curve.
    pub family: Family,
    /// Parameters by name (`u`, `ceiling`, `centre`, `slope`), each with its interval.
    pub parameters: Vec<Parameter>,
    /// Akaike's criterion; lower is better.
    pub aic: f64,
    /// Root mean square error of left-out skip counts.
    pub held_out_rmse: Option<f64>,
    /// Pearson dispersion; 1 = binomial.
    pub dispersion: f64,
    /// Whether this family is the best of its predictor by AIC.
    pub best: bool,
    /// `(skip ratio, fitted acceptance)` along the curve, for drawing.
    pub points: Vec<(f64, f64)>,
}

/// A named number with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub estimate: Estimate,
}

/// Measured acceptance of one predictor at one skip count: counts, and the rate with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcceptancePoint {
    /// How drafts were made.
    pub drafting: Drafting,
    /// Layers skipped.
    pub skipped: usize,
    /// The plan's skip, in plan text (`4..8`).
    pub skip: String,
    /// The predictor, from 1.
    pub predictor: usize,
    /// The workload, or null over all.
    pub task: Option<String>,
    /// Times the draft was judged.
    pub attempted: u64,
    /// Times it was right.
    pub accepted: u64,
    /// Conditional acceptance rate with the prompt-cluster bootstrap interval.
    pub rate: Estimate,
}

/// A law for the time of a pass, with how well it predicts left-out cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawFit {
    /// The pass or part of one that it describes.
    pub what: Component,
    /// Its kind.
    pub law: LawKind,
    /// Parameters by name, in seconds per unit.
    pub parameters: Vec<Parameter>,
    /// Median relative error over left-out cells.
    pub held_out_error: Option<f64>,
    /// Whether it is the one used.
    pub chosen: bool,
}

/// `fit.json`: the curves and the cost law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Version of the format.
    pub schema_version: u64,
    /// Acceptance curves.
    pub curves: Vec<CurveFit>,
    /// Measured acceptance behind them.
    pub acceptance: Vec<AcceptancePoint>,
    /// Cost laws.
    pub laws: Vec<LawFit>,
    /// Time of a full pass by width, over that of width 1, at the run's context: `t(w) / t(1)`.
    pub width_ratio: Vec<(usize, Estimate)>,
}

/// A plan with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanResult {
    /// The plan in text.
    pub plan: Plan,
    /// How drafts are made.
    pub drafting: Drafting,
    /// First skipped layer; null for a free set.
    pub skip_start: Option<usize>,
    /// First layer after the skipped ones; null for a free set.
    pub skip_end: Option<usize>,
    /// Layers of the model.
    pub layers: usize,
    /// Share of layers skipped.
    pub skip_ratio: SkipRatio,
    /// The free set; null for a window.
    pub skip_set: Option<LayerSet>,
    /// Tokens drafted per iteration.
    pub predictors: usize,
    /// Speedup over plain decoding that the cost model predicts.
    pub predicted_speedup: Option<Estimate>,
    /// Speedup measured end to end: tokens per iteration over all traced texts, over the cost of an
    /// iteration by all end-to-end blocks. Null below 8 blocks or 4 texts.
    pub measured_speedup: Option<Estimate>,
    /// The plain ratio: median over the plan's own blocks, those that were used to choose left out.
    #[serde(default)]
    pub direct_speedup: Option<Estimate>,
    /// Tokens per second.
    pub tokens_per_s: Option<Estimate>,
    /// Accepted drafts + 1, per iteration.
    pub tokens_per_iteration: Option<Estimate>,
    /// Where the two rates above come from.
    pub basis: Basis,
    /// Weights, KV cache, activations and masks.
    pub peak_memory_bytes: Option<u64>,
    /// Share of bootstrap draws in which this plan is the best.
    #[serde(default)]
    pub probability_best: Option<f64>,
}

impl PlanResult {
    /// The layers that an early exit keeps; none for a window that does not reach the top, or a
    /// free set: no early exit equals those.
    pub fn early_exit_layer(&self) -> Option<usize> {
        let reaches_top = self.skip_set.is_none() && self.skip_end == Some(self.layers);
        self.skip_start.filter(|_| reaches_top)
    }

    /// Layers that a draft pass runs; of a free set, a layer counts that is run in part.
    pub fn kept_layers(&self) -> usize {
        let skips = |layer: &usize| match (&self.skip_set, self.skip_start, self.skip_end) {
            (Some(set), _, _) => set.attention.contains(layer) && set.mlp.contains(layer),
            (None, Some(start), Some(end)) => (start..end).contains(layer),
            _ => false,
        };
        (0..self.layers).filter(|layer| !skips(layer)).count()
    }

    /// Tokens that a verify pass feeds: the drafts and the token before them.
    pub fn verify_width(&self) -> usize {
        self.predictors + 1
    }
}

/// Plain decoding, the measure of every speedup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Tokens per second of plain decoding.
    pub tokens_per_s: Option<Estimate>,
    /// Tokens per second of plain decoding on candle's own matmul.
    #[serde(default)]
    pub stock_tokens_per_s: Option<Estimate>,
    /// Weights streamed per second over the measured read bandwidth.
    #[serde(default)]
    pub bandwidth_share: Option<Estimate>,
}

/// How well held-out plans were predicted (fractions, not percent).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionError {
    /// Median of `|predicted - measured| / measured`.
    pub median: f64,
    /// Its 95th percentile.
    pub p95: f64,
    /// Share of measured values inside their predicted 95 % intervals.
    pub coverage_95: f64,
    /// Number of held-out plans.
    pub held_out: usize,
}

/// `recommendation.json`: the choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Version of the format.
    pub schema_version: u64,
    /// The model's name.
    pub model: String,
    /// The device.
    pub device: String,
    /// The machine whose times these are.
    #[serde(default)]
    pub machine: Option<String>,
    /// Precision of the weights.
    pub dtype: String,
    /// Net2Net widening: 1 = none.
    pub widen: usize,
    /// Context the choice is made for, in tokens.
    pub context: usize,
    /// Probabilities of acceptance that were imposed instead of measured, one per predictor.
    #[serde(default)]
    pub imposed: Option<Vec<f64>>,
    /// How the tokens of texts were drawn; absent: the most likely ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Drawn>,
    /// Plain decoding.
    pub baseline: Baseline,
    /// The best speculative plan, also when `speculate` is false.
    pub choice: Option<PlanResult>,
    /// Whether the choice beats plain decoding with 95 % confidence: the verdict is "speculate".
    pub speculate: bool,
    /// Speculate, do not, or cannot tell yet; null in files of before there were three.
    #[serde(default)]
    pub verdict: Option<Answer>,
    /// Why not, in words.
    pub reason: Option<String>,
    /// What the numbers rest on and leave open, one sentence each: why there is no interval, which
    /// numbers of drafts were counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Plans that cannot be told apart from the choice.
    pub ties: Vec<PlanResult>,
    /// The choice by task, where the traced texts name at least two with four texts each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_task: Vec<TaskResult>,
    /// The best plan for each number of texts at once, ascending, where passes over several texts
    /// were timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_batch: Vec<BatchResult>,
    /// From how many texts at once on plain decoding wins; left out where that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_even_batch: Option<BreakEvenBatch>,
    /// The choice by context, where the run was asked about several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_context: Vec<ContextResult>,
    /// Up to which of these contexts speculation pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_limit: Option<ContextLimit>,
    /// Bound on 1 - choice / best, in tokens per second.
    pub regret_bound: Option<Estimate>,
    /// How the bound was obtained.
    #[serde(default)]
    pub regret_basis: Option<RegretBasis>,
    /// Error on held-out plans.
    pub prediction_error: Option<PredictionError>,
    /// Number of plans compared.
    pub evaluated: usize,
    /// Seconds spent measuring.
    pub seconds_measuring: Seconds,
}

impl Recommendation {
    /// Where its times come from.
    pub fn times_from(&self) -> TimesFrom {
        TimesFrom::of_device(&self.device)
    }
}

impl Recommendation {
    /// Whether such a `recommendation.json` can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub fn check(&self) -> Result<()> {
        within("context", self.context, &(1..=limits::TOKENS))?;
        self.sampling.as_ref().map_or(Ok(()), Drawn::check)?;
        within("seconds_measuring", self.seconds_measuring.0, &limits::SPENT_SECONDS)?;
        self.choice.iter().chain(&self.ties).try_for_each(PlanResult::check)?;
        let layers = self.choice.as_ref().map_or(limits::LAYERS, |choice| choice.layers);
        self.by_batch.iter().try_for_each(|row| row.check(layers))?;
        self.break_even_batch.iter().try_for_each(BreakEvenBatch::check)?;
        self.by_task.iter().try_for_each(|task| task.check(layers))?;
        within("by_context contexts", self.by_context.len(), &(0..=CONTEXTS))?;
        self.by_context.iter().try_for_each(|context| context.check(layers))
    }
}

impl PlanResult {
    fn check(&self) -> Result<()> {
        let layers = within("layers", self.layers, &(1..=limits::LAYERS))?;
        within("predictors", self.predictors, &(1..=limits::PREDICTORS))?;
        let start = within("skip_start", self.skip_start.unwrap_or(0), &(0..=layers))?;
        within("skip_end", self.skip_end.unwrap_or(layers), &(start..=layers))?;
        self.skip_set.as_ref().map_or(Ok(()), LayerSet::check)?;
        let skipped = self.skip_set.iter().flat_map(|set| set.attention.iter().chain(&set.mlp));
        skipped
            .copied()
            .try_for_each(|layer| within("skip_set", layer, &(0..=layers - 1)).map(drop))?;
        Bounds { layers, machines: 1 }
            .plan(&self.plan)
            .map_err(|e| Error::invalid(format!("plan: {e}")))
    }
}
