//! What was typed: the command line as clap reads it. What it means is resolved in `resolve.rs`.

mod generated;

pub use generated::{Shell, completions, manual};

use clap::{Args, Parser, Subcommand, ValueEnum};
use s3d_data::{Bytes, Drafting, Seconds, Shard};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure self-speculative decoding (S3D) of a model on this machine, choose which layers to skip
/// and how many tokens to draft, and say how sure that is.
#[derive(Debug, Parser)]
#[command(name = "s3d", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Reads the command line; help, version and complaints are printed here, with their exit code.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| match error.print() {
        Ok(()) => ExitCode::from(error.exit_code() as u8),
        Err(_) => ExitCode::FAILURE,
    })
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
    Simulate(SimulateArgs),
    /// Measurements of other engines (pass times, traces, counts) into a run directory
    Import(ImportArgs),
    /// Shards of one measurement (s3d measure --shard) into one run directory
    Merge(MergeArgs),
    /// Pass times and memory of a card that was never measured, from its data sheet
    Derive(DeriveArgs),
    /// Write page, figures and tables of a run directory
    Report(ReportArgs),
    /// The published tables beside what the model says
    Paper(PaperArgs),
    /// The choice of a run directory in the forms other engines read
    Export(ExportArgs),
    /// Decode with S3D, stream the text, print speed and speedup
    Generate(GenerateArgs),
    /// Train a model for simultaneous drafting
    Train(TrainArgs),
    /// Shape and memory of a model, its logits, or what a run directory holds
    Inspect(InspectArgs),
    /// The machine: bandwidth, multiply-add rate, and what would make measuring better
    Doctor(DoctorArgs),
    /// Completions of the command line for a shell, to standard output
    Completions(CompletionsArgs),
    /// The manual page, to standard output; with --out one page for every command
    Man(ManArgs),
    /// Measures peak memory of a child process
    #[command(hide = true)]
    MemoryChild(MemoryChildArgs),
}

/// Which model, and how it runs.
#[derive(Debug, Args, Clone)]
pub struct ModelArgs {
    /// A Hugging Face checkpoint folder, a GGUF file, the name of a shipped model, one on the Hub, or a
    /// geometry with random weights for timing: tinyllama-1.1b, phi-3-mini, qwen3-4b, llama-2-7b,
    /// llama-3-8b, llama-2-13b, custom
    #[arg(long, value_name = "DIR|FILE.gguf|NAME", default_value = "story")]
    pub model: String,
    /// Fetch the model where it names one on the Hugging Face Hub (ORG/NAME or ORG/NAME/FILE.gguf)
    #[arg(long)]
    pub download: bool,
    /// A tokenizer.json in place of the model's own
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Sizes of --model custom, as a config.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep the first N layers of a geometry
    #[arg(long, value_name = "N")]
    pub layers: Option<usize>,
    /// Where to run: cpu, cuda or cuda:N with a program built with CUDA; cuda+graphs records the passes of decoding
    /// and repeats each with one launch (CUDA graphs)
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Precision of the weights as they run: f32, bf16, f16, q8_0, q4_k or q4_0
    #[arg(long, default_value = "f32")]
    pub dtype: String,
    /// Widen the model N times without changing its function (1, 2 or 4) [default: 2 for a shipped model, else 1]
    #[arg(long, value_name = "N")]
    pub widen: Option<usize>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// What is measured and for how long.
#[derive(Debug, Args, Clone)]
pub struct BudgetArgs {
    /// Folder of the run directory
    #[arg(long, value_name = "DIR", default_value = "s3d-out")]
    pub out: PathBuf,
    /// Time for measuring, such as 120s or 5m
    #[arg(long, value_name = "TIME", default_value = "120s")]
    pub time_budget: Seconds,
    /// Context that the choice is made for, in tokens
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub context: usize,
    /// Output tokens per prompt
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub tokens: usize,
    /// Largest number of predictors looked at
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub gamma_max: usize,
    /// Prompts, one JSON object with "text" (and "task", "id") a line [default: the model's own]
    #[arg(long, value_name = "FILE.jsonl")]
    pub prompts: Option<PathBuf>,
    /// Use the first N prompts
    #[arg(long, value_name = "N")]
    pub prompt_count: Option<usize>,
    /// Windows looked at: symmetric ones, or all contiguous ones (first on few prompts, then further
    /// where the choice is undecided)
    #[arg(long, value_enum, default_value = "symmetric")]
    pub windows: Windows,
    /// Make drafts right with these probabilities, one per predictor, instead of measuring acceptance
    #[arg(long, value_delimiter = ',', value_name = "RATES")]
    pub impose: Vec<f64>,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// No progress
    #[arg(long)]
    pub quiet: bool,
}

/// Which windows of skipped layers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Windows {
    Symmetric,
    All,
}

