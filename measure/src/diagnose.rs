//! From samples to warnings. Medians and median absolute deviations only: nothing here enters a
//! result (statistics live in `simulator`); it says whether the results can be trusted.

use crate::machine::Ticks;
use crate::robust::{median, scaled_deviation, sorted};
use crate::warning::Warning;
use s3d_data::{
    BytesPerSecond, Component, Hertz, LatencySample, Machine, MemoryItem, MemoryRecord, NearTie,
    Origin, Plan, Seconds, ThroughputSample,
};
use statrs::distribution::{Binomial, DiscreteCDF};
use std::collections::BTreeMap;

/// Blocks below which no statement about copies or drift is made.
const ENOUGH_BLOCKS: usize = 6;

/// All that can be said about the machine before anything is measured.
pub fn machine(machine: &Machine) -> Vec<Warning> {
    let slow = |governor: &&String| !matches!(governor.as_str(), "performance" | "schedutil");
    let governor = machine.governor.as_ref().filter(slow).cloned();
    busy_machine(machine)
        .into_iter()
        .chain(governor.map(|governor| Warning::SlowGovernor { governor }))
        .collect()
}

/// What the machine was doing before the run: its load, set against its cores.
pub(crate) fn busy_machine(machine: &Machine) -> Option<Warning> {
    let load = machine.load.filter(|&load| load > 0.5 * machine.cores as f64)?;
    Some(Warning::BusyMachine { load, cores: machine.cores })
}

/// What others took of the processors between two readings, and what to say of it; `own` is this
/// process's CPU time, `wall` the time between the readings. None for a time that is too short.
pub fn others(
    before: Ticks,
    after: Ticks,
    own: Seconds,
    wall: Seconds,
    cores: usize,
) -> (Option<f64>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let stolen = after.stolen_share(before);
    if stolen > 0.02 {
        warnings.push(Warning::StolenTime { share: stolen });
    }
    let foreign = after.busy_share(before) - own / (wall * cores as f64);
    let foreign = (wall > Seconds(1.0)).then_some(foreign.clamp(0.0, 1.0));
    if let Some(share) = foreign.filter(|share| *share > 0.1) {
        warnings.push(Warning::ForeignWork { share });
    }
    (foreign, warnings)
}

/// Whether the processor's clock changed; `readings` are those over the run.
pub(crate) fn changing_clock(readings: &[Hertz], governor: Option<&str>) -> Option<Warning> {
    let highest = readings.iter().copied().fold(Hertz(0.0), Hertz::max);
    let lowest = readings.iter().copied().fold(Hertz(f64::INFINITY), Hertz::min) / highest;
    let governor = governor.map(str::to_string);
    (lowest < 0.9).then_some(Warning::ChangingClock { lowest, governor })
}

/// Whether the clock's step is fine enough for the shortest thing timed with it.
pub(crate) fn coarse_clock(resolution: Seconds, shortest: Seconds) -> Option<Warning> {
    (resolution > shortest * 0.05).then_some(Warning::CoarseClock { resolution, shortest })
}

/// Whether plain decoding streams weights faster than the memory can: only judged where the weights
/// are at least four times the last-level cache, since smaller ones are partly in it.
pub fn bandwidth_share(
    machine: &Machine,
    weight_bytes: u64,
    streamed: BytesPerSecond,
) -> Option<Warning> {
    let best = machine.read_bytes_per_s?;
    let judged = weight_bytes >= 4 * machine.last_level_cache().0;
    let impossible = streamed > best * 1.05;
    (judged && impossible).then_some(Warning::BandwidthShare { streamed, best })
}

