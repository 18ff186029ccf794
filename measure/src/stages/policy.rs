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
use s3d_data::{DraftCount, Plan, PolicySample};

/// The ways to decode, in the order of the schedule's cells.
const WAYS: [DraftCount; 3] = [DraftCount::Plain, DraftCount::Fixed, DraftCount::Adaptive];

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

/// Decodes every prompt in all ways, and says before each how many are done. Texts that end or run
/// into a loop at once are left out.
///
/// # Errors
/// A text that differs from plain decoding's ([`crate::Error::Mismatch`]); an engine that fails.
pub fn contest(
    subject: Subject<'_>,
    request: &Request,
    rivals: &Rivals<'_>,
    prompts: &[&Prompt],
    clock: &dyn Clock,
    done: &dyn Fn(usize),
) -> Result<Vec<PolicySample>> {
    let decode = |way, prompt: &Prompt, tokens| {
        let (plan, policy) = rivals.of(way);
        generate_by(subject.model, plan, policy, prompt, tokens, clock, None)
    };
    for (way, prompt) in WAYS.iter().zip(prompts.iter().cycle()) {
        decode(*way, prompt, WARM_UP_TOKENS)?;
    }
    let schedule = Schedule::new(WAYS.len(), Some(0), request.seed);
    let (mut references, mut samples) = (References::default(), Vec::new());
    for (block, prompt) in prompts.iter().enumerate() {
        done(block);
        let text = references.of(subject.before_widening, prompt, request)?;
        if text.len() < SHORTEST_TEXT.min(request.tokens) {
            continue;
        }
        let mut made: Vec<(Turn, Generated)> = Vec::new();
        for turn in schedule.block(block) {
            made.push((turn, decode(WAYS[turn.cell], prompt, text.len())?));
        }
        check(subject, rivals, prompt, &made)?;
        samples.extend(made.into_iter().map(|(turn, one)| sample(prompt, turn, &one)));
    }
    Ok(samples)
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
        let heard = std::cell::RefCell::new(Vec::new());
        let done = |count| heard.borrow_mut().push(count);
        let samples = contest(subject, &request, &rivals, &taken, &clock, &done).unwrap();
        assert_eq!(heard.into_inner(), [0, 1]);
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
