//! A whole run on a tiny random model: everything is there, and an interrupted run goes on where it
//! stood without measuring anything twice.

mod tiny;

use s3d_data::{
    BlockPurpose, Component, Drafting, Dtype, LatencySample, MemoryItem, Observation, Plan, Run,
    RunDir, Seconds, Skip, SkipWindow,
};
use s3d_measure::{
    Error, Plans, Progress, Prompt, Provenance, Quiet, Request, Stage, Subject, SystemClock,
    Update, measure,
};
use s3d_model::{LoadOptions, Model};
use std::collections::HashSet;
use std::ops::ControlFlow;
use tiny::{Fixed, Models, StopAfter, Ticking, config, load, request, tear_last_line};

/// What makes a latency sample one of its kind.
fn key(s: &LatencySample) -> impl Eq + std::hash::Hash + std::fmt::Debug + use<> {
    let plan = s.plan.as_ref().map(ToString::to_string);
    (s.component, s.layer, plan, s.width, s.context, s.block, s.order)
}

fn assert_no_observation_twice(run: &Run) {
    let seen = &run.observations;
    let latency: HashSet<_> = seen.latency.iter().map(key).collect();
    assert_eq!(latency.len(), seen.latency.len(), "a latency sample was measured twice");
    let throughput: HashSet<_> = seen.throughput.iter().map(|s| (s.block, s.order)).collect();
    assert_eq!(throughput.len(), seen.throughput.len(), "a generation was measured twice");
    let traces: HashSet<_> =
        seen.traces.iter().map(|t| (t.drafting, t.skip_start, t.skip_end, t.id.clone())).collect();
    assert_eq!(traces.len(), seen.traces.len(), "a text was traced twice");
}

#[test]
fn a_run_holds_every_kind_of_observation() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path().join("out"));
    let request = request();
    let run = Models::new().measure(&request, &out, &mut Quiet).unwrap();
    assert_no_observation_twice(&run);
    assert_eq!(out.load().unwrap(), run, "the tables hold what was returned");
    assert!(run.header.ended.is_some() && run.header.seconds_measuring > Seconds::ZERO);

    let seen = &run.observations;
    for drafting in Drafting::ALL {
        for skip in SkipWindow::all_symmetric(4) {
            let of = |t: &&s3d_data::Trace| {
                t.drafting == Some(drafting) && t.skip() == Some(Skip::Window(skip))
            };
            let positions: usize = seen.traces.iter().filter(of).map(|t| t.tokens()).sum();
            assert!(positions >= 60, "{drafting} {skip}: {positions} positions");
        }
    }
    let widths: HashSet<_> = seen
        .latency
        .iter()
        .filter(|s| matches!(s.component, Component::FullPass | Component::VerifyPass))
        .map(|s| (s.width, s.context))
        .collect();
    assert_eq!(widths.len(), 5 * 2, "widths 1..=5 at contexts 16 and 64");
    for plan in ["plain", "stock", "1..3:3", "seq:1..3:2"] {
        let plan: Plan = plan.parse().unwrap();
        assert!(
            seen.throughput.iter().any(|s| s.plan == plan && s.purpose() != BlockPurpose::Confirm),
            "{plan}"
        );
    }
    let blocks_of = |purpose: BlockPurpose, plan: &str| {
        let plan: Plan = plan.parse().unwrap();
        let samples = seen.throughput.iter().filter(|s| s.purpose() == purpose);
        samples.filter(|s| s.plan == plan).count()
    };
    for plan in ["plain", "1..3:3", "1..3:2"] {
        assert!(blocks_of(BlockPurpose::RunOff, plan) >= 2, "{plan} in the run-off");
    }
    assert_eq!(blocks_of(BlockPurpose::Confirm, "1..3:2"), 0);
    let confirming = seen.throughput.iter().filter(|s| s.purpose() == BlockPurpose::Confirm);
    assert!(confirming.count() >= 6);
    assert!(seen.memory.iter().any(|record| record.item == MemoryItem::Peak));
}

