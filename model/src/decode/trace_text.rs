//! For every position of a text: how many drafts would an iteration started there have had
//! accepted?
//!
//! Greedy decoding is deterministic, so these counts are everything there is to know about a way of
//! drafting, and they need no generation. Each position contributes a group of rows to one wide
//! pass: the last committed token and the masks (simultaneous), or the reference tokens
//! (sequential: draft `i` counts only if the drafts before were right, so it was fed the
//! reference). A group sees the text before it as the full model left it, and itself as the reduced
//! layers computed it. No row's bits depend on the pass it sits in, so the counts equal those of
//! stepwise decoding exactly.
//!
//! A text may also be drawn (`drawn_text.rs`): then each draft has a probability of acceptance.
//!
//! Below the first layer that it leaves out, a draft pass does not depend on what is left out: all
//! skips share it.

use crate::backend::embedding::Row;
use crate::backend::kv_cache::KvCache;
use crate::backend::logits::{Logits, argmax_rows, for_each_row, on_host};
use crate::config::adapter::adapts;
use crate::decode::draft::confidence;
use crate::decode::drawn_text::DrawnText;
use crate::decode::observer::Silent;
use crate::decode::sample::Sampling;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::positions::Places;
use s3d_data::{Drafting, Skip, Trace};
use s3d_kernels::attention::Block;
use s3d_kernels::elementwise::argmax;

/// Rows that go through the layers together: enough to use each weight often, few enough to stay
/// in the cache.
const CHUNK_ROWS: usize = 384;

/// What stepwise decoding would have accepted at every position of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTrace {
    /// `accepted[c - 1]`: drafts accepted by an iteration started with `c` output tokens committed;
    /// drafts beyond the end of the text are not counted, so the last entry is 0.
    pub accepted: Vec<u32>,
    /// `confidence[c - 1][i - 1]`: the top probability of draft `i`'s row, which is its token's. A
    /// sequential draft that would be fed from beyond the end of the text has none.
    pub confidence: Option<Vec<Vec<f32>>>,
    /// `ranks[c - 1][i - 1]`: the rank of the right token among the most likely ones of draft `i`,
    /// from 1; 0 where it is none of the first [`Trace::RANKS`]. Drafts beyond the end of the text
    /// have none.
    pub ranks: Option<Vec<Vec<u8>>>,
    /// Of a drawn text: `accept_probability[c - 1][i - 1]`, the probability that draft `i` is
    /// accepted, given the text and that those before it were; `accepted` is then one draw by them.
    pub accept_probability: Option<Vec<Vec<f32>>>,
}

/// One text and one way of drafting.
struct Shadow<'a> {
    model: &'a Model,
    /// Prompt and output.
    text: Vec<u32>,
    prompt: usize,
    drafting: Drafting,
    gamma_max: usize,
    /// Keys and values of the text, from full-depth passes.
    cache: KvCache,
    /// What the full model says of the text, where it was drawn.
    drawn: Option<DrawnText>,
}

/// Traces `output`, the greedy continuation of `prompt`, for every skip of `skips`, in their order.
/// Drafts of up to `gamma_max` tokens; for fewer, say gamma, the count is `min(gamma, accepted)`.
///
/// # Errors
/// When a text is empty or too long, a skip does not fit the model, or it has too few masks.
pub fn trace_text(
    model: &Model,
    prompt: &[u32],
    output: &[u32],
    drafting: Drafting,
    skips: &[Skip],
    gamma_max: usize,
    confidence: bool,
) -> Result<Vec<TextTrace>> {
    let shadow = Shadow::new(model, [prompt, output], None, drafting, gamma_max)?;
    shadow.trace(skips, confidence, false)
}

/// Traces `text`, a prompt and the output that was drawn after it as `sampling` says, as
/// [`trace_text`] does. Which drafts are accepted is then a matter of chance: the trace holds the
/// probabilities, and one draw.
///
/// # Errors
/// As there; logits that are no numbers.
pub fn trace_drawn_text(
    model: &Model,
    text: [&[u32]; 2],
    sampling: Sampling,
    drafting: Drafting,
    skips: &[Skip],
    gamma_max: usize,
    confidence: bool,
) -> Result<Vec<TextTrace>> {
    let shadow = Shadow::new(model, text, Some(sampling), drafting, gamma_max)?;
    shadow.trace(skips, confidence, false)
}

