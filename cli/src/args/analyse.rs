//! Flags of the commands that need no model: fit, optimize, validate, simulate, import, derive,
//! report, paper, export.

use super::contexts::Contexts;
use super::numbers;
use super::shared::{MachineArgs, OutputArgs, with_unit};
use clap::{Args, ValueEnum};
use s3d_data::{Bytes, Drafting, SkipWindow};
use std::path::PathBuf;

/// `s3d fit`
#[derive(Debug, Args)]
pub struct FitArgs {
    /// Run directories; with several checkpoints of one training, shows U over training
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// An acceptance curve in words and numbers.
#[derive(Debug, Args, Clone)]
pub struct CurveArgs {
    /// Family: power, superellipse, exponential, decay or logistic
    #[arg(long, value_name = "FAMILY")]
    pub curve: Option<String>,
    /// Shape parameter U of power, superellipse, exponential and decay
    #[arg(long, value_name = "U", requires = "curve", value_parser = numbers::finite)]
    pub u: Option<f64>,
    /// Centre of logistic
    #[arg(long, requires = "curve", value_parser = numbers::finite)]
    pub centre: Option<f64>,
    /// Slope of logistic
    #[arg(long, requires = "curve", value_parser = numbers::finite)]
    pub slope: Option<f64>,
    /// Ceiling: one for all predictors, or one per predictor
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A0",
        requires = "curve",
        value_parser = numbers::finite
    )]
    pub ceiling: Vec<f64>,
}

/// `s3d optimize`
#[derive(Debug, Args)]
pub struct OptimizeArgs {
    /// Run directory; of several (precisions, devices, checkpoints) the best is chosen from all
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Memory that the choice must fit, such as 8GiB
    #[arg(long, value_name = "SIZE", value_parser = with_unit, conflicts_with = "layers")]
    pub memory_budget: Option<Bytes>,
    /// Context length to choose a plan for, in tokens: 512, a range 256..4096, or with weights
    /// 256:3,1024:1 [default: the run's]
    #[arg(long, value_name = "N|A..B|N:W,..")]
    pub context: Option<String>,
    /// Largest number of predictors
    #[arg(long, value_name = "N", value_parser = numbers::predictors())]
    pub gamma_max: Option<usize>,
    /// Refuse a run whose texts were not drawn at this temperature (0: greedy)
    #[arg(long, value_name = "T", allow_negative_numbers = true, requires = "dirs")]
    pub temperature: Option<f64>,
    /// The --top-p that belongs to --temperature
    #[arg(long, value_name = "P", allow_negative_numbers = true, requires = "temperature")]
    pub top_p: Option<f64>,
    /// Pass times of another machine: a run directory, or the name of a shipped profile such as
    /// a10g/llama-2-7b-f16; acceptance comes from --curve, or from the run directory
    #[arg(long, value_name = "NAME|DIR", conflicts_with_all = ["layers", "costs"])]
    pub profile: Option<String>,
    /// Write the best free sets of sub-layers as skip lists into this folder, to be measured
    #[arg(long, value_name = "DIR", requires = "dirs")]
    pub write_sets: Option<PathBuf>,
    /// Layers of a model that was not measured
    #[arg(long, value_name = "N", conflicts_with = "dirs", value_parser = numbers::layers())]
    pub layers: Option<usize>,
    #[command(flatten)]
    pub curve: CurveArgs,
    /// Assume this acceptance for an imported run: one rate, or one per draft
    #[arg(long, value_delimiter = ',', value_name = "RATES", requires = "dirs")]
    pub alphas: Vec<f64>,
    /// Costs of passes (TOML) of a model that was not measured
    #[arg(long, value_name = "FILE.toml", conflicts_with = "dirs", requires = "layers")]
    pub costs: Option<PathBuf>,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1, conflicts_with_all = ["layers", "curve"])]
    pub seed: u64,
}

/// `s3d validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Run directory
    pub dir: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
    /// After a sweep: only print the choice and the N fastest other plans, to be measured once more
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["json", "markdown"],
        value_parser = numbers::listed()
    )]
    pub rivals: Option<usize>,
    /// Judge the choice of this run directory [default: the run directory's own]
    #[arg(long, value_name = "DIR")]
    pub choice_of: Option<PathBuf>,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Whether times hold the prompt pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PromptPass {
    Include,
    Exclude,
}

/// How the number of drafts is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    Auto,
}

