//! Interleaved blocks: one prompt a block, every plan once in random order, plain decoding twice;
//! many plans share a prompt over several blocks. At a temperature every turn draws its own text,
//! of equally many tokens.

use crate::bench::Bench;
use crate::drawing;
use crate::error::{Error, Result};
use crate::pass_watch::generate;
use crate::request::{Plans, Prompt, Request, Stage};
use crate::schedule::{Bounds, Schedule, Turn, run_blocks};
use crate::stages::afford::{SHORTEST_TEXT, WARM_UP_TOKENS};
use crate::stages::lossless::keep_equal;
use crate::stages::narrowing::narrow_enough;
use crate::stages::reference::{References, first_difference, near_tie};
use s3d_data::{BlockPurpose, Observation, Plan, Seconds, Stop, ThroughputSample};
use s3d_model::Peek;
use std::collections::HashSet;
use std::ops::Range;

/// Blocks below which intervals over blocks mean little; texts are shortened to fit so many.
pub(crate) const WANTED_BLOCKS: usize = 8;
/// Blocks that texts are shortened for: some more, since a machine may get slower.
const PLANNED_BLOCKS: usize = WANTED_BLOCKS + 2;
/// Blocks that confirm the choice: one prompt each, and prompts differ a lot, so many short texts
/// tell more than few long ones.
const CONFIRMING_BLOCKS: usize = 24;
/// The control: plain decoding.
const CONTROL: usize = 0;
/// Plans of a block beside the control: a block should be over before the machine changes.
const PLANS_OF_A_BLOCK: usize = 12;
/// Stock decoding is slow and only shown beside ours: in one of so many pairs of blocks.
const STOCK_PERIOD: usize = 4;

/// The blocks of one stage.
pub(crate) struct Blocks {
    plans: Vec<Plan>,
    schedule: Schedule,
    /// Places of the prompts, in the order of use.
    prompts: Vec<usize>,
    /// Those of them whose text is long enough, as far as they are known.
    usable: Vec<usize>,
    references: References,
    /// Added to the block numbers of the schedule.
    offset: usize,
    /// Turns measured before an interruption: (block, order).
    done: HashSet<(usize, usize)>,
    /// Output tokens per generation, at most.
    tokens: usize,
    /// Blocks measured, those before an interruption included.
    count: usize,
    /// The first pair of blocks that is measured here.
    first_pair: usize,
    /// Starts of a process that are warmed up, by their turn.
    warm: HashSet<usize>,
    /// The start that decoded last.
    current: Option<usize>,
}

impl Blocks {
    /// Of `plans` on `prompts`, numbered from `first` on; a block meets one prompt, and a prompt
    /// all plans over the schedule's parts.
    pub(super) fn new(
        bench: &Bench<'_>,
        plans: Vec<Plan>,
        prompts: Vec<usize>,
        first: usize,
    ) -> Self {
        let offset = first + blocks_of_other_plans(bench, &plans, first);
        let samples = samples_of_stage(bench, first).filter(|sample| sample.block >= offset);
        let done: HashSet<(usize, usize)> = samples.map(|s| (s.block, s.order)).collect();
        let count = 0;
        let (usable, references) = (Vec::new(), References::default());
        let tokens = 0;
        let seed = bench.request.seed.wrapping_add(offset as u64);
        let mut schedule =
            Schedule::new(plans.len(), Some(CONTROL), seed).in_blocks_of(PLANS_OF_A_BLOCK);
        let stock = plans.iter().position(|plan| *plan == Plan::Stock);
        if let (Some(stock), Plans::Judged(_)) = (stock, &bench.request.plans) {
            schedule = schedule.sample_every(stock, STOCK_PERIOD);
        }
        // Warming up is done in this process.
        let (first_pair, warm, current) = (0, HashSet::from([0]), Some(0));
        Self {
            plans,
            schedule,
            prompts,
            usable,
            references,
            offset,
            done,
            tokens,
            count,
            first_pair,
            warm,
            current,
        }
    }

    /// Blocks over which a prompt meets all plans.
    pub(super) fn parts(&self) -> usize {
        self.schedule.parts()
    }

