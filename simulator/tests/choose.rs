//! Choosing from runs whose truth is known.

#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod planted;

use planted::{CONTEXT, Planted};
use s3d_data::{Answer, BlockPurpose, Bytes, Drafting, Plan, RegretBasis, Run, Seconds};
use s3d_simulator::choose::{Request, choose};
use s3d_simulator::expected_tokens;
use s3d_simulator::predict::blocks::Blocks;
use s3d_simulator::predict::plans_alone::measured_plans;
use s3d_simulator::validate::{bookkeeping, held_out, rivals, sweep_regret, waterfall::waterfall};
use s3d_simulator::{AcceptanceCurve, Family, FitOptions, fit};

fn planted(seed: u64) -> Planted {
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.9).unwrap();
    Planted::small(curve, seed)
}

/// The planted speedup of a plan, the cut of the last iteration left out.
fn truth(planted: &Planted, plan: &s3d_data::DraftPlan) -> f64 {
    let rates = planted.rates(plan.skip.window().unwrap(), plan.predictors.get());
    let plain = planted.full_seconds(1, CONTEXT) + 4e-5;
    expected_tokens(&rates) * plain / planted.iteration_seconds(plan, CONTEXT)
}

#[test]
fn the_choice_is_near_the_planted_best() {
    let planted = planted(1);
    let run = planted.run();
    let request = Request::of(&run.header);
    let choice = choose(&run, &request).unwrap();
    let chosen = choice.recommendation.choice.as_ref().unwrap();
    let best = planted.plans().iter().map(|plan| truth(&planted, plan)).fold(0.0, f64::max);
    let own = truth(&planted, chosen.plan.draft().unwrap());
    assert!(own / best > 0.98, "{} has {own}, the best {best}", chosen.plan);
    assert!(choice.recommendation.speculate);
    assert_eq!(choice.grid.len(), 12 * 6 * 2);
    let speedup = chosen.predicted_speedup.unwrap();
    assert!((speedup.value / own - 1.0).abs() < 0.04, "{speedup} for {own}");
    let total: f64 = choice.grid.iter().map(|plan| plan.probability_best).sum();
    assert!((total - 1.0).abs() < 1e-9);
    assert_eq!(choice.recommendation.regret_basis, Some(RegretBasis::Bootstrap));
}

#[test]
fn held_out_plans_are_predicted_and_the_bookkeeping_closes() {
    let planted = planted(2);
    let mut run = planted.run();
    let request = Request::of(&run.header);
    let first = choose(&run, &request).unwrap().recommendation.choice.unwrap();
    let mut plans: Vec<_> = planted.plans().into_iter().step_by(7).collect();
    let leader = first.plan.draft().unwrap();
    if !plans.contains(leader) {
        plans.push(leader.clone());
    }
    run.observations.throughput =
        planted.throughput(&plans, &run.observations.traces, 0..10, false);
    let errors = held_out(&run, &request).unwrap().unwrap();
    // Windows at the edge are not predicted unseen.
    let edge = errors.not_predicted.len();
    assert_eq!(errors.summary.held_out + edge, plans.len());
    assert!(edge > 0 && edge < plans.len() / 2, "{edge} of {}", plans.len());
    assert!(errors.summary.median < 0.03, "{:?}", errors.summary);
    assert!(errors.summary.coverage_95 >= 0.85, "{:?}", errors.summary);
    let known = bookkeeping(&run, &request).unwrap().unwrap();
    assert!(known.summary.median < 0.02, "{:?}", known.summary);
    let choice = choose(&run, &request).unwrap();
    let row = choice.grid.iter().find(|row| row.plan.draft() == Some(leader)).unwrap();
    let steps = waterfall(&run, &request, leader, row.measured_speedup).unwrap();
    let sum: f64 = steps[0].speedup + steps.iter().map(|step| step.change).sum::<f64>();
    assert!((sum - steps.last().unwrap().speedup).abs() < 1e-12);
    // Both are of all traced texts: what is left is a matter of costs, which are known here.
    let [.., predicted, rest] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((predicted.cause, rest.cause), ("fixed overhead", "unexplained"));
    assert!(rest.change.abs() < 0.03 * rest.speedup, "{steps:?}");
    assert!(rest.measured.is_some_and(|m| m.value == rest.speedup), "{steps:?}");
    assert!(row.measured_speedup.is_some(), "{row:?}");
    assert!(choice.recommendation.prediction_error.is_some());
}

