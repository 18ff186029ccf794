//! Least squares over generations: effects of plans and blocks on the logarithm of seconds per
//! iteration, and how what drafting costs moves with the plain step of its block.
//!
//! Effects of blocks are eliminated: of every generation the mean of its block is taken off.

use linfa_linalg::cholesky::{Cholesky, InverseC};
use ndarray::{Array1, Array2, Axis, s};
use s3d_data::{Plan, ThroughputSample};
use std::collections::{BTreeMap, BTreeSet};

/// Weight of "no slope" beside the generations: their usual noise of 3 % against slopes of 0.1 a
/// draft. Where the state never moves, it alone decides.
const NO_SLOPE: f64 = 0.09;

/// One generation.
pub(super) struct Point<'a> {
    pub(super) plan: &'a Plan,
    block: usize,
    pub(super) start: usize,
    /// Logarithm of seconds per iteration; of a plain step every token is an iteration.
    value: f64,
}

impl<'a> Point<'a> {
    /// Nothing where nothing was decoded.
    pub(super) fn new(sample: &'a ThroughputSample) -> Option<Self> {
        let steps = match sample.plan {
            Plan::Speculate(_) => sample.iterations as f64,
            _ => sample.tokens.saturating_sub(1) as f64,
        };
        let value = (sample.decode_seconds().0 / steps).ln();
        value.is_finite().then_some(Self {
            plan: &sample.plan,
            block: sample.block,
            start: sample.start,
            value,
        })
    }
}

/// How often a plan was run.
pub(super) struct Generations {
    pub(super) all: f64,
    /// Blocks that hold it.
    pub(super) held: usize,
}

/// What was solved. Columns of arrays are plans, plain decoding first; of effects they are the
/// other plans, then the slope.
pub(super) struct LeastSquares<'a> {
    /// The generations of blocks that hold plain decoding.
    pub(super) points: Vec<Point<'a>>,
    /// Logarithm of what an iteration costs in plain steps in the mean state; last the slope.
    pub(super) effects: Array1<f64>,
    /// Degrees of freedom that are left.
    pub(super) free: usize,
    cells: Cells<'a>,
    /// Inverse of the normal equations.
    inverse: Array2<f64>,
    /// What is left of the sums of each block and plan.
    rest: Array2<f64>,
    /// Variance of single generations.
    scatter: f64,
}

impl<'a> LeastSquares<'a> {
    /// Nothing without any plan beside plain decoding.
    pub(super) fn solve(mut points: Vec<Point<'a>>) -> Option<Self> {
        let plain = points.iter().filter(|point| *point.plan == Plan::Plain);
        let tied: BTreeSet<usize> = plain.map(|point| point.block).collect();
        points.retain(|point| tied.contains(&point.block));
        let cells = Cells::new(&points);
        let (inverse, effects) = cells.solve()?;
        let rest = cells.rest(&effects);
        let free = points.len().saturating_sub(cells.plans.len() + cells.states.len());
        let scatter = cells.squares(&points, &rest) / free as f64;
        Some(Self { points, effects, free, cells, inverse, rest, scatter })
    }

    /// The plans other than plain decoding.
    pub(super) fn plans(&self) -> &[&'a Plan] {
        &self.cells.plans[1..]
    }

    pub(super) fn generations(&self, index: usize) -> Generations {
        let counts = self.cells.counts.column(index + 1);
        let held = counts.iter().filter(|count| **count > 0.0).count();
        Generations { all: counts.sum(), held }
    }

    /// Variance of the effect of a plan if all generations scatter alike.
    pub(super) fn variance(&self, index: usize) -> f64 {
        self.scatter * self.inverse[[index, index]]
    }

    /// A row for each plan; products of rows are how the errors of two plans' effects correlate if
    /// all generations scatter alike. All share the steps of plain decoding, and plans of the same
    /// blocks more.
    pub(super) fn correlated(&self) -> Array2<f64> {
        let plans = self.plans().len();
        let deviation = |index: usize| self.inverse[[index, index]].sqrt();
        let correlation = Array2::from_shape_fn((plans, plans), |(i, j)| {
            self.inverse[[i, j]] / (deviation(i) * deviation(j))
        });
        // It is a part of the inverse of a positive definite matrix.
        correlation.cholesky().unwrap_or_else(|_| Array2::eye(plans))
    }

    /// What the rest of each block adds to the effect of a plan.
    pub(super) fn by_block(&self, index: usize) -> Vec<f64> {
        self.cells.scores(&self.rest).dot(&self.inverse.column(index)).to_vec()
    }

    /// See [`super::State::slope_per_draft`].
    pub(super) fn slope(&self) -> f64 {
        self.effects[self.effects.len() - 1]
    }

    /// Mean over the blocks of the logarithm of a plain step, and its standard deviation.
    pub(super) fn plain(&self) -> (f64, f64) {
        (self.cells.mean, self.cells.states.std(0.0))
    }
}

/// Drafts of an iteration of `plan`; 0 without drafts.
pub(super) fn drafts(plan: &Plan) -> f64 {
    plan.draft().map_or(0, |draft| draft.predictors.get()) as f64
}

