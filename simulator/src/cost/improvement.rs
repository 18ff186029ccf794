//! The improvement factor: speedup over plain decoding of the same model.
//!
//! `IF = E (T_full(1) + t_step) / T_iter` (cost model, section 3). In the paper's ideal case, where
//! a pass costs the same at any small width and nothing else costs anything (arXiv 2405.20314):
//! simultaneous `IF = E / (2 - beta)`, sequential `IF = E / (1 + gamma (1 - beta))`.

use crate::cost::model::IterationCost;
use crate::tokens::curves::AcceptanceRate;
use crate::tokens::expected::{expected_tokens, expected_tokens_equal};
use s3d_data::memory::Memory;
use s3d_data::{Drafting, Estimate, SkipRatio};

/// The improvement factor of the ideal case at the given rates (gamma = their number).
pub fn ideal_improvement(
    drafting: Drafting,
    skip_ratio: SkipRatio,
    rates: &[AcceptanceRate],
) -> f64 {
    IterationCost::ideal(drafting, skip_ratio, rates.len()).improvement(expected_tokens(rates))
}

/// The improvement factor of the ideal case at measured tokens per iteration.
pub fn ideal_gain(
    drafting: Drafting,
    tokens: Estimate,
    skip_ratio: SkipRatio,
    predictors: usize,
) -> Estimate {
    let cost = IterationCost::ideal(drafting, skip_ratio, predictors);
    tokens.map(|tokens| cost.improvement(tokens))
}

/// Plain decoding in tokens per second where a pass moves as many bytes as `here` says, as fast as
/// a machine moves them that decodes at `rate` with `there`: an upper bound, since coded weights
/// cost arithmetic too.
pub fn rate_by_bytes(rate: f64, there: &Memory, here: &Memory) -> f64 {
    let read = |memory: &Memory| (memory.weights_bytes.0 + memory.kv_cache_bytes.0) as f64;
    rate * read(there) / read(here)
}

/// The equal acceptance rate at which `cost` just breaks even with `predictors` drafts: where
/// `E(alpha, gamma) = T_iter / T_plain`. `None` when even full acceptance loses.
pub fn break_even_acceptance(cost: &IterationCost, predictors: usize) -> Option<AcceptanceRate> {
    let needed = cost.in_plain_steps();
    if needed > predictors as f64 + 1.0 {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    // E rises in alpha, so halving finds the crossing; 60 halvings reach the last bit.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let enough = expected_tokens_equal(AcceptanceRate::clamped(middle), predictors) >= needed;
        *(if enough { &mut high } else { &mut low }) = middle;
    }
    Some(AcceptanceRate::clamped(if needed <= 1.0 { 0.0 } else { high }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::curves::{AcceptanceCurve, Family};
    use proptest::prelude::*;

    fn rates(values: &[f64]) -> Vec<AcceptanceRate> {
        AcceptanceRate::all(values).unwrap()
    }

    fn at(beta: f64) -> SkipRatio {
        SkipRatio::new(beta).unwrap()
    }

    #[test]
    fn one_predictor_at_u_one_gains_exactly_nothing() {
        // source: cost model, section 3 (b): (2 - beta^1) / (2 - beta) = 1
        for layers in 1..80usize {
            for skipped in 0..layers {
                let ratio = at(skipped as f64 / layers as f64);
                for family in [Family::Power, Family::Superellipse] {
                    let rate = AcceptanceCurve::new(family, &[1.0], 1.0).unwrap().rate(ratio);
                    assert_eq!(ideal_improvement(Drafting::Simultaneous, ratio, &[rate]), 1.0);
                }
            }
        }
    }

    #[test]
    fn limits() {
        // source: algebra. All accepted, nothing skipped: 5 tokens for 2 passes, or for 5.
        let all = rates(&[1.0; 4]);
        assert_eq!(ideal_improvement(Drafting::Simultaneous, at(0.0), &all), 2.5);
        assert_eq!(ideal_improvement(Drafting::Sequential, at(0.0), &all), 1.0);
        let nearly_all_skipped = ideal_improvement(Drafting::Sequential, at(1.0 - 1e-15), &all);
        assert!((nearly_all_skipped - 5.0).abs() < 1e-13);
    }

    #[test]
    fn break_even_is_where_the_factor_is_one() {
        let cost = IterationCost::new(1.0, 0.45, 1.2, 0.05).unwrap();
        let rate = break_even_acceptance(&cost, 4).unwrap();
        let factor = cost.improvement(expected_tokens_equal(rate, 4));
        assert!((factor - 1.0).abs() < 1e-14);
        let hopeless = IterationCost::new(1.0, 1.0, 1.5, 0.0).unwrap();
        assert_eq!(break_even_acceptance(&hopeless, 1), None);
        let free = IterationCost::new(1.0, 0.0, 1.0, 0.0).unwrap();
        assert_eq!(break_even_acceptance(&free, 1).unwrap().get(), 0.0);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(IterationCost::new(f64::NAN, 0.1, 1.0, 0.0).is_err());
        assert!(IterationCost::new(1.0, -0.1, 1.0, 0.0).is_err());
        assert!(IterationCost::new(0.0, 0.1, 1.0, 0.0).is_err());
    }

    proptest! {
        #[test]
        fn rises_strictly_in_the_skip_ratio(
            values in prop::collection::vec(0.0..=1.0, 1..17), beta in 0.0..0.99, seq: bool,
        ) {
            let (drafting, rates) = (Drafting::ALL[usize::from(seq)], rates(&values));
            let more = ideal_improvement(drafting, at(beta + 0.005), &rates);
            prop_assert!(more > ideal_improvement(drafting, at(beta), &rates));
        }

        #[test]
        fn never_falls_in_any_rate(
            values in prop::collection::vec(0.0..=1.0, 1..17), index: prop::sample::Index,
            up in 0.0..=1.0, beta in 0.0..1.0, seq: bool,
        ) {
            let drafting = Drafting::ALL[usize::from(seq)];
            let mut better = values.clone();
            let one = &mut better[index.index(values.len())];
            *one += (1.0 - *one) * up;
            let more = ideal_improvement(drafting, at(beta), &rates(&better));
            prop_assert!(more >= ideal_improvement(drafting, at(beta), &rates(&values)));
        }

        #[test]
        fn simultaneous_never_falls_in_the_number_of_predictors(
            values in prop::collection::vec(0.0..=1.0, 2..17), beta in 0.0..1.0,
        ) {
            let rates = rates(&values);
            let short = ideal_improvement(Drafting::Simultaneous, at(beta), &rates[..rates.len() - 1]);
            prop_assert!(ideal_improvement(Drafting::Simultaneous, at(beta), &rates) >= short);
        }
    }
}
