//! What a record may hold: checked once, when it is read. Numbers are finite and within what the engine can do
//! ([`crate::limits`]), and they fit the run that they belong to.

use crate::limits::{self, within};
use crate::plan::{LayerSet, Plan, Skip};
use crate::records::latency::{
    Component, LatencySample, MemoryRecord, ModelShape, NearTie, ThroughputSample,
};
use crate::records::trace::Trace;
use crate::results::{PlanResult, Recommendation};
use crate::run::journal::Observation;
use crate::run::{Machine, RunHeader};
use crate::{Error, Result};

/// What the observations of a run must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Layers of the model.
    pub layers: usize,
    /// Machines of the run, at least 1.
    pub machines: usize,
}

impl Bounds {
    /// Where the run is not known.
    pub const WIDEST: Self = Self { layers: limits::LAYERS, machines: limits::SHARDS };

    /// Those of a header.
    pub fn of(header: &RunHeader) -> Self {
        Self { layers: header.model.shape.layers, machines: header.machines.len().max(1) }
    }

    fn machine(&self, machine: usize) -> Result<()> {
        within("machine", machine, &(0..=self.machines - 1)).map(drop)
    }

    fn plan(&self, plan: &Plan) -> Result<()> {
        plan.draft().map_or(Ok(()), |draft| self.skip(&draft.skip))
    }

    fn skip(&self, skip: &Skip) -> Result<()> {
        skip.check(self.layers)
    }
}

/// Checks a row of `latency.csv`.
///
/// # Errors
/// Names the column.
pub fn latency(row: &LatencySample, bounds: &Bounds) -> Result<()> {
    bounds.machine(row.machine)?;
    if let Some(layer) = row.layer {
        within("layer", layer, &(0..=bounds.layers.max(1) - 1))?;
    }
    row.plan.as_ref().map_or(Ok(()), |plan| bounds.plan(plan))?;
    within("width", row.width, &(1..=limits::TOKENS))?;
    within("context", row.context, &(1..=limits::TOKENS))?;
    place(row.block, row.order, row.copy)?;
    // A component may be too short for the clock, and the rest a difference: not a whole pass.
    let seconds = match row.component >= Component::FullPass {
        true => limits::PASS_SECONDS,
        false => limits::PART_SECONDS,
    };
    within("seconds", row.seconds, &seconds)?;
    within("cpu_seconds", row.cpu_seconds.unwrap_or(0.0), &limits::SPENT_SECONDS)?;
    Ok(())
}

/// Checks a row of `throughput.csv`.
///
/// # Errors
/// Names the column.
pub fn throughput(row: &ThroughputSample, bounds: &Bounds) -> Result<()> {
    bounds.machine(row.machine)?;
    bounds.plan(&row.plan)?;
    place(row.block, row.order, row.copy)?;
    within("tokens", row.tokens, &(1..=limits::TOKENS))?;
    // Every iteration commits a token at least; the first token may be the prompt pass's.
    let least = usize::from(row.tokens > 1);
    within("iterations", row.iterations, &(least..=row.tokens))?;
    let seconds = within("seconds", row.seconds, &limits::PASS_SECONDS)?;
    // The clock is read between the parts: they take no longer than the whole, but for rounding.
    let whole = 0.0..=seconds * (1.0 + 1e-6);
    within("prompt_seconds", row.prompt_seconds, &whole)?;
    within("draft_seconds", row.draft_seconds, &whole)?;
    within("verify_seconds", row.verify_seconds, &whole)?;
    within("cpu_seconds", row.cpu_seconds.unwrap_or(0.0), &limits::SPENT_SECONDS)?;
    Ok(())
}

fn place(block: usize, order: usize, copy: usize) -> Result<()> {
    within("block", block, &(0..=limits::BLOCKS))?;
    within("order", order, &(0..=limits::BLOCKS))?;
    within("copy", copy, &(0..=1))?;
    Ok(())
}

