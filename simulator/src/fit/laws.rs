//! Cost laws: which one a machine follows, decided on cells that were left out.

use crate::cost::law::{Affine, PassLaw, Roofline};
use crate::cost::pass_times::PassTimes;
use crate::error::Result;
use crate::fit::minimize::{EXACT, minimize};
use crate::statistics::{
    Normals, broken_line, interval, median, non_negative_least_squares, robust_mean,
};
use s3d_data::memory::{Engine, streamed_bytes};
use s3d_data::{Component, LatencySample, LawFit, LawKind, Parameter, Run};
use std::collections::BTreeMap;

/// A timed cell: width, mean context, median seconds, standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedCell {
    /// Tokens fed.
    pub width: f64,
    /// Tokens committed.
    pub context: f64,
    /// Median time.
    pub seconds: f64,
    /// Its standard error.
    pub error: f64,
}

/// Contexts are pooled into steps of this many tokens: decoding visits every one of them once.
const CONTEXT_STEP: usize = 64;

/// Cells of all samples of machine `machine` that `wanted` accepts, by width and context.
pub fn cells(
    latency: &[LatencySample],
    machine: usize,
    wanted: impl Fn(&LatencySample) -> bool,
) -> Vec<TimedCell> {
    let mut pools: BTreeMap<(usize, usize), (Vec<f64>, f64)> = BTreeMap::new();
    for sample in latency.iter().filter(|s| s.machine == machine && wanted(s)) {
        let pool = pools.entry((sample.width, sample.context / CONTEXT_STEP)).or_default();
        pool.0.push(sample.seconds.0);
        pool.1 += sample.context as f64;
    }
    let cell = |((width, _), (times, contexts)): ((usize, usize), (Vec<f64>, f64))| {
        let (seconds, error) = robust_mean(&times)?;
        let context = contexts / times.len() as f64;
        Some(TimedCell { width: width as f64, context, seconds, error: error.max(1e-3 * seconds) })
    };
    pools.into_iter().filter_map(cell).collect()
}

/// The laws of full passes, of components, and of draft passes; each group has one chosen.
///
/// # Errors
/// When the optimizer fails.
pub fn laws(
    run: &Run,
    machine: usize,
    passes: Option<&PassTimes>,
    seed: u64,
) -> Result<Vec<LawFit>> {
    let latency = &run.observations.latency;
    let full = |s: &LatencySample| {
        matches!(s.component, Component::FullPass | Component::VerifyPass)
            && s.plan != Some(s3d_data::Plan::Stock)
    };
    let mut fits = full_pass_laws(&cells(latency, machine, full), roofline(run, machine), seed)?;
    let parts =
        [Component::Attention, Component::Mlp, Component::Embed, Component::Head, Component::Rest];
    for component in parts {
        let timed = cells(latency, machine, |s| s.component == component);
        fits.extend(affine_law(component, &timed, seed).map(|mut law| {
            law.chosen = true;
            law
        }));
    }
    fits.extend(passes.into_iter().flat_map(draft_laws));
    Ok(fits)
}

/// How the candidates for draft passes that were not timed did on windows left out.
fn draft_laws(passes: &PassTimes) -> Vec<LawFit> {
    let errors = passes.law.errors.iter().filter(|error| error.median.is_finite());
    let fit = |(place, error): (usize, &crate::cost::pass_times::draft_law::LawError)| LawFit {
        what: Component::DraftPass,
        law: error.kind,
        parameters: Vec::new(),
        held_out_error: Some(error.median),
        chosen: place == 0,
    };
    errors.enumerate().map(fit).collect()
}

fn full_pass_laws(
    cells: &[TimedCell],
    roofline: Option<Roofline>,
    seed: u64,
) -> Result<Vec<LawFit>> {
    let mut fits: Vec<LawFit> = affine_law(Component::FullPass, cells, seed).into_iter().collect();
    fits.extend(two_regime_law(cells, seed)?);
    if let Some(roofline) = roofline {
        fits.extend(roofline_law(cells, roofline, seed));
    }
    fits.extend(table_law(cells));
    let best = fits.iter().filter_map(|fit| fit.held_out_error).fold(f64::INFINITY, f64::min);
    // Laws stand in order of their freedom: of those that the noise of the cells cannot tell from
    // the best, the simplest is taken.
    let noise: Vec<f64> = cells.iter().map(|cell| cell.error / cell.seconds).collect();
    let bound = 1.2 * best + median(&noise).unwrap_or(0.0);
    let near = |fit: &&mut LawFit| fit.held_out_error.is_some_and(|error| error <= bound);
    if let Some(winner) = fits.iter_mut().find(near) {
        winner.chosen = true;
    }
    Ok(fits)
}

