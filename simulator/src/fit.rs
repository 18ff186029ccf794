//! From observations to curves and laws: `fit.json`.
//!
//! Acceptance points are counts at the positions that decoding visits, with prompt-cluster
//! bootstrap intervals; curves are fitted to them ([`curves`]); cost laws to the timed passes
//! ([`laws`]).

pub mod curves;
pub mod laws;
mod likelihood;
pub mod minimize;
pub mod points;

use crate::cost::pass_times::PassTimes;
use crate::error::{Error, Result};
use crate::statistics::{Resamples, Z95};
use crate::tokens::curves::{AcceptanceCurve, Family};
use crate::traces::table::TraceTable;
use rayon::prelude::*;
use s3d_data::{CurveFit, Drafting, Estimate, Fit, Run, SCHEMA_VERSION};

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Predictors that decoding uses while acceptance is counted; the run's largest by default.
    pub predictors: Option<usize>,
    /// Context of the pass times; the run's by default.
    pub context: Option<usize>,
    /// Which machine of a merged run.
    pub machine: usize,
    /// Bootstrap draws of acceptance rates; curves are fitted again to at most 200 of them.
    pub draws: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { predictors: None, context: None, machine: 0, draws: 1000, seed: 0 }
    }
}

/// Fits everything that the run holds; what it does not hold stays empty.
///
/// # Errors
/// A trace that contradicts itself, a time that is not above 0, a machine the run does not have.
pub fn fit(run: &Run, options: &FitOptions) -> Result<Fit> {
    check_machine(run, options.machine)?;
    let table = TraceTable::of(run)?;
    let predictors = options.predictors.unwrap_or(run.header.gamma_max.get()).max(1);
    let ways = points::count_ways(&table, predictors);
    let resamples = Resamples::new(table.prompts.len(), options.draws, options.seed);
    let few = Resamples::new(table.prompts.len(), options.draws.min(200), options.seed);
    let context = options.context.unwrap_or(run.header.context);
    let passes = match run.observations.latency.is_empty() {
        true => None,
        false => Some(PassTimes::new(run, options.machine, context)?),
    };
    let layers = run.header.model.shape.layers;
    let data: Vec<_> = Drafting::ALL
        .into_iter()
        .flat_map(|drafting| (0..predictors).map(move |index| (drafting, index)))
        .filter_map(|(drafting, index)| curves::curve_data(&ways, layers, drafting, index))
        .collect();
    let curves: Vec<Vec<CurveFit>> =
        data.par_iter().map(|data| curves::fit_families(data, &few)).collect::<Result<_>>()?;
    Ok(Fit {
        schema_version: SCHEMA_VERSION,
        curves: curves.concat(),
        acceptance: points::points(&table, &ways, &resamples),
        laws: laws::laws(run, options.machine, passes.as_ref(), options.seed)?,
        width_ratio: passes.as_ref().map(width_ratio).unwrap_or_default(),
    })
}

pub(crate) fn check_machine(run: &Run, machine: usize) -> Result<()> {
    let machines = run.header.machines.len().max(1);
    match machine < machines {
        true => Ok(()),
        false => Err(Error::domain("machine", format!("a number below {machines}"), machine)),
    }
}

/// `t(w) / t(1)` of full passes with normal 95 % intervals; without, where one block was timed.
fn width_ratio(passes: &PassTimes) -> Vec<(usize, Estimate)> {
    let ratio = |(&width, cell): (&usize, &crate::cost::model::PassTime)| {
        let half = Z95 * cell.error;
        let estimate = match passes.blocks {
            0 | 1 => Estimate::alone(cell.value),
            _ => Estimate::new(cell.value, cell.value - half, cell.value + half),
        };
        (width, estimate)
    };
    passes.full.iter().map(ratio).collect()
}

/// The curve that a [`CurveFit`] records.
///
/// # Errors
/// An unknown family, or parameters outside their domain.
pub fn curve_of(fit: &CurveFit) -> Result<AcceptanceCurve> {
    let family = fit.family;
    if family == Family::Isotonic {
        return AcceptanceCurve::isotonic(fit.points.clone());
    }
    let value = |name: &str| {
        let found = fit.parameters.iter().find(|parameter| parameter.name == name);
        found.map(|parameter| parameter.estimate.value).ok_or_else(|| {
            Error::missing(format!("parameter '{name}' of curve {family}"), "fit the run again")
        })
    };
    let shape: Vec<f64> =
        family.parameters().iter().map(|name| value(name)).collect::<Result<_>>()?;
    AcceptanceCurve::new(family, &shape, value("ceiling")?)
}
