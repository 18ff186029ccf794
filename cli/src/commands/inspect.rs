//! `s3d inspect`: shape and memory of a model, its logits, or what a run directory holds.

use crate::args::InspectArgs;
use crate::shared::load::{self, Source};
use crate::shared::usage::usage;
use crate::shared::{load_run, resolve, terminal};
use anyhow::Context;
use s3d_data::memory::{Engine, Held, Load, Memory, Method};
use s3d_data::{Drafting, Dtype, RunDir};
use s3d_model::{ModelConfig, Silent};
use s3d_reports::Table;
use s3d_reports::format::text;
use s3d_reports::table::{Cell, Column};
use serde::Serialize;
use serde_json::json;
use std::path::Path;

/// Context of the memory table where none is asked for.
const CONTEXT: usize = 256;

/// Inspects a run directory, or a model.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let path = Path::new(&args.target);
    if path.join("run.json").exists() {
        let flags = [
            ("--config", args.config.is_some()),
            ("--layers", args.layers.is_some()),
            ("--context", args.context.is_some()),
            ("--logits", !args.logits.is_empty()),
        ];
        if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
            return Err(usage(format!("{flag}: expected a model, found a run directory")));
        }
        return inspect_run(path, args.json);
    }
    match (&args.tokens, args.logits.is_empty()) {
        (Some(text), _) => tokens(args, text),
        (None, true) => inspect_model(args),
        (None, false) => logits(args),
    }
}

/// Memory of a model at one precision.
#[derive(Serialize)]
struct MemoryRow {
    dtype: &'static str,
    #[serde(flatten)]
    memory: Memory,
}

fn inspect_model(args: &InspectArgs) -> anyhow::Result<()> {
    let source = Source::of(&args.target, args.config.as_deref(), args.layers, false)?;
    let context = args.context.unwrap_or(CONTEXT);
    resolve::context(context)?;
    let (config, notes) = source.describe()?;
    let config = match (&args.adapters, source.path()) {
        (None, _) => config,
        (Some(folder), Some(path)) => {
            let (config, distance) = s3d_model::weights::config_with(path, folder)?;
            load::base_note(distance).iter().for_each(|note| terminal::note(note));
            config
        }
        (Some(_), None) => {
            return Err(usage(
                "--adapters: a geometry has random weights, which nothing was trained for",
            ));
        }
    };
    let shape = config.shape();
    let width = shape.masks + 2;
    let rows: Vec<MemoryRow> = Dtype::ENGINE
        .into_iter()
        .map(|dtype| MemoryRow {
            dtype: dtype.name(),
            memory: Memory::of(
                &shape,
                &Held::computed(&shape, dtype, Engine::Cpu),
                Load { context, width, batch: 1 },
                &Method::S3d { predictors: shape.masks + 1 },
            ),
        })
        .collect();
    if args.json {
        return terminal::json(&json!({
            "path": source.name(), "architecture": config.class(), "positions": config.positions(),
            "shape": shape, "parameters": config.parameters(),
            "context": context, "memory": rows, "read_and_not_followed": notes,
        }));
    }
    terminal::result(&format!(
        "{}{}\n\n{}",
        shape_text(&source.name(), &config),
        notes_text(&notes),
        memory_text(&rows, context)
    ))
}

fn shape_text(name: &str, config: &ModelConfig) -> String {
    let shape = config.shape();
    let tied = if shape.tied { "tied" } else { "untied" };
    let masks = match shape.masks {
        0 => "none: sequential drafting only; simultaneous drafting needs training (s3d train \
            --model)"
            .to_string(),
        masks => format!("{masks}: simultaneous drafting of up to {} tokens", masks + 1),
    };
    let adapters = match shape.adapter_rank {
        0 => String::new(),
        rank => format!("\n  adapters      rank {rank}, on draft rows only"),
    };
    let drafts = match shape.draft_vocab {
        0 => String::new(),
        tokens => format!("\n  draft head    {tokens} of these tokens, in draft passes only"),
    };
    format!(
        "{}\n  architecture  {}\n  positions     {}\n  layers        {}\n  hidden        {}\n  \
         intermediate  {}\n  heads         {} of {} \
         ({} key-value)\n  vocabulary    {} ({tied} head){drafts}\n  masks         {masks}{adapters}\n  \
         parameters    {}",
        name,
        config.class(),
        config.positions(),
        shape.layers,
        shape.hidden,
        shape.intermediate,
        shape.heads,
        shape.head_dim,
        shape.kv_heads,
        shape.vocab,
        config.parameters(),
    )
}