#[test]
fn samples_add_up_and_name_what_ran() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    let run = Models::new().measure(&request(), &out, &mut Quiet).unwrap();
    for s in &run.observations.throughput {
        let parts = s.prompt_seconds + s.draft_seconds + s.verify_seconds;
        assert!(s.seconds >= parts && s.prompt_seconds > Seconds::ZERO, "{s:?}");
        assert_eq!(s.draft_seconds > Seconds::ZERO, s.plan.draft().is_some(), "{s:?}");
        let predictors = s.plan.draft().map_or(0, |plan| plan.predictors.get());
        assert!(s.tokens - 1 <= s.iterations * (predictors + 1) && s.iterations < s.tokens);
        if predictors == 0 {
            assert_eq!(s.iterations, s.tokens - 1, "a plain step commits one token");
        }
    }
    let seen = &run.observations.latency;
    let mut whole = 0;
    for pass in seen.iter().filter(|s| s.component == Component::VerifyPass) {
        assert!(pass.cpu_seconds.is_some_and(|cpu| cpu > Seconds::ZERO), "{pass:?}");
        let same = |s: &&LatencySample| {
            (s.block, s.order, s.width) == (pass.block, pass.order, pass.width)
        };
        let parts: Vec<_> =
            seen.iter().filter(same).filter(|s| s.component != pass.component).collect();
        if parts.is_empty() {
            whole += 1; // the check on the sums
            continue;
        }
        assert_eq!(parts.len(), 3 + 2 * 4, "embed, head, rest, and four layers of two");
        let sum: Seconds = parts.iter().map(|s| s.seconds).sum();
        assert!((sum - pass.seconds).0.abs() < 1e-9, "{sum} against {}", pass.seconds);
    }
    assert!(whole > 0, "some passes are timed whole");
}

#[test]
fn an_interrupted_run_goes_on_without_measuring_twice() {
    let models = Models::new();
    let request = Request { time_budget: Seconds(60.0), ..request() };
    let clock = Ticking::default();
    for updates in [0, 1, 3, 6, 8, 12, 20, 40] {
        let dir = tempfile::tempdir().unwrap();
        let out = RunDir::new(dir.path());
        match models.measure_by(&clock, &request, &out, &mut StopAfter(updates)) {
            Err(Error::Interrupted) => {}
            other => panic!("stopped after {updates} updates, but got {other:?}"),
        }
        tear_last_line(&out);
        let mut kept = out.load_journal().unwrap();
        drop_torn_turn(&mut kept);
        let run = models.measure_by(&clock, &request, &out, &mut Quiet).unwrap();
        assert_no_observation_twice(&run);
        let journal = out.load_journal().unwrap();
        assert_eq!(journal[..kept.len()], kept, "what was finished stays as it was");
        let finished = |stage: &str| Observation::Finished { stage: stage.into() };
        for stage in ["acceptance", "latency", "memory", "throughput", "confirmation"] {
            let times = journal.iter().filter(|o| **o == finished(stage)).count();
            // On a busy machine there may be no time for the last ones, which is then said.
            let left_out =
                run.header.warnings.iter().any(|warning| {
                    warning.contains("no time was left for") && warning.contains(stage)
                });
            assert!(times == 1 || times == 0 && left_out, "{stage}: {times}");
        }
        let again = models.measure_by(&clock, &request, &out, &mut Quiet).unwrap();
        assert_eq!(again.observations, run.observations, "a finished run measures nothing");
    }
}

/// A turn of which not everything was written is measured again as a whole.
fn drop_torn_turn(kept: &mut Vec<Observation>) {
    let Some(Observation::Latency(last)) = kept.last() else { return };
    let turn = (last.block, last.order);
    if !last.component.ends_turn() {
        let of_turn =
            |o: &Observation| matches!(o, Observation::Latency(s) if (s.block, s.order) == turn);
        kept.retain(|entry| !of_turn(entry));
    }
}

#[test]
fn another_model_or_another_flag_is_refused_with_both_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    let only_memory = Request { stages: vec![Stage::Memory], ..request() };
    Models::new().measure(&only_memory, &out, &mut Quiet).unwrap();
    let other = Models { wide: load(4, 2), narrow: load(4, 1) };
    let message = other.measure(&only_memory, &out, &mut Quiet).unwrap_err().to_string();
    assert!(message.contains("made with model random (") && message.contains("run.json"));
    let asked = Request {
        provenance: Provenance { dtype: "f16".into(), ..only_memory.provenance.clone() },
        ..only_memory
    };
    let message = Models::new().measure(&asked, &out, &mut Quiet).unwrap_err().to_string();
    assert!(message.contains("--dtype f32, but f16 was asked for"), "{message}");
}

#[test]
fn exactly_the_plans_asked_for_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    let plans = |texts: &[&str]| Plans::Exactly(texts.iter().map(|t| t.parse().unwrap()).collect());
    let asked = |texts: &[&str]| Request {
        stages: vec![Stage::Throughput],
        plans: plans(texts),
        time_budget: Seconds(0.3),
        ..request()
    };
    let models = Models::new();
    let first = models.measure(&asked(&["plain", "1..3:2"]), &out, &mut Quiet).unwrap();
    let found: HashSet<_> =
        first.observations.throughput.iter().map(|s| s.plan.to_string()).collect();
    assert_eq!(found, HashSet::from(["plain".to_string(), "1..3:2".to_string()]));
    let blocks: HashSet<_> = first.observations.throughput.iter().map(|s| s.block).collect();
    assert_eq!(blocks.len(), 8, "one block a prompt");
    let second = models.measure(&asked(&["seq:0..4:1"]), &out, &mut Quiet);
    assert!(second.unwrap_err().to_string().contains("skips all of the 4 layers"));
    let third = models.measure(&asked(&["seq:1..2:1"]), &out, &mut Quiet).unwrap();
    assert_no_observation_twice(&third);
    assert!(third.observations.throughput.len() > first.observations.throughput.len());
}

