//! Texts that the model wrote itself, after prompts: the corpus that needs nobody's corpus, and the
//! text that greedy decoding will meet.

use super::line_file::LineFile;
use s3d_data::prompt::HELD_OUT;
use s3d_data::{Limit, Plan, Prompt, file};
use s3d_model::chat::{Now, Rendering};
use s3d_model::{Error, Model, Order, Result, Sampling, decode_together};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

/// The time that chat templates are told, so that the same prompts are written each time: the first
/// of 2025.
pub(crate) const NOW: Now = Now::utc(1_735_689_600);

/// Texts that are written at a time, at most, and the bytes that their keys and values may take.
const TOGETHER: usize = 48;
const MEMORY: u64 = 1 << 30;

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

/// One text that is to be written.
struct ToWrite<'p> {
    prompt: &'p Prompt,
    id: String,
    draw: u64,
}

/// Writes the texts of all `prompts` into `file`, or those that are not there yet, many at a time
/// and in the order of the prompts; returns all. `said` hears how many of how many texts there are.
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
    let all = to_write(prompts, &writing);
    let holds = "texts of another model, other prompts or other settings";
    let (mut out, mut texts): (_, Vec<Written>) = LineFile::open(file, &writing, holds)?;
    let fits = texts.iter().zip(&all).all(|(text, one)| text.id == one.id);
    if !fits || texts.len() > all.len() {
        return Err(Error::malformed(file, "holds texts of other prompts; give another folder"));
    }
    said(texts.len(), all.len());
    let left = &all[texts.len()..];
    let orders = left.iter().map(|one| order(model, one, &writing)).collect::<Result<Vec<_>>>()?;
    let longest = orders.iter().map(|order| order.prompt.len() + order.tokens).max().unwrap_or(1);
    let (width, mut early) = (width(model, longest)?, BTreeMap::new());
    let (first, mut next) = (texts.len(), 0);
    decode_together(
        model,
        &Plan::Plain,
        orders.iter().cloned().map(Ok),
        width,
        &mut |number, output| {
            early.insert(number, output);
            while let Some(output) = early.remove(&next) {
                let text = written(&left[next], &orders[next], output);
                out.add(&text)?;
                texts.push(text);
                next += 1;
            }
            said(first + next + early.len(), all.len());
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(texts)
}

/// The texts in a file that [`write_texts`] wrote.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn read_written(path: &Path) -> Result<Vec<Written>> {
    let bytes = file::read(path, Limit::JOURNAL)?;
    let bad = |line: usize, e: serde_json::Error| {
        Error::malformed(
            path,
            format!("line {line}: expected texts.jsonl of s3d train --corpus self: {e}"),
        )
    };
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let mut texts = Vec::new();
    if let Some((_, first)) = lines.next() {
        serde_json::from_slice::<Writing>(first).map_err(|e| bad(1, e))?;
    }
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        texts.push(serde_json::from_slice(line).map_err(|e| bad(number + 1, e))?);
    }
    Ok(texts)
}

/// Texts of up to `longest` tokens to write at a time: as many as the memory for their keys and
/// values allows.
pub(crate) fn width(model: &Model, longest: usize) -> Result<usize> {
    let bytes = model.new_cache(longest.min(model.positions()))?.bytes();
    Ok((MEMORY / bytes.max(1)).clamp(1, TOGETHER as u64) as usize)
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
fn to_write<'p>(prompts: &'p [Prompt], writing: &Writing) -> Vec<ToWrite<'p>> {
    let greedy = prompts.iter().map(|prompt| ToWrite { prompt, id: prompt.id.clone(), draw: 0 });
    let drawn = (1..writing.texts as u64).flat_map(|draw| {
        let trained = prompts.iter().filter(|prompt| !is_held_out(prompt));
        trained.map(move |prompt| ToWrite { prompt, id: format!("{}/{draw}", prompt.id), draw })
    });
    greedy.chain(drawn).collect()
}

fn is_held_out(prompt: &Prompt) -> bool {
    prompt.split.as_deref() == Some(HELD_OUT)
}

/// What a text asks for: the tokens of its prompt, and how those after it are chosen.
fn order(model: &Model, text: &ToWrite, writing: &Writing) -> Result<Order> {
    let tokenizer = model.tokenizer().ok_or_else(|| {
        Error::invalid("texts of the model's own need a tokenizer; the model has none")
    })?;
    let chat = writing.chat && tokenizer.chat().is_some();
    let prompt = tokenizer.encode_prompt(text.prompt, Rendering { chat, now: NOW })?;
    let temperature = if text.draw == 0 { 0.0 } else { 1.0 };
    let sampling = Sampling::new(temperature, seed_of(writing.seed, &text.id))?;
    Ok(Order { prompt, tokens: writing.tokens, sampling })
}

/// The seed of one draw among those of a training.
pub(crate) fn seed_of(seed: u64, name: &str) -> u64 {
    let hash = Sha256::digest(format!("{seed} {name}"));
    hash[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn written(text: &ToWrite, order: &Order, output: Vec<u32>) -> Written {
    Written {
        id: text.id.clone(),
        task: text.prompt.task.clone().unwrap_or_else(|| "prompts".into()),
        held_out: is_held_out(text.prompt),
        prompt: order.prompt.len(),
        tokens: [&order.prompt[..], &output].concat(),
    }
}
