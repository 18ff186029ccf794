//! Observers that read the clock: at the end of every component of a pass, and at the end of every
//! part of a generation.

use crate::clock::DeviceTimer;
use crate::clock::{Clock, timer};
use crate::error::{Error, Result};
use crate::request::Prompt;
use crate::schedule::Turn;
use s3d_data::{Component, LatencySample, Plan, Seconds, ThroughputSample};
use s3d_model::{
    DraftPolicy, Event, Generation, Limits, Mark, Model, Observer, Peek, Sampling, Step,
};
use serde::{Deserialize, Serialize};

/// What a pass is, for its samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Whole pass that is timed.
    pub component: Component,
    /// Tokens fed.
    pub width: usize,
    /// Tokens committed, the one being fed counted in.
    pub context: usize,
    /// Texts that share it.
    pub batch: usize,
}

/// Takes a time at the end of every component.
pub(crate) struct PassWatch<'a> {
    clock: &'a dyn Clock,
    timer: Box<dyn DeviceTimer + 'a>,
    marks: Vec<Mark>,
    /// Marks of a pass, at most.
    expected: usize,
    /// What went wrong at a mark.
    failed: Option<Error>,
    turn: Turn,
    plan: Plan,
    whole_only: bool,
    /// How a pass's tokens are drawn; none: the most likely ones.
    pub sampling: Option<Sampling>,
}

impl Observer for PassWatch<'_> {
    fn mark(&mut self, mark: Mark) {
        if self.whole_only || self.failed.is_some() {
            return;
        }
        match self.timer.mark(self.marks.len()) {
            Ok(()) => self.marks.push(mark),
            Err(error) => self.failed = Some(error),
        }
    }
}

impl<'a> PassWatch<'a> {
    /// Watches the passes of one turn, under one plan, through `layers` layers.
    pub(crate) fn new(clock: &'a dyn Clock, turn: Turn, plan: Plan, layers: usize) -> Self {
        // Start, embedding, two sub-layers each, head.
        let (marks, expected) = (Vec::new(), 2 * layers + 3);
        let timer = timer(clock);
        let (failed, whole_only, sampling) = (None, false, None);
        Self { clock, timer, marks, expected, failed, turn, plan, whole_only, sampling }
    }

    /// The same without a look at the components: the check on their sums.
    pub(crate) fn whole_only(mut self) -> Self {
        self.whole_only = true;
        self
    }

    /// Times `pass`, the choice of its tokens included, and adds its samples: the components, the
    /// rest, the whole.
    pub(crate) fn pass<T>(
        &mut self,
        place: Place,
        samples: &mut Vec<LatencySample>,
        pass: impl FnOnce(&mut Self) -> s3d_model::Result<T>,
    ) -> Result<T> {
        self.marks.clear();
        self.timer.begin(self.expected)?;
        let cpu = self.clock.cpu();
        let begin = self.clock.now();
        let result = pass(self)?;
        let whole = self.clock.now() - begin;
        let cpu = self.clock.cpu() - cpu;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let times = self.timer.read()?;
        let mut components = Seconds::ZERO;
        for (mark, pair) in self.marks.iter().skip(1).zip(times.windows(2)) {
            let seconds = pair[1] - pair[0];
            let (component, layer) = match *mark {
                Mark::PassStart => continue,
                Mark::Embed => (Component::Embed, None),
                Mark::Attention(layer) => (Component::Attention, Some(layer)),
                Mark::Mlp(layer) => (Component::Mlp, Some(layer)),
                Mark::Head => (Component::Head, None),
            };
            components += seconds;
            samples.push(self.sample(Place { component, ..place }, layer, seconds));
        }
        // A pass that is repeated whole has no components, nor where a device tells no times.
        if !times.is_empty() {
            let rest = Place { component: Component::Rest, ..place };
            samples.push(self.sample(rest, None, whole - components));
        }
        let whole = self.sample(place, None, whole);
        samples.push(LatencySample { cpu_seconds: Some(cpu), ..whole });
        Ok(result)
    }

    fn sample(&self, place: Place, layer: Option<usize>, seconds: Seconds) -> LatencySample {
        LatencySample {
            machine: 0,
            component: place.component,
            layer,
            plan: Some(self.plan.clone()),
            width: place.width,
            context: place.context,
            block: self.turn.block,
            order: self.turn.order,
            copy: self.turn.copy,
            seconds,
            cpu_seconds: None,
            batch: place.batch,
        }
    }
}

