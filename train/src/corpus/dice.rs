//! Seeded choices in integer arithmetic: the same seed gives the same text on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014), plus a running account of how surprising the choices were.
///
/// The account is the information content of everything chosen so far: a floor under the loss that
/// any model can reach on the text. It never influences a choice.
pub(crate) struct Dice {
    state: u64,
    nats: f64,
}

impl Dice {
    /// Independent dice for document `index` of `stream` under `seed`.
    pub(super) fn new(seed: u64, stream: u64, index: u64) -> Self {
        let mut dice = Self { state: seed, nats: 0.0 };
        for part in [stream, index] {
            dice.state = dice.next() ^ part;
        }
        dice
    }

    /// Nats of all choices so far.
    pub(super) fn nats(&self) -> f64 {
        self.nats
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..n` by multiply and shift (bias below n / 2^32), not accounted.
    fn draw(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    /// A number in `0..n`, all equally likely.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.nats += (n as f64).ln();
        self.draw(n)
    }

    /// A number in `low..=high`, all equally likely.
    pub(super) fn range(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// One of `items`, all equally likely.
    pub(super) fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// Index below `n` that is `usual` in `percent` of all cases and anything (`usual` included)
    /// otherwise: high entropy with one clear favourite.
    pub(super) fn lean(&mut self, usual: usize, n: usize, percent: usize) -> usize {
        let free = self.draw(100) >= percent;
        let index = if free { self.draw(n) } else { usual % n };
        let tail = (100 - percent) as f64 / (100 * n) as f64;
        let favourite = if index == usual % n { percent as f64 / 100.0 } else { 0.0 };
        self.nats -= (tail + favourite).ln();
        index
    }

    /// True in `percent` of all cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        let yes = self.draw(100) < percent;
        let share = if yes { percent } else { 100 - percent };
        self.nats -= (share as f64 / 100.0).ln();
        yes
    }
}
