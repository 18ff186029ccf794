//! Two independent accounts of decoding, which the walk over traces is held against: the exact
//! chain over committed tokens, and drawing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod planted;

use planted::markov::{Chain, Moments};
use planted::monte_carlo::Drawing;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_simulator::{AcceptanceRate, expected_tokens};

fn rates(values: &[f64]) -> Vec<AcceptanceRate> {
    AcceptanceRate::all(values).unwrap()
}

#[test]
fn by_hand() {
    // source: one predictor, rate 1/2, length 3 (two tokens to go): one iteration with
    // probability 1/2, else two. Mean 1.5, variance 0.25.
    let chain = Chain::new(&rates(&[0.5]), 3);
    assert_eq!(chain.iterations(), Moments { mean: 1.5, variance: 0.25 });
    assert_eq!(chain.visits(), [1.0, 0.5]);
    assert_eq!(Chain::new(&rates(&[0.5]), 1).tokens_per_iteration(), None);
}

#[test]
fn an_uncut_iteration_moves_by_the_closed_form() {
    // source: renewal theorem (Feller, volume 1, XIII.3): far from the ends a position is
    // visited with probability 1 / E.
    let rates = rates(&[0.9, 0.8, 0.75, 0.4]);
    let visits = Chain::new(&rates, 4000).visits();
    assert!((visits[3000] - expected_tokens(&rates).recip()).abs() < 1e-12);
}

proptest! {
    #[test]
    fn visits_add_up_to_the_iterations(
        values in prop::collection::vec(0.0..=1.0, 1..9), length in 1usize..120,
    ) {
        let chain = Chain::new(&rates(&values), length);
        let total = chain.expected_seconds(|_| 1.0);
        prop_assert!((total - chain.iterations().mean).abs() < 1e-10);
    }
}

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
