//! Seeded numbers for tests.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `count` numbers in -1..1.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}
