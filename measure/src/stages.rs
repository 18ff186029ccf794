//! The stages of a run, each in a file of its own, and their sequence.

pub(crate) mod acceptance;
pub(crate) mod afford;
mod blocks;
pub mod coverage;
pub(crate) mod latency;
pub(crate) mod lockstep;
mod lossless;
pub mod memory;
mod narrowing;
pub mod policy;
pub mod probe;
pub(crate) mod reference;
pub(crate) mod throughput;
mod timed_passes;

use crate::bench::Bench;
use crate::error::Result;
use crate::request::Stage;
use crate::warning::Warning;
use s3d_data::Stop;

/// Goes through the stages that are needed and not finished; returns why the end-to-end blocks
/// stopped, if they were measured now.
pub(crate) fn run_stages(bench: &mut Bench<'_>) -> Result<Option<Stop>> {
    let mut stop = None;
    let mut left_out = Vec::new();
    for stage in Stage::ALL {
        let name = bench.request.stage_name(stage);
        if !bench.request.wants(stage) || bench.recorder.is_finished(&name) {
            continue;
        }
        if bench.has_no_time_for(stage) {
            left_out.push(stage.name());
            continue;
        }
        bench.begin(stage);
        match stage {
            Stage::Probe => probe::limits(bench)?,
            Stage::Acceptance => acceptance::trace_prompts(bench)?,
            Stage::Latency => latency::time_passes(bench)?,
            Stage::Refinement => acceptance::refine(bench)?,
            Stage::Memory => memory::record(bench)?,
            Stage::Throughput => {
                let why = throughput::generate_blocks(bench)?;
                bench.recorder.run.header.stopped = Some(why);
                stop = Some(why);
            }
            Stage::RunOff => throughput::run_off(bench)?,
            Stage::Confirmation => {
                throughput::confirm(bench)?;
                probe::limits_again(bench)?;
            }
            Stage::Batch => latency::time_shared_passes(bench)?,
            Stage::BatchConfirmation => lockstep::confirm(bench)?,
        }
        bench.recorder.finish(&name)?;
        if matches!(stage, Stage::Latency | Stage::Refinement) {
            bench.standing = Some(bench.ask_standing()?);
        }
    }
    if !left_out.is_empty() {
        bench.warnings.push(Warning::LeftOut { stages: left_out });
    }
    Ok(stop)
}
