//! Decoding many texts in lockstep, plainly or by a plan: every pass holds the rows of all texts.
//!
//! A pass over one text reads every weight for that text alone; over the rows of fifty texts it
//! reads them once for all. No row's bits depend on the pass it sits in, so every text is what it
//! is alone, token for token. Each text attends to itself, and accepts its own number of drafts. A
//! text that has ended leaves, and the next one that waits takes its place.

use crate::backend::kv_cache::KvCache;
use crate::backend::logits::{Logits, argmax_rows};
use crate::decode::draft::{DraftThreshold, Proposal};
use crate::decode::observer::{Event, Observer, Silent};
use crate::decode::sample::Sampling;
use crate::decode::verify::Verified;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::together::Share;
use s3d_data::{DraftPlan, Drafting, Plan};
use std::ops::{ControlFlow, Range};

/// A text to write.
#[derive(Debug, Clone)]
pub struct Order {
    /// The tokens that it begins with, at least one.
    pub prompt: Vec<u32>,
    /// Tokens after them, at most; an end-of-text token ends it before.
    pub tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// A text that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The number it was given.
    pub number: usize,
    /// Its tokens, without the prompt.
    pub output: Vec<u32>,
    /// Iterations (plain: steps) after the pass over its prompt.
    pub iterations: usize,
}

/// Writes all `orders` by `plan`, up to `width` of them at a time, and hands each output to `done`
/// with its number when it is complete, which is in no fixed order; `done` may break off.
///
/// # Errors
/// No place; what [`Lockstep`] refuses; what `orders` and `done` return.
pub fn decode_together(
    model: &Model,
    plan: &Plan,
    orders: impl IntoIterator<Item = Result<Order>>,
    width: usize,
    done: &mut dyn FnMut(usize, Vec<u32>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if width == 0 {
        return Err(Error::invalid("texts are decoded together one or more at a time, found 0"));
    }
    let mut waiting = orders.into_iter().enumerate();
    let mut lockstep = Lockstep::new(model, plan)?;
    loop {
        while lockstep.len() < width {
            let Some((number, order)) = waiting.next() else { break };
            lockstep.enter(number, order?)?;
        }
        if lockstep.is_empty() {
            return Ok(());
        }
        for text in lockstep.step(&mut Silent)? {
            if done(text.number, text.output)?.is_break() {
                return Ok(());
            }
        }
    }
}

/// Texts that are decoded in lockstep: an iteration costs the draft passes and the verify pass of
/// one text, over the rows of all.
pub struct Lockstep<'m> {
    model: &'m Model,
    draft: Option<DraftPlan>,
    running: Vec<Running>,
}

impl<'m> Lockstep<'m> {
    /// No texts yet, to be decoded by `plan`.
    ///
    /// # Errors
    /// A plan that does not fit the model; candle's own matmul, or a device, where the bits of a
    /// row depend on the width of its pass.
    pub fn new(model: &'m Model, plan: &Plan) -> Result<Self> {
        model.can_decode_together()?;
        let draft = match plan {
            Plan::Plain => None,
            Plan::Stock => {
                return Err(Error::invalid(
                    "texts are decoded together by plain or by a plan that drafts; stock decodes \
                     one text",
                ));
            }
            Plan::Speculate(draft) => {
                model.check_plan(draft)?;
                Some(draft.clone())
            }
        };
        Ok(Self { model, draft, running: Vec::new() })
    }

    /// Takes a text in. Its prompt goes along with the next step, or with [`Self::read_prompts`].
    ///
    /// # Errors
    /// A prompt that is empty or too long, no token to write, a memory that is refused.
    pub fn enter(&mut self, number: usize, order: Order) -> Result<()> {
        let drafts = self.draft.as_ref().map_or(0, |draft| draft.predictors.get());
        self.running.push(Running::begin(self.model, number, order, drafts)?);
        Ok(())
    }

