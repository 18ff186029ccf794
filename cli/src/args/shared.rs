//! Flags that several commands take: which model, what is measured, how a result is printed.

use super::contexts::Contexts;
use super::numbers;
use clap::{Args, ValueEnum};
use s3d_data::{Bytes, Seconds};
use s3d_model::weights::DraftOver;
use std::path::PathBuf;

/// Which model, and how it runs.
#[derive(Debug, Args, Clone)]
pub struct ModelArgs {
    /// A Hugging Face checkpoint folder, a GGUF file, the name of a shipped model, one on the Hub,
    /// or a geometry with random weights for timing: smollm2-135m, qwen2.5-0.5b, tinyllama-1.1b,
    /// llama-3.2-1b, qwen2.5-1.5b, llama-3.2-3b, phi-3-mini, phi-4-mini, qwen3-4b, llama-2-7b,
    /// mistral-7b, qwen2.5-7b, llama-3-8b, llama-2-13b, custom [default: story]
    #[arg(long, value_name = "DIR|FILE.gguf|NAME")]
    pub model: Option<String>,
    /// Download --model from the Hugging Face Hub (ORG/NAME or ORG/NAME/FILE.gguf)
    #[arg(long)]
    pub download: bool,
    /// A tokenizer.json in place of the model's own
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Load these adapters with the model: a folder written by s3d train
    #[arg(long, value_name = "DIR")]
    pub adapters: Option<PathBuf>,
    /// Choose drafts from the first N tokens of the model's draft vocabulary, or from all tokens
    /// [default: from all that it lists]
    #[arg(long, value_name = "N|all")]
    pub draft_vocabulary: Option<DraftOver>,
    /// Sizes of --model custom, as a config.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use only the first N layers of a geometry (a model with random weights)
    #[arg(long, value_name = "N", value_parser = numbers::layers())]
    pub layers: Option<usize>,
    /// Where to run: cpu; gpu or gpu:N (a Vulkan adapter) with a program built with the feature
    /// gpu; cuda or cuda:N with a program built with CUDA; cuda+graphs records the passes of
    /// decoding and repeats each with one launch (CUDA graphs)
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Data type of the weights: f32, bf16, f16, q8_0, q4_k or q4_0 [default: that of the GGUF
    /// file, or the nearest supported one; else f32]
    #[arg(long)]
    pub dtype: Option<String>,
    /// Widen the model N times without changing its function (1, 2 or 4) [default: 2 for a shipped
    /// model, else 1]
    #[arg(long, value_name = "N")]
    pub widen: Option<usize>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Allow more --threads than cores (slower)
    #[arg(long, requires = "threads")]
    pub oversubscribe: bool,
}

impl ModelArgs {
    /// What `--model` says, or the shipped model.
    pub fn name(&self) -> &str {
        self.model.as_deref().unwrap_or("story")
    }
}

/// A size of memory, which is easily wrong by a factor of 2^30 without its unit.
pub fn with_unit(text: &str) -> Result<Bytes, String> {
    if text.trim().ends_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(format!(
            "expected a size with a unit, such as {text}GiB or {text}MiB; found '{text}'"
        ));
    }
    text.parse().map_err(|e: s3d_data::Error| e.to_string())
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
    /// Context length to choose a plan for, in tokens; of several (a range that doubles, or a list)
    /// passes are timed at each, the best plan of each is given, and the one choice is for the
    /// shortest
    #[arg(long, value_name = "N|A..B|N,N,..", default_value = Contexts::DEFAULT)]
    pub context: Contexts,
    /// Output tokens per prompt
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = numbers::tokens())]
    pub tokens: usize,
    /// Largest number of predictors looked at
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub gamma_max: usize,
    /// Prompts: JSON lines with "text", "prompt", "messages" or "turns" (and "task", "id"), or .txt
    /// with a prompt a line [default: the model's own, else the held-out half of a shipped set of
    /// tasks]
    #[arg(long, value_name = "FILE.jsonl|.txt")]
    pub prompts: Option<PathBuf>,
    /// Treat plain texts of --prompts as user messages in the model's chat template
    #[arg(long)]
    pub chat: bool,
    /// Use the first N prompts
    #[arg(long, value_name = "N", value_parser = numbers::listed())]
    pub prompt_count: Option<usize>,
    /// Windows to consider: symmetric, or all contiguous ones (on few prompts first, on more where
    /// the choice is undecided)
    #[arg(long, value_enum, default_value = "symmetric")]
    pub windows: Windows,
    /// Force these acceptance rates, one per predictor, instead of measuring acceptance
    #[arg(long, value_delimiter = ',', value_name = "RATES", value_parser = numbers::finite)]
    pub impose: Vec<f64>,
    /// Draw the tokens of texts at this temperature, in traces and in end-to-end blocks; 0 takes
    /// the most likely token [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from the smallest set of most likely tokens whose probabilities sum to P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
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
#[derive(Debug, Args, Clone, Default)]
pub struct OutputArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the result as Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// Whose times count where a run was merged from several machines.
#[derive(Debug, Args, Clone, Copy)]
pub struct MachineArgs {
    /// Of a run merged from several machines: take the times of this one, counted from 0 as in
    /// run.json [default: the first that timed passes]
    #[arg(long, value_name = "N")]
    pub machine: Option<usize>,
}