/// What the latencies of plain passes say about themselves, and whether the clock was fine enough.
pub fn latency(samples: &[LatencySample], resolution: Seconds) -> Vec<Warning> {
    let longest = samples.iter().map(|sample| sample.context).max().unwrap_or(0);
    let passes = |copy| -> BTreeMap<usize, f64> {
        let of_copy = samples.iter().filter(|s| {
            s.component == Component::FullPass && s.copy == copy && s.context == longest
        });
        of_copy.map(|s| (s.block, s.seconds.0)).collect()
    };
    let (first, second) = (passes(0), passes(1));
    let ratios: Vec<f64> =
        first.iter().filter_map(|(block, a)| second.get(block).map(|b| b / a)).collect();
    let series: Vec<f64> = first.into_values().collect();
    let what = "full passes of width 1";
    let timed = |s: &&LatencySample| s.component != Component::Rest && s.seconds > Seconds::ZERO;
    let times = samples.iter().filter(timed).map(|s| s.seconds);
    let shortest = times.fold(Seconds(f64::INFINITY), Seconds::min);
    let checks = [
        control(what, &ratios),
        slow_first_runs(what, &series),
        drift(what, &series),
        outliers("passes, each beside those of its kind,", &beside_their_median(samples)),
        coarse_clock(resolution, shortest),
    ];
    checks.into_iter().flatten().collect()
}

/// Whole passes over the median of their cell: same kind, plan, width and context.
fn beside_their_median(samples: &[LatencySample]) -> Vec<f64> {
    let mut cells: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for s in samples.iter().filter(|s| s.component >= Component::FullPass) {
        cells.entry((s.component, &s.plan, s.width, s.context)).or_default().push(s.seconds.0);
    }
    let over_median = |cell: Vec<f64>| {
        let middle = median(&cell);
        cell.into_iter().map(move |seconds| seconds / middle)
    };
    cells.into_values().filter(|cell| cell.len() > 2).flat_map(over_median).collect()
}

/// Whether whole passes got the processors they could use; `threads` of them wait by spinning, so
/// that an undisturbed pass uses all of them all the time. Over all passes together: the system
/// books the time of other threads at its ticks, which a single short pass does not see.
pub fn waiting(samples: &[LatencySample], threads: usize) -> Option<Warning> {
    let passes = samples.iter().filter(|s| s.component >= Component::FullPass);
    let times: Vec<_> = passes.filter_map(|s| Some((s.cpu_seconds?, s.seconds))).collect();
    let spent: Seconds = times.iter().map(|time| time.0).sum();
    let taken: Seconds = times.iter().map(|time| time.1).sum();
    let share = spent / (taken * threads as f64);
    (times.len() >= 20 && share < 0.85).then_some(Warning::Waiting { share })
}

/// How many near-ties were met, and the widest.
pub fn near_ties(ties: &[NearTie]) -> Option<Warning> {
    let widest_gap = ties.iter().map(|tie| tie.logit_gap).fold(0.0, f64::max);
    (!ties.is_empty()).then_some(Warning::NearTies { count: ties.len(), widest_gap })
}

/// Whether computed and measured peak memory agree within 5 %.
pub fn memory(records: &[MemoryRecord]) -> Option<Warning> {
    let peak = |origin| {
        let found = records.iter().find(|r| r.item == MemoryItem::Peak && r.origin == origin)?;
        Some(found.bytes)
    };
    let (computed, measured) = (peak(Origin::Computed)?, peak(Origin::Measured)?);
    let apart = (computed / measured - 1.0).abs() > 0.05;
    apart.then_some(Warning::MemoryDisagrees { computed, measured })
}

/// Median speed of plain decoding after the prompt pass; none where nothing was generated.
pub(crate) fn plain_tokens_per_second(samples: &[ThroughputSample]) -> Option<f64> {
    let plain = samples.iter().filter(|s| s.plan == Plan::Plain && s.tokens > 1);
    let speeds: Vec<f64> = plain.map(|s| 1.0 / seconds_per_token(s)).collect();
    (!speeds.is_empty()).then(|| median(&speeds))
}

/// All that the end-to-end blocks say about themselves: control, first block, drift, outliers.
pub fn throughput(samples: &[ThroughputSample]) -> Vec<Warning> {
    let plain = |copy| -> BTreeMap<usize, f64> {
        let of_copy = samples.iter().filter(|s| s.plan == Plan::Plain && s.copy == copy);
        of_copy.map(|s| (s.block, seconds_per_token(s))).collect()
    };
    let (first, second) = (plain(0), plain(1));
    let ratios: Vec<f64> =
        first.iter().filter_map(|(block, a)| second.get(block).map(|b| b / a)).collect();
    let series: Vec<f64> = first.into_values().collect();
    let what = "plain decoding";
    let checks = [
        control(what, &ratios),
        slow_first_runs(what, &series),
        drift(what, &series),
        outliers(what, &series),
    ];
    checks.into_iter().flatten().collect()
}

