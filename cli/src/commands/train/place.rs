//! The folder of a training, held by the guard of all outputs: the model, kept steps, the state to
//! go on from.

use crate::args::TrainArgs;
use crate::shared::locate;
use anyhow::Context;
use s3d_data::output::{Holds, Output};
use std::fs;
use std::path::{Path, PathBuf};

const STATE: &str = "state";

/// The folder `--out`, into which nobody else writes as long as this lives.
pub struct Place(Output);

impl Place {
    /// Takes it; nothing is written yet.
    ///
    /// # Errors
    /// A folder that holds anything but a training, that another s3d writes into, or whose model is
    /// one of the files to be read.
    pub fn take(args: &TrainArgs) -> anyhow::Result<Self> {
        let output = Output::open(&args.out, Holds::Model).context("--out")?;
        let output = output.sparing(inputs(args)?);
        output.check().context("--out")?;
        Ok(Self(output))
    }

    /// Writes files into `folder` of this place (`""` is the place itself), whole or not at all.
    ///
    /// # Errors
    /// What `save` refuses; a file in the way; a disk that refuses.
    pub fn keep(
        &self,
        folder: &str,
        save: impl FnOnce(&Path) -> s3d_model::Result<()>,
    ) -> anyhow::Result<()> {
        let draft = self.0.draft()?;
        save(&draft.path().join(folder))?;
        Ok(draft.add()?)
    }

    /// The same for the state to go on from.
    ///
    /// # Errors
    /// As [`Place::keep`].
    pub fn keep_state(
        &self,
        save: impl FnOnce(&Path) -> s3d_model::Result<()>,
    ) -> anyhow::Result<()> {
        self.keep(STATE, save)
    }

    /// Where the state to go on from lies.
    pub fn state(&self) -> PathBuf {
        self.0.file(STATE)
    }

    /// Whether there is such a state.
    pub fn has_state(&self) -> bool {
        self.state().join("training.safetensors").is_file()
    }

    /// Where questions that the model asked itself are appended to; from now on the folder is known
    /// as a training's.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn questions(&self) -> anyhow::Result<PathBuf> {
        self.lines("questions.jsonl")
    }

    /// Where texts of the model's own are appended to, as [`Self::questions`].
    ///
    /// # Errors
    /// As there.
    pub fn texts(&self) -> anyhow::Result<PathBuf> {
        self.lines("texts.jsonl")
    }

    fn lines(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.keep("", |_| Ok(()))?;
        Ok(self.0.file(name))
    }
}

/// The files that a training reads.
fn inputs(args: &TrainArgs) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = [&args.corpus[..], &args.prompts[..]].concat();
    paths.extend(args.adapters.clone());
    if let Some(model) = &args.model {
        paths.push(locate::model(model, false)?.0);
    }
    Ok(paths.into_iter().flat_map(files).collect())
}

/// A file, or those in a folder.
fn files(path: PathBuf) -> Vec<PathBuf> {
    match fs::read_dir(&path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path],
    }
}
