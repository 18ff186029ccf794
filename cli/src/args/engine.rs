//! Flags of the commands that use the model or the program itself: generate, train, inspect,
//! completions, man.

use super::numbers;
use super::shared::ModelArgs;
use clap::{Args, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// How tokens are chosen from what the model says.
#[derive(Debug, Args, Clone)]
pub struct SamplingArgs {
    /// Draw tokens at this temperature; 0 takes the most likely token [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from the K most likely tokens
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<usize>,
    /// Sample from the smallest set of most likely tokens whose probabilities sum to P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Seed of the draws
    #[arg(long, default_value_t = 1, requires = "temperature")]
    pub seed: u64,
}

/// `s3d generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The text to continue
    #[arg(long, required_unless_present = "prompt_file")]
    pub prompt: Option<String>,
    /// A file that holds the text to continue; one final line break is ignored
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompt_file: Option<PathBuf>,
    /// Take the prompt as what a user says, in the model's chat template
    #[arg(long)]
    pub chat: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The plan, such as plain, 3..9:4 or seq:3..9:4, or auto:DIR to start from the choice of a run
    /// directory and adapt the number of drafts to the text [default: the one recorded with the
    /// model, else plain]
    #[arg(long, conflicts_with = "run")]
    pub plan: Option<String>,
    /// Use the model, dtype, --widen and chosen plan of this run directory
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Decode a second time, plainly, and compare text and speed [default: on a terminal]
    #[arg(long, conflicts_with = "no_compare")]
    pub compare: bool,
    /// Do not decode a second time
    #[arg(long)]
    pub no_compare: bool,
    /// Stop drafting when the draft's top probability is below X; 0 = never
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    pub draft_threshold: f64,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Output tokens
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = numbers::tokens())]
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
    /// All weights: no adapters at run time, but the model's text changes
    Joint,
}

/// What drafts learn to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Targets {
    /// The tokens that the model itself finds most likely at each place of the texts: greedy
    /// decoding accepts the most. With adapters only
    Choices,
    /// The tokens of the texts: sampling at temperature 1 accepts the most
    Text,
}

/// How frozen matrices are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Products {
    F32,
    Bf16,
}

/// What a preset learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Objective {
    /// The text and drafting
    Drafts,
    /// The text only (no masks)
    Text,
}

