//! Decoding as an iterator of steps: plainly, which is the reference, or speculatively, which must
//! give the same tokens, or, where tokens are drawn, tokens of the same distribution.

use crate::backend::kv_cache::KvCache;
use crate::decode::draft::{DraftThreshold, Proposal, draft};
use crate::decode::forced_acceptance::Peek;
use crate::decode::observer::{Event, Observer};
use crate::decode::policy::DraftPolicy;
use crate::decode::sample::Sampling;
use crate::decode::verify::Verified;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tokenizer::TextStream;
use s3d_data::{DraftPlan, Plan};

/// When a text ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most output tokens.
    pub max_tokens: usize,
    /// Whether an end-of-text token ends the text (it is still part of the output).
    pub stop_at_end: bool,
    /// Texts that end the output; the tokens that complete one are part of the output.
    pub stop_strings: Vec<String>,
}

impl Limits {
    /// `max_tokens` tokens, or the end of the text.
    pub fn tokens(max_tokens: usize) -> Self {
        Self { max_tokens, stop_at_end: true, stop_strings: Vec::new() }
    }
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// An end-of-text token.
    End,
    /// A stop string.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// As many positions as the model has.
    Context,
}

/// What one step gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Tokens committed by this step, cut at the end of the text.
    pub tokens: Vec<u32>,
    /// Tokens drafted and verified.
    pub drafted: usize,
    /// Drafts accepted, counted up to the end of the text.
    pub accepted: usize,
    /// Why the text ends with this step, if it does.
    pub finish: Option<Finish>,
}

/// Decodes a prompt step by step. The first step is the prompt pass, at full depth; it commits one
/// token.
pub struct Generation<'m> {
    model: &'m Model,
    plan: Plan,
    limits: Limits,
    observer: &'m mut dyn Observer,
    /// Keys and values of all committed tokens but the last.
    cache: KvCache,
    /// Prompt and output.
    committed: Vec<u32>,
    prompt: usize,
    /// Positions of the model, where every text ends.
    positions: usize,
    stops: Option<StopStrings<'m>>,
    peek: Option<Peek<'m>>,
    /// None: greedy.
    sampling: Option<Sampling>,
    threshold: DraftThreshold,
    /// None: every iteration drafts as many tokens as the plan says.
    policy: Option<&'m mut dyn DraftPolicy>,
    finished: bool,
}

impl<'m> Generation<'m> {
    /// Prepares to decode `prompt` by `plan`.
    ///
    /// # Errors
    /// When the prompt is empty or too long, the plan does not fit the model, or stop strings are
    /// given for a model without a tokenizer.
    pub fn new(
        model: &'m Model,
        prompt: &[u32],
        plan: &Plan,
        limits: Limits,
        observer: &'m mut dyn Observer,
    ) -> Result<Self> {
        let model = if *plan == Plan::Stock { model.stock()? } else { model };
        let drafts = match plan {
            Plan::Plain | Plan::Stock => 0,
            Plan::Speculate(draft) => {
                model.check_plan(draft)?;
                draft.predictors.get()
            }
        };
        let positions = model.positions();
        if prompt.is_empty() || prompt.len() >= positions {
            return Err(Error::invalid(format!(
                "a prompt has 1 to {} tokens for this model; found {}",
                positions - 1,
                prompt.len()
            )));
        }
        let text = positions.min(prompt.len().saturating_add(limits.max_tokens));
        let stops = StopStrings::new(model, &limits)?;
        Ok(Self {
            model,
            plan: plan.clone(),
            observer,
            cache: model.lend_cache(text + drafts + 1)?,
            committed: prompt.to_vec(),
            prompt: prompt.len(),
            positions,
            stops,
            peek: None,
            sampling: None,
            threshold: DraftThreshold::OFF,
            policy: None,
            finished: limits.max_tokens == 0,
            limits,
        })
    }

    /// The same generation with imposed acceptance: every pass is made, then drafts are made right
    /// or wrong as drawn.
    pub fn imposing(mut self, peek: Option<Peek<'m>>) -> Self {
        self.peek = peek;
        self
    }

