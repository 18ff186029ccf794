//! Imposed acceptance: drafts made right with given probabilities, by peeking at the plain text.
//!
//! Times of a geometry with random weights are real, its acceptance is not. With this the passes of
//! a plan are all made, and then what they drafted is replaced: right or wrong as drawn. Whoever
//! sets the probabilities answers for them; every record made so says it.

use crate::error::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Probabilities that a draft is right, given that those before it were.
#[derive(Debug, Clone, PartialEq)]
pub struct Imposed {
    rates: Vec<f64>,
    seed: u64,
}

impl Imposed {
    /// One rate for each predictor; predictors beyond them take the last.
    ///
    /// # Errors
    /// No rate, or one outside of 0 to 1.
    pub fn new(rates: Vec<f64>, seed: u64) -> Result<Self> {
        match rates.iter().find(|rate| !(0.0..=1.0).contains(*rate)) {
            Some(rate) => Err(Error::invalid(format!("expected rates from 0 to 1, found {rate}"))),
            None if rates.is_empty() => {
                Err(Error::invalid("expected at least one rate, found none"))
            }
            None => Ok(Self { rates, seed }),
        }
    }

    /// The rates as they were given.
    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// How many of `predictors` drafts are right in the text `text` after `committed` output
    /// tokens. Drawn for the place, not for the plan: fewer predictors give the same count, cut
    /// off.
    pub fn accepted(&self, text: &str, committed: usize, predictors: usize) -> usize {
        let mut seed = [0; 32];
        seed.copy_from_slice(&Sha256::digest(format!("{} {committed} {text}", self.seed)));
        let mut rng = ChaCha8Rng::from_seed(seed);
        let last = self.rates.len() - 1;
        (0..predictors).take_while(|&i| rng.random::<f64>() < self.rates[i.min(last)]).count()
    }
}

/// What a generation may peek at.
#[derive(Debug, Clone, Copy)]
pub struct Peek<'a> {
    /// How often drafts are right.
    pub imposed: &'a Imposed,
    /// Names the text: the draws depend on it.
    pub text: &'a str,
    /// What plain decoding gives.
    pub reference: &'a [u32],
}

impl Peek<'_> {
    /// Makes `drafts`, which follow `committed` output tokens, right or wrong as drawn.
    pub(crate) fn overwrite(&self, drafts: &mut [u32], committed: usize) {
        let right = self.imposed.accepted(self.text, committed, drafts.len());
        let ahead = self.reference.iter().skip(committed);
        for (i, (draft, &truth)) in drafts.iter_mut().zip(ahead).enumerate() {
            *draft = match i < right {
                true => truth,
                // Any token but the true one.
                false => u32::from(truth == 0),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_imposed_rates_and_belong_to_their_place() {
        let imposed = Imposed::new(vec![0.9, 0.5], 7).unwrap();
        let counts: Vec<usize> = (0..4000).map(|c| imposed.accepted("a", c, 3)).collect();
        let share = |least: usize| {
            counts.iter().filter(|&&count| count >= least).count() as f64 / counts.len() as f64
        };
        // source: products of the rates, 0.9, 0.45, 0.225; standard errors below 0.008
        assert!((share(1) - 0.9).abs() < 0.02 && (share(2) - 0.45).abs() < 0.03, "{}", share(1));
        assert!((share(3) - 0.225).abs() < 0.03);
        for (committed, &count) in counts.iter().enumerate().take(200) {
            assert_eq!(imposed.accepted("a", committed, 1), count.min(1));
        }
        assert!((0..50).any(|c| imposed.accepted("b", c, 3) != counts[c]));
    }

    #[test]
    fn rates_outside_of_probabilities_are_refused() {
        for bad in [vec![], vec![1.1], vec![0.5, -0.1], vec![f64::NAN]] {
            assert!(Imposed::new(bad, 0).is_err());
        }
    }
}
