//! A text whose tokens were drawn: with what probability is a draft accepted, given the text?
//!
//! Speculative sampling commits draft `x` with probability `q(x) min(1, p(x) / q(x))` and commits
//! `x` in one way or the other with probability `p(x)`. So given that the text goes on with `x`,
//! the draft was accepted with probability `min(1, q(x) / p(x))`; `p` and `q` are those of the full
//! model and of the draft, after temperature and truncation. These events are independent along a
//! text (docs/METHOD.md), for both draftings: a draft that is judged at all followed drafts that
//! were accepted, which are the text's tokens.

use crate::backend::kv_cache::KvCache;
use crate::backend::logits::for_each_row;
use crate::decode::observer::Silent;
use crate::decode::sample::Sampling;
use crate::error::Result;
use crate::model::Model;
use crate::model::draft_head::Columns;

/// Rows of the text whose logits are held at once.
const ROWS: usize = 64;
/// A draft that is reached less often than this need not be judged: 0 is written down for it.
const HARDLY_EVER: f64 = 1e-9;

/// What the full model says of a text that was drawn from it.
pub(super) struct DrawnText {
    sampling: Sampling,
    /// `[output - 1]`: the probability of each output token after the first, given those before it.
    probabilities: Vec<f64>,
    /// `[output - 1]`: the number that accepts or refuses a draft for it.
    numbers: Vec<f64>,
}

impl DrawnText {
    /// Reads `text`, whose first `prompt` tokens are the prompt, and leaves all but its last token
    /// in `cache`.
    pub(super) fn read(
        model: &Model,
        text: &[u32],
        prompt: usize,
        sampling: Sampling,
        cache: &mut KvCache,
    ) -> Result<Self> {
        model.fill_cache(&text[..prompt], cache)?;
        let (mut probabilities, mut failed) = (Vec::new(), Ok(()));
        let mut next = text[prompt..].iter().skip(1);
        for tokens in text[prompt..text.len() - 1].chunks(ROWS) {
            let logits = model.full_pass(tokens, cache, &mut Silent)?;
            for_each_row(&logits, |row| {
                let Some(&token) = next.next() else { return };
                match sampling.probability(row, token) {
                    Ok(probability) => probabilities.push(probability),
                    Err(error) => failed = Err(error),
                }
            })?;
        }
        failed?;
        let places = 1..text.len() - prompt;
        let numbers = places.map(|place| sampling.numbers(place).accept).collect();
        Ok(Self { sampling, probabilities, numbers })
    }

    /// The probabilities of acceptance of a group's drafts for the output tokens from place `place`
    /// on, which are `tokens`; `rows` are the drafts' logits, whose tokens `columns` says.
    pub(super) fn accept<'r>(
        &self,
        place: usize,
        tokens: &[u32],
        rows: impl Iterator<Item = &'r [f32]>,
        columns: Columns<'_>,
    ) -> Result<Vec<f32>> {
        let mut reached = 1.0;
        let targets = self.probabilities[place - 1..].iter().zip(tokens);
        let of_draft = |(row, (&p, &token))| {
            if reached < HARDLY_EVER {
                return Ok(0.0);
            }
            let q = match columns.column(token) {
                Some(column) => self.sampling.probability(row, column as u32)?,
                None => 0.0,
            };
            // Where another device or a wider model rounds a drawn token's probability to 0, it is
            // as if it were very small.
            let accept = if q >= p { f64::from(u8::from(q > 0.0)) } else { q / p };
            reached *= accept;
            Ok(accept as f32)
        };
        rows.zip(targets).map(of_draft).collect()
    }

    /// How many drafts for the output tokens from place `place` on are accepted, drawn by their
    /// probabilities. A token's number is the same whichever iteration judges a draft for it: a
    /// walk judges one at most.
    pub(super) fn drawn(&self, place: usize, accept: &[f32]) -> u32 {
        let numbers = &self.numbers[place - 1..];
        let right = accept.iter().zip(numbers).take_while(|(p, number)| **number < f64::from(**p));
        right.count() as u32
    }
}
