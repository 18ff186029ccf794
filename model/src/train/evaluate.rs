//! How good a checkpoint is: loss on held-out text, and drafts accepted on its own greedy text.

use super::network::{RowWeights, Sample};
use super::{Trainer, network::Tape};
use crate::Result;
use crate::corpus::{Prompt, Split, Task};
use rayon::prelude::*;
use s3d_data::SkipWindow;

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

/// Acceptance along one greedy text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreedyTrace {
    /// Workload of the prompt.
    pub task: String,
    /// `accepted[c - 1]`: drafts an iteration gets accepted when it starts with c output tokens committed.
    pub accepted: Vec<usize>,
}

/// Tokens per iteration at `predictors` drafts, over all iterations of all texts, walked as decoding
/// would; and how often draft i was accepted of the times drafts 1..i were right before it.
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
    /// Loss on the first `documents` held-out documents, by workload.
    pub fn held_out(&self, documents: u64) -> Result<Vec<(Task, HeldOut)>> {
        let losses: Vec<HeldOut> = self.pool.install(|| {
            (0..documents)
                .into_par_iter()
                .map(|index| self.document_loss(index))
                .collect::<Result<_>>()
        })?;
        let of_task = |place: usize| losses.iter().skip(place).step_by(Task::ALL.len()).copied();
        let sum = |place| of_task(place).fold(HeldOut::default(), HeldOut::and);
        Ok(Task::ALL.into_iter().enumerate().map(|(place, task)| (task, sum(place))).collect())
    }

    fn document_loss(&self, index: u64) -> Result<HeldOut> {
        let mut tokens = self.data.document(Split::HeldOut, index)?;
        tokens.truncate(self.config.context + 1);
        let predicted = &tokens[1..];
        let text = self.data.tokenizer.decode(predicted)?;
        let (count, characters) = (predicted.len(), text.chars().count());
        let sample = Sample { tokens, anchors: Vec::new(), skip: 0..0 };
        let mut tape = Tape::default();
        self.network.forward(&self.weights, &sample, &mut tape);
        let losses = self.network.losses(&sample, &mut tape, RowWeights { text: 0.0, draft: 0.0 });
        Ok(HeldOut { nats: losses.text, tokens: count, characters })
    }

    /// Continues every prompt greedily by `count` tokens and traces each of `windows` along the texts:
    /// one list of traces per window.
    pub fn acceptance(
        &self,
        prompts: &[Prompt],
        count: usize,
        windows: &[SkipWindow],
    ) -> Result<Vec<Vec<GreedyTrace>>> {
        let by_prompt: Vec<Vec<GreedyTrace>> = self.pool.install(|| {
            prompts
                .par_iter()
                .map(|prompt| self.trace_prompt(prompt, count, windows))
                .collect::<Result<_>>()
        })?;
        let window = |w: usize| by_prompt.iter().map(|traces| traces[w].clone()).collect();
        Ok((0..windows.len()).map(window).collect())
    }

    fn trace_prompt(
        &self,
        prompt: &Prompt,
        count: usize,
        windows: &[SkipWindow],
    ) -> Result<Vec<GreedyTrace>> {
        let tokens = self.data.tokenizer.encode(&prompt.text)?;
        let mut tape = Tape::default();
        let (network, weights) = (&self.network, &self.weights);
        let text = network.continue_text(weights, &tokens, count, self.data.end, &mut tape);
        let trace = |window: &SkipWindow| GreedyTrace {
            task: prompt.task.clone(),
            accepted: network.accepted(
                weights,
                &text,
                tokens.len(),
                window.start()..window.end(),
                &mut tape,
            ),
        };
        Ok(windows.iter().map(trace).collect())
    }

    /// The greedy continuation of a text, as text.
    pub fn continue_text(&self, prompt: &str, count: usize) -> Result<String> {
        let tokens = self.data.tokenizer.encode(prompt)?;
        let mut tape = Tape::default();
        let end = self.data.end;
        let text = self.network.continue_text(&self.weights, &tokens, count, end, &mut tape);
        self.data.tokenizer.decode(&text[tokens.len()..])
    }
}
