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
    /// The growth of a pass that `batch` texts share: each attends to its own context.
    pub(super) fn of_texts(self, batch: usize) -> Self {
        let texts = batch as f64;
        Self { per_cached: texts * self.per_cached, per_cached_wide: texts * self.per_cached_wide }
    }

    /// Seconds per token of context for a pass of `width` through all layers.
    pub fn at(&self, width: usize) -> f64 {
        self.per_cached + self.per_cached_wide * width as f64
    }
}

/// Samples of one block that time the same thing at different contexts give slopes; the median over
/// all pairs that lie far apart is robust against bursts (Theil, 1950; Sen, JASA 63, 1968), and a
/// line through the medians of all widths says how the slope grows with the width. Passes of one
/// iteration are a token or two apart: their slopes are noise, and there are many of them, so a
/// pair must span half of all contexts that were timed.
pub(super) fn context_slope(samples: &[(Key, &LatencySample)], layers: usize) -> ContextSlope {
    let mut groups: BTreeMap<(&Key, usize), Vec<&LatencySample>> = BTreeMap::new();
    for (key, sample) in samples {
        groups.entry((key, sample.block)).or_default().push(sample);
    }
    let reach = reach(samples.iter().map(|(_, sample)| sample.context));
    let mut slopes: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for ((key, _), group) in &groups {
        let share = kept_share(key, layers).max(1e-3);
        let found = pair_slopes(group, reach).into_iter().map(|slope| slope / share);
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

/// How far the farthest of `contexts` lie apart.
fn reach(contexts: impl Iterator<Item = usize> + Clone) -> usize {
    contexts.clone().max().unwrap_or(0) - contexts.min().unwrap_or(0)
}

/// Slopes of all pairs at least half as far apart as `reach`; of 24 samples at most.
fn pair_slopes(group: &[&LatencySample], reach: usize) -> Vec<f64> {
    let stride = group.len().div_ceil(24);
    let few: Vec<&&LatencySample> = group.iter().step_by(stride).collect();
    let mut slopes = Vec::new();
    for (index, one) in few.iter().enumerate() {
        for two in &few[index + 1..] {
            let apart = two.context as f64 - one.context as f64;
            if apart != 0.0 && 2 * apart.abs() as usize >= reach {
                slopes.push((two.seconds - one.seconds).0 / apart);
            }
        }
    }
    slopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::{Component, Plan, Seconds};

    /// source: planted: a plain pass grows by 2 microseconds a token, and sequential drafts, a
    /// token apart, are noisy.
    #[test]
    fn many_noisy_pairs_close_by_do_not_drown_the_slope() {
        let sample = |component, plan: &str, context: usize, block, seconds| LatencySample {
            machine: 0,
            component,
            layer: None,
            plan: Some(plan.parse::<Plan>().unwrap()),
            width: 1,
            context,
            block,
            order: 0,
            copy: 0,
            seconds: Seconds(seconds),
            cpu_seconds: None,
            batch: 1,
        };
        let mut rows = Vec::new();
        for block in 0..20 {
            let state = 1e-2 * (1.0 + 0.1 * (block % 3) as f64);
            for context in [16, 64, 256] {
                let seconds = state + 2e-6 * context as f64;
                rows.push(sample(Component::FullPass, "plain", context, block, seconds));
                for pass in 0..4 {
                    // Every further draft is a little faster: the cache is warm.
                    let seconds = state * (1.0 - 0.01 * pass as f64);
                    let draft = |at| sample(Component::DraftPass, "seq:3..9:4", at, block, seconds);
                    rows.extend((context == 256).then(|| draft(context + pass)));
                }
            }
        }
        let keyed = super::super::keys::keyed(&rows, 0).unwrap();
        let slope = context_slope(&keyed, 12);
        assert!((slope.at(1) - 2e-6).abs() < 1e-12, "{slope:?}");
    }
}