/// Seconds per token after the prompt pass, which commits the first.
fn seconds_per_token(sample: &ThroughputSample) -> f64 {
    sample.decode_seconds().0 / sample.tokens.saturating_sub(1).max(1) as f64
}

/// Whether the two copies of a control cell disagree; `ratios` are second over first, by block.
/// The interval of the median is that of the sign test (distribution-free, order statistics).
pub fn control(what: &str, ratios: &[f64]) -> Option<Warning> {
    let sorted = sorted(ratios);
    let blocks = sorted.len();
    if blocks < ENOUGH_BLOCKS {
        return None;
    }
    let tail = sign_test_rank(blocks).saturating_sub(1);
    let (ratio, low, high) = (median(ratios), sorted[tail], sorted[blocks - 1 - tail]);
    // Copies may differ by a thousandth for good (their places in the cache): that harms nothing.
    let disagree = (low > 1.0 || high < 1.0) && (ratio - 1.0).abs() > 0.01;
    disagree.then(|| Warning::ControlDisagrees { what: what.into(), ratio, low, high })
}

/// Which of `blocks` sorted values, counted from 1 at either end, bounds the 95 % interval of their
/// median: the largest `r` with `P(X < r) <= 2.5 %`, X binomial with probability 1/2; 0 where none
/// does.
fn sign_test_rank(blocks: usize) -> usize {
    let law = Binomial::new(0.5, blocks as u64);
    law.map_or(0, |law| {
        let within = |rank: &u64| law.cdf(*rank) <= 0.025;
        (0..blocks as u64 / 2).take_while(within).count()
    })
}

/// Whether the first block stands out; `series` is one cell by block.
pub(crate) fn slow_first_runs(what: &str, series: &[f64]) -> Option<Warning> {
    let (first, rest) = series.split_first()?;
    let limit = median(rest) + 5.0 * scaled_deviation(rest);
    let ratio = first / median(rest);
    let slow = series.len() >= ENOUGH_BLOCKS && *first > limit && ratio > 1.1;
    slow.then(|| Warning::SlowFirstRuns { what: what.into(), ratio })
}

/// Whether the last third of a series differs from its first third; `series` is one cell by block.
pub fn drift(what: &str, series: &[f64]) -> Option<Warning> {
    let third = series.len() / 3;
    if series.len() < ENOUGH_BLOCKS {
        return None;
    }
    let ratio = median(&series[series.len() - third..]) / median(&series[..third]);
    ((ratio - 1.0).abs() > 0.1).then(|| Warning::Drift { what: what.into(), ratio })
}

