//! The time of a draft pass that was not timed, from those that were.
//!
//! `T_draft = t_pass + t_embed(w) + sum over kept layers of t_layer(w) + t_head(w)` (cost model,
//! section 3). Candidates: *affine* `a + b w + kept (c + d w)`; *interpolation* between
//! neighbouring numbers of kept layers (a stack that fits in the cache is cheaper than its share,
//! and only neighbours know); *components*, the sum of timed sub-layers, scaled to the timed full
//! pass. The one with the lowest error on windows left out is used.

use crate::cost::model::PassTime;
use crate::error::{Error, Result};
use crate::statistics::{SIGMA_OF_MAD, broken_line, falling, median, non_negative_least_squares};
use s3d_data::{Component, Draft, LatencySample, LawKind, Skip};
use std::collections::BTreeMap;

/// One timed draft (or full) pass: layers kept, width, time in plain passes.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    /// `None` for full passes, which are never left out.
    skip: Option<Skip>,
    kept: f64,
    width: usize,
    value: f64,
}

/// The candidates.
const CANDIDATES: [LawKind; 3] = [LawKind::Affine, LawKind::Interpolation, LawKind::Components];

/// A candidate with its errors on windows left out.
#[derive(Debug, Clone, PartialEq)]
pub struct LawError {
    /// The candidate.
    pub kind: LawKind,
    /// Median of `|predicted - timed| / timed`; infinite where it cannot predict.
    pub median: f64,
}

/// The law of draft passes.
#[derive(Debug, Clone)]
pub struct DraftLaw {
    layers: usize,
    /// Share of a layer's time in its attention; the rest is its MLP.
    attention_share: f64,
    points: Vec<Point>,
    components: Vec<(Component, Vec<f64>)>,
    fitted: Fitted,
    /// How each candidate did, the one in use first.
    pub errors: Vec<LawError>,
}

/// The candidates, fitted to the points.
#[derive(Debug, Clone, Default)]
struct Fitted {
    /// `[a, b, c, d]`
    affine: Option<Vec<f64>>,
    /// For each width the `(kept, time)` line.
    lines: Vec<(f64, Vec<(f64, f64)>)>,
    /// `(width, time)` of full passes.
    full: Vec<(f64, f64)>,
}

impl Fitted {
    fn new(points: &[Point]) -> Self {
        let rows: Vec<_> = points.iter().map(|p| features(p.kept, p.width)).collect();
        let targets: Vec<f64> = points.iter().map(|p| p.value).collect();
        let weights: Vec<f64> = targets.iter().map(|t| (t * t).recip()).collect();
        let mut by_width: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
        for point in points {
            by_width.entry(point.width).or_default().push((point.kept, point.value));
        }
        let lines = by_width.into_iter().map(|(width, points)| (width as f64, rising(points)));
        let full = points.iter().filter(|point| point.skip.is_none());
        Self {
            affine: non_negative_least_squares(&rows.into(), &targets, &weights).ok(),
            lines: lines.filter(|(_, line)| line.len() >= 2).collect(),
            full: average(full.map(|point| (point.width as f64, point.value)).collect()),
        }
    }
}

/// Of the affine law `a + b w + kept (c + d w)`.
fn features(kept: f64, width: usize) -> [f64; 4] {
    [1.0, width as f64, kept, kept * width as f64]
}

impl DraftLaw {
    /// The law of the timed `draft` and `full` passes; components from the raw samples.
    pub fn new(
        layers: usize,
        draft: &BTreeMap<(Draft, usize), PassTime>,
        full: &BTreeMap<usize, PassTime>,
        latency: &[LatencySample],
        machine: usize,
    ) -> Self {
        let components = component_laws(latency, machine);
        let attention_share = attention_share(&components);
        let mut law = Self {
            layers,
            attention_share,
            points: Vec::new(),
            components,
            fitted: Fitted::default(),
            errors: Vec::new(),
        };
        law.points = full
            .iter()
            .map(|(&width, cell)| (None, layers as f64, width, cell.value))
            .chain(draft.iter().map(|((Draft { skip, .. }, width), cell)| {
                (Some(skip.clone()), law.kept_layers(skip), *width, cell.value)
            }))
            .map(|(skip, kept, width, value)| Point { skip, kept, width, value })
            .collect();
        law.fitted = Fitted::new(&law.points);
        law.rank_candidates();
        law
    }

    /// This law as if no draft pass of `skip` had been timed.
    pub fn without(&self, skip: &Skip) -> Self {
        let mut law = self.clone();
        law.points.retain(|point| point.skip.as_ref() != Some(skip));
        law.fitted = Fitted::new(&law.points);
        law
    }

    /// Layers' worth of time that a pass without `skip` keeps.
    pub fn kept_layers(&self, skip: &Skip) -> f64 {
        let kept = |layer: usize| {
            let attention = f64::from(!skip.skips_attention(layer)) * self.attention_share;
            attention + f64::from(!skip.skips_mlp(layer)) * (1.0 - self.attention_share)
        };
        (0..self.layers).map(kept).sum()
    }

    /// Share of a layer's time in its attention.
    pub(crate) fn attention_share(&self) -> f64 {
        self.attention_share
    }

