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
use crate::drawing;
use crate::error::Result;
use crate::pass_watch::{PassWatch, as_prepared};
use crate::request::Stage;
use crate::schedule::{Bounds, Schedule, Turn, run_blocks};
use crate::stages::timed_passes::Texts;
use s3d_data::{DraftPlan, Drafting, LatencySample, Observation, Plan, Predictors, Skip};
use s3d_model::{KvCache, Model, Sampling, Silent};
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

/// Blocks wanted whatever the time: every cell is then seen in both orders.
const AT_LEAST: usize = 2;
/// Blocks after which medians no longer get much better.
const AT_MOST: usize = 200;
/// Windows that take turns where several texts share passes, beside that of the choice.
const WINDOWS_TOGETHER: usize = 3;
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
    /// Texts that share its passes.
    batch: usize,
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
    let timing = Timing::of_one(bench)?;
    measure(bench, timing, part)
}

/// Stage: passes that several texts share, at the context of the choice: of every number of texts
/// that was asked for.
pub(crate) fn time_shared_passes(bench: &mut Bench<'_>) -> Result<()> {
    let timing = Timing::of_several(bench)?;
    measure(bench, timing, 0..AT_MOST)
}

/// Blocks of all cells until the time of the stage is over.
fn measure(bench: &mut Bench<'_>, mut timing: Timing, part: Range<usize>) -> Result<()> {
    timing.warm_up(bench)?;
    let schedule = schedule(&timing.cells, bench.request.seed);
    let first_block = timing.done.iter().map(|&(block, _)| block).max().unwrap_or(part.start);
    let late = is_late(bench) && bench.stage == Stage::Latency;
    let at_least = part.end.min(part.start + if late { 1 } else { AT_LEAST });
    let bounds = Bounds { first_block, at_least, at_most: part.end, deadline: bench.deadline };
    run_blocks(&schedule, bench.clock, bounds, |turns| {
        bench.tell(&format!("passes {}, block {}", timing.of_what, turns[0].block + 1))?;
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
    // The plain step of the longest context, or of the fewest texts.
    let schedule = Schedule::new(cells.len(), Some(0), seed);
    cells.iter().enumerate().fold(schedule, |schedule, (place, cell)| match cell.beside {
        Some(watched) => schedule.sample_beside(place, watched, WATCHED_PER_WHOLE),
        None => schedule.sample_every(place, cell.period()),
    })
}

/// Contexts on a logarithmic grid: that of the choice, then a quarter of it each time, down to
/// about 16; and those that were asked for. Up to `most`, rising.
fn contexts(own: usize, asked: &[usize], most: usize) -> Vec<usize> {
    let own = own.min(most);
    let grid = std::iter::successors(Some(own), |c| Some(c / 4)).take_while(|&c| c >= 16);
    let asked = asked.iter().map(|&context| context.min(most));
    grid.chain([own]).chain(asked).collect::<BTreeSet<usize>>().into_iter().collect()
}

/// How passes that are timed draw tokens.
fn sampling(bench: &Bench<'_>) -> Result<Option<Sampling>> {
    match bench.request.prompts.first() {
        Some(prompt) => drawing::of_text(bench.request, prompt),
        None => Ok(None),
    }
}

/// What is timed, and the texts it continues.
struct Timing {
    cells: Vec<Cell>,
    skips: Vec<Skip>,
    /// By context the caches of as many texts as share a pass, holding one token less.
    caches: Vec<(usize, Vec<KvCache>)>,
    /// Turns that were timed before an interruption.
    done: HashSet<(usize, usize)>,
    token: u32,
    /// For the progress.
    of_what: &'static str,
    /// How tokens are drawn, which is part of every pass; none: the most likely ones are taken.
    sampling: Option<Sampling>,
}

impl Timing {
    fn of_one(bench: &Bench<'_>) -> Result<Self> {
        let (model, request) = (bench.subject.model, bench.request);
        let positions = model.positions();
        // Where no time is left, at the context of the choice alone.
        let contexts = match is_late(bench) {
            true => vec![request.context.min(positions)],
            false => contexts(request.context, &request.contexts, positions),
        };
        let longest = contexts.last().copied().unwrap_or(1);
        let caches = contexts.iter().map(|&context| Ok((context, caches(bench, context, 1)?)));
        let done = bench.recorder.run.observations.latency.iter().map(|s| (s.block, s.order));
        Ok(Self {
            caches: caches.collect::<Result<_>>()?,
            cells: cells(&contexts, request.gamma_max.get(), model.shape().masks),
            skips: spread(&request.skips, WINDOWS),
            done: done.collect(),
            token: token(bench, longest - 1),
            of_what: "of every width and context",
            sampling: sampling(bench)?,
        })
    }

    /// Of several texts whole passes alone are timed, and under fewer windows: that of the choice
    /// is one of them.
    fn of_several(bench: &mut Bench<'_>) -> Result<Self> {
        let chosen = bench.ask_standing()?.best.and_then(|plan| Some(plan.draft()?.skip.clone()));
        let (model, request) = (bench.subject.model, bench.request);
        let longest = longest(bench);
        let most = request.batches.iter().copied().max().unwrap_or(1);
        let mut skips = spread(&request.skips, WINDOWS_TOGETHER);
        skips.extend(chosen.filter(|chosen| !skips.contains(chosen)));
        let seen = &bench.recorder.run.observations.together.latency;
        let size = (longest, request.gamma_max.get(), model.shape().masks);
        Ok(Self {
            caches: vec![(longest, caches(bench, longest, most)?)],
            cells: cells_together(&request.batches, size),
            skips,
            done: seen.iter().map(|s| (s.block, s.order)).collect(),
            token: token(bench, longest - 1),
            of_what: "that several texts share",
            sampling: sampling(bench)?,
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
        let (token, sampling) = (self.token, self.sampling);
        let place = self.caches.iter_mut().find(|(context, _)| *context == cell.context);
        let Some((context, caches)) = place else { return Ok(Vec::new()) };
        let caches = &mut caches[..cell.batch];
        as_prepared(model, || {
            let mut watch = PassWatch::new(clock, turn, plan.clone(), model.shape().layers);
            if cell.beside.is_some() || cell.batch > 1 {
                watch = watch.whole_only();
            }
            watch.sampling = sampling;
            let mut texts = Texts::new(model, &mut *caches, (token, *context));
            match &plan {
                Plan::Speculate(draft) => texts.speculate(draft, &mut watch),
                _ => texts.step_twice(&mut watch),
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
    let watched = |step, context| Cell { step, context, batch: 1, beside: None };
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

/// For every number of texts a plain step, and iterations of some numbers of predictors: a pass
/// over the widths between them is interpolated.
fn cells_together(
    batches: &[usize],
    (context, gamma_max, masks): (usize, usize, usize),
) -> Vec<Cell> {
    let cell = |batch, step| Cell { step, context, batch, beside: None };
    let at_once = gamma_max.min(masks + 1);
    let timed = |gamma: &usize| *gamma <= WIDE || gamma.is_multiple_of(2) || *gamma == gamma_max;
    let mut steps = vec![Step::Plain];
    steps.extend((1..=gamma_max).filter(timed).map(|predictors| match predictors <= at_once {
        true => Step::Iteration { drafting: Drafting::Simultaneous, predictors },
        false => Step::Iteration { drafting: Drafting::Sequential, predictors },
    }));
    if at_once > 1 {
        let predictors = 2.min(gamma_max);
        steps.push(Step::Iteration { drafting: Drafting::Sequential, predictors });
    }
    batches.iter().flat_map(|&batch| steps.iter().map(move |step| cell(batch, *step))).collect()
}

/// The longest context that is timed.
fn longest(bench: &Bench<'_>) -> usize {
    bench.request.context.min(bench.subject.model.positions())
}

/// The text that is continued, from its token `from` on.
fn text<'b>(bench: &'b Bench<'_>, from: usize) -> impl Iterator<Item = u32> + 'b {
    bench.request.prompts.iter().flat_map(|p| &p.tokens).copied().cycle().skip(from)
}

fn token(bench: &Bench<'_>, place: usize) -> u32 {
    text(bench, place).next().unwrap_or(0)
}

/// The caches of `batch` texts of `context` tokens, holding one token less; each begins elsewhere.
fn caches(bench: &Bench<'_>, context: usize, batch: usize) -> Result<Vec<KvCache>> {
    let model = bench.subject.model;
    let one = |number: usize| {
        let held: Vec<u32> = text(bench, number).take(context - 1).collect();
        let mut cache = model.new_cache(context + Predictors::MAX + 1)?;
        model.prompt_pass(&held, &mut cache, &mut Silent)?;
        Ok(cache)
    };
    (0..batch).map(one).collect()
}

/// Up to `count` skips, evenly spread over the list but for its ends.
fn spread(skips: &[Skip], count: usize) -> Vec<Skip> {
    if skips.len() <= count {
        return skips.to_vec();
    }
    (1..=count).map(|i| skips[i * skips.len() / (count + 1)].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_on_a_logarithmic_grid() {
        assert_eq!(contexts(256, &[], 512), [16, 64, 256]);
        assert_eq!(contexts(4096, &[], 4096), [16, 64, 256, 1024, 4096]);
        assert_eq!(contexts(10, &[], 99), [10]);
        assert_eq!(contexts(256, &[], 128), [32, 128]);
    }

    #[test]
    fn contexts_that_are_asked_for_are_timed_up_to_what_the_model_can() {
        assert_eq!(contexts(256, &[256, 512, 1024], 1024), [16, 64, 256, 512, 1024]);
        assert_eq!(contexts(256, &[256, 512, 1024], 600), [16, 64, 256, 512, 600]);
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
        let cells = cells(&contexts(16_384, &[], 16_384), 8, 7);
        let schedule = schedule(&cells, 3);
        let seen = |what: &Cell| {
            let place = cells.iter().position(|cell| cell == what).unwrap();
            let holds = |&block: &usize| schedule.block(block).iter().any(|t| t.cell == place);
            (2..66).filter(holds).count()
        };
        let cell = |context, predictors| {
            let step = Step::Iteration { drafting: Drafting::Simultaneous, predictors };
            Cell { step, context, batch: 1, beside: None }
        };
        let counts = [(256, 4), (256, 8), (4096, 4), (16_384, 4), (16_384, 8)];
        let counts = counts.map(|(context, predictors)| seen(&cell(context, predictors)));
        // source: 64 blocks; half for a wide iteration; half at 4 thousand tokens, a quarter at 16
        assert_eq!(counts, [64, 32, 32, 16, 8]);
        let plain = Cell { step: Step::Plain, context: 16_384, batch: 1, beside: None };
        assert_eq!(seen(&plain), 64, "the unit is in every block");
        let whole = Cell { beside: Some(0), ..plain };
        assert_eq!(seen(&whole), 32);
    }
}