/// How a result is printed.
#[derive(Debug, Args, Clone)]
pub struct OutputArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the result as Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// `s3d run`
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Memory that the choice must fit, such as 8GiB
    #[arg(long, value_name = "SIZE")]
    pub memory_budget: Option<Bytes>,
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
    /// Keep the draft's confidence at every position
    #[arg(long)]
    pub confidence: bool,
    /// Measure part I of N of the work alone, to be put together by s3d merge
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Start over where the folder holds a run
    #[arg(long)]
    pub force: bool,
}

/// Whose times count where a run was merged from several machines.
#[derive(Debug, Args, Clone, Copy)]
pub struct MachineArgs {
    /// Of a run merged from several machines: take the times of this one, counted from 0 as in run.json
    /// [default: the first that timed passes]
    #[arg(long, value_name = "N")]
    pub machine: Option<usize>,
}

/// `s3d fit`
#[derive(Debug, Args)]
pub struct FitArgs {
    /// Run directory; of several checkpoints of one training, how U rises is shown
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
    #[arg(long, value_name = "U")]
    pub u: Option<f64>,
    /// Centre of logistic
    #[arg(long)]
    pub centre: Option<f64>,
    /// Slope of logistic
    #[arg(long)]
    pub slope: Option<f64>,
    /// Ceiling: one for all predictors, or one per predictor
    #[arg(long, value_delimiter = ',', value_name = "A0")]
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
    #[arg(long, value_name = "SIZE")]
    pub memory_budget: Option<Bytes>,
    /// Context that the choice is made for, in tokens: 512, a range 256..4096, or with weights
    /// 256:3,1024:1 [default: the run's]
    #[arg(long, value_name = "N|A..B|N:W,..")]
    pub context: Option<String>,
    /// Largest number of predictors
    #[arg(long, value_name = "N")]
    pub gamma_max: Option<usize>,
    /// Pass times of another machine: a run directory, or the name of a shipped profile such as
    /// a10g/llama-2-7b-f16; acceptance comes from --curve, or from the run directory
    #[arg(long, value_name = "NAME|DIR", conflicts_with_all = ["layers", "costs"])]
    pub profile: Option<String>,
    /// Write the best free sets of sub-layers as skip lists into this folder, to be measured
    #[arg(long, value_name = "DIR", requires = "dirs")]
    pub write_sets: Option<PathBuf>,
    /// Layers of a model that was not measured
    #[arg(long, value_name = "N", conflicts_with = "dirs")]
    pub layers: Option<usize>,
    #[command(flatten)]
    pub curve: CurveArgs,
    /// Costs of passes (TOML) of a model that was not measured
    #[arg(long, value_name = "FILE.toml", conflicts_with = "dirs")]
    pub costs: Option<PathBuf>,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1)]
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
    #[arg(long, value_name = "N")]
    pub rivals: Option<usize>,
    /// Take regret of the choice that this run recorded [default: the run directory's own]
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

