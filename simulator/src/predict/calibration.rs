//! What end-to-end runs say about costs: passes timed in a stage of their own are some per cent off
//! from passes inside decoding, the more so where the memory bandwidth moves, and plans that are
//! alike share that.
//!
//! Where tokens per iteration are known exactly, by replay, predicted over measured speedup is
//! measured over predicted cost. Its logarithm is taken as a Gaussian process over plans (Rasmussen
//! and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.25 and 2.26): a sum of one
//! part for all plans, one that grows with the number of predictors (passes were timed while memory
//! was faster or slower: what is wide notices less), one for each drafting, one for each number of
//! predictors (kernels change there), one that is smooth in skipped layers, and one that is smooth
//! in both. A plan takes the posterior mean given the other windows' plans.

use crate::predict::timing_error::TimingError;
use linfa_linalg::cholesky::InverseC;
use ndarray::{Array1, Array2};
use s3d_data::{DraftPlan, Skip};
use std::collections::BTreeMap;

/// Standard deviations of the parts, as sweeps show them: of all plans (the plain step was timed in
/// another state of the machine), of the same for each predictor, of a drafting, of a number of
/// predictors, of skipped layers, of both together.
const ALL: f64 = 0.05;
const A_PREDICTOR: f64 = 0.015;
const DRAFTING: f64 = 0.05;
const PREDICTORS: f64 = 0.04;
const LAYERS: f64 = 0.04;
const BOTH: f64 = 0.03;
/// Distances, in skipped layers and in predictors, at which smooth parts are half as much alike.
const REACH_LAYERS: f64 = 2.0;
const REACH_PREDICTORS: f64 = 1.0;
/// No timing is surer than this: equations stay regular.
const LEAST_ERROR: f64 = 1e-3;

/// One plan that was run end to end and whose trace is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The plan.
    pub plan: DraftPlan,
    /// Logarithm of predicted over measured speedup.
    pub log_ratio: f64,
    /// Its error: that of timing, since texts and their iterations are known.
    pub error: TimingError,
}

/// What to multiply a predicted speedup with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// The factor; 1 where nothing is known.
    pub factor: f64,
    /// Its relative standard error.
    pub error: f64,
}

/// Corrections by samples.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    all: Posterior,
    /// Without the samples of one skip set, which must say nothing of its own plans.
    without: BTreeMap<Skip, Posterior>,
}

impl Calibration {
    /// Learns from plans that were run.
    pub fn new(samples: &[Sample]) -> Self {
        let usable =
            |s: &&Sample| s.log_ratio.is_finite() && s.error.covariance(&s.error).is_finite();
        let samples: Vec<&Sample> = samples.iter().filter(usable).collect();
        let without = |skip: &Skip| {
            let others: Vec<&Sample> =
                samples.iter().copied().filter(|s| s.plan.skip != *skip).collect();
            (skip.clone(), Posterior::new(&others))
        };
        let skips: std::collections::BTreeSet<&Skip> =
            samples.iter().map(|s| &s.plan.skip).collect();
        Self { all: Posterior::new(&samples), without: skips.into_iter().map(without).collect() }
    }

    /// The correction of `plan` by plans of other skip sets.
    pub fn of(&self, plan: &DraftPlan) -> Correction {
        self.without.get(&plan.skip).unwrap_or(&self.all).of(plan)
    }

    /// The same of what is measured of `plan` with this error, which plans of the same blocks
    /// share: theirs says how the plain steps between them were timed.
    pub(crate) fn of_measurement(&self, plan: &DraftPlan, error: &TimingError) -> Correction {
        self.without.get(&plan.skip).unwrap_or(&self.all).of_measurement(plan, error)
    }

    /// The correction of `plan` by all plans, those of its own skip set too: for choosing, where
    /// what was run of a plan counts most.
    pub(crate) fn with_own(&self, plan: &DraftPlan) -> Correction {
        self.all.of(plan)
    }
}

/// The Gaussian process given some samples.
#[derive(Debug, Clone, Default)]
struct Posterior {
    plans: Vec<(DraftPlan, TimingError)>,
    /// Inverse of the samples' covariance.
    inverse: Array2<f64>,
    /// That, times their values.
    weights: Array1<f64>,
}

impl Posterior {
    /// Nothing is learned from no samples.
    fn new(samples: &[&Sample]) -> Self {
        let covariance = Array2::from_shape_fn((samples.len(), samples.len()), |(i, j)| {
            let (one, other) = (samples[i], samples[j]);
            let timing = one.error.covariance(&other.error);
            let timing = if i == j { timing.max(LEAST_ERROR.powi(2)) } else { timing };
            covariance(&one.plan, &other.plan) + timing
        });
        let values: Array1<f64> = samples.iter().map(|sample| sample.log_ratio).collect();
        // The noise keeps it positive definite.
        let Some(inverse) = covariance.invc().ok().filter(|_| !samples.is_empty()) else {
            return Self::default();
        };
        let plans = samples.iter().map(|s| (s.plan.clone(), s.error.clone())).collect();
        Self { plans, weights: inverse.dot(&values), inverse }
    }

    /// What its mean and standard deviation at `plan` correct.
    fn of(&self, plan: &DraftPlan) -> Correction {
        self.of_measurement(plan, &TimingError::default())
    }

    fn of_measurement(&self, plan: &DraftPlan, error: &TimingError) -> Correction {
        let together = |(other, timing): &(DraftPlan, TimingError)| {
            covariance(plan, other) + error.covariance(timing)
        };
        let near: Array1<f64> = self.plans.iter().map(together).collect();
        let known = if near.is_empty() { 0.0 } else { near.dot(&self.inverse.dot(&near)) };
        let mean = if near.is_empty() { 0.0 } else { near.dot(&self.weights) };
        let error = covariance(plan, plan) + error.covariance(error) - known;
        let error = error.max(0.0).sqrt();
        Correction { factor: (-mean).exp(), error }
    }
}

