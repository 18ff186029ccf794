//! One family at its maximum likelihood.

use crate::error::Result;
use crate::fit::minimize::{EXACT, ROUGH, minimize};
use crate::statistics::falling;
use crate::tokens::curves::{AcceptanceCurve, Family};
use s3d_data::SkipRatio;

/// Totals of one skip count: ratio, accepted, attempted.
pub(crate) type Trials = (SkipRatio, f64, f64);

/// A family at its maximum likelihood.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub(crate) family: Family,
    /// Free numbers: shape (logarithms where positive) and the logit of the ceiling.
    pub(crate) free: Vec<f64>,
    pub(crate) curve: AcceptanceCurve,
    pub(crate) likelihood: f64,
    /// Number of free numbers.
    pub(crate) freedom: usize,
}

impl Fitted {
    /// Fits `family` to `cells`, from `start` or from two starts of its own.
    pub(crate) fn new(family: Family, cells: &[Trials], start: Option<&[f64]>) -> Result<Self> {
        if family == Family::Isotonic {
            return Self::isotonic(cells);
        }
        let starts = match start {
            Some(start) => vec![start.to_vec()],
            None => starts(family, cells),
        };
        let (step, tolerance) = if start.is_some() { (0.2, ROUGH) } else { (0.7, EXACT) };
        let objective = |free: &[f64]| match curve(family, free) {
            Ok(curve) => -log_likelihood(&curve, cells),
            Err(_) => f64::MAX,
        };
        let mut best: Option<(Vec<f64>, f64)> = None;
        for start in &starts {
            let found = minimize(family.name(), start, step, tolerance, objective)?;
            if best.as_ref().is_none_or(|best| found.1 < best.1) {
                best = Some(found);
            }
        }
        let (free, cost) = best.unwrap_or((starts.concat(), f64::MAX));
        let curve = curve(family, &free)?;
        Ok(Self { family, freedom: free.len(), free, curve, likelihood: -cost })
    }

    fn isotonic(cells: &[Trials]) -> Result<Self> {
        let totals = cells.iter().map(|(ratio, accepted, tried)| (ratio.get(), *accepted, *tried));
        let points = falling(totals);
        let curve = AcceptanceCurve::isotonic(points.clone())?;
        let mut levels: Vec<f64> = points.iter().map(|point| point.1).collect();
        levels.dedup();
        let likelihood = log_likelihood(&curve, cells);
        let freedom = levels.len();
        Ok(Self { family: Family::Isotonic, free: Vec::new(), curve, likelihood, freedom })
    }
}

/// Two far-apart starts, so that a local optimum is not taken for the best.
fn starts(family: Family, cells: &[Trials]) -> Vec<Vec<f64>> {
    let top = cells.iter().filter(|c| c.2 > 0.0).map(|c| c.1 / c.2).fold(0.0, f64::max);
    let ceiling = logit(top.clamp(0.05, 0.995));
    let shapes: [Vec<f64>; 2] = match family {
        Family::Logistic => [vec![0.8, 2.0], vec![0.5, 0.5]],
        Family::Decay => [vec![1.5], vec![-0.5]],
        _ => [vec![1.2], vec![-0.3]],
    };
    shapes.map(|shape| [shape, vec![ceiling]].concat()).into()
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

/// The curve of free numbers.
fn curve(family: Family, free: &[f64]) -> Result<AcceptanceCurve> {
    let bounded = |x: f64| x.clamp(-12.0, 12.0).exp();
    let (shape, ceiling) = free.split_at(free.len() - 1);
    let ceiling = (1.0 + (-ceiling[0]).exp()).recip().max(1e-9);
    match family {
        Family::Logistic => AcceptanceCurve::new(family, &[shape[0], bounded(shape[1])], ceiling),
        _ => AcceptanceCurve::new(family, &[bounded(shape[0])], ceiling),
    }
}

/// Values of the family's parameters and of the ceiling, in their own units.
pub(crate) fn parameters(family: Family, free: &[f64]) -> Vec<(&'static str, f64)> {
    let bounded = |x: f64| x.clamp(-12.0, 12.0).exp();
    let shape = match family {
        Family::Isotonic => return Vec::new(),
        Family::Logistic => vec![free[0], bounded(free[1])],
        _ => vec![bounded(free[0])],
    };
    let ceiling = free.last().map(|x| ("ceiling", (1.0 + (-x).exp()).recip()));
    family.parameters().iter().copied().zip(shape).chain(ceiling).collect()
}

fn log_likelihood(curve: &AcceptanceCurve, cells: &[Trials]) -> f64 {
    let term = |&(ratio, k, n): &Trials| {
        let alpha = curve.rate(ratio).get().clamp(1e-12, 1.0 - 1e-12);
        k * alpha.ln() + (n - k) * (-alpha).ln_1p()
    };
    cells.iter().map(term).sum()
}
