//! `s3d doctor --device cuda`: the card, its rates, and whether it computes, times and counts as it
//! should.

use crate::shared::{show, terminal};
use s3d_data::{Bytes, BytesPerSecond, CardState, FlopsPerSecond, Hertz, Machine, Seconds};
use s3d_measure::probe::device::{self as probe, Sizes};
use s3d_measure::{SystemClock, card, machine};
use s3d_model::device::check::{Check, checks};
use s3d_model::device::{self, Device, DeviceName};
use serde_json::json;

/// Time for the probes of memory and products.
const PROBE_TIME: Seconds = Seconds(3.0);

/// All that is known of the card that was looked at.
struct Findings {
    name: DeviceName,
    machine: Machine,
    state: Option<CardState>,
    free: Bytes,
    read: BytesPerSecond,
    rate: FlopsPerSecond,
    /// Of one tiny operation.
    launch: Seconds,
    /// Of a plain pass of a small model, launch by launch and recorded.
    plain_pass: [Seconds; 2],
    /// Time of the same work by events over that by the clock.
    events_over_clock: Option<f64>,
    /// What the pool says a tensor of a known size took, over that size.
    counted_over_size: Option<f64>,
    checks: Vec<Check>,
}

/// Looks at a card; an error where it does not compute what the CPU computes.
pub fn doctor(name: DeviceName, device: &Device, as_json: bool) -> anyhow::Result<()> {
    let clock = SystemClock::new(device);
    let (read, rate) = probe::rates(device, Sizes::CARD, &clock, PROBE_TIME)?;
    let pool = device::pool_of(device);
    let found = Findings {
        name,
        machine: machine::describe_device(device),
        state: card::watch(name).and_then(|card| card.look()),
        free: pool.as_ref().map_or(Ok(Bytes(0)), |pool| pool.room().map(|room| room.free))?,
        read,
        rate,
        launch: probe::launch(device, &clock)?,
        plain_pass: [
            probe::plain_pass(device, false, &clock)?,
            probe::plain_pass(device, true, &clock)?,
        ],
        events_over_clock: probe::events_over_clock(device, Sizes::CARD, &clock)?,
        counted_over_size: pool.as_ref().map(|p| probe::counted(device, &**p)).transpose()?,
        checks: checks(device)?,
    };
    if as_json {
        terminal::json(&as_object(&found))?;
    } else {
        terminal::result(&text(&found))?;
    }
    let failed = found.checks.iter().filter(|check| !check.passed()).count();
    anyhow::ensure!(
        failed == 0,
        "--device {name}: {failed} of {} results differ from the CPU's by more than rounding; no \
         number \
         of this card can be relied on",
        found.checks.len()
    );
    Ok(())
}

fn as_object(found: &Findings) -> serde_json::Value {
    let checks: Vec<_> = found
        .checks
        .iter()
        .map(|c| json!({"what": c.what, "gap": c.gap, "bound": c.bound, "passed": c.passed()}))
        .collect();
    json!({
        "device": found.name.to_string(),
        "driver": device::driver(),
        "machine": found.machine,
        "state": found.state,
        "free_memory_bytes": found.free.0,
        "read_bytes_per_s": found.read.0,
        "flops_per_s": found.rate.0,
        "launch_seconds": found.launch.0,
        "plain_pass_seconds": found.plain_pass[0].0,
        "recorded_pass_seconds": found.plain_pass[1].0,
        "events_over_clock": found.events_over_clock,
        "counted_over_size": found.counted_over_size,
        "checks": checks,
    })
}

fn text(found: &Findings) -> String {
    let unknown = || "unknown".to_string();
    let state = found.state.clone().unwrap_or_default();
    let or =
        |value: Option<f64>, unit: &str| value.map_or_else(unknown, |v| format!("{v:.0} {unit}"));
    let clock = |rate: Option<Hertz>| rate.map_or_else(unknown, |rate| rate.to_string());
    let ratio = |value: Option<f64>| value.map_or_else(unknown, |value| format!("{value:.3}"));
    let memory = found.machine.memory_bytes;
    let held = match state.held_down_by.as_slice() {
        [] => "nothing".to_string(),
        reasons => reasons.join(", "),
    };
    let rows = [
        ("card", found.machine.model.clone()),
        ("driver", device::driver().unwrap_or_else(unknown)),
        ("architecture", found.machine.features.clone()),
        ("memory", format!("{memory} ({} free)", found.free)),
        ("clock", format!("{} of {}", clock(state.hertz), clock(state.most_hertz))),
        ("power", format!("{} of {}", or(state.watts, "W"), or(state.most_watts, "W"))),
        ("temperature", or(state.celsius, "degrees C")),
        ("held down by", held),
        ("read bandwidth", found.read.to_string()),
        ("f16 product rate", found.rate.to_string()),
        ("a launch", found.launch.to_string()),
        ("a small pass", found.plain_pass[0].to_string()),
        ("the same recorded", found.plain_pass[1].to_string()),
        ("events / clock", ratio(found.events_over_clock)),
        ("pool / size", ratio(found.counted_over_size)),
    ];
    let mut lines = show::names_and_values(&rows);
    lines.push(String::new());
    for check in &found.checks {
        let word = if check.passed() { "ok    " } else { "WRONG " };
        lines.push(format!("{word} {}: {:.1e} of {:.1e}", check.what, check.gap, check.bound));
    }
    lines.join("\n")
}
