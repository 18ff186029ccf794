//! Speed of the closed form, of replay, and of the choice on a 32-layer run.
//!
//! `cargo bench -p s3d-simulator`; results stand in `docs/PERFORMANCE.md`.

#![expect(clippy::unwrap_used, reason = "a bench")]

#[path = "../tests/planted/mod.rs"]
mod planted;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use planted::Planted;
use planted::monte_carlo::Drawing;
use s3d_data::{Drafting, Predictors, SkipRatio, SkipWindow};
use s3d_simulator::choose::{Request, choose};
use s3d_simulator::cost::improvement::ideal_improvement;
use s3d_simulator::policy::{Adaptive, CostByDrafts, Settings, acceptance};
use s3d_simulator::traces::replay::replay;
use s3d_simulator::traces::walk::walk;
use s3d_simulator::{
    AcceptanceCurve, AcceptanceRate, DraftLength, Family, ReplayOptions, TypedCosts,
};
use std::hint::black_box;
use std::time::Duration;

const PLANS: usize = 4096;

/// Improvement factors of plans with four predictors, rates given.
fn closed_form(c: &mut Criterion) {
    let rates: Vec<Vec<AcceptanceRate>> = (0..PLANS)
        .map(|i| AcceptanceRate::all(&[0.9, 0.8, 0.7, i as f64 / PLANS as f64]).unwrap())
        .collect();
    let ratio = SkipRatio::new(0.5).unwrap();
    let mut group = c.benchmark_group("closed form");
    group.throughput(Throughput::Elements(PLANS as u64));
    group.bench_function("plans, four predictors", |b| {
        b.iter(|| {
            let factor =
                |r: &Vec<AcceptanceRate>| ideal_improvement(Drafting::Simultaneous, ratio, r);
            black_box(&rates).iter().map(factor).sum::<f64>()
        });
    });
    group.finish();
}

/// Replay of traces in memory with affine costs; elements = decoded tokens.
fn replayed(c: &mut Criterion) {
    let rates = AcceptanceRate::all(&[0.9, 0.8, 0.75, 0.7]).unwrap();
    let traces = Drawing { rates, length: 200, texts: 1000, spread: 0.5, seed: 1 }.traces();
    let options = ReplayOptions {
        drafting: Drafting::Simultaneous,
        draft_length: DraftLength::Fixed(Predictors::new(4).unwrap()),
        batch: 1,
        include_prompt: true,
    };
    let costs = TypedCosts::ideal(0.5);
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(200 * 1000));
    group.bench_function("decoded tokens, times and averages", |b| {
        b.iter(|| replay(black_box(&traces), &costs, &options).unwrap());
    });
    let accepted: Vec<&[u32]> = traces.iter().map(|trace| trace.accepted.as_slice()).collect();
    group.bench_function("decoded tokens, the walk alone", |b| {
        let iterations = |a: &&[u32]| walk(a, 4).iterations;
        b.iter(|| black_box(&accepted).iter().map(iterations).sum::<u64>());
    });
    group.finish();
}

/// The choice from a 32-layer run: all 528 windows, 8 predictors, both draftings, 100 prompts of
/// 200 positions, 1,000 draws; on all cores.
fn chosen(c: &mut Criterion) {
    let windows = (0..32).flat_map(|start| (start + 1..=32).map(move |end| (start, end)));
    let curve = AcceptanceCurve::new(Family::Superellipse, &[4.0], 0.9).unwrap();
    let planted = Planted {
        layers: 32,
        windows: windows
            .filter(|(start, end)| end - start < 32)
            .map(|(start, end)| SkipWindow::new(start, end).unwrap())
            .chain([SkipWindow::new(16, 16).unwrap()])
            .collect(),
        gamma_max: 8,
        prompts: 100,
        positions: 200,
        blocks: 3,
        ..Planted::small(curve, 1)
    };
    let run = planted.run();
    let request = Request::of(&run.header);
    let mut group = c.benchmark_group("optimize");
    group.sample_size(10).measurement_time(Duration::from_secs(15));
    group.bench_function("32 layers, 528 windows", |b| {
        b.iter(|| choose(black_box(&run), &request).unwrap());
    });
    group.finish();
}

/// One decision of drafts that adapt, and what it learns from the iteration: 8 drafts at most.
fn decided(c: &mut Criterion) {
    let costs = CostByDrafts::new(&[1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]).unwrap();
    let rates = AcceptanceRate::all(&[0.9, 0.8, 0.75, 0.7, 0.7, 0.6, 0.6, 0.6]).unwrap();
    let traces = Drawing { rates, length: 1000, texts: 8, spread: 0.5, seed: 1 }.traces();
    let counts = acceptance(traces.iter(), 8);
    let mut policy = Adaptive::new(costs, &counts, 6, Settings::default());
    let mut places = (0..1000).cycle();
    let mut group = c.benchmark_group("policy");
    group.bench_function("one decision", |b| {
        b.iter(|| {
            let drafts = policy.drafts();
            let right = traces[0].accepted[places.next().unwrap_or(0)] as usize;
            policy.told(drafts, right.min(drafts));
            drafts
        });
    });
    group.finish();
}

criterion_group!(benches, closed_form, replayed, chosen, decided);
criterion_main!(benches);
