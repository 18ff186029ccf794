//! `s3d derive`: a run directory of a card that was never measured, from its data sheet.

use crate::args::{DeriveArgs, OutputArgs};
use crate::shared::usage::or_usage;
use crate::shared::{locate, resolve, show, terminal, version};
use s3d_data::limits::{self, within};
use s3d_data::memory::{Load, Memory, Method};
use s3d_data::run::replace::{fill, vacant};
use s3d_data::store::load_csv;
use s3d_data::{
    Bytes, Device, Machine, MemoryItem, MemoryRecord, ModelIdentity, ModelShape, Observations,
    Origin, Predictors, Run, RunDir, RunHeader, TimesFrom, datasheets, published,
};
use s3d_measure::clock;
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::cost::derive::{Derivation, Efficiency, Sheet, bandwidth_share, usual_share};
use s3d_simulator::cost::experts::Experts;
use serde::Deserialize;

/// The share of the bandwidth that is assumed while no profile of a card was measured.
const ASSUMED_SHARE: f64 = 0.75;

/// Contexts at which passes are derived.
const CONTEXTS: [usize; 5] = [64, 256, 1024, 2048, 4096];

/// Writes pass times and memory, marked as derived in `run.json`.
pub fn derive(args: &DeriveArgs) -> anyhow::Result<()> {
    let card = or_usage("--card", datasheets::device(&args.card))?;
    let dense = or_usage("--model", published::preset(&args.model))?.shape();
    let experts = experts(args)?;
    let shape = experts.as_ref().map_or(dense.clone(), |experts| experts.of(&dense));
    let widest = within("experts times the MLP's width", shape.intermediate, &(1..=limits::WIDTH));
    or_usage("--experts", widest)?;
    let format = or_usage("--dtype", args.dtype.parse())?;
    let flops_per_s = or_usage("--dtype", card.flops_per_s(&args.dtype))?;
    let gamma_max = or_usage("--gamma-max", Predictors::new(args.gamma_max))?;
    let sheet = Sheet { read_bytes_per_s: card.read_bytes_per_s, flops_per_s };
    let (share, basis) = share(args)?;
    let efficiency = Efficiency::new(share, args.compute_share);
    let efficiency = or_usage("--bandwidth-share and --compute-share", efficiency)?;
    let derivation =
        Derivation { shape: &shape, experts: experts.as_ref(), format, sheet, efficiency };
    let load = Load { context: args.context, width: gamma_max.get() + 1, batch: 1 };
    let observations = Observations {
        latency: derivation.latency(gamma_max.get(), &CONTEXTS)?,
        memory: records(&Memory::elsewhere(&shape, format, load, &Method::Plain), load),
        ..Observations::default()
    };
    let assumed = format!(
        "derived, not measured: bytes and operations of each pass over {share} of the bandwidth \
         ({basis}) and {} of the dense rate (assumed) of the data sheet of {}{}",
        args.compute_share,
        card.name,
        mixture(args)
    );
    let header = header(args, gamma_max, &card, shape.clone(), assumed.clone());
    let run = Run { header, observations };
    let output = vacant(&args.out)?;
    let draft = output.draft()?;
    fill(&draft, &run, None)?;
    draft.add()?;
    terminal::note(&assumed);
    if let Some(experts) = &experts {
        let table = experts_table(experts, &derivation, gamma_max, args.context);
        show::tables(&(), &[table], &OutputArgs::default())?;
    }
    let times = run.observations.latency.len();
    terminal::result(&format!("{}: {times} pass times", args.out.display()))
}

/// One width of a pass, and how many distinct experts of a layer it was seen to touch.
#[derive(Debug, Deserialize)]
struct Touched {
    rows: usize,
    experts: f64,
}

/// The mixture that the flags describe.
fn experts(args: &DeriveArgs) -> anyhow::Result<Option<Experts>> {
    let Some((count, active)) = args.experts.zip(args.active) else { return Ok(None) };
    let experts = or_usage("--experts and --active", Experts::new(count, active))?;
    let Some(file) = &args.experts_touched else { return Ok(Some(experts)) };
    let rows: Vec<Touched> = load_csv(file)?;
    let rows = rows.iter().map(|row| (row.rows, row.experts)).collect();
    let name = format!("--experts-touched {}", file.display());
    Ok(Some(or_usage(&name, experts.touching(rows))?))
}

