//! How a run was made: machine, model, command, versions.

use crate::words::verdict::quoted;
use s3d_data::{Machine, RunHeader};
use serde::Serialize;

/// The machines in a few words.
pub fn machine_name(header: &RunHeader) -> String {
    match header.machines.as_slice() {
        [] => header.device.clone(),
        [one] if header.threads == 0 => format!("{} ({})", one.model, header.device),
        [one] => format!("{} ({}, {} threads)", one.model, header.device, header.threads),
        [first, rest @ ..] => format!("{} and {} more machines", first.model, rest.len()),
    }
}

/// What a page says of how a run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The command, as a shell reads it.
    pub command: String,
    /// Names and values, in reading order.
    pub rows: Vec<(String, String)>,
}

impl Provenance {
    /// That of the run with this header.
    pub fn new(header: &RunHeader) -> Self {
        let command: Vec<_> = header.command.iter().map(|argument| quoted(argument)).collect();
        Self { command: command.join(" "), rows: rows(header) }
    }
}

/// Names and values, in reading order.
pub fn rows(header: &RunHeader) -> Vec<(String, String)> {
    let shape = &header.model.shape;
    let mut rows = vec![
        ("Model".into(), format!("{}, content {}", header.model.name, header.model.content_hash)),
        (
            "Shape".into(),
            format!(
                "{} layers, width {}, MLP {}, {} heads ({} key-value), vocabulary {}, {} masks, \
                 {} parameters",
                shape.layers,
                shape.hidden,
                shape.intermediate,
                shape.heads,
                shape.kv_heads,
                shape.vocab,
                shape.masks,
                shape.parameters()
            ),
        ),
        ("Precision".into(), precision(header)),
        ("Device".into(), device(header)),
    ];
    rows.extend(header.machines.iter().map(|machine| ("Machine".into(), machine_row(machine))));
    rows.extend(
        crate::words::caveat::imposed_words(header.imposed.as_deref())
            .map(|words| ("Acceptance".into(), words)),
    );
    let drawn = header.sampling.as_ref().map(crate::words::caveat::drawn_words);
    rows.extend(drawn.map(|words| ("Texts".into(), words)));
    let commit = header.program_commit.as_deref().unwrap_or("unknown");
    rows.push(("Program".into(), format!("s3d {} (commit {commit})", header.program_version)));
    rows.push(("Seed".into(), header.seed.to_string()));
    let ended = header.ended.as_deref().unwrap_or("not finished");
    let measuring = header.seconds_measuring;
    rows.push(("Time".into(), format!("{} to {ended}, {measuring} of measuring", header.started)));
    rows
}

fn precision(header: &RunHeader) -> String {
    match header.widen {
        1 => format!("{}, not widened", header.dtype),
        times => format!("{}, widened x{times}", header.dtype),
    }
}

fn device(header: &RunHeader) -> String {
    let driver = header.driver.as_ref().map(|d| format!(", driver {d}")).unwrap_or_default();
    let budget = header
        .memory_budget_bytes
        .map(|bytes| format!(", memory budget {bytes}"))
        .unwrap_or_default();
    let threads = match header.threads {
        0 => String::new(),
        threads => format!(", {threads} threads"),
    };
    format!(
        "{}{driver}{threads}, context {} tokens, at most {} drafted{budget}",
        header.device, header.context, header.gamma_max
    )
}

fn machine_row(machine: &Machine) -> String {
    let mut words = vec![
        format!("{}, {} cores, {}", machine.model, machine.cores, machine.memory_bytes),
        format!("last-level cache {}", machine.last_level_cache()),
        machine.features.clone(),
    ];
    words.extend(machine.read_bytes_per_s.map(|rate| format!("reads {rate}")));
    words.extend(machine.flops_per_s.map(|rate| format!("computes {rate}")));
    words.extend(machine.governor.as_ref().map(|governor| format!("governor {governor}")));
    words.push(machine.system.clone());
    words.retain(|word| !word.is_empty());
    words.join("; ")
}
