//! Drafts that adapt beside drafts of a fixed number, end to end: one prompt a block, plain
//! decoding twice, the choice and the policy once each, in random order.
//!
//! Not a stage of a run's budget: it comes after one, and measures what the run concluded.

use crate::clock::Clock;
use crate::error::Result;
use crate::pass_watch::{Fresh, Generated, generate_by};
use crate::request::{Prompt, Request, Subject};
use crate::schedule::{Schedule, Turn};
use crate::stages::afford::{SHORTEST_TEXT, WARM_UP_TOKENS};
use crate::stages::lossless::mismatch;
use crate::stages::reference::{Agreement, References, compare};
use s3d_data::{DraftCount, Plan, PolicySample, Seconds};

/// How often what was measured is kept.
const KEEP_EVERY: Seconds = Seconds(20.0);

/// The ways to decode, in the order of the schedule's cells.
const WAYS: [DraftCount; 3] = [DraftCount::Plain, DraftCount::Fixed, DraftCount::Adaptive];

/// Generations of a whole block: plain decoding has two.
pub const GENERATIONS: usize = WAYS.len() + 1;

/// What is set beside each other.
pub struct Rivals<'a> {
    /// The run's choice.
    pub fixed: &'a Plan,
    /// Its window and drafting with the most drafts of an iteration.
    pub most: &'a Plan,
    /// Makes the policy of a text.
    pub policy: Fresh<'a>,
}

/// The prompts to decode: of each task at most `each`, those that `known` names last, since the
/// choice and the policy know them.
pub fn prompts(all: &[Prompt], each: usize, known: impl Fn(&str) -> bool) -> Vec<&Prompt> {
    let (used, fresh): (Vec<_>, Vec<_>) = all.iter().partition(|prompt| known(&prompt.id));
    let mut taken: Vec<&Prompt> = Vec::new();
    for prompt in fresh.into_iter().chain(used) {
        if taken.iter().filter(|other| other.task == prompt.task).count() < each {
            taken.push(prompt);
        }
    }
    taken
}

/// Texts decoded in all ways, one a block.
pub struct Contest<'a> {
    subject: Subject<'a>,
    request: &'a Request,
    rivals: &'a Rivals<'a>,
    clock: &'a dyn Clock,
    schedule: Schedule,
    references: References,
    /// When it last said that what was measured is to be kept.
    kept: Seconds,
}

impl<'a> Contest<'a> {
    /// Warms up with a few tokens of `prompts`.
    ///
    /// # Errors
    /// An engine that fails.
    pub fn new(
        subject: Subject<'a>,
        request: &'a Request,
        rivals: &'a Rivals<'a>,
        prompts: &[&Prompt],
        clock: &'a dyn Clock,
    ) -> Result<Self> {
        let schedule = Schedule::new(WAYS.len(), Some(0), request.seed);
        let references = References::default();
        let kept = clock.now();
        let contest = Self { subject, request, rivals, clock, schedule, references, kept };
        for (way, prompt) in WAYS.iter().zip(prompts.iter().cycle()) {
            contest.decode(*way, prompt, WARM_UP_TOKENS)?;
        }
        Ok(contest)
    }

    /// The generations of `prompt`, the text of this block; none if it ends or runs into a loop at
    /// once.
    ///
    /// # Errors
    /// A text that differs from plain decoding's ([`crate::Error::Mismatch`]); an engine that
    /// fails.
    pub fn block(&mut self, block: usize, prompt: &Prompt) -> Result<Vec<PolicySample>> {
        let text = self.references.of(self.subject.before_widening, prompt, self.request)?;
        if text.len() < SHORTEST_TEXT.min(self.request.tokens) {
            return Ok(Vec::new());
        }
        let tokens = text.len();
        let mut made: Vec<(Turn, Generated)> = Vec::new();
        for turn in self.schedule.block(block) {
            made.push((turn, self.decode(WAYS[turn.cell], prompt, tokens)?));
        }
        check(self.subject, self.rivals, prompt, &made)?;
        Ok(made.into_iter().map(|(turn, one)| sample(prompt, turn, &one)).collect())
    }

    /// Whether to keep what was measured: every 20 s.
    pub fn is_to_be_kept(&mut self) -> bool {
        let now = self.clock.now();
        let due = now - self.kept > KEEP_EVERY;
        if due {
            self.kept = now;
        }
        due
    }

    fn decode(&self, way: DraftCount, prompt: &Prompt, tokens: usize) -> Result<Generated> {
        let (plan, policy) = self.rivals.of(way);
        generate_by(self.subject.model, plan, policy, prompt, tokens, self.clock, None)
    }
}