    /// Blocks measured, those before an interruption included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Every plan once, untimed; says how long texts may be so that enough blocks fit.
    fn warm_up(&self, bench: &mut Bench<'_>) -> Result<usize> {
        let (model, clock) = (bench.subject.model, bench.clock);
        let prompt = &bench.request.prompts[self.prompts[0]];
        let (mut seconds_per_token, begin) = (0.0, clock.now());
        let mut plain = Vec::new();
        for plan in &self.plans {
            bench.tell(&format!("warming up {plan}"))?;
            let peek = peek(bench.request, prompt, &plain);
            let sampling = drawing::of_text(bench.request, prompt)?;
            let one = generate(model, plan, prompt, WARM_UP_TOKENS, clock, peek, sampling)?;
            if *plan == Plan::Plain {
                plain.clone_from(&one.tokens);
            }
            // The control is measured twice; stock decoding once in a few blocks.
            let times = match plan {
                Plan::Plain => 2.0,
                Plan::Stock => 1.0 / STOCK_PERIOD as f64,
                Plan::Speculate(_) => 1.0,
            };
            let tokens = one.tokens.len().saturating_sub(1).max(1);
            seconds_per_token += times * (one.seconds - one.prompt_seconds).0 / tokens as f64;
        }
        if let (Stage::Throughput, Plans::Exactly(_)) = (bench.stage, &bench.request.plans) {
            return Ok(bench.request.tokens);
        }
        // Every other start will be warmed up as well, and loads the model if it is new.
        let each = clock.now() - begin + bench.turns.load(bench.request);
        let others = each * (bench.turns.count() - 1) as f64;
        let left = (bench.deadline - clock.now() - others).max(Seconds::ZERO).0;
        let wanted = match bench.stage {
            Stage::Confirmation => CONFIRMING_BLOCKS,
            _ => PLANNED_BLOCKS,
        };
        let fitting = left / wanted as f64 / seconds_per_token.max(1e-9);
        let shortest = SHORTEST_TEXT.min(bench.request.tokens);
        Ok((fitting as usize).clamp(shortest, bench.request.tokens))
    }

    /// Warms up, and measures the blocks of `part` until they are enough, those below `at_least` in
    /// any case.
    pub(super) fn run(
        &mut self,
        bench: &mut Bench<'_>,
        part: Range<usize>,
        at_least: usize,
    ) -> Result<Stop> {
        self.first_pair = part.start / self.schedule.parts() / 2;
        self.tokens = self.warm_up(bench)?;
        let last = self.done.iter().map(|&(block, _)| block - self.offset).max();
        let first_block = last.unwrap_or(part.start);
        let bounds = Bounds { first_block, at_least, at_most: part.end, deadline: bench.deadline };
        self.count = first_block - part.start;
        let schedule = self.schedule.clone();
        let (all, since) = (part.end - first_block, bench.clock.now());
        let known = at_least == part.end;
        bench.done = known.then_some((since, 0.0));
        run_blocks(&schedule, bench.clock, bounds, |turns| {
            self.block(bench, turns)?;
            self.count += 1;
            let here = (turns[0].block + 1 - first_block) as f64 / all as f64;
            bench.done = known.then_some((since, here));
            self.settled(bench, turns[0].block)
        })
    }

    /// Whether the judge has seen enough; asked after pairs of blocks.
    fn settled(&self, bench: &mut Bench<'_>, block: usize) -> Result<bool> {
        let asked = matches!(bench.request.plans, Plans::Exactly(_));
        if let (Stage::Confirmation, Some(choice)) = (bench.stage, self.plans.last()) {
            return narrow_enough(bench, choice, block);
        }
        if asked || block.is_multiple_of(2) {
            return Ok(false);
        }
        let standing = bench.ask_standing()?;
        let settled = standing.settled && self.count >= WANTED_BLOCKS;
        bench.standing = Some(standing);
        Ok(settled)
    }

