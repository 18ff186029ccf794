//! End-to-end generations in interleaved blocks: one prompt a block, every plan once in random
//! order, plain decoding twice; many plans share a prompt over several blocks. A speculative text
//! is kept only when it equals the plain one.

use crate::bench::{Bench, run_before};
use crate::error::{Error, Result};
use crate::pass_watch::generate;
use crate::request::{Plans, Prompt, Request, Stage};
use crate::schedule::{Bounds, Schedule, Turn, part_of_blocks, run_blocks};
use crate::stages::afford::{LEAST_BLOCKS, SHORTEST_TEXT, WARM_UP_TOKENS};
use crate::stages::narrowing::narrow_enough;
use crate::stages::reference::{Agreement, References, compare, first_difference, near_tie};
use crate::warning::Warning;
use s3d_data::{BlockPurpose, Observation, Plan, Seconds, Stop, ThroughputSample};
use s3d_model::Peek;
use std::collections::HashSet;
use std::ops::Range;

/// Blocks below which intervals over blocks mean little; texts are shortened to fit so many.
const WANTED_BLOCKS: usize = 8;
/// Blocks that texts are shortened for: some more, since a machine may get slower.
const PLANNED_BLOCKS: usize = WANTED_BLOCKS + 2;
/// Blocks that confirm the choice: one prompt each, and prompts differ a lot, so many short texts
/// tell more than few long ones.
const CONFIRMING_BLOCKS: usize = 24;
/// Plans that are set beside each other at the end.
const RIVALS: usize = 5;
/// The control: plain decoding.
const CONTROL: usize = 0;
/// Plans of a block beside the control: a block should be over before the machine changes.
const PLANS_OF_A_BLOCK: usize = 12;
/// Stock decoding is slow and only shown beside ours: in one of so many pairs of blocks.
const STOCK_PERIOD: usize = 4;

/// Stage: blocks of all plans. Plans that the judge asked for: until it is content or the time is
/// spent. Plans that were asked for by name: every prompt once, however long that takes.
pub(crate) fn generate_blocks(bench: &mut Bench<'_>) -> Result<Stop> {
    let plans = plans(bench)?;
    let prompts: Vec<usize> = (0..bench.request.prompts.len()).collect();
    let mut blocks = Blocks::new(bench, plans, prompts, 0);
    let (part, at_least) = match bench.request.plans {
        Plans::Judged(_) => (BlockPurpose::Explore.blocks(), LEAST_BLOCKS),
        Plans::Exactly(_) => {
            let all = bench.request.prompts.len() * blocks.schedule.parts();
            let part = part_of_blocks(bench.request, all);
            (part.clone(), part.end)
        }
    };
    if part.is_empty() {
        return Ok(Stop::Blocks);
    }
    let stop = blocks.run(bench, part, at_least)?;
    let found = blocks.count;
    if found < WANTED_BLOCKS && stop == Stop::Budget {
        bench.warnings.push(Warning::FewBlocks { found, wanted: WANTED_BLOCKS });
    }
    Ok(stop)
}

/// Stage: the leading plans beside each other, on the texts that their traces are of: what an
/// iteration costs is told apart best in the same minute, and tokens per iteration are known from
/// the traces.
pub(crate) fn run_off(bench: &mut Bench<'_>) -> Result<()> {
    let first = BlockPurpose::RunOff.blocks().start;
    let run = run_before(&bench.recorder.run, first);
    let rivals = affordable(bench).saturating_sub(2).min(RIVALS);
    let leading = bench.judge.leading(&run, rivals).map_err(Error::Judge)?;
    if leading.len() < 2 {
        return Ok(());
    }
    let plans = [vec![Plan::Plain], leading].concat();
    let prompts = (0..bench.request.prompts.len()).collect();
    let mut blocks = Blocks::new(bench, plans, prompts, first);
    blocks.run(bench, 0..usize::MAX, LEAST_BLOCKS)?;
    Ok(())
}

/// Stage: plain decoding and the choice alone, in fresh blocks that were not used to choose, on
/// prompts that no trace was taken from where there are such.
pub(crate) fn confirm(bench: &mut Bench<'_>) -> Result<()> {
    let first = BlockPurpose::Confirm.blocks().start;
    let run = run_before(&bench.recorder.run, first);
    let standing = bench.judge.standing(&run).map_err(Error::Judge)?;
    let Some(choice) = standing.best.clone() else { return Ok(()) };
    bench.standing = Some(standing);
    let prompts = fresh_prompts(bench);
    let plans = vec![Plan::Plain, choice];
    let mut blocks = Blocks::new(bench, plans, prompts, first);
    blocks.run(bench, 0..usize::MAX, LEAST_BLOCKS)?;
    Ok(())
}

/// Places of the prompts, those without traces first.
fn fresh_prompts(bench: &Bench<'_>) -> Vec<usize> {
    let traces = &bench.recorder.run.observations.traces;
    let traced: HashSet<&str> = traces.iter().map(|trace| trace.id.as_str()).collect();
    let prompts = &bench.request.prompts;
    let (used, fresh): (Vec<_>, Vec<_>) =
        (0..prompts.len()).partition(|&place| traced.contains(prompts[place].id.as_str()));
    fresh.into_iter().chain(used).collect()
}

/// Generations of a block that fit the time that is left.
fn affordable(bench: &Bench<'_>) -> usize {
    bench.affordable().unwrap_or(usize::MAX)
}

