//! Texts of the model's own: the prompts that it is given, and the texts that it writes after them.

use super::place::Place;
use crate::args::TrainArgs;
use crate::shared::heartbeat::Heartbeat;
use crate::shared::{locate, resolve};
use s3d_data::Prompt;
use s3d_data::prompt::{HELD_OUT, read_prompts};
use s3d_model::{LoadOptions, Model};
use s3d_train::{Writing, Written, ask_questions, write_texts};
use std::path::PathBuf;

/// Where no prompt says that it is held out, one of so many is.
const ONE_OF: usize = 10;

/// The prompts of all files, some of them held out.
///
/// # Errors
/// A file that cannot be read, or holds no prompts.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    for file in files {
        prompts.extend(read_prompts(file)?.prompts);
    }
    anyhow::ensure!(
        prompts.len() > 1,
        "--prompts: expected two prompts or more, one of them held out; found {}",
        prompts.len()
    );
    if !prompts.iter().any(|prompt| prompt.split.as_deref() == Some(HELD_OUT)) {
        let every = ONE_OF.min(prompts.len());
        let held_out = prompts.iter_mut().skip(every - 1).step_by(every);
        held_out.for_each(|prompt| prompt.split = Some(HELD_OUT.into()));
    }
    Ok(prompts)
}

/// What the model writes after the prompts, kept in the folder of the training.
///
/// # Errors
/// A model that cannot be loaded or has no tokenizer; texts of another training.
pub fn texts(
    args: &TrainArgs,
    model: &str,
    prompts: &[Prompt],
    place: &Place,
    talk: &Heartbeat,
) -> anyhow::Result<Vec<Written>> {
    talk.show(0.0, "reading the model, which is to write its own texts".into());
    let (path, _) = locate::model(model, false)?;
    let options = LoadOptions {
        threads: resolve::threads(args.threads, args.oversubscribe)?,
        ..LoadOptions::default()
    };
    let model = Model::load(&path, &options)?;
    let mut prompts = prompts.to_vec();
    if args.own_questions > 0 {
        let mut said = |done: usize, all: usize| {
            let words = format!("the model asks itself questions: {done} of {all}");
            talk.part(done as u64, all as u64, words);
        };
        let (count, file) = (args.own_questions, place.questions()?);
        prompts.extend(ask_questions(&model, count, args.seed, &file, &mut said)?);
    }
    let writing = Writing {
        tokens: args.own_tokens,
        texts: args.own_texts,
        seed: args.seed,
        chat: true,
        of: String::new(),
    };
    let mut said = |done: usize, all: usize| {
        let words = format!("the model writes its own texts: {done} of {all}");
        talk.part(done as u64, all as u64, words);
    };
    Ok(write_texts(&model, &prompts, &writing, &place.texts()?, &mut said)?)
}
