//! The schedule on a fake machine: what it orders, when it stops, and that it earns its keep.

use super::*;
use crate::clock::fake::{FakeClock, Faults};
use crate::robust::median;
use rand::Rng;
use std::convert::Infallible;

#[test]
fn a_block_holds_every_cell_once_and_the_next_reverses_it() {
    let schedule = Schedule::new(5, Some(2), 7);
    let cells = |block| -> Vec<_> {
        schedule.block(block).iter().map(|turn| (turn.cell, turn.copy)).collect()
    };
    for pair in 0..4 {
        let (even, mut odd) = (cells(2 * pair), cells(2 * pair + 1));
        odd.reverse();
        assert_eq!(even, odd);
        let mut sorted = even;
        sorted.sort_unstable();
        assert_eq!(sorted, [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (4, 0)]);
    }
    assert_ne!(cells(0), cells(2), "another pair, another order");
    let orders: Vec<_> = schedule.block(3).iter().map(|turn| (turn.block, turn.order)).collect();
    assert_eq!(orders, [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 5)]);
}

#[test]
fn rare_cells_are_sampled_less_often_but_not_skipped() {
    let schedule = Schedule::new(3, None, 1).sample_every(1, 4);
    let seen = |cell| {
        (0..80).filter(|&block| schedule.block(block).iter().any(|t| t.cell == cell)).count()
    };
    assert_eq!((seen(0), seen(2)), (80, 80));
    assert_eq!(seen(1), 2 + 20, "one pair in four, and the first");
}

#[test]
fn a_cell_beside_another_is_never_without_it() {
    let schedule = Schedule::new(6, None, 1).sample_every(1, 2);
    let schedule = (3..6).fold(schedule, |s, cell| s.sample_beside(cell, cell - 3, 4));
    let held = |cell, block| schedule.block(block).iter().any(|turn| turn.cell == cell);
    for block in 0..160 {
        for cell in 3..6 {
            assert!(!held(cell, block) || held(cell - 3, block), "block {block}, cell {cell}");
        }
    }
    let seen = |cell| (2..162).filter(|&block| held(cell, block)).count();
    assert_eq!((seen(0), seen(3), seen(1), seen(4)), (160, 40, 80, 20));
}

#[test]
fn stops_when_told_when_spent_and_when_done() {
    let schedule = Schedule::new(2, None, 1);
    let run = |deadline, at_most, settle_after: usize| {
        let clock = FakeClock::new(Faults::default(), 1);
        let bounds = Bounds { first_block: 0, at_least: 2, at_most, deadline: Seconds(deadline) };
        let mut blocks = 0;
        let measure = |turns: &[Turn]| -> Result<bool, Infallible> {
            for _ in turns {
                clock.spend(0.5);
            }
            blocks += 1;
            Ok(blocks >= settle_after)
        };
        let Ok(stop) = run_blocks(&schedule, &clock, bounds, measure);
        (stop, blocks)
    };
    assert_eq!(run(100.0, 7, 99), (Stop::Blocks, 7));
    assert_eq!(run(100.0, 50, 5), (Stop::Narrow, 6), "whole pairs only");
    assert_eq!(run(4.2, 50, 99), (Stop::Budget, 4), "a fifth block would end at 5.0");
    assert_eq!(run(0.0, 50, 99), (Stop::Budget, 2), "at least two, whatever the time");
}

const COSTS: [f64; 3] = [0.010, 0.006, 0.014];
const TRUE_RATIO: f64 = COSTS[0] / COSTS[1];
const BLOCKS: usize = 61;

/// Ratio cell 0 / cell 1 in every block of one simulated run.
fn ratios(schedule: &Schedule, faults: Faults, seed: u64) -> Vec<f64> {
    let clock = FakeClock::new(faults, seed);
    let mut seconds = vec![[0.0; COSTS.len()]; BLOCKS];
    let turns: Vec<Turn> = (0..BLOCKS).flat_map(|block| schedule.block(block)).collect();
    let mut order: Vec<&Turn> = turns.iter().collect();
    if !schedule.interleaved {
        order.sort_by_key(|turn| turn.cell);
    }
    for turn in order {
        let cost = clock.spend(COSTS[turn.cell]);
        if turn.copy == 0 {
            seconds[turn.block][turn.cell] = cost;
        }
    }
    seconds.iter().map(|block| block[0] / block[1]).collect()
}

