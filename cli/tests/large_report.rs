//! The report of a large run: 32 layers, every contiguous window, up to 8 drafts. The run directory
//! is written by formulas and left in the test's folder, where the time of a report is taken by
//! hand (docs/PERFORMANCE.md).

#![allow(clippy::unwrap_used, reason = "tests")]

use s3d_data::{
    Bytes, BytesPerSecond, Component, DraftPlan, Drafting, FlopsPerSecond, LatencySample, Machine,
    ModelIdentity, ModelShape, Observations, Plan, Predictors, RunDir, RunHeader, Seconds,
    SkipWindow, ThroughputSample, Trace,
};
use std::path::Path;
use std::process::Command;

const LAYERS: usize = 32;
const GAMMA_MAX: usize = 8;
const TEXTS: usize = 12;
const TOKENS: usize = 96;
const BLOCKS: usize = 12;

/// A number in [0, 1) that looks random (the fractional part of a multiple of the golden ratio).
fn scatter(n: usize) -> f64 {
    (n as f64 * 0.618_033_988_75).fract()
}

/// All contiguous windows that keep a layer, the empty one among them: 32 * 33 / 2 = 528.
fn windows() -> Vec<SkipWindow> {
    SkipWindow::all(LAYERS)
}

fn trace(window: SkipWindow, text: usize) -> Trace {
    let share = window.len() as f64 / LAYERS as f64;
    let seed = 1009 * window.start() + 31 * window.end() + 7 * text;
    let accepted = (0..TOKENS).map(|position| {
        let luck = scatter(seed + position * position) * (1.0 - share * share);
        (luck * (GAMMA_MAX + 1) as f64) as u32
    });
    Trace {
        drafting: Some(Drafting::Simultaneous),
        skip_start: Some(window.start()),
        skip_end: Some(window.end()),
        skip_set: None,
        gamma_max: Predictors::new(GAMMA_MAX).ok(),
        counted_drafts: None,
        id: format!("text {text}"),
        task: Some(["arithmetic", "records", "stories"][text % 3].into()),
        prompt: 32,
        accepted: accepted.collect(),
        confidence: None,
        accept_probability: None,
        ranks: None,
    }
}

fn plan(window: SkipWindow, predictors: usize) -> Plan {
    let predictors = Predictors::new(predictors).unwrap();
    Plan::Speculate(DraftPlan { drafting: Drafting::Simultaneous, skip: window.into(), predictors })
}

/// Seconds of a pass: a fixed part, and each layer with a slow rise by width.
fn seconds(layers: usize, width: usize, noise: usize) -> f64 {
    let pass = 1e-3 + layers as f64 * 5e-4 * (1.0 + 0.02 * (width as f64 - 1.0));
    pass * (1.0 + 0.01 * scatter(noise))
}

/// Components and whole passes of one plan in one place of the schedule.
fn timed(plan: &Plan, block: usize, order: usize, rows: &mut Vec<LatencySample>) {
    let mut push = |component, layer, width, seconds| {
        rows.push(LatencySample {
            machine: 0,
            component,
            layer,
            plan: Some(plan.clone()),
            width,
            context: [64, 256, 512][block % 3],
            block,
            order,
            copy: 0,
            seconds: Seconds(seconds),
            cpu_seconds: None,
            batch: 1,
        });
    };
    let kept = |window: Option<SkipWindow>| {
        let skipped = move |layer| window.is_some_and(|w| (w.start()..w.end()).contains(&layer));
        (0..LAYERS).filter(move |layer| !skipped(*layer))
    };
    let mut pass = |whole, window, width: usize| {
        let layers = kept(window).count();
        for layer in kept(window) {
            let time = 2.5e-4 * (1.0 + 0.02 * width as f64) * (1.0 + 0.01 * scatter(block + layer));
            push(Component::Attention, Some(layer), width, time);
            push(Component::Mlp, Some(layer), width, time);
        }
        push(whole, None, width, seconds(layers, width, 17 * block + order));
    };
    match plan.draft() {
        None => pass(Component::FullPass, None, 1),
        Some(draft) => {
            pass(Component::DraftPass, draft.skip.window(), draft.predictors.get());
            pass(Component::VerifyPass, None, draft.predictors.get() + 1);
        }
    }
}

