//! Times of components and whole passes, in situ.
//!
//! What one pass leaves in the processor's cache the next one finds, so nothing is timed alone: a
//! turn of the schedule is one iteration of decoding (draft, then verify; or plain steps), at a
//! given number of predictors and context. An observer reads the clock at the end of every
//! component, which makes the components of a pass, with the rest, add up to the pass exactly. Now
//! and then the same iteration is timed beside it without that observer: whole passes alone, the
//! check on the sums.

use crate::bench::Bench;
use crate::clock::Clock;
use crate::error::Result;
use crate::pass_watch::{PassWatch, Place, as_prepared};
use crate::schedule::{Bounds, Schedule, Turn, run_blocks};
use s3d_data::{
    Component, DraftPlan, Drafting, LatencySample, Observation, Plan, Predictors, Skip,
};
use s3d_model::{KvCache, Model, Silent, argmax_rows};
use std::collections::HashSet;

/// Blocks wanted whatever the time: every cell is then seen in both orders.
const AT_LEAST: usize = 2;
/// Blocks after which medians no longer get much better.
const AT_MOST: usize = 200;
/// Windows that take turns, from nearly nothing skipped to nearly everything.
const WINDOWS: usize = 5;

/// Watched iterations of a cell for one that is timed whole.
const WATCHED_PER_WHOLE: usize = 2;

/// What one iteration of decoding does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A plain step after a plain step.
    Plain,
    /// Draft passes, then the verify pass.
    Iteration { drafting: Drafting, predictors: usize },
}

/// One iteration of decoding to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    step: Step,
    context: usize,
    /// For an iteration that is timed whole: the place of the watched one beside it.
    beside: Option<usize>,
}

impl Cell {
    /// Sampled once in so many pairs of blocks: wide iterations and long contexts cost more and
    /// matter less. Plain steps are the unit of all others and in every block.
    fn period(self) -> usize {
        // Twice as rare with every factor of four beyond a thousand tokens.
        let long = 1 << ((self.context / LONG_CONTEXT).max(1).ilog2() / 2);
        match self.step {
            Step::Plain => 1,
            Step::Iteration { predictors, .. } if predictors > WIDE => 2 * long,
            Step::Iteration { .. } => long,
        }
    }
}

/// Contexts from four times this on are sampled less often.
const LONG_CONTEXT: usize = 1_000;
/// Iterations of more predictors are sampled less often.
const WIDE: usize = 6;

/// Stage: times iterations block by block until the stage's time is spent.
pub(crate) fn time_passes(bench: &mut Bench<'_>) -> Result<()> {
    let part = crate::schedule::part_of_blocks(bench.request, AT_MOST);
    if part.is_empty() {
        return Ok(());
    }
    let mut timing = Timing::new(bench)?;
    timing.warm_up(bench)?;
    let schedule = schedule(&timing.cells, bench.request.seed);
    let first_block = timing.done.iter().map(|&(block, _)| block).max().unwrap_or(part.start);
    let late = is_late(bench);
    let at_least = part.end.min(part.start + if late { 1 } else { AT_LEAST });
    let bounds = Bounds { first_block, at_least, at_most: part.end, deadline: bench.deadline };
    run_blocks(&schedule, bench.clock, bounds, |turns| {
        bench.tell(&format!("passes of every width and context, block {}", turns[0].block + 1))?;
        for turn in turns {
            timing.take(bench, *turn)?;
        }
        Ok(false)
    })
    .map(drop)
}

/// Whether the time of the stage is over before it has begun.
fn is_late(bench: &Bench<'_>) -> bool {
    bench.clock.now() >= bench.deadline && bench.request.shard.is_none()
}

fn schedule(cells: &[Cell], seed: u64) -> Schedule {
    let schedule = Schedule::new(cells.len(), Some(0), seed);
    cells.iter().enumerate().fold(schedule, |schedule, (place, cell)| match cell.beside {
        Some(watched) => schedule.sample_beside(place, watched, WATCHED_PER_WHOLE),
        None => schedule.sample_every(place, cell.period()),
    })
}

/// Contexts on a logarithmic grid: the longest, then a quarter of it each time, down to about 16.
fn contexts(longest: usize) -> Vec<usize> {
    let mut grid: Vec<usize> =
        std::iter::successors(Some(longest), |c| Some(c / 4)).take_while(|&c| c >= 16).collect();
    if grid.is_empty() {
        grid.push(longest);
    }
    grid.reverse();
    grid
}

