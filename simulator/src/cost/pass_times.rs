//! Pass times in situ, in plain steps: every sample is divided by the plain pass of its own block,
//! so that drift of the machine cancels, and brought to the context of the question.
//!
//! What was timed is a [`PassTime`] with its standard error; what was not comes from a law over the
//! layers kept and the width ([`draft_law`]), with the error that this law shows on windows that
//! were left out.

mod context_slope;
pub mod draft_law;
mod keys;

pub use context_slope::ContextSlope;

use crate::cost::model::PassTime;
use crate::error::{Error, Result};
use crate::statistics::{MEDIAN_ERROR, median, robust_mean};
use context_slope::context_slope;
use draft_law::DraftLaw;
use keys::{Key, kept_share, keyed};
use s3d_data::{BlockPurpose, Draft, Drafting, Plan, Run, ThroughputSample};
use std::collections::BTreeMap;

/// All pass times of a run at one context.
#[derive(Debug, Clone)]
pub struct PassTimes {
    /// Layers of the model.
    pub layers: usize,
    /// The context that all times hold for.
    pub context: usize,
    /// Seconds of a plain pass of width 1, with its standard error.
    pub plain: (f64, f64),
    /// Blocks in which it was timed: one shows no spread, so nothing that rests on it has an
    /// interval.
    pub blocks: usize,
    /// Bookkeeping of one step or iteration (`t_step`), in plain passes.
    pub step: PassTime,
    /// Full passes by width: verify passes where they were timed, else passes outside speculation.
    pub full: BTreeMap<usize, PassTime>,
    /// Draft passes by way and width.
    pub draft: BTreeMap<(Draft, usize), PassTime>,
    /// Growth with the context.
    pub slope: ContextSlope,
    /// The law for draft passes that were not timed.
    pub law: DraftLaw,
    /// Whether the context lies outside those that were timed.
    pub extrapolated: bool,
}

impl PassTimes {
    /// The times of machine number `machine` in `run` at `context` committed tokens.
    ///
    /// # Errors
    /// No timed plain pass, or a time that is not a finite number above 0.
    pub fn new(run: &Run, machine: usize, context: usize) -> Result<Self> {
        Self::of_texts(run, machine, (context, 1))
    }