/// Median relative error of `fit` (cells to predictor) on each cell left out.
fn left_out<P: Fn(&TimedCell) -> Option<f64>>(
    cells: &[TimedCell],
    fit: impl Fn(&[TimedCell]) -> Option<P>,
) -> Option<f64> {
    let error = |index: usize| {
        let mut rest = cells.to_vec();
        let own = rest.remove(index);
        let found = fit(&rest)?(&own)?;
        Some((found / own.seconds - 1.0).abs())
    };
    median(&(0..cells.len()).filter_map(error).collect::<Vec<f64>>())
}

fn fit_affine(cells: &[TimedCell]) -> Option<Affine> {
    let design: Vec<_> = cells.iter().map(|c| [1.0, c.width, c.context]).collect();
    let targets: Vec<f64> = cells.iter().map(|c| c.seconds).collect();
    let weights: Vec<f64> = targets.iter().map(|t| (t * t).max(1e-30).recip()).collect();
    let all = non_negative_least_squares(&design.into(), &targets, &weights);
    // One context only: then nothing can be said about growing with it.
    let found = all.or_else(|_| {
        let flat: Vec<_> = cells.iter().map(|c| [1.0, c.width]).collect();
        non_negative_least_squares(&flat.into(), &targets, &weights)
    });
    let found = found.ok()?;
    Affine::new(found[0], found[1], found.get(2).copied().unwrap_or(0.0)).ok()
}

const AFFINE_NAMES: [&str; 3] = ["fixed", "per_token", "per_cached_token"];

fn affine_law(what: Component, cells: &[TimedCell], seed: u64) -> Option<LawFit> {
    let law = fit_affine(cells)?;
    let draws = noisy(cells, seed).filter_map(|cells| Some(fit_affine(&cells)?.coefficients()));
    let held_out = left_out(cells, |rest| {
        let law = fit_affine(rest)?;
        Some(move |c: &TimedCell| Some(at(&PassLaw::Affine(law), c)))
    });
    Some(law_fit(what, LawKind::Affine, &AFFINE_NAMES, &law.coefficients(), draws, held_out))
}

/// Seconds of a law at a cell; its mean context rounded to a token.
fn at(law: &PassLaw, cell: &TimedCell) -> f64 {
    law.seconds(cell.width as usize, cell.context.round() as usize)
}

/// The table has no parameters: a left-out cell lies on the line through its neighbours in width,
/// or in context where there is only one width.
fn table_law(cells: &[TimedCell]) -> Option<LawFit> {
    let step = |cell: &TimedCell| cell.context as usize / CONTEXT_STEP;
    let held_out = left_out(cells, |rest| {
        let rest = rest.to_vec();
        Some(move |own: &TimedCell| {
            let row = rest.iter().filter(|c| step(c) == step(own));
            let column = rest.iter().filter(|c| c.width == own.width);
            let row: Vec<(f64, f64)> = row.map(|c| (c.width, c.seconds)).collect();
            let column: Vec<(f64, f64)> = column.map(|c| (c.context, c.seconds)).collect();
            broken_line(&row, own.width).or_else(|| broken_line(&column, own.context))
        })
    });
    let draws = std::iter::empty::<[f64; 0]>();
    held_out.map(|error| law_fit(Component::FullPass, LawKind::Table, &[], &[], draws, Some(error)))
}

const TWO_REGIME_NAMES: [&str; 4] =
    ["memory_fixed", "compute_fixed", "compute_per_token", "per_cached_token"];

/// `max(a, b + c w) + d n`, by least squares of relative errors.
fn fit_two_regime(cells: &[TimedCell], start: &[f64]) -> Result<[f64; 4]> {
    let scale = start[0].max(1e-30);
    let time = |p: &[f64], cell: &TimedCell| {
        let flat = p[0].abs().max(p[1].abs() + p[2].abs() * cell.width);
        scale * (flat + p[3].abs() * cell.context)
    };
    let error = |p: &[f64]| -> f64 {
        cells.iter().map(|cell| (time(p, cell) / cell.seconds - 1.0).powi(2)).sum()
    };
    let start: Vec<f64> = start.iter().map(|value| value / scale).collect();
    let (found, _) = minimize("two-regime law", &start, 0.1, EXACT, error)?;
    Ok([0, 1, 2, 3].map(|index| found[index].abs() * scale))
}

fn two_regime_law(cells: &[TimedCell], seed: u64) -> Result<Option<LawFit>> {
    let Some(affine) = fit_affine(cells).filter(|_| cells.len() >= 5) else { return Ok(None) };
    let [fixed, per_token, per_cached] = affine.coefficients();
    let start = [fixed + per_token, fixed, per_token, per_cached];
    let found = fit_two_regime(cells, &start)?;
    let draws = noisy(cells, seed).filter_map(|cells| fit_two_regime(&cells, &found).ok());
    let held_out = left_out(cells, |rest| {
        let [memory, compute, per_token, cached] = fit_two_regime(rest, &found).ok()?;
        let law = PassLaw::TwoRegime {
            memory: Affine::new(memory, 0.0, cached).ok()?,
            compute: Affine::new(compute, per_token, cached).ok()?,
        };
        Some(move |c: &TimedCell| Some(at(&law, c)))
    });
    Ok(Some(law_fit(
        Component::FullPass,
        LawKind::TwoRegime,
        &TWO_REGIME_NAMES,
        &found,
        draws,
        held_out,
    )))
}

