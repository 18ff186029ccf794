//! Advice about a measurement: what is wrong, what it does to the numbers, and what to do about it.
//!
//! Warnings are returned and written into `run.json`, never printed here.

use crate::request::Request;
use s3d_data::{Bytes, BytesPerSecond, Seconds};
use std::fmt;

/// Something that makes the numbers of a run worth less than they look.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// Other programs were running when the run began.
    BusyMachine {
        /// One-minute load.
        load: f64,
        /// Logical cores.
        cores: usize,
    },
    /// The hypervisor gave processor time to other guests.
    StolenTime {
        /// Share of all processor time.
        share: f64,
    },
    /// The cores were busier than this process can account for.
    ForeignWork {
        /// Share of all processor time that others used while the run was on.
        share: f64,
    },
    /// Passes waited for processors that they could have used.
    Waiting {
        /// Share of their threads' time that passes were given.
        share: f64,
    },
    /// The frequency governor lets the processor's clock follow the load.
    SlowGovernor {
        /// Its name.
        governor: String,
    },
    /// A stage's first block was slower than the later ones although everything had been warmed.
    SlowFirstRuns {
        /// What was timed.
        what: String,
        /// First block over median of the others.
        ratio: f64,
    },
    /// The same work took longer (or less long) at the end than at the beginning.
    Drift {
        /// What was timed.
        what: String,
        /// Late over early.
        ratio: f64,
    },
    /// The clock's step is not small against what was timed with it.
    CoarseClock {
        /// The smallest step the clock shows.
        resolution: Seconds,
        /// The shortest component that was timed.
        shortest: Seconds,
    },
    /// The processor's clock changed during the run.
    ChangingClock {
        /// Lowest clock seen, as a share of the highest.
        lowest: f64,
        /// The frequency governor, where it is known.
        governor: Option<String>,
    },
    /// Many single measurements lie far from their median.
    Outliers {
        /// What was timed.
        what: String,
        /// Share of samples farther than five scaled median absolute deviations.
        share: f64,
    },
    /// The two copies of the control cell do not agree. Marks the run.
    ControlDisagrees {
        /// What was timed.
        what: String,
        /// Median over blocks of second copy over first copy.
        ratio: f64,
        /// Lower end of its 95 % interval.
        low: f64,
        /// Upper end of its 95 % interval.
        high: f64,
    },
    /// Plain decoding seems to read weights faster than the memory delivers. Marks the run.
    BandwidthShare {
        /// Weights streamed per second by plain decoding.
        streamed: BytesPerSecond,
        /// Best streaming read that was measured.
        best: BytesPerSecond,
    },
    /// Fewer traced positions than a choice can rest on.
    FewPositions {
        /// Positions traced for every window.
        found: usize,
        /// Positions wanted.
        wanted: usize,
    },
    /// The time was spent before these stages began.
    LeftOut {
        /// Their names.
        stages: Vec<&'static str>,
    },
    /// The smallest measurement took longer than the time that was given.
    OverBudget {
        /// What was given.
        budget: Seconds,
        /// What it took.
        spent: Seconds,
    },
    /// So few interleaved blocks that intervals are wide.
    FewBlocks {
        /// Blocks measured.
        found: usize,
        /// Blocks wanted.
        wanted: usize,
    },
    /// Positions where the top token depends on width, precision or widening.
    NearTies {
        /// How many.
        count: usize,
        /// The widest gap between the two tokens' logits.
        widest_gap: f64,
    },
    /// Computed and measured peak memory are more than 5 % apart.
    MemoryDisagrees {
        /// From the shape.
        computed: Bytes,
        /// From the system.
        measured: Bytes,
    },
    /// The child process that measures peak memory failed.
    MemoryNotMeasured {
        /// What it said.
        message: String,
    },
    /// Something held the card's clock down.
    CardHeldDown {
        /// Share of the looks at the card that saw it.
        share: f64,
        /// Lowest clock then, as a share of the highest possible.
        lowest: f64,
        /// What, in words.
        reasons: String,
    },
    /// The weights are random.
    RandomWeights,
    /// The CPU plays the device.
    SoftwareAdapter {
        /// Its name.
        name: String,
    },
}

impl Warning {
    /// Whether the run must be shown as marked: its numbers contradict each other.
    pub fn marks_run(&self) -> bool {
        matches!(self, Self::ControlDisagrees { .. } | Self::BandwidthShare { .. })
    }
}