    /// The times of passes that `batch` texts share, each of them at `context` committed tokens and
    /// with as many rows as a width says. The plain pass, the unit of all times, is that of as many
    /// texts. Rows share the weights, so that a pass over more rows is timed, not computed;
    /// attention is each text's own, so that a pass grows with the context once for every text.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_texts(run: &Run, machine: usize, (context, batch): (usize, usize)) -> Result<Self> {
        let (layers, seen) = (run.header.model.shape.layers, &run.observations);
        let alone = keyed(&seen.latency, machine)?;
        let slope = context_slope(&alone, layers).of_texts(batch);
        let samples = match batch {
            1 => alone,
            _ => keyed(seen.together.latency.iter().filter(|s| s.batch == batch), machine)?,
        };
        let at_context: Vec<(Key, usize, f64)> = samples
            .iter()
            .map(|(key, sample)| {
                let share = kept_share(key, layers);
                let off = context as f64 - sample.context as f64;
                let seconds = sample.seconds.0;
                let moved = seconds + share * slope.at(sample.width) * off;
                (key.clone(), sample.block, moved.max(0.1 * seconds))
            })
            .collect();
        let ((plain, error), blocks) = match plain_pass(&at_context) {
            Some(plain) => plain,
            None if batch == 1 => plain_steps(&seen.throughput, machine)?,
            None => return Err(not_timed(batch)),
        };
        let plain = (plain, error);
        let cells = relative_cells(&at_context, plain.0);
        let (full, draft) = split(cells);
        // What several texts cost beside their passes was not timed, and is little.
        let step = match batch {
            1 => step_cell(&seen.throughput, machine, plain.0),
            _ => PassTime { timed: true, ..PassTime::exact(0.0) },
        };
        // A full pass has another head than a draft over a part of the vocabulary, and says nothing
        // of it.
        let alike = run.header.model.shape.draft_vocab == 0;
        let beside = if alike { full.clone() } else { BTreeMap::new() };
        let law = DraftLaw::new(layers, &draft, &beside, &seen.latency, machine);
        let extrapolated = !samples.is_empty()
            && !samples.iter().any(|(_, s)| s.context <= context)
            || !samples.is_empty() && !samples.iter().any(|(_, s)| s.context >= context);
        Ok(Self { layers, context, plain, blocks, step, full, draft, slope, law, extrapolated })
    }

    /// The full pass over `width` tokens, in plain passes.
    ///
    /// # Errors
    /// No full pass of any width above 1 was timed.
    pub fn full(&self, width: usize) -> Result<PassTime> {
        if width == 1 {
            return Ok(PassTime { value: 1.0, error: 0.0, timed: true });
        }
        if let Some(cell) = self.full.get(&width) {
            return Ok(*cell);
        }
        interpolated(&self.full, width).ok_or_else(|| {
            let advice = "measure latency at the widths of gamma + 1";
            Error::missing(format!("full or verify pass timed near width {width}"), advice)
        })
    }

    /// All draft passes of one iteration of `predictors` drafts, in plain passes.
    ///
    /// # Errors
    /// Not timed, and too little else was timed for a law.
    pub fn draft(&self, way: &Draft, predictors: usize) -> Result<PassTime> {
        let drafting = way.drafting;
        let width = if drafting == Drafting::Simultaneous { predictors } else { 1 };
        let one = match (self.timed(way, width), self.law.predict(way, width)) {
            (Some(timed), Ok(law)) => weighted(timed, law),
            (Some(timed), Err(_)) => timed,
            (None, law) => law?,
        };
        Ok(match drafting {
            Drafting::Simultaneous => one,
            Drafting::Sequential => self.repeated(way, one, predictors),
        })
    }

    /// The timed draft pass; a single token is drafted alike by both draftings.
    fn timed(&self, way: &Draft, width: usize) -> Option<PassTime> {
        let other = match way.drafting {
            Drafting::Simultaneous => Drafting::Sequential,
            Drafting::Sequential => Drafting::Simultaneous,
        };
        let same = self.draft.get(&(way.clone(), width));
        let single = Draft { drafting: other, skip: way.skip.clone() };
        let alike = || self.draft.get(&(single, 1)).filter(|_| width == 1);
        same.or_else(alike).copied()
    }

    /// `sum over i of T(1, c + i)`.
    fn repeated(&self, way: &Draft, one: PassTime, predictors: usize) -> PassTime {
        let times = predictors as f64;
        let share = self.law.kept_layers(&way.skip) / self.layers as f64;
        let growth = share * self.slope.at(1) * times * (times - 1.0) / 2.0 / self.plain.0;
        PassTime { value: one.value * times + growth, error: one.error * times, timed: one.timed }
    }
}

fn not_timed(batch: usize) -> Error {
    let advice = format!("measure them: s3d measure latency --batch {batch}");
    Error::missing(format!("time of a plain pass that {batch} texts share"), advice)
}

/// A timed pass and what the law says of it, weighted by their precision: a pass that was timed
/// once or twice would else be believed too much, and the luckiest of many such passes chosen.
fn weighted(timed: PassTime, law: PassTime) -> PassTime {
    let (t, l) = (timed.error.max(1e-9).powi(-2), law.error.max(1e-9).powi(-2));
    let value = (t * timed.value + l * law.value) / (t + l);
    PassTime { value, error: (t + l).sqrt().recip(), timed: true }
}

/// A time with its standard error, and the blocks that it was seen in.
type Seen = ((f64, f64), usize);

/// Plain passes of width 1: median over blocks of the block's median.
fn plain_pass(samples: &[(Key, usize, f64)]) -> Option<Seen> {
    let blocks: Vec<f64> = plain_by_block(samples).into_values().collect();
    Some((robust_mean(&blocks)?, blocks.len()))
}

fn plain_by_block(samples: &[(Key, usize, f64)]) -> BTreeMap<usize, f64> {
    let mut blocks: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (key, block, seconds) in samples {
        if *key == Key::Full(1) {
            blocks.entry(*block).or_default().push(*seconds);
        }
    }
    blocks.into_iter().filter_map(|(block, times)| Some((block, median(&times)?))).collect()
}

