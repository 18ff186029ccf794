//! What if: speedup from numbers alone, without any run.

use crate::cost::improvement::break_even_acceptance;
use crate::cost::model::{CostModel, IterationCost};
use crate::cost::typed::TypedCosts;
use crate::error::{Error, Result};
use crate::tokens::curves::{AcceptanceCurve, AcceptanceRate};
use crate::tokens::expected::expected_tokens;
use s3d_data::{Drafting, Predictors, SkipRatio};
use serde::Serialize;

/// Where the acceptance rates of a question come from.
#[derive(Debug, Clone)]
pub enum Rates {
    /// Given, one per predictor.
    PerPredictor(Vec<AcceptanceRate>),
    /// A curve per predictor; the last one serves the predictors after it.
    Curves(Vec<AcceptanceCurve>),
}

impl Rates {
    /// The rates of `predictors` predictors at a skip ratio.
    ///
    /// # Errors
    /// Given rates whose number is not `predictors`; no curve at all.
    pub fn at(&self, skip_ratio: SkipRatio, predictors: Predictors) -> Result<Vec<AcceptanceRate>> {
        match self {
            Self::PerPredictor(rates) if rates.len() == predictors.get() => Ok(rates.clone()),
            Self::PerPredictor(rates) => {
                Err(Error::domain("alphas", format!("{predictors} rates"), rates.len()))
            }
            Self::Curves(curves) => {
                let last = curves.last().ok_or_else(|| {
                    Error::missing("acceptance curve", "give a family and its parameters")
                })?;
                let all = curves.iter().chain(std::iter::repeat(last));
                Ok(all.take(predictors.get()).map(|curve| curve.rate(skip_ratio)).collect())
            }
        }
    }
}

/// The answer for one plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// Acceptance rate of each predictor.
    pub alpha: Vec<f64>,
    /// Tokens per iteration.
    pub expected_tokens: f64,
    /// Speedup over plain decoding.
    pub improvement_factor: f64,
    /// Share of layers skipped.
    pub skip_ratio: f64,
}

impl WhatIf {
    fn new(skip_ratio: SkipRatio, rates: &[AcceptanceRate], cost: &IterationCost) -> Self {
        let tokens = expected_tokens(rates);
        Self {
            alpha: rates.iter().map(|rate| rate.get()).collect(),
            expected_tokens: tokens,
            improvement_factor: cost.improvement(tokens),
            skip_ratio: skip_ratio.get(),
        }
    }
}

/// The speedup at `context` of drafting `rates.len()` tokens with `costs`.
///
/// # Errors
/// No rates; costs that add up to nothing.
pub fn what_if(
    drafting: Drafting,
    skip_ratio: SkipRatio,
    rates: &[AcceptanceRate],
    costs: &TypedCosts,
    context: usize,
) -> Result<WhatIf> {
    Predictors::new(rates.len())?;
    let cost = costs.at(context, 1).iteration(drafting, rates.len())?;
    Ok(WhatIf::new(skip_ratio, rates, &cost))
}

/// One plan of the map over skipped layers and predictors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanAnswer {
    /// How drafts are made.
    pub drafting: Drafting,
    /// Layers skipped.
    pub skipped: usize,
    /// Tokens drafted.
    pub predictors: usize,
    /// Equal acceptance rate at which this plan breaks even; null when none does.
    pub break_even_acceptance: Option<f64>,
    /// The answer.
    #[serde(flatten)]
    pub answer: WhatIf,
}

impl PlanAnswer {
    /// The answer for `rates.len()` drafts that skip `skipped` layers, a share `ratio` of them.
    pub fn new(
        drafting: Drafting,
        (skipped, ratio): (usize, SkipRatio),
        rates: &[AcceptanceRate],
        cost: &IterationCost,
    ) -> Self {
        let predictors = rates.len();
        let need = break_even_acceptance(cost, predictors).map(AcceptanceRate::get);
        let answer = WhatIf::new(ratio, rates, cost);
        Self { drafting, skipped, predictors, break_even_acceptance: need, answer }
    }
}

