//! How pass times grow with the context, from passes timed at several contexts in one block.

use super::keys::{Key, kept_share};
use crate::statistics::{median, non_negative_least_squares};
use s3d_data::LatencySample;
use std::collections::BTreeMap;

/// How pass times grow with the context: seconds per token of it, at width `w`
/// `per_cached + per_cached_wide * w`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ContextSlope {
    per_cached: f64,
    per_cached_wide: f64,
}

impl ContextSlope {
    /// Seconds per token of context for a pass of `width` through all layers.
    pub fn at(&self, width: usize) -> f64 {
        self.per_cached + self.per_cached_wide * width as f64
    }
}

/// Samples of one block that time the same thing at different contexts give slopes; the median over
/// all pairs that lie far apart is robust against bursts (Theil, 1950; Sen, JASA 63, 1968), and a
/// line through the medians of all widths says how the slope grows with the width.
pub(super) fn context_slope(samples: &[(Key, &LatencySample)], layers: usize) -> ContextSlope {
    let mut groups: BTreeMap<(&Key, usize), Vec<&LatencySample>> = BTreeMap::new();
    for (key, sample) in samples {
        groups.entry((key, sample.block)).or_default().push(sample);
    }
    let mut slopes: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for ((key, _), group) in &groups {
        let share = kept_share(key, layers).max(1e-3);
        let found = pair_slopes(group).into_iter().map(|slope| slope / share);
        slopes.entry(group[0].width).or_default().extend(found);
    }
    let medians: Vec<(usize, f64, f64)> = slopes
        .iter()
        .filter_map(|(width, all)| Some((*width, median(all)?, all.len() as f64)))
        .collect();
    let targets: Vec<f64> = medians.iter().map(|m| m.1).collect();
    let weights: Vec<f64> = medians.iter().map(|m| m.2).collect();
    let line: Vec<_> = medians.iter().map(|m| [1.0, m.0 as f64]).collect();
    match non_negative_least_squares(&line.into(), &targets, &weights) {
        Ok(found) => ContextSlope { per_cached: found[0], per_cached_wide: found[1] },
        // One width only, or every pass at one context: then nothing grows that could be seen.
        Err(_) => ContextSlope {
            per_cached: targets.first().copied().unwrap_or(0.0).max(0.0),
            per_cached_wide: 0.0,
        },
    }
}

/// Slopes of all pairs at least half as far apart as the farthest; of 24 samples at most.
fn pair_slopes(group: &[&LatencySample]) -> Vec<f64> {
    let stride = group.len().div_ceil(24);
    let few: Vec<&&LatencySample> = group.iter().step_by(stride).collect();
    let contexts = few.iter().map(|sample| sample.context);
    let reach = contexts.clone().max().unwrap_or(0) - contexts.min().unwrap_or(0);
    let mut slopes = Vec::new();
    for (index, one) in few.iter().enumerate() {
        for two in &few[index + 1..] {
            let apart = two.context as f64 - one.context as f64;
            if apart != 0.0 && 2 * apart.abs() as usize >= reach {
                slopes.push((two.seconds - one.seconds) / apart);
            }
        }
    }
    slopes
}
