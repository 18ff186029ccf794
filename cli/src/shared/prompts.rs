//! The prompts of a measurement: those of a file, the model's own, or the set that comes with this
//! program.

use crate::args::BudgetArgs;
use crate::shared::load::{Loaded, Source};
use crate::shared::usage::usage;
use crate::shared::{locate, terminal};
use anyhow::Context;
use s3d_data::Prompt;
use s3d_data::prompt::{HELD_OUT, read_prompts};
use s3d_measure::{Prompt as EncodedPrompt, clock};
use s3d_model::chat::{Now, Rendering};
use s3d_model::{Tokenizer, TokenizerFrom};
use std::path::{Path, PathBuf};

/// Prompts of a model without a tokenizer.
const RANDOM_PROMPTS: usize = 48;
/// Tokens of such a prompt at most.
const MOST_RANDOM_TOKENS: usize = 512;
/// Where the time comes from that templates are told, in seconds since 1970
/// (reproducible-builds.org).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The prompts that a run reads, and how.
pub struct Prompts {
    /// In tokens.
    pub encoded: Vec<EncodedPrompt>,
    /// Whether texts are written in the model's chat template.
    pub chat: bool,
}

/// The prompts of `--prompts`, the model's own, or those of this program. A run that goes on tells
/// templates the time when it `started`, so that its prompts stay the same.
///
/// # Errors
/// A model without a tokenizer, a file that holds no prompts, a template that fails.
pub fn of_run(
    loaded: &Loaded,
    budget: &BudgetArgs,
    started: Option<&str>,
) -> anyhow::Result<Prompts> {
    let folder = match &loaded.source {
        Source::Geometry(..) if budget.chat => {
            return Err(usage(
                "--chat: a geometry has no tokenizer; its prompts are random tokens",
            ));
        }
        Source::Geometry(..) if budget.prompts.is_none() => return Ok(random(loaded, budget)),
        Source::Geometry(..) => {
            return Err(usage(
                "--prompts: a geometry has no tokenizer; its prompts are random tokens",
            ));
        }
        Source::Checkpoint(folder, _) => folder,
    };
    // Only a job that needs no text has left out its tokenizer.
    if matches!(loaded.options.tokenizer, TokenizerFrom::Nowhere) {
        return Ok(random(loaded, budget));
    }
    let tokenizer = loaded.model.tokenizer().with_context(|| {
        format!(
            "{}: no tokenizer, which prompts need; give one with --tokenizer FILE",
            folder.display()
        )
    })?;
    let (mut texts, chat) = texts(folder, tokenizer, budget)?;
    texts.truncate(budget.prompt_count.unwrap_or(usize::MAX));
    let rendering = Rendering { chat, now: now(started)? };
    Ok(Prompts { encoded: EncodedPrompt::encode_all(&texts, tokenizer, rendering)?, chat })
}

/// The prompts as they are written, and whether they are turns of a conversation.
fn texts(
    folder: &Path,
    tokenizer: &Tokenizer,
    budget: &BudgetArgs,
) -> anyhow::Result<(Vec<Prompt>, bool)> {
    let own = folder.join("prompts.jsonl");
    let file: Option<&Path> = match &budget.prompts {
        Some(file) => Some(file),
        None => Some(own.as_path()).filter(|own| own.is_file()),
    };
    if budget.chat {
        template_of(tokenizer)?;
    }
    match file {
        Some(file) => Ok((all_of(file)?, budget.chat)),
        None => shipped(tokenizer.chat().is_some()),
    }
}

/// All prompts of a file; says what of it has no meaning here.
fn all_of(file: &Path) -> anyhow::Result<Vec<Prompt>> {
    let read = read_prompts(file)?;
    if !read.unread.is_empty() {
        let unread: Vec<&str> = read.unread.iter().map(String::as_str).take(8).collect();
        terminal::note(&format!("{}: not used: {}", file.display(), unread.join(", ")));
    }
    Ok(read.prompts)
}

/// The half of this program's own set that nothing is trained on.
fn shipped(chat: bool) -> anyhow::Result<(Vec<Prompt>, bool)> {
    let file = tasks()?;
    let mut prompts = read_prompts(&file)?.prompts;
    prompts.retain(|prompt| prompt.split.as_deref() == Some(HELD_OUT));
    let form = if chat { "as turns in the model's chat template" } else { "as plain text" };
    terminal::note(&format!(
        "prompts: the held-out half of {}, {} in eight classes, {form}; give others with \
         --prompts FILE",
        file.display(),
        prompts.len()
    ));
    Ok((prompts, chat))
}

/// The set of prompts that comes with this program.
///
/// # Errors
/// When it is not there.
pub fn tasks() -> anyhow::Result<PathBuf> {
    locate::find("prompts", "tasks.jsonl", Path::is_file)?.ok_or_else(|| {
        usage(
            "--prompts: the model has no prompts.jsonl of its own, and the data folder no \
             prompts/tasks.jsonl; give \
             a file with {\"text\": ...} on each line",
        )
    })
}

/// Refuses `--chat` on a model without a chat template.
///
/// # Errors
/// When there is none.
pub fn template_of(tokenizer: &Tokenizer) -> anyhow::Result<()> {
    match tokenizer.chat() {
        Some(_) => Ok(()),
        None => Err(usage(
            "--chat: expected a model with a chat template, found none; leave out the flag",
        )),
    }
}

/// The time that templates are told: `SOURCE_DATE_EPOCH`, else when a run `started`, else now.
///
/// # Errors
/// A `SOURCE_DATE_EPOCH` that is no number.
pub fn now(started: Option<&str>) -> anyhow::Result<Now> {
    if let Some(epoch) = std::env::var_os(EPOCH) {
        let seconds = epoch.to_str().and_then(|text| text.trim().parse().ok());
        let seconds = seconds.ok_or_else(|| {
            usage(format!("{EPOCH}: expected seconds since 1970, found something else"))
        })?;
        return Ok(Now::utc(seconds));
    }
    let started = started.and_then(Now::of_record);
    Ok(started.unwrap_or_else(|| Now::local(clock::unix_seconds())))
}

/// Prompts of a model that has no tokenizer: random tokens, half as many as the context.
fn random(loaded: &Loaded, budget: &BudgetArgs) -> Prompts {
    let length = (budget.context.own() / 2).clamp(1, MOST_RANDOM_TOKENS);
    let count = budget.prompt_count.unwrap_or(RANDOM_PROMPTS);
    let vocab = loaded.model.shape().vocab;
    Prompts { encoded: EncodedPrompt::random(count, length, vocab, budget.seed), chat: false }
}
