//! Who draws the conclusions while measuring goes on, and who watches.
//!
//! This crate only observes. When to stop, which plans to time and which is best so far are
//! answered by a [`Judge`] (the commands implement it with `simulator`).

use crate::request::Stage;
use s3d_data::{Draft, Estimate, Plan, Run, Seconds};
use std::error::Error;
use std::ops::ControlFlow;

/// An answer, or why there is none.
pub type JudgeResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Where the choice stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// The best speculative plan so far.
    pub best: Option<Plan>,
    /// Its speedup over plain decoding.
    pub speedup: Option<Estimate>,
    /// Half the width of its interval over its value.
    pub half_width: Option<f64>,
    /// The part of it that comes from texts, which differ in how many drafts are accepted.
    pub from_texts: Option<f64>,
    /// Whether the ratio between the leading plans is known narrowly enough to stop.
    pub settled: bool,
}

/// Draws conclusions from what was observed so far.
pub trait Judge {
    /// At most `wanted` speculative plans to measure end to end: the leading ones by prediction,
    /// and some spread over the rest, so that the prediction can be checked where it did not look.
    /// Asked once, after traces and latencies; the answer must depend on `run` alone, since an
    /// interrupted run asks again.
    ///
    /// # Errors
    /// When nothing can be said.
    fn candidates(&mut self, run: &Run, wanted: usize) -> JudgeResult<Vec<Plan>>;

    /// At most `wanted` plans that lead by all that was observed so far, the best first: they are
    /// measured once more, beside each other, to choose among them.
    ///
    /// # Errors
    /// When nothing can be said.
    fn leading(&mut self, run: &Run, wanted: usize) -> JudgeResult<Vec<Plan>>;

    /// The windows and draftings that may hold the best plan, by what was observed so far; none
    /// when nothing can be said (pass times were not measured, say).
    ///
    /// # Errors
    /// When the observations contradict each other.
    fn undecided(&mut self, run: &Run) -> JudgeResult<Option<Vec<Draft>>>;

    /// The best plan for `batch` texts in lockstep, whose passes were timed, and its speedup over
    /// plain decoding of as many; none when nothing can be said.
    ///
    /// # Errors
    /// When the observations contradict each other.
    fn together(&mut self, run: &Run, batch: usize) -> JudgeResult<Option<(Plan, f64)>> {
        let _ = (run, batch);
        Ok(None)
    }

    /// Where the choice stands, asked after every second block.
    ///
    /// # Errors
    /// When nothing can be said.
    fn standing(&mut self, run: &Run) -> JudgeResult<Standing>;
}

/// What is going on.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// The stage.
    pub stage: Stage,
    /// What is being measured, in a few words.
    pub what: &'a str,
    /// Share of the whole run that is done, in `[0, 1]`.
    pub fraction: f64,
    /// Time left of the budget.
    pub left: Seconds,
    /// Where the choice stands.
    pub standing: Option<&'a Standing>,
}

/// Watches a run.
pub trait Progress {
    /// Called often, between measurements. `Break` stops the run: everything finished is kept.
    fn update(&mut self, update: Update<'_>) -> ControlFlow<()>;

    /// Something worth a line of its own, such as the time that is ahead.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn update(&mut self, _: Update<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
