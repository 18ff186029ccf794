//! Flags of the commands that measure: run, measure, merge, doctor.

use super::analyse::Policy;
use super::numbers;
use super::shared::{BudgetArgs, ModelArgs, OutputArgs, with_unit};
use clap::{Args, ValueEnum};
use s3d_data::{Bytes, Shard};
use std::path::PathBuf;

/// `s3d run`
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Measure until half the width of the speedup's interval is this share of it, such as 2%, or
    /// until the time budget ends
    #[arg(long, value_name = "PERCENT", value_parser = numbers::percent)]
    pub precision: Option<f64>,
    /// Numbers of texts decoded at once, such as 1,2,4,8,16 or 1..16 (doubling): also finds the
    /// best plan for each, and from how many texts on plain decoding wins
    #[arg(long, value_name = "TEXTS", value_parser = numbers::batches)]
    pub batch: Option<numbers::Batches>,
    /// Memory that the choice must fit, such as 8GiB
    #[arg(long, value_name = "SIZE", value_parser = with_unit)]
    pub memory_budget: Option<Bytes>,
    /// Afterwards compare drafts that adapt to the text with the choice, end to end, on up to 20
    /// prompts of each task (more time than --time-budget)
    #[arg(long, value_enum, value_name = "POLICY", conflicts_with_all = ["impose", "temperature"])]
    pub policy: Option<Policy>,
    /// Start over where the folder holds a run
    #[arg(long)]
    pub force: bool,
}

/// A kind of observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Latency,
    Acceptance,
    Memory,
    Throughput,
}

/// `s3d measure`
#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// What to measure
    #[arg(required = true, value_enum)]
    pub kinds: Vec<Kind>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Plans, separated by commas: plain, stock, 4..8:3, seq:4..8:3, set=FILE:3; or all, or @FILE
    #[arg(long, value_name = "PLANS")]
    pub plans: Option<String>,
    /// Time passes that several texts share too: numbers of texts, such as 1,2,4,8,16 or 1..16
    /// (doubling)
    #[arg(long, value_name = "TEXTS", value_parser = numbers::batches)]
    pub batch: Option<numbers::Batches>,
    /// Keep the draft's confidence at every position
    #[arg(long)]
    pub confidence: bool,
    /// Keep the ranks of the right tokens among the draft's most likely ones, for s3d simulate
    /// --trees
    #[arg(long, conflicts_with = "temperature")]
    pub ranks: bool,
    /// Measure only part I of N; s3d merge combines the parts
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Start over where the folder holds a run
    #[arg(long)]
    pub force: bool,
}

/// `s3d merge`
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Run directories of all shards, in any order
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Folder of the merged run directory
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Merge although shards are missing or not finished
    #[arg(long)]
    pub partial: bool,
    /// Replace the run that the folder holds
    #[arg(long)]
    pub force: bool,
}

/// `s3d doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What to look at: cpu, or gpu, gpu:N, cuda or cuda:N, of which it also compares results with
    /// the CPU's
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Allow more --threads than there are cores
    #[arg(long, requires = "threads")]
    pub oversubscribe: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The hidden child that decodes end-to-end blocks.
#[derive(Debug, Args)]
pub struct DecodeChildArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Longest text in tokens
    #[arg(long, value_parser = numbers::tokens())]
    pub context: usize,
    /// Force these acceptance rates, one per predictor
    #[arg(long, value_delimiter = ',', value_name = "RATES", value_parser = numbers::finite)]
    pub impose: Vec<f64>,
    /// Seed of forced acceptance
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The hidden child of the memory measurement.
#[derive(Debug, Args)]
pub struct MemoryChildArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Context in tokens
    #[arg(long, value_parser = numbers::tokens())]
    pub context: usize,
    /// Widest pass
    #[arg(long, value_parser = numbers::tokens())]
    pub width: usize,
}
