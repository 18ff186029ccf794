//! The time of a pass, by the tokens fed to it (`width`, `w`) and the tokens committed when it
//! starts, the one being fed counted in (`context`, `n`); and what an iteration adds up to.
//!
//! Laws: affine `fixed + per_token w + per_cached_token n`; a bilinear table; the maximum of a
//! memory-bound and a compute-bound regime; a law capped by the roofline (Williams, Waterman,
//! Patterson, CACM 52(4), 2009: no pass is faster than its bytes over the bandwidth or its
//! operations over the multiply-add rate). Which law a machine follows is decided on left-out
//! cells (see [`mod@crate::fit`]).

use crate::error::{Error, Result, non_negative};
use s3d_data::Drafting;
use std::collections::{BTreeMap, BTreeSet};

/// `fixed + per_token * width + per_cached_token * context`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Affine {
    fixed: f64,
    per_token: f64,
    per_cached_token: f64,
}

impl Affine {
    /// The law with these coefficients, in seconds, per token fed, per token committed.
    ///
    /// # Errors
    /// A coefficient that is negative or not finite.
    pub fn new(fixed: f64, per_token: f64, per_cached_token: f64) -> Result<Self> {
        Ok(Self {
            fixed: non_negative("fixed", fixed)?,
            per_token: non_negative("per_token", per_token)?,
            per_cached_token: non_negative("per_cached_token", per_cached_token)?,
        })
    }

    /// `[fixed, per_token, per_cached_token]`.
    pub fn coefficients(&self) -> [f64; 3] {
        [self.fixed, self.per_token, self.per_cached_token]
    }

    /// Seconds of a pass.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        self.fixed + self.per_token * width as f64 + self.per_cached_token * context as f64
    }
}

/// One measured cell: a row of a cost table.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostCell {
    /// Tokens fed to the pass.
    pub width: usize,
    /// Tokens committed.
    pub context: usize,
    /// Its time.
    pub seconds: f64,
}

/// Measured times over a full grid of widths and contexts; bilinear between them, the outermost
/// cell's plane continued (never below 0) outside them.
#[derive(Debug, Clone, PartialEq)]
pub struct CostTable {
    widths: Vec<usize>,
    contexts: Vec<usize>,
    /// `seconds[width][context]`
    seconds: Vec<Vec<f64>>,
}

impl CostTable {
    /// The table of `cells`, in any order.
    ///
    /// # Errors
    /// No cells, a negative or non-finite time, a cell given twice, a grid with holes.
    pub fn new(cells: &[CostCell]) -> Result<Self> {
        let mut known = BTreeMap::new();
        for cell in cells {
            let at = format!("width {} at context {}", cell.width, cell.context);
            non_negative(&format!("seconds of {at}"), cell.seconds)?;
            if known.insert((cell.width, cell.context), cell.seconds).is_some() {
                return Err(Error::domain("cost table", "every cell once", format!("{at} twice")));
            }
        }
        if known.is_empty() {
            return Err(Error::missing("cost table rows", "give width,context,seconds rows"));
        }
        let widths: Vec<usize> = distinct(known.keys().map(|key| key.0));
        let contexts: Vec<usize> = distinct(known.keys().map(|key| key.1));
        let row = |&width: &usize| contexts.iter().map(|&c| lookup(&known, width, c)).collect();
        let seconds = widths.iter().map(row).collect::<Result<_>>()?;
        Ok(Self { widths, contexts, seconds })
    }

    /// Seconds of a pass, bilinear.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        let (i, x) = bracket(&self.widths, width);
        let (j, y) = bracket(&self.contexts, context);
        let next_i = (i + 1).min(self.widths.len() - 1);
        let next_j = (j + 1).min(self.contexts.len() - 1);
        let along = |row: &[f64]| row[j] + (row[next_j] - row[j]) * y;
        let (low, high) = (along(&self.seconds[i]), along(&self.seconds[next_i]));
        (low + (high - low) * x).max(0.0)
    }

    /// Whether `(width, context)` lies outside what was measured.
    pub fn extrapolates(&self, width: usize, context: usize) -> bool {
        let outside =
            |axis: &[usize], at: usize| axis.first() > Some(&at) || axis.last() < Some(&at);
        outside(&self.widths, width) || outside(&self.contexts, context)
    }
}

fn distinct(values: impl Iterator<Item = usize>) -> Vec<usize> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

fn lookup(known: &BTreeMap<(usize, usize), f64>, width: usize, context: usize) -> Result<f64> {
    known.get(&(width, context)).copied().ok_or_else(|| {
        Error::missing(
            format!("time for width {width} at context {context} in the cost table"),
            "give every width at every context",
        )
    })
}

/// The interval of `axis` that holds `at` (the outermost one outside), and the place in it: 0 at
/// its start, 1 at its end. An axis with one entry is constant.
fn bracket(axis: &[usize], at: usize) -> (usize, f64) {
    if axis.len() < 2 {
        return (0, 0.0);
    }
    let index = axis.partition_point(|&entry| entry <= at).clamp(1, axis.len() - 1) - 1;
    let (start, end) = (axis[index] as f64, axis[index + 1] as f64);
    (index, (at as f64 - start) / (end - start))
}

