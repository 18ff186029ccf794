//! From values to pixels: ranges, ticks at round numbers, linear scales.

use crate::figure::{Axis, Figure, Mark, Note, Quantity, Symbol};
use s3d_data::Estimate;

/// A linear map from `[low, high]` to `[start, end]`, in pixels (`start > end` where pixels run
/// down).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// Value at `start`.
    pub low: f64,
    /// Value at `end`.
    pub high: f64,
    /// First pixel.
    pub start: f64,
    /// Last pixel.
    pub end: f64,
}

impl Scale {
    /// The pixel of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// Pixels of one unit, without sign.
    pub(crate) fn unit(&self) -> f64 {
        ((self.end - self.start) / (self.high - self.low)).abs()
    }
}

/// The values that a figure places on its horizontal (`true`) or vertical axis, intervals included.
fn values(figure: &Figure, horizontal: bool) -> Vec<f64> {
    let mut all = if horizontal { figure.x.include.clone() } else { figure.y.include.clone() };
    for series in &figure.series {
        mark_values(&series.mark, figure, horizontal, &mut all);
    }
    for note in &figure.notes {
        match note {
            Note::Level { y, .. } if !horizontal => all.push(*y),
            Note::Limit { x, .. } if horizontal => all.push(*x),
            _ => {}
        }
    }
    all.retain(|value| value.is_finite());
    all
}

fn mark_values(mark: &Mark, figure: &Figure, horizontal: bool, all: &mut Vec<f64>) {
    match mark {
        Mark::Line { points, .. } => {
            all.extend(points.iter().map(|&(x, y)| if horizontal { x } else { y }));
        }
        Mark::Points { points, .. } if horizontal => all.extend(points.iter().map(|p| p.x)),
        Mark::Points { points, symbol: Symbol::Speck } => {
            all.extend(points.iter().map(|point| point.y.value));
        }
        Mark::Points { points, .. } => {
            let reach = |e: &Estimate| [e.value, figure.y.shown(e).0, figure.y.shown(e).1];
            all.extend(points.iter().flat_map(|point| reach(&point.y)));
        }
        Mark::Band { points } if horizontal => all.extend(points.iter().map(|p| p.0)),
        Mark::Band { points } => all.extend(points.iter().flat_map(|p| [p.1, p.2])),
        Mark::Bars { bars } if horizontal => {
            let reach = |e: &Estimate| [e.value, figure.x.shown(e).0, figure.x.shown(e).1];
            all.extend(bars.iter().map(|bar| bar.from));
            all.extend(bars.iter().flat_map(|bar| reach(&bar.to)));
        }
        Mark::Bars { bars } => all.extend(bars.iter().map(|b| b.at)),
        Mark::Heat { cells } => {
            let place = |c: &crate::figure::Tile| if horizontal { c.x } else { c.y };
            all.extend(cells.iter().map(|c| place(c) as f64));
        }
    }
}

/// The range of an axis: all its data with a little room, whole places for categories and cells.
pub(crate) fn range(figure: &Figure, horizontal: bool) -> (f64, f64) {
    let axis = if horizontal { &figure.x } else { &figure.y };
    if !axis.categories.is_empty() {
        return (-0.5, axis.categories.len() as f64 - 0.5);
    }
    let all = values(figure, horizontal);
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 1.0);
    }
    if figure.series.iter().any(|series| matches!(series.mark, Mark::Heat { .. })) {
        return (low - 0.5, high + 0.5);
    }
    let (low, high) = with_room(low, high, axis);
    (low, high + if horizontal { label_room(figure) * (high - low) } else { 0.0 })
}

/// The share of a horizontal axis that words at the ends of bars need beyond the longest bar.
fn label_room(figure: &Figure) -> f64 {
    let labelled = |mark: &Mark| match mark {
        Mark::Bars { bars } => bars.iter().any(|bar| !bar.label.is_empty()),
        _ => false,
    };
    if figure.series.iter().any(|series| labelled(&series.mark)) { 0.12 } else { 0.0 }
}

/// Adds 4 % on each side, but none beyond a value that the axis was told to reach.
fn with_room(low: f64, high: f64, axis: &Axis) -> (f64, f64) {
    let lacking = (axis.least_span * high.abs() - (high - low)).max(0.0) / 2.0;
    let (low, high) = (low - lacking, high + lacking);
    let span = if high > low { high - low } else { high.abs().max(1.0) };
    let room = |edge: f64| if axis.include.contains(&edge) { 0.0 } else { 0.04 * span };
    let (low, high) = (low - room(low), high + room(high));
    if high > low { (low, high) } else { (low, low + span) }
}