/// What is timed, and the texts it continues.
struct Timing {
    cells: Vec<Cell>,
    skips: Vec<Skip>,
    /// One cache per context, holding one token less.
    caches: Vec<(usize, KvCache)>,
    /// Turns that were timed before an interruption.
    done: HashSet<(usize, usize)>,
    token: u32,
}

impl Timing {
    fn new(bench: &Bench<'_>) -> Result<Self> {
        let (model, request) = (bench.subject.model, bench.request);
        let longest = request.context.min(model.positions());
        // Where no time is left, at the context of the choice alone.
        let contexts = match is_late(bench) {
            true => vec![longest],
            false => contexts(longest),
        };
        let text: Vec<u32> =
            request.prompts.iter().flat_map(|p| &p.tokens).copied().cycle().take(longest).collect();
        let cache = |&context: &usize| -> Result<(usize, KvCache)> {
            let mut cache = model.new_cache(context + Predictors::MAX + 1)?;
            model.prompt_pass(&text[..context - 1], &mut cache, &mut Silent)?;
            Ok((context, cache))
        };
        let done = bench.recorder.run.observations.latency.iter().map(|s| (s.block, s.order));
        Ok(Self {
            caches: contexts.iter().map(cache).collect::<Result<_>>()?,
            cells: cells(&contexts, request.gamma_max.get(), model.shape().masks),
            skips: spread(&request.skips, WINDOWS),
            done: done.collect(),
            token: text[longest - 1],
        })
    }

    /// Every cell once, untimed, before any is timed.
    fn warm_up(&mut self, bench: &mut Bench<'_>) -> Result<()> {
        bench.tell("warming up every width and context")?;
        for cell in 0..self.cells.len() {
            let turn = Turn { cell, copy: 0, block: 0, order: 0 };
            self.iterate(bench.subject.model, bench.clock, turn)?;
        }
        Ok(())
    }

    /// Times one turn and keeps its samples, unless that was done before.
    fn take(&mut self, bench: &mut Bench<'_>, turn: Turn) -> Result<()> {
        if self.done.contains(&(turn.block, turn.order)) {
            return Ok(());
        }
        let samples = self.iterate(bench.subject.model, bench.clock, turn)?;
        bench.recorder.append(samples.into_iter().map(Observation::Latency).collect())
    }

    fn iterate(
        &mut self,
        model: &Model,
        clock: &dyn Clock,
        turn: Turn,
    ) -> Result<Vec<LatencySample>> {
        let cell = self.cells[turn.cell];
        let plan = self.plan(cell, turn)?;
        let token = self.token;
        let place = self.caches.iter_mut().find(|(context, _)| *context == cell.context);
        let Some((context, cache)) = place else { return Ok(Vec::new()) };
        as_prepared(model, || {
            let mut watch = PassWatch::new(clock, turn, plan.clone(), model.shape().layers);
            if cell.beside.is_some() {
                watch = watch.whole_only();
            }
            let watch = &mut watch;
            match &plan {
                Plan::Speculate(draft) => speculate(model, token, *context, draft, cache, watch),
                _ => step_twice(model, token, *context, cache, watch),
            }
        })
    }

    /// The plan of a cell; the windows take turns from one pair of blocks to the next.
    fn plan(&self, cell: Cell, turn: Turn) -> Result<Plan> {
        let Step::Iteration { drafting, predictors } = cell.step else { return Ok(Plan::Plain) };
        let place = cell.beside.unwrap_or(turn.cell);
        let skip = self.skips[(place + turn.block / 2) % self.skips.len()].clone();
        let predictors = Predictors::new(predictors)?;
        Ok(Plan::Speculate(DraftPlan { drafting, skip, predictors }))
    }
}

/// A plain step at every context (the first one is the control); simultaneous iterations of every
/// number of predictors at every context; sequential ones of a few; and all of these timed whole.
fn cells(contexts: &[usize], gamma_max: usize, masks: usize) -> Vec<Cell> {
    let watched = |step, context| Cell { step, context, beside: None };
    let longest_first = contexts.iter().rev();
    let mut cells: Vec<Cell> =
        longest_first.clone().map(|&context| watched(Step::Plain, context)).collect();
    for &context in longest_first {
        let iteration =
            |drafting| move |predictors| watched(Step::Iteration { drafting, predictors }, context);
        // A model without masks can only draft in turn; the verify widths are needed all the same.
        let at_once = gamma_max.min(masks + 1);
        cells.extend((1..=at_once).map(iteration(Drafting::Simultaneous)));
        let in_turn = (1..=gamma_max).filter(|&g| g > at_once || g == 4.min(gamma_max));
        cells.extend(in_turn.map(iteration(Drafting::Sequential)));
    }
    let whole = |(place, cell): (usize, &Cell)| Cell { beside: Some(place), ..*cell };
    let wholes: Vec<Cell> = cells.iter().enumerate().map(whole).collect();
    cells.extend(wholes);
    cells
}