/// Plain steps of end-to-end blocks, where no plain pass was timed by itself.
fn plain_steps(throughput: &[ThroughputSample], machine: usize) -> Result<Seen> {
    // What confirms a choice must not change the prediction that led to it.
    let plain = |s: &&ThroughputSample| {
        s.machine == machine && s.plan == Plan::Plain && s.purpose() != BlockPurpose::Confirm
    };
    let steps = throughput.iter().filter(plain).filter(|s| s.iterations > 0);
    let seconds: Vec<f64> = steps.map(|s| s.verify_seconds.0 / s.iterations as f64).collect();
    let plain = robust_mean(&seconds).filter(|plain| plain.0 > 0.0).ok_or_else(|| {
        Error::missing("time of a plain pass", "measure latency or throughput, plain included")
    })?;
    Ok((plain, seconds.len()))
}

/// Every cell in plain passes: within-block ratios, their median over blocks, its error.
fn relative_cells(samples: &[(Key, usize, f64)], plain: f64) -> BTreeMap<Key, PassTime> {
    let blocks = plain_by_block(samples);
    let mut ratios: BTreeMap<&Key, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
    for (key, block, seconds) in samples {
        let unit = blocks.get(block).copied().unwrap_or(plain);
        ratios.entry(key).or_default().entry(*block).or_default().push(seconds / unit);
    }
    let medians: BTreeMap<&Key, Vec<f64>> = ratios
        .into_iter()
        .map(|(key, blocks)| (key, blocks.values().filter_map(|b| median(b)).collect()))
        .collect();
    let typical = typical_spread(medians.values());
    let cell = |(key, blocks): (&Key, Vec<f64>)| {
        let (value, error) = robust_mean(&blocks)?;
        let usual = MEDIAN_ERROR * typical * value / (blocks.len() as f64).sqrt();
        Some((key.clone(), PassTime { value, error: error.max(usual), timed: true }))
    };
    medians.into_iter().filter_map(cell).collect()
}

/// The median over cells of their relative spread between blocks: few blocks of one cell say little
/// about it, all cells together say enough. Two percent where no cell has two blocks.
fn typical_spread<'a>(cells: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    let spread = |blocks: &Vec<f64>| {
        let (value, error) = robust_mean(blocks)?;
        Some(error / MEDIAN_ERROR * (blocks.len() as f64).sqrt() / value)
    };
    let all: Vec<f64> = cells.filter(|blocks| blocks.len() >= 2).filter_map(spread).collect();
    median(&all).unwrap_or(0.02)
}

type FullAndDraft = (BTreeMap<usize, PassTime>, BTreeMap<(Draft, usize), PassTime>);

fn split(cells: BTreeMap<Key, PassTime>) -> FullAndDraft {
    let (mut full, mut draft) = (BTreeMap::new(), BTreeMap::new());
    for (key, cell) in cells {
        match key {
            // Keys are sorted: a verify pass comes after, and replaces, a full pass of its width.
            Key::Full(width) | Key::Verify(width) => drop(full.insert(width, cell)),
            Key::Draft(way, width) => drop(draft.insert((way, width), cell)),
        }
    }
    (full, draft)
}

/// What end-to-end blocks spend beside prompt, draft and verify passes, per step.
fn step_cell(throughput: &[ThroughputSample], machine: usize, plain: f64) -> PassTime {
    let rest = |s: &ThroughputSample| {
        let rest = s.decode_seconds() - s.draft_seconds - s.verify_seconds;
        (rest.0 / s.iterations as f64 / plain).max(0.0)
    };
    let usable =
        |s: &&ThroughputSample| s.machine == machine && s.iterations > 0 && s.plan != Plan::Stock;
    let all: Vec<f64> = throughput.iter().filter(usable).map(rest).collect();
    let (value, error) = robust_mean(&all).unwrap_or((0.0, 0.0));
    PassTime { value, error, timed: !all.is_empty() }
}

/// Between (or beyond) the timed widths, linear.
fn interpolated(cells: &BTreeMap<usize, PassTime>, width: usize) -> Option<PassTime> {
    let below = cells.range(..width).next_back();
    let above = cells.range(width + 1..).next();
    let (left, right) = match (below, above) {
        (Some(left), Some(right)) => (left, right),
        (Some(last), None) => (cells.range(..*last.0).next_back()?, last),
        (None, Some(first)) => (first, cells.range(first.0 + 1..).next()?),
        (None, None) => return None,
    };
    let share = (width as f64 - *left.0 as f64) / (*right.0 as f64 - *left.0 as f64);
    let value = left.1.value + (right.1.value - left.1.value) * share;
    let error = left.1.error.hypot(right.1.error) + 0.01 * value;
    Some(PassTime { value, error, timed: false })
}
