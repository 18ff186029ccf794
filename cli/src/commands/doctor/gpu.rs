//! `s3d doctor --device gpu`: the adapters of this machine, and whether one computes what the CPU
//! does.

use crate::shared::terminal;
use s3d_data::{BytesPerSecond, FlopsPerSecond, Seconds};
use s3d_measure::SystemClock;
use s3d_measure::probe::gpu::{Sizes, rates};
use s3d_model::device::check::{Check, checks_on_gpu};
use s3d_model::device::{Adapter, Device, DeviceName, Gpu, adapters};
use serde_json::{Value, json};

/// Time for the probes of memory and products.
const PROBE_TIME: Seconds = Seconds(3.0);

/// All that is known of the adapter that was looked at, and of those beside it.
struct Findings {
    name: DeviceName,
    number: usize,
    adapters: Vec<Adapter>,
    read: BytesPerSecond,
    rate: FlopsPerSecond,
    checks: Vec<Check>,
}

/// Lists the adapters and looks at one; an error where it does not compute what the CPU computes.
pub fn doctor(name: DeviceName, gpu: &Gpu, as_json: bool) -> anyhow::Result<()> {
    let clock = SystemClock::new(&Device::Gpu(gpu.clone()));
    let (read, rate) = rates(gpu, Sizes::of(gpu), &clock, PROBE_TIME)?;
    let found = Findings {
        name,
        number: gpu.adapter().number,
        adapters: adapters(),
        read,
        rate,
        checks: checks_on_gpu(gpu)?,
    };
    match as_json {
        true => terminal::json(&as_object(&found))?,
        false => terminal::result(&text(&found))?,
    }
    let failed = found.checks.iter().filter(|check| !check.passed()).count();
    anyhow::ensure!(
        failed == 0,
        "--device {name}: {failed} of {} results differ from the CPU's by more than rounding; no \
         number of this adapter can be relied on",
        found.checks.len()
    );
    Ok(())
}

fn as_object(found: &Findings) -> Value {
    let adapter = |adapter: &Adapter| {
        json!({
            "number": adapter.number,
            "name": adapter.name,
            "backend": adapter.backend,
            "driver": adapter.driver,
            "software": adapter.software,
            "memory_bytes": adapter.memory.map(|memory| memory.0),
            "binding_bytes": adapter.binding.0,
            "buffer_bytes": adapter.buffer.0,
            "subgroup_lanes": adapter.subgroup,
            "group_lanes": adapter.group,
            "timestamps": adapter.timestamps,
        })
    };
    let check = |check: &Check| {
        json!({
            "what": check.what,
            "gap": check.gap,
            "bound": check.bound,
            "passed": check.passed(),
        })
    };
    json!({
        "device": found.name.to_string(),
        "adapters": found.adapters.iter().map(adapter).collect::<Vec<_>>(),
        "read_bytes_per_s": found.read.0,
        "flops_per_s": found.rate.0,
        "checks": found.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn text(found: &Findings) -> String {
    let mut lines: Vec<String> = found.adapters.iter().flat_map(about).collect();
    lines.push(format!("\nLooked at gpu:{}:", found.number));
    lines.push(format!("  {:<18} {}", "read bandwidth", found.read));
    lines.push(format!("  {:<18} {}", "multiply-add rate", found.rate));
    for check in &found.checks {
        let word = if check.passed() { "ok   " } else { "WRONG" };
        lines.push(format!("  {word} {}: {:.1e} of {:.1e}", check.what, check.gap, check.bound));
    }
    lines.join("\n")
}

/// What an adapter says of itself, a line each.
fn about(adapter: &Adapter) -> Vec<String> {
    let unknown = || "unknown".to_string();
    let lanes = match adapter.subgroup {
        Some((from, to)) if from == to => format!("{from} lanes"),
        Some((from, to)) => format!("{from} to {to} lanes"),
        None => "none".into(),
    };
    let times = if adapter.timestamps { "yes" } else { "no: whole passes are timed" };
    let rows = [
        ("driver", format!("{}, {}", adapter.backend, adapter.driver)),
        ("memory", adapter.memory.map_or_else(unknown, |bytes| bytes.to_string())),
        ("seen at once", format!("{} of at most {}", adapter.binding, adapter.buffer)),
        ("group", format!("{} lanes", adapter.group)),
        ("subgroup", lanes),
        ("timestamps", times.into()),
    ];
    let software =
        if adapter.software { " (software: its times say nothing about a GPU)" } else { "" };
    let first = format!("gpu:{}  {}{software}", adapter.number, adapter.name);
    std::iter::once(first)
        .chain(rows.map(|(name, value)| format!("  {name:<18} {value}")))
        .collect()
}
