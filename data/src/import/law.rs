//! An affine law of pass times, as JSON: what vendors' cost tables and other simulators publish.
//!
//! ```text
//! {"fixed_seconds": 0.0040, "per_token_seconds": 0.0002, "per_context_token_seconds": 1e-6}
//! ```
//!
//! A full pass over `w` tokens at context `c` takes `fixed + per_token w + per_context_token c`; a
//! draft pass takes the kept share of it. The law becomes times on a grid, as if they were
//! measured.

use crate::error::{Error, Result};
use crate::import::pass_times;
use crate::import::rows::malformed;
use crate::import::setting::Setting;
use crate::plan::{Drafting, Plan, Predictors, SkipWindow};
use crate::records::latency::LatencySample;
use crate::units::Seconds;
use serde::Deserialize;
use std::path::Path;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Law {
    fixed_seconds: Seconds,
    #[serde(default)]
    per_token_seconds: Seconds,
    #[serde(default)]
    per_context_token_seconds: Seconds,
}

impl Law {
    fn seconds(&self, width: usize, context: usize) -> Seconds {
        self.fixed_seconds
            + self.per_token_seconds * width as f64
            + self.per_context_token_seconds * context as f64
    }
}

/// Reads a law and writes it out as times of full passes of every width, and of draft passes of
/// every symmetric window, at two contexts.
///
/// # Errors
/// A key that is missing or unknown; a number that is not finite or below 0; a law of no cost.
pub fn parse(bytes: &[u8], file: &Path, setting: &Setting) -> Result<Vec<LatencySample>> {
    let law: Law = serde_json::from_slice(bytes)
        .map_err(|e| Error::malformed_at(file, e.line().max(1) as u64, e.to_string()))?;
    let parts = [law.fixed_seconds, law.per_token_seconds, law.per_context_token_seconds];
    let wrong = |part: &Seconds| !part.0.is_finite() || part.0 < 0.0;
    if parts.iter().any(wrong) || law.seconds(1, 1).0 <= 0.0 {
        return Err(malformed(file, 1, "expected finite seconds, none below 0, not all of them 0"));
    }
    if !law.seconds(setting.gamma_max.get() + 1, setting.context).0.is_finite() {
        return Err(malformed(file, 1, "expected finite pass times, found a law that overflows"));
    }
    let layers = setting.layers;
    let mut samples = Vec::new();
    // A law is no measurement: it has no spread. Each context is a round of its own.
    for (block, context) in [(setting.context / 4).max(1), setting.context].into_iter().enumerate()
    {
        for width in 1..=setting.gamma_max.get() + 1 {
            let plan = (width == 1).then_some(Plan::Plain);
            let seconds = law.seconds(width, context);
            samples.push(pass_times::sample(plan, width, context, block, seconds));
        }
        for window in SkipWindow::all_symmetric(layers) {
            let kept = 1.0 - window.skip_ratio(layers)?.get();
            for width in 1..=setting.gamma_max.get() {
                let predictors = Predictors::new(width)?;
                let plan = Plan::window(Drafting::Simultaneous, window, predictors);
                let seconds = law.seconds(width, context) * kept;
                samples.push(pass_times::sample(Some(plan), width, context, block, seconds));
            }
        }
    }
    Ok(samples)
}
