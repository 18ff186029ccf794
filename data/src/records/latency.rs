//! Times of passes and of their components: rows of `latency.csv`.

use crate::error::Result;
use crate::limits::{self, within};
use crate::plan::Plan;
use crate::records::bounds::{Bounds, place};
use crate::units::Seconds;
use serde::{Deserialize, Serialize};

/// A part of a pass that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Token (and mask) embedding.
    Embed,
    /// Attention sub-layer of one layer, its norm and residual included.
    Attention,
    /// MLP sub-layer of one layer, its norm and residual included.
    Mlp,
    /// Last norm, head and arg max.
    Head,
    /// What a pass costs beside its components.
    Rest,
    /// A whole pass at full depth, outside of speculation.
    FullPass,
    /// A whole draft pass.
    DraftPass,
    /// A whole verify pass.
    VerifyPass,
}

impl Component {
    /// The word used in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Head => "head",
            Self::Rest => "rest",
            Self::FullPass => "full_pass",
            Self::DraftPass => "draft_pass",
            Self::VerifyPass => "verify_pass",
        }
    }

    /// Whether a turn of the schedule ends with it: a plain step with its pass, an iteration with
    /// its verify pass.
    pub fn ends_turn(self) -> bool {
        matches!(self, Self::FullPass | Self::VerifyPass)
    }
}

/// One raw latency observation: a row of `latency.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencySample {
    /// Index into the machines of `run.json`.
    pub machine: usize,
    /// What was timed.
    pub component: Component,
    /// Its layer, for `attention` and `mlp`.
    pub layer: Option<usize>,
    /// The plan that was running, where there was one (the skip of a draft pass).
    pub plan: Option<Plan>,
    /// Tokens fed to the pass (`w`).
    pub width: usize,
    /// Tokens committed, the one being fed counted in (`c`).
    pub context: usize,
    /// The block of the schedule.
    pub block: usize,
    /// Place in the block.
    pub order: usize,
    /// 1 for the second copy of the control cell, else 0.
    pub copy: usize,
    /// Wall time.
    pub seconds: Seconds,
    /// CPU time of all threads together, of whole passes; none where it was not read.
    #[serde(default)]
    pub cpu_seconds: Option<Seconds>,
    /// Texts that share the pass, each with `width` tokens and its own context; 1 in the files of
    /// older programs.
    #[serde(default = "one_text")]
    pub batch: usize,
}

/// What files without the column `batch` are of.
pub(crate) fn one_text() -> usize {
    1
}

impl LatencySample {
    /// A pass as a whole, of machine 0, of which nothing else is known.
    pub fn whole(
        component: Component,
        plan: Option<Plan>,
        width: usize,
        context: usize,
        block: usize,
        seconds: Seconds,
    ) -> Self {
        Self {
            machine: 0,
            component,
            layer: None,
            plan,
            width,
            context,
            block,
            order: 0,
            copy: 0,
            seconds,
            cpu_seconds: None,
            batch: 1,
        }
    }

    /// Whether such a row can be.
    ///
    /// # Errors
    /// Names the column.
    pub fn check(&self, bounds: &Bounds) -> Result<()> {
        bounds.machine(self.machine)?;
        if let Some(layer) = self.layer {
            within("layer", layer, &(0..=bounds.layers.max(1) - 1))?;
        }
        self.plan.as_ref().map_or(Ok(()), |plan| bounds.plan(plan))?;
        within("width", self.width, &(1..=limits::TOKENS))?;
        within("context", self.context, &(1..=limits::TOKENS))?;
        place(self.block, self.order, self.copy)?;
        // A component may be too short for the clock, and the rest a difference: not a whole pass.
        let seconds = match self.component >= Component::FullPass {
            true => limits::PASS_SECONDS,
            false => limits::PART_SECONDS,
        };
        within("seconds", self.seconds.0, &seconds)?;
        within("batch", self.batch, &(1..=limits::BATCH))?;
        within("cpu_seconds", self.cpu_seconds.unwrap_or_default().0, &limits::SPENT_SECONDS)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{load_csv, save_csv};
    use std::fs;

    #[test]
    fn samples_read_back_through_csv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latency.csv");
        let rows = vec![LatencySample {
            machine: 0,
            component: Component::VerifyPass,
            layer: None,
            plan: Some("seq:3..9:4".parse().unwrap()),
            width: 5,
            context: 256,
            block: 7,
            order: 2,
            copy: 0,
            seconds: Seconds(0.1 + 0.2),
            cpu_seconds: Some(Seconds(0.4)),
            batch: 4,
        }];
        save_csv(&path, &rows).unwrap();
        assert_eq!(load_csv::<LatencySample>(&path).unwrap(), rows);
        let header = fs::read_to_string(&path).unwrap();
        assert!(header.starts_with(
            "machine,component,layer,plan,width,context,block,order,copy,seconds,cpu_seconds,\
             batch\n\
             0,verify_pass,,seq:3..9:4,"
        ));
        // source: the header of latency.csv before it had the column `batch`
        let old = header.replace(",batch\n", "\n").replace(",4\n", "\n");
        fs::write(&path, old).unwrap();
        assert_eq!(load_csv::<LatencySample>(&path).unwrap()[0].batch, 1);
        fs::write(&path, "machine,component\n0,verify_pass\n").unwrap();
        let message = load_csv::<LatencySample>(&path).unwrap_err().to_string();
        assert!(message.contains("latency.csv, line 2"), "{message}");
    }
}
