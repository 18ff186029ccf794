//! Decoding as a Markov chain over committed tokens, solved exactly.
//!
//! State `c` = output tokens committed, from 1 (the prompt pass commits the first) to `length`,
//! which absorbs. An iteration moves `c` to `min(c + j + 1, length)` with the probability that
//! exactly `j` drafts are accepted. The closed form `E` is the mean move while nothing is cut; the
//! chain also knows that the last iteration overshoots the end of the text.

use s3d_simulator::AcceptanceRate;
use s3d_simulator::tokens::expected::accepted_law;

/// A text of `length` output tokens, decoded with the same rates throughout.
#[derive(Debug, Clone)]
pub struct Chain {
    law: Vec<f64>,
    length: usize,
}

/// Mean and variance of a number of iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
}

impl Chain {
    /// The chain of `rates`, one per predictor, for a text of `length` output tokens.
    pub fn new(rates: &[AcceptanceRate], length: usize) -> Self {
        Self { law: accepted_law(rates), length }
    }

    /// Probability that an iteration starts at `c` committed tokens, for `c = 1..length`
    /// (`result[c - 1]`).
    pub fn visits(&self) -> Vec<f64> {
        let mut visits = vec![0.0; self.length.saturating_sub(1)];
        for index in 0..visits.len() {
            let arrived: f64 =
                self.law.iter().zip(visits[..index].iter().rev()).map(|(p, v)| p * v).sum();
            visits[index] = if index == 0 { 1.0 } else { arrived };
        }
        visits
    }

    /// Iterations until the text is complete.
    ///
    /// From the end backwards, with `N(c)` iterations to go from `c`: `E N = 1 + sum p_j E N'`,
    /// `E N^2 = 1 + 2 sum p_j E N' + sum p_j E N'^2`.
    pub fn iterations(&self) -> Moments {
        let states = self.length.saturating_sub(1);
        let (mut first, mut second) = (vec![0.0; states + 1], vec![0.0; states + 1]);
        for left in 1..=states {
            let reach = |moment: &[f64]| -> f64 {
                self.law
                    .iter()
                    .enumerate()
                    .map(|(j, p)| p * moment[left.saturating_sub(j + 1)])
                    .sum()
            };
            let (one, two) = (reach(&first), reach(&second));
            first[left] = 1.0 + one;
            second[left] = 1.0 + 2.0 * one + two;
        }
        Moments { mean: first[states], variance: second[states] - first[states] * first[states] }
    }

    /// Expected seconds of all iterations when the one that starts at `c` takes `seconds(c)`.
    pub fn expected_seconds(&self, seconds: impl Fn(usize) -> f64) -> f64 {
        self.visits().iter().enumerate().map(|(index, p)| p * seconds(index + 1)).sum()
    }

    /// Mean tokens per iteration, the cut of the last one included: `(length - 1) / E N`; `None`
    /// for a text that the prompt pass completes.
    pub fn tokens_per_iteration(&self) -> Option<f64> {
        (self.length > 1).then(|| (self.length - 1) as f64 / self.iterations().mean)
    }
}