    /// Texts that are being written.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// One pass over the prompts of the texts that have just entered, which gives each its first
    /// token; returns those that end with it.
    ///
    /// # Errors
    /// When a pass fails.
    pub fn read_prompts(&mut self, observer: &mut dyn Observer) -> Result<Vec<Written>> {
        let fresh: Vec<&mut Running> =
            self.running.iter_mut().filter(|text| text.is_fresh()).collect();
        advance(self.model, None, fresh, observer)?;
        observer.event(Event::PromptDone);
        Ok(self.ended())
    }

    /// One iteration of every text; returns those that end with it.
    ///
    /// # Errors
    /// When a pass fails.
    pub fn step(&mut self, observer: &mut dyn Observer) -> Result<Vec<Written>> {
        let all = self.running.iter_mut().collect();
        advance(self.model, self.draft.as_ref(), all, observer)?;
        observer.event(Event::VerifyDone);
        let ended = self.ended();
        observer.event(Event::StepDone);
        Ok(ended)
    }

    fn ended(&mut self) -> Vec<Written> {
        let ended = self.running.extract_if(.., |text| text.ended);
        let written = |mut text: Running| {
            self.model.give_back(std::mem::take(&mut text.cache));
            let output = text.committed.split_off(text.prompt);
            Written { number: text.number, output, iterations: text.steps.saturating_sub(1) }
        };
        ended.map(written).collect()
    }
}

/// A text that is being written.
struct Running {
    number: usize,
    /// Keys and values of all committed tokens but the last.
    cache: KvCache,
    /// Prompt and output.
    committed: Vec<u32>,
    prompt: usize,
    tokens: usize,
    /// None: greedy.
    sampling: Option<Sampling>,
    /// Full passes so far, the one over the prompt counted in.
    steps: usize,
    ended: bool,
}

impl Running {
    fn begin(model: &Model, number: usize, order: Order, drafts: usize) -> Result<Self> {
        let (prompt, positions) = (order.prompt.len(), model.positions());
        if prompt == 0 || prompt >= positions || order.tokens == 0 {
            return Err(Error::invalid(format!(
                "expected a prompt of 1 to {} tokens and a text of at least one more; found \
                 {prompt}, and {} more",
                positions - 1,
                order.tokens
            )));
        }
        let text = positions.min(prompt.saturating_add(order.tokens));
        Ok(Self {
            number,
            cache: model.lend_cache(text + drafts + 1)?,
            committed: order.prompt,
            prompt,
            tokens: order.tokens,
            sampling: (!order.sampling.is_greedy()).then_some(order.sampling),
            steps: 0,
            ended: false,
        })
    }

    /// Whether its prompt has not been read.
    fn is_fresh(&self) -> bool {
        self.committed.len() == self.prompt
    }

    fn last(&self) -> u32 {
        self.committed[self.committed.len() - 1]
    }

    fn no_drafts(&self) -> Proposal {
        Proposal::new(self.sampling, DraftThreshold::OFF, self.committed.len() - self.prompt)
    }

    /// What it brings to the full pass: its prompt, whose last token alone is followed by the head,
    /// or its last token and the drafts after it.
    fn share(&mut self, drafts: &Proposal) -> Share<'_> {
        let since = if self.is_fresh() { 0 } else { self.committed.len() - 1 };
        let fed = [&self.committed[since..], &drafts.tokens].concat();
        Share::tokens(&fed, drafts.tokens.len() + 1, &mut self.cache)
    }

    /// Commits the accepted drafts and the full model's token after them, up to the end of the
    /// text.
    fn commit(&mut self, model: &Model, drafts: &[u32], verified: Verified) {
        self.steps += 1;
        for &token in drafts[..verified.accepted].iter().chain([&verified.next]) {
            self.committed.push(token);
            self.ended = model.config.is_end(token)
                || self.committed.len() - self.prompt >= self.tokens
                || self.committed.len() >= model.positions();
            if self.ended {
                break;
            }
        }
        self.cache.truncate(self.committed.len() - 1);
    }
}

