//! From documents to training samples: which text, where drafting is practised, what is skipped.
//!
//! Everything is a function of the seed and the sample's number, so a resumed run sees what the
//! uninterrupted run would have seen.

use super::network::Sample;
use crate::corpus::{Split, document};
use crate::{Result, Tokenizer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// The source of samples.
pub(super) struct Data {
    pub tokenizer: Tokenizer,
    pub end: u32,
    pub seed: u64,
    /// Text rows of a sample.
    pub context: usize,
    /// Rows of a draft group.
    pub group: usize,
    pub layers: usize,
}

impl Data {
    /// The tokens of one document, end-of-text included.
    pub fn document(&self, split: Split, index: u64) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode(&document(self.seed, split, index).text)?;
        tokens.push(self.end);
        Ok(tokens)
    }

    /// Training sample `index`: documents one after the other from the beginning of the first, with
    /// `anchors` draft groups.
    pub fn sample(&self, index: u64, anchors: usize) -> Result<Sample> {
        let wanted = self.context + 1;
        // Far enough apart that samples share no document; not a multiple of 3, so that all workloads
        // take turns in coming first.
        let stride = (self.context / 128 + 1) as u64;
        let stride = if stride.is_multiple_of(3) { stride + 1 } else { stride };
        let mut tokens = Vec::with_capacity(2 * wanted);
        let mut next = index * stride;
        while tokens.len() < wanted {
            tokens.extend(self.document(Split::Training, next)?);
            next += 1;
        }
        tokens.truncate(wanted);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ (index << 20));
        let last = self.context - self.group;
        let mut anchors: Vec<usize> = (0..anchors).map(|_| random.random_range(1..=last)).collect();
        anchors.sort_unstable();
        Ok(Sample { tokens, anchors, skip: skip(&mut random, self.layers) })
    }
}

/// A window to skip, at most all layers but two: three times of four symmetric, of any length from none
/// on, else anywhere.
fn skip(random: &mut ChaCha8Rng, layers: usize) -> Range<usize> {
    let length = random.random_range(0..=layers.saturating_sub(2));
    let start = if random.random_range(0..4) < 3 {
        (layers - length) / 2
    } else {
        random.random_range(0..=layers - length)
    };
    start..start + length
}