/// As [`trace_text`] of drafts made at once, with the ranks of the right tokens: what a tree of
/// drafts would accept.
///
/// # Errors
/// As there.
pub fn trace_text_with_ranks(
    model: &Model,
    prompt: &[u32],
    output: &[u32],
    skips: &[Skip],
    gamma_max: usize,
    confidence: bool,
) -> Result<Vec<TextTrace>> {
    let text = [prompt, output];
    let shadow = Shadow::new(model, text, None, Drafting::Simultaneous, gamma_max)?;
    shadow.trace(skips, confidence, true)
}

impl<'a> Shadow<'a> {
    fn new(
        model: &'a Model,
        [prompt, output]: [&[u32]; 2],
        sampling: Option<Sampling>,
        drafting: Drafting,
        gamma_max: usize,
    ) -> Result<Self> {
        if prompt.is_empty() || output.is_empty() || gamma_max == 0 {
            return Err(Error::invalid("a trace needs a prompt, an output and at least one draft"));
        }
        let text = [prompt, output].concat();
        model.check_length(text.len())?;
        let mut cache = model.new_cache(text.len())?;
        let prompt = prompt.len();
        let drawn = match sampling {
            Some(sampling) => Some(DrawnText::read(model, &text, prompt, sampling, &mut cache)?),
            None => {
                model.fill_cache(&text[..text.len() - 1], &mut cache)?;
                None
            }
        };
        Ok(Self { model, text, prompt, drafting, gamma_max, cache, drawn })
    }

    /// Traces every skip of `skips`.
    fn trace(&self, skips: &[Skip], confidence: bool, ranks: bool) -> Result<Vec<TextTrace>> {
        skips.iter().try_for_each(|skip| self.model.check_skip(skip))?;
        let empty = TextTrace {
            accepted: Vec::new(),
            confidence: confidence.then(Vec::new),
            ranks: ranks.then(Vec::new),
            accept_probability: self.drawn.as_ref().map(|_| Vec::new()),
        };
        let mut traces = vec![empty; skips.len()];
        let most_groups = (self.model.most_rows() / self.gamma_max).max(1);
        let groups_per_chunk = CHUNK_ROWS.div_ceil(self.gamma_max).min(most_groups);
        let positions: Vec<usize> = (self.prompt..self.text.len()).collect();
        for starts in positions.chunks(groups_per_chunk) {
            self.trace_chunk(starts, skips, &mut traces)?;
        }
        Ok(traces)
    }

    /// The rows of the group whose last committed token stands at position `start`.
    fn group(&self, start: usize) -> Vec<Row> {
        match self.drafting {
            Drafting::Simultaneous => std::iter::once(Row::Token(self.text[start]))
                .chain((0..self.gamma_max - 1).map(Row::Mask))
                .collect(),
            Drafting::Sequential => {
                self.text[start..].iter().take(self.gamma_max).map(|&t| Row::Token(t)).collect()
            }
        }
    }

    /// Traces the groups whose last committed tokens stand at `starts`.
    fn trace_chunk(
        &self,
        starts: &[usize],
        skips: &[Skip],
        traces: &mut [TextTrace],
    ) -> Result<()> {
        let model = self.model;
        let mut rows = Vec::new();
        let mut places = Places {
            positions: Vec::new(),
            blocks: Vec::new(),
            append: false,
            adapted: adapts(self.drafting),
        };
        for &start in starts {
            let group = self.group(start);
            places.blocks.push(Block { row: rows.len(), rows: group.len(), position: start });
            places.positions.extend(start..start + group.len());
            rows.extend(group);
        }
        let mut x = model.embedding.look_up(&rows, &model.head, &model.backend)?;
        let mut depth = 0;
        let mut order: Vec<usize> = (0..skips.len()).collect();
        order.sort_by_key(|&i| self.first_skipped(&skips[i]));
        for i in order {
            let first = self.first_skipped(&skips[i]);
            x = model.run_layers(x, depth..first, None, &places, &self.cache, &mut Silent)?;
            depth = first;
            let layers = first..model.layers.len();
            let (skip, cache) = (Some(&skips[i]), &self.cache);
            let out = model.run_layers(x.clone(), layers, skip, &places, cache, &mut Silent)?;
            let logits = model.head_of(true, &out, &mut Silent)?;
            match &self.drawn {
                None => self.judge(&logits, &places.blocks, &mut traces[i])?,
                Some(drawn) => self.judge_drawn(drawn, &logits, &places.blocks, &mut traces[i])?,
            }
            if let Some(ranks) = &mut traces[i].ranks {
                self.rank(&logits, &places.blocks, ranks)?;
            }
        }
        Ok(())
    }