/// One iteration of `texts`: their draft passes, then one full pass, after which each commits what
/// it accepts.
fn advance(
    model: &Model,
    draft: Option<&DraftPlan>,
    mut texts: Vec<&mut Running>,
    observer: &mut dyn Observer,
) -> Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    let mut proposals: Vec<Proposal> = texts.iter().map(|text| text.no_drafts()).collect();
    if let Some(plan) = draft {
        propose(model, plan, &mut texts, &mut proposals, observer)?;
        observer.event(Event::DraftDone);
    }
    let shares = texts.iter_mut().zip(&proposals).map(|(text, drafts)| text.share(drafts));
    let shares = shares.collect();
    let logits = model.logits_together(shares, None, observer)?;
    let (chosen, mut row) = (chosen(&logits, proposals.iter())?, 0);
    for (text, proposal) in texts.into_iter().zip(&proposals) {
        let own = next(&mut row, proposal.tokens.len() + 1);
        let verified = match &chosen {
            Some(chosen) => proposal.verify_chosen(&chosen[own]),
            None => proposal.verify(&logits.part(own)?)?,
        };
        text.commit(model, &proposal.tokens, verified);
    }
    Ok(())
}

/// Drafts of every text whose prompt has been read, into `proposals`. Caches are left as they were.
fn propose(
    model: &Model,
    plan: &DraftPlan,
    texts: &mut [&mut Running],
    proposals: &mut [Proposal],
    observer: &mut dyn Observer,
) -> Result<()> {
    let predictors = plan.predictors.get();
    let (passes, masks) = match plan.drafting {
        Drafting::Simultaneous => (1, predictors - 1),
        Drafting::Sequential => (predictors, 0),
    };
    let mut drafting: Vec<_> =
        texts.iter_mut().zip(proposals).filter(|(text, _)| !text.is_fresh()).collect();
    if drafting.is_empty() {
        return Ok(());
    }
    for _ in 0..passes {
        let fed = drafting.iter_mut().map(|(text, proposal)| {
            let last = proposal.tokens.last().copied().unwrap_or_else(|| text.last());
            (last, &mut text.cache)
        });
        let pass = (plan.drafting, masks, &plan.skip);
        let logits = model.draft_pass_together(pass, fed, observer)?;
        let proposals = drafting.iter().map(|(_, proposal)| &**proposal);
        let (chosen, mut row) = (chosen(&logits, proposals)?, 0);
        for (_, proposal) in &mut drafting {
            let own = next(&mut row, masks + 1);
            match &chosen {
                Some(chosen) => proposal.take_chosen(&chosen[own], model.columns()),
                None => {
                    proposal.take_rows(&logits.part(own)?, model.columns())?;
                }
            }
        }
    }
    for (text, _) in drafting {
        text.cache.truncate(text.committed.len() - 1);
    }
    Ok(())
}

/// The most likely tokens of all rows, where every text takes those: a device is read once.
fn chosen<'p>(
    logits: &Logits,
    mut proposals: impl Iterator<Item = &'p Proposal>,
) -> Result<Option<Vec<u32>>> {
    proposals.all(Proposal::is_greedy).then(|| argmax_rows(logits)).transpose()
}

