//! Sampling: from a row of logits to a distribution, and a draw from it with numbers of a seed.
//!
//! Logits are divided by the temperature; then the `top_k` most likely tokens stay (Fan et al.,
//! arXiv 1805.04833); then of these the fewest that together reach the share `top_p` (the nucleus
//! of Holtzman et al., arXiv 1904.09751). Of equally likely tokens the first stays. All in f64.
//!
//! Random numbers belong to places: the token at place `n` of the output has the first three
//! numbers of stream `n` of ChaCha8 with the seed, one to draw its draft, one to accept it, one to
//! draw what is committed where no draft was accepted. So a text depends on seed and plan alone,
//! not on threads, time or other texts. A place whose draft was dropped, because an earlier one was
//! refused, takes its numbers once more; that is sound, because nothing committed before a place
//! depends on the numbers of that place.

use crate::backend::logits::{Logits, argmax_rows, for_each_row};
use crate::error::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_kernels::elementwise::argmax;
use serde::Serialize;
use std::cmp::Ordering;
use std::fmt;

/// How tokens are drawn from logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sampling {
    temperature: f64,
    top_k: Option<usize>,
    top_p: f64,
    seed: u64,
}

impl Sampling {
    /// Draws at a temperature, from all tokens. At temperature 0 the most likely token is certain:
    /// greedy.
    ///
    /// # Errors
    /// A temperature below 0, infinite, or no number.
    pub fn new(temperature: f64, seed: u64) -> Result<Self> {
        if !(temperature.is_finite() && temperature >= 0.0) {
            let message = format!("expected a temperature of at least 0, found {temperature}");
            return Err(Error::Invalid(message));
        }
        Ok(Self { temperature, top_k: None, top_p: 1.0, seed })
    }

    /// Draws from the `tokens` most likely tokens alone.
    ///
    /// # Errors
    /// No token.
    pub fn top_k(self, tokens: usize) -> Result<Self> {
        if tokens == 0 {
            return Err(Error::invalid("expected at least 1 token to draw from, found 0"));
        }
        Ok(Self { top_k: Some(tokens), ..self })
    }

    /// Draws from the fewest tokens whose probabilities add up to `share`; 1 takes all.
    ///
    /// # Errors
    /// A share that is not above 0 and at most 1.
    pub fn top_p(self, share: f64) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            let message = format!("expected a share above 0 and at most 1, found {share}");
            return Err(Error::Invalid(message));
        }
        Ok(Self { top_p: share, ..self })
    }

    /// Whether every draw is the most likely token.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// The seed of the draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What a token is drawn from, given its `logits[vocab]`.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub fn distribution(&self, logits: &[f32]) -> Result<Distribution> {
        let best = argmax(logits) as usize;
        let peak = f64::from(logits.get(best).copied().unwrap_or(f32::NAN));
        let power = |&logit: &f32| ((f64::from(logit) - peak) / self.temperature).exp();
        let mut weights: Vec<f64> = match self.is_greedy() {
            true => (0..logits.len()).map(|token| f64::from(u8::from(token == best))).collect(),
            false => logits.iter().map(power).collect(),
        };
        if !peak.is_finite() || weights.iter().any(|weight| weight.is_nan()) {
            return Err(Error::invalid(
                "expected logits that are numbers, found others: the weights of this model are \
                 damaged",
            ));
        }
        if let Some(tokens) = self.top_k {
            keep_top(&mut weights, tokens);
        }
        if self.top_p < 1.0 {
            keep_nucleus(&mut weights, self.top_p);
        }
        Distribution::new(weights)
    }

    /// The probability that `token` is drawn, given `logits[vocab]`: that of
    /// [`Self::distribution`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn probability(&self, logits: &[f32], token: u32) -> Result<f64> {
        let all = self.top_k.is_none() && self.top_p >= 1.0 && !self.is_greedy();
        let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let Some(&logit) = logits.get(token as usize).filter(|_| all && peak.is_finite()) else {
            return Ok(self.distribution(logits)?.probability(token));
        };
        // Of all tokens no distribution need be made for one of them.
        let power = |logit: f32| ((f64::from(logit) - f64::from(peak)) / self.temperature).exp();
        let probability = power(logit) / logits.iter().map(|&logit| power(logit)).sum::<f64>();
        match probability.is_nan() {
            true => Ok(self.distribution(logits)?.probability(token)),
            false => Ok(probability),
        }
    }

    /// The numbers that belong to place `place` of the output, counted from 0.
    pub fn numbers(&self, place: usize) -> Numbers {
        Numbers::at(self.seed, place)
    }
}

