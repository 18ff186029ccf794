//! Decodes one text by a plan, with its time.

use crate::shared::load::Loaded;
use crate::shared::terminal;
use s3d_data::Plan;
use s3d_measure::{Clock, SystemClock};
use s3d_model::{
    DraftPolicy, DraftThreshold, Event, Generation, Limits, Observer, Sampling, Tokenizer,
};
use serde::Serialize;

/// One text to decode, however often.
pub struct TextToDecode<'a> {
    pub loaded: &'a Loaded,
    pub tokenizer: &'a Tokenizer,
    pub prompt: Vec<u32>,
    pub limits: Limits,
    pub sampling: Sampling,
    pub threshold: DraftThreshold,
}

/// A decoded text and its time, without the prompt pass.
pub struct Decoded {
    pub tokens: Vec<u32>,
    /// Iterations after the prompt pass.
    pub steps: usize,
    /// Drafts that were verified.
    pub drafted: usize,
    pub seconds: f64,
    /// The drafts of each iteration.
    pub decisions: Vec<Decision>,
}

/// How many tokens one iteration drafted, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Output tokens before it.
    pub position: usize,
    /// Drafts verified; 0: a plain step.
    pub drafts: usize,
    /// Drafts accepted, up to the end of the text.
    pub accepted: usize,
}

impl Decoded {
    /// Tokens for each iteration; none where there was none.
    pub fn tokens_per_iteration(&self) -> Option<f64> {
        self.per(self.steps as f64)
    }

    /// Verified drafts for each iteration; none where there was none.
    pub fn drafts_per_iteration(&self) -> Option<f64> {
        self.per(1.0).map(|_| self.drafted as f64 / self.steps as f64)
    }

    /// Tokens after the prompt pass in a second; none where there is none.
    pub fn tokens_per_s(&self) -> Option<f64> {
        self.per(self.seconds)
    }

    /// Speed over that of `other`.
    pub fn speedup_over(&self, other: &Self) -> Option<f64> {
        Some(self.tokens_per_s()? / other.tokens_per_s()?)
    }

    /// Tokens after the prompt pass for each of `count`; none where there is no such token.
    fn per(&self, count: f64) -> Option<f64> {
        let after_prompt = self.tokens.len().saturating_sub(1);
        (after_prompt > 0).then(|| after_prompt as f64 / count)
    }
}

/// Notes when the prompt pass ended: speed counts what comes after it.
struct PromptEnd<'a> {
    clock: &'a SystemClock,
    seconds: Option<f64>,
}

impl Observer for PromptEnd<'_> {
    fn event(&mut self, event: Event) {
        if event == Event::PromptDone {
            self.seconds = Some(self.clock.now().0);
        }
    }
}

impl TextToDecode<'_> {
    /// What `tokens` add to the prompt.
    pub fn text(&self, tokens: &[u32]) -> anyhow::Result<String> {
        let mut stream = self.tokenizer.stream_after(&self.prompt);
        let text = stream.push(tokens)?;
        Ok(text + &stream.finish()?)
    }

    /// A few plain steps, so that the first timed pass finds memory mapped and threads awake.
    pub fn warm_up(&self) -> anyhow::Result<()> {
        let mut silent = s3d_model::Silent;
        let limits = Limits::tokens(8);
        Generation::new(&self.loaded.model, &self.prompt, &Plan::Plain, limits, &mut silent)?
            .finish()?;
        Ok(())
    }

    /// The text by `plan`, with as many drafts as `policy` says where there is one; streamed as it
    /// comes where `stream` says so.
    pub fn decode(
        &self,
        plan: &Plan,
        mut policy: Option<Box<dyn DraftPolicy>>,
        stream: bool,
    ) -> anyhow::Result<Decoded> {
        let clock = SystemClock::new(&self.loaded.options.device);
        let mut watch = PromptEnd { clock: &clock, seconds: None };
        let mut text = self.tokenizer.stream_after(&self.prompt);
        let (mut tokens, mut decisions) = (Vec::new(), Vec::new());
        let mut generation = Generation::new(
            &self.loaded.model,
            &self.prompt,
            plan,
            self.limits.clone(),
            &mut watch,
        )?;
        if let Some(policy) = &mut policy {
            generation = generation.adapting(policy.as_mut());
        }
        for step in generation.sampling(self.sampling).ending_drafts(self.threshold) {
            let step = step?;
            let (position, drafts) = (tokens.len(), step.drafted);
            decisions.push(Decision { position, drafts, accepted: step.accepted });
            if stream {
                terminal::stream(&text.push(&step.tokens)?)?;
            }
            tokens.extend(step.tokens);
        }
        let seconds = clock.now().0 - watch.seconds.unwrap_or(0.0);
        if stream {
            terminal::stream(&format!("{}\n", text.finish()?))?;
        }
        decisions.drain(..decisions.len().min(1)); // the prompt pass
        let drafted = decisions.iter().map(|decision| decision.drafts).sum();
        Ok(Decoded { tokens, steps: decisions.len(), drafted, seconds, decisions })
    }
}
