//! What files do not say of themselves, and what they do.

use crate::error::Result;
use crate::import::rows::malformed;
use crate::import::table::Row;
use crate::plan::{Drafting, Predictors, SkipWindow};
use crate::records::observation::Observation;
use std::path::Path;

/// What the files do not say of themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Layers of the model.
    pub layers: usize,
    /// Largest number of predictors looked at.
    pub gamma_max: Predictors,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// How drafts were made, for files that do not say.
    pub drafting: Option<Drafting>,
    /// The layers that drafts left out, for files that do not say.
    pub skip: Option<SkipWindow>,
    /// The time of a draft pass over that of a full pass of the same width, where it was not timed.
    pub draft_share: Option<f64>,
    /// Tokens drafted per iteration, for files that do not say.
    pub draft_length: Option<usize>,
    /// Fields with the value that rows must have to be read.
    pub only: Vec<(String, String)>,
}

impl Setting {
    /// A setting that says nothing but what every import needs.
    pub const fn new(layers: usize, gamma_max: Predictors, context: usize) -> Self {
        Self {
            layers,
            gamma_max,
            context,
            drafting: None,
            skip: None,
            draft_share: None,
            draft_length: None,
            only: Vec::new(),
        }
    }

    /// The drafting that a row states, else the one given for the whole import. Nothing is assumed:
    /// the same counts give other answers by how drafts are made.
    pub(super) fn drafting(
        &self,
        stated: Option<Drafting>,
        file: &Path,
        line: u64,
    ) -> Result<Drafting> {
        stated.or(self.drafting).ok_or_else(|| {
            let message = "how drafts were made is not said here; add it as 'drafting', or give \
                           --drafting sequential (one pass a draft: draft models, EAGLE, MTP, \
                           LayerSkip, SWIFT) or --drafting simultaneous (all drafts in one pass: \
                           S3D, Medusa)";
            malformed(file, line, message)
        })
    }

    /// The layers that drafts left out: those given, else the window in the middle whose kept
    /// layers are the given share of a full pass.
    pub(super) fn window(&self, file: &Path, line: u64) -> Result<SkipWindow> {
        let share = self.draft_share.map(|share| {
            let kept = (share * self.layers as f64).round() as usize;
            SkipWindow::symmetric(self.layers, self.layers - kept.clamp(1, self.layers))
        });
        match (self.skip, share) {
            (Some(window), _) => Ok(window),
            (None, Some(window)) => window,
            (None, None) => Err(malformed(
                file,
                line,
                "the file does not say which layers drafts skipped; give --skip A..B (layers left \
                 out: LayerSkip, SWIFT, S3D), or --draft-share S (the time of a draft pass over \
                 that of a full pass: draft models, EAGLE, MTP)",
            )),
        }
    }

    /// The rows that have the wanted values.
    pub(super) fn kept(&self, rows: Vec<Row>, file: &Path) -> Result<Vec<Row>> {
        let wanted = |row: &Row| {
            let has = |(name, value): &(String, String)| row.text(name).as_ref() == Some(value);
            self.only.iter().all(has)
        };
        let kept: Vec<Row> = rows.into_iter().filter(wanted).collect();
        match kept.is_empty() {
            true => Err(malformed(file, 1, "no row has the values of --only")),
            false => Ok(kept),
        }
    }
}

/// What a file says of how its numbers were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The model's name.
    pub model: Option<String>,
    /// The machine or card.
    pub machine: Option<String>,
    /// Precision of the weights.
    pub dtype: Option<String>,
    /// Threads that computed.
    pub threads: Option<usize>,
    /// What the numbers rest on and leave open, one sentence each.
    pub notes: Vec<String>,
}

impl Facts {
    /// Adds what another file says; what is known already stays.
    pub fn add(&mut self, other: Self) {
        self.model = self.model.take().or(other.model);
        self.machine = self.machine.take().or(other.machine);
        self.dtype = self.dtype.take().or(other.dtype);
        self.threads = self.threads.or(other.threads);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// What was observed.
    pub observations: Vec<Observation>,
    /// How.
    pub facts: Facts,
}