/// The next `rows` rows, from `row` on.
fn next(row: &mut usize, rows: usize) -> Range<usize> {
    *row += rows;
    *row - rows..*row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Limits, LoadOptions, ModelConfig, Silent};
    use s3d_data::{Dtype, Plan};

    fn model(dtype: Dtype, end: Option<u32>) -> Model {
        let config = ModelConfig {
            hidden_size: 64,
            intermediate_size: 72,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(16),
            vocab_size: 40,
            eos_token_id: end.map(crate::config::EndTokens::One),
            ..ModelConfig::story()
        };
        let options = LoadOptions { threads: 2, dtype, ..LoadOptions::default() };
        Model::random(&config, 11, &options).unwrap()
    }

    /// Prompts of 1 to 23 tokens, of which some are asked for few tokens and some for many; every
    /// other one drawn.
    fn orders() -> Vec<Order> {
        let order = |i: u32| Order {
            prompt: (0..=i * 5 % 23).map(|j| (i * 7 + j * 3) % 40).collect(),
            tokens: 3 + (i as usize * 11) % 29,
            sampling: Sampling::new(if i.is_multiple_of(2) { 0.0 } else { 1.0 }, u64::from(i))
                .unwrap(),
        };
        (0..14).map(order).collect()
    }

    fn together(model: &Model, plan: &Plan, width: usize) -> Vec<Vec<u32>> {
        let mut outputs = vec![Vec::new(); orders().len()];
        decode_together(model, plan, orders().into_iter().map(Ok), width, &mut |number, output| {
            assert!(outputs[number].is_empty());
            outputs[number] = output;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        outputs
    }

    fn alone(model: &Model, plan: &Plan, order: Order) -> Vec<u32> {
        let limits = Limits::tokens(order.tokens);
        Generation::new(model, &order.prompt, plan, limits, &mut Silent)
            .unwrap()
            .sampling(order.sampling)
            .finish()
            .unwrap()
    }

    /// source: each text decoded alone, by `Generation`.
    #[test]
    fn every_text_of_a_batch_is_what_it_is_alone_token_for_token() {
        for (dtype, end) in [(Dtype::F32, Some(7)), (Dtype::F16, None), (Dtype::Q8_0, Some(3))] {
            let model = model(dtype, end);
            for plan in ["plain", "1..2:4", "seq:0..1:3"].map(|plan| plan.parse().unwrap()) {
                let wanted: Vec<Vec<u32>> =
                    orders().into_iter().map(|order| alone(&model, &plan, order)).collect();
                let different = wanted.iter().flatten().collect::<std::collections::HashSet<_>>();
                assert!(different.len() > 10, "the comparison must not be trivial: {wanted:?}");
                for width in [1, 4, 64] {
                    let found = together(&model, &plan, width);
                    assert_eq!(found, wanted, "{dtype}, {plan}, {width} at a time");
                }
            }
        }
    }

    #[test]
    fn a_batch_breaks_off_when_it_is_told_to() {
        let model = model(Dtype::F32, None);
        let mut heard = 0;
        let mut once = |_, _| {
            heard += 1;
            Ok(ControlFlow::Break(()))
        };
        decode_together(&model, &Plan::Plain, orders().into_iter().map(Ok), 4, &mut once).unwrap();
        assert_eq!(heard, 1);
    }

    #[test]
    fn what_cannot_be_decoded_together_is_refused() {
        let model = model(Dtype::F32, None);
        let greedy = Sampling::new(0.0, 1).unwrap();
        let order = |prompt: &[u32]| Order { prompt: prompt.to_vec(), tokens: 4, sampling: greedy };
        let by = |plan: &str, prompt: &[u32], width| {
            let plan = plan.parse().unwrap();
            let mut done = |_, _| Ok(ControlFlow::Continue(()));
            let found = decode_together(&model, &plan, [Ok(order(prompt))], width, &mut done);
            found.unwrap_err().to_string()
        };
        let said = |prompt: &[u32], width| by("plain", prompt, width);
        assert!(said(&[], 2).contains("found 0"));
        assert!(said(&[40], 2).contains("outside the vocabulary"));
        assert!(said(&vec![1; model.positions()], 2).contains("1 to"));
        assert!(said(&[1], 0).contains("one or more at a time"));
        assert!(by("stock", &[1], 2).contains("stock decodes one text"));
        assert!(by("2..7:3", &[1], 2).contains("layers"), "{}", by("2..7:3", &[1], 2));
    }
}