/// The fastest first.
pub(crate) fn fastest_first(answers: &mut [PlanAnswer]) {
    answers.sort_by(|a, b| b.answer.improvement_factor.total_cmp(&a.answer.improvement_factor));
}

/// Every skip count below `layers` with 1 to `gamma_max` predictors, the fastest first. `costs`
/// gives the cost model of a skip ratio.
///
/// # Errors
/// No layers; what `rates` or `costs` refuse.
pub fn map<E: From<Error>>(
    layers: usize,
    gamma_max: Predictors,
    drafting: Drafting,
    rates: &Rates,
    context: usize,
    costs: impl Fn(SkipRatio) -> std::result::Result<TypedCosts, E>,
) -> std::result::Result<Vec<PlanAnswer>, E> {
    if layers == 0 {
        return Err(Error::domain("layers", "at least 1", 0).into());
    }
    let mut answers = Vec::with_capacity(layers * gamma_max.get());
    for skipped in 0..layers {
        let ratio = SkipRatio::new(skipped as f64 / layers as f64).map_err(Error::from)?;
        let costs = costs(ratio)?;
        for predictors in 1..=gamma_max.get() {
            let count = Predictors::new(predictors).map_err(Error::from)?;
            let rates = rates.at(ratio, count)?;
            let cost = costs.at(context, 1).iteration(drafting, predictors)?;
            answers.push(PlanAnswer::new(drafting, (skipped, ratio), &rates, &cost));
        }
    }
    fastest_first(&mut answers);
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::law::{Affine, PassLaw};
    use crate::tokens::curves::Family;

    fn at(beta: f64) -> SkipRatio {
        SkipRatio::new(beta).unwrap()
    }

    #[test]
    fn the_ideal_case_is_the_papers() {
        // source: cost model, section 3: IF = E / (2 - beta), E of 0.9, 0.8, 0.7 = 3.124
        let rates = AcceptanceRate::all(&[0.9, 0.8, 0.7]).unwrap();
        let answer =
            what_if(Drafting::Simultaneous, at(0.5), &rates, &TypedCosts::ideal(0.5), 256).unwrap();
        assert!((answer.improvement_factor - 3.124 / 1.5).abs() < 1e-15);
        let answer =
            what_if(Drafting::Sequential, at(0.5), &rates, &TypedCosts::ideal(0.5), 256).unwrap();
        assert!((answer.improvement_factor - 3.124 / 2.5).abs() < 1e-15);
        let none = what_if(Drafting::Sequential, at(0.5), &[], &TypedCosts::ideal(0.5), 256);
        assert!(none.is_err());
    }

    #[test]
    fn width_gives_the_number_of_predictors_an_optimum() {
        let curve = AcceptanceCurve::new(Family::Power, &[3.0], 0.7).unwrap();
        let rates = Rates::Curves(vec![curve]);
        let most = Predictors::new(8).unwrap();
        let costs = |ratio: SkipRatio| -> Result<TypedCosts> {
            let full = PassLaw::Affine(Affine::new(1.0, 0.2, 0.0)?);
            Ok(TypedCosts { full, ..TypedCosts::ideal(1.0 - ratio.get()) })
        };
        let flat =
            |ratio: SkipRatio| -> Result<TypedCosts> { Ok(TypedCosts::ideal(1.0 - ratio.get())) };
        let cells = map(32, most, Drafting::Simultaneous, &rates, 0, costs).unwrap();
        assert_eq!(cells.len(), 32 * 8);
        assert!((2..8).contains(&cells[0].predictors), "{:?}", cells[0]);
        let ideal = map(32, most, Drafting::Simultaneous, &rates, 0, flat).unwrap();
        assert_eq!(ideal[0].predictors, 8);
    }
}