/// `s3d simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Layers of the model
    #[arg(long, value_name = "N")]
    pub layers: Option<usize>,
    /// Layers skipped while drafting
    #[arg(long, value_name = "N")]
    pub skip: Option<usize>,
    /// Tokens drafted per iteration
    #[arg(long, value_name = "N")]
    pub predictors: Option<usize>,
    /// Acceptance rates: one for all predictors, or one per predictor
    #[arg(long, value_delimiter = ',', value_name = "RATES", conflicts_with = "curve")]
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
    #[arg(long, requires = "traces")]
    pub oracle: bool,
    /// Sequences decoded together
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// Whether both times hold the prompt pass
    #[arg(long, value_enum, default_value = "include")]
    pub prompt_pass: PromptPass,
    /// Committed tokens at which passes are charged, without traces
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub context: usize,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `s3d import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// CSV of pass times (width,context,seconds), JSON of an affine law, JSONL or CSV of traces or of
    /// counts, or the tables of a run directory (docs/IMPORT.md)
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Folder of the run directory
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Layers of the model
    #[arg(long, value_name = "N")]
    pub layers: usize,
    /// The model's name
    #[arg(long, value_name = "NAME", default_value = "imported")]
    pub model: String,
    /// The machine or card
    #[arg(long, value_name = "NAME", default_value = "unknown machine")]
    pub machine: String,
    /// Precision of the weights
    #[arg(long, default_value = "f16")]
    pub dtype: String,
    /// Largest number of predictors looked at
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub gamma_max: usize,
    /// Context that the choice is made for, in tokens
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub context: usize,
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

/// `s3d derive`
#[derive(Debug, Args)]
pub struct DeriveArgs {
    /// The card: a100, a10g, h100, h200, l4, rtx-3060, rtx-4090 or t4
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
    /// Share of the card's bandwidth that passes reach [default: as measured profiles show, else 0.75]
    #[arg(long, value_name = "SHARE")]
    pub bandwidth_share: Option<f64>,
    /// Share of the card's dense rate that wide passes reach
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub compute_share: f64,
    /// Largest number of predictors
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub gamma_max: usize,
    /// Context that choices are made for, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub context: usize,
}

/// `s3d report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directories; several are compared
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
    /// Folder for the comparison of several
    #[arg(long, value_name = "DIR", default_value = "s3d-comparison")]
    pub out: PathBuf,
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
    /// Run directories whose measured rows stand beside the published ones
    #[arg(long = "run", value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// A CSV with further published figures (columns of data/published/beagle_a10g.csv)
    #[arg(long, value_name = "FILE.csv")]
    pub figures: Option<PathBuf>,
    /// Folder for page, figures and tables
    #[arg(long, value_name = "DIR", default_value = "s3d-paper")]
    pub out: PathBuf,
}

/// `s3d export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Run directory
    pub dir: PathBuf,
    /// Write its header and tables into this folder instead, for other programs and `s3d import`
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
}