/// Whether many values lie farther than five scaled median absolute deviations from their median
/// (Leys et al., J. Exp. Soc. Psych. 49(4), 2013); they are flagged, never dropped.
pub(crate) fn outliers(what: &str, values: &[f64]) -> Option<Warning> {
    let (middle, spread) = (median(values), scaled_deviation(values).max(1e-3 * median(values)));
    let far = values.iter().filter(|&value| (value - middle).abs() > 5.0 * spread).count();
    let share = far as f64 / values.len().max(1) as f64;
    (values.len() >= 20 && share > 0.1).then(|| Warning::Outliers { what: what.into(), share })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fake::{FakeClock, Faults};

    fn series(faults: Faults, blocks: usize) -> Vec<f64> {
        let clock = FakeClock::new(faults, 3);
        (0..blocks).map(|_| clock.spend(0.01)).collect()
    }

    #[test]
    fn a_quiet_machine_gives_no_warning() {
        let quiet = series(Faults { noise: 0.03, ..Faults::default() }, 60);
        let ratios: Vec<f64> = quiet.chunks(2).map(|pair| pair[0] / pair[1]).collect();
        assert_eq!(control("x", &ratios), None);
        assert_eq!(slow_first_runs("x", &quiet), None);
        assert_eq!(drift("x", &quiet), None);
        assert_eq!(outliers("x", &quiet), None);
        assert_eq!(changing_clock(&[Hertz(2.5e9), Hertz(2.6e9)], None), None);
        assert_eq!(coarse_clock(Seconds(3e-8), Seconds(1e-5)), None);
        assert_eq!(waiting(&passes(&quiet, 1.9), 2), None);
    }

    #[test]
    fn each_fault_gives_its_warning() {
        let noise = Faults { noise: 0.03, ..Faults::default() };
        let drifting = series(Faults { drift_per_second: 1.0, ..noise }, 60);
        assert!(matches!(drift("x", &drifting), Some(Warning::Drift { ratio, .. }) if ratio > 1.1));
        let spoiled = series(Faults { tails: 0.3, ..noise }, 60);
        assert!(outliers("x", &spoiled).is_some());
        let mut cold = series(noise, 20);
        cold[0] *= 2.0;
        assert!(slow_first_runs("x", &cold).is_some());
        let biased: Vec<f64> = series(noise, 30).iter().map(|s| s / 0.01 * 1.05).collect();
        assert!(control("x", &biased).is_some_and(|warning| warning.marks_run()));
        assert!(changing_clock(&[Hertz(2.6e9), Hertz(1.3e9)], Some("powersave")).is_some());
        assert!(coarse_clock(Seconds(1e-6), Seconds(4e-6)).is_some());
        let starved = waiting(&passes(&series(noise, 30), 1.0), 2);
        assert!(matches!(starved, Some(Warning::Waiting { share }) if (share - 0.5).abs() < 1e-9));
        let burst = latency(&passes(&spoiled, 2.0), Seconds(1e-9));
        assert!(burst.iter().any(|warning| matches!(warning, Warning::Outliers { .. })));
    }

    /// Plain passes of these times, on so many processors.
    fn passes(seconds: &[f64], processors: f64) -> Vec<LatencySample> {
        let pass = |(block, &seconds): (usize, &f64)| LatencySample {
            machine: 0,
            component: Component::FullPass,
            layer: None,
            plan: Some(Plan::Plain),
            width: 1,
            context: 256,
            block,
            order: 0,
            copy: 0,
            seconds: Seconds(seconds),
            cpu_seconds: Some(Seconds(seconds * processors)),
            batch: 1,
        };
        seconds.iter().enumerate().map(pass).collect()
    }

    #[test]
    fn the_sign_test_has_its_tabulated_ranks() {
        // source: tables of the sign test, two-sided 5 %: critical values 0 at 6, 1 at 10, 5 at 20,
        // 9 at 30
        let critical = [6, 10, 20, 30].map(|n| sign_test_rank(n) as i64 - 1);
        assert_eq!(critical, [0, 1, 5, 9]);
    }

    #[test]
    fn a_governor_that_saves_power_is_named() {
        let mut described = crate::machine::describe();
        (described.load, described.governor) = (None, Some("powersave".into()));
        assert!(matches!(machine(&described)[..], [Warning::SlowGovernor { .. }]));
        described.governor = Some("performance".into());
        assert_eq!(machine(&described), []);
    }

    #[test]
    fn a_bandwidth_above_the_best_is_judged_only_beyond_the_cache() {
        let mut machine = crate::machine::describe();
        machine.caches = vec![s3d_data::Cache {
            level: 3,
            kind: "Unified".into(),
            bytes: s3d_data::Bytes(32 << 20),
        }];
        machine.read_bytes_per_s = Some(BytesPerSecond(30e9));
        let judge = |mib: u64, rate| bandwidth_share(&machine, mib << 20, BytesPerSecond(rate));
        assert!(judge(151, 33e9).is_some());
        assert!(judge(151, 31e9).is_none(), "103 %");
        assert!(judge(38, 60e9).is_none(), "partly in cache");
    }

    #[test]
    fn foreign_and_stolen_time_are_told_apart() {
        let before = Ticks { busy: 0, stolen: 0, total: 0 };
        let after = Ticks { busy: 900, stolen: 50, total: 1000 };
        let warn = |own| others(before, after, Seconds(own), Seconds(5.0), 2);
        assert_eq!(warn(9.0).1, [Warning::StolenTime { share: 0.05 }]);
        assert_eq!(warn(5.0).1.len(), 2);
    }
}