/// How often each plan was run in each block, and the sums of its logarithms there.
struct Cells<'a> {
    plans: Vec<&'a Plan>,
    /// Drafts of an iteration of each plan, by which its slope is steeper; 0 without drafts.
    drafts: Array1<f64>,
    counts: Array2<f64>,
    sums: Array2<f64>,
    /// Of each block, how far the logarithm of its plain step lies from the mean of all blocks.
    states: Array1<f64>,
    mean: f64,
}

impl<'a> Cells<'a> {
    fn new(points: &[Point<'a>]) -> Self {
        let others: BTreeSet<&Plan> =
            points.iter().map(|point| point.plan).filter(|plan| **plan != Plan::Plain).collect();
        let plans: Vec<&Plan> = [&Plan::Plain].into_iter().chain(others).collect();
        let numbers: BTreeSet<usize> = points.iter().map(|point| point.block).collect();
        let rows: BTreeMap<usize, usize> =
            numbers.into_iter().enumerate().map(|(row, block)| (block, row)).collect();
        let mut counts = Array2::zeros((rows.len(), plans.len()));
        let mut sums = counts.clone();
        for point in points {
            let own = plans[1..].partition_point(|plan| *plan < point.plan) + 1;
            let column = if *point.plan == Plan::Plain { 0 } else { own };
            counts[[rows[&point.block], column]] += 1.0;
            sums[[rows[&point.block], column]] += point.value;
        }
        let steps: Array1<f64> = &sums.column(0) / &counts.column(0);
        let mean = steps.mean().unwrap_or(0.0);
        let drafts = plans.iter().map(|plan| drafts(plan)).collect();
        Self { plans, drafts, counts, sums, states: steps - mean, mean }
    }

    /// Generations of each block.
    fn sizes(&self) -> Array1<f64> {
        self.counts.sum_axis(Axis(1))
    }

    /// `values` of each block and plan, less the block's mean for every generation.
    fn centred(&self, values: &Array2<f64>) -> Array2<f64> {
        let means = values.sum_axis(Axis(1)) / self.sizes();
        values - &(&self.counts * &means.insert_axis(Axis(1)))
    }

    /// Sums over the generations of each block of `values` times what effects multiply: one for a
    /// plan of its own, the state of the block times the plan's drafts for the slope.
    fn scores(&self, values: &Array2<f64>) -> Array2<f64> {
        let plans = values.slice(s![.., 1..]);
        let slope = values.dot(&self.drafts) * &self.states;
        ndarray::concatenate![Axis(1), plans, slope.insert_axis(Axis(1))]
    }

    /// Normal equations of all effects, those of blocks eliminated: the inverse of the matrix, and
    /// the effects.
    fn solve(&self) -> Option<(Array2<f64>, Array1<f64>)> {
        let last = self.plans.len() - 1;
        let features = self.scores(&self.counts);
        let shares = &features / &self.sizes().insert_axis(Axis(1));
        let totals = features.sum_axis(Axis(0));
        let mut matrix = Array2::from_diag(&totals);
        let crossed = self.counts.t().dot(&self.states) * &self.drafts;
        matrix.slice_mut(s![..last, last]).assign(&crossed.slice(s![1..]));
        matrix.slice_mut(s![last, ..last]).assign(&crossed.slice(s![1..]));
        let [states, drafts] = [&self.states, &self.drafts].map(|factors| factors * factors);
        let squares = self.counts.t().dot(&states).dot(&drafts);
        matrix[[last, last]] = squares + NO_SLOPE;
        matrix -= &features.t().dot(&shares);
        let inverse = (last > 0).then(|| matrix.invc().ok())??;
        let right = self.scores(&self.centred(&self.sums)).sum_axis(Axis(0));
        let effects = inverse.dot(&right);
        Some((inverse, effects))
    }

    /// What effects of plans and blocks leave of the sums.
    fn rest(&self, effects: &Array1<f64>) -> Array2<f64> {
        let slope = effects[effects.len() - 1];
        let mut rest = self.sums.clone();
        for index in 1..self.plans.len() {
            let of_state = &self.states * (slope * self.drafts[index]) + effects[index - 1];
            rest.column_mut(index).scaled_add(-1.0, &(of_state * self.counts.column(index)));
        }
        self.centred(&rest)
    }

    /// Sum of squares of what is left of single generations: of each cell the spread around its
    /// mean, and what is left of the mean.
    fn squares(&self, points: &[Point<'_>], rest: &Array2<f64>) -> f64 {
        let total: f64 = points.iter().map(|point| point.value.powi(2)).sum();
        let filled = |(_, count): &((usize, usize), &f64)| **count > 0.0;
        let cells = self.counts.indexed_iter().filter(filled);
        let of_cell = |(cell, count): ((usize, usize), &f64)| {
            (rest[cell].powi(2) - self.sums[cell].powi(2)) / count
        };
        (total + cells.map(of_cell).sum::<f64>()).max(0.0)
    }
}