/// A lower bound on the time of a pass from a machine's two rates (roofline).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Seconds to stream the weights once: bytes over bandwidth.
    pub stream: f64,
    /// Seconds to stream one cached token's keys and values.
    pub stream_per_cached_token: f64,
    /// Seconds of arithmetic per token fed: operations over rate.
    pub compute_per_token: f64,
}

impl Roofline {
    /// The larger of the two bounds.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        let memory = self.stream + self.stream_per_cached_token * context as f64;
        memory.max(self.compute_per_token * width as f64)
    }
}

/// How the time of a pass follows from its width and context.
#[derive(Debug, Clone, PartialEq)]
pub enum PassLaw {
    /// One plane.
    Affine(Affine),
    /// Measured cells.
    Table(CostTable),
    /// The slower of two regimes: memory-bound (flat in width) and compute-bound.
    TwoRegime {
        /// The memory-bound plane; its `per_token` is usually 0.
        memory: Affine,
        /// The compute-bound plane.
        compute: Affine,
    },
    /// A plane that is never faster than the machine allows.
    RooflineCapped {
        /// The plane.
        law: Affine,
        /// The bound.
        roofline: Roofline,
    },
}

impl PassLaw {
    /// Seconds of a pass over `width` tokens at `context` committed tokens.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        match self {
            Self::Affine(law) => law.seconds(width, context),
            Self::Table(table) => table.seconds(width, context),
            Self::TwoRegime { memory, compute } => {
                memory.seconds(width, context).max(compute.seconds(width, context))
            }
            Self::RooflineCapped { law, roofline } => {
                law.seconds(width, context).max(roofline.seconds(width, context))
            }
        }
    }

    /// Whether the answer lies outside what was measured; laws that people typed never say so.
    pub fn extrapolates(&self, width: usize, context: usize) -> bool {
        match self {
            Self::Table(table) => table.extrapolates(width, context),
            _ => false,
        }
    }

    fn context_slope(&self) -> Option<f64> {
        match self {
            Self::Affine(law) => Some(law.per_cached_token),
            _ => None,
        }
    }

    /// The word used in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Affine(_) => "affine",
            Self::Table(_) => "table",
            Self::TwoRegime { .. } => "two-regime",
            Self::RooflineCapped { .. } => "roofline",
        }
    }
}

/// What drafting costs.
#[derive(Debug, Clone, PartialEq)]
pub enum DraftCost {
    /// Its own law.
    Law {
        /// Time of one draft pass.
        law: PassLaw,
        /// Tokens that a simultaneous pass feeds beside its `gamma`.
        extra_tokens: usize,
        /// Whether an iteration without drafts pays for one (empty) draft pass.
        charge_when_empty: bool,
    },
    /// This share of a full pass: `1 - beta`.
    ShareOfFull(f64),
}

/// The times of everything that decoding does.
#[derive(Debug, Clone, PartialEq)]
pub struct CostModel {
    /// Full passes: prompt, plain steps, verification.
    pub full: PassLaw,
    /// Draft passes.
    pub draft: DraftCost,
    /// Once per prompt pass, plain step and iteration (`t_step`), in seconds.
    pub step: f64,
}

impl CostModel {
    /// The ideal case in full passes: a full pass costs 1, a draft pass the share of layers kept.
    pub fn ideal(kept_share: f64) -> Self {
        let full = PassLaw::Affine(Affine { fixed: 1.0, per_token: 0.0, per_cached_token: 0.0 });
        Self { full, draft: DraftCost::ShareOfFull(kept_share), step: 0.0 }
    }

    /// Seconds to draft `drafts` tokens at `context` for `batch` texts at once.
    ///
    /// Simultaneous: one pass of `drafts + extra_tokens`. Sequential: `drafts` passes of one token
    /// at growing context. Without drafts nothing, or one pass where an empty one is charged.
    pub fn draft_seconds(
        &self,
        drafting: Drafting,
        drafts: usize,
        context: usize,
        batch: usize,
    ) -> f64 {
        let (law, extra, charge_when_empty, share) = match &self.draft {
            DraftCost::Law { law, extra_tokens, charge_when_empty } => {
                (law, *extra_tokens, *charge_when_empty, 1.0)
            }
            DraftCost::ShareOfFull(share) => (&self.full, 0, false, *share),
        };
        let pass = |width: usize, context: usize| law.seconds(batch * width, batch * context);
        match (drafting, drafts) {
            (_, 0) if !charge_when_empty => 0.0,
            (Drafting::Simultaneous, _) | (_, 0) => share * pass(drafts + extra, context),
            (Drafting::Sequential, _) => {
                share * (0..drafts).map(|i| pass(1, context + i)).sum::<f64>()
            }
        }
    }