    /// The first layer that `skip` touches: below it all draft passes are one.
    fn first_skipped(&self, skip: &Skip) -> usize {
        let layers = self.model.layers.len();
        let touched = |&layer: &usize| skip.skips_attention(layer) || skip.skips_mlp(layer);
        (0..layers).find(touched).unwrap_or(layers)
    }

    /// Compares the drafts of each group with the text.
    fn judge(&self, logits: &Logits, groups: &[Block], trace: &mut TextTrace) -> Result<()> {
        let (mut drafts, columns) = (Vec::new(), self.model.columns());
        if trace.confidence.is_some() {
            for_each_row(logits, |row| {
                drafts.push((columns.token(argmax(row)), confidence(row)));
            })?;
        } else {
            let chosen = argmax_rows(logits)?.into_iter();
            drafts.extend(chosen.map(|column| (columns.token(column), 0.0)));
        }
        for group in groups {
            let drafts = &drafts[group.row..group.row + group.rows];
            let reference = &self.text[group.position + 1..];
            let right =
                drafts.iter().zip(reference).take_while(|(draft, token)| draft.0 == **token);
            trace.accepted.push(right.count() as u32);
            if let Some(confidence) = &mut trace.confidence {
                confidence.push(drafts.iter().map(|draft| draft.1).collect());
            }
        }
        debug_assert!(trace.accepted.len() <= self.text.len() - self.prompt);
        Ok(())
    }

    /// With what probability the drafts of each group are accepted, given the text.
    fn judge_drawn(
        &self,
        drawn: &DrawnText,
        logits: &Logits,
        groups: &[Block],
        trace: &mut TextTrace,
    ) -> Result<()> {
        let width = logits.columns()?;
        on_host(logits, |all| {
            for group in groups {
                let rows = || all.chunks_exact(width).skip(group.row).take(group.rows);
                let tokens = &self.text[group.position + 1..];
                let place = group.position + 1 - self.prompt;
                let accept = drawn.accept(place, tokens, rows(), self.model.columns())?;
                trace.accepted.push(drawn.drawn(place, &accept));
                trace.accept_probability.get_or_insert_default().push(accept);
                if let Some(kept) = &mut trace.confidence {
                    kept.push(rows().map(confidence).collect());
                }
            }
            Ok(())
        })
    }

    /// Ranks the right token of each draft, group after group.
    fn rank(&self, logits: &Logits, groups: &[Block], ranks: &mut Vec<Vec<u8>>) -> Result<()> {
        let columns = self.model.columns();
        let right = |group: &Block| {
            let reference = self.text[group.position + 1..].iter().copied().map(Some);
            reference.chain(std::iter::repeat(None)).take(group.rows).collect::<Vec<_>>()
        };
        let mut tokens = groups.iter().flat_map(right);
        let mut all = Vec::new();
        for_each_row(logits, |row| {
            let token = tokens.next().flatten();
            all.push(token.map(|token| columns.column(token).map_or(0, |c| rank(row, c))));
        })?;
        for group in groups {
            let own = &all[group.row..group.row + group.rows];
            ranks.push(own.iter().copied().flatten().collect());
        }
        Ok(())
    }
}

