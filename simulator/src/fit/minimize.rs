//! The optimizer: argmin's Nelder and Mead simplex (The Computer Journal 7, 1965), which needs no
//! derivatives and shrugs off the flat ridges of a shape that the data hardly bend.

use crate::error::{Error, Result};
use argmin::core::{CostFunction, Executor, State};
use argmin::solver::neldermead::NelderMead;

struct Objective<F>(F);

impl<F: Fn(&[f64]) -> f64> CostFunction for Objective<F> {
    type Param = Vec<f64>;
    type Output = f64;
    fn cost(&self, parameters: &Vec<f64>) -> std::result::Result<f64, argmin::core::Error> {
        let value = self.0(parameters);
        Ok(if value.is_finite() { value } else { f64::MAX })
    }
}

/// When corners of the simplex differ by less than this, the search ends: a far finer objective
/// than any data can tell.
pub(crate) const EXACT: f64 = 1e-9;

/// The same for the hundreds of refits behind an interval: a log-likelihood that differs by this
/// much moves a parameter by less than a hundredth of its standard error.
pub(crate) const ROUGH: f64 = 1e-5;

/// The parameters of smallest `objective` near `start`, searched with first steps of `step` until
/// `tolerance`, and the objective there.
///
/// # Errors
/// Whatever argmin refuses.
pub(crate) fn minimize(
    what: &str,
    start: &[f64],
    step: f64,
    tolerance: f64,
    objective: impl Fn(&[f64]) -> f64,
) -> Result<(Vec<f64>, f64)> {
    let failed = |message: String| Error::Optimizer { what: what.into(), message };
    let mut simplex = vec![start.to_vec(); start.len() + 1];
    for (index, corner) in simplex.iter_mut().skip(1).enumerate() {
        corner[index] += step;
    }
    let solver =
        NelderMead::new(simplex).with_sd_tolerance(tolerance).map_err(|e| failed(e.to_string()))?;
    let result = Executor::new(Objective(objective), solver)
        .configure(|state| state.max_iters(400))
        .timer(false)
        .run()
        .map_err(|e| failed(e.to_string()))?;
    let best = result.state.get_best_param().cloned();
    let parameters = best.ok_or_else(|| failed("no best point".into()))?;
    Ok((parameters, result.state.get_best_cost()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_valley_of_rosenbrock() {
        // source: Rosenbrock, The Computer Journal 3 (1960): minimum 0 at (1, 1)
        let rosenbrock = |p: &[f64]| (1.0 - p[0]).powi(2) + 100.0 * (p[1] - p[0] * p[0]).powi(2);
        let (best, value) = minimize("a test", &[-1.2, 1.0], 0.5, EXACT, rosenbrock).unwrap();
        assert!((best[0] - 1.0).abs() < 1e-3 && (best[1] - 1.0).abs() < 1e-3 && value < 1e-6);
    }
}
