//! From documents to training samples: which text, where drafting is practised, what is skipped.
//!
//! Everything is a function of the seed and the sample's number, so a resumed run sees what the
//! uninterrupted run would have seen.

use super::self_written::Written;
use crate::corpus::{Split, document, prompts};
use crate::recipe::Windows;
use crate::targets::Sample;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_model::{Result, Tokenizer};
use std::ops::{Range, RangeInclusive};

/// The source of samples.
pub(crate) struct Data {
    pub tokenizer: Tokenizer,
    pub end: u32,
    pub seed: u64,
    /// Text rows of a sample.
    pub context: usize,
    /// Rows of a draft group.
    pub group: usize,
    pub layers: usize,
    /// The windows to practise; none: of all lengths.
    pub windows: Option<Windows>,
    /// Samples, one after the other, that skip the same layers.
    pub sharing: usize,
    pub pieces: Pieces,
}

/// Where the tokens come from.
pub(crate) enum Pieces {
    /// The generator of this crate; it never ends.
    Generated,
    /// Texts of one's own: what is trained on, and what is held out.
    Own { training: Vec<u32>, held_out: Vec<u32> },
    /// Texts of the model's own, each no longer than a context and a token: drafts are practised
    /// behind the prompts, on text by text in an order that changes each time round.
    Written { training: Vec<Written>, held_out: Vec<Written> },
}

/// The beginning of a held-out text.
pub(crate) struct Start {
    /// Its workload; `corpus` for texts of one's own.
    pub task: String,
    pub tokens: Vec<u32>,
}

/// Sets the draws of shared windows apart from those of samples.
const WINDOWS: u64 = 1 << 63;
/// Sets the draws of orders apart.
const ROUNDS: u64 = 1 << 62;
/// Tokens of the beginning of a held-out text of one's own, at most.
const START: usize = 48;

impl Data {
    /// The tokens of one document, end-of-text included.
    pub(crate) fn document(&self, split: Split, index: u64) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode(&document(self.seed, split, index).text)?;
        tokens.push(self.end);
        Ok(tokens)
    }

    /// Training sample `index`: documents one after the other from the beginning of the first, with
    /// `anchors` draft groups.
    pub(crate) fn sample(&self, index: u64, anchors: usize) -> Result<Sample> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ (index << 20));
        let mut first = 1;
        let tokens = match &self.pieces {
            Pieces::Generated => self.generated(index)?,
            Pieces::Own { training, .. } => {
                let start = random.random_range(0..training.len() - self.context);
                training[start..=start + self.context].to_vec()
            }
            Pieces::Written { training, .. } => {
                let text = &training[self.turn(index, training.len())];
                first = text.prompt;
                text.tokens.clone()
            }
        };
        let last = tokens.len() - 1 - self.group;
        let anchors = match &self.pieces {
            Pieces::Written { .. } => some_of(&mut random, first..=last, anchors),
            _ => {
                let mut anchors: Vec<usize> =
                    (0..anchors).map(|_| random.random_range(1..=last)).collect();
                anchors.sort_unstable();
                anchors
            }
        };
        if self.sharing > 1 {
            random = ChaCha8Rng::seed_from_u64(self.seed ^ WINDOWS ^ (index / self.sharing as u64));
        }
        let skip = match &self.windows {
            Some(windows) => windows.draw(&mut random, self.layers),
            None => skip(&mut random, self.layers),
        };
        Ok(Sample::new(tokens, anchors, skip))
    }

    /// Which of `texts` texts is sample `index`: all of them, then all again in another order.
    fn turn(&self, index: u64, texts: usize) -> usize {
        let (round, place) = (index / texts as u64, (index % texts as u64) as usize);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ ROUNDS ^ round);
        let mut order: Vec<usize> = (0..texts).collect();
        order.shuffle(&mut random);
        order[place]
    }

    /// Generated documents, one after the other.
    fn generated(&self, index: u64) -> Result<Vec<u32>> {
        let wanted = self.context + 1;
        // Far enough apart that samples share no document; not a multiple of 3, so that all
        // workloads take turns in coming first.
        let stride = (self.context / 128 + 1) as u64;
        let stride = if stride.is_multiple_of(3) { stride + 1 } else { stride };
        let mut tokens = Vec::with_capacity(2 * wanted);
        let mut next = index * stride;
        while tokens.len() < wanted {
            tokens.extend(self.document(Split::Training, next)?);
            next += 1;
        }
        tokens.truncate(wanted);
        Ok(tokens)
    }

    /// Held-out text number `index`, at most a context and one token long; nothing when there are
    /// no more.
    pub(crate) fn held_out(&self, index: u64) -> Result<Option<Vec<u32>>> {
        match &self.pieces {
            Pieces::Generated => {
                let mut tokens = self.document(Split::HeldOut, index)?;
                tokens.truncate(self.context + 1);
                Ok(Some(tokens))
            }
            Pieces::Own { held_out, .. } => {
                let text = held_out.chunks_exact(self.context + 1).nth(index as usize);
                Ok(text.map(<[u32]>::to_vec))
            }
            Pieces::Written { held_out, .. } => {
                Ok(held_out.get(index as usize).map(|text| text.tokens.clone()))
            }
        }
    }

    /// The beginnings of `count` held-out texts, or of as many as there are.
    pub(crate) fn starts(&self, count: usize) -> Result<Vec<Start>> {
        match &self.pieces {
            Pieces::Generated => prompts(self.seed, count)
                .into_iter()
                .map(|prompt| {
                    Ok(Start { tokens: self.tokenizer.encode(&prompt.text)?, task: prompt.task })
                })
                .collect(),
            Pieces::Own { held_out, .. } => {
                let length = START.min(self.context / 4).max(1);
                // Spread over the held-out part.
                let stride = (held_out.len() / count.max(1)).max(length);
                let starts = (0..count).map(|i| i * stride);
                let starts = starts.filter(|at| at + length <= held_out.len());
                let tokens = starts.map(|at| held_out[at..at + length].to_vec());
                Ok(tokens.map(|tokens| Start { task: "corpus".into(), tokens }).collect())
            }
            Pieces::Written { held_out, .. } => {
                let some = spread(held_out, count);
                let start = |text: &Written| Start {
                    task: text.task.clone(),
                    tokens: text.tokens[..text.prompt].to_vec(),
                };
                Ok(some.map(start).collect())
            }
        }
    }
}

/// `count` of `all`, or all of them, spread evenly.
pub(crate) fn spread<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(all.len());
    (0..count).map(move |i| &all[i * all.len() / count])
}

/// `count` different numbers of `range`, or all of them, ascending.
fn some_of(random: &mut ChaCha8Rng, range: RangeInclusive<usize>, count: usize) -> Vec<usize> {
    let mut all: Vec<usize> = range.collect();
    all.shuffle(random);
    all.truncate(count);
    all.sort_unstable();
    all
}

/// A window to skip, at most all layers but two: three times of four symmetric, of any length from
/// none on, else anywhere.
fn skip(random: &mut ChaCha8Rng, layers: usize) -> Range<usize> {
    let length = random.random_range(0..=layers.saturating_sub(2));
    let start = if random.random_range(0..4) < 3 {
        (layers - length) / 2
    } else {
        random.random_range(0..=layers - length)
    };
    start..start + length
}