/// The rank of a column among the largest of a row, from 1, the first of equals before the others;
/// 0 beyond the ranks that are told apart.
fn rank(row: &[f32], column: usize) -> u8 {
    let Some(&own) = row.get(column) else { return 0 };
    let before = |(place, x): (usize, &f32)| *x > own || *x == own && place < column;
    let ahead = row.iter().enumerate().filter(|cell| before(*cell));
    let ahead = ahead.take(usize::from(Trace::RANKS)).count() as u8;
    if ahead < Trace::RANKS { ahead + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::config::{AdapterConfig, S3dConfig};
    use crate::decode::draft::{DraftThreshold, Proposal, draft};
    use crate::decode::generate::{Generation, Limits};
    use crate::decode::verify::verify_greedy;
    use crate::model::options::LoadOptions;
    use s3d_data::{DraftPlan, LayerSet, Plan, Predictors, SkipWindow};

    /// Starts one iteration of stepwise decoding with `committed` output tokens.
    fn stepwise(
        model: &Model,
        text: &[u32],
        prompt: usize,
        committed: usize,
        plan: &DraftPlan,
    ) -> u32 {
        let known = prompt + committed;
        let mut cache = model.new_cache(known + 20).unwrap();
        for token in &text[..known - 1] {
            model.full_pass(&[*token], &mut cache, &mut Silent).unwrap();
        }
        let mut proposal = Proposal::new(None, DraftThreshold::OFF, 0);
        draft(model, text[known - 1], plan, &mut proposal, &mut cache, &mut Silent).unwrap();
        let drafts = proposal.tokens;
        let fed = [&text[known - 1..known], &drafts].concat();
        let logits = model.full_pass(&fed, &mut cache, &mut Silent).unwrap();
        let accepted = verify_greedy(&drafts, &argmax_rows(&logits).unwrap());
        accepted.min(text.len() - known) as u32
    }

    #[test]
    fn a_trace_is_what_stepwise_decoding_accepts_at_every_position() {
        let config = ModelConfig {
            hidden_size: 32,
            intermediate_size: 40,
            num_hidden_layers: 5,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(8),
            vocab_size: 6,
            tie_word_embeddings: false,
            ..ModelConfig::story()
        };
        let set = LayerSet { attention: vec![1, 2, 3], mlp: vec![0, 3] };
        let skips = [
            Skip::from(SkipWindow::new(2, 2).unwrap()),
            Skip::from(SkipWindow::new(3, 5).unwrap()),
            Skip::from(SkipWindow::new(1, 3).unwrap()),
            Skip::Set { layers: set.into() },
            Skip::from(SkipWindow::new(0, 4).unwrap()),
        ];
        let adapters = Some(AdapterConfig::of_rank(4));
        let s3d = Some(S3dConfig {
            masks: 7,
            adapters,
            draft_vocabulary: Some(5),
            ..S3dConfig::default()
        });
        let (mut all, mut some) = (0, 0);
        for seed in 0..4 {
            // The last with adapters, and drafts over five of the six tokens.
            let s3d = if seed < 3 { config.s3d.clone() } else { s3d.clone() };
            let config = ModelConfig { s3d, ..config.clone() };
            let options = LoadOptions { threads: 2, ..LoadOptions::default() };
            let model = Model::random(&config, seed, &options).unwrap();
            let prompt = [1, 2, 3, 4, 5];
            let output =
                Generation::new(&model, &prompt, &Plan::Plain, Limits::tokens(40), &mut Silent)
                    .unwrap()
                    .finish()
                    .unwrap();
            let text = [&prompt[..], &output].concat();
            for drafting in Drafting::ALL {
                let traces =
                    trace_text(&model, &prompt, &output, drafting, &skips, 8, true).unwrap();
                for (trace, skip) in traces.iter().zip(&skips) {
                    let plan = DraftPlan {
                        drafting,
                        skip: skip.clone(),
                        predictors: Predictors::new(8).unwrap(),
                    };
                    let expected: Vec<u32> =
                        (1..=40).map(|c| stepwise(&model, &text, 5, c, &plan)).collect();
                    assert_eq!(trace.accepted, expected, "seed {seed}, {plan}");
                    let confidence = trace.confidence.as_ref().unwrap();
                    assert_eq!(confidence.len(), 40);
                    assert!(confidence.iter().flatten().all(|p| (1.0 / 6.0..=1.0).contains(p)));
                    all += expected.len();
                    some += expected.iter().filter(|&&a| 0 < a && a < 8).count();
                }
            }
        }
        assert!(some * 10 > all, "the comparison must not be trivial: {some} of {all}");
    }

    #[test]
    fn the_rank_of_a_token_is_its_place_in_the_sorted_row() {
        let row = [0.5, 2.0, 0.5, 3.0, -1.0, 0.4];
        let found: Vec<u8> = (0..7).map(|column| rank(&row, column)).collect();
        assert_eq!(found, [3, 2, 4, 1, 0, 0, 0]);
    }

    /// source: stepwise drafting at every position, its logits sorted by another way.
    #[test]
    fn ranks_are_those_of_the_logits_of_stepwise_drafting() {
        let s3d = Some(S3dConfig { masks: 7, draft_vocabulary: Some(9), ..S3dConfig::default() });
        let config = ModelConfig {
            hidden_size: 32,
            intermediate_size: 40,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(8),
            vocab_size: 12,
            tie_word_embeddings: false,
            ..ModelConfig::story()
        };
        let mut counts = [0; 5];
        for s3d in [config.s3d.clone(), s3d] {
            let config = ModelConfig { s3d, ..config.clone() };
            let model = Model::random(&config, 3, &LoadOptions::default()).unwrap();
            let (prompt, skip) = ([1, 2, 3], Skip::from(SkipWindow::new(1, 3).unwrap()));
            let mut silent = Silent;
            let text =
                Generation::new(&model, &prompt, &Plan::Plain, Limits::tokens(24), &mut silent);
            let output = text.unwrap().finish().unwrap();
            let skips = [skip.clone()];
            let trace = trace_text_with_ranks(&model, &prompt, &output, &skips, 5, false).unwrap();
            let without =
                trace_text(&model, &prompt, &output, Drafting::Simultaneous, &skips, 5, false);
            assert_eq!(without.unwrap()[0].accepted, trace[0].accepted);
            let text = [&prompt[..], &output].concat();
            for (place, ranks) in trace[0].ranks.as_ref().unwrap().iter().enumerate() {
                let known = prompt.len() + place + 1;
                assert_eq!(ranks.len(), 5.min(text.len() - known));
                let first = ranks.iter().take_while(|rank| **rank == 1).count();
                assert_eq!(first, trace[0].accepted[place] as usize);
                let mut cache = model.new_cache(known + 8).unwrap();
                for token in &text[..known - 1] {
                    model.full_pass(&[*token], &mut cache, &mut Silent).unwrap();
                }
                let last = text[known - 1];
                let logits = model
                    .draft_pass(Drafting::Simultaneous, last, 4, &skip, &mut cache, &mut Silent)
                    .unwrap();
                let mut rows: Vec<Vec<f32>> = Vec::new();
                for_each_row(&logits, |row| rows.push(row.to_vec())).unwrap();
                for ((row, rank), token) in rows.iter().zip(ranks).zip(&text[known..]) {
                    let mut sorted: Vec<u32> = (0..row.len() as u32).collect();
                    sorted.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
                    let named = sorted.iter().map(|column| model.columns().token(*column));
                    let place = named.take(4).position(|named| named == *token);
                    assert_eq!(usize::from(*rank), place.map_or(0, |place| place + 1));
                    counts[usize::from(*rank)] += 1;
                }
            }
        }
        assert!(counts.iter().all(|count| *count > 3), "{counts:?}");
    }

    #[test]
    fn what_cannot_be_traced_is_refused() {
        let config = ModelConfig { num_hidden_layers: 2, ..ModelConfig::story() };
        let model = Model::random(&config, 1, &LoadOptions::default()).unwrap();
        let skip = [Skip::from(SkipWindow::new(0, 1).unwrap())];
        let trace = |output: &[u32], drafting, gamma| {
            trace_text(&model, &[1], output, drafting, &skip, gamma, false).map(drop)
        };
        assert!(trace(&[2], Drafting::Simultaneous, 8).is_ok());
        assert!(trace(&[2], Drafting::Simultaneous, 9).unwrap_err().to_string().contains("mask 8"));
        assert!(trace(&[], Drafting::Sequential, 8).is_err());
        assert!(trace(&[512], Drafting::Sequential, 8).unwrap_err().to_string().contains("512"));
    }
}
