//! Drafts that adapt, on chains whose acceptance is known.

#![allow(clippy::unwrap_used, reason = "tests")]

mod planted;

use planted::Planted;
use planted::monte_carlo::Drawing;
use s3d_data::{AcceptanceCounts, DraftCount, PolicySample, RunDir, Seconds};
use s3d_simulator::policy::{
    Adaptive, CostByDrafts, PolicyReplay, Settings, compare_policy, replay_policy,
};
use s3d_simulator::traces::walk::walk;
use s3d_simulator::{AcceptanceCurve, AcceptanceRate, Family, Request, expected_tokens};
use std::path::Path;

/// Costs of an iteration with 1 to 8 drafts, about those of the shipped runs.
const COSTS: [f64; 8] = [1.25, 1.3, 1.38, 1.46, 1.55, 1.65, 1.76, 1.9];

fn costs() -> CostByDrafts {
    CostByDrafts::new(&COSTS).unwrap()
}

fn accepted(rates: &[f64], length: usize, seed: u64) -> Vec<u32> {
    let rates = AcceptanceRate::all(rates).unwrap();
    Drawing { rates, length, texts: 1, spread: 0.0, seed }.accepted(0)
}

/// Counts of a run at `rates`, of a thousand iterations.
fn run(rates: &[f64]) -> AcceptanceCounts {
    let mut counts = AcceptanceCounts::default();
    let mut reached = 1000.0;
    for rate in rates {
        counts.attempted.push(reached as u64);
        reached *= rate;
        counts.accepted.push(reached as u64);
    }
    counts
}

/// Follows a policy through `accepted`; the time in plain steps, and the drafts of each iteration
/// with the tokens committed before it.
fn follow(accepted: &[u32], counts: &AcceptanceCounts, start: usize) -> (f64, Vec<(usize, usize)>) {
    let costs = costs();
    let mut policy = Adaptive::new(costs.clone(), counts, start, Settings::default());
    let (mut committed, mut time, mut made) = (1, 0.0, Vec::new());
    while committed < accepted.len() {
        let drafts = policy.drafts();
        let right = (accepted[committed - 1] as usize).min(drafts);
        made.push((committed, drafts));
        policy.told(drafts, right);
        time += costs.at(drafts);
        committed += right + 1;
    }
    (time, made)
}

