//! Trees of drafts over a run, where ranks are planted.

#![allow(clippy::unwrap_used, reason = "tests")]

mod planted;

use planted::Planted;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::{DraftPlan, Run, Trace};
use s3d_simulator::explore::trees::trees;
use s3d_simulator::traces::walk::walk;
use s3d_simulator::{AcceptanceCurve, Family, Request};

const DEPTH: usize = 5;

/// Probability of each rank at every depth.
type Rates = [f64; 4];

/// A planted run whose traces have ranks drawn by `rates`.
fn run(rates: Rates, widening: f64) -> Run {
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.95).unwrap();
    let planted = Planted { noise: 0.0, gamma_max: DEPTH, widening, ..Planted::small(curve, 5) };
    let mut run = planted.run();
    let mut source = ChaCha8Rng::seed_from_u64(9);
    for trace in &mut run.observations.traces {
        if trace.drafting != Some(s3d_data::Drafting::Simultaneous) {
            continue;
        }
        let length = trace.accepted.len();
        let row = |place: usize, source: &mut ChaCha8Rng| {
            let drafts = DEPTH.min(length - 1 - place);
            (0..drafts).map(|_| rank(rates, source.random())).collect::<Vec<u8>>()
        };
        let ranks: Vec<Vec<u8>> = (0..length).map(|place| row(place, &mut source)).collect();
        let right = |row: &Vec<u8>| row.iter().take_while(|rank| **rank == 1).count() as u32;
        trace.accepted = ranks.iter().map(right).collect();
        trace.ranks = Some(ranks);
        trace.validate().unwrap();
    }
    run
}

fn rank(rates: Rates, draw: f64) -> u8 {
    let mut below = 0.0;
    let reached = |rate: &f64| {
        below += rate;
        draw < below
    };
    rates.iter().position(reached).map_or(0, |rank| rank as u8 + 1)
}

fn plan(text: &str) -> DraftPlan {
    text.parse::<s3d_data::Plan>().unwrap().draft().cloned().unwrap()
}

/// source: the closed form of Leviathan et al. for the chain, and of Sequoia for the tree, with the
/// planted rates; where a rank is drawn anew for every depth, acceptance is positional.
#[test]
fn where_second_choices_are_often_right_and_width_is_cheap_a_tree_pays() {
    let rates = [0.5, 0.3, 0.1, 0.05];
    let run = run(rates, 0.02);
    let request = Request { draws: 200, ..Request::of(&run.header) };
    let found = trees(&run, &request, &plan("3..9:5"), 12).unwrap();
    assert_eq!((found.texts, found.by_rows.len()), (30, 11));
    for (found, planted) in found.rates[0].iter().zip(rates) {
        assert!((found - planted).abs() < 0.04, "{found} {planted}");
    }
    assert_eq!(found.pays, Some(true), "{:?}", found.over_chain);
    assert!(found.tree.widths[0] > 1 && found.tree.rows > found.chain.rows);
    for shape in found.by_rows.iter().chain([&found.chain]) {
        let error = shape.tokens_per_iteration / shape.expected_tokens - 1.0;
        assert!(error.abs() < 0.05, "{shape:?}");
        assert!((shape.speedup - shape.tokens_per_iteration / shape.cost).abs() < 1e-12);
        assert_eq!(shape.widths.iter().sum::<usize>() + 1, shape.rows);
        // Verify passes up to the drafts and one were timed.
        assert_eq!(shape.extrapolated, shape.rows > DEPTH + 1);
    }
}

#[test]
fn where_only_first_choices_are_right_the_best_tree_is_the_best_chain() {
    let run = run([0.8, 0.0, 0.0, 0.0], 0.05);
    let request = Request { draws: 200, ..Request::of(&run.header) };
    let found = trees(&run, &request, &plan("3..9:5"), 6).unwrap();
    assert_eq!(found.tree, found.chain);
    assert_eq!((found.over_chain.value, found.pays), (1.0, Some(false)));
    // source: exact replay of the plan with as many drafts as the chain.
    let drafts = found.chain.depth;
    let way = |trace: &&Trace| {
        trace.ranks.is_some() && trace.window().is_some_and(|window| window.to_string() == "3..9")
    };
    let own = run.observations.traces.iter().filter(way);
    let (tokens, iterations) = own.fold((0, 0), |(tokens, iterations), trace| {
        let walked = walk(&trace.accepted, drafts).iterations;
        (tokens + trace.tokens() as u64 - 1, iterations + walked)
    });
    assert_eq!(found.chain.tokens_per_iteration, tokens as f64 / iterations as f64);
}

#[test]
fn without_ranks_or_where_drafts_are_made_in_turn_nothing_is_said() {
    let mut run = run([0.6, 0.2, 0.0, 0.0], 0.05);
    let request = Request { draws: 200, ..Request::of(&run.header) };
    let said =
        |run: &Run, text: &str| trees(run, &request, &plan(text), 8).unwrap_err().to_string();
    assert!(said(&run, "seq:3..9:2").contains("one after the other"));
    assert!(said(&run, "1..2:2").contains("--ranks"));
    run.observations.traces.iter_mut().for_each(|trace| trace.ranks = None);
    assert!(said(&run, "3..9:2").contains("ranks of right tokens"));
}
