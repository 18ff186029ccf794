//! Each method on two geometries in three formats. Memory is computed; speed is published where it
//! was published, modelled for plain decoding and S3D, and else missing.

use super::{FORMATS, PREDICTORS, compared, methods, shape};
use crate::choose::speed_memory::per_gib;
use crate::cost::improvement::{ideal_gain, rate_by_bytes};
use crate::error::Result;
use s3d_data::memory::{Load, Memory, Method};
use s3d_data::published::{self, System};
use s3d_data::{Bytes, Drafting, Dtype, Estimate, PlanResult};

/// The geometries that are compared.
pub const TARGETS: [&str; 2] = ["LLaMA-2-7B", "Phi-3-mini"];

/// The published row that modelled speeds are scaled from.
pub const SCALED_FROM: &str = "LLaMA-2-7B";

/// Where a speed comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Speed {
    /// Somebody measured it.
    Published(Box<System>),
    /// Tokens per second that the formulas give; an upper bound.
    Modelled(Estimate),
    /// Neither.
    Missing,
}

/// One method on one geometry in one format.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The geometry.
    pub target: &'static str,
    /// The format of its weights.
    pub format: &'static str,
    /// The method.
    pub method: &'static str,
    /// Computed peak memory.
    pub memory: Bytes,
    /// Its speed.
    pub speed: Speed,
}

impl Entry {
    /// Tokens per second, wherever they come from.
    pub fn tokens_per_s(&self) -> Option<Estimate> {
        match &self.speed {
            Speed::Published(row) => row.tokens_per_s.map(Estimate::exact),
            Speed::Modelled(speed) => Some(*speed),
            Speed::Missing => None,
        }
    }

    /// Tokens per second and GiB.
    pub fn per_gib(&self) -> Option<Estimate> {
        self.tokens_per_s().map(|speed| per_gib(speed, self.memory))
    }
}

/// Each method on [`TARGETS`] in each of [`FORMATS`], at `context` tokens, with the acceptance of
/// `choices`.
///
/// # Errors
/// A published table that does not parse.
pub fn entries(context: usize, choices: &[&PlanResult]) -> Result<Vec<Entry>> {
    let rows = published::systems()?;
    let mut entries = Vec::new();
    for target in TARGETS {
        let shape = shape(target)?;
        for (format, name) in FORMATS {
            for (method_name, method) in methods()? {
                let load = Load { context, width: PREDICTORS + 1, batch: 1 };
                let memory = Memory::elsewhere(&shape, format, load, &method);
                let known = published_name(method_name)
                    .filter(|_| format == Dtype::F16)
                    .and_then(|name| row(&rows, target, name));
                let speed = match known {
                    Some(row) => Speed::Published(Box::new(row.clone())),
                    None => modelled(&rows, &method, method_name, &memory, (context, choices))?,
                };
                let memory = memory.peak_bytes;
                entries.push(Entry { target, format: name, method: method_name, memory, speed });
            }
        }
    }
    Ok(entries)
}

/// The name of a method in the published table.
fn published_name(method: &str) -> Option<&'static str> {
    match method {
        "plain decoding" => Some("autoregressive"),
        "Draft & Verify" => Some("Self-Spec (Draft & Verify)"),
        "EAGLE" => Some("EAGLE v2"),
        "Medusa" => Some("Medusa"),
        "draft model" => Some("TGI small LM"),
        _ => None,
    }
}

fn row<'a>(rows: &'a [System], target: &str, method: &str) -> Option<&'a System> {
    rows.iter().find(|row| {
        compared(row) && row.target == target && row.method == method && row.tokens_per_s.is_some()
    })
}

/// Plain decoding as fast as the published row moves bytes; S3D as many times faster as the choice
/// of the first run with simultaneous drafting commits tokens, at the paper's ideal cost.
fn modelled(
    rows: &[System],
    method: &Method,
    name: &str,
    here: &Memory,
    (context, choices): (usize, &[&PlanResult]),
) -> Result<Speed> {
    let base = row(rows, SCALED_FROM, "autoregressive").and_then(|row| row.tokens_per_s);
    let Some(base) = base else { return Ok(Speed::Missing) };
    let load = Load { context, width: 1, batch: 1 };
    let there = Memory::elsewhere(&shape(SCALED_FROM)?, Dtype::F16, load, &Method::Plain);
    let plain = rate_by_bytes(base, &there, here);
    if name == "plain decoding" {
        return Ok(Speed::Modelled(Estimate::exact(plain)));
    }
    let Method::S3d { predictors } = method else { return Ok(Speed::Missing) };
    let choice = choices.iter().find(|choice| choice.drafting == Drafting::Simultaneous);
    let gain = choice.and_then(|choice| {
        let tokens = choice.tokens_per_iteration?;
        Some(ideal_gain(Drafting::Simultaneous, tokens, choice.skip_ratio, *predictors))
    });
    Ok(gain.map_or(Speed::Missing, |gain| Speed::Modelled(gain.map(|times| plain * times))))
}