/// The number of drafts with the most expected tokens for its time, 0 among them, and that speed.
fn oracle(rates: &[f64]) -> (usize, f64) {
    let speed = |drafts: usize| {
        let rates = AcceptanceRate::all(&rates[..drafts]).unwrap();
        (drafts, expected_tokens(&rates) / costs().at(drafts))
    };
    (0..=COSTS.len()).map(speed).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

/// source: the best of all fixed numbers by the closed form (Leviathan et al., eq. 1), with the
/// rates known. The prior is that of another text: 0.75 for each draft.
#[test]
fn it_finds_the_best_number_of_a_planted_chain_with_bounded_regret() {
    let prior = run(&[0.75; 8]);
    for (rates, seed) in [
        ([0.95; 8], 1),
        ([0.5; 8], 2),
        ([0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9], 3),
        ([0.8, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], 4),
        ([0.98, 0.97, 0.96, 0.95, 0.94, 0.3, 0.3, 0.3], 5),
        ([0.1; 8], 6),
    ] {
        let (best, speed) = oracle(&rates);
        let text = accepted(&rates, 20_000, seed);
        let (time, made) = follow(&text, &prior, 4);
        let found = (text.len() - 1) as f64 / time;
        assert!(found > 0.94 * speed, "{rates:?}: {found} of {speed}");
        // Later iterations mostly draft numbers that are within 3 % of the best.
        let late: Vec<usize> = made[made.len() / 2..].iter().map(|(_, drafts)| *drafts).collect();
        let near = |drafts: &&usize| {
            let rates = AcceptanceRate::all(&rates[..**drafts]).unwrap();
            expected_tokens(&rates) / costs().at(**drafts) > 0.97 * speed
        };
        let share = late.iter().filter(near).count() as f64 / late.len() as f64;
        assert!(share > 0.6, "{rates:?}: best {best}, {share} near it");
    }
}

#[test]
fn a_change_of_rates_in_the_middle_of_a_text_is_followed() {
    let (good, bad) = ([0.95; 8], [0.02; 8]);
    let prior = run(&[0.75; 8]);
    for (first, second) in [(good, bad), (bad, good)] {
        let mut text = accepted(&first, 1000, 7);
        text.extend(accepted(&second, 3000, 8));
        let (_, made) = follow(&text, &prior, 4);
        let mean = |from: usize, to: usize| {
            let part = made.iter().filter(|(at, _)| (from..to).contains(at));
            let drafts: Vec<f64> = part.map(|(_, drafts)| *drafts as f64).collect();
            drafts.iter().sum::<f64>() / drafts.len() as f64
        };
        // source: the best numbers by the closed form are 8 and 0.
        let wanted = |rates: &[f64; 8]| oracle(rates).0 as f64;
        assert_eq!([wanted(&good), wanted(&bad)], [8.0, 0.0]);
        assert!((mean(500, 1000) - wanted(&first)).abs() < 1.5, "{}", mean(500, 1000));
        // Within 300 tokens it has followed: tries are at most 128 plain steps apart.
        assert!((mean(1300, 4000) - wanted(&second)).abs() < 1.5, "{}", mean(1300, 4000));
    }
}

/// Where every draft is refused, the costs of finding out and of tries are all that is lost.
#[test]
fn a_text_without_any_right_draft_takes_at_most_two_percent_longer() {
    let text = vec![0; 513];
    for rate in [0.6, 0.75, 0.9] {
        let (time, _) = follow(&text, &run(&[rate; 8]), 6);
        assert!(time / 512.0 < 1.02 && time > 512.0, "{rate}: {}", time / 512.0);
    }
}

#[test]
fn a_text_where_every_draft_is_right_is_as_fast_as_the_most_drafts() {
    let text: Vec<u32> = (0..=2000u32).map(|at| 8.min(2000 - at)).collect();
    let (time, made) = follow(&text, &run(&[0.8; 8]), 8);
    let fixed = walk(&text, 8).iterations as f64 * COSTS[7];
    assert!(time <= fixed * 1.02, "{time} {fixed}");
    assert!(made[made.len() / 4..].iter().all(|(_, drafts)| *drafts == 8));
}

/// The costs of a planted run are those it was made with; the replay of it adds up.
#[test]
fn a_run_gives_its_own_costs_and_a_replay_its_texts() {
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.95).unwrap();
    let planted = Planted { noise: 0.0, ..Planted::small(curve, 3) };
    let run = planted.run();
    let request = Request { draws: 100, ..Request::of(&run.header) };
    for plan in ["3..9:4", "seq:3..9:2"] {
        let plan = plan.parse::<s3d_data::Plan>().unwrap().draft().cloned().unwrap();
        let found = replay_policy(&run, &request, &plan, Settings::default()).unwrap();
        assert_eq!((found.most, found.texts.len()), (6, 30));
        let plain = planted.full_seconds(1, planted::CONTEXT);
        for (drafts, cost) in found.cost_by_drafts.iter().enumerate().skip(1) {
            let predictors = s3d_data::Predictors::new(drafts).unwrap();
            let plan = s3d_data::DraftPlan { predictors, ..plan.clone() };
            // The planted run holds no end-to-end blocks, hence no bookkeeping.
            let whole = planted.iteration_seconds(&plan, planted::CONTEXT) - 4e-5;
            assert!((cost / (whole / plain) - 1.0).abs() < 0.02, "{drafts}: {cost}");
        }
        let sum = |time: fn(&s3d_simulator::policy::TextReplay) -> f64| {
            found.texts.iter().map(time).sum::<f64>()
        };
        let all = &found.all;
        assert!((all.policy.value - sum(|t| t.plain) / sum(|t| t.policy)).abs() < 1e-12);
        assert!((all.over_fixed.value - sum(|t| t.fixed) / sum(|t| t.policy)).abs() < 1e-12);
        assert!(found.texts.iter().all(|t| t.oracle <= t.fixed && t.oracle <= t.choice));
        let (low, high) = all.over_fixed.ends();
        assert!(low <= all.over_fixed.value && all.over_fixed.value <= high);
        // Texts of one law: nothing to gain by adapting, and little to lose.
        assert!(all.over_fixed.value > 0.97, "{}", all.over_fixed.value);
    }
    let nowhere = "1..2:2".parse::<s3d_data::Plan>().unwrap().draft().cloned().unwrap();
    let none = replay_policy(&run, &request, &nowhere, Settings::default()).unwrap_err();
    assert!(none.to_string().contains("acceptance traces of 1..2"), "{none}");
}

/// The policy replayed over the run in a folder.
fn replayed(folder: &Path, settings: Settings) -> PolicyReplay {
    let dir = RunDir::new(folder);
    let run = dir.load().unwrap();
    let choice = dir.load_recommendation().unwrap().choice.unwrap().plan;
    let request = Request { draws: 100, ..Request::of(&run.header) };
    replay_policy(&run, &request, choice.draft().unwrap(), settings).unwrap()
}