/// A token for each row of logits: the most likely one, or one that is drawn. What a
/// pass is timed with, choosing included.
///
/// # Errors
/// When they are no `[rows, columns]` of `f32`, or no numbers.
pub fn choose_rows(logits: &Logits, sampling: Option<&Sampling>) -> Result<Vec<u32>> {
    let Some(sampling) = sampling else { return argmax_rows(logits) };
    let (mut tokens, mut failed) = (Vec::new(), Ok(()));
    for_each_row(logits, |row| match sampling.distribution(row) {
        Ok(distribution) => {
            tokens.push(distribution.draw(sampling.numbers(tokens.len()).choose));
        }
        Err(error) => failed = Err(error),
    })?;
    failed.map(|()| tokens)
}

/// `temperature 0.8, top-k 40, top-p 0.9, seed 1`
impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "temperature {}", self.temperature)?;
        if let Some(tokens) = self.top_k {
            write!(f, ", top-k {tokens}")?;
        }
        if self.top_p < 1.0 {
            write!(f, ", top-p {}", self.top_p)?;
        }
        write!(f, ", seed {}", self.seed)
    }
}

/// The random numbers of one place of the output, each in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// Draws a draft for the place.
    pub draft: f64,
    /// Accepts or refuses that draft.
    pub accept: f64,
    /// Draws the token where no draft was accepted.
    pub choose: f64,
}

impl Numbers {
    /// The numbers of a seed at a place.
    pub fn at(seed: u64, place: usize) -> Self {
        let mut source = ChaCha8Rng::seed_from_u64(seed);
        source.set_stream(place as u64);
        let mut next = || source.random::<f64>();
        Self { draft: next(), accept: next(), choose: next() }
    }
}

/// Probabilities of all tokens of a vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// `[vocab]`; they add up to 1.
    probabilities: Vec<f64>,
}

impl Distribution {
    /// Probabilities in proportion to `weights[vocab]`.
    ///
    /// # Errors
    /// A weight below 0 or infinite, or none above 0.
    pub fn new(mut weights: Vec<f64>) -> Result<Self> {
        let bad = |weight: &&f64| !(weight.is_finite() && **weight >= 0.0);
        let total: f64 = weights.iter().sum();
        if let Some(bad) = weights.iter().find(bad) {
            return Err(Error::Invalid(format!("expected weights of at least 0, found {bad}")));
        }
        if !(total.is_finite() && total > 0.0) {
            return Err(Error::Invalid(format!(
                "expected weights with a sum above 0, found {total}"
            )));
        }
        weights.iter_mut().for_each(|weight| *weight /= total);
        Ok(Self { probabilities: weights })
    }

    /// The same over a vocabulary of `vocab` tokens, where entry `i` is that of token `tokens[i]`.
    pub(crate) fn spread(self, tokens: &[u32], vocab: usize) -> Self {
        let mut probabilities = vec![0.0; vocab];
        for (&token, probability) in tokens.iter().zip(self.probabilities) {
            probabilities[token as usize] = probability;
        }
        Self { probabilities }
    }

    /// The probability of a token; 0 of one that does not exist.
    pub fn probability(&self, token: u32) -> f64 {
        self.probabilities.get(token as usize).copied().unwrap_or(0.0)
    }

