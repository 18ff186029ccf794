//! Decoding by drawing: the independent check of the exact chain, and a maker of traces whose truth
//! is known.
//!
//! Every text draws from its own ChaCha stream of the seed and sums are taken in the order of the
//! texts, so the result is the same to the bit on any number of threads.

use super::markov::Moments;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use s3d_data::{Predictors, Trace};
use s3d_simulator::AcceptanceRate;
use s3d_simulator::traces::walk::walk;

/// What to draw.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Acceptance rate of each predictor.
    pub rates: Vec<AcceptanceRate>,
    /// Output tokens of each text.
    pub length: usize,
    /// Number of texts.
    pub texts: usize,
    /// How much texts differ, in [0, 1]: a text's rates are `a + spread s a (1 - a)` with `s`
    /// uniform in [-1, 1] for each predictor, which keeps their mean. 0 = all alike.
    pub spread: f64,
    /// Seed of every draw.
    pub seed: u64,
}

/// Iterations per text: sample mean and variance over the drawn texts, and the mean's error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Sample moments.
    pub moments: Moments,
    /// Standard error of the mean.
    pub standard_error: f64,
}

impl Drawing {
    /// The random source of one text.
    fn stream(&self, text: usize) -> ChaCha8Rng {
        let mut source = ChaCha8Rng::seed_from_u64(self.seed);
        source.set_stream(text as u64);
        source
    }

    /// Accepted drafts at every position of one text.
    pub fn accepted(&self, text: usize) -> Vec<u32> {
        let mut source = self.stream(text);
        let rates = self.text_rates(&mut source);
        (0..self.length).map(|_| one_iteration(&rates, &mut source)).collect()
    }

    fn text_rates(&self, source: &mut ChaCha8Rng) -> Vec<f64> {
        let mut rates: Vec<f64> = self.rates.iter().map(|rate| rate.get()).collect();
        if self.spread > 0.0 {
            for rate in &mut rates {
                *rate += self.spread * source.random_range(-1.0..=1.0) * *rate * (1.0 - *rate);
            }
        }
        rates
    }

    /// Traces of all texts, named `text-0`, `text-1`, ..., with prompts of 16 tokens.
    pub fn traces(&self) -> Vec<Trace> {
        let trace = |text: usize| Trace {
            drafting: None,
            skip_start: None,
            skip_end: None,
            skip_set: None,
            gamma_max: Predictors::new(self.rates.len()).ok(),
            counted_drafts: None,
            id: format!("text-{text}"),
            task: None,
            prompt: 16,
            accepted: self.accepted(text),
            confidence: None,
            accept_probability: None,
            ranks: None,
        };
        (0..self.texts).into_par_iter().map(trace).collect()
    }

    /// Iterations per text until it is complete.
    pub fn iterations(&self) -> Drawn {
        let counts: Vec<f64> = (0..self.texts)
            .into_par_iter()
            .map(|text| walk(&self.accepted(text), self.rates.len()).iterations as f64)
            .collect();
        let texts = counts.len() as f64;
        let mean = counts.iter().sum::<f64>() / texts;
        let squares: f64 = counts.iter().map(|n| (n - mean) * (n - mean)).sum();
        let variance = squares / (texts - 1.0);
        Drawn { moments: Moments { mean, variance }, standard_error: (variance / texts).sqrt() }
    }
}

/// Drafts accepted before the first rejection.
fn one_iteration(rates: &[f64], source: &mut ChaCha8Rng) -> u32 {
    rates.iter().take_while(|&&rate| source.random::<f64>() < rate).count() as u32
}
