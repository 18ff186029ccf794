//! `s3d doctor`: the machine, its measured rates, and what would make measuring better.

mod card;
#[cfg(feature = "gpu")]
mod gpu;

use crate::args::DoctorArgs;
use crate::shared::{load, resolve, show, terminal};
use s3d_data::{Machine, Seconds};
use s3d_measure::clock::resolution;
use s3d_measure::{SystemClock, diagnose, machine, probe};
use s3d_model::device::Device;
use serde_json::json;

/// Time for the two probes together.
const PROBE_TIME: Seconds = Seconds(6.0);

/// Describes and probes this machine.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<()> {
    let threads = resolve::threads(args.threads, args.oversubscribe)?;
    let (name, device) = load::device(&args.device)?;
    #[cfg(feature = "gpu")]
    if let Device::Gpu(gpu) = &device {
        return gpu::doctor(name, gpu, args.json);
    }
    if !device.is_cpu() {
        return card::doctor(name, &device, args.json);
    }
    let clock = SystemClock::new(&Device::Cpu);
    let mut machine = machine::describe();
    probe::measure_rates(&mut machine, threads, &clock, PROBE_TIME);
    let advice: Vec<String> = diagnose::machine(&machine).iter().map(ToString::to_string).collect();
    if args.json {
        return terminal::json(&json!({
            "machine": machine,
            "threads": threads,
            "clock_hertz": machine::clock_rate(),
            "free_memory_bytes": machine::available_memory(),
            "clock_resolution_seconds": resolution(&clock).0,
            "advice": advice,
        }));
    }
    terminal::result(&text(&machine, threads, resolution(&clock), &advice))
}

fn text(machine: &Machine, threads: usize, step: Seconds, advice: &[String]) -> String {
    let caches: Vec<String> = machine
        .caches
        .iter()
        .map(|cache| format!("L{} {} {}", cache.level, cache.kind.to_lowercase(), cache.bytes))
        .collect();
    let bandwidth = machine.read_bytes_per_s.map(|rate| rate.to_string());
    let rate = machine.flops_per_s.map(|rate| rate.to_string());
    let unknown = || "unknown".to_string();
    let rows = [
        ("processor", machine.model.clone()),
        ("cores", format!("{} ({threads} used)", machine.cores)),
        ("instructions", machine.features.clone()),
        ("memory", memory(machine)),
        ("caches", caches.join(", ")),
        ("system", machine.system.clone()),
        ("governor", machine.governor.clone().unwrap_or_else(unknown)),
        ("processor clock", machine::clock_rate().map_or_else(unknown, |rate| rate.to_string())),
        ("timer resolution", step.to_string()),
        ("load", machine.load.map_or_else(unknown, |load| format!("{load:.2}"))),
        ("read bandwidth", bandwidth.unwrap_or_else(unknown)),
        ("multiply-add rate", rate.unwrap_or_else(unknown)),
    ];
    let mut lines = show::names_and_values(&rows);
    lines.push(String::new());
    match advice {
        [] => lines.push("Nothing to improve: this machine is fit for measuring.".into()),
        advice => lines.extend(advice.iter().map(|a| format!("- {a}"))),
    }
    lines.join("\n")
}

/// All memory, and what is free of it.
fn memory(machine: &Machine) -> String {
    let all = machine.memory_bytes;
    match machine::available_memory() {
        Some(free) => format!("{all} ({free} free)"),
        None => all.to_string(),
    }
}