#[test]
fn what_was_run_of_a_plan_counts_when_choosing() {
    let planted = planted(5);
    let mut run = planted.run();
    let request = Request::of(&run.header);
    let predicted = choose(&run, &request).unwrap().recommendation.choice.unwrap().plan;
    let plans = [predicted.draft().unwrap().clone()];
    let samples = planted.throughput(&plans, &run.observations.traces, 0..16, false);
    for (slower, stands) in [(1.0, true), (1.3, false)] {
        run.observations.throughput = samples.clone();
        for sample in &mut run.observations.throughput {
            let slower = if sample.plan == predicted { slower } else { 1.0 };
            sample.seconds = sample.prompt_seconds + sample.decode_seconds() * slower;
        }
        let chosen = choose(&run, &request).unwrap().recommendation.choice.unwrap().plan;
        assert_eq!(chosen == predicted, stands, "{chosen} after {predicted} at {slower}");
    }
}

/// A run-off decides among its plans, by all its blocks; the plain ratio of a plan's own blocks
/// leaves them out. At another context they say nothing of who leads.
#[test]
fn a_run_off_chooses_and_enters_no_direct_ratio() {
    let planted = planted(5);
    let mut run = planted.run();
    let request = Request::of(&run.header);
    let first = choose(&run, &request).unwrap();
    let [predicted, rival] = [0, 12].map(|rank: usize| first.grid[rank].plan.clone());
    assert_eq!(Some(&predicted), first.recommendation.choice.as_ref().map(|choice| &choice.plan));
    let plans = [&predicted, &rival].map(|plan| plan.draft().unwrap().clone());
    let mut samples = planted.throughput(&plans, &run.observations.traces, 0..16, false);
    for sample in &mut samples {
        // Only its later blocks are slow: of ordinary blocks they would not count.
        let slower = if sample.plan == predicted && sample.block >= 8 { 1.8 } else { 1.0 };
        sample.seconds = sample.prompt_seconds + sample.decode_seconds() * slower;
    }
    let mut chosen = |first: usize| {
        run.observations.throughput = samples.clone();
        run.observations.throughput.iter_mut().for_each(|sample| sample.block += first);
        choose(&run, &request).unwrap()
    };
    let ordinary = chosen(0).recommendation.choice.unwrap();
    assert_eq!(ordinary.plan, predicted);
    assert!(ordinary.measured_speedup.is_some());
    let run_off = chosen(BlockPurpose::RunOff.blocks().start).recommendation.choice.unwrap();
    assert_eq!((&run_off.plan, run_off.direct_speedup), (&rival, None));
    assert!(run_off.measured_speedup.is_some());
    let elsewhere = Request { contexts: vec![(2 * CONTEXT, 1.0)], ..request };
    let elsewhere = choose(&run, &elsewhere).unwrap().recommendation.choice.unwrap();
    assert!(
        ![&predicted, &rival].contains(&&elsewhere.plan),
        "{} {predicted} {rival}",
        elsewhere.plan
    );
}

#[test]
fn five_windows_in_turns_and_one_prompt_a_block_are_enough() {
    let mut errors = Vec::new();
    for seed in 11..17 {
        let planted = Planted { blocks: 16, noise: 0.05, gamma_max: 8, ..planted(seed) };
        let mut run = planted.run();
        run.observations.latency = planted.latency_in_turns(&[16, 64, 256]);
        let request = Request { contexts: vec![(CONTEXT, 1.0)], ..Request::of(&run.header) };
        let plans: Vec<_> = planted.plans().into_iter().step_by(17).collect();
        let traces = &run.observations.traces;
        run.observations.throughput = planted.throughput(&plans, traces, 0..24, true);
        errors.push(held_out(&run, &request).unwrap().unwrap());
        run.observations.throughput.clear();
        let chosen = choose(&run, &request).unwrap().recommendation.choice.unwrap();
        let best = planted.plans().iter().map(|plan| truth(&planted, plan)).fold(0.0, f64::max);
        let own = truth(&planted, chosen.plan.draft().unwrap());
        assert!(own / best > 0.97, "{} has {own}, the best {best}", chosen.plan);
    }
    let all: Vec<_> = errors.iter().flat_map(|errors| &errors.plans).collect();
    let inside = all.iter().filter(|plan| plan.predicted.covers(plan.measured.value)).count();
    let all_errors: Vec<f64> = all.iter().map(|plan| plan.error).collect();
    let median = s3d_simulator::statistics::median(&all_errors).unwrap();
    assert!(median < 0.03, "median error {median} of {} plans", all.len());
    assert!(inside as f64 >= 0.9 * all.len() as f64, "{inside} of {} inside", all.len());
}

