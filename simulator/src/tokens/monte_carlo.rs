//! Decoding by drawing: the independent check of the exact chain, and a maker of traces whose truth
//! is known.
//!
//! Every text draws from its own ChaCha stream of the seed and sums are taken in the order of the
//! texts, so the result is the same to the bit on any number of threads.

use crate::tokens::curves::AcceptanceRate;
use crate::tokens::markov::Moments;
use crate::traces::walk::walk;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use s3d_data::{Predictors, Trace};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::markov::Chain;

    fn drawing(source: &mut ChaCha8Rng, texts: usize) -> Drawing {
        let predictors = source.random_range(1..=8);
        let rates: Vec<f64> = (0..predictors).map(|_| source.random()).collect();
        let length = source.random_range(2..=60);
        let rates = AcceptanceRate::all(&rates).unwrap();
        Drawing { rates, length, texts, spread: 0.0, seed: source.random() }
    }

    #[test]
    fn agrees_with_the_chain_within_its_error() {
        // source: the exact chain; 200 random settings, each within 4 standard errors
        let mut source = ChaCha8Rng::seed_from_u64(7);
        for setting in 0..200 {
            let drawing = drawing(&mut source, 4000);
            let exact = Chain::new(&drawing.rates, drawing.length).iterations();
            let drawn = drawing.iterations();
            let error = (exact.variance / drawing.texts as f64).sqrt().max(1e-12);
            let off = (drawn.moments.mean - exact.mean).abs() / error;
            assert!(off < 4.0, "setting {setting}: {off} standard errors");
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let drawing = drawing(&mut ChaCha8Rng::seed_from_u64(3), 1000);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let drawn = drawing.iterations();
                (drawn.moments.mean.to_bits(), drawn.moments.variance.to_bits(), drawing.traces())
            })
        };
        assert_eq!(on(1), on(2));
        assert_eq!(on(1), on(7));
    }

    #[test]
    fn spread_keeps_the_mean_rate() {
        let rates = AcceptanceRate::all(&[0.7]).unwrap();
        let drawing = Drawing { rates, length: 50, texts: 4000, spread: 1.0, seed: 11 };
        let all: Vec<u32> = drawing.traces().into_iter().flat_map(|t| t.accepted).collect();
        let mean = all.iter().sum::<u32>() as f64 / all.len() as f64;
        // source: standard error of clusters: sqrt((0.21^2 / 3 + 0.21 / 50) / 4000) = 0.0022
        assert!((mean - 0.7).abs() < 0.009, "{mean}");
    }
}
