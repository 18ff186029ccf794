//! The nouns of S3D, their units, and how they are written down.
//!
//! The record is the interface of this project: `measure` writes a [`RunDir`], and everything after
//! it (`simulator`, `reports`, the commands) only reads one. This crate is the only one that reads
//! and writes records, and it computes nothing: counts and raw samples are kept, rates and means
//! are derived later. No clock and no model is known here; what other engines measured is read by
//! [`import`].
//!
//! ```
//! use s3d_data::{Drafting, Plan, Predictors, SkipWindow};
//! let window = SkipWindow::symmetric(12, 6)?;                        // layers 3..9 of 12
//! let plan = Plan::window(Drafting::Simultaneous, window, Predictors::new(4)?);
//! assert_eq!(plan.to_string(), "3..9:4");
//! assert_eq!(window.skip_ratio(12)?.get(), 0.5);
//! # Ok::<(), s3d_data::Error>(())
//! ```

#![warn(unreachable_pub)]

pub mod datasheets;
mod dtype;
mod error;
pub mod import;
pub mod limits;
pub mod memory;
pub mod output;
pub mod plan;
pub mod published;
pub mod quote;
pub mod records;
pub mod results;
pub mod run;
pub mod shape;
pub mod store;
pub mod units;

pub use datasheets::Device;
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use output::{Holds, Output};
pub use plan::{
    Draft, DraftPlan, Drafting, LayerSet, Plan, Predictors, Skip, SkipRatio, SkipWindow,
};
pub use quote::shown;
pub use records::latency::{Component, LatencySample};
pub use records::memory::{MemoryItem, MemoryRecord, Origin};
pub use records::near_tie::NearTie;
pub use records::observation::{Observation, Observations, Together};
pub use records::policy::{DraftCount, PolicySample};
pub use records::prompt;
pub use records::prompt::{Message, Prompt, load_prompts};
pub use records::throughput::{BlockPurpose, ThroughputSample};
pub use records::trace::{AcceptanceCounts, Trace};
pub use records::trace_file::{load_traces, load_traces_or_empty};
pub use results::{
    AcceptancePoint, Answer, Baseline, Basis, BatchResult, BreakEvenBatch, ContextBasis,
    ContextLimit, ContextResult, ContextRow, CurveFit, Family, Fit, LawFit, LawKind, Parameter,
    PlanResult, PredictionError, Recommendation, RegretBasis, TaskResult,
};
pub use run::adapter::Adapter;
pub use run::card_state::CardState;
pub use run::journal::Journal;
pub use run::shard::{Merged, MergedShard, Shard, Sharding};
pub use run::{
    Cache, Coverage, Drawn, Machine, ModelIdentity, Run, RunDir, RunHeader, SCHEMA_VERSION, Starts,
    Stop, TimesFrom,
};
pub use shape::ModelShape;
pub use store::file::Limit;
pub use store::{cells, file, finite};
pub use units::{Bytes, BytesPerSecond, Estimate, FlopsPerSecond, Hertz, Seconds, Share};