/// How the mixture was described, for the record.
fn mixture(args: &DeriveArgs) -> String {
    let Some((count, active)) = args.experts.zip(args.active) else { return String::new() };
    let routing = match &args.experts_touched {
        Some(file) => format!("touched as {} says", file.display()),
        None => "tokens routed independently (assumed)".into(),
    };
    format!("; {count} experts a layer of which a token uses {active}, {routing}")
}

/// What wider passes read and cost, and what drafts must give to pay for them.
fn experts_table(
    experts: &Experts,
    derivation: &Derivation,
    gamma_max: Predictors,
    context: usize,
) -> Table {
    let columns = vec![
        Column::new("drafts"),
        Column::new("tokens verified"),
        Column::new("experts touched"),
        Column::unit("verify pass", "plain passes"),
        Column::unit("breaks even at", "tokens per iteration"),
    ];
    let row = |drafts: usize| {
        let width = drafts + 1;
        let [verify, draft] = derivation.in_plain_passes(drafts, context);
        vec![
            Cell::Count(drafts as u64),
            Cell::Count(width as u64),
            Cell::Number(experts.touched(width), 1),
            Cell::Number(verify, 2),
            Cell::Number(verify + draft, 2),
        ]
    };
    Table::new("experts", "What verifying drafts costs on a mixture of experts", columns)
        .note(
            "Drafted at once with half of the layers skipped. Other plans: s3d optimize --profile DIR.",
        )
        .rows((1..=gamma_max.get()).map(row))
}

/// The share of the bandwidth, and where it comes from: the flag, the median of the shipped
/// profiles that were measured, or an assumption.
fn share(args: &DeriveArgs) -> anyhow::Result<(f64, String)> {
    if let Some(share) = args.bandwidth_share {
        return Ok((share, "given".into()));
    }
    let mut shares = Vec::new();
    for (name, folder) in locate::profiles()? {
        let run = RunDir::new(&folder).load()?;
        let Some(card) = name.split('/').next().and_then(|card| datasheets::device(card).ok())
        else {
            continue;
        };
        if run.header.times_from() == TimesFrom::DataSheet {
            continue;
        }
        let flops_per_s = card.flops_per_s(&run.header.dtype)?;
        let sheet = Sheet { read_bytes_per_s: card.read_bytes_per_s, flops_per_s };
        shares.extend(bandwidth_share(&run, sheet));
    }
    Ok(match usual_share(&shares) {
        Some(share) => (share, format!("the median of {} measured profiles", shares.len())),
        None => (ASSUMED_SHARE, "assumed: no profile was measured yet".into()),
    })
}

fn records(memory: &Memory, load: Load) -> Vec<MemoryRecord> {
    let items = [
        (MemoryItem::Weights, memory.weights_bytes),
        (MemoryItem::KvCache, memory.kv_cache_bytes),
        (MemoryItem::Activations, memory.activations_bytes),
        (MemoryItem::Peak, memory.peak_bytes),
    ];
    let record = |(item, bytes): (MemoryItem, Bytes)| MemoryRecord {
        item,
        context: load.context,
        width: load.width,
        bytes,
        origin: Origin::Computed,
    };
    items.map(record).to_vec()
}

fn header(
    args: &DeriveArgs,
    gamma_max: Predictors,
    card: &Device,
    shape: ModelShape,
    assumed: String,
) -> RunHeader {
    let now = clock::utc_now();
    // Rates stay empty: their fields are for what was measured.
    let machine =
        Machine { system: "data sheet".into(), ..Machine::named(&card.name, card.memory_bytes) };
    let model = ModelIdentity::named(&args.model, shape);
    RunHeader {
        command: resolve::command_line(),
        program_version: version::number(),
        program_commit: version::commit(),
        device: TimesFrom::DERIVED.into(),
        dtype: args.dtype.clone(),
        gamma_max,
        context: args.context,
        memory_budget_bytes: Some(card.memory_bytes),
        started: now.clone(),
        ended: Some(now),
        warnings: vec![assumed],
        ..RunHeader::new(machine, model)
    }
}
