//! What the comparison with the paper is made from, and what it is made of.

use crate::figure::Figure;
use crate::input::ReportInput;
use crate::table::Table;
use s3d_data::PlanResult;
use s3d_data::published::System;
use s3d_simulator::Family;

/// What the comparison is made from.
#[derive(Debug, Clone)]
pub struct PaperInput {
    /// Our runs; may be empty.
    pub runs: Vec<ReportInput>,
    /// A user's own rows, with the columns of the published systems.
    pub figures: Vec<System>,
    /// The family of acceptance curves in part (a).
    pub family: Family,
    /// Context that memory is computed for, in tokens.
    pub context: usize,
}

impl PaperInput {
    /// The choices of our runs.
    pub(super) fn choices(&self) -> Vec<&PlanResult> {
        self.runs.iter().filter_map(|run| run.recommendation.choice.as_ref()).collect()
    }
}

impl Default for PaperInput {
    fn default() -> Self {
        Self { runs: Vec::new(), figures: Vec::new(), family: Family::Superellipse, context: 2048 }
    }
}

/// One part of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What a reader must know before looking.
    pub words: String,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// Its tables.
    pub tables: Vec<Table>,
}
