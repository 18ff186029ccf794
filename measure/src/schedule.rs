//! The one schedule of all timing: warm every cell, then interleave (cost model, section 6).
//!
//! Machines drift, so only what was measured close together is compared. A block holds every cell
//! once in seeded random order; the block after it holds the same cells in reverse, which takes a
//! steady drift out of the pair. One cell, the control, occurs twice in every block: when its two
//! copies disagree, nothing else of the run can be believed. Many cells are dealt out to several
//! blocks, each with the control beside them.

use crate::clock::Clock;
use crate::request::Request;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use s3d_data::{Seconds, Stop};
use std::ops::Range;

/// One thing to time: what, and where in the schedule it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Index of the cell.
    pub cell: usize,
    /// 1 for the second copy of the control cell, else 0.
    pub copy: usize,
    /// The block.
    pub block: usize,
    /// Place in the block.
    pub order: usize,
}

/// Which cells each block holds, and in which order. A function of seed and block number alone, so
/// that an interrupted run goes on with the block it would have measured next.
#[derive(Debug, Clone)]
pub struct Schedule {
    periods: Vec<usize>,
    phases: Vec<usize>,
    control: Option<usize>,
    parts: usize,
    seed: u64,
    interleaved: bool,
}

impl Schedule {
    /// A schedule of `cells` cells, all of them in every block, with `control` (if any) duplicated.
    pub fn new(cells: usize, control: Option<usize>, seed: u64) -> Self {
        let phases = (0..cells).collect();
        Self { periods: vec![1; cells], phases, control, parts: 1, seed, interleaved: true }
    }

    /// Deals the cells of a round out to so many blocks that none holds more than `most` beside the
    /// control: a block that lasts a minute says little about a machine that changes within
    /// seconds. Who sits beside whom is drawn anew for every pair of rounds.
    pub(crate) fn in_blocks_of(mut self, most: usize) -> Self {
        let cells = self.periods.len() - usize::from(self.control.is_some());
        self.parts = cells.div_ceil(most.max(1)).max(1);
        self
    }

    /// Blocks that together hold every cell.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Samples `cell` in one of every `period` pairs of blocks only (wide passes, long contexts).
    pub(crate) fn sample_every(mut self, cell: usize, period: usize) -> Self {
        self.periods[cell] = period.max(1);
        self
    }

    /// Samples `cell` in one of `times` of the blocks that hold the cell `of`, never without it.
    pub(crate) fn sample_beside(mut self, cell: usize, of: usize, times: usize) -> Self {
        self.periods[cell] = self.periods[of] * times.max(1);
        self.phases[cell] = self.phases[of] + self.periods[of] * cell;
        self
    }

    /// Measures all of cell 0, then all of cell 1, ...: what the schedule protects from.
    #[cfg(test)]
    pub(crate) fn without_interleaving(mut self) -> Self {
        self.interleaved = false;
        self
    }

    /// The turns of block number `block`.
    pub fn block(&self, block: usize) -> Vec<Turn> {
        let (round, part) = (block / self.parts, block % self.parts);
        let backwards = self.interleaved && round % 2 == 1;
        let part = if backwards { self.parts - 1 - part } else { part };
        let mut cells = self.dealt(round / 2, part);
        if self.interleaved {
            cells.shuffle(&mut self.random(round / 2, part));
        }
        if backwards {
            cells.reverse();
        }
        let turn = |(order, (cell, copy))| Turn { cell, copy, block, order };
        cells.into_iter().enumerate().map(turn).collect()
    }

    /// The cells of one part of a pair of rounds, the control with both its copies in each.
    fn dealt(&self, pair: usize, part: usize) -> Vec<(usize, usize)> {
        let cells = self.cells_of_pair(pair);
        if self.parts == 1 {
            return cells;
        }
        let is_control = |&(cell, _): &(usize, usize)| Some(cell) == self.control;
        let (mut dealt, mut others): (Vec<_>, Vec<_>) = cells.into_iter().partition(is_control);
        others.shuffle(&mut self.random(pair, self.parts));
        let cut = |part: usize| others.len() * part / self.parts;
        dealt.extend(&others[cut(part)..cut(part + 1)]);
        dealt
    }

    /// Draws of a pair of rounds: of its parts, and (`part` = number of parts) of the dealing.
    fn random(&self, pair: usize, part: usize) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream((part as u64) << 32 | pair as u64);
        random
    }

    /// Cells with their copies. Rare cells take turns: each has a phase of its own, so that pairs
    /// of blocks stay about equally long. The first pair holds every cell.
    fn cells_of_pair(&self, pair: usize) -> Vec<(usize, usize)> {
        let due = |&(cell, &period): &(usize, &usize)| {
            pair == 0 || (pair + self.phases[cell]).is_multiple_of(period)
        };
        let mut cells: Vec<_> =
            self.periods.iter().enumerate().filter(due).map(|(cell, _)| (cell, 0)).collect();
        cells.extend(self.control.map(|cell| (cell, 1)));
        cells
    }
}

/// Which of the first `blocks` blocks `request` measures: all, or its shard's, in whole pairs. A
/// block is never divided, so whatever is compared inside of it was measured on one machine.
pub(crate) fn part_of_blocks(request: &Request, blocks: usize) -> Range<usize> {
    let pairs = request.part(blocks.div_ceil(2));
    (2 * pairs.start).min(blocks)..(2 * pairs.end).min(blocks)
}

/// When to stop measuring blocks.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Number of the first block (blocks before it were measured before an interruption).
    pub first_block: usize,
    /// Blocks below this number are measured whatever the time.
    pub at_least: usize,
    /// No block with this number or above it.
    pub at_most: usize,
    /// When the clock shows this, no further block starts.
    pub deadline: Seconds,
}

/// Measures block after block until `bounds` say stop or `measure`, which returns whether enough is
/// known, does; a block is never cut short, and "enough" counts after whole pairs of blocks only.
/// No block starts that would, at the pace of the last one, end more than half its length late.
///
/// # Errors
/// The first error of `measure`.
pub(crate) fn run_blocks<E>(
    schedule: &Schedule,
    clock: &dyn Clock,
    bounds: Bounds,
    mut measure: impl FnMut(&[Turn]) -> Result<bool, E>,
) -> Result<Stop, E> {
    let mut length = 0.0;
    for block in bounds.first_block..bounds.at_most {
        let start = clock.now().0;
        if block >= bounds.at_least && start + length / 2.0 >= bounds.deadline.0 {
            return Ok(Stop::Budget);
        }
        let enough = measure(&schedule.block(block))?;
        length = clock.now().0 - start;
        if enough && block + 1 >= bounds.at_least && block % 2 == 1 {
            return Ok(Stop::Narrow);
        }
    }
    Ok(Stop::Blocks)
}

#[cfg(test)]
mod tests;
