//! Questions that the model asks itself: what it writes where its chat template expects the words
//! of a user (Magpie: Xu et al., arXiv 2406.08464). They are prompts to train on, as many as one
//! likes, without anybody's texts.

use super::line_file::LineFile;
use super::self_written::{NOW, seed_of, width};
use s3d_data::{Plan, Prompt};
use s3d_model::{Error, Model, Order, Result, Sampling, Tokenizer, decode_together};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

/// The class of such prompts.
const TASK: &str = "question";
/// Tokens of a question, at most: a longer one is left out.
const LONGEST: usize = 96;
/// Characters of a question, at least.
const SHORTEST: usize = 8;
/// Draws for each question that is wanted, at most.
const DRAWS: usize = 50;

/// How questions are drawn; the first line of their file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asking {
    seed: u64,
    /// Tells the model from others.
    of: String,
}

/// A question that was kept, and the number of its draw.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Question {
    draw: usize,
    text: String,
}

/// Draws `count` questions at temperature 1 into `file`, or those that are not there yet; returns
/// that many. `said` hears how many of how many there are.
///
/// # Errors
/// A model without a chat template; a file of another model or seed; a model that writes too few
/// questions; a disk that refuses.
pub fn ask_questions(
    model: &Model,
    count: usize,
    seed: u64,
    file: &Path,
    said: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Prompt>> {
    let tokenizer = model.tokenizer().filter(|tokenizer| tokenizer.chat().is_some());
    let tokenizer = tokenizer.ok_or_else(|| {
        Error::invalid("questions of the model's own need a chat template; the model has none")
    })?;
    let prompt = tokenizer.encode_before_user(NOW)?;
    let asking = Asking { seed, of: model.identity().content_hash };
    let (mut out, mut kept): (_, Vec<Question>) =
        LineFile::open(file, &asking, "questions of another model or another seed")?;
    let mut known: HashSet<String> = kept.iter().map(|question| question.text.clone()).collect();
    let first = kept.last().map_or(0, |question| question.draw + 1);
    let draws = first..first + count.saturating_sub(kept.len()) * DRAWS;
    let (width, mut early, mut next) = (width(model, prompt.len() + LONGEST)?, BTreeMap::new(), 0);
    let orders = draws.map(|draw| {
        let sampling = Sampling::new(1.0, seed_of(seed, &format!("{TASK} {draw}")))?;
        Ok(Order { prompt: prompt.clone(), tokens: LONGEST, sampling })
    });
    decode_together(model, &Plan::Plain, orders, width, &mut |number, output| {
        early.insert(number, output);
        while let Some(output) = early.remove(&next) {
            let draw = first + next;
            next += 1;
            let Some(text) = question(model, tokenizer, &output)? else { continue };
            if kept.len() < count && known.insert(text.clone()) {
                let question = Question { draw, text };
                out.add(&question)?;
                kept.push(question);
                said(kept.len(), count);
            }
        }
        Ok(if kept.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if kept.len() < count {
        let found = kept.len();
        return Err(Error::invalid(format!(
            "expected {count} different questions of {SHORTEST} characters to {LONGEST} tokens, found {found} in \
             {next} draws: this model does not ask; ask for fewer"
        )));
    }
    kept.truncate(count);
    Ok(kept.into_iter().map(prompt_of).collect())
}

/// The text of a question that has an end and is neither short nor long.
fn question(model: &Model, tokenizer: &Tokenizer, output: &[u32]) -> Result<Option<String>> {
    let Some((last, words)) = output.split_last() else { return Ok(None) };
    if !model.config().is_end(*last) {
        return Ok(None);
    }
    let text = tokenizer.decode(words)?.trim().to_string();
    Ok(Some(text).filter(|text| text.chars().count() >= SHORTEST))
}

fn prompt_of(Question { draw, text }: Question) -> Prompt {
    let id = format!("{TASK}-{draw}");
    Prompt { id, task: Some(TASK.into()), text, ..Prompt::default() }
}