/// Checks a row of `memory.csv`.
///
/// # Errors
/// Names the column.
pub fn memory(row: &MemoryRecord) -> Result<()> {
    within("context", row.context, &(0..=limits::TOKENS))?;
    within("width", row.width, &(0..=limits::TOKENS))?;
    within("bytes", row.bytes, &(0..=limits::BYTES))?;
    Ok(())
}

/// Checks a row of `near_ties.csv`.
///
/// # Errors
/// Names the column.
pub fn near_tie(row: &NearTie) -> Result<()> {
    within("position", row.position, &(0..=limits::TOKENS))?;
    within("logit_gap", row.logit_gap, &(0.0..=f64::from(f32::MAX)))?;
    Ok(())
}

/// Checks a line of `acceptance.jsonl`.
///
/// # Errors
/// Names the key.
pub fn trace(row: &Trace, bounds: &Bounds) -> Result<()> {
    row.validate()?;
    row.skip().map_or(Ok(()), |skip| bounds.skip(&skip))
}

/// Checks a line of `journal.jsonl`.
///
/// # Errors
/// Names the key.
pub fn observation(entry: &Observation, bounds: &Bounds) -> Result<()> {
    match entry {
        Observation::Latency(row) => latency(row, bounds),
        Observation::Trace(row) => trace(row, bounds),
        Observation::Throughput(row) => throughput(row, bounds),
        Observation::Memory(row) => memory(row),
        Observation::NearTie(row) => near_tie(row),
        _ => Ok(()),
    }
}

/// Checks `run.json`.
///
/// # Errors
/// Begins with the key.
pub fn header(header: &RunHeader) -> Result<()> {
    shape(&header.model.shape)?;
    within("machines", header.machines.len(), &(0..=limits::SHARDS))?;
    header.machines.iter().try_for_each(machine)?;
    within("threads", header.threads, &(0..=1 << 16))?;
    within("widen", header.widen, &(1..=64))?;
    within("gamma_max", header.gamma_max, &(1..=limits::PREDICTORS))?;
    within("context", header.context, &(1..=limits::TOKENS))?;
    within("memory_budget_bytes", header.memory_budget_bytes.unwrap_or(0), &(0..=limits::BYTES))?;
    let imposed = header.imposed.iter().flatten();
    imposed.copied().try_for_each(|rate| within("imposed", rate, &(0.0..=1.0)).map(drop))?;
    within("seconds_measuring", header.seconds_measuring, &limits::SPENT_SECONDS)?;
    within("cpu_seconds", header.cpu_seconds.unwrap_or(0.0), &limits::SPENT_SECONDS)?;
    if let Some(coverage) = &header.coverage {
        within("trace_seconds", coverage.trace_seconds, &limits::SPENT_SECONDS)?;
        within("generation_seconds", coverage.generation_seconds, &limits::SPENT_SECONDS)?;
    }
    for shard in header.merged.iter().flat_map(|merged| &merged.shards) {
        within("machine", shard.machine, &(0..=limits::SHARDS))?;
        within("seconds_measuring", shard.seconds_measuring, &limits::SPENT_SECONDS)?;
    }
    Ok(())
}

fn machine(machine: &Machine) -> Result<()> {
    within("cores", machine.cores, &(0..=1 << 20))?;
    within("memory_bytes", machine.memory_bytes, &(0..=limits::BYTES))?;
    for cache in &machine.caches {
        within("bytes", cache.bytes, &(0..=limits::BYTES))?;
    }
    within("read_bytes_per_s", machine.read_bytes_per_s.unwrap_or(0.0), &limits::RATE)?;
    within("flops_per_s", machine.flops_per_s.unwrap_or(0.0), &limits::RATE)?;
    within("load", machine.load.unwrap_or(0.0), &limits::RATE)?;
    Ok(())
}