/// A line for each thing that the files say and that does not hold here.
fn notes_text(notes: &[String]) -> String {
    let lines = notes.iter().map(|note| format!("\n  {note}"));
    match notes.is_empty() {
        true => String::new(),
        false => format!("\n\nRead, and not followed{}", lines.collect::<String>()),
    }
}

fn memory_text(rows: &[MemoryRow], context: usize) -> String {
    let columns = ["dtype", "weights", "KV cache", "activations", "masks", "peak"];
    let row = |MemoryRow { dtype, memory }: &MemoryRow| {
        let parts = [
            memory.weights_bytes,
            memory.kv_cache_bytes,
            memory.activations_bytes,
            memory.method_bytes,
            memory.peak_bytes,
        ];
        let parts = parts.into_iter().map(|bytes| Cell::Bytes(bytes.0));
        std::iter::once(Cell::text(dtype.to_string())).chain(parts).collect()
    };
    let title = format!("Memory at context {context} on the CPU, computed from the shape");
    let table = Table::new("memory", title, columns.map(Column::new).to_vec());
    let table = table.rows(rows.iter().map(row));
    format!("{}\n{}", table.title, text::table(&table, terminal::width()).trim_end())
}

fn tokens(args: &InspectArgs, text: &str) -> anyhow::Result<()> {
    let ids = load::tokenizer(&args.target)?.encode(text)?;
    if args.json {
        return terminal::json(&json!({ "ids": ids }));
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    terminal::result(&ids.join(","))
}

fn logits(args: &InspectArgs) -> anyhow::Result<()> {
    let mut model = load::plain(&args.target)?;
    model.expect(args.logits.len())?;
    let vocab = model.shape().vocab;
    if let Some(id) = args.logits.iter().find(|id| **id as usize >= vocab) {
        return Err(usage(format!(
            "--logits: expected token ids below the vocabulary's {vocab}, found {id}"
        )));
    }
    let mut cache = model.new_cache(args.logits.len())?;
    let logits = model.prompt_pass(&args.logits, &mut cache, &mut Silent)?;
    let rows = logits.to_rows()?;
    let last = rows.last().context("a pass over at least one token has logits")?;
    if args.json {
        return terminal::json(&json!({ "logits": last }));
    }
    let lines: Vec<String> =
        last.iter().enumerate().map(|(id, logit)| format!("{id}\t{logit}")).collect();
    terminal::result(&lines.join("\n"))
}

fn inspect_run(path: &Path, as_json: bool) -> anyhow::Result<()> {
    let run = load_run::load(&RunDir::new(path))?;
    let seen = &run.observations;
    let traces = |drafting| seen.traces.iter().filter(move |t| t.drafting == Some(drafting));
    let positions = |drafting| traces(drafting).map(|t| t.tokens()).sum::<usize>();
    let counts = json!({
        "latency_samples": seen.latency.len(),
        "traces": seen.traces.len(),
        "positions_simultaneous": positions(Drafting::Simultaneous),
        "positions_sequential": positions(Drafting::Sequential),
        "generations": seen.throughput.len(),
        "memory_records": seen.memory.len(),
        "near_ties": seen.near_ties.len(),
    });
    if as_json {
        return terminal::json(&json!({ "header": run.header, "counts": counts }));
    }
    let header = &run.header;
    let mut text = format!(
        "{}\n  model    {} at {}, widened x{}\n  device   {} ({} threads)\n  started  {}\n  \
         ended    {}",
        path.display(),
        header.model.name,
        header.dtype,
        header.widen,
        header.device,
        header.threads,
        header.started,
        header.ended.as_deref().unwrap_or("not finished; run again to continue"),
    );
    if let Some(part) = &header.shard {
        text += &format!("\n  shard    {}; put together by s3d merge", part.shard);
    }
    if let Some(merged) = &header.merged {
        text += &format!(
            "\n  merged   {} of {} shards, {} machines",
            merged.shards.len(),
            merged.count,
            header.machines.len()
        );
    }
    for (name, count) in counts.as_object().into_iter().flatten() {
        text += &format!("\n  {count:>7} {}", name.replace('_', " "));
    }
    terminal::result(&text)
}