/// On the shipped runs drafts that adapt are about as fast as the best fixed number, which no one
/// knows beforehand. The defaults were set with all of these runs in view.
#[test]
fn on_the_shipped_runs_it_keeps_up_with_the_best_fixed_number() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/runs");
    for name in ["story-x2-epyc", "sweep-x2-epyc"] {
        let found = replayed(&folder.join(name), Settings::default());
        let ratio = found.all.over_fixed.value;
        assert!(ratio > 0.99 && found.worst < 1.0, "{name}: {ratio}, worst {}", found.worst);
    }
}

/// The table of docs/PERFORMANCE.md, of the run directories that `S3D_RUNS` lists, a word each:
/// `S3D_RUNS="$(echo data/runs/*)" cargo test --release -p s3d-simulator --test policy -- --ignored
/// --nocapture`
#[test]
#[ignore = "prints a table of many runs"]
#[expect(clippy::print_stdout, reason = "numbers for a person who asked for them")]
fn a_table_of_runs() {
    for folder in std::env::var("S3D_RUNS").unwrap_or_default().split_whitespace() {
        let found = replayed(Path::new(folder), Settings::default());
        let (all, (low, high)) = (&found.all, found.all.over_fixed.ends());
        let losing = found.losing.as_ref().map_or("none".to_string(), |row| {
            format!("{} at {:.3} / {:.3}", row.texts, row.choice, row.policy.value)
        });
        println!(
            "| {folder} | {} | {} | {:.3} ({}) | {:.3} | {:+.1} % ({:+.1} to {:+.1}) | {:.3} | {losing} |",
            found.plan,
            all.texts,
            all.fixed,
            found.fixed_drafts,
            all.policy.value,
            100.0 * (all.over_fixed.value - 1.0),
            100.0 * (low - 1.0),
            100.0 * (high - 1.0),
            all.oracle,
        );
    }
}

/// One block of a text of 8 plain steps, which takes the fixed number so many iterations.
fn block(block: usize, task: &str, times: [f64; 4], fixed: usize) -> Vec<PolicySample> {
    let kinds = [DraftCount::Plain, DraftCount::Plain, DraftCount::Fixed, DraftCount::Adaptive];
    let one = |(order, (drafts, seconds)): (usize, (DraftCount, f64))| PolicySample {
        block,
        order,
        copy: usize::from(order == 1),
        drafts,
        id: format!("{task}-{block}"),
        task: Some(task.into()),
        tokens: 9,
        iterations: if drafts == DraftCount::Fixed { fixed } else { 8 },
        seconds: Seconds(seconds),
    };
    kinds.into_iter().zip(times).enumerate().map(one).collect()
}

#[test]
fn ratios_are_those_of_total_times_of_whole_blocks() {
    // source: by hand: plain 10 + 10 (means of two copies), fixed 5 + 12, adapting 4 + 10.
    let mut samples = block(0, "sum", [9.0, 11.0, 5.0, 4.0], 3);
    samples.extend(block(1, "prose", [12.0, 8.0, 12.0, 10.0], 7));
    samples.extend(block(2, "prose", [1.0, 1.0, 1.0, 1.0], 1).into_iter().take(3));
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.95).unwrap();
    let request = Request::of(&Planted::small(curve, 1).header());
    let found = compare_policy(&samples, &request).unwrap();
    assert_eq!((found.all.texts, found.by_task.len()), (2, 2));
    assert!((found.all.fixed.value - 20.0 / 17.0).abs() < 1e-12);
    assert!((found.all.policy.value - 20.0 / 14.0).abs() < 1e-12);
    assert!((found.all.over_fixed.value - 17.0 / 14.0).abs() < 1e-12);
    assert!((found.all.control.value - 21.0 / 19.0).abs() < 1e-12);
    // source: by hand: an iteration costs 17/10 s, a plain step 20/16: 7 of them are 9.52 steps.
    let losing = found.losing.unwrap();
    assert_eq!((losing.texts, losing.policy.value), (1, 1.0));
    assert_eq!(found.by_task[1].task.as_deref(), Some("sum"));
    assert!(compare_policy(&[], &request).is_err());

    // Of two texts of as many iterations, neither loses: the slow one had a slow moment.
    let mut samples = block(0, "sum", [10.0, 10.0, 3.0, 3.0], 3);
    samples.extend(block(1, "sum", [5.0, 5.0, 6.0, 3.0], 3));
    assert_eq!(compare_policy(&samples, &request).unwrap().losing, None);
}
