//! Statistics that bursts of a busy machine do not move: the median, and the spread around it; and
//! the mean, where values are few and of one kind.
//!
//! `simulator` has its own for what it concludes. This crate may not use it, and `data` computes
//! nothing, so the few lines that warnings and probes need stand here.

/// The standard deviation of normal values over their median absolute deviation,
/// `1 / Phi^-1(3/4)`.
const SIGMA_OF_MAD: f64 = 1.4826;

/// The values, the least first.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The mean; NaN of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

/// Median absolute deviation, scaled to be the standard deviation of normal values.
pub(crate) fn scaled_deviation(values: &[f64]) -> f64 {
    let middle = median(values);
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    SIGMA_OF_MAD * median(&deviations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_those_of_the_book() {
        // source: by hand; 1.4826 = 1 / Phi^-1(3/4)
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!((scaled_deviation(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 1.4826).abs() < 1e-12);
    }
}
