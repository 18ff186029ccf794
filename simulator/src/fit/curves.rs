//! Acceptance curves by binomial maximum likelihood.
//!
//! `log L = sum over skip counts of k log alpha + (n - k) log(1 - alpha)`. Families are compared by
//! Akaike's criterion with the log-likelihood divided by the over-dispersion (QAIC; Burnham and
//! Anderson, "Model Selection and Multimodel Inference", 2002, section 2.5), because tokens of one
//! prompt are not independent; and by how well they predict a skip count that was left out.

use crate::error::Result;
use crate::fit::likelihood::{Fitted, Trials, parameters};
use crate::fit::points::WayCounts;
use crate::statistics::{Resamples, interval};
use crate::tokens::curves::{AcceptanceCurve, Family};
use rayon::prelude::*;
use s3d_data::{CurveFit, Drafting, Parameter, SkipRatio};

/// Accepted and attempted drafts of one predictor, by skip count and prompt.
#[derive(Debug, Clone)]
pub struct CurveData {
    /// How drafts were made.
    pub drafting: Drafting,
    /// The predictor, from 1.
    pub predictor: usize,
    /// Rising skip ratios.
    pub ratios: Vec<SkipRatio>,
    /// `counts[skip ratio][prompt]` = (accepted, attempted).
    pub counts: Vec<Vec<(f64, f64)>>,
}

/// The data of one predictor from ways of whole layers: symmetric windows where there are three or
/// more, else all windows; ways with equal skip counts are added up.
pub fn curve_data(
    ways: &[WayCounts],
    layers: usize,
    drafting: Drafting,
    index: usize,
) -> Option<CurveData> {
    let windows = ways.iter().filter(|way| way.way.drafting == drafting);
    let windows: Vec<_> = windows.filter_map(|w| Some((w.way.skip.window()?, w))).collect();
    let symmetric = |window: &s3d_data::SkipWindow| {
        s3d_data::SkipWindow::symmetric(layers, window.len()).is_ok_and(|s| s == *window)
    };
    let enough = windows.iter().filter(|(window, _)| symmetric(window)).count() >= 3;
    let mut by_count: std::collections::BTreeMap<usize, Vec<(f64, f64)>> = Default::default();
    for (window, way) in windows.iter().filter(|(window, _)| !enough || symmetric(window)) {
        let sums = by_count.entry(window.len()).or_insert(vec![(0.0, 0.0); way.prompts.len()]);
        for (sum, counts) in sums.iter_mut().zip(&way.prompts) {
            sum.0 += counts.accepted[index] as f64;
            sum.1 += counts.attempted[index] as f64;
        }
    }
    by_count.retain(|_, counts| counts.iter().any(|(_, attempted)| *attempted > 0.0));
    let ratio = |k: &usize| SkipRatio::new(*k as f64 / layers as f64).ok();
    let ratios: Option<Vec<SkipRatio>> = by_count.keys().map(ratio).collect();
    let counts: Vec<_> = by_count.into_values().collect();
    (!counts.is_empty()).then_some(CurveData {
        drafting,
        predictor: index + 1,
        ratios: ratios?,
        counts,
    })
}

/// Skip counts below which a shape cannot be told from its ceiling.
const ENOUGH_CELLS: usize = 3;

/// All families fitted to `data`, the best by AIC marked. With fewer than three skip counts only
/// the isotonic curve.
///
/// # Errors
/// When the optimizer fails.
pub fn fit_families(data: &CurveData, resamples: &Resamples) -> Result<Vec<CurveFit>> {
    let cells = data.totals(None);
    let few = cells.len() < ENOUGH_CELLS;
    let families = Family::ALL.into_iter().filter(|f| !few || *f == Family::Isotonic);
    let fitted: Vec<Fitted> =
        families.map(|family| Fitted::new(family, &cells, None)).collect::<Result<_>>()?;
    let richest = fitted.iter().max_by(|a, b| a.likelihood.total_cmp(&b.likelihood));
    let spread = richest.map_or(1.0, |best| dispersion(data, best)).max(1.0);
    let mut fits: Vec<CurveFit> = fitted
        .iter()
        .map(|fitted| curve_fit(data, fitted, spread, resamples))
        .collect::<Result<_>>()?;
    let lowest = fits.iter().map(|fit| fit.aic).fold(f64::INFINITY, f64::min);
    if let Some(best) = fits.iter_mut().find(|fit| fit.aic == lowest) {
        best.best = true;
    }
    Ok(fits)
}

/// One family fitted to `data`, without comparing it with others.
///
/// # Errors
/// When the optimizer fails.
pub fn fit_family(data: &CurveData, family: Family, resamples: &Resamples) -> Result<CurveFit> {
    let fitted = Fitted::new(family, &data.totals(None), None)?;
    curve_fit(data, &fitted, dispersion(data, &fitted).max(1.0), resamples)
}

impl CurveData {
    /// Totals by skip count; with `weights`, those of a bootstrap draw.
    fn totals(&self, weights: Option<&[u32]>) -> Vec<Trials> {
        let sum = |counts: &Vec<(f64, f64)>| {
            counts.iter().enumerate().fold((0.0, 0.0), |sum, (prompt, count)| {
                let weight = weights.map_or(1.0, |weights| f64::from(weights[prompt]));
                (sum.0 + weight * count.0, sum.1 + weight * count.1)
            })
        };
        let sums = self.counts.iter().map(sum);
        self.ratios.iter().zip(sums).map(|(&ratio, (k, n))| (ratio, k, n)).collect()
    }
}

