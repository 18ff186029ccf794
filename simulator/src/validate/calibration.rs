//! What end-to-end runs say about costs: passes timed in a stage of their own are a few per cent off
//! from passes inside decoding, and windows and numbers of predictors near each other share that.
//!
//! Where tokens per iteration are known exactly, by replay, predicted over measured speedup is measured
//! over predicted cost. Its logarithm is smooth in predictors and skipped layers; a plan takes the
//! kernel mean of other windows' plans of its drafting, shrunk towards no correction by what passes
//! are usually off (a normal prior: the posterior mean).

use s3d_data::{DraftPlan, Skip};

/// How far passes timed apart usually are from passes inside decoding, as a standard deviation.
const USUAL: f64 = 0.04;
/// Skipped layers, of a model of any depth, over which the kernel halves its weight.
const REACH_LAYERS: f64 = 2.0;

/// One plan that was run end to end and whose trace is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The plan.
    pub plan: DraftPlan,
    /// Logarithm of predicted over measured speedup.
    pub log_ratio: f64,
    /// Its standard error, from the measured speedup's interval.
    pub error: f64,
}

/// What to multiply a predicted speedup with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// The factor; 1 where nothing is known.
    pub factor: f64,
    /// Its relative standard error.
    pub error: f64,
}

/// The correction of `plan` by `samples` of other skip sets and the same drafting.
pub fn correction(samples: &[Sample], plan: &DraftPlan) -> Correction {
    let mut precision = USUAL.powi(-2);
    let mut sum = 0.0;
    for sample in
        samples.iter().filter(|s| s.plan.skip != plan.skip && s.plan.drafting == plan.drafting)
    {
        let weight = kernel(&sample.plan, plan) / sample.error.powi(2).max(1e-6);
        precision += weight;
        sum += weight * sample.log_ratio;
    }
    Correction { factor: (-sum / precision).exp(), error: precision.powf(-0.5) }
}

/// 1 for the same predictors and number of skipped layers, falling with both differences.
fn kernel(one: &DraftPlan, other: &DraftPlan) -> f64 {
    let predictors = one.predictors.get().abs_diff(other.predictors.get()) as f64;
    let layers = skipped(&one.skip) - skipped(&other.skip);
    1.0 / (1.0 + predictors * predictors) / (1.0 + (layers / REACH_LAYERS).powi(2))
}

fn skipped(skip: &Skip) -> f64 {
    crate::observed::skipped_layers(skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(plan: &str, log_ratio: f64, error: f64) -> Sample {
        Sample { plan: draft(plan), log_ratio, error }
    }

    fn draft(plan: &str) -> DraftPlan {
        plan.parse::<s3d_data::Plan>().unwrap().draft().unwrap().clone()
    }

    #[test]
    fn one_sample_as_sure_as_the_prior_corrects_by_half() {
        // source: posterior mean of a normal prior (mean 0, sd 0.04) and one observation 0.1 of sd 0.04
        let found = correction(&[sample("3..7:4", 0.1, USUAL)], &draft("4..8:4"));
        assert!((found.factor - (-0.05f64).exp()).abs() < 1e-12, "{found:?}");
        assert!((found.error - USUAL / 2f64.sqrt()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn distance_takes_weight_and_the_own_window_and_other_draftings_say_nothing() {
        // source: 2 predictors apart: weight 1/5; 2 layers apart: 1/2; so 1/10 of the prior's precision
        let far = correction(&[sample("3..7:2", 0.11, USUAL)], &draft("4..6:4"));
        assert!((far.factor - (-0.01f64).exp()).abs() < 1e-12, "{far:?}");
        for other in ["4..6:4", "4..6:3", "seq:3..7:4"] {
            let none = correction(&[sample(other, 0.5, 1e-9)], &draft("4..6:4"));
            assert_eq!(none, Correction { factor: 1.0, error: USUAL }, "{other}");
        }
    }
}