/// How much two plans' logarithms vary together.
fn covariance(one: &DraftPlan, other: &DraftPlan) -> f64 {
    let [drafts, of_other] = [one, other].map(|plan| plan.predictors.get() as f64);
    let state = ALL.powi(2) + A_PREDICTOR.powi(2) * drafts * of_other;
    if one.drafting != other.drafting {
        return state;
    }
    let alike = |distance: f64, reach: f64| 1.0 / (1.0 + (distance / reach).powi(2));
    let predictors = (drafts - of_other).abs();
    let layers = alike(skipped(&one.skip) - skipped(&other.skip), REACH_LAYERS);
    let same = if predictors == 0.0 { PREDICTORS.powi(2) } else { 0.0 };
    let both = BOTH.powi(2) * alike(predictors, REACH_PREDICTORS);
    state + DRAFTING.powi(2) + same + layers * (LAYERS.powi(2) + both)
}

fn skipped(skip: &Skip) -> f64 {
    crate::traces::table::skipped_layers(skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(plan: &str, log_ratio: f64, error: f64) -> Sample {
        let error = TimingError { parts: vec![error], ..TimingError::default() };
        Sample { plan: draft(plan), log_ratio, error }
    }

    fn draft(plan: &str) -> DraftPlan {
        plan.parse::<s3d_data::Plan>().unwrap().draft().unwrap().clone()
    }

    /// The variance of a plan of this many predictors.
    fn total(predictors: i32) -> f64 {
        let parts = [ALL, DRAFTING, PREDICTORS, LAYERS, BOTH];
        parts.map(|part| part * part).iter().sum::<f64>()
            + (A_PREDICTOR * f64::from(predictors)).powi(2)
    }

    /// The correction of `plan`, of so many predictors, by one sample of 4 predictors that has the
    /// covariance `shared` with it.
    fn by_one(samples: &[Sample], (plan, predictors): (&str, i32), shared: f64) {
        let noisy = total(4) + samples[0].error.covariance(&samples[0].error);
        let found = Calibration::new(samples).of(&draft(plan));
        let mean = shared / noisy * samples[0].log_ratio;
        assert!((found.factor - (-mean).exp()).abs() < 1e-12, "{plan}: {found:?}");
        let error = (total(predictors) - shared * shared / noisy).sqrt();
        assert!((found.error - error).abs() < 1e-12, "{plan}: {found:?}, {error}");
    }

    /// source: mean and variance of a normal variable given another that is measured with an error.
    #[test]
    fn one_sample_says_what_a_normal_law_says() {
        let [all, a_predictor, drafting, predictors, layers, both] =
            [ALL, A_PREDICTOR, DRAFTING, PREDICTORS, LAYERS, BOTH]
                .map(|deviation| deviation.powi(2));
        let [four, five] = [all + 16.0 * a_predictor, all + 20.0 * a_predictor];
        let measured = [sample("3..7:4", 0.1, 0.03)];
        by_one(&measured, ("4..8:4", 4), total(4));
        by_one(&measured, ("4..8:5", 5), five + drafting + layers + both / 2.0);
        by_one(&measured, ("4..6:4", 4), four + drafting + predictors + (layers + both) / 2.0);
        by_one(&measured, ("seq:4..8:4", 4), four);
        // The own window says nothing, under either drafting.
        by_one(&measured, ("3..7:4", 4), 0.0);
        by_one(&measured, ("seq:3..7:2", 2), 0.0);
        // Where it is to count too, it says what any window just like it says.
        let found = Calibration::new(&measured);
        assert_eq!(found.with_own(&draft("3..7:4")), found.of(&draft("4..8:4")));
    }

    /// source: by hand. Two plans with the same covariance with all: their mean counts, with half
    /// the noise.
    #[test]
    fn samples_are_averaged() {
        let other = TimingError { parts: vec![0.0, 0.2], ..TimingError::default() };
        let other = Sample { error: other, ..sample("2..6:4", 0.3, 0.0) };
        let found = Calibration::new(&[sample("3..7:4", 0.1, 0.2), other]);
        let mean = 0.2 * total(4) / (total(4) + 0.02);
        assert!((found.of(&draft("4..8:4")).factor - (-mean).exp()).abs() < 1e-12);
    }

    /// source: mean and variance of a normal variable given another, both with the same error.
    #[test]
    fn plans_of_the_same_blocks_are_off_together() {
        let measured = sample("3..7:4", 0.1, 0.03);
        let error = measured.error.clone();
        let found = Calibration::new(&[measured]).of_measurement(&draft("4..8:5"), &error);
        let [all, a_predictor, drafting, layers, both] =
            [ALL, A_PREDICTOR, DRAFTING, LAYERS, BOTH].map(|deviation| deviation.powi(2));
        let noise = 0.03f64.powi(2);
        let shared = all + 20.0 * a_predictor + drafting + layers + both / 2.0 + noise;
        let mean = shared / (total(4) + noise) * 0.1;
        assert!((found.factor - (-mean).exp()).abs() < 1e-6, "{found:?}");
        let variance = total(5) + noise - shared * shared / (total(4) + noise);
        assert!((found.error - variance.sqrt()).abs() < 1e-6, "{found:?}, {variance}");
    }

    #[test]
    fn without_samples_nothing_is_corrected() {
        for samples in [vec![], vec![sample("3..7:4", f64::NAN, 0.1)]] {
            let found = Calibration::new(&samples).of(&draft("4..8:4"));
            assert!(found.factor == 1.0 && (0.05..0.2).contains(&found.error), "{found:?}");
        }
    }
}