/// Pearson's chi-squared over prompts and skip counts, per degree of freedom: 1 for independent
/// drafts, more when prompts differ.
fn dispersion(data: &CurveData, fitted: &Fitted) -> f64 {
    let (mut chi, mut cells) = (0.0, 0usize);
    for (ratio, counts) in data.ratios.iter().zip(&data.counts) {
        let alpha = fitted.curve.rate(*ratio).get().clamp(1e-6, 1.0 - 1e-6);
        for &(k, n) in counts.iter().filter(|count| count.1 > 0.0) {
            chi += (k - n * alpha).powi(2) / (n * alpha * (1.0 - alpha));
            cells += 1;
        }
    }
    chi / (cells.saturating_sub(fitted.freedom)).max(1) as f64
}

fn curve_fit(
    data: &CurveData,
    fitted: &Fitted,
    spread: f64,
    resamples: &Resamples,
) -> Result<CurveFit> {
    let (family, cells) = (fitted.family, data.totals(None));
    Ok(CurveFit {
        drafting: data.drafting,
        predictor: data.predictor,
        family,
        parameters: bootstrap(data, fitted, resamples),
        aic: 2.0 * fitted.freedom as f64 - 2.0 * fitted.likelihood / spread,
        held_out_rmse: leave_one_out(family, &cells, &fitted.free),
        dispersion: dispersion(data, fitted),
        best: false,
        points: drawn(&fitted.curve, &cells),
    })
}

/// Every parameter with the percentile interval over resampled prompts.
fn bootstrap(data: &CurveData, fitted: &Fitted, resamples: &Resamples) -> Vec<Parameter> {
    let point = parameters(fitted.family, &fitted.free);
    if point.is_empty() {
        return Vec::new();
    }
    let draws: Vec<&[u32]> = resamples.draws().collect();
    let refit = |weights: &&[u32]| {
        let cells = data.totals(Some(weights));
        Fitted::new(fitted.family, &cells, Some(&fitted.free)).ok()
    };
    let refits: Vec<Vec<f64>> = draws
        .par_iter()
        .filter_map(refit)
        .map(|f| parameters(f.family, &f.free).into_iter().map(|(_, value)| value).collect())
        .collect();
    let named = |(index, (name, value)): (usize, (&str, f64))| {
        let draws = refits.iter().map(|refit: &Vec<f64>| refit[index]).collect();
        Parameter { name: name.into(), estimate: interval(value, draws, resamples.clusters()) }
    };
    point.into_iter().enumerate().map(named).collect()
}

/// Root mean square error of the rates of skip counts that were left out.
fn leave_one_out(family: Family, cells: &[Trials], start: &[f64]) -> Option<f64> {
    if cells.len() <= ENOUGH_CELLS {
        return None;
    }
    let start = (!start.is_empty()).then_some(start);
    let error = |left_out: usize| {
        let mut rest = cells.to_vec();
        let (ratio, k, n) = rest.remove(left_out);
        let fitted = Fitted::new(family, &rest, start).ok()?;
        (n > 0.0).then(|| (fitted.curve.rate(ratio).get() - k / n).powi(2))
    };
    let errors: Vec<f64> = (0..cells.len()).filter_map(error).collect();
    (!errors.is_empty()).then(|| (errors.iter().sum::<f64>() / errors.len() as f64).sqrt())
}

/// 41 points along the measured skip ratios; an isotonic curve at its own points.
fn drawn(curve: &AcceptanceCurve, cells: &[Trials]) -> Vec<(f64, f64)> {
    let at = |ratio: SkipRatio| (ratio.get(), curve.rate(ratio).get());
    if curve.family() == Family::Isotonic {
        return cells.iter().map(|cell| at(cell.0)).collect();
    }
    let end = cells.last().map_or(0.0, |cell| cell.0.get());
    let ratio = |step: usize| SkipRatio::new(end * step as f64 / 40.0).ok();
    (0..=40).filter_map(ratio).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(rates: &[f64], attempts: f64) -> CurveData {
        let layers = rates.len() as f64;
        let ratio = |k| SkipRatio::new(k as f64 / layers).unwrap();
        let prompts = 40.0;
        let count = |rate: &f64| vec![(rate * attempts / prompts, attempts / prompts); 40];
        CurveData {
            drafting: Drafting::Simultaneous,
            predictor: 1,
            ratios: (0..rates.len()).map(ratio).collect(),
            counts: rates.iter().map(count).collect(),
        }
    }

    #[test]
    fn finds_the_planted_parameters_of_every_family() {
        // source: the curves themselves: expected counts have their maximum likelihood at the truth
        for (family, shape) in [
            (Family::Power, vec![2.5]),
            (Family::Superellipse, vec![4.0]),
            (Family::Exponential, vec![3.0]),
            (Family::Decay, vec![0.8]),
            (Family::Logistic, vec![0.7, 9.0]),
        ] {
            let truth = AcceptanceCurve::new(family, &shape, 0.85).unwrap();
            let ratio = |k| SkipRatio::new(k as f64 / 12.0).unwrap();
            let rates: Vec<f64> = (0..12).map(|k| truth.rate(ratio(k)).get()).collect();
            let fits = fit_families(&data(&rates, 4000.0), &Resamples::new(40, 20, 1)).unwrap();
            let best = fits.iter().find(|fit| fit.best).unwrap();
            assert_eq!(best.family, family);
            let found: Vec<f64> = best.parameters.iter().map(|p| p.estimate.value).collect();
            let planted = [shape, vec![0.85]].concat();
            for (found, planted) in found.iter().zip(&planted) {
                assert!((found / planted - 1.0).abs() < 2e-3, "{family}: {found} for {planted}");
            }
            assert!(best.held_out_rmse.unwrap() < 1e-3 && best.dispersion < 1e-6);
        }
    }
}