/// Plain decoding first, then what is to be compared with it.
fn plans(bench: &mut Bench<'_>) -> Result<Vec<Plan>> {
    let mut plans = vec![Plan::Plain];
    match &bench.request.plans {
        Plans::Exactly(asked) => plans.extend(asked.iter().filter(|p| **p != Plan::Plain).cloned()),
        Plans::Judged(wanted) => {
            plans.push(Plan::Stock);
            // Plain decoding counts twice, stock decoding is slow.
            let wanted = affordable(bench).saturating_sub(4).clamp(1, *wanted);
            let run = run_before(&bench.recorder.run, 0);
            plans.extend(bench.judge.candidates(&run, wanted).map_err(Error::Judge)?);
        }
    }
    let mut seen = HashSet::new();
    plans.retain(|plan| seen.insert(plan.clone()));
    for draft in plans.iter().filter_map(Plan::draft) {
        bench.subject.model.check_plan(draft)?;
    }
    Ok(plans)
}

/// The blocks of one stage.
struct Blocks {
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
    fn new(bench: &Bench<'_>, plans: Vec<Plan>, prompts: Vec<usize>, first: usize) -> Self {
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

    /// Every plan once, untimed; says how long texts may be so that enough blocks fit.
    fn warm_up(&self, bench: &mut Bench<'_>) -> Result<usize> {
        let (model, clock) = (bench.subject.model, bench.clock);
        let prompt = &bench.request.prompts[self.prompts[0]];
        let (mut seconds_per_token, begin) = (0.0, clock.now());
        let mut plain = Vec::new();
        for plan in &self.plans {
            bench.tell(&format!("warming up {plan}"))?;
            let peek = peek(bench.request, prompt, &plain);
            let one = generate(model, plan, prompt, WARM_UP_TOKENS, clock, peek)?;
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
    fn run(&mut self, bench: &mut Bench<'_>, part: Range<usize>, at_least: usize) -> Result<Stop> {
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
            let (one, start) = bench.decode(start, plan, prompt, tokens, &reference)?;
            if *plan == Plan::Plain && plain.is_none() {
                self.compare_across_widening(bench, prompt, &reference, &one.tokens)?;
                plain = Some(one.tokens.clone());
            }
            waiting.push((one.sample(plan, prompt, (*turn, self.offset), start), one.tokens));
            if let Some(plain) = &plain {
                keep_equal(bench, prompt, plain, &mut waiting)?;
            }
        }
        if !waiting.is_empty() {
            // Plain decoding was measured before an interruption: its text is made again, untimed.
            let (model, clock) = (bench.subject.model, bench.clock);
            let one = generate(model, &Plan::Plain, prompt, tokens, clock, None)?;
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
            bench.decode(start, plan, prompt, WARM_UP_TOKENS, reference)?;
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

/// Keeps the samples whose text equals the plain one; `waiting` is empty afterwards. Stock decoding
/// adds in another order and may differ anywhere; speculation only on a device whose sums depend on
/// the width of a pass, and there only at a near-tie. Both are written down.
fn keep_equal(
    bench: &mut Bench<'_>,
    prompt: &Prompt,
    plain: &[u32],
    waiting: &mut Vec<(ThroughputSample, Vec<u32>)>,
) -> Result<()> {
    for (sample, tokens) in waiting.drain(..) {
        let mut kept = Vec::new();
        if let Some(position) = first_difference(plain, &tokens) {
            let model = bench.subject.model;
            let (way, other) = match sample.plan {
                Plan::Stock => ("own kernel", "stock".to_string()),
                ref plan => {
                    let agreement = compare(model, &prompt.tokens, plain, &tokens)?;
                    if !matches!(agreement, Agreement::NearTie { .. }) {
                        return Err(mismatch(plan, prompt, position, plain, &tokens));
                    }
                    ("plain", plan.to_string())
                }
            };
            let tie = near_tie(model, prompt, plain, &tokens, position, [way, &other])?;
            kept.extend(tie.map(Observation::NearTie));
        }
        // Together: a run that goes on after a kill finds both or none.
        kept.push(Observation::Throughput(sample));
        bench.recorder.append(kept)?;
    }
    Ok(())
}

/// A text that is not the plain one, from `position` on.
fn mismatch(plan: &Plan, prompt: &Prompt, position: usize, plain: &[u32], found: &[u32]) -> Error {
    let token = |tokens: &[u32]| match tokens.get(position) {
        Some(token) => token.to_string(),
        None => "the end of the text".to_string(),
    };
    Error::Mismatch {
        plan: Box::new(plan.clone()),
        prompt: prompt.id.clone(),
        position,
        expected: token(plain),
        found: token(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_plan_prompt_position_and_tokens() {
        let prompt = Prompt { id: "story-3".into(), task: None, tokens: vec![1] };
        let plan: Plan = "3..9:4".parse().unwrap();
        let plain = [5, 6, 7];
        let text = |found: &[u32]| {
            let position = first_difference(&plain, found).unwrap();
            mismatch(&plan, &prompt, position, &plain, found).to_string()
        };
        let changed = text(&[5, 9, 7]);
        assert!(changed.contains("plan 3..9:4") && changed.contains("'story-3'"), "{changed}");
        assert!(changed.contains("position 1: expected token 6, found 9"), "{changed}");
        assert!(text(&[5, 6]).contains("found the end of the text"));
    }
}
