//! A finished run that is given more time measures on; one that is not measures nothing. A run that
//! is asked for a narrow interval ends when it is reached.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod tiny;

use s3d_data::{BlockPurpose, Observation, Predictors, Run, RunDir, Seconds};
use s3d_measure::{Error, Prompt, Quiet, Request};
use std::collections::{BTreeSet, HashSet};
use tiny::{Models, StopAfter, Ticking, request};

/// More prompts than there is time for, all windows looked at first, so many seconds.
fn asked(seconds: f64) -> Request {
    let prompts = (0..600u32).map(|n| Prompt {
        id: format!("p{n}"),
        task: None,
        tokens: (0..5 + n % 8).map(|t| (7 * t + n) % 24).collect(),
    });
    let (prompts, time_budget) = (prompts.collect(), Seconds(seconds));
    let gamma_max = Predictors::of::<3>();
    Request { prompts, first_look: Some(20), gamma_max, context: 16, time_budget, ..request() }
}

fn measure(models: &Models, request: &Request, out: &RunDir) -> Run {
    models.measure_by(&Ticking::default(), request, out, &mut Quiet).unwrap()
}

fn more_times(out: &RunDir) -> usize {
    out.load_journal().unwrap().iter().filter(|o| **o == Observation::MoreTime).count()
}

fn assert_nothing_twice(run: &Run) {
    let seen = &run.observations;
    let places: HashSet<_> = seen.throughput.iter().map(|s| (s.block, s.order)).collect();
    assert_eq!(places.len(), seen.throughput.len(), "a generation was measured twice");
    let traces: HashSet<_> =
        seen.traces.iter().map(|t| (t.drafting, t.skip_start, t.skip_end, t.id.clone())).collect();
    assert_eq!(traces.len(), seen.traces.len(), "a text was traced twice");
}

fn blocks(run: &Run, purpose: BlockPurpose) -> usize {
    let samples = run.observations.throughput.iter().filter(|s| s.purpose() == purpose);
    samples.map(|sample| sample.block).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_finished_run_measures_on_with_a_longer_budget_and_only_then() {
    let (models, dir) = (Models::new(), tempfile::tempdir().unwrap());
    let out = RunDir::new(dir.path());
    let first = measure(&models, &asked(40.0), &out);
    let journal = std::fs::read(out.journal()).unwrap();
    for budget in [40.0, 5.0] {
        let again = measure(&models, &asked(budget), &out);
        assert_eq!(again.observations, first.observations, "nothing is measured");
        assert_eq!(std::fs::read(out.journal()).unwrap(), journal);
    }
    let longer = measure(&models, &asked(100.0), &out);
    assert_nothing_twice(&longer);
    assert!(std::fs::read(out.journal()).unwrap().starts_with(&journal), "what was there stays");
    assert_eq!((more_times(&out), longer.header.time_budget_seconds), (1, Some(Seconds(100.0))));
    assert!(longer.header.ended.is_some() && longer.header.seconds_measuring > Seconds(80.0));
    assert!(longer.observations.traces.len() > first.observations.traces.len());
    for purpose in [BlockPurpose::RunOff, BlockPurpose::Confirm] {
        assert!(blocks(&longer, purpose) > blocks(&first, purpose), "{purpose:?}");
    }
    let again = measure(&models, &asked(100.0), &out);
    assert_eq!((again.observations, more_times(&out)), (longer.observations, 1));
}

#[test]
fn measuring_on_that_is_interrupted_goes_on_as_well() {
    let (models, dir) = (Models::new(), tempfile::tempdir().unwrap());
    let out = RunDir::new(dir.path());
    let first = measure(&models, &asked(40.0), &out);
    let stopped = models.measure_by(&Ticking::default(), &asked(100.0), &out, &mut StopAfter(4));
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(out.load_header().unwrap().ended, None);
    let longer = measure(&models, &asked(100.0), &out);
    assert_nothing_twice(&longer);
    assert_eq!(more_times(&out), 1);
    assert!(longer.observations.throughput.len() > first.observations.throughput.len());
}

#[test]
fn a_run_ends_when_the_headline_is_as_narrow_as_was_asked_for() {
    let (models, dir) = (Models::new(), tempfile::tempdir().unwrap());
    let run = |name: &str, request: &Request| {
        let out = RunDir::new(dir.path().join(name));
        let run = measure(&models, request, &out);
        (blocks(&run, BlockPurpose::Confirm), run.header.seconds_measuring, out)
    };
    let precise = Request { precision: Some(0.05), ..asked(100.0) };
    let (blocks, spent, out) = run("precise", &precise);
    // source: of the tiny judge, 1 / texts and 0.1 / generations add up in squares; it is asked
    // after four blocks first, when there are 12 generations and more than 20 texts
    assert_eq!(blocks, 4);
    assert!(spent < Seconds(98.0), "{spent}");
    let (more, spent, _) = run("whole", &asked(100.0));
    assert!(more > blocks && spent >= Seconds(99.0), "{more} blocks in {spent}");
    // A finished run goes on for a narrower interval, within the same budget.
    let narrower = Request { precision: Some(0.001), ..asked(100.0) };
    let longer = measure(&models, &narrower, &out);
    assert_nothing_twice(&longer);
    assert!(self::blocks(&longer, BlockPurpose::Confirm) > blocks);
    assert_eq!((longer.header.precision, more_times(&out)), (Some(0.001), 1));
}

#[test]
fn texts_are_traced_beside_the_confirming_blocks_where_they_dominate() {
    let (models, dir) = (Models::new(), tempfile::tempdir().unwrap());
    let out = RunDir::new(dir.path());
    // Little time, so that refinement leaves texts over.
    let request = Request { precision: Some(0.001), ..asked(40.0) };
    let run = measure(&models, &request, &out);
    let journal = out.load_journal().unwrap();
    let end = Observation::Finished { stage: "run-off".into() };
    let after = journal.iter().rposition(|entry| *entry == end).unwrap();
    let traces = journal[after..].iter().filter(|o| matches!(o, Observation::Trace(_))).count();
    assert!(traces > 0 && run.observations.traces.len() > traces, "{traces} traces");
}