    /// The same generation with tokens drawn instead of the most likely ones; at temperature 0 they
    /// are those.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = (!sampling.is_greedy()).then_some(sampling);
        self
    }

    /// The same generation with drafts that end early: with the first one less sure than
    /// `threshold`, which is not verified. Drafting in turn ends there; drafting at once has made
    /// its one pass, and verifies less.
    pub fn ending_drafts(mut self, threshold: DraftThreshold) -> Self {
        self.threshold = threshold;
        self
    }

    /// The same generation with as many drafts in each iteration as `policy` says, up to the plan's
    /// number.
    pub fn adapting(mut self, policy: &'m mut dyn DraftPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// The output so far.
    pub fn output(&self) -> &[u32] {
        &self.committed[self.prompt..]
    }

    /// Executes all steps that remain and returns the whole output.
    ///
    /// # Errors
    /// When a pass fails.
    pub fn finish(mut self) -> Result<Vec<u32>> {
        for step in self.by_ref() {
            step?;
        }
        Ok(self.committed.split_off(self.prompt))
    }

    fn step(&mut self) -> Result<Step> {
        if self.committed.len() == self.prompt {
            let prompt = &self.committed[..self.prompt];
            let logits = self.model.prompt_pass(prompt, &mut self.cache, self.observer)?;
            let nothing = self.no_drafts();
            let first = nothing.verify(&logits)?;
            self.observer.event(Event::PromptDone);
            return self.commit(&[], first);
        }
        let last = self.committed[self.committed.len() - 1];
        let proposal = match self.next_draft() {
            Some(plan) => self.propose(last, &plan)?,
            None => self.no_drafts(),
        };
        let drafts = &proposal.tokens;
        let fed: Vec<u32> = std::iter::once(last).chain(drafts.iter().copied()).collect();
        let logits = self.model.full_pass(&fed, &mut self.cache, self.observer)?;
        let verified = proposal.verify(&logits)?;
        if let Some(policy) = &mut self.policy {
            policy.told(drafts.len(), verified.accepted);
        }
        self.observer.event(Event::VerifyDone);
        self.commit(drafts, verified)
    }

    /// What the next iteration drafts; nothing in a plain step.
    fn next_draft(&mut self) -> Option<DraftPlan> {
        let plan = self.plan.draft()?.clone();
        let Some(policy) = &mut self.policy else { return Some(plan) };
        let wanted = policy.drafts();
        let predictors = plan.predictors.at_most(wanted);
        (wanted > 0).then_some(DraftPlan { predictors, ..plan })
    }

    fn no_drafts(&self) -> Proposal {
        Proposal::new(self.sampling, self.threshold, self.output().len())
    }

    /// Drafts by `plan` after `last`.
    fn propose(&mut self, last: u32, plan: &DraftPlan) -> Result<Proposal> {
        let mut proposal = self.no_drafts();
        draft(self.model, last, plan, &mut proposal, &mut self.cache, self.observer)?;
        match (&self.peek, &self.sampling) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("acceptance is imposed on greedy decoding alone"));
            }
            (Some(peek), None) => peek.overwrite(&mut proposal.tokens, self.output().len()),
            (None, _) => {}
        }
        self.observer.event(Event::DraftDone);
        Ok(proposal)
    }

    /// Commits the accepted drafts and the full model's token after them, up to the end of the
    /// text.
    fn commit(&mut self, drafts: &[u32], verified: Verified) -> Result<Step> {
        let mut tokens = Vec::with_capacity(verified.accepted + 1);
        let mut finish = None;
        for &token in drafts[..verified.accepted].iter().chain([&verified.next]) {
            tokens.push(token);
            self.committed.push(token);
            finish = self.finish_at(token)?;
            if finish.is_some() {
                break;
            }
        }
        self.cache.truncate(self.committed.len() - 1);
        self.finished = finish.is_some();
        let accepted = verified.accepted.min(tokens.len());
        self.observer.event(Event::StepDone);
        Ok(Step { tokens, drafted: drafts.len(), accepted, finish })
    }

    /// Why the text ends with the token just committed, if it does.
    fn finish_at(&mut self, token: u32) -> Result<Option<Finish>> {
        let stop = match &mut self.stops {
            Some(stops) => stops.complete(token)?,
            None => false,
        };
        Ok(if self.limits.stop_at_end && self.model.config.is_end(token) {
            Some(Finish::End)
        } else if stop {
            Some(Finish::Stop)
        } else if self.output().len() >= self.limits.max_tokens {
            Some(Finish::Length)
        } else if self.committed.len() >= self.positions {
            Some(Finish::Context)
        } else {
            None
        })
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.model.give_back(std::mem::take(&mut self.cache));
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let step = self.step();
        self.finished |= step.is_err();
        Some(step)
    }
}

/// Watches the output for texts that end it.
struct StopStrings<'m> {
    strings: Vec<String>,
    stream: TextStream<'m>,
    text: String,
}

impl<'m> StopStrings<'m> {
    fn new(model: &'m Model, limits: &Limits) -> Result<Option<Self>> {
        let strings: Vec<String> =
            limits.stop_strings.iter().filter(|s| !s.is_empty()).cloned().collect();
        if strings.is_empty() {
            return Ok(None);
        }
        let tokenizer = model
            .tokenizer()
            .ok_or_else(|| Error::invalid("stop strings need a tokenizer; the model has none"))?;
        Ok(Some(Self { strings, stream: tokenizer.stream(), text: String::new() }))
    }

    /// Whether `token` completes a stop string.
    fn complete(&mut self, token: u32) -> Result<bool> {
        self.text += &self.stream.push(&[token])?;
        Ok(self.strings.iter().any(|stop| self.text.contains(stop.as_str())))
    }
}
