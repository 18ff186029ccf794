//! Several texts at once, measured on a tiny random model: what is kept, and where.

mod tiny;

use s3d_data::{Component, LatencySample, Plan, RunDir, Seconds, Shard};
use s3d_measure::{Error, Request, Stage};
use std::collections::HashSet;
use tiny::{Models, StopAfter, request};

fn asked() -> Request {
    Request {
        stages: vec![Stage::Acceptance, Stage::Latency, Stage::Batch, Stage::BatchConfirmation],
        batches: vec![2, 3],
        time_budget: Seconds(0.6),
        ..request()
    }
}

fn measured(out: &RunDir, stop_after: usize) -> Result<s3d_data::Run, Error> {
    Models::new().measure(&asked(), out, &mut StopAfter(stop_after))
}

#[test]
fn what_several_texts_take_is_kept_apart_from_what_one_takes() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    let run = measured(&out, usize::MAX).unwrap();
    let seen = &run.observations;
    assert!(seen.latency.iter().all(|sample| sample.batch == 1) && seen.throughput.is_empty());
    assert_eq!(seen.together.batches(), [2, 3].into());
    let whole = |sample: &LatencySample| sample.component >= Component::FullPass;
    assert!(seen.together.latency.iter().all(whole), "whole passes alone");
    for batch in [2, 3] {
        let own = || seen.together.latency.iter().filter(|sample| sample.batch == batch);
        let widths: HashSet<usize> =
            own().filter(|s| s.component == Component::VerifyPass).map(|s| s.width).collect();
        assert_eq!(widths, [2, 3, 4, 5].into(), "{batch} texts");
        let blocks: HashSet<usize> = own().map(|s| s.block).collect();
        let plain = own().filter(|s| s.component == Component::FullPass);
        let with_plain: HashSet<usize> = plain.map(|s| s.block).collect();
        assert_eq!(with_plain, blocks, "every block holds the unit of its times");
        // source: the texts are the plain ones, so both plans write the same tokens
        let rows = || seen.together.throughput.iter().filter(|sample| sample.batch == batch);
        let of = |plan: &str| -> Vec<(usize, usize, usize)> {
            let plan: Plan = plan.parse().unwrap();
            let own = rows().filter(|row| row.plan == plan);
            own.map(|row| (row.block, row.tokens, row.iterations)).collect()
        };
        let (plain, drafted) = (of("plain"), of("1..3:3"));
        assert!(
            plain.len() >= 2 && plain.len() == drafted.len() && rows().count() == 2 * plain.len()
        );
        for (a, b) in plain.iter().zip(&drafted) {
            assert!((a.0, a.1) == (b.0, b.1) && a.2 > b.2, "{a:?} {b:?}");
        }
    }
    assert_eq!(out.load().unwrap(), run, "the tables hold all of it");
}

#[test]
fn a_run_of_several_texts_that_was_interrupted_goes_on_and_measures_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    for stop_after in [40, 3, 2] {
        match measured(&out, stop_after) {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::Interrupted), "{error}"),
        }
    }
    let run = measured(&out, usize::MAX).unwrap();
    let mut places = HashSet::new();
    for row in &run.observations.together.latency {
        let place = (row.block, row.order, row.component, row.context);
        assert!(places.insert(place), "{row:?}");
    }
    let again = measured(&out, usize::MAX).unwrap();
    assert_eq!(again.observations, run.observations);
    // Other numbers of texts are another request.
    let other = Request { batches: vec![2, 4], ..asked() };
    let error = Models::new().measure(&other, &out, &mut StopAfter(usize::MAX)).unwrap_err();
    assert!(error.to_string().contains("--batch"), "{error}");
}

#[test]
fn several_texts_are_not_measured_in_shards() {
    let models = Models::new();
    let request = Request {
        stages: vec![Stage::Latency, Stage::Batch],
        shard: Some(Shard::new(1, 2).unwrap()),
        ..asked()
    };
    let error = request.validate(&models.wide).unwrap_err().to_string();
    assert!(error.contains("--batch"), "{error}");
}