#[test]
fn on_operations_of_a_card_texts_part_at_near_ties_alone_and_those_are_written_down() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Q8_0] {
        let models = [false, true].map(|repeated| {
            let how = LoadOptions { dtype, threads: 1, composed: true, ..LoadOptions::default() };
            Model::random(&config(), 1, &LoadOptions { repeated, ..how }).unwrap()
        });
        for model in &models {
            let plans = ["1..3:3", "seq:1..3:2", "0..2:4"].map(|text| text.parse().unwrap());
            let asked = Request {
                stages: vec![Stage::Latency, Stage::Memory, Stage::Throughput],
                plans: Plans::Exactly(plans.to_vec()),
                time_budget: Seconds(0.2),
                ..request()
            };
            let dir = tempfile::tempdir().unwrap();
            let subject = Subject { model, before_widening: model };
            let clock = SystemClock::default();
            let out = RunDir::new(dir.path());
            let run = measure(subject, &asked, &out, &clock, &mut Fixed, &mut Quiet).unwrap().run;
            // source: 8 prompts, plain twice and three plans
            assert_eq!(run.observations.throughput.len(), 8 * 5);
            assert!(!run.observations.latency.is_empty());
            // Passes that are repeated whole have no components.
            let watched = run.observations.latency.iter().any(|s| s.component == Component::Mlp);
            assert_eq!(watched, model.prepared_passes() == 0);
            for tie in &run.observations.near_ties {
                assert_eq!(tie.first, "plain");
                assert!(plans.iter().any(|plan: &Plan| plan.to_string() == tie.second));
                // Logits of these models are below 16.
                assert!(tie.logit_gap <= 16.0 * model.tie_width(), "{tie:?}");
            }
        }
    }
}

#[test]
fn a_request_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    let models = Models::new();
    let window = SkipWindow::new(2, 6).unwrap();
    let long = Prompt { id: "long".into(), task: None, tokens: vec![1; 5000] };
    for (bad, words) in [
        (Request { prompts: Vec::new(), ..request() }, "--prompts"),
        (Request { prompts: vec![long], ..request() }, "prompt 'long' has 5000 tokens"),
        (Request { tokens: 1, ..request() }, "--tokens"),
        (Request { time_budget: Seconds(f64::NAN), ..request() }, "--time-budget"),
        (Request { skips: vec![window.into()], ..request() }, "window 2..6"),
    ] {
        let message = models.measure(&bad, &out, &mut Quiet).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    assert!(!out.header().exists(), "nothing is written for a bad request");
}

/// Keeps what is said before the work.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn update(&mut self, _: Update<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn note(&mut self, text: &str) {
        self.0.push(text.to_string());
    }
}

#[test]
fn all_windows_are_looked_at_first_and_undecided_ones_further() {
    let dir = tempfile::tempdir().unwrap();
    let out = RunDir::new(dir.path());
    let asked = Request {
        stages: vec![Stage::Acceptance, Stage::Latency, Stage::Refinement],
        skips: SkipWindow::all(4).into_iter().map(Skip::Window).collect(),
        first_look: Some(30),
        time_budget: Seconds(4.0),
        ..request()
    };
    let mut notes = Notes::default();
    let run = Models::new().measure(&asked, &out, &mut notes).unwrap();
    assert_no_observation_twice(&run);
    let positions = |drafting, skip: &Skip| -> usize {
        let of =
            |t: &&s3d_data::Trace| t.drafting == Some(drafting) && t.skip().as_ref() == Some(skip);
        run.observations.traces.iter().filter(of).map(|t| t.tokens()).sum()
    };
    for drafting in Drafting::ALL {
        for skip in &asked.skips {
            let found = positions(drafting, skip);
            let chosen = drafting == Drafting::Simultaneous && skip.to_string() == "1..3";
            // Every text goes to the leading window until the time is over.
            let expected = if chosen { 60..=160 } else { 30..=50 };
            assert!(expected.contains(&found), "{drafting} {skip}: {found} positions");
        }
    }
    assert_eq!(notes.0.len(), 2, "one estimate before each look: {:?}", notes.0);
    assert!(notes.0[0].starts_with("20 windows and draftings: about"), "{}", notes.0[0]);
    assert!(notes.0[1].starts_with("1 of 20 windows and draftings may hold"), "{}", notes.0[1]);
    let coverage = run.header.coverage.unwrap();
    assert_eq!((coverage.plans, coverage.sampled_plans), (10 * (4 + 4), 8));
    assert!(coverage.generation_seconds > Seconds::ZERO);
    assert!(coverage.trace_seconds > Seconds::ZERO);
}
