//! Texts that the model wrote itself, after prompts: the corpus that needs nobody's corpus, and the
//! text that greedy decoding will meet.
//!
//! They stand in a file of one JSON object a line, the first of which says what was asked for. A
//! file that was cut off goes on where it stopped; one that was asked for otherwise is refused.

use s3d_data::prompt::HELD_OUT;
use s3d_data::{Limit, Plan, Prompt, file};
use s3d_model::chat::{Now, Rendering};
use s3d_model::{Error, Generation, Limits, Model, Result, Sampling, Silent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// The time that chat templates are told, so that the same prompts are written each time: the first
/// of 2025.
const NOW: Now = Now::utc(1_735_689_600);

/// One text of the model's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The prompt's name; a drawn text has the number of the draw behind it.
    pub id: String,
    /// The prompt's class.
    pub task: String,
    /// Whether it is never trained on.
    pub held_out: bool,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// All tokens.
    pub tokens: Vec<u32>,
}

/// How texts are written; the first line of their file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Writing {
    /// Tokens after each prompt, at most.
    pub tokens: usize,
    /// Texts of every prompt that is trained on; the first is greedy, the others are drawn at
    /// temperature 1. Held-out prompts have the greedy one alone.
    pub texts: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Whether prompts go through the model's chat template.
    pub chat: bool,
    /// Tells model and prompts from others.
    #[serde(default)]
    pub of: String,
}

/// What has one text to write.
struct Job<'p> {
    prompt: &'p Prompt,
    id: String,
    draw: u64,
}

/// Writes the texts of all `prompts` into `file`, or those that are not there yet; returns all.
/// `said` hears how many of how many texts there are.
///
/// # Errors
/// A model without a tokenizer; a file of other prompts, another model or other settings; a prompt
/// that is too long; a disk that refuses.
pub fn write_texts(
    model: &Model,
    prompts: &[Prompt],
    writing: &Writing,
    file: &Path,
    said: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Written>> {
    let writing = Writing { of: identity(model, prompts)?, ..writing.clone() };
    let jobs = jobs(prompts, &writing);
    let (mut out, mut texts) = open(file, &writing)?;
    let fits = texts.iter().zip(&jobs).all(|(text, job)| text.id == job.id);
    if !fits || texts.len() > jobs.len() {
        return Err(Error::malformed(file, "holds texts of other prompts; give another folder"));
    }
    said(texts.len(), jobs.len());
    for job in &jobs[texts.len()..] {
        let text = write_one(model, job, &writing)?;
        add_line(&mut out, &text, file)?;
        texts.push(text);
        said(texts.len(), jobs.len());
    }
    Ok(texts)
}

/// A text that tells these texts from others, as hexadecimal digits.
pub fn texts_hash(texts: &[Written]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(format!("{} {} {} ", text.id, text.held_out, text.prompt));
        text.tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn identity(model: &Model, prompts: &[Prompt]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(&model.identity().content_hash);
    let prompts =
        serde_json::to_vec(prompts).map_err(|e| Error::invalid(format!("prompts: {e}")))?;
    hash.update(prompts);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Every greedy text first, so that a file that was cut off has all prompts in it.
fn jobs<'p>(prompts: &'p [Prompt], writing: &Writing) -> Vec<Job<'p>> {
    let greedy = prompts.iter().map(|prompt| Job { prompt, id: prompt.id.clone(), draw: 0 });
    let drawn = (1..writing.texts as u64).flat_map(|draw| {
        let trained = prompts.iter().filter(|prompt| !is_held_out(prompt));
        trained.map(move |prompt| Job { prompt, id: format!("{}/{draw}", prompt.id), draw })
    });
    greedy.chain(drawn).collect()
}

fn is_held_out(prompt: &Prompt) -> bool {
    prompt.split.as_deref() == Some(HELD_OUT)
}

fn write_one(model: &Model, job: &Job, writing: &Writing) -> Result<Written> {
    let tokenizer = model.tokenizer().ok_or_else(|| {
        Error::invalid("texts of the model's own need a tokenizer; the model has none")
    })?;
    let chat = writing.chat && tokenizer.chat().is_some();
    let tokens = tokenizer.encode_prompt(job.prompt, Rendering { chat, now: NOW })?;
    let mut stream = Sha256::new();
    stream.update(format!("{} {}", writing.seed, job.id));
    let seed = stream.finalize()[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    let temperature = if job.draw == 0 { 0.0 } else { 1.0 };
    let (limits, mut silent) = (Limits::tokens(writing.tokens), Silent);
    let generation = Generation::new(model, &tokens, &Plan::Plain, limits, &mut silent)?
        .sampling(Sampling::new(temperature, seed)?);
    let (prompt, output) = (tokens.len(), generation.finish()?);
    Ok(Written {
        id: job.id.clone(),
        task: job.prompt.task.clone().unwrap_or_else(|| "prompts".into()),
        held_out: is_held_out(job.prompt),
        prompt,
        tokens: [tokens, output].concat(),
    })
}

fn add_line<T: Serialize>(out: &mut File, value: &T, path: &Path) -> Result<()> {
    let mut line = serde_json::to_vec(value).map_err(|e| Error::malformed(path, e.to_string()))?;
    line.push(b'\n');
    out.write_all(&line).map_err(|e| Error::io("write", path, e))
}

/// The file at the end of its last whole line, and the texts in it; a fresh one gets its first
/// line.
fn open(path: &Path, writing: &Writing) -> Result<(File, Vec<Written>)> {
    file::own(path)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| Error::io("open", path, e))?;
    let bytes = file::read(path, Limit::JOURNAL)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64).map_err(|e| Error::io("write", path, e))?;
    file.seek(SeekFrom::End(0)).map_err(|e| Error::io("read", path, e))?;
    let lines = &bytes[..whole];
    let bad = |e: serde_json::Error| Error::malformed(path, format!("not texts: {e}"));
    let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let Some(first) = lines.next() else {
        add_line(&mut file, writing, path)?;
        return Ok((file, Vec::new()));
    };
    let found: Writing = serde_json::from_slice(first).map_err(bad)?;
    if found != *writing {
        let message = "holds texts of another model, other prompts or other settings; give another folder, or \
                       remove the file to write them anew";
        return Err(Error::malformed(path, message));
    }
    let texts = lines.map(|line| serde_json::from_slice(line).map_err(bad));
    Ok((file, texts.collect::<Result<_>>()?))
}
