//! The command line: all commands with their flags.

use super::analyse::*;
use super::engine::*;
use super::measure::*;
use clap::{Parser, Subcommand};

/// Measure self-speculative decoding (S3D) of a model on this machine, choose which layers to skip
/// and how many tokens to draft, and say how sure that is.
#[derive(Debug, Parser)]
#[command(name = "s3d", version = crate::shared::version::VERSION, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole job: measure, fit, choose, check the choice, report
    Run(RunArgs),
    /// Measure some kinds of observation into a run directory
    Measure(MeasureArgs),
    /// Fit acceptance curves and cost laws to a run directory
    Fit(FitArgs),
    /// Choose skip window and predictors, from a run directory or from numbers
    Optimize(OptimizeArgs),
    /// Judge the predictions of a run directory: error, coverage, regret, waterfall
    Validate(ValidateArgs),
    /// What if: expected tokens and speedup from numbers on the command line
    #[command(visible_alias = "what-if")]
    Simulate(SimulateArgs),
    /// Measurements of other engines (pass times, traces, counts) into a run directory
    Import(ImportArgs),
    /// Shards of one measurement (s3d measure --shard) into one run directory
    Merge(MergeArgs),
    /// Pass times and memory of a card that was never measured, from its data sheet
    Derive(DeriveArgs),
    /// Write page, figures and tables of a run directory
    Report(ReportArgs),
    /// Published results beside the model's predictions
    Paper(PaperArgs),
    /// The choice of a run directory in the forms other engines read
    Export(ExportArgs),
    /// Decode with S3D, stream the text, print speed and speedup
    Generate(GenerateArgs),
    /// Train a model for simultaneous drafting
    Train(TrainArgs),
    /// List the tokens that drafts are chosen from: the most frequent ones of texts
    DraftVocabulary(DraftVocabularyArgs),
    /// Shape and memory of a model, its logits, or what a run directory holds
    Inspect(InspectArgs),
    /// The machine: bandwidth, multiply-add rate, and what would make measuring better
    Doctor(DoctorArgs),
    /// Completions of the command line for a shell, to standard output
    Completions(CompletionsArgs),
    /// The manual page, to standard output; with --out one page for every command
    Man(ManArgs),
    /// Decodes for the process that started it
    #[command(hide = true)]
    DecodeChild(DecodeChildArgs),
    /// Measures peak memory of a child process
    #[command(hide = true)]
    MemoryChild(MemoryChildArgs),
}