/// `s3d simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Run directory, for --policy or --trees
    #[arg(
        value_name = "RUN",
        conflicts_with_all = [
            "layers", "skip", "predictors", "alphas", "curve", "drafting", "costs", "traces", "batch",
            "context"
        ]
    )]
    pub run: Option<PathBuf>,
    /// Replay drafts that adapt over the texts of the run directory: what they gain over the best
    /// fixed number of drafts
    #[arg(long, value_enum, value_name = "POLICY", requires = "run")]
    pub policy: Option<Policy>,
    /// Whether a tree of drafts would pay in place of a chain, from a run directory that was traced
    /// with --ranks
    #[arg(long, requires = "run", conflicts_with = "policy")]
    pub trees: bool,
    /// Rows of the largest tree that is looked at: its drafts and the last token
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        requires = "trees",
        value_parser = numbers::tree_rows()
    )]
    pub rows: usize,
    /// Layers of the model
    #[arg(long, value_name = "N", value_parser = numbers::layers())]
    pub layers: Option<usize>,
    /// Layers skipped while drafting
    #[arg(long, value_name = "N")]
    pub skip: Option<usize>,
    /// Tokens drafted per iteration
    #[arg(long, value_name = "N")]
    pub predictors: Option<usize>,
    /// Acceptance rates: one for all predictors, or one per predictor
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "RATES",
        conflicts_with_all = ["curve", "u", "centre", "slope", "ceiling"],
        value_parser = numbers::finite
    )]
    pub alphas: Vec<f64>,
    #[command(flatten)]
    pub curve: CurveArgs,
    /// How drafts are made: simultaneous or sequential [default: the traces', else simultaneous]
    #[arg(long)]
    pub drafting: Option<Drafting>,
    /// Costs of passes (TOML)
    #[arg(long, value_name = "FILE.toml")]
    pub costs: Option<PathBuf>,
    /// Traces (JSONL), replayed instead of acceptance rates
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["alphas", "curve"])]
    pub traces: Option<PathBuf>,
    /// Draft exactly as many tokens as will be accepted
    #[arg(long, requires = "traces", conflicts_with_all = ["predictors", "alphas", "curve"])]
    pub oracle: bool,
    /// Sequences decoded together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = numbers::batch())]
    pub batch: usize,
    /// Whether to include the prompt pass in both times
    #[arg(
        long,
        value_enum,
        default_value = "include",
        requires = "traces",
        conflicts_with_all = ["alphas", "curve"]
    )]
    pub prompt_pass: PromptPass,
    /// Context length at which passes are costed, if there are no traces
    #[arg(
        long,
        value_name = "N",
        default_value_t = 256,
        conflicts_with = "traces",
        value_parser = numbers::tokens()
    )]
    pub context: usize,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `s3d import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What another engine wrote (llama-bench, llama-batched-bench, vLLM's log or metrics, SGLang's
    /// bench_speculative, Spec-Bench, EAGLE, SWIFT, llama-spec-bench, LayerSkip's sweep), known by
    /// content; or pass times, a law, traces, counts, the tables of a run (docs/IMPORT.md)
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Folder of the run directory
    #[arg(long, value_name = "DIR", default_value = "s3d-import")]
    pub out: PathBuf,
    /// Layers of the model; not needed where --model names a known geometry
    #[arg(long, value_name = "N", value_parser = numbers::layers())]
    pub layers: Option<usize>,
    /// The model's name; a known geometry (llama-2-7b, ...) also says its memory [default: what the
    /// files say]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The machine or card [default: what the files say]
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// Precision of the weights [default: what the files say]
    #[arg(long)]
    pub dtype: Option<String>,
    /// How drafts were made, for files that do not say: sequential (one pass a draft: draft models,
    /// EAGLE, MTP, LayerSkip, SWIFT) or simultaneous (all in one pass: S3D, Medusa)
    #[arg(long)]
    pub drafting: Option<Drafting>,
    /// Layers that drafts skipped, if the files do not say, such as 8..24
    #[arg(long, value_name = "A..B")]
    pub skip: Option<SkipWindow>,
    /// Time of a draft pass over that of a full pass of its width, where it was not timed: 0.25
    #[arg(long, value_name = "SHARE", value_parser = numbers::finite)]
    pub draft_share: Option<f64>,
    /// Times of a draft model's passes: a file in any form that holds pass times
    #[arg(long, value_name = "FILE", conflicts_with = "draft_share")]
    pub draft_times: Option<PathBuf>,
    /// Tokens drafted per iteration, for files that do not say
    #[arg(long, value_name = "N", value_parser = numbers::predictors())]
    pub draft_length: Option<usize>,
    /// Speed of plain decoding, for sweeps that do not hold it
    #[arg(long, value_name = "RATE", value_parser = numbers::finite)]
    pub plain_tokens_per_s: Option<f64>,
    /// Read only rows with this value, of files with several settings; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub only: Vec<String>,
    /// Largest number of predictors looked at
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = numbers::predictors())]
    pub gamma_max: usize,
    /// Context length to choose a plan for, in tokens [default: that of the timed passes, else 256]
    #[arg(long, value_name = "N", value_parser = numbers::tokens())]
    pub context: Option<usize>,
}

/// `s3d derive`
#[derive(Debug, Args)]
pub struct DeriveArgs {
    /// The card: a100, a10g, h100, h200, l4, rtx-3060, rtx-4090 or t4, in any common
    /// spelling (RTX 4090)
    #[arg(long, value_name = "NAME")]
    pub card: String,
    /// The model: llama-2-7b, llama-3-8b, phi-3-mini, tinyllama-1.1b, ...
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Precision of the weights
    #[arg(long, default_value = "f16")]
    pub dtype: String,
    /// Folder of the run directory
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of the card's bandwidth that passes reach [default: as measured profiles show, else
    /// 0.75]
    #[arg(long, value_name = "SHARE", value_parser = numbers::finite)]
    pub bandwidth_share: Option<f64>,
    /// Share of the card's dense rate that wide passes reach
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = numbers::finite)]
    pub compute_share: f64,
    /// Largest number of predictors
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = numbers::predictors())]
    pub gamma_max: usize,
    /// Context that choices are made for, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = numbers::tokens())]
    pub context: usize,
    /// Experts of each layer: a mixture of experts, each as large as the model's MLP
    #[arg(long, value_name = "N", requires = "active", value_parser = numbers::experts())]
    pub experts: Option<usize>,
    /// Experts that one token uses
    #[arg(long, value_name = "N", requires = "experts", value_parser = numbers::experts())]
    pub active: Option<usize>,
    /// Distinct experts that passes were seen to touch: a CSV with the columns rows, experts
    /// [default: tokens are routed independently]
    #[arg(long, value_name = "FILE.csv", requires = "experts")]
    pub experts_touched: Option<PathBuf>,
}

/// `s3d report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directories; several are compared
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
    /// Folder for the comparison of several [default: s3d-comparison]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `s3d paper`