    /// The token at which the probabilities, added up in the order of tokens, pass `number` of [0,
    /// 1). Never one of probability 0.
    pub fn draw(&self, number: f64) -> u32 {
        let (mut sum, mut last) = (0.0, 0);
        for (token, &probability) in self.probabilities.iter().enumerate() {
            if probability > 0.0 {
                sum += probability;
                last = token as u32;
                if number < sum {
                    break;
                }
            }
        }
        // Where rounding left the sum below the number, the last token that has a probability.
        last
    }

    /// The positive part of `self - other`, made a distribution; none where nothing is positive.
    pub fn beyond(&self, other: &Self) -> Option<Self> {
        let pairs = self.probabilities.iter().zip(&other.probabilities);
        Self::new(pairs.map(|(p, q)| (p - q).max(0.0)).collect()).ok()
    }
}

/// More likely tokens first, the first of equals before the others.
fn by_weight(weights: &[f64], a: usize, b: usize) -> Ordering {
    weights[b].total_cmp(&weights[a]).then(a.cmp(&b))
}

/// Sets all weights but the `tokens` largest to 0.
fn keep_top(weights: &mut [f64], tokens: usize) {
    if tokens >= weights.len() {
        return;
    }
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.select_nth_unstable_by(tokens, |&a, &b| by_weight(weights, a, b));
    order[tokens..].iter().for_each(|&token| weights[token] = 0.0);
}