impl Rivals<'_> {
    fn of(&self, way: DraftCount) -> (&Plan, Option<Fresh<'_>>) {
        match way {
            DraftCount::Plain => (&Plan::Plain, None),
            DraftCount::Fixed => (self.fixed, None),
            DraftCount::Adaptive => (self.most, Some(self.policy)),
        }
    }
}

/// Every text of a block is the plain one.
fn check(
    subject: Subject<'_>,
    rivals: &Rivals<'_>,
    prompt: &Prompt,
    made: &[(Turn, Generated)],
) -> Result<()> {
    let plain = made.iter().find(|(turn, _)| WAYS[turn.cell] == DraftCount::Plain);
    let plain = plain.map_or(&[][..], |(_, one)| &one.tokens);
    for (turn, one) in made {
        let found = compare(subject.model, &prompt.tokens, plain, &one.tokens)?;
        if let Agreement::Different { position } = found {
            let plan = rivals.of(WAYS[turn.cell]).0;
            return Err(mismatch(plan, prompt, position, plain, &one.tokens));
        }
    }
    Ok(())
}

fn sample(prompt: &Prompt, turn: Turn, one: &Generated) -> PolicySample {
    PolicySample {
        block: turn.block,
        order: turn.order,
        copy: turn.copy,
        drafts: WAYS[turn.cell],
        id: prompt.id.clone(),
        task: prompt.task.clone(),
        tokens: one.tokens.len(),
        iterations: one.iterations,
        seconds: one.seconds - one.prompt_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fake::{FakeClock, Faults};
    use s3d_model::{DraftPolicy, LoadOptions, Model, ModelConfig};

    /// Drafts none, one, two and none again.
    struct InTurn(usize);

    impl DraftPolicy for InTurn {
        fn drafts(&mut self) -> usize {
            self.0 % 3
        }

        fn told(&mut self, _: usize, _: usize) {
            self.0 += 1;
        }
    }

    fn prompt(id: &str, task: &str) -> Prompt {
        Prompt { id: id.into(), task: Some(task.into()), tokens: vec![1, 2, 3] }
    }

    #[test]
    fn fresh_prompts_come_first_and_no_task_has_more_than_its_share() {
        let all = [prompt("a", "x"), prompt("b", "x"), prompt("c", "y"), prompt("d", "x")];
        let taken = prompts(&all, 2, |id| id == "a");
        let names: Vec<&str> = taken.iter().map(|prompt| prompt.id.as_str()).collect();
        assert_eq!(names, ["b", "c", "d"]);
        assert_eq!(prompts(&all, 9, |_| false).len(), 4);
    }

    #[test]
    fn a_block_has_plain_decoding_twice_and_each_rival_once() {
        let config = ModelConfig {
            num_hidden_layers: 3,
            hidden_size: 32,
            intermediate_size: 32,
            ..ModelConfig::story()
        };
        let model = Model::random(&config, 1, &LoadOptions::default()).unwrap();
        let clock = FakeClock::new(Faults::default(), 0);
        let all = [prompt("a", "x"), prompt("b", "x")];
        let mut request = Request::whole_job(3, all.to_vec(), crate::Provenance::default());
        request.tokens = 8;
        let fixed: Plan = "1..2:2".parse().unwrap();
        let most: Plan = "1..2:4".parse().unwrap();
        let policy = || Box::new(InTurn(0)) as Box<dyn DraftPolicy>;
        let rivals = Rivals { fixed: &fixed, most: &most, policy: &policy };
        let subject = Subject { model: &model, before_widening: &model };
        let taken = prompts(&all, 9, |_| false);
        let mut contest = Contest::new(subject, &request, &rivals, &taken, &clock).unwrap();
        let one = |(block, prompt): (usize, &&Prompt)| contest.block(block, prompt).unwrap();
        let samples: Vec<PolicySample> = taken.iter().enumerate().flat_map(one).collect();
        assert!(!samples.is_empty());
        for block in samples.chunks(4) {
            let of = |drafts| block.iter().filter(move |sample| sample.drafts == drafts);
            let counts = WAYS.map(|way| of(way).count());
            assert_eq!(counts, [2, 1, 1]);
            let iterations = |way| of(way).next().unwrap().iterations;
            assert_eq!(iterations(DraftCount::Plain), block[0].tokens - 1);
            assert!(block.iter().all(|sample| sample.tokens == block[0].tokens));
        }
    }
}