/// How tokens are chosen from what the model says.
#[derive(Debug, Args, Clone)]
pub struct SamplingArgs {
    /// Draw tokens at this temperature; 0 takes the most likely token [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from the K most likely tokens
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<usize>,
    /// Draw from the fewest tokens whose probabilities reach P together
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `s3d generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The text to continue
    #[arg(long)]
    pub prompt: String,
    /// Take the prompt as what a user says, in the model's chat template
    #[arg(long)]
    pub chat: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The plan, such as plain, 3..9:4 or seq:3..9:4 [default: the one recorded with the model]
    #[arg(long, conflicts_with = "run")]
    pub plan: Option<String>,
    /// Take the plan that this run directory chose
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// End a draft before the first token that is less sure than X (its top probability); 0 = never
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    pub draft_threshold: f64,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Output tokens
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub tokens: usize,
    /// Stop when the text ends with this
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Print the result as JSON instead of streaming the text
    #[arg(long)]
    pub json: bool,
}

/// What of a checkpoint is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Low-rank adapters of draft rows and the masks: the model's own text stays, to the bit
    Adapters,
    /// All weights: drafts without adapters to compute, and another text
    Joint,
}

/// What drafts learn to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Targets {
    /// The tokens that the model itself finds most likely at each place of the texts: greedy decoding
    /// accepts the most. With adapters only
    Choices,
    /// The tokens of the texts: sampling at temperature 1 accepts the most
    Text,
}

/// What a preset learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Objective {
    /// Its text, and to draft
    Drafts,
    /// Its text alone: a model without masks
    Text,
}

/// `s3d train`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// What to train from nothing: story [default, without --model], or story-large (111 M parameters, for a
    /// card); or, with --model, story: to train it on generated texts
    #[arg(long, value_name = "NAME", conflicts_with = "corpus")]
    pub preset: Option<String>,
    /// What a preset learns
    #[arg(long, value_enum, default_value = "drafts", conflicts_with = "model")]
    pub objective: Objective,
    /// A checkpoint folder without mask predictors, which is to get them; it is not changed
    #[arg(long, value_name = "DIR")]
    pub model: Option<String>,
    /// Texts to train --model on: UTF-8, or .jsonl with {"text": ...} or {"prompt": ...} on each line; the
    /// last tenth of each file is held out
    #[arg(long, value_name = "FILES", num_args = 1.., requires = "model")]
    pub corpus: Vec<PathBuf>,
    /// What of --model is trained
    #[arg(long, value_enum, default_value = "adapters", requires = "model")]
    pub method: Method,
    /// What the drafts of --model learn to predict [default: choices, or text with --method joint]
    #[arg(long, value_enum, requires = "model")]
    pub targets: Option<Targets>,
    /// Rank of the adapters
    #[arg(long, value_name = "R", default_value_t = 16, requires = "model")]
    pub rank: usize,
    /// Tokens that --model is to draft at once
    #[arg(long, value_name = "N", default_value_t = 8, requires = "model")]
    pub gamma_max: usize,
    /// Text tokens of a sample of --corpus [default: 384, or what the model can]
    #[arg(long, value_name = "TOKENS", requires = "model")]
    pub context: Option<usize>,
    /// Samples of a step on --corpus
    #[arg(long, value_name = "N", default_value_t = 4, requires = "model")]
    pub batch: usize,
    /// Highest learning rate on --corpus [default: 0.002, or 0.0003 with --method joint]
    #[arg(long, value_name = "RATE", requires = "model")]
    pub learning_rate: Option<f32>,
    /// Folder for the trained model
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where to train: cpu, cuda or cuda:N with a program built with CUDA
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Optimizer steps; the recipe's stages stretch over them [default: the preset's; 600 with --model]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// As many steps as take about so many seconds of processor time, by the first steps' times
    #[arg(long, value_name = "SECONDS", conflicts_with = "steps")]
    pub cpu_seconds: Option<f64>,
    /// Judge on held-out text every N steps; 0 for never
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub validate_every: u64,
    /// Save a resumable checkpoint every N steps
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub checkpoint_every: u64,
    /// Keep the model as it was after these steps too, in folders step-N of --out
    #[arg(long, value_delimiter = ',', value_name = "STEPS")]
    pub keep: Vec<u64>,
    /// Seed of corpus, weights and batches
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// No progress
    #[arg(long)]
    pub quiet: bool,
}

/// `s3d inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A checkpoint folder, a GGUF file, the name of a shipped model or of a geometry, or a run directory
    #[arg(value_name = "MODEL|DIR", default_value = "story")]
    pub target: String,
    /// Sizes of the geometry custom, as a config.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep the first N layers of a geometry
    #[arg(long, value_name = "N")]
    pub layers: Option<usize>,
    /// Print the full-depth logits after the last of these token ids
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    pub logits: Vec<u32>,
    /// Context for the memory table, in tokens
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub context: usize,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `s3d doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What to look at: cpu, cuda or cuda:N, which also compares what the card computes with the CPU
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `s3d completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `s3d man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for s3d.1, s3d-run.1, ... [default: s3d.1 alone, to standard output]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The hidden child of the memory measurement.
#[derive(Debug, Args)]
pub struct MemoryChildArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Context in tokens
    #[arg(long)]
    pub context: usize,
    /// Widest pass
    #[arg(long)]
    pub width: usize,
}
