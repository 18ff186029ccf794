//! Beyond the choice: what training buys, several runs, free sets, drafts ended early.

#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod planted;

use planted::Planted;
use s3d_data::{Bytes, Drafting, Plan, Run};
use s3d_simulator::choose::runs::compare_runs;
use s3d_simulator::explore::early_stop::early_stop;
use s3d_simulator::explore::sublayers::free_sets;
use s3d_simulator::explore::training::training_gain;
use s3d_simulator::{AcceptanceCurve, Family, FitOptions, Request, choose, fit};

fn run(u: f64, seed: u64) -> Run {
    let curve = AcceptanceCurve::new(Family::Power, &[u], 0.9).unwrap();
    Planted { prompts: 40, ..Planted::small(curve, seed) }.run()
}

fn options() -> FitOptions {
    FitOptions { draws: 60, ..FitOptions::default() }
}

#[test]
fn u_rises_with_training_and_says_what_more_would_buy() {
    let request = |run: &Run| Request { draws: 100, ..Request::of(&run.header) };
    let mut before = 0.0;
    for (checkpoint, planted_u) in [1.2, 2.5, 5.0].into_iter().enumerate() {
        let run = run(planted_u, checkpoint as u64);
        let fit = fit(&run, &options()).unwrap();
        let power =
            fit.curves.iter().find(|c| c.family == Family::Power && c.predictor == 1).unwrap();
        let u = power.parameters.iter().find(|p| p.name == "u").unwrap().estimate;
        // source: the planted U; a spread of prompts moves the fitted one by a few percent
        assert!(u.value > before && (u.value / planted_u - 1.0).abs() < 0.15, "{u} {planted_u}");
        before = u.value;
        let drafting = Drafting::Simultaneous;
        let factors = [0.5, 1.0, 2.0, 4.0];
        let gains = training_gain(&run, &fit, &request(&run), drafting, &factors).unwrap();
        // Where skipping nothing is best, a better U changes nothing at first.
        assert!(gains.windows(2).all(|pair| pair[0].speedup <= pair[1].speedup), "{gains:?}");
        assert!(gains[3].speedup > gains[0].speedup, "{gains:?}");
        let grid = choose(&run, &request(&run)).unwrap().grid;
        let best = grid.iter().find(|row| row.plan.draft().unwrap().drafting == drafting).unwrap();
        assert!((gains[1].speedup / best.predicted_speedup.value - 1.0).abs() < 0.05);
    }
}

#[test]
fn several_runs_are_chosen_from_together() {
    let (wide, mut narrow) = (run(3.0, 5), run(3.0, 6));
    narrow.header.dtype = "f16".into();
    narrow.observations.latency.iter_mut().for_each(|sample| sample.seconds = sample.seconds * 0.6);
    let choices: Vec<_> = [&wide, &narrow]
        .map(|run| choose(run, &Request { draws: 100, ..Request::of(&run.header) }).unwrap())
        .into();
    let all = compare_runs(&choices, None);
    assert_eq!((all[0].run, all[0].dtype.as_str()), (1, "f16"));
    assert_eq!(all.len(), 2 * (choices[0].grid.len() + 1));
    assert!(all[0].pareto && all.iter().any(|c| c.plan == Plan::Plain));
    let budget =
        Bytes(choices[0].grid.iter().filter_map(|row| row.peak_memory_bytes).min().unwrap() - 1);
    assert!(compare_runs(&choices, Some(budget)).iter().all(|candidate| candidate.run == 1));
}

#[test]
fn free_sets_are_at_least_as_good_as_windows() {
    let run = run(3.0, 7);
    let request = Request { draws: 100, ..Request::of(&run.header) };
    let found = free_sets(&run, &request, Drafting::Simultaneous, 5).unwrap();
    let (_, window) = found.window.unwrap();
    assert!(
        found.sets[0].speedup >= 0.998 * window.speedup,
        "{} {}",
        found.sets[0].speedup,
        window.speedup
    );
    assert!(found.sets[0].speedup > 1.0);
}

#[test]
fn confidence_that_knows_the_truth_ends_drafts_where_they_fail() {
    let mut run = run(1.5, 8);
    for trace in &mut run.observations.traces {
        let gamma = trace.gamma_max.unwrap().get();
        let row = |&accepted: &u32| {
            (0..gamma).map(move |i| if i < accepted as usize { 0.9 } else { 0.1 })
        };
        trace.confidence = Some(trace.accepted.iter().map(|a| row(a).collect()).collect());
    }
    let request = Request { draws: 100, ..Request::of(&run.header) };
    let plan: Plan = "seq:3..9:6".parse().unwrap();
    let found = early_stop(&run, &request, plan.draft().unwrap(), &[0.0, 0.5]).unwrap();
    assert!(found[0].tokens_per_iteration - found[1].tokens_per_iteration < 1e-12);
    assert!(found[1].speedup > 1.05 * found[0].speedup, "{found:?}");
    let grid = choose(&run, &request).unwrap().grid;
    let row = grid.iter().find(|row| row.plan == plan).unwrap();
    assert!((found[0].speedup / row.predicted_speedup.value - 1.0).abs() < 1e-3);
    run.observations.traces.iter_mut().for_each(|trace| trace.confidence = None);
    assert!(early_stop(&run, &request, plan.draft().unwrap(), &[0.5]).is_err());
}