#[derive(Debug, Args)]
pub struct PaperArgs {
    /// Run directories to list beside the published results
    #[arg(long = "run", value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// A CSV with further published figures (columns of data/published/systems.csv)
    #[arg(long, value_name = "FILE.csv")]
    pub figures: Option<PathBuf>,
    /// Folder for page, figures and tables
    #[arg(long, value_name = "DIR", default_value = "s3d-paper")]
    pub out: PathBuf,
}

/// Engines that a choice is exported to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Flags of llama-server
    #[value(name = "llama.cpp")]
    LlamaCpp,
    /// JSON for --speculative-config
    Vllm,
    /// Flags of sglang.launch_server
    Sglang,
    /// Python for the LLM API of TensorRT-LLM
    #[value(name = "tensorrt-llm")]
    TensorrtLlm,
    /// Ten lines of Python
    Transformers,
    /// skip_layers.json
    Swift,
    /// Flags of LayerSkip's generate.py
    Layerskip,
}

/// Tables that engines look a plan up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportTable {
    /// The plan by context
    Context,
}

/// Forms of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    Csv,
    Json,
}

/// `s3d export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Run directory
    pub dir: PathBuf,
    /// The engine that is to use the choice; without, JSON of all forms
    #[arg(long, value_enum, value_name = "ENGINE", conflicts_with = "csv")]
    pub to: Option<Engine>,
    /// Write into this file instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    pub out: Option<PathBuf>,
    /// Write a table of plans instead of the choice; where speculation does not pay it says plain
    #[arg(long, value_enum, value_name = "TABLE", conflicts_with_all = ["to", "csv"])]
    pub table: Option<ExportTable>,
    /// Form of --table [default: by the name of --out, else csv]
    #[arg(long, value_enum, value_name = "FORM", requires = "table")]
    pub format: Option<TableFormat>,
    /// Contexts of --table context, predicted from any run: 256..4096 doubles, or a list [default:
    /// those that the run was asked about]
    #[arg(long, value_name = "A..B|N,N,..", requires = "table")]
    pub context: Option<Contexts>,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Export the best plan although the verdict is not to speculate
    #[arg(long)]
    pub anyway: bool,
    /// Write its header and tables into this folder instead, for other programs and `s3d import`
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
}