/// One timed generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generated {
    pub tokens: Vec<u32>,
    pub iterations: usize,
    pub prompt_seconds: Seconds,
    pub draft_seconds: Seconds,
    pub verify_seconds: Seconds,
    pub seconds: Seconds,
    pub cpu_seconds: Seconds,
}

impl Generated {
    /// Its row of `throughput.csv`, made by the start of a process with number `start`.
    pub(crate) fn sample(
        &self,
        plan: &Plan,
        prompt: &Prompt,
        (turn, offset): (Turn, usize),
        start: usize,
    ) -> ThroughputSample {
        ThroughputSample {
            machine: 0,
            block: turn.block + offset,
            order: turn.order,
            copy: turn.copy,
            plan: plan.clone(),
            id: prompt.id.clone(),
            tokens: self.tokens.len(),
            iterations: self.iterations,
            prompt_seconds: self.prompt_seconds,
            draft_seconds: self.draft_seconds,
            verify_seconds: self.verify_seconds,
            seconds: self.seconds,
            cpu_seconds: Some(self.cpu_seconds),
            start,
            batch: 1,
        }
    }
}

/// Decodes `prompt` by `plan` up to `tokens` output tokens and times its parts. The prompt's part
/// holds everything up to its first token, making the cache included. With `peek`, acceptance is
/// imposed. With `sampling`, tokens are drawn, and an end-of-text token does not end the text:
/// plans whose texts differ are comparable only where these are equally long.
pub(crate) fn generate(
    model: &Model,
    plan: &Plan,
    prompt: &Prompt,
    tokens: usize,
    clock: &dyn Clock,
    peek: Option<Peek<'_>>,
    sampling: Option<Sampling>,
) -> Result<Generated> {
    timed(model, plan, (None, sampling), prompt, tokens, clock, peek)
}

/// Makes the policy of a text.
pub(crate) type Fresh<'a> = &'a dyn Fn() -> Box<dyn DraftPolicy>;

/// As [`generate`], with as many drafts in each iteration as a fresh `policy` says, where there is
/// one.
pub(crate) fn generate_by(
    model: &Model,
    plan: &Plan,
    policy: Option<Fresh<'_>>,
    prompt: &Prompt,
    tokens: usize,
    clock: &dyn Clock,
    peek: Option<Peek<'_>>,
) -> Result<Generated> {
    timed(model, plan, (policy, None), prompt, tokens, clock, peek)
}

fn timed(
    model: &Model,
    plan: &Plan,
    (policy, sampling): (Option<Fresh<'_>>, Option<Sampling>),
    prompt: &Prompt,
    tokens: usize,
    clock: &dyn Clock,
    peek: Option<Peek<'_>>,
) -> Result<Generated> {
    as_prepared(model, || {
        let mut policy = policy.map(|fresh| fresh());
        let cpu = clock.cpu();
        let mut watch = Stopwatch::new(clock);
        let limits = Limits { stop_at_end: sampling.is_none(), ..Limits::tokens(tokens) };
        let mut generation = Generation::new(model, &prompt.tokens, plan, limits, &mut watch)?;
        if let Some(sampling) = sampling {
            generation = generation.sampling(sampling);
        }
        if let Some(policy) = &mut policy {
            generation = generation.adapting(policy.as_mut());
        }
        let steps = generation.imposing(peek).collect::<s3d_model::Result<Vec<Step>>>()?;
        let seconds = clock.now() - watch.begin;
        Ok(Generated {
            iterations: steps.len().saturating_sub(1),
            tokens: steps.into_iter().flat_map(|step| step.tokens).collect(),
            prompt_seconds: watch.prompt,
            draft_seconds: watch.draft,
            verify_seconds: watch.verify,
            seconds,
            cpu_seconds: clock.cpu() - cpu,
        })
    })
}

/// Does `timed` work, and once more where passes were prepared for it, which the next time is
/// spared.
pub(crate) fn as_prepared<T>(model: &Model, mut timed: impl FnMut() -> Result<T>) -> Result<T> {
    let before = model.prepared_passes();
    let outcome = timed()?;
    if model.prepared_passes() == before { Ok(outcome) } else { timed() }
}

/// Adds up the parts of the steps of one generation.
pub(crate) struct Stopwatch<'a> {
    clock: &'a dyn Clock,
    /// When it was started.
    pub begin: Seconds,
    last: Seconds,
    /// Passes over prompts.
    pub prompt: Seconds,
    /// Draft passes.
    pub draft: Seconds,
    /// Verify passes, or plain steps.
    pub verify: Seconds,
}

