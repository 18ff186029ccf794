//! The spread between starts, found again in worlds where it is known.

use super::{next, of};
use crate::clock::fake::{FakeClock, Faults};
use s3d_data::{Plan, Seconds, ThroughputSample};

const PLANS: [&str; 4] = ["plain", "1..3:2", "1..3:4", "2..3:4"];
const STARTS: usize = 3;

/// A run of `blocks` blocks, a pair of blocks in each start in turn.
fn run(faults: Faults, blocks: usize, seed: u64) -> Vec<ThroughputSample> {
    let clock = FakeClock::new(faults, seed);
    let generation = |block: usize, cell: usize, copy: usize| {
        let start = block / 2 % STARTS;
        let iterations = 20;
        let decode = clock.spend_in(start, cell, (1.0 + 0.3 * cell as f64) * 1e-3 * 20.0);
        ThroughputSample {
            machine: 0,
            block,
            order: cell + copy * PLANS.len(),
            copy,
            plan: PLANS[cell].parse().unwrap(),
            id: format!("text-{block}"),
            tokens: 60,
            iterations,
            prompt_seconds: Seconds(0.01),
            draft_seconds: Seconds::ZERO,
            verify_seconds: Seconds(decode),
            seconds: Seconds(0.01 + decode),
            cpu_seconds: None,
            start,
            batch: 1,
        }
    };
    let of_block = |block| {
        let cells = (0..PLANS.len()).map(move |cell| (cell, 0)).chain([(0, 1)]);
        cells.map(move |(cell, copy)| (block, cell, copy))
    };
    let places = (0..blocks).flat_map(of_block);
    places.map(|(block, cell, copy)| generation(block, cell, copy)).collect()
}

/// The root of the mean squared spread that is found in many runs.
fn found(faults: Faults, blocks: usize) -> f64 {
    let squares: Vec<f64> = (0..200)
        .map(|seed| of(&run(faults, blocks, seed)).unwrap().spread.unwrap().powi(2))
        .collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[test]
fn a_planted_spread_between_starts_is_found() {
    // source: a plan's ratio to plain decoding holds two independent effects of 3 % each
    let faults = Faults { noise: 0.01, start_and_plan: 0.03, ..Faults::default() };
    let spread = found(faults, 24);
    let truth = 0.03 * 2f64.sqrt();
    assert!((spread / truth - 1.0).abs() < 0.12, "{spread} where {truth} was planted");
}

#[test]
fn what_makes_a_start_slower_as_a_whole_is_no_spread_of_ratios() {
    let faults = Faults { noise: 0.001, start: 0.05, ..Faults::default() };
    let spread = found(faults, 24);
    assert!(spread < 0.001, "{spread}");
}

#[test]
fn blocks_that_differ_inside_a_start_are_no_spread_between_starts() {
    // source: no effect of a start is planted; uniform noise of 3 %, its mean over 8 blocks is what
    // an estimate without the correction would call a spread: 1 %
    let faults = Faults { noise: 0.03, ..Faults::default() };
    let spread = found(faults, 24);
    assert!(spread < 0.006, "{spread}");
}

#[test]
fn one_start_tells_no_spread_and_no_samples_tell_nothing() {
    let mut samples = run(Faults::default(), 8, 0);
    samples.iter_mut().for_each(|sample| sample.start = 0);
    let starts = of(&samples).unwrap();
    assert_eq!((starts.count, starts.spread, starts.degrees_of_freedom), (1, None, 0));
    assert_eq!(of(&[]), None);
    samples.retain(|sample| sample.plan == Plan::Plain);
    assert_eq!(of(&samples).unwrap().spread, None);
}

#[test]
fn starts_are_counted_on_from_those_that_are_there() {
    let samples = run(Faults::default(), 8, 0);
    assert_eq!((next(&samples, 0), next(&samples, 1), next(&[], 0)), (3, 0, 0));
    let starts = of(&samples).unwrap();
    assert_eq!((starts.count, starts.degrees_of_freedom), (3, 2));
}