    /// Whether drafting `drafts` tokens and verifying them at `context` leaves the measured cells.
    pub fn extrapolates(
        &self,
        drafting: Drafting,
        drafts: usize,
        context: usize,
        batch: usize,
    ) -> bool {
        let (law, extra) = match &self.draft {
            DraftCost::Law { law, extra_tokens, .. } => (law, *extra_tokens),
            DraftCost::ShareOfFull(_) => (&self.full, 0),
        };
        let (width, last) = match drafting {
            Drafting::Simultaneous => (drafts + extra, context),
            Drafting::Sequential => (1, context + drafts.saturating_sub(1)),
        };
        self.full.extrapolates(batch * (drafts + 1), batch * context)
            || (drafts > 0 && law.extrapolates(batch * width, batch * last))
    }

    /// Seconds of a plain step at `context` for `batch` texts at once.
    pub fn plain_step_seconds(&self, context: usize, batch: usize) -> f64 {
        self.full.seconds(batch, batch * context) + self.step
    }

    /// Seconds of the prompt pass, which also commits the first token.
    pub fn prompt_seconds(&self, prompt: usize, batch: usize) -> f64 {
        self.full.seconds(batch * prompt, 0) + self.step
    }

    /// How plain steps grow with the context, where the law is affine: seconds per token of it.
    pub(crate) fn step_slope(&self, batch: usize) -> Option<f64> {
        self.full.context_slope().map(|slope| slope * batch as f64)
    }

    /// How iterations grow with the context, where all laws are affine.
    pub(crate) fn iteration_slope(
        &self,
        drafting: Drafting,
        drafts: usize,
        batch: usize,
    ) -> Option<f64> {
        let passes = if drafting == Drafting::Sequential { drafts as f64 } else { 1.0 };
        let draft = match &self.draft {
            DraftCost::Law { law, .. } => law.context_slope()?,
            DraftCost::ShareOfFull(share) => share * self.full.context_slope()?,
        };
        Some(batch as f64 * (passes * draft + self.full.context_slope()?))
    }

    /// Seconds of one iteration that starts at `context`: draft, verify, step.
    pub fn iteration_seconds(
        &self,
        drafting: Drafting,
        drafts: usize,
        context: usize,
        batch: usize,
    ) -> f64 {
        self.draft_seconds(drafting, drafts, context, batch)
            + self.full.seconds(batch * (drafts + 1), batch * context)
            + self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(width: usize, context: usize, seconds: f64) -> CostCell {
        CostCell { width, context, seconds }
    }

    #[test]
    fn a_table_is_bilinear_and_flags_what_it_does_not_know() {
        // source: algebra. The plane 1 + 2 w + 0.5 n is its own bilinear interpolation.
        let plane = |w: usize, n: usize| 1.0 + 2.0 * w as f64 + 0.5 * n as f64;
        let cells: Vec<CostCell> = [1, 4, 8]
            .into_iter()
            .flat_map(|w| [0, 64, 256].map(|n| cell(w, n, plane(w, n))))
            .collect();
        let table = CostTable::new(&cells).unwrap();
        for (width, context) in [(1, 0), (2, 10), (5, 200), (8, 256), (12, 1000)] {
            assert!((table.seconds(width, context) - plane(width, context)).abs() < 1e-12);
        }
        assert!(!table.extrapolates(8, 256) && table.extrapolates(9, 256));
        assert!(table.extrapolates(1, 257));
    }

    #[test]
    fn a_single_cell_is_constant() {
        let table = CostTable::new(&[cell(1, 64, 0.25)]).unwrap();
        assert_eq!(table.seconds(7, 0), 0.25);
    }

    #[test]
    fn two_regimes_and_the_roofline_take_the_slower() {
        let plane = |a, b| Affine::new(a, b, 0.0).unwrap();
        let law = PassLaw::TwoRegime { memory: plane(2.0, 0.0), compute: plane(1.0, 0.25) };
        assert_eq!([1, 4, 8].map(|w| law.seconds(w, 9)), [2.0, 2.0, 3.0]);
        let roofline =
            Roofline { stream: 1.5, stream_per_cached_token: 0.0, compute_per_token: 0.5 };
        let law = PassLaw::RooflineCapped { law: plane(1.0, 0.25), roofline };
        assert_eq!([1, 4, 8].map(|w| law.seconds(w, 9)), [1.5, 2.0, 4.0]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Affine::new(f64::NAN, 0.0, 0.0).is_err());
        assert!(Affine::new(1.0, -0.1, 0.0).is_err());
        assert!(CostTable::new(&[]).is_err());
        assert!(CostTable::new(&[cell(1, 1, 1.0), cell(1, 1, 2.0)]).is_err());
        assert!(CostTable::new(&[cell(1, 1, -1.0)]).is_err());
        let holes = CostTable::new(&[cell(1, 1, 1.0), cell(2, 2, 1.0)]).unwrap_err().to_string();
        assert!(holes.contains("width 1 at context 2"), "{holes}");
    }
}