    /// The draft pass of `width`, in plain passes.
    ///
    /// # Errors
    /// Too little was timed for any candidate.
    pub fn predict(&self, way: &Draft, width: usize) -> Result<PassTime> {
        let kept = self.kept_layers(&way.skip);
        for candidate in &self.errors {
            if let Some(value) = self.value(candidate.kind, kept, width) {
                let error = value * candidate.median.clamp(0.005, 0.2) * SIGMA_OF_MAD;
                return Ok(PassTime { value, error, timed: false });
            }
        }
        let what = format!("draft pass timed near {} at width {width}", way.skip);
        Err(Error::missing(what, "measure latency of draft passes"))
    }

    /// Orders the candidates by their error on windows left out.
    fn rank_candidates(&mut self) {
        let mut skips: Vec<&Skip> = self.points.iter().filter_map(|p| p.skip.as_ref()).collect();
        skips.sort();
        skips.dedup();
        // Sixteen windows, evenly spread, say enough.
        let stride = skips.len().div_ceil(16).max(1);
        let mut errors = CANDIDATES.map(|kind| (kind, Vec::new()));
        for skip in skips.iter().step_by(stride) {
            let rest = self.without(skip);
            for point in self.points.iter().filter(|p| p.skip.as_ref() == Some(skip)) {
                for (kind, errors) in &mut errors {
                    let found = rest.value(*kind, point.kept, point.width);
                    errors.push(found.map_or(f64::INFINITY, |v| (v / point.value - 1.0).abs()));
                }
            }
        }
        let mut ranked: Vec<LawError> = errors
            .into_iter()
            .map(|(kind, e)| LawError { kind, median: median(&e).unwrap_or(f64::INFINITY) })
            .collect();
        ranked.sort_by(|a, b| a.median.total_cmp(&b.median));
        self.errors = ranked;
    }

    fn value(&self, kind: LawKind, kept: f64, width: usize) -> Option<f64> {
        match kind {
            LawKind::Affine => self.affine(kept, width),
            LawKind::Interpolation => self.interpolation(kept, width),
            LawKind::Components => self.component_sum(kept, width),
            LawKind::Table | LawKind::TwoRegime | LawKind::Roofline => None, // laws of full passes
        }
        .filter(|value| value.is_finite() && *value > 0.0)
    }

    fn affine(&self, kept: f64, width: usize) -> Option<f64> {
        let law = self.fitted.affine.as_ref()?;
        Some(law.iter().zip(features(kept, width)).map(|(a, x)| a * x).sum())
    }

    /// Along the layers kept at each timed width, then along the widths.
    fn interpolation(&self, kept: f64, width: usize) -> Option<f64> {
        let lines = self.fitted.lines.iter();
        let at: Vec<(f64, f64)> =
            lines.filter_map(|(width, line)| Some((*width, broken_line(line, kept)?))).collect();
        broken_line(&at, width as f64)
    }

    /// Timed sub-layers added up, in units of the timed full pass of the same width.
    fn component_sum(&self, kept: f64, width: usize) -> Option<f64> {
        let time = |component: Component| {
            let law = self.components.iter().find(|(known, _)| *known == component);
            law.map(|(_, law)| law[0] + law[1] * width as f64)
        };
        let layer = time(Component::Attention)? + time(Component::Mlp)?;
        let outside: f64 =
            [Component::Embed, Component::Head, Component::Rest].into_iter().filter_map(time).sum();
        let whole = outside + self.layers as f64 * layer;
        Some(broken_line(&self.fitted.full, width as f64)? * (outside + kept * layer) / whole)
    }
}

/// The rising line nearest to points: a pass that keeps more layers does not take less time.
fn rising(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let cells = average(points).into_iter().map(|(kept, time)| (kept, -time, 1.0));
    falling(cells).into_iter().map(|(kept, time)| (kept, -time)).collect()
}

/// Points with equal abscissa averaged, sorted.
fn average(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let groups = points.chunk_by(|a, b| (a.0 - b.0).abs() < 1e-9);
    groups.map(|g| (g[0].0, g.iter().map(|p| p.1).sum::<f64>() / g.len() as f64)).collect()
}

/// For each component `[a, b]` of `a + b w`, over all layers and contexts.
fn component_laws(latency: &[LatencySample], machine: usize) -> Vec<(Component, Vec<f64>)> {
    let mut cells: BTreeMap<Component, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
    for sample in latency.iter().filter(|sample| sample.machine == machine) {
        let widths = cells.entry(sample.component).or_default();
        widths.entry(sample.width).or_default().push(sample.seconds.0);
    }
    let law = |(component, widths): (Component, BTreeMap<usize, Vec<f64>>)| {
        let points: Vec<(usize, f64)> =
            widths.iter().filter_map(|(w, times)| Some((*w, median(times)?))).collect();
        let rows: Vec<_> = points.iter().map(|(w, _)| [1.0, *w as f64]).collect();
        let targets: Vec<f64> = points.iter().map(|(_, t)| *t).collect();
        let weights: Vec<f64> = targets.iter().map(|t| (t * t).max(1e-30).recip()).collect();
        let found = non_negative_least_squares(&rows.into(), &targets, &weights);
        Some((component, found.ok().or_else(|| Some(vec![*targets.first()?, 0.0]))?))
    };
    cells.into_iter().filter_map(law).collect()
}

/// Attention's share of a layer at width 1; a half where sub-layers were not timed.
fn attention_share(components: &[(Component, Vec<f64>)]) -> f64 {
    let time = |wanted: Component| {
        components.iter().find(|(known, _)| *known == wanted).map(|(_, law)| law[0] + law[1])
    };
    match (time(Component::Attention), time(Component::Mlp)) {
        (Some(attention), Some(mlp)) if attention + mlp > 0.0 => attention / (attention + mlp),
        _ => 0.5,
    }
}
