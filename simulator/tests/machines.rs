//! Runs merged from different machines: each keeps its own times and its own answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod planted;

use planted::Planted;
use s3d_data::Run;
use s3d_simulator::choose::machines::on_machine;
use s3d_simulator::choose::{Request, choose};
use s3d_simulator::{AcceptanceCurve, Family};

/// A machine on which width costs next to nothing, one on which it costs a lot, and both in one
/// run.
fn merged() -> (Run, Run, Run) {
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.9).unwrap();
    let first = Planted::small(curve.clone(), 5).run();
    let second = Planted { widening: 1.0, ..Planted::small(curve, 5) }.run();
    let mut both = first.clone();
    let other = second.observations.latency.iter().cloned();
    both.observations.latency.extend(other.map(|mut sample| {
        sample.machine = 1;
        sample
    }));
    let mut machine = both.header.machines[0].clone();
    machine.model = "another".into();
    both.header.machines.push(machine);
    (first, second, both)
}

#[test]
fn every_machine_of_a_merged_run_has_its_own_answer() {
    let (first, second, both) = merged();
    assert_eq!(first.observations.traces, second.observations.traces, "one text, two machines");
    let answer = |run: &Run| {
        let request = Request { draws: 100, ..Request::of(&run.header) };
        let mut answer = choose(run, &request).unwrap().recommendation;
        answer.machine = None;
        answer
    };
    for (machine, alone) in [(0, &first), (1, &second)] {
        let seen = on_machine(both.clone(), Some(machine)).unwrap();
        assert_eq!(seen.observations, alone.observations);
        assert_eq!(answer(&seen), answer(alone));
    }
    assert!(answer(&first).speculate && !answer(&second).speculate, "they do not agree");
    let seen = on_machine(both.clone(), Some(1)).unwrap();
    assert_eq!(
        choose(&seen, &Request::of(&seen.header)).unwrap().recommendation.machine.as_deref(),
        Some("another")
    );
    assert!(seen.header.warnings[0].contains("machine 1 of 2, counted from 0: another"));
}

#[test]
fn the_machine_that_timed_passes_answers_unless_another_is_asked_for() {
    let (first, _, mut both) = merged();
    assert_eq!(on_machine(first.clone(), None).unwrap(), first, "one machine needs no word");
    let message = on_machine(first, Some(1)).unwrap_err().to_string();
    assert!(
        message.contains("machine: expected one that timed something: 0 (test), found 1"),
        "{message}"
    );
    both.observations.latency.retain(|sample| sample.machine == 1);
    let seen = on_machine(both.clone(), None).unwrap();
    assert_eq!(seen.header.machines[0].model, "another");
    assert!(on_machine(both.clone(), Some(0)).is_err(), "the first machine timed nothing");
    both.observations.latency[0].machine = 2;
    let message = on_machine(both, None).unwrap_err().to_string();
    assert!(message.contains("machine of a sample"), "{message}");
}

/// Two shards so short that many generations hold one token, for which nothing was decoded: every
/// number of the answer is finite all the same.
#[test]
fn short_shards_of_two_machines_give_no_number_that_is_none() {
    let (first, _, mut both) = merged();
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.9).unwrap();
    let planted = Planted::small(curve, 5);
    let plans: Vec<_> = planted.plans().into_iter().step_by(5).collect();
    let mut rows = planted.throughput(&plans, &first.observations.traces, 0..4, true);
    for (place, row) in rows.iter_mut().enumerate() {
        row.machine = row.block % 2;
        if place % 3 == 0 {
            (row.tokens, row.iterations) = (1, 0);
            row.seconds = row.prompt_seconds;
        }
    }
    both.observations.throughput = rows;
    for machine in [0, 1] {
        let seen = on_machine(both.clone(), Some(machine)).unwrap();
        let choice = choose(&seen, &Request::of(&seen.header)).unwrap();
        s3d_data::store::finite::check(&choice).unwrap();
        s3d_data::store::finite::check(&choice.recommendation.regret_bound.unwrap()).unwrap();
    }
}
