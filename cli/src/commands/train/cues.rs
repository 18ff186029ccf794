//! Texts of the model's own: the prompts that it is given, and the texts that it writes after them.

use super::place::Place;
use crate::args::TrainArgs;
use crate::heartbeat::Heartbeat;
use crate::{locate, resolve};
use s3d_data::store;
use s3d_model::train::{Cue, Writing, Written, write_texts};
use s3d_model::{LoadOptions, Model};
use serde::Deserialize;
use std::path::PathBuf;

/// Where no prompt says that it is held out, one of so many is.
const HELD_OUT: usize = 10;

/// A line of a file of prompts; other keys are passed over.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    task: Option<String>,
    #[serde(default)]
    split: Option<String>,
    text: String,
}

/// The prompts of all files.
///
/// # Errors
/// A file that cannot be read, or holds no prompts.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Cue>> {
    let mut cues = Vec::new();
    for file in files {
        let lines: Vec<Line> = store::load_jsonl(file)?;
        anyhow::ensure!(
            lines.iter().all(|line| !line.text.trim().is_empty()),
            "{}: a prompt has no text",
            file.display()
        );
        cues.extend(lines.into_iter().enumerate().map(|(number, line)| Cue {
            id: line.id.unwrap_or_else(|| format!("p{}", number + 1)),
            task: line.task.unwrap_or_else(|| "prompts".into()),
            held_out: line.split.as_deref() == Some("held-out"),
            text: line.text,
        }));
    }
    anyhow::ensure!(
        cues.len() > 1,
        "--prompts: expected two prompts or more, one of them held out; found {}",
        cues.len()
    );
    if !cues.iter().any(|cue| cue.held_out) {
        let every = HELD_OUT.min(cues.len());
        cues.iter_mut().skip(every - 1).step_by(every).for_each(|cue| cue.held_out = true);
    }
    Ok(cues)
}

/// What the model writes after the prompts, kept in the folder of the training.
///
/// # Errors
/// A model that cannot be loaded or has no tokenizer; texts of another training.
pub fn texts(
    args: &TrainArgs,
    model: &str,
    cues: &[Cue],
    place: &Place,
    talk: &Heartbeat,
) -> anyhow::Result<Vec<Written>> {
    talk.show(0.0, "reading the model, which is to write its own texts".into());
    let (path, _) = locate::model(model, false)?;
    let options =
        LoadOptions { threads: resolve::threads(args.threads)?, ..LoadOptions::default() };
    let model = Model::load(&path, &options)?;
    let writing = Writing {
        tokens: args.own_tokens,
        texts: args.own_texts,
        seed: args.seed,
        chat: true,
        of: String::new(),
    };
    let mut said = |done: usize, all: usize| {
        let share = done as f64 / all as f64;
        talk.show(share, format!("the model writes its own texts: {done} of {all}"));
    };
    Ok(write_texts(&model, cues, &writing, &place.texts(), &mut said)?)
}