/// Up to `count` skips, evenly spread over the list but for its ends.
fn spread(skips: &[Skip], count: usize) -> Vec<Skip> {
    if skips.len() <= count {
        return skips.to_vec();
    }
    (1..=count).map(|i| skips[i * skips.len() / (count + 1)].clone()).collect()
}

/// Draft passes, then the verify pass, all timed; the cache is left as it was found.
fn speculate(
    model: &Model,
    token: u32,
    context: usize,
    plan: &DraftPlan,
    cache: &mut KvCache,
    watch: &mut PassWatch<'_>,
) -> Result<Vec<LatencySample>> {
    let predictors = plan.predictors.get();
    let (passes, masks) = match plan.drafting {
        Drafting::Simultaneous => (1, predictors - 1),
        Drafting::Sequential => (predictors, 0),
    };
    let mut samples = Vec::new();
    for pass in 0..passes {
        let place =
            Place { component: Component::DraftPass, width: masks + 1, context: context + pass };
        let drafted = watch.pass(place, &mut samples, |watch| {
            argmax_rows(&model.draft_pass(plan.drafting, token, masks, &plan.skip, cache, watch)?)
        })?;
        debug_assert_eq!(drafted.len(), masks + 1);
    }
    cache.truncate(context - 1);
    let fed = vec![token; predictors + 1];
    let place = Place { component: Component::VerifyPass, width: predictors + 1, context };
    watch.pass(place, &mut samples, |watch| argmax_rows(&model.full_pass(&fed, cache, watch)?))?;
    cache.truncate(context - 1);
    Ok(samples)
}

/// Two plain steps; the second is kept, since it finds the cache as a plain step leaves it.
fn step_twice(
    model: &Model,
    token: u32,
    context: usize,
    cache: &mut KvCache,
    watch: &mut PassWatch<'_>,
) -> Result<Vec<LatencySample>> {
    let mut samples = Vec::new();
    for _ in 0..2 {
        samples.clear();
        let place = Place { component: Component::FullPass, width: 1, context };
        watch.pass(place, &mut samples, |watch| {
            argmax_rows(&model.full_pass(&[token], cache, watch)?)
        })?;
        cache.truncate(context - 1);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_on_a_logarithmic_grid() {
        assert_eq!(contexts(256), [16, 64, 256]);
        assert_eq!(contexts(4096), [16, 64, 256, 1024, 4096]);
        assert_eq!(contexts(10), [10]);
    }

    #[test]
    fn all_widths_are_covered_with_and_without_masks() {
        for masks in [7, 0] {
            let cells = cells(&[16, 64], 8, masks);
            for context in [16, 64] {
                let mut widths: Vec<usize> = cells
                    .iter()
                    .filter(|cell| cell.context == context)
                    .map(|cell| match cell.step {
                        Step::Plain => 1,
                        Step::Iteration { predictors, .. } => predictors + 1,
                    })
                    .collect();
                widths.sort_unstable();
                widths.dedup();
                assert_eq!(widths, (1..=9).collect::<Vec<_>>(), "{masks} masks");
            }
        }
    }

    #[test]
    fn long_contexts_and_wide_passes_are_rarer_but_there() {
        let cells = cells(&contexts(16_384), 8, 7);
        let schedule = schedule(&cells, 3);
        let seen = |what: &Cell| {
            let place = cells.iter().position(|cell| cell == what).unwrap();
            let holds = |&block: &usize| schedule.block(block).iter().any(|t| t.cell == place);
            (2..66).filter(holds).count()
        };
        let cell = |context, predictors| {
            let step = Step::Iteration { drafting: Drafting::Simultaneous, predictors };
            Cell { step, context, beside: None }
        };
        let counts = [(256, 4), (256, 8), (4096, 4), (16_384, 4), (16_384, 8)];
        let counts = counts.map(|(context, predictors)| seen(&cell(context, predictors)));
        // source: 64 blocks; half for a wide iteration; half at 4 thousand tokens, a quarter at 16
        assert_eq!(counts, [64, 32, 32, 16, 8]);
        let plain = Cell { step: Step::Plain, context: 16_384, beside: None };
        assert_eq!(seen(&plain), 64, "the unit is in every block");
        let whole = Cell { beside: Some(0), ..plain };
        assert_eq!(seen(&whole), 32);
    }
}