/// `s3d train`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// What to train from nothing: story [default, without --model], or story-large (111 M
    /// parameters, for a card); or, with --model, story: to train it on generated texts
    #[arg(long, value_name = "NAME", conflicts_with = "corpus")]
    pub preset: Option<String>,
    /// What a preset learns
    #[arg(long, value_enum, default_value = "drafts", conflicts_with = "model")]
    pub objective: Objective,
    /// The checkpoint to train mask predictors for: a folder or a GGUF file (it is not modified)
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub model: Option<String>,
    /// Texts to train --model on: UTF-8, or .jsonl with {"text": ...} or {"prompt": ...} on each
    /// line, the last tenth of each file held out; or self: what the model itself writes after
    /// --prompts
    #[arg(long, value_name = "FILES|self", num_args = 1.., requires = "model")]
    pub corpus: Vec<PathBuf>,
    /// Prompts of --corpus self, as .jsonl with "text" (and "task", "id") on each line; those with
    /// "split": "held-out" are used only for evaluation; if there are none, every tenth is
    #[arg(long, value_name = "FILES", num_args = 1.., requires = "corpus")]
    pub prompts: Vec<PathBuf>,
    /// Tokens that the model writes after each of --prompts, at most
    #[arg(long, value_name = "N", default_value_t = 160, requires = "prompts")]
    pub own_tokens: usize,
    /// Texts that it writes after each; the first is greedy, further ones are drawn
    #[arg(long, value_name = "N", default_value_t = 1, requires = "prompts")]
    pub own_texts: usize,
    /// Let the model write N more prompts itself, what its chat template expects of a user, and
    /// answer them
    #[arg(long, value_name = "N", default_value_t = 0, requires = "prompts")]
    pub own_questions: usize,
    /// Start from the masks and adapters of an earlier training of the same model
    #[arg(long, value_name = "DIR", requires = "model")]
    pub adapters: Option<PathBuf>,
    /// Windows to train for: A..B for symmetric ones that skip A to B layers, or layers:A..B,C..D
    /// for these ones, which skip layers A to B - 1 and C to D - 1 [default: windows of all
    /// lengths]
    #[arg(long, value_name = "A..B|layers:A..B,...", requires = "model")]
    pub train_windows: Option<String>,
    /// Draft groups of a sample [default: one for every 8 tokens of --context]
    #[arg(long, value_name = "N", requires = "model")]
    pub groups: Option<usize>,
    /// Weight of the loss against the model's full distribution (instead of its most likely token),
    /// 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "model")]
    pub soft: f32,
    /// Weight of the total-variation loss (the rejection probability) instead of cross-entropy, 0
    /// to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "model")]
    pub variation: f32,
    /// Loss weight of each draft relative to the draft before it
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, requires = "model")]
    pub fall: f32,
    /// Compute the loss only over the first N tokens and those of the texts (a smaller head)
    #[arg(long, value_name = "N", requires = "model")]
    pub vocabulary: Option<usize>,
    /// Choose drafts from the N most frequent tokens of the texts alone (a smaller head in draft
    /// passes) [default: the list that --adapters brings, else all tokens]
    #[arg(long, value_name = "N", requires = "model")]
    pub draft_vocabulary: Option<usize>,
    /// How frozen matrices are multiplied: f32, or bf16 on processors with AVX-512 BF16, in half
    /// the time
    #[arg(long, value_enum, default_value = "f32", requires = "model")]
    pub products: Products,
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
    /// Optimizer steps; the recipe's stages stretch over them [default: the preset's; 600 with
    /// --model]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Choose --steps so that training takes about this much CPU time
    #[arg(long, value_name = "SECONDS", conflicts_with = "steps")]
    pub cpu_seconds: Option<f64>,
    /// Evaluate on held-out text every N steps; 0 = never
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub validate_every: u64,
    /// Evaluate on at most N held-out positions [default: 7680; 576 from 50 M parameters on, and
    /// while training goes on]
    #[arg(long, value_name = "N")]
    pub validate_positions: Option<usize>,
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
    /// Allow more --threads than there are cores
    #[arg(long, requires = "threads")]
    pub oversubscribe: bool,
    /// No progress
    #[arg(long)]
    pub quiet: bool,
}

/// `s3d draft-vocabulary`
#[derive(Debug, Args)]
pub struct DraftVocabularyArgs {
    /// The model: a folder or a GGUF file (it is not modified)
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub model: String,
    /// Add the list to a copy of these adapters [default: the list alone, for sequential drafting]
    #[arg(long, value_name = "DIR")]
    pub adapters: Option<PathBuf>,
    /// Count tokens of texts that the model wrote: texts.jsonl files of s3d train --corpus self;
    /// those held out only judge the list
    #[arg(long, value_name = "FILES", num_args = 1.., required_unless_present = "corpus")]
    pub texts: Vec<PathBuf>,
    /// Count tokens of your own texts, as s3d train reads them; the last tenth of each file only
    /// judges the list
    #[arg(long, value_name = "FILES", num_args = 1.., conflicts_with = "texts")]
    pub corpus: Vec<PathBuf>,
    /// Tokens to list: the most frequent ones, end-of-text tokens first
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub size: usize,
    /// Folder for the adapters with the list
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `s3d inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A checkpoint folder, a GGUF file, the name of a shipped model or of a geometry, or a run
    /// directory
    #[arg(value_name = "MODEL|DIR", default_value = "story")]
    pub target: String,
    /// Adapters to lay over the model: a folder that s3d train wrote
    #[arg(long, value_name = "DIR")]
    pub adapters: Option<PathBuf>,
    /// Sizes of the geometry custom, as a config.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use only the first N layers of a geometry (a model with random weights)
    #[arg(long, value_name = "N", value_parser = numbers::layers())]
    pub layers: Option<usize>,
    /// Print the full-depth logits after the last of these token ids
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "IDS",
        conflicts_with_all = ["config", "layers"]
    )]
    pub logits: Vec<u32>,
    /// Print the token ids of this text
    #[arg(long, value_name = "TEXT", conflicts_with = "logits")]
    pub tokens: Option<String>,
    /// Context for the memory table, in tokens [default: 256]
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "logits",
        value_parser = numbers::tokens()
    )]
    pub context: Option<usize>,
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