/// Sets all weights to 0 but the fewest large ones that reach `share` of the sum.
fn keep_nucleus(weights: &mut [f64], share: f64) {
    let total: f64 = weights.iter().sum();
    // All weights below this together hold less than what the nucleus may leave out: no need to
    // sort them.
    let least = (1.0 - share) * total / weights.len() as f64;
    let mut order: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] >= least).collect();
    order.sort_unstable_by(|&a, &b| by_weight(weights, a, b));
    let mut mass = 0.0;
    let needed = order.iter().take_while(|&&token| {
        let more = mass < share * total;
        mass += weights[token];
        more
    });
    let kept: Vec<(usize, f64)> = needed.map(|&token| (token, weights[token])).collect();
    weights.fill(0.0);
    kept.into_iter().for_each(|(token, weight)| weights[token] = weight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Logits of given probabilities.
    fn logits(probabilities: &[f64]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln() as f32).collect()
    }

    fn close(found: &Distribution, expected: &[f64]) {
        for (token, expected) in expected.iter().enumerate() {
            let found = found.probability(token as u32);
            assert!((found - expected).abs() < 1e-7, "token {token}: {found} {expected}");
        }
    }

    fn at(temperature: f64) -> Sampling {
        Sampling::new(temperature, 1).unwrap()
    }

    #[test]
    fn temperature_top_k_and_top_p_by_hand() {
        let row = logits(&[0.1, 0.4, 0.2, 0.3]);
        let check = |sampling: Sampling, expected: &[f64]| {
            close(&sampling.distribution(&row).unwrap(), expected);
        };
        // source: by hand. At temperature 1/2 probabilities are squared: 1, 16, 4, 9 of 30.
        check(at(1.0), &[0.1, 0.4, 0.2, 0.3]);
        check(at(0.5), &[1.0 / 30.0, 16.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0]);
        check(at(1.0).top_k(2).unwrap(), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        check(at(1.0).top_k(9).unwrap(), &[0.1, 0.4, 0.2, 0.3]);
        check(at(1.0).top_p(0.39).unwrap(), &[0.0, 1.0, 0.0, 0.0]);
        check(at(1.0).top_p(0.41).unwrap(), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        check(at(1.0).top_p(0.71).unwrap(), &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        check(at(1.0).top_p(1.0).unwrap(), &[0.1, 0.4, 0.2, 0.3]);
        // The share is one of what top-k left: 4/7 = 0.571 and 3/7.
        let both = |share| at(1.0).top_k(2).unwrap().top_p(share).unwrap();
        check(both(0.57), &[0.0, 1.0, 0.0, 0.0]);
        check(both(0.58), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        // The temperature comes first: 16/30 + 9/30 = 0.833.
        check(at(0.5).top_p(0.83).unwrap(), &[0.0, 0.64, 0.0, 0.36]);
        check(at(0.5).top_p(0.84).unwrap(), &[0.0, 16.0 / 29.0, 4.0 / 29.0, 9.0 / 29.0]);
        check(at(0.0).top_p(0.9).unwrap(), &[0.0, 1.0, 0.0, 0.0]);
        // Of equals the first stays.
        let equal = [1.0f32, 2.0, 2.0, 2.0];
        close(&at(1.0).top_k(2).unwrap().distribution(&equal).unwrap(), &[0.0, 0.5, 0.5, 0.0]);
        close(&at(1e-300).distribution(&equal[..2]).unwrap(), &[0.0, 1.0]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Sampling::new(bad, 1).is_err(), "{bad}");
        }
        for bad in [0.0, -0.5, 1.0001, f64::NAN] {
            assert!(at(1.0).top_p(bad).is_err(), "{bad}");
        }
        assert!(at(1.0).top_k(0).is_err());
        for bad in [&[1.0, f32::NAN, 0.0][..], &[f32::INFINITY, 0.0], &[f32::NEG_INFINITY], &[]] {
            for sampling in [at(0.0), at(1.0), at(1.0).top_k(1).unwrap()] {
                let found = sampling.distribution(bad);
                // What is no number may hide behind the arg max only where nothing is computed.
                assert!(found.is_err() || (sampling.is_greedy() && bad.len() == 3), "{bad:?}");
            }
        }
        for bad in [vec![], vec![0.0; 3], vec![0.5, -0.1], vec![1.0, f64::INFINITY]] {
            assert!(Distribution::new(bad).is_err());
        }
    }

    #[test]
    fn a_draw_passes_over_what_cannot_be() {
        let distribution = Distribution::new(vec![0.0, 1.0, 0.0, 3.0, 0.0]).unwrap();
        // source: by hand, the sums are 0.25 and 1
        for (number, token) in [(0.0, 1), (0.24, 1), (0.25, 3), (0.999_999_999, 3), (1.0, 3)] {
            assert_eq!(distribution.draw(number), token);
        }
        let other = Distribution::new(vec![0.5, 0.5, 0.0, 0.0, 0.0]).unwrap();
        close(&distribution.beyond(&other).unwrap(), &[0.0, 0.0, 0.0, 1.0, 0.0]);
        close(&other.beyond(&distribution).unwrap(), &[2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0, 0.0]);
        assert_eq!(other.beyond(&other), None);
    }

    #[test]
    fn numbers_belong_to_seed_and_place() {
        assert_eq!(Numbers::at(3, 5), at(1.0).seeded(3).numbers(5));
        let all: Vec<Numbers> =
            (0..4).flat_map(|seed| (0..4).map(move |n| Numbers::at(seed, n))).collect();
        let mut values: Vec<f64> = all.iter().flat_map(|n| [n.draft, n.accept, n.choose]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        assert_eq!(values.len(), 48, "no number twice");
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
    }

    impl Sampling {
        fn seeded(self, seed: u64) -> Self {
            Self { seed, ..self }
        }
    }

    proptest! {
        #[test]
        fn the_nucleus_is_what_a_full_sort_finds(
            row in prop::collection::vec(-9.0f32..9.0, 1..60), share in 0.01f64..1.0, tokens in 1usize..70,
        ) {
            let mut expected = at(1.0).distribution(&row).unwrap().probabilities;
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let total: f64 = order.iter().take(tokens).map(|&i| expected[i]).sum();
            let mut mass = 0.0;
            for (rank, &token) in order.iter().enumerate() {
                if rank >= tokens || mass >= share * total {
                    expected[token] = 0.0;
                }
                mass += expected[token];
            }
            let kept: f64 = expected.iter().sum();
            let sampling = at(1.0).top_k(tokens).unwrap().top_p(share).unwrap();
            let found = sampling.distribution(&row).unwrap();
            for (token, weight) in expected.iter().enumerate() {
                prop_assert!((found.probability(token as u32) - weight / kept).abs() < 1e-9);
            }
        }
    }
}