fn latency() -> Vec<LatencySample> {
    let mut rows = Vec::new();
    for block in 0..BLOCKS {
        let mut order = 0;
        for skipped in (4..=28).step_by(4) {
            for predictors in 1..=GAMMA_MAX {
                let window = SkipWindow::symmetric(LAYERS, skipped).unwrap();
                timed(&plan(window, predictors), block, order, &mut rows);
                timed(&Plan::Plain, block, order + 1, &mut rows);
                order += 2;
            }
        }
    }
    rows
}

fn throughput() -> Vec<ThroughputSample> {
    let mut rows = Vec::new();
    for block in 0..BLOCKS {
        for (order, skipped) in [None, Some(8), Some(16), Some(24)].into_iter().enumerate() {
            let window = skipped.map(|k| SkipWindow::symmetric(LAYERS, k).unwrap());
            let gain = if window.is_some() { 1.5 } else { 1.0 };
            let time = 96.0 * seconds(LAYERS, 1, block) / gain;
            rows.push(ThroughputSample {
                machine: 0,
                block,
                order,
                copy: 0,
                plan: window.map_or(Plan::Plain, |window| plan(window, 4)),
                id: format!("text {}", block % TEXTS),
                tokens: TOKENS,
                iterations: if window.is_some() { 40 } else { 95 },
                prompt_seconds: Seconds(0.05),
                draft_seconds: Seconds(if window.is_some() { 0.3 * time } else { 0.0 }),
                verify_seconds: Seconds(if window.is_some() { 0.7 * time } else { time }),
                seconds: Seconds(time + 0.05),
                cpu_seconds: None,
                start: 0,
                batch: 1,
            });
        }
    }
    rows
}

fn header() -> RunHeader {
    let shape = ModelShape {
        layers: LAYERS,
        hidden: 1024,
        intermediate: 2816,
        heads: 16,
        kv_heads: 8,
        head_dim: 64,
        vocab: 32_000,
        tied: true,
        masks: GAMMA_MAX - 1,
        adapter_rank: 0,
        draft_vocab: 0,
    };
    let machine = Machine {
        cores: 2,
        read_bytes_per_s: Some(BytesPerSecond(2e10)),
        flops_per_s: Some(FlopsPerSecond(1e11)),
        ..Machine::named("written by formulas", Bytes(8 << 30))
    };
    let model = ModelIdentity { random_weights: true, ..ModelIdentity::named("large", shape) };
    RunHeader {
        command: ["s3d", "run"].map(String::from).to_vec(),
        program_version: "0.1.0".into(),
        device: "cpu".into(),
        threads: 2,
        dtype: "f16".into(),
        gamma_max: Predictors::new(GAMMA_MAX).unwrap(),
        context: 256,
        seed: 1,
        started: "2026-01-01T00:00:00Z".into(),
        ended: Some("2026-01-01T00:02:00Z".into()),
        seconds_measuring: Seconds(120.0),
        ..RunHeader::new(machine, model)
    }
}

#[test]
fn a_run_with_528_windows_and_8_drafts_is_reported_on_a_page_of_at_most_3_mb() {
    let windows = windows();
    assert_eq!(windows.len(), 528);
    let traces = windows.iter().flat_map(|w| (0..TEXTS).map(|text| trace(*w, text)));
    let observations = Observations {
        latency: latency(),
        traces: traces.collect(),
        throughput: throughput(),
        ..Observations::default()
    };
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large-run");
    let dir = RunDir::new(&root);
    dir.save_header(&header()).unwrap();
    dir.save_tables(&observations).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_s3d")).arg("report").arg(&root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(root.join("report.html")).unwrap();
    assert!(page.len() <= 3_000_000, "{} bytes", page.len());
    assert!(page.contains("(4224 rows)"), "not every plan is in the table");
}
