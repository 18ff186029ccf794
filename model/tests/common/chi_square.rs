//! Draws against the distribution that they should have.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Cells that expect fewer draws are judged together (Cochran's rule).
const LEAST_EXPECTED: f64 = 5.0;

/// How often draws of the distribution `exact` would differ from it at least as much as `counts`
/// do: Pearson's chi-square. 0 where something impossible was drawn.
pub fn p_value(counts: &[u64], exact: &[f64]) -> f64 {
    let draws = counts.iter().sum::<u64>() as f64;
    let (mut statistic, mut cells) = (0.0, 0);
    let (mut rare, mut rare_expected) = (0.0, 0.0);
    let mut add = |found: f64, expected: f64| {
        statistic += (found - expected).powi(2) / expected;
        cells += 1;
    };
    for (&found, probability) in counts.iter().zip(exact) {
        let (found, expected) = (found as f64, probability * draws);
        if expected == 0.0 && found > 0.0 {
            return 0.0;
        }
        if expected >= LEAST_EXPECTED {
            add(found, expected);
        } else {
            rare += found;
            rare_expected += expected;
        }
    }
    if rare_expected >= 1.0 {
        add(rare, rare_expected);
    }
    if cells < 2 {
        return 1.0;
    }
    ChiSquared::new(f64::from(cells - 1)).unwrap().sf(statistic)
}

/// Half the sum of differences between the shares of `counts` and `exact`.
pub fn total_variation(counts: &[u64], exact: &[f64]) -> f64 {
    let draws = counts.iter().sum::<u64>() as f64;
    let pairs = counts.iter().zip(exact);
    pairs.map(|(&found, exact)| (found as f64 / draws - exact).abs()).sum::<f64>() / 2.0
}