/// A fraction as a whole percentage.
fn percent(fraction: f64) -> String {
    format!("{:.0} %", 100.0 * fraction)
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BusyMachine { .. }
            | Self::StolenTime { .. }
            | Self::ForeignWork { .. }
            | Self::Waiting { .. }
            | Self::SlowGovernor { .. }
            | Self::ChangingClock { .. }
            | Self::CardHeldDown { .. }
            | Self::SoftwareAdapter { .. } => self.about_the_machine(f),
            Self::FewPositions { .. }
            | Self::LeftOut { .. }
            | Self::OverBudget { .. }
            | Self::FewBlocks { .. }
            | Self::NearTies { .. }
            | Self::MemoryDisagrees { .. }
            | Self::MemoryNotMeasured { .. }
            | Self::RandomWeights => self.about_the_run(f),
            _ => self.about_the_times(f),
        }
    }
}

impl Warning {
    fn about_the_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BusyMachine { load, cores } => write!(
                f,
                "the machine was busy when the run began (load {load:.1} on {cores} cores): close \
                 other programs, or give fewer --threads than there are idle cores"
            ),
            Self::StolenTime { share } => write!(
                f,
                "the hypervisor took {} of the processor time: measure again at a quieter hour, or \
                 on a machine with cores of its own",
                percent(*share)
            ),
            Self::ForeignWork { share } => write!(
                f,
                "other programs used {} of the processor time during the run: close them and \
                 measure again with --force",
                percent(*share)
            ),
            Self::Waiting { share } => write!(
                f,
                "passes were given only {} of the processor time that their threads could use: \
                 close other programs, or give fewer --threads",
                percent(*share)
            ),
            Self::SlowGovernor { governor } => write!(
                f,
                "the frequency governor is '{governor}': set it to 'performance' (cpupower \
                 frequency-set -g performance) while measuring"
            ),
            Self::CardHeldDown { share, lowest, reasons } => write!(
                f,
                "the GPU was throttled in {} of the samples, to {} of its highest clock \
                 ({reasons}): let it cool down, raise its limit (nvidia-smi -pl), or compare \
                 ratios inside blocks only",
                percent(*share),
                percent(*lowest)
            ),
            Self::SoftwareAdapter { name } => write!(
                f,
                "software Vulkan ({name}), whose times say nothing about a GPU: measure where the \
                 driver of a card is; s3d doctor --device gpu lists the adapters"
            ),
            Self::ChangingClock { lowest, governor } => write!(
                f,
                "the processor clock fell to {} of its highest value (governor {}): set the \
                 governor to 'performance', and let the machine cool down",
                percent(*lowest),
                governor.as_deref().unwrap_or("unknown")
            ),
            _ => Ok(()),
        }
    }

    fn about_the_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlowFirstRuns { what, ratio } => write!(
                f,
                "the first block of {what} took {ratio:.2} times as long as the later ones, \
                 warm-up notwithstanding: measure again, with a longer --time-budget"
            ),
            Self::Drift { what, ratio } => write!(
                f,
                "{what} took {ratio:.2} times as long at the end as at the beginning: compare \
                 ratios inside blocks only, and measure again once the machine is warm and quiet"
            ),
            Self::CoarseClock { resolution, shortest } => write!(
                f,
                "the clock moves in steps of {resolution}, but components as short as {shortest} \
                 were timed: rely on whole passes, or measure a larger model (--widen)"
            ),
            Self::Outliers { what, share } => write!(
                f,
                "{} of the samples of {what} lie far from their median (they are kept): close \
                 other programs, or give a longer --time-budget",
                percent(*share)
            ),
            Self::ControlDisagrees { what, ratio, low, high } => write!(
                f,
                "two copies of {what} disagree: ratio {ratio:.3} [{low:.3}, {high:.3}] where 1 was \
                 expected; no speedup of this run can be relied on: measure again with --force on \
                 a quiet machine"
            ),
            Self::BandwidthShare { streamed, best } => write!(
                f,
                "plain decoding streams {streamed} of weights, more than the best measured read \
                 of {best}: the bandwidth was measured while the machine was busy, or the weights \
                 fit a cache; measure again with --force, or with a larger --widen"
            ),
            _ => Ok(()),
        }
    }

    fn about_the_run(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewPositions { found, wanted: Request::EVERY_PROMPT } => write!(
                f,
                "acceptance was traced at {found} positions when the time was spent, not yet on \
                 every prompt: give a longer --time-budget or a smaller --prompt-count"
            ),
            Self::LeftOut { stages } => write!(
                f,
                "no time was left for: {}; give a longer --time-budget and the same command goes \
                 on from here",
                stages.join(", ")
            ),
            Self::OverBudget { budget, spent } => write!(
                f,
                "measuring took {spent}, the --time-budget is {budget}: the smallest measurement \
                 (one text traced, two blocks of passes) takes longer here; give at least that, or \
                 a smaller --context, --tokens or --gamma-max"
            ),
            Self::FewPositions { found, wanted } => write!(
                f,
                "acceptance was traced at {found} positions, {wanted} are needed: give a longer \
                 --time-budget or more prompts (--prompt-count, --prompts)"
            ),
            Self::FewBlocks { found, wanted } => write!(
                f,
                "{found} interleaved blocks were measured, {wanted} are needed for narrow \
                 intervals: give a longer --time-budget, or fewer --plans"
            ),
            Self::NearTies { count, widest_gap } => write!(
                f,
                "at {count} positions the top token depends on how it is computed (widest logit \
                 gap {widest_gap:.1e}): see near_ties.csv; with --widen 1 and --dtype f32 there \
                 should be none"
            ),
            Self::MemoryDisagrees { computed, measured } => write!(
                f,
                "peak memory was computed as {computed} but measured as {measured}: trust the \
                 measured value, and leave that much room in --memory-budget"
            ),
            Self::MemoryNotMeasured { message } => write!(
                f,
                "peak memory is computed only ({message}): see whether a second copy of the model \
                 fits the free memory, then measure again with 's3d measure memory'"
            ),
            Self::RandomWeights => f.write_str(
                "the weights are random: times are real, but acceptance says nothing; give a \
                 trained checkpoint with --model",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each variant. The match makes the compiler ask for a new one.
    fn examples() -> Vec<Warning> {
        use Warning::*;
        let what = || "plain decoding".to_string();
        let all = vec![
            BusyMachine { load: 3.2, cores: 2 },
            StolenTime { share: 0.12 },
            ForeignWork { share: 0.31 },
            Waiting { share: 0.62 },
            SlowGovernor { governor: "powersave".into() },
            SlowFirstRuns { what: what(), ratio: 1.4 },
            Drift { what: what(), ratio: 1.18 },
            CoarseClock { resolution: Seconds(1e-6), shortest: Seconds(4e-6) },
            ChangingClock { lowest: 0.62, governor: Some("powersave".into()) },
            Outliers { what: what(), share: 0.15 },
            ControlDisagrees { what: what(), ratio: 1.041, low: 1.013, high: 1.072 },
            BandwidthShare { streamed: BytesPerSecond(31e9), best: BytesPerSecond(27e9) },
            FewPositions { found: 420, wanted: 1500 },
            LeftOut { stages: vec!["run-off", "confirmation"] },
            OverBudget { budget: Seconds(1.0), spent: Seconds(6.2) },
            FewBlocks { found: 3, wanted: 8 },
            NearTies { count: 2, widest_gap: 3.1e-5 },
            MemoryDisagrees { computed: Bytes(200 << 20), measured: Bytes(260 << 20) },
            MemoryNotMeasured { message: "killed".into() },
            CardHeldDown { share: 0.4, lowest: 0.72, reasons: "power limit".into() },
            RandomWeights,
            SoftwareAdapter { name: "llvmpipe (LLVM 15.0.6, 256 bits)".into() },
        ];
        for warning in &all {
            match warning {
                BusyMachine { .. } | StolenTime { .. } | ForeignWork { .. } => {}
                Waiting { .. } | SlowGovernor { .. } => {}
                SlowFirstRuns { .. } | Drift { .. } | CoarseClock { .. } => {}
                ChangingClock { .. } | Outliers { .. } | ControlDisagrees { .. } => {}
                BandwidthShare { .. } | FewPositions { .. } | FewBlocks { .. } => {}
                NearTies { .. } | MemoryDisagrees { .. } | MemoryNotMeasured { .. } => {}
                CardHeldDown { .. } | RandomWeights | SoftwareAdapter { .. } => {}
                LeftOut { .. } | OverBudget { .. } => {}
            }
        }
        all
    }

    /// The variant's name, for the snapshot's.
    fn name(warning: &Warning) -> String {
        format!("{warning:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
    }

    #[test]
    fn every_warning_names_a_remedy() {
        for warning in examples() {
            insta::assert_snapshot!(name(&warning), warning.to_string());
        }
    }

    #[test]
    fn contradictions_mark_the_run() {
        let marking: Vec<_> =
            examples().iter().filter(|warning| warning.marks_run()).map(name).collect();
        assert_eq!(marking, ["ControlDisagrees", "BandwidthShare"]);
    }
}