#[test]
fn a_machine_where_width_costs_says_do_not_speculate() {
    let curve = AcceptanceCurve::new(Family::Power, &[1.0], 0.5).unwrap();
    let planted = Planted { widening: 1.0, ..Planted::small(curve, 3) };
    let run = planted.run();
    let choice = choose(&run, &Request::of(&run.header)).unwrap().recommendation;
    assert!(!choice.speculate && choice.choice.is_some());
    let reason = choice.reason.unwrap();
    assert_eq!(choice.verdict, Some(Answer::DoNot));
    assert!(reason.starts_with("no plan gains more than 3 %, with 95 % confidence"), "{reason}");
}

#[test]
fn a_budget_that_nothing_fits_leaves_no_choice() {
    let planted = planted(4);
    let run = planted.run();
    let request = Request { memory_budget: Some(Bytes(1024)), ..Request::of(&run.header) };
    let choice = choose(&run, &request).unwrap().recommendation;
    assert!(choice.choice.is_none() && !choice.speculate);
    assert_eq!(choice.reason.unwrap(), "no plan fits the memory budget of 1.00 KiB");
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let planted = Planted { draftings: vec![Drafting::Simultaneous], ..planted(5) };
    let mut run = planted.run();
    let plans: Vec<_> = planted.plans().into_iter().step_by(11).collect();
    run.observations.throughput = planted.throughput(&plans, &run.observations.traces, 0..5, false);
    let request = Request { draws: 200, ..Request::of(&run.header) };
    let options = FitOptions { draws: 60, ..FitOptions::default() };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let choice = serde_json::to_vec(&choose(&run, &request).unwrap()).unwrap();
            (choice, serde_json::to_vec(&fit(&run, &options).unwrap()).unwrap())
        })
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(7));
}

#[test]
fn what_is_missing_is_named() {
    let planted = planted(6);
    let run = planted.run();
    let request = Request::of(&run.header);
    let mut without = run.clone();
    without.observations.traces.clear();
    let message = choose(&without, &request).unwrap_err().to_string();
    assert!(message.contains("acceptance traces"), "{message}");
    let mut without = run.clone();
    without.observations.latency.clear();
    let message = choose(&without, &request).unwrap_err().to_string();
    assert!(message.contains("plain pass"), "{message}");
    let mut broken = run.clone();
    broken.observations.latency[0].seconds = Seconds(f64::NAN);
    assert!(choose(&broken, &request).unwrap_err().to_string().contains("found NaN"));
    assert!(choose(&run, &Request { gamma_max: 0, ..request.clone() }).is_err());
    assert!(choose(&run, &Request { machine: 3, ..request.clone() }).is_err());
    let empty = Request { contexts: Vec::new(), ..request };
    assert!(choose(&run, &empty).is_err());
    assert!(matches!(run.observations.latency[0].plan, Some(Plan::Plain)));
}

#[test]
fn a_sweep_dealt_to_blocks_finds_rivals_and_only_its_second_measurement_counts() {
    let planted = Planted { gamma_max: 2, ..planted(5) };
    let mut run = planted.run();
    let traces = run.observations.traces.clone();
    let plans = planted.plans();
    assert_eq!(plans.len(), 12 * 2 * 2);
    let mut rows = Vec::new();
    for (part, dealt) in plans.chunks(12).chain(plans.chunks(12)).enumerate() {
        rows.extend(planted.throughput(dealt, &traces, part..part + 1, false));
    }
    run.observations.throughput = rows;
    // source: rates of each plan's own generations, summed by hand
    let rate = |run: &Run, plan: &Plan, from: usize| {
        let own = run.observations.throughput.iter().filter(|s| s.plan == *plan && s.block >= from);
        let sum = own.fold((0.0, 0.0), |sum, s| {
            (sum.0 + s.tokens as f64 - 1.0, sum.1 + s.decode_seconds().0)
        });
        sum.0 / sum.1
    };
    let mut ranked: Vec<Plan> = plans.into_iter().map(Plan::Speculate).collect();
    ranked.sort_by(|a, b| rate(&run, b, 0).total_cmp(&rate(&run, a, 0)));
    let choice = ranked[3].clone();
    let found = rivals(&run, &Blocks::new(&run, 0, 1), &choice, 3);
    assert_eq!(found, ranked[..3], "the three fastest");
    assert!(sweep_regret(&run, &Blocks::new(&run, 0, 1), &choice).is_none(), "measured once only");
    let few: Vec<_> = ranked[..4].iter().map(|plan| plan.draft().unwrap().clone()).collect();
    run.observations.throughput.extend(planted.throughput(&few, &traces, 8..14, false));
    let regret = sweep_regret(&run, &Blocks::new(&run, 0, 1), &choice).unwrap();
    let best = ranked[..4].iter().map(|plan| rate(&run, plan, 8)).fold(0.0, f64::max);
    let wanted = 1.0 - rate(&run, &choice, 8) / best;
    assert!((regret.estimate.value - wanted).abs() < 1e-12, "{regret:?}, wanted {wanted}");
    assert!(regret.estimate.covers(wanted) && regret.basis == RegretBasis::Sweep);
    assert_eq!(rivals(&run, &Blocks::new(&run, 0, 1), &choice, 3), ranked[..3], "of the sweep");
}

