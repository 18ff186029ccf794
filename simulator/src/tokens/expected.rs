//! Tokens per iteration: accepted drafts + 1, in closed form.
//!
//! `E = 1 + sum_{j=1..gamma} prod_{i<=j} alpha_i`, where `alpha_i` is the probability that draft
//! `i` is accepted given that the drafts before it were (Leviathan, Kalman, Matias, arXiv
//! 2211.17192, equation 1, for equal rates).

use crate::tokens::curves::AcceptanceRate;

/// `E` of general rates, one per predictor; 1 without predictors.
///
/// Written as `1 + a_1 (1 + a_2 (1 + ...))`: no subtraction, so nothing is lost to rounding.
pub fn expected_tokens(rates: &[AcceptanceRate]) -> f64 {
    rates.iter().rev().fold(1.0, |tokens, rate| 1.0 + rate.get() * tokens)
}

/// `E = (1 - alpha^(gamma + 1)) / (1 - alpha)` of `predictors` equal rates; `gamma + 1` at
/// `alpha = 1` (arXiv 2211.17192, equation 1).
///
/// Near `alpha = 1` both differences vanish; `alpha^n = exp(n ln(1 - d))` with `d = 1 - alpha`
/// (exact there) keeps every digit.
pub fn expected_tokens_equal(rate: AcceptanceRate, predictors: usize) -> f64 {
    let tokens = predictors as f64 + 1.0;
    let d = 1.0 - rate.get();
    if d == 0.0 { tokens } else { -(tokens * (-d).ln_1p()).exp_m1() / d }
}

/// The marginal law of one iteration: `p[j]` = probability that exactly `j` drafts are accepted,
/// `j = 0..=gamma`.
pub fn accepted_law(rates: &[AcceptanceRate]) -> Vec<f64> {
    let mut reached = 1.0;
    let mut law = Vec::with_capacity(rates.len() + 1);
    for rate in rates {
        law.push(reached * (1.0 - rate.get()));
        reached *= rate.get();
    }
    law.push(reached);
    law
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(values: &[f64]) -> Vec<AcceptanceRate> {
        values.iter().map(|&a| AcceptanceRate::new(a).unwrap()).collect()
    }

    #[test]
    fn by_hand() {
        // source: 1 + 0.9 + 0.9 * 0.8 + 0.9 * 0.8 * 0.7 = 3.124
        assert!((expected_tokens(&rates(&[0.9, 0.8, 0.7])) - 3.124).abs() < 1e-15);
        assert_eq!(expected_tokens(&[]), 1.0);
        assert_eq!(expected_tokens_equal(rates(&[1.0])[0], 5), 6.0);
        assert_eq!(expected_tokens_equal(rates(&[0.0])[0], 5), 1.0);
    }

    proptest! {
        #[test]
        fn lies_between_one_and_all(values in prop::collection::vec(0.0..=1.0, 0..17)) {
            let tokens = expected_tokens(&rates(&values));
            prop_assert!((1.0..=values.len() as f64 + 1.0).contains(&tokens));
        }

        #[test]
        fn the_law_has_this_mean(values in prop::collection::vec(0.0..=1.0, 0..17)) {
            let rates = rates(&values);
            let law = accepted_law(&rates);
            let mean: f64 = law.iter().enumerate().map(|(j, p)| (j + 1) as f64 * p).sum();
            prop_assert!((law.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            prop_assert!((mean - expected_tokens(&rates)).abs() < 1e-13);
        }
    }
}
