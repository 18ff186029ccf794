//! What more training would buy: the speedup as a function of `U`.

use crate::cost::measured::MeasuredCosts;
use crate::error::{Error, Result};
use crate::predict::request::Request;
use crate::tokens::curves::{AcceptanceCurve, AcceptanceRate};
use crate::tokens::expected::expected_tokens;
use s3d_data::{CurveFit, DraftPlan, Drafting, Fit, Plan, Predictors, Run, SkipRatio, SkipWindow};
use serde::Serialize;

/// The best plan if every `U` were `factor` times what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingGain {
    /// What every `U` is multiplied with; 1 = the model as it is.
    pub factor: f64,
    /// The fastest symmetric plan then.
    pub plan: Plan,
    /// Its predicted speedup, from the curves.
    pub speedup: f64,
}

/// For each factor the fastest symmetric window and number of predictors of `drafting`. Of each
/// predictor the family with a `U` that fits best is taken.
///
/// # Errors
/// No fitted curve with a `U`, no timed passes, or a factor that is not above 0.
pub fn training_gain(
    run: &Run,
    fit: &Fit,
    request: &Request,
    drafting: Drafting,
    factors: &[f64],
) -> Result<Vec<TrainingGain>> {
    let costs = MeasuredCosts::new(run, request.machine, &request.contexts)?;
    let curves = curves(fit, drafting, request.gamma_max);
    if curves.is_empty() {
        let what = format!("curve with a U for {drafting} drafting");
        return Err(Error::missing(what, "measure acceptance at three skip counts or more"));
    }
    factors
        .iter()
        .map(|&factor| {
            let scaled: Vec<AcceptanceCurve> =
                curves.iter().map(|curve| scaled(curve, factor)).collect::<Result<_>>()?;
            best(run, &costs, drafting, &scaled, factor)
        })
        .collect()
}

/// The best-fitting curve with a `U` of each predictor, up to the first that has none.
fn curves(fit: &Fit, drafting: Drafting, gamma_max: usize) -> Vec<&CurveFit> {
    let with_u = |curve: &&CurveFit| curve.parameters.iter().any(|p| p.name == "u");
    let of = |predictor: usize| {
        let own = fit.curves.iter().filter(|c| c.drafting == drafting && c.predictor == predictor);
        own.filter(with_u).min_by(|a, b| a.aic.total_cmp(&b.aic))
    };
    (1..=gamma_max).map_while(of).collect()
}

fn scaled(curve: &CurveFit, factor: f64) -> Result<AcceptanceCurve> {
    let family = curve.family;
    let value = |name: &str| {
        let found = curve.parameters.iter().find(|p| p.name == name);
        found.map_or(1.0, |parameter| parameter.estimate.value)
    };
    AcceptanceCurve::new(family, &[value("u") * factor], value("ceiling"))
}

fn best(
    run: &Run,
    costs: &MeasuredCosts,
    drafting: Drafting,
    curves: &[AcceptanceCurve],
    factor: f64,
) -> Result<TrainingGain> {
    let layers = run.header.model.shape.layers;
    let mut best: Option<TrainingGain> = None;
    for window in SkipWindow::all_symmetric(layers) {
        let ratio: SkipRatio = window.skip_ratio(layers)?;
        let rates: Vec<AcceptanceRate> = curves.iter().map(|curve| curve.rate(ratio)).collect();
        for gamma in 1..=rates.len() {
            let plan =
                DraftPlan { drafting, skip: window.into(), predictors: Predictors::new(gamma)? };
            let cost = costs.of(&plan.draft(), gamma)?;
            let speedup = expected_tokens(&rates[..gamma]) / cost.in_plain_steps();
            if best.as_ref().is_none_or(|best| speedup > best.speedup) {
                best = Some(TrainingGain { factor, plan: Plan::Speculate(plan), speedup });
            }
        }
    }
    best.ok_or_else(|| Error::missing("window to skip", "the model needs two layers or more"))
}