/// About `count` ticks at round values inside `[low, high]`.
pub(crate) fn ticks(low: f64, high: f64, count: usize, quantity: Quantity) -> Vec<f64> {
    let step = step((high - low) / count.max(1) as f64, quantity);
    let tolerance = step * 1e-9;
    let first = ((low - tolerance) / step).ceil();
    (0..)
        .map(|i| (first + f64::from(i)) * step)
        .take_while(|tick| *tick <= high + tolerance)
        .take(64)
        .collect()
}

/// The smallest round step that is not far below `raw`: 1, 2 or 5 times a power of ten; for bytes a
/// power of two.
fn step(raw: f64, quantity: Quantity) -> f64 {
    if raw.is_nan() || raw <= 0.0 {
        return 1.0;
    }
    if quantity == Quantity::Bytes {
        return raw.log2().ceil().exp2();
    }
    let power = 10f64.powf(raw.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
    let step = round.into_iter().find(|s| *s >= 0.8 * raw).unwrap_or(round[3]);
    if quantity == Quantity::Count { step.max(1.0) } else { step }
}

/// Tick labels: as many decimals as the step needs, units where the quantity has them.
pub(crate) fn tick_labels(ticks: &[f64], quantity: Quantity) -> Vec<String> {
    if quantity == Quantity::Bytes {
        return byte_labels(ticks);
    }
    let step = if ticks.len() > 1 { ticks[1] - ticks[0] } else { 1.0 };
    let decimals = (-step.log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize;
    ticks
        .iter()
        .map(|&tick| match quantity {
            Quantity::Number | Quantity::Count => {
                let text = format!("{tick:.decimals$}");
                if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".into() } else { text }
            }
            Quantity::Seconds | Quantity::Bytes => trim_zeros(&quantity.text(tick)),
        })
        .collect()
}

/// Sizes with three digits, or with as many decimals as tell neighbours apart.
fn byte_labels(ticks: &[f64]) -> Vec<String> {
    let differ = |labels: &[String]| labels.windows(2).all(|pair| pair[0] != pair[1]);
    let short: Vec<_> = ticks.iter().map(|&tick| trim_zeros(&Quantity::Bytes.text(tick))).collect();
    let exact = |decimals: usize| -> Vec<String> {
        let bytes = ticks.iter().map(|&tick| s3d_data::Bytes(tick.max(0.0).round() as u64));
        bytes.map(|bytes| format!("{bytes:.decimals$}")).collect()
    };
    let longer = (1..=6).map(exact);
    std::iter::once(short.clone()).chain(longer).find(|labels| differ(labels)).unwrap_or(short)
}

/// `2.00 ms` as `2 ms`, `1.50 GiB` as `1.5 GiB`.
fn trim_zeros(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            ticks(0.0, 1.0, 5, Quantity::Number),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(ticks(0.5, 3.4, 8, Quantity::Count), [1.0, 2.0, 3.0]);
        let gib = 1024f64.powi(3);
        assert_eq!(ticks(0.0, 9.0 * gib, 4, Quantity::Bytes), [0.0, 4.0 * gib, 8.0 * gib]);
    }

    #[test]
    fn labels_carry_units_and_no_idle_zeros() {
        assert_eq!(tick_labels(&[0.0, 0.002, 0.004], Quantity::Seconds), ["0 s", "2 ms", "4 ms"]);
        assert_eq!(tick_labels(&[0.0, 0.05, 0.1], Quantity::Number), ["0", "0.05", "0.10"]);
        assert_eq!(tick_labels(&[1.5 * 1024f64.powi(3)], Quantity::Bytes), ["1.5 GiB"]);
        let near = [152.125, 152.25].map(|mib| mib * 1024f64.powi(2));
        assert_eq!(tick_labels(&near, Quantity::Bytes), ["152.1 MiB", "152.2 MiB"]);
    }

    #[test]
    fn a_range_without_data_or_width_is_still_a_range() {
        let axis = || Axis::new("x", Quantity::Number);
        let empty = Figure::new("f", "f", axis(), axis());
        assert_eq!(range(&empty, true), (0.0, 1.0));
        assert_eq!(with_room(2.0, 2.0, &axis()), (1.92, 2.08));
        let (low, high) = with_room(0.0, 0.0, &axis().reach(0.0));
        assert!(low < high);
    }
}