/// source: planted: two plans are equally fast on average; while the machine is fast the first is
/// 20 % faster, while it is slow the second is.
#[test]
fn two_states_with_two_best_plans_are_told_apart() {
    let planted = planted(5);
    let mut run = planted.run();
    let request = Request { with_errors: false, ..Request::of(&run.header) };
    let grid = choose(&run, &request).unwrap().grid;
    let pair: Vec<_> = grid.iter().take(2).filter_map(|row| row.plan.draft().cloned()).collect();
    let rows = planted.throughput(&pair, &run.observations.traces, 0..24, true);
    let of = |first_in_fast: f64, second_in_fast: f64| {
        let mut rows = rows.clone();
        for row in &mut rows {
            let fast = row.block % 2 == 0;
            let own = grid.iter().find(|own| own.plan == row.plan);
            let tokens = own.map_or(1.0, |own| own.tokens_per_iteration.value);
            let factor = match (row.plan.draft(), fast) {
                (None, true) => 2.0,
                (None, false) => 2.6,
                (Some(plan), _) if fast == (*plan == pair[0]) => first_in_fast,
                _ => second_in_fast,
            };
            let scatter = 1.0 + 0.01 * (row.order % 3) as f64;
            let seconds = row.iterations as f64 * tokens * 1e-3 * factor * scatter;
            row.seconds = row.prompt_seconds + Seconds(seconds);
        }
        rows
    };
    run.observations.throughput = of(1.0, 1.2);
    let notes = choose(&run, &request).unwrap().recommendation.notes;
    let found: Vec<_> = notes.iter().filter(|note| note.contains("depends on the state")).collect();
    assert_eq!(found.len(), 1, "{notes:?}");
    let words = format!("{} while a plain step takes 2.0", grid[0].plan);
    assert!(found[0].contains(&words), "{found:?}");
    run.observations.throughput = of(1.0, 1.0);
    let notes = choose(&run, &request).unwrap().recommendation.notes;
    assert!(!notes.iter().any(|note| note.contains("depends on the state")), "{notes:?}");
}

#[test]
fn a_limit_that_decides_is_named() {
    let planted = planted(6);
    let run = planted.run();
    let ask = |request: Request| choose(&run, &request).unwrap().recommendation;
    let own = Request { with_errors: false, ..Request::of(&run.header) };
    let free = ask(own.clone());
    let says = |notes: &[String], words: &str| notes.iter().any(|note| note.contains(words));
    assert!(!says(&free.notes, "memory budget") && !says(&free.notes, "A context of"));

    // One byte less than the choice needs.
    let chosen = free.choice.unwrap();
    let budget = Bytes(chosen.peak_memory_bytes.unwrap() - 1);
    let tight = ask(Request { memory_budget: Some(budget), ..own.clone() });
    let words = format!("decides: without it {} would be chosen", chosen.plan);
    assert!(says(&tight.notes, &words), "{:?}", tight.notes);

    let far = ask(Request { contexts: vec![(8 * CONTEXT, 1.0)], ..own.clone() });
    assert!(says(&far.notes, "A context of 1024 tokens lies outside"), "{:?}", far.notes);

    let few = ask(Request { gamma_max: 2, ..own });
    assert!(says(&few.notes, "The most drafts allowed, 2, decide"), "{:?}", few.notes);
}

