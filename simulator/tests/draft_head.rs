//! Draft passes over a part of the vocabulary: full passes, whose head is another, do not stand for
//! them.

use s3d_data::{
    BytesPerSecond, Component, Draft, Drafting, Dtype, FlopsPerSecond, Machine, ModelIdentity,
    ModelShape, Observations, Plan, Run, RunHeader, Skip, SkipWindow,
};
use s3d_simulator::cost::derive::{Derivation, Efficiency, Sheet};
use s3d_simulator::cost::pass_times::PassTimes;

const CONTEXT: usize = 256;

/// source: the roofline that the times were derived from; windows of fewer than 8 layers are not
/// timed, so that their next neighbours would be the full passes
#[test]
fn short_windows_that_were_not_timed_follow_from_draft_passes_alone() {
    for draft_vocab in [0, 8000] {
        let shape = ModelShape { draft_vocab, ..smollm2() };
        let sheet =
            Sheet { read_bytes_per_s: BytesPerSecond(40e9), flops_per_s: FlopsPerSecond(1e15) };
        let efficiency = Efficiency::new(1.0, 1.0).unwrap();
        let derived =
            Derivation { experts: None, shape: &shape, format: Dtype::F32, sheet, efficiency };
        let mut latency = derived.latency(4, &[CONTEXT]).unwrap();
        latency.retain(|row| {
            let draft = row.plan.as_ref().and_then(Plan::draft);
            let Some(Skip::Window(window)) = draft.map(|draft| &draft.skip) else { return true };
            row.component != Component::DraftPass || window.len() >= 8
        });
        let observations = Observations { latency, ..Observations::default() };
        let run = Run { header: header(shape.clone()), observations };
        let times = PassTimes::new(&run, 0, CONTEXT).unwrap();
        for skipped in [0, 2, 5] {
            let skip = Skip::from(SkipWindow::new(10, 10 + skipped).unwrap());
            let way = Draft { drafting: Drafting::Sequential, skip };
            let found = times.law.predict(&way, 1).unwrap().value;
            let expected =
                derived.draft_seconds(30 - skipped, 1, CONTEXT) / derived.seconds(30, 1, CONTEXT);
            assert!((found / expected - 1.0).abs() < 0.01, "{skipped}: {found} {expected}");
        }
    }
}

fn smollm2() -> ModelShape {
    ModelShape {
        layers: 30,
        hidden: 576,
        intermediate: 1536,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49_152,
        tied: true,
        masks: 3,
        adapter_rank: 16,
        draft_vocab: 0,
    }
}

fn header(shape: ModelShape) -> RunHeader {
    let machine = Machine::named("sheet", s3d_data::Bytes(1 << 34));
    let model = ModelIdentity::named("smollm2", shape);
    RunHeader { device: "cpu".into(), dtype: "f32".into(), ..RunHeader::new(machine, model) }
}
