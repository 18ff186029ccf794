//! Turns a model and a request into a run directory of raw observations.
//!
//! [`measure`] goes through the [`Stage`]s of a [`Request`]: the machine's limits, acceptance as
//! traces, latency by component inside whole passes, memory, end-to-end blocks, and the choice once
//! more against plain decoding. All timing follows one [`schedule`]; all time comes from one
//! [`clock`]. Nothing is averaged and nothing is concluded here: raw samples go into the journal of
//! a [`s3d_data::RunDir`], and what to look at next is answered by a [`Judge`].
//!
//! ```
//! use s3d_measure::schedule::Schedule;
//! // Three cells, the first one twice as control.
//! let schedule = Schedule::new(3, Some(0), 42);
//! let block = schedule.block(0);
//! assert_eq!(block.len(), 4);
//! assert_eq!(block.iter().filter(|turn| turn.cell == 0).count(), 2);
//! ```

#![warn(unreachable_pub)]

mod bench;
pub mod clock;
pub mod diagnose;
mod drawing;
mod error;
pub mod machine;
mod pass_watch;
mod record;
pub mod request;
mod robust;
mod run;
pub mod schedule;
mod shards;
mod stages;
pub mod starts;
mod stopping;
pub mod warning;

pub use clock::{Clock, SystemClock};
pub use error::{Error, Result};
pub use machine::card;
pub use record::import;
pub use record::resume::Start;
pub use request::{FurtherStarts, Plans, Prompt, Provenance, Request, Stage, Subject};
pub use run::{Outcome, measure, measure_into};
pub use s3d_data::Stop;
pub use shards::merge;
pub use stages::reference::{Agreement, compare};
pub use stages::{coverage, memory, policy, probe};
pub use stopping::{Judge, JudgeResult, Progress, Quiet, Standing, Update};
pub use warning::Warning;