impl<'a> Stopwatch<'a> {
    /// Starts now.
    pub(crate) fn new(clock: &'a dyn Clock) -> Self {
        let (begin, none) = (clock.now(), Seconds::ZERO);
        Self { clock, begin, last: begin, prompt: none, draft: none, verify: none }
    }
}

impl Observer for Stopwatch<'_> {
    fn event(&mut self, event: Event) {
        let now = self.clock.now();
        let part = now - self.last;
        self.last = now;
        match event {
            Event::PromptDone => self.prompt += part,
            Event::DraftDone => self.draft += part,
            Event::VerifyDone => self.verify += part,
            // Bookkeeping: in `seconds`, and in no part.
            Event::StepDone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fake::{FakeClock, Faults};

    #[test]
    fn components_and_rest_add_up_to_the_pass() {
        let clock = FakeClock::new(Faults::default(), 0);
        let turn = Turn { cell: 0, copy: 0, block: 3, order: 5 };
        let mut watch = PassWatch::new(&clock, turn, Plan::Plain, 1);
        let place = Place { component: Component::FullPass, width: 2, context: 9, batch: 1 };
        let mut samples = Vec::new();
        watch
            .pass(place, &mut samples, |watch| {
                clock.spend(0.5); // before the pass starts
                watch.mark(Mark::PassStart);
                for (mark, seconds) in [
                    (Mark::Embed, 1.0),
                    (Mark::Attention(0), 2.0),
                    (Mark::Mlp(0), 4.0),
                    (Mark::Head, 8.0),
                ] {
                    clock.spend(seconds);
                    watch.mark(mark);
                }
                clock.spend(0.25); // arg max
                Ok(())
            })
            .unwrap();
        let found: Vec<_> = samples.iter().map(|s| (s.component, s.layer, s.seconds.0)).collect();
        assert_eq!(
            found,
            [
                (Component::Embed, None, 1.0),
                (Component::Attention, Some(0), 2.0),
                (Component::Mlp, Some(0), 4.0),
                (Component::Head, None, 8.0),
                (Component::Rest, None, 0.75),
                (Component::FullPass, None, 15.75),
            ]
        );
        assert!(samples.iter().all(|s| (s.width, s.context, s.block, s.order) == (2, 9, 3, 5)));
    }

    #[test]
    fn a_whole_pass_is_one_sample() {
        let clock = FakeClock::new(Faults::default(), 0);
        let turn = Turn { cell: 0, copy: 0, block: 0, order: 1 };
        let mut watch = PassWatch::new(&clock, turn, Plan::Plain, 1).whole_only();
        let place = Place { component: Component::FullPass, width: 1, context: 9, batch: 1 };
        let mut samples = Vec::new();
        let pass = |watch: &mut PassWatch<'_>| {
            watch.mark(Mark::PassStart);
            clock.spend(2.0);
            watch.mark(Mark::Embed);
            Ok(())
        };
        watch.pass(place, &mut samples, pass).unwrap();
        assert_eq!(samples.len(), 1);
        assert_eq!(
            (samples[0].seconds, samples[0].cpu_seconds),
            (Seconds(2.0), Some(Seconds(2.0)))
        );
    }

    #[test]
    fn the_parts_of_a_generation_are_added_up() {
        let clock = FakeClock::new(Faults::default(), 0);
        clock.spend(3.0);
        let mut watch = Stopwatch::new(&clock);
        let steps = [
            (1.0, Event::PromptDone),
            (0.5, Event::StepDone),
            (2.0, Event::DraftDone),
            (4.0, Event::VerifyDone),
            (0.5, Event::StepDone),
            (2.0, Event::DraftDone),
            (4.0, Event::VerifyDone),
        ];
        for (seconds, event) in steps {
            clock.spend(seconds);
            watch.event(event);
        }
        assert_eq!([watch.prompt, watch.draft, watch.verify], [1.0, 4.0, 8.0].map(Seconds));
        assert_eq!(clock.now() - watch.begin, Seconds(14.0));
    }
}
