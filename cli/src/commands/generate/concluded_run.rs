//! The model and the plan of a run directory, for `s3d generate --run` and `--plan auto:DIR`.

use crate::args::{ModelArgs, of_command};
use crate::shared::usage::usage;
use anyhow::Context;
use s3d_data::{Plan, RunDir, RunHeader};
use s3d_model::Model;
use std::path::{Path, PathBuf};

/// What a run says about how to decode as it advises.
pub struct ConcludedRun {
    /// The flag that named it, with its folder.
    flag: String,
    folder: PathBuf,
    header: RunHeader,
    /// What it chose, or plain decoding where it advises not to speculate.
    pub plan: Plan,
}

impl ConcludedRun {
    /// Reads the run directory that `flag` names (`--run `, `--plan auto:`).
    ///
    /// # Errors
    /// One that concluded nothing yet.
    pub fn load(flag: &str, folder: &Path) -> anyhow::Result<Self> {
        let flag = format!("{flag}{}", folder.display());
        let dir = RunDir::new(folder);
        let header = dir.load_header().with_context(|| flag.clone())?;
        let recommendation = dir.load_recommendation().with_context(|| {
            format!(
                "{flag}: expected a run that was concluded; try 's3d report {}'",
                folder.display()
            )
        })?;
        let plan = match recommendation.choice {
            Some(choice) if recommendation.speculate => choice.plan,
            _ => Plan::Plain,
        };
        Ok(Self { flag, folder: folder.to_path_buf(), header, plan })
    }

    /// The model as the run had it: what the command line of the run names, in its precision and
    /// width. What `given` names itself must agree.
    ///
    /// # Errors
    /// Flags that contradict the run; a run whose command line names no model.
    pub fn model(&self, given: &ModelArgs) -> anyhow::Result<ModelArgs> {
        let ran = match of_command(&self.header.command) {
            Some(ran) => ran,
            None if given.model.is_some() => given.clone(),
            None => {
                return Err(usage(format!(
                    "{}: this run was not measured by one command, which would name the model; \
                     give it with --model (it was {})",
                    self.flag, self.header.model.name
                )));
            }
        };
        self.agree("--dtype", given.dtype.as_deref(), &self.header.dtype)?;
        let widen = given.widen.map(|widen| widen.to_string());
        self.agree("--widen", widen.as_deref(), &self.header.widen.to_string())?;
        let words = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let adapters = words(&ran.adapters).unwrap_or_else(|| "none".into());
        self.agree("--adapters", words(&given.adapters).as_deref(), &adapters)?;
        let over = ran.draft_vocabulary.unwrap_or_default().to_string();
        let given_over = given.draft_vocabulary.map(|over| over.to_string());
        self.agree("--draft-vocabulary", given_over.as_deref(), &over)?;
        let mut model = ran;
        model.dtype = Some(self.header.dtype.clone());
        model.widen = Some(self.header.widen);
        model.model = given.model.clone().or(model.model);
        model.tokenizer = given.tokenizer.clone().or(model.tokenizer);
        model.threads = given.threads.or(model.threads);
        if given.device != "cpu" {
            model.device.clone_from(&given.device);
        }
        Ok(model)
    }

    fn agree(&self, flag: &str, given: Option<&str>, ran: &str) -> anyhow::Result<()> {
        match given {
            Some(given) if given != ran => Err(usage(format!(
                "{flag} {given}: the run in {} had {ran}; leave out the flag, or {}",
                self.folder.display(),
                self.flag
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that the loaded model is the one that was measured.
    ///
    /// # Errors
    /// Other weights.
    pub fn check(&self, model: &Model) -> anyhow::Result<()> {
        let (ran, found) = (&self.header.model, model.identity());
        if ran.content_hash == found.content_hash {
            return Ok(());
        }
        Err(usage(format!(
            "{}: the run measured {} (content {}), found {} (content {}); give the run's own model \
             with --model, or a plan such as --plan 4..8:3 in its place",
            self.flag,
            ran.name,
            first(&ran.content_hash),
            found.name,
            first(&found.content_hash)
        )))
    }
}

/// Enough of a hash to tell two apart.
fn first(hash: &str) -> String {
    hash.chars().take(12).collect()
}
