//! What skipping each sub-layer saves and costs, estimated from a run.

use crate::cost::pass_times::PassTimes;
use crate::error::{Error, Result};
use crate::explore::sublayers::sub_layer::{Half, SubLayer};
use crate::fit::points::WayCounts;
use crate::statistics::{median, non_negative_least_squares};
use crate::tokens::curves::{AcceptanceRate, conditional_rates};
use crate::traces::table::skipped_layers;
use ndarray::Array2;
use s3d_data::{AcceptanceCounts, Component, Drafting, LayerSet, Run, Skip, SkipWindow};

/// Conditional rates of the traced window that skips least.
pub(super) fn least_skipping(ways: &[WayCounts], drafting: Drafting) -> Vec<AcceptanceRate> {
    let own =
        ways.iter().filter(|way| way.way.drafting == drafting && way.way.skip.window().is_some());
    let least =
        own.min_by(|a, b| skipped_layers(&a.way.skip).total_cmp(&skipped_layers(&b.way.skip)));
    let Some(least) = least else { return Vec::new() };
    let predictors = least.prompts.first().map_or(0, |counts| counts.attempted.len());
    let mut all = AcceptanceCounts::new(predictors);
    least.prompts.iter().for_each(|counts| all.merge(counts));
    conditional_rates(&all).into_iter().map_while(|rate| rate).collect()
}

/// Sub-layers of a run: shares from timed components (equal halves where there are none), damages
/// from the traced windows by least squares of `-log(alpha_1(window) / alpha_1(nothing))`.
///
/// # Errors
/// Fewer than three traced windows of this drafting.
pub fn of_run(
    run: &Run,
    machine: usize,
    passes: &PassTimes,
    ways: &[WayCounts],
    drafting: Drafting,
) -> Result<Vec<SubLayer>> {
    let layers = run.header.model.shape.layers;
    let damages = damages(ways, layers, drafting)?;
    let attention = passes.law.attention_share();
    let outside = outside_share(run, machine);
    let part = |layer: usize, part: Half| {
        let half = if part == Half::Attention { attention } else { 1.0 - attention };
        let share = (1.0 - outside) * half / layers as f64;
        SubLayer { layer, part, share, damage: damages[layer] * half }
    };
    let both = |layer| [part(layer, Half::Attention), part(layer, Half::Mlp)];
    Ok((0..layers).flat_map(both).collect())
}

/// Share of a pass outside of its layers: embedding, head, rest; 2 % where components are unknown.
fn outside_share(run: &Run, machine: usize) -> f64 {
    let time = |wanted: &[Component]| -> f64 {
        let of = |component: &Component| {
            let own = run.observations.latency.iter().filter(|sample| {
                sample.machine == machine && sample.width == 1 && sample.component == *component
            });
            median(&own.map(|sample| sample.seconds.0).collect::<Vec<f64>>()).unwrap_or(0.0)
        };
        wanted.iter().map(of).sum()
    };
    let outside = time(&[Component::Embed, Component::Head, Component::Rest]);
    let layer = time(&[Component::Attention, Component::Mlp]);
    let inside = run.header.model.shape.layers as f64 * layer;
    if inside > 0.0 { (outside / (outside + inside)).clamp(1e-3, 0.9) } else { 0.02 }
}

/// The damage of every free set that the run traced, for [`super::search`] to judge by: what it
/// takes off the logarithm of the first draft's acceptance.
pub(super) fn traced_damages(ways: &[WayCounts], drafting: Drafting) -> Vec<(LayerSet, f64)> {
    let own = || ways.iter().filter(|way| way.way.drafting == drafting);
    let top = own().filter(|way| way.way.skip.window().is_some()).filter_map(first_rate);
    let top = top.fold(0.0, f64::max);
    let damage = |way: &WayCounts| match &way.way.skip {
        Skip::Set { layers, .. } => {
            Some(((**layers).clone(), (top / first_rate(way)?.max(1e-3)).ln().max(0.0)))
        }
        Skip::Window(_) => None,
    };
    own().filter_map(damage).collect()
}

/// Acceptance of the first draft.
fn first_rate(way: &WayCounts) -> Option<f64> {
    let sum = way
        .prompts
        .iter()
        .fold((0, 0), |sum, counts| (sum.0 + counts.accepted[0], sum.1 + counts.attempted[0]));
    (sum.1 > 0).then(|| sum.0 as f64 / sum.1 as f64)
}

fn damages(ways: &[WayCounts], layers: usize, drafting: Drafting) -> Result<Vec<f64>> {
    let windows: Vec<(SkipWindow, f64, f64)> = ways
        .iter()
        .filter(|way| way.way.drafting == drafting)
        .filter_map(|way| {
            let sum = way.prompts.iter().fold((0, 0), |sum, counts| {
                (sum.0 + counts.accepted[0], sum.1 + counts.attempted[0])
            });
            let rate = (sum.0 as f64 / sum.1 as f64).max(1e-3);
            (sum.1 > 0).then_some((way.way.skip.window()?, rate, sum.1 as f64))
        })
        .collect();
    let top = windows.iter().map(|w| w.1).fold(0.0, f64::max);
    if windows.len() < 3 {
        let what = format!("three traced windows with {drafting} drafting");
        return Err(Error::missing(what, "measure acceptance of more windows"));
    }
    // Neighbouring layers are told apart only by windows that end between them: a small pull
    // towards equal damage decides where nothing else does.
    let pull = 0.05 * windows.iter().map(|w| w.2).sum::<f64>() / windows.len() as f64;
    let smooth = layers.saturating_sub(1);
    let mut design = Array2::zeros((windows.len() + smooth, layers));
    let (mut targets, mut weights) = (vec![0.0; design.nrows()], vec![pull; design.nrows()]);
    for (row, (window, rate, attempts)) in windows.iter().enumerate() {
        (0..layers).filter(|&layer| window.contains(layer)).for_each(|l| design[[row, l]] = 1.0);
        targets[row] = (top / rate).ln();
        weights[row] = *attempts;
    }
    for layer in 0..smooth {
        let row = windows.len() + layer;
        (design[[row, layer]], design[[row, layer + 1]]) = (1.0, -1.0);
    }
    non_negative_least_squares(&design, &targets, &weights)
}