/// 95 % percentile interval of the median, by resampling blocks.
fn bootstrap(ratios: &[f64], seed: u64) -> (f64, f64) {
    const RESAMPLES: usize = 500;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |_| {
        let sample: Vec<f64> =
            (0..ratios.len()).map(|_| ratios[random.random_range(0..ratios.len())]).collect();
        median(&sample)
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).map(&mut draw).collect();
    medians.sort_unstable_by(f64::total_cmp);
    (medians[RESAMPLES / 40], medians[RESAMPLES - 1 - RESAMPLES / 40])
}

/// Share of 1,000 seeded runs whose interval holds the true ratio, and their median width.
fn coverage(interleaved: bool, faults: Faults) -> (f64, f64) {
    const RUNS: u64 = 1_000;
    let mut widths = Vec::new();
    let mut covered = 0;
    for seed in 0..RUNS {
        let schedule = Schedule::new(COSTS.len(), Some(0), seed);
        let schedule = if interleaved { schedule } else { schedule.without_interleaving() };
        let (low, high) = bootstrap(&ratios(&schedule, faults, seed), seed);
        widths.push(high - low);
        covered += u64::from(low <= TRUE_RATIO && TRUE_RATIO <= high);
    }
    (covered as f64 / RUNS as f64, median(&widths))
}

/// Every fault at once: 2 % drift a second, bursts a tenth of the time, heavy tails, a step.
const FAULTS: Faults = Faults {
    noise: 0.05,
    drift_per_second: 0.02,
    bursts: 0.1,
    tails: 0.02,
    step_at: Some(0.7),
    start: 0.0,
    start_and_plan: 0.0,
};

#[test]
fn intervals_hold_the_true_ratio_on_a_machine_with_every_fault() {
    let (quiet, quiet_width) = coverage(true, Faults { noise: 0.05, ..Faults::default() });
    let (covered, width) = coverage(true, FAULTS);
    assert!(quiet >= 0.93 && covered >= 0.93, "covered: quiet {quiet}, with faults {covered}");
    assert!(width <= 1.5 * quiet_width, "{width} against {quiet_width}");
}

#[test]
fn without_interleaving_they_do_not() {
    let (covered, _) = coverage(false, FAULTS);
    assert!(covered < 0.5, "covered {covered}: the schedule would not earn its keep");
}

#[test]
fn many_cells_are_dealt_to_blocks_that_all_hold_the_control() {
    let schedule = Schedule::new(28, Some(0), 3).in_blocks_of(12);
    assert_eq!(schedule.parts(), 3);
    let block = |block| -> Vec<_> {
        schedule.block(block).iter().map(|turn| (turn.cell, turn.copy)).collect()
    };
    for round in 0..4 {
        let mut all: Vec<_> = (0..3).flat_map(|part| block(3 * round + part)).collect();
        assert_eq!(all.iter().filter(|cell| cell.0 == 0).count(), 6, "both copies in each");
        all.sort_unstable();
        all.dedup();
        let wanted: Vec<_> = [(0, 0), (0, 1)].into_iter().chain((1..28).map(|c| (c, 0))).collect();
        assert_eq!(all, wanted, "every cell once a round");
        assert!((0..3).all(|part| block(3 * round + part).len() == 11));
    }
    let backwards: Vec<_> = (3..6).rev().flat_map(|b| block(b).into_iter().rev()).collect();
    assert_eq!((0..3).flat_map(block).collect::<Vec<_>>(), backwards, "a steady drift cancels");
    assert_ne!(block(0), block(6), "the next pair is dealt anew");
}