/// A first run on a busy machine, of which the time sufficed for two blocks.
#[test]
fn two_blocks_on_a_busy_machine_cannot_tell() {
    let planted = planted(7);
    let mut run = planted.run();
    let request = Request { with_errors: false, ..Request::of(&run.header) };
    let best = choose(&run, &request).unwrap().recommendation.choice.unwrap();
    let plans = [best.plan.draft().unwrap().clone()];
    run.observations.throughput = planted.throughput(&plans, &run.observations.traces, 0..2, true);
    let found = choose(&run, &request).unwrap().recommendation;
    assert_eq!(found.verdict, Some(Answer::CannotTellYet));
    assert!(!found.speculate);
    let reason = found.reason.unwrap();
    for words in ["2 of the 8", "--time-budget"] {
        assert!(reason.contains(words), "{reason}");
    }
    let choice = found.choice.unwrap();
    assert!(choice.measured_speedup.is_none(), "{choice:?}");
    let (low, high) = choice.predicted_speedup.unwrap().ends();
    assert!(high < 2.0 * low, "{low} to {high}");
}

/// source: replay is exact, so what generations count is what their traces replay: the same run
/// without its traces and passes says the same of each plan that was run
#[test]
fn without_traces_the_plans_that_were_run_are_chosen_from_and_measured_alike() {
    let planted = planted(6);
    let mut run = planted.run();
    let plans: Vec<_> = planted.plans().into_iter().step_by(11).collect();
    run.observations.throughput =
        planted.throughput(&plans, &run.observations.traces, 0..10, false);
    let request = Request::of(&run.header);
    let traced = choose(&run, &request).unwrap();
    run.observations.traces.clear();
    run.observations.latency.clear();
    let alone = choose(&run, &request).unwrap();
    assert_eq!(alone.grid.len(), plans.len());
    for row in &alone.grid {
        let other = traced.grid.iter().find(|other| other.plan == row.plan).unwrap();
        let (own, other) = (row.measured_speedup.unwrap(), other.measured_speedup.unwrap());
        assert!((own.value / other.value - 1.0).abs() < 1e-9, "{}: {own}, {other}", row.plan);
        let width = |e: s3d_data::Estimate| e.ends().1 - e.ends().0;
        assert!((width(own) / width(other) - 1.0).abs() < 0.2, "{}: {own}, {other}", row.plan);
        assert!(!row.predicted && row.fits);
    }
    let best = |a: &f64, b: &f64| a.total_cmp(b);
    let fastest = alone.grid.iter().map(|row| row.measured_speedup.unwrap().value).max_by(best);
    let chosen = alone.recommendation.choice.as_ref().unwrap();
    assert_eq!(chosen.measured_speedup.map(|speedup| speedup.value), fastest);
    assert_eq!((chosen.predicted_speedup, alone.recommendation.regret_bound), (None, None));
    assert!(alone.recommendation.notes[0].contains("Chosen among the"), "{alone:?}");
    let lines = measured_plans(&run, &request).unwrap();
    assert_eq!(lines.len(), plans.len());
    assert_eq!(lines[0].speedup, chosen.measured_speedup, "the terminal says the same number");
    // Of another context these blocks say nothing.
    let elsewhere = Request { contexts: vec![(4 * CONTEXT, 1.0)], ..request.clone() };
    assert!(choose(&run, &elsewhere).is_err());
    // Seven blocks are too few for a measured speedup, and that is said.
    run.observations.throughput.retain(|sample| sample.block < 7);
    let few = choose(&run, &request).unwrap().recommendation;
    assert_eq!(few.verdict, Some(Answer::CannotTellYet));
    assert!(few.reason.unwrap().contains("so far"));
    let lines = measured_plans(&run, &request).unwrap();
    assert!(lines[0].speedup.is_none() && lines[0].words().contains("so far"), "{lines:?}");
}

/// source: by hand: a budget of the peak over 0.97 leaves 3 % of it free, one of twice the peak a
/// half; 5 % are asked for
#[test]
fn a_choice_near_the_edge_of_the_memory_is_warned_of() {
    let planted = planted(1);
    let run = planted.run();
    let request = Request::of(&run.header);
    let notes = |budget: Option<Bytes>| {
        let request = Request { memory_budget: budget, ..request.clone() };
        let found = choose(&run, &request).unwrap().recommendation;
        let near = found.notes.into_iter().find(|note| note.starts_with("Near the edge"));
        (found.choice.and_then(|choice| choice.peak_memory_bytes), near)
    };
    let (peak, near) = notes(None);
    assert_eq!(near, None, "the machine's memory is not known");
    let peak = peak.unwrap() as f64;
    let near = notes(Some(Bytes((peak / 0.97) as u64))).1.unwrap();
    assert!(near.contains("leaves 3.0 % of the memory budget of"), "{near}");
    assert_eq!(notes(Some(Bytes((2.0 * peak) as u64))).1, None);
}