    /// The prompt of a round of blocks: one after the other, but for those whose text ends at once,
    /// which says nothing about speed. Asked for by name, plans meet every prompt: round and prompt
    /// have one number.
    fn prompt<'r>(&mut self, bench: &Bench<'r>, round: usize) -> Result<&'r Prompt> {
        let request = bench.request;
        if let (Stage::Throughput, Plans::Exactly(_)) = (bench.stage, &request.plans) {
            return Ok(&request.prompts[round % request.prompts.len()]);
        }
        let shortest = match request.plans {
            Plans::Exactly(_) => 1,
            Plans::Judged(_) => SHORTEST_TEXT.min(request.tokens),
        };
        while self.usable.len() <= round && !self.prompts.is_empty() {
            let place = self.prompts.remove(0);
            let model = bench.subject.before_widening;
            let text = self.references.of(model, &request.prompts[place], request)?;
            self.usable.extend((text.len() >= shortest).then_some(place));
        }
        match self.usable.get(round % self.usable.len().max(1)) {
            Some(&place) => Ok(&request.prompts[place]),
            None => Err(Error::invalid(format!(
                "every text ends before {shortest} tokens; give other prompts with --prompts"
            ))),
        }
    }

    /// One prompt, every plan. Texts wait until plain decoding has given its own.
    fn block(&mut self, bench: &mut Bench<'_>, turns: &[Turn]) -> Result<()> {
        let prompt = self.prompt(bench, turns[0].block / self.schedule.parts())?;
        let reference = self.references.of(bench.subject.before_widening, prompt, bench.request)?;
        let tokens = self.tokens.min(reference.len());
        let start = self.start(bench, turns[0].block, prompt, &reference)?;
        let mut plain: Option<Vec<u32>> = None;
        let mut waiting = Vec::new();
        for turn in turns {
            let place = (turn.block + self.offset, turn.order);
            if self.done.contains(&place) {
                continue;
            }
            let plan = &self.plans[turn.cell];
            bench.tell(&format!("{plan} on prompt {}, block {}", prompt.id, turn.block + 1))?;
            let (one, start) = bench.decode(start, plan, prompt, tokens, &reference, place.0)?;
            let sample = one.sample(plan, prompt, (*turn, self.offset), start);
            if bench.request.sampling.is_some() {
                bench.keep(Observation::Throughput(sample))?;
                continue;
            }
            if *plan == Plan::Plain && plain.is_none() {
                self.compare_across_widening(bench, prompt, &reference, &one.tokens)?;
                plain = Some(one.tokens.clone());
            }
            waiting.push((sample, one.tokens));
            if let Some(plain) = &plain {
                keep_equal(bench, prompt, plain, &mut waiting)?;
            }
        }
        if !waiting.is_empty() {
            // Plain decoding was measured before an interruption: its text is made again, untimed.
            let (model, clock) = (bench.subject.model, bench.clock);
            let one = generate(model, &Plan::Plain, prompt, tokens, clock, None, None)?;
            keep_equal(bench, prompt, &one.tokens, &mut waiting)?;
        }
        Ok(())
    }

    /// The start of a process that decodes this block. One that decoded something else before is
    /// warmed up, untimed: by every plan when it is met first, later by plain decoding.
    fn start(
        &mut self,
        bench: &mut Bench<'_>,
        block: usize,
        prompt: &Prompt,
        reference: &[u32],
    ) -> Result<usize> {
        let pair = block / self.schedule.parts() / 2 - self.first_pair;
        let start = bench.turns.of_pair(pair);
        if self.current == Some(start) {
            return Ok(start);
        }
        self.current = Some(start);
        let plans = match self.warm.insert(start) {
            true => self.plans.clone(),
            false => vec![Plan::Plain],
        };
        for plan in &plans {
            bench.tell(&format!("warming up {plan}, process {}", start + 1))?;
            bench.decode(start, plan, prompt, WARM_UP_TOKENS, reference, block)?;
        }
        Ok(start)
    }

    /// Notes where widening turned a near-tie around: there, and only there, the texts may differ.
    fn compare_across_widening(
        &self,
        bench: &mut Bench<'_>,
        prompt: &Prompt,
        reference: &[u32],
        plain: &[u32],
    ) -> Result<()> {
        let reference = &reference[..plain.len().min(reference.len())];
        let Some(position) = first_difference(reference, plain) else { return Ok(()) };
        let model = bench.subject.before_widening;
        let names = ["before widening", "as it runs"];
        let Some(tie) = near_tie(model, prompt, reference, plain, position, names)? else {
            return Ok(());
        };
        let known = &bench.recorder.run.observations.near_ties;
        if known.iter().any(|old| old.id == tie.id && old.position == tie.position) {
            return Ok(());
        }
        bench.keep(Observation::NearTie(tie))
    }
}

/// What a generation may peek at, where acceptance is imposed.
fn peek<'a>(request: &'a Request, prompt: &'a Prompt, reference: &'a [u32]) -> Option<Peek<'a>> {
    let imposed = request.impose.as_ref()?;
    Some(Peek { imposed, text: &prompt.id, reference })
}

/// The samples of the stage whose blocks are numbered from `first` on.
fn samples_of_stage<'b>(
    bench: &'b Bench<'_>,
    first: usize,
) -> impl Iterator<Item = &'b ThroughputSample> {
    let purpose = BlockPurpose::of(first);
    let samples = &bench.recorder.run.observations.throughput;
    samples.iter().filter(move |sample| sample.purpose() == purpose)
}

/// Blocks below the next stage that hold other plans than these: those of an earlier command in the
/// same directory. A whole number of pairs.
fn blocks_of_other_plans(bench: &Bench<'_>, plans: &[Plan], first: usize) -> usize {
    let other = samples_of_stage(bench, first).filter(|sample| !plans.contains(&sample.plan));
    other.map(|s| s.block - first + 1).max().unwrap_or(0).next_multiple_of(2)
}