fn roofline_law(cells: &[TimedCell], roofline: Roofline, seed: u64) -> Option<LawFit> {
    let law = fit_affine(cells)?;
    let draws = noisy(cells, seed).filter_map(|cells| Some(fit_affine(&cells)?.coefficients()));
    let held_out = left_out(cells, |rest| {
        let law = PassLaw::RooflineCapped { law: fit_affine(rest)?, roofline };
        Some(move |c: &TimedCell| Some(at(&law, c)))
    });
    Some(law_fit(
        Component::FullPass,
        LawKind::Roofline,
        &AFFINE_NAMES,
        &law.coefficients(),
        draws,
        held_out,
    ))
}

/// The machine's bound, where its two rates were measured: bytes of all layers and the head over
/// the bandwidth, two operations for each of their weights over the rate.
fn roofline(run: &Run, machine: usize) -> Option<Roofline> {
    let (shape, machine) = (&run.header.model.shape, run.header.machines.get(machine)?);
    let (bandwidth, flops) = (machine.read_bytes_per_s?.0, machine.flops_per_s?.0);
    let format: s3d_data::Dtype = run.header.dtype.parse().ok()?;
    let head = (shape.vocab * shape.hidden) as u64;
    let weights = shape.layers as u64 * shape.layer_parameters() + head;
    Some(Roofline {
        stream: streamed_bytes(shape, format) / bandwidth,
        stream_per_cached_token: Engine::of_device(&run.header.device).number_bytes(format) as f64
            * shape.kv_elements_per_token() as f64
            / bandwidth,
        compute_per_token: 2.0 * weights as f64 / flops,
    })
}

/// Copies of the cells with their times moved by normal errors: a parametric bootstrap.
fn noisy(cells: &[TimedCell], seed: u64) -> impl Iterator<Item = Vec<TimedCell>> {
    (0..200).map(move |draw| {
        let moved = |(cell, z): (&TimedCell, f64)| {
            let seconds = (cell.seconds + z * cell.error).max(0.1 * cell.seconds);
            TimedCell { seconds, ..*cell }
        };
        cells.iter().zip(Normals::new(seed, draw)).map(moved).collect()
    })
}

fn law_fit<const N: usize>(
    what: Component,
    law: LawKind,
    names: &[&str; N],
    values: &[f64; N],
    draws: impl Iterator<Item = [f64; N]>,
    held_out_error: Option<f64>,
) -> LawFit {
    let draws: Vec<[f64; N]> = draws.collect();
    let parameter = |index: usize| Parameter {
        name: names[index].into(),
        estimate: interval(values[index], draws.iter().map(|d| d[index]).collect(), usize::MAX),
    };
    LawFit { what, law, parameters: (0..N).map(parameter).collect(), held_out_error, chosen: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(time: impl Fn(f64, f64) -> f64) -> Vec<TimedCell> {
        let widths = [1.0, 2.0, 3.0, 5.0, 9.0, 16.0];
        let places = widths.into_iter().flat_map(|w| [32.0, 160.0, 288.0].map(|c| (w, c)));
        let cell = |((width, context), z): ((f64, f64), f64)| {
            let seconds = time(width, context) * (1.0 + 2e-3 * z);
            TimedCell { width, context, seconds, error: 2e-3 * seconds }
        };
        places.zip(Normals::new(3, 0)).map(cell).collect()
    }

    #[test]
    fn the_law_that_made_the_times_wins() {
        // source: the planted laws themselves
        let affine = grid(|w, c| 2e-3 + 1e-4 * w + 1e-6 * c);
        let fits = full_pass_laws(&affine, None, 1).unwrap();
        let chosen = fits.iter().find(|fit| fit.chosen).unwrap();
        let errors = |fits: &[LawFit]| -> Vec<(LawKind, Option<f64>)> {
            fits.iter().map(|fit| (fit.law, fit.held_out_error)).collect()
        };
        assert_eq!(chosen.law, LawKind::Affine, "{:?}", errors(&fits));
        let fixed = chosen.parameters[0].estimate;
        assert!((fixed.value / 2e-3 - 1.0).abs() < 5e-3 && fixed.covers(2e-3), "{fixed:?}");
        let regimes = grid(|w, c| 2e-3f64.max(1e-3 + 3e-4 * w) + 1e-6 * c);
        let fits = full_pass_laws(&regimes, None, 1).unwrap();
        let chosen = fits.iter().find(|fit| fit.chosen).unwrap();
        assert_eq!(chosen.law, LawKind::TwoRegime, "{:?}", errors(&fits));
    }
}