/// Checks the shape of a model; what is not known of an imported one is 0.
///
/// # Errors
/// Begins with the key.
pub fn shape(shape: &ModelShape) -> Result<()> {
    let width = 0..=limits::WIDTH;
    within("layers", shape.layers, &(1..=limits::LAYERS))?;
    within("hidden", shape.hidden, &width)?;
    within("intermediate", shape.intermediate, &width)?;
    within("heads", shape.heads, &width)?;
    within("kv_heads", shape.kv_heads, &width)?;
    within("head_dim", shape.head_dim, &width)?;
    // No overflow: each is at most 2^20.
    within("heads", shape.heads * shape.head_dim, &width)
        .and_then(|_| within("kv_heads", shape.kv_heads * shape.head_dim, &width))
        .map_err(|e| Error::invalid(format!("{e} (times head_dim)")))?;
    within("vocab", shape.vocab, &(0..=limits::VOCAB))?;
    within("masks", shape.masks, &(0..=limits::LAYERS))?;
    within("adapter_rank", shape.adapter_rank, &(0..=1 << 16))?;
    Ok(())
}

/// Checks `recommendation.json`.
///
/// # Errors
/// Begins with the key.
pub fn recommendation(found: &Recommendation) -> Result<()> {
    within("context", found.context, &(1..=limits::TOKENS))?;
    within("seconds_measuring", found.seconds_measuring, &limits::SPENT_SECONDS)?;
    found.choice.iter().chain(&found.ties).try_for_each(plan_result)
}

fn plan_result(found: &PlanResult) -> Result<()> {
    let layers = within("layers", found.layers, &(1..=limits::LAYERS))?;
    within("predictors", found.predictors, &(1..=limits::PREDICTORS))?;
    let start = within("skip_start", found.skip_start.unwrap_or(0), &(0..=layers))?;
    within("skip_end", found.skip_end.unwrap_or(layers), &(start..=layers))?;
    found.skip_set.as_ref().map_or(Ok(()), LayerSet::check)?;
    let skipped = found.skip_set.iter().flat_map(|set| set.attention.iter().chain(&set.mlp));
    skipped
        .copied()
        .try_for_each(|layer| within("skip_set", layer, &(0..=layers - 1)).map(drop))?;
    Bounds { layers, machines: 1 }
        .plan(&found.plan)
        .map_err(|e| Error::invalid(format!("plan: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64) -> ThroughputSample {
        ThroughputSample {
            machine: 0,
            block: 0,
            order: 0,
            copy: 0,
            plan: Plan::Plain,
            id: "a".into(),
            tokens: 9,
            iterations: 8,
            prompt_seconds: 0.1,
            draft_seconds: 0.0,
            verify_seconds: 0.8,
            seconds,
            cpu_seconds: None,
        }
    }

    #[test]
    fn times_that_no_machine_takes_are_refused() {
        let refused = |row: ThroughputSample| {
            throughput(&row, &Bounds::WIDEST).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(refused(sample(1.0)), "");
        for seconds in [1e-323, 0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(refused(sample(seconds)).starts_with("seconds: expected"), "{seconds}");
        }
        assert!(refused(sample(0.5)).starts_with("verify_seconds: expected 0 to"));
        let one = ThroughputSample { tokens: 1, ..sample(1.0) };
        assert!(refused(one.clone()).starts_with("iterations: expected 0 to 1, found 8"));
        assert_eq!(
            refused(ThroughputSample { iterations: 0, ..one }),
            "",
            "short, but a generation"
        );
        let plan = "3..9:4".parse().unwrap();
        let bounds = Bounds { layers: 6, machines: 1 };
        let message = throughput(&ThroughputSample { plan, ..sample(1.0) }, &bounds).unwrap_err();
        assert!(message.to_string().contains("the model has layers 0..6"), "{message}");
        let two = ThroughputSample { machine: 1, ..sample(1.0) };
        assert!(throughput(&two, &bounds).unwrap_err().to_string().starts_with("machine: "));
    }
}
