//! Whole generations: rows of `throughput.csv`.

use crate::error::Result;
use crate::limits::{self, within};
use crate::plan::Plan;
use crate::records::bounds::{Bounds, place};
use crate::records::latency::one_text;
use crate::units::Seconds;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One end-to-end generation: a row of `throughput.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThroughputSample {
    /// Index into the machines of `run.json`.
    pub machine: usize,
    /// The block of the schedule.
    pub block: usize,
    /// Place in the block.
    pub order: usize,
    /// 1 for the second copy of the control cell, else 0.
    pub copy: usize,
    /// How it was decoded.
    pub plan: Plan,
    /// The prompt's name.
    pub id: String,
    /// Output tokens.
    pub tokens: usize,
    /// Iterations (plain: steps) after the prompt pass.
    pub iterations: usize,
    /// Prompt pass, the token it commits included.
    pub prompt_seconds: Seconds,
    /// All draft passes.
    pub draft_seconds: Seconds,
    /// All verify passes (plain: all steps).
    pub verify_seconds: Seconds,
    /// The whole generation, prompt pass included.
    pub seconds: Seconds,
    /// CPU time of all threads together over the whole generation; none where it was not read.
    #[serde(default)]
    pub cpu_seconds: Option<Seconds>,
    /// Texts that were decoded in lockstep: then tokens, iterations and times are sums over the
    /// texts of the block, the times shared out among the texts of each pass. 1 in the files of
    /// older programs.
    #[serde(default = "one_text")]
    pub batch: usize,
    /// The start of a process that decoded it, counted from 0 on its machine. A process keeps its
    /// memory layout, and with it some of its speed: samples of one start are a cluster. 0 in the
    /// files of older programs.
    #[serde(default)]
    pub start: usize,
}

impl ThroughputSample {
    /// What its block was measured for.
    pub fn purpose(&self) -> BlockPurpose {
        BlockPurpose::of(self.block)
    }

    /// The time after the prompt pass.
    pub fn decode_seconds(&self) -> Seconds {
        self.seconds - self.prompt_seconds
    }
}

/// What a block of generations is measured for. In files the number of the block says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockPurpose {
    /// To see how the plans compare, and how well they are predicted.
    Explore,
    /// The leading plans beside each other: all of these blocks help to choose, none reports.
    RunOff,
    /// Plain decoding and the choice alone, on fresh prompts where there are enough, after the
    /// choice was made: they report it, and must not enter it.
    Confirm,
}

impl BlockPurpose {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 3] = [Self::Explore, Self::RunOff, Self::Confirm];

    /// Numbers of blocks that each purpose has.
    const BLOCKS: usize = 1_000_000;

    /// The numbers of its blocks.
    pub fn blocks(self) -> Range<usize> {
        match self {
            Self::Explore => 0..Self::BLOCKS,
            Self::RunOff => Self::BLOCKS..2 * Self::BLOCKS,
            Self::Confirm => 2 * Self::BLOCKS..limits::BLOCKS + 1,
        }
    }

    /// The purpose of the block with this number.
    pub fn of(block: usize) -> Self {
        let found = Self::ALL.into_iter().find(|purpose| purpose.blocks().contains(&block));
        found.unwrap_or(Self::Confirm)
    }
}

impl ThroughputSample {
    /// Whether such a row can be.
    ///
    /// # Errors
    /// Names the column.
    pub fn check(&self, bounds: &Bounds) -> Result<()> {
        bounds.machine(self.machine)?;
        bounds.plan(&self.plan)?;
        place(self.block, self.order, self.copy)?;
        within("tokens", self.tokens, &(1..=limits::TOKENS))?;
        // Every iteration commits a token at least; the first token may be the prompt pass's.
        let least = usize::from(self.tokens > 1);
        within("iterations", self.iterations, &(least..=self.tokens))?;
        let seconds = within("seconds", self.seconds.0, &limits::PASS_SECONDS)?;
        // The clock is read between the parts: they take no longer than the whole, but for
        // rounding.
        let whole = 0.0..=seconds * (1.0 + 1e-6);
        within("prompt_seconds", self.prompt_seconds.0, &whole)?;
        within("draft_seconds", self.draft_seconds.0, &whole)?;
        within("verify_seconds", self.verify_seconds.0, &whole)?;
        within("cpu_seconds", self.cpu_seconds.unwrap_or_default().0, &limits::SPENT_SECONDS)?;
        within("batch", self.batch, &(1..=limits::BATCH))?;
        within("start", self.start, &(0..=limits::STARTS))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64) -> ThroughputSample {
        ThroughputSample {
            machine: 0,
            block: 0,
            order: 0,
            copy: 0,
            plan: Plan::Plain,
            id: "a".into(),
            tokens: 9,
            iterations: 8,
            prompt_seconds: Seconds(0.1),
            draft_seconds: Seconds::ZERO,
            verify_seconds: Seconds(0.8),
            seconds: Seconds(seconds),
            cpu_seconds: None,
            batch: 1,
            start: 0,
        }
    }

    #[test]
    fn times_that_no_machine_takes_are_refused() {
        let refused = |row: ThroughputSample| {
            row.check(&Bounds::WIDEST).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(refused(sample(1.0)), "");
        for seconds in [1e-323, 0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(refused(sample(seconds)).starts_with("seconds: expected"), "{seconds}");
        }
        assert!(refused(sample(0.5)).starts_with("verify_seconds: expected 0 to"));
        let one = ThroughputSample { tokens: 1, ..sample(1.0) };
        assert!(refused(one.clone()).starts_with("iterations: expected 0 to 1, found 8"));
        assert_eq!(
            refused(ThroughputSample { iterations: 0, ..one }),
            "",
            "short, but a generation"
        );
        let plan = "3..9:4".parse().unwrap();
        let bounds = Bounds { layers: 6, machines: 1 };
        let message = ThroughputSample { plan, ..sample(1.0) }.check(&bounds).unwrap_err();
        assert!(message.to_string().contains("the model has layers 0..6"), "{message}");
        let many = ThroughputSample { start: limits::STARTS + 1, ..sample(1.0) };
        assert!(refused(many).starts_with("start: expected 0 to 1000000"));
        let two = ThroughputSample { machine: 1, ..sample(1.0) };
        assert!(two.check(&bounds).unwrap_err().to_string().starts_with("machine: "));
    }

    #[test]
    fn a_row_of_an_older_program_is_of_the_first_start() {
        // source: the header of throughput.csv before it had the column `start`
        let old = "machine,block,order,copy,plan,id,tokens,iterations,prompt_seconds,draft_seconds,\
                   verify_seconds,seconds,cpu_seconds\n0,0,0,0,plain,a,9,8,0.1,0,0.8,1,\n";
        let mut rows = crate::store::parse_csv(old.as_bytes(), std::path::Path::new("t")).unwrap();
        let (_, row): (u64, ThroughputSample) = rows.remove(0);
        assert_eq!(row, sample(1.0));
    }

    #[test]
    fn blocks_of_files_keep_their_purposes() {
        // source: run directories of schema 1, where the run-off begins at 1,000,000, the
        // confirmation at 2,000,000
        let of = [0, 999_999, 1_000_000, 1_999_999, 2_000_000, 3_000_000, limits::BLOCKS];
        use BlockPurpose::{Confirm, Explore, RunOff};
        let expected = [Explore, Explore, RunOff, RunOff, Confirm, Confirm, Confirm];
        assert_eq!(of.map(BlockPurpose::of), expected);
        assert_eq!(RunOff.blocks().start, 1_000_000);
    }
}
