//! How good a checkpoint is: loss on held-out text, and drafts accepted on its own greedy text.

use crate::cpu::tape::Tape;
use crate::data::samples::{Pieces, Start, spread};
use crate::data::self_written::Written;
use crate::targets::{RowWeights, Sample};
use crate::trainer::Trainer;
use rayon::prelude::*;
use s3d_data::SkipWindow;
use s3d_model::Result;

/// Tokens between the draft groups of a held-out text.
const ANCHOR_STEP: usize = 16;

/// Loss on held-out documents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldOut {
    /// Sum over all tokens, in nats.
    pub nats: f64,
    /// Tokens predicted.
    pub tokens: usize,
    /// Characters that these tokens stand for.
    pub characters: usize,
}

impl HeldOut {
    /// Mean loss.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// Mean length of a token.
    pub fn characters_per_token(&self) -> f64 {
        self.characters as f64 / self.tokens as f64
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            nats: self.nats + other.nats,
            tokens: self.tokens + other.tokens,
            characters: self.characters + other.characters,
        }
    }
}

/// The beginning of a held-out text with its greedy continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreedyText {
    /// Workload of the beginning.
    pub task: String,
    /// Tokens of the beginning.
    pub prompt: usize,
    /// All tokens.
    pub tokens: Vec<u32>,
}

/// A greedy text of the model's own with at most `count` tokens of its output.
fn cut(text: &Written, count: usize) -> GreedyText {
    let end = text.tokens.len().min(text.prompt + count);
    GreedyText { task: text.task.clone(), prompt: text.prompt, tokens: text.tokens[..end].to_vec() }
}

/// Acceptance along one greedy text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreedyTrace {
    /// Workload of the prompt.
    pub task: String,
    /// `accepted[c - 1]`: drafts an iteration gets accepted when it starts with c output tokens
    /// committed.
    pub accepted: Vec<usize>,
}

/// Tokens per iteration at `predictors` drafts, over all iterations of all texts, walked as
/// decoding would; and how often draft i was accepted of the times drafts 1..i were right before
/// it.
pub fn walk(traces: &[&GreedyTrace], predictors: usize) -> (f64, Vec<f64>) {
    let (mut iterations, mut tokens) = (0usize, 0usize);
    let mut reached = vec![0usize; predictors + 1];
    for trace in traces {
        let mut at = 0;
        while let Some(accepted) = trace.accepted.get(at) {
            let accepted = (*accepted).min(predictors);
            reached[..=accepted].iter_mut().for_each(|r| *r += 1);
            iterations += 1;
            tokens += accepted + 1;
            at += accepted + 1;
        }
    }
    let rates = reached.windows(2).map(|pair| pair[1] as f64 / pair[0] as f64).collect();
    (tokens as f64 / iterations as f64, rates)
}

impl Trainer {
    /// Loss on the first `documents` held-out texts, or on as many as there are.
    pub fn held_out(&self, documents: u64) -> Result<HeldOut> {
        let weights = self.host_weights()?;
        let losses: Vec<Option<HeldOut>> = self.pool.install(|| {
            let texts = (0..documents).into_par_iter();
            texts.map(|index| self.document_loss(weights, index)).collect::<Result<_>>()
        })?;
        Ok(losses.into_iter().flatten().fold(HeldOut::default(), HeldOut::and))
    }

    fn document_loss(&self, weights: &[f32], index: u64) -> Result<Option<HeldOut>> {
        let Some(tokens) = self.data.held_out(index)? else { return Ok(None) };
        let predicted = &tokens[1..];
        let text = self.data.tokenizer.decode(predicted)?;
        let (count, characters) = (predicted.len(), text.chars().count());
        let sample = Sample::new(tokens, Vec::new(), 0..0);
        let mut tape = Tape::default();
        self.network.forward(weights, &sample, &mut tape);
        let losses = self.network.losses(&sample, &mut tape, RowWeights::even(0.0, 0.0));
        Ok(Some(HeldOut { nats: losses.text, tokens: count, characters }))
    }

    /// Mean loss of each draft, in nats, on the first `documents` held-out texts with `window`
    /// skipped, as to what it learns to predict; nothing for a model without masks.
    pub fn held_out_drafts(&self, documents: u64, window: SkipWindow) -> Result<Vec<f64>> {
        let (masks, group) = (self.config.model.masks(), self.config.group());
        let weights = self.host_weights()?;
        let (mut sums, mut groups) = (vec![0.0; group], 0);
        let mut tape = Tape::default();
        for index in (0..documents).take_while(|_| masks > 0) {
            let Some(tokens) = self.data.held_out(index)? else { break };
            let anchors: Vec<usize> =
                (1..tokens.len().saturating_sub(group)).step_by(ANCHOR_STEP).collect();
            groups += anchors.len();
            let mut sample = Sample::new(tokens, anchors, window.start()..window.end());
            let (first, targets) = (sample.text(), self.config.draft_targets);
            self.network.forward_to_learn(first, targets, weights, &mut sample, &mut tape);
            let nothing = RowWeights::even(0.0, 0.0);
            let losses = self.network.losses(&sample, &mut tape, nothing);
            sums.iter_mut().zip(losses.draft).for_each(|(sum, loss)| *sum += loss);
        }
        let means = sums.into_iter().filter(|_| groups > 0);
        Ok(means.map(|sum| sum / groups as f64).collect())
    }

    /// Continues the beginnings of `texts` held-out texts, or of as many as there are, greedily by
    /// `count` tokens, less where a text would be longer than the training's.
    pub fn greedy_texts(&self, texts: usize, count: usize) -> Result<Vec<GreedyText>> {
        if let Pieces::Written { held_out, .. } = &self.data.pieces {
            return Ok(spread(held_out, texts).map(|text| cut(text, count)).collect());
        }
        let (starts, weights) = (self.data.starts(texts)?, self.host_weights()?);
        let continued = |start: &Start| {
            let count = count.min(self.config.context.saturating_sub(start.tokens.len()));
            let (network, end, mut tape) = (&self.network, self.data.end, Tape::default());
            GreedyText {
                task: start.task.clone(),
                prompt: start.tokens.len(),
                tokens: network.continue_text(weights, &start.tokens, count, end, &mut tape),
            }
        };
        Ok(self.pool.install(|| starts.par_iter().map(continued).collect()))
    }

    /// Traces each of `windows` along greedy texts: one list of traces per window.
    pub fn acceptance(
        &self,
        texts: &[GreedyText],
        windows: &[SkipWindow],
    ) -> Result<Vec<Vec<GreedyTrace>>> {
        let (network, weights) = (&self.network, self.host_weights()?);
        let of_text = |text: &GreedyText| -> Vec<GreedyTrace> {
            let mut tape = Tape::default();
            let mut accepted = |window: &SkipWindow| {
                let skip = window.start()..window.end();
                network.accepted(weights, &text.tokens, text.prompt, skip, &mut tape)
            };
            let trace = |accepted| GreedyTrace { task: text.task.clone(), accepted };
            windows.iter().map(|window| trace(accepted(window))).collect()
        };
        let by_text: Vec<Vec<GreedyTrace>> =
            self.pool.install(|| texts.par_iter().map(of_text).collect());
        let window = |w: usize| by_text.iter().map(|traces| traces[w].clone()).collect();
        Ok((0..windows.len()).map(window).collect())
    }
}
