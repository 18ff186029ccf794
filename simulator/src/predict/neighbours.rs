//! Acceptance of a window that was held out, from the other windows' traces: parallelograms of
//! windows where enough were traced, else between its two neighbours.
//!
//! Skipping the first layer, or the last, is a cliff: acceptance falls to a fraction. So windows at
//! an edge of the model say nothing of those inside, and a window without traced neighbours inside
//! is not predicted at all.
//!
//! Tokens per iteration are a smooth function of where the window starts and where it ends, up to
//! the edges: skipping the first layer costs about the same whatever the end, and the last whatever
//! the start. So `tau(s, e) = tau(s, e') + tau(s', e) - tau(s', e')` for every other start and end;
//! the weighted median over the nearest such parallelograms ignores those that straddle a cliff.
//!
//! All windows are compared along the same texts: those that most of them were traced along.

use crate::statistics::{MEDIAN_ABSOLUTE, median, weighted_median};
use crate::traces::table::TraceTable;
use crate::traces::walk::walk_text;
use s3d_data::{Drafting, Skip, SkipWindow, Trace};
use std::collections::BTreeMap;

/// Farthest start or end of a neighbour, and of a parallelogram's other corners, in layers.
const REACH: usize = 3;
/// Parallelograms below which their median says little.
const ENOUGH_CORNERS: usize = 3;
/// Noise of tokens per iteration over the texts of a run, relative: losses below it say nothing.
const NOISE: f64 = 0.01;

/// What the other windows' traces say of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// Tokens per iteration over the texts that all windows were traced along.
    pub tokens_per_iteration: f64,
    /// Relative error to expect, as a standard deviation.
    pub doubt: f64,
}

/// One traced window, and its iterations over all texts.
#[derive(Debug, Clone)]
struct WalkedWindow {
    skip: Skip,
    iterations: f64,
}

/// All traced windows, at one drafting and number of predictors.
#[derive(Debug, Clone)]
pub struct Neighbours {
    layers: usize,
    tokens: f64,
    rows: Vec<WalkedWindow>,
}

impl Neighbours {
    /// Walks the texts that most ways were traced along, with every window that has them all.
    pub fn new(table: &TraceTable, layers: usize, drafting: Drafting, gamma: usize) -> Self {
        let places: Vec<usize> = table.common().into_values().collect();
        let walked = |skip: &Skip, row: &[Option<&Trace>]| -> Option<WalkedWindow> {
            let one = |place: &usize| {
                let trace = row[*place].filter(|t| t.gamma_max.is_none_or(|m| m.get() >= gamma))?;
                Some(walk_text(trace, trace.tokens(), gamma).iterations)
            };
            let iterations = places.iter().map(one).sum::<Option<_>>()?;
            Some(WalkedWindow { skip: skip.clone(), iterations })
        };
        let ways = table.ways.iter().filter(|(way, _)| way.drafting == drafting);
        let rows = ways.filter_map(|(way, row)| walked(&way.skip, row)).collect();
        // The first token comes from the prompt's pass. All ways were traced along the same texts.
        let text = |place: usize| table.ways.values().find_map(|row| row[place]);
        let tokens = places.iter().filter_map(|place| text(*place));
        let tokens = tokens.map(|trace| trace.tokens() as f64 - 1.0).sum();
        Self { layers, tokens, rows }
    }

    /// Tokens per iteration by the skip's own traces.
    pub fn own(&self, skip: &Skip) -> Option<Guess> {
        let own = self.rows.iter().find(|row| row.skip == *skip)?;
        Some(Guess { tokens_per_iteration: self.rate(own), doubt: 0.0 })
    }

    /// Tokens per iteration as if `skip` had not been traced; nothing at an edge of the model,
    /// and where no traced windows lie around it.
    ///
    /// By parallelograms where windows around it were traced, else between its two neighbours. The
    /// expected error is what the same way shows on the other windows.
    pub fn without(&self, skip: &Skip) -> Option<Guess> {
        let window = skip.window().filter(|window| self.is_inside(*window))?;
        let inside = self.of_inside();
        match inside.by_corners(window, &[]) {
            Some((tokens_per_iteration, spread)) => {
                let doubt = spread.hypot(inside.usual_corner_error(skip));
                Some(Guess { tokens_per_iteration, doubt })
            }
            None => {
                let doubt = inside.usual_error(skip, |other| inside.between(other, &[skip]));
                let tokens_per_iteration = inside.between(window, &[])?;
                Some(Guess { tokens_per_iteration, doubt })
            }
        }
    }

    /// Whether a window skips neither the first layer nor the last.
    fn is_inside(&self, window: SkipWindow) -> bool {
        window.is_empty() || window.start() > 0 && window.end() < self.layers
    }

    /// The windows that lie inside, alone.
    fn of_inside(&self) -> Self {
        let rows =
            self.rows.iter().filter(|row| row.skip.window().is_some_and(|w| self.is_inside(w)));
        Self { rows: rows.cloned().collect(), ..*self }
    }

    fn rate(&self, row: &WalkedWindow) -> f64 {
        self.tokens / row.iterations
    }

    fn windows(&self) -> impl Iterator<Item = (SkipWindow, &WalkedWindow)> {
        self.rows.iter().filter_map(|row| Some((row.skip.window()?, row)))
    }

    /// Tokens per iteration by parallelograms of windows other than `window` and `hidden`, and how
    /// much the parallelograms disagree. `None` where there are too few.
    fn by_corners(&self, window: SkipWindow, hidden: &[&Skip]) -> Option<(f64, f64)> {
        let visible = |other: SkipWindow, row: &WalkedWindow| {
            let same = other == window || other.is_empty() && window.is_empty();
            !same && !hidden.contains(&&row.skip)
        };
        let mut known: BTreeMap<(usize, usize), &WalkedWindow> = BTreeMap::new();
        for (other, row) in self.windows().filter(|(other, row)| visible(*other, row)) {
            // Wherever it stands, an empty window skips nothing.
            let places = if other.is_empty() { 0..=self.layers } else { 0..=0 };
            known.extend(places.filter(|_| other.is_empty()).map(|place| ((place, place), row)));
            known.insert((other.start(), other.end()), row);
        }
        let (start, end) = (window.start(), window.end());
        let near = |place: usize| place.saturating_sub(REACH)..=place + REACH;
        let others = near(start).flat_map(|s| near(end).map(move |e| (s, e)));
        let mut corners: Vec<(f64, f64)> = Vec::new();
        for (s, e) in others.filter(|(s, e)| *s != start && *e != end) {
            let found = (known.get(&(start, e)), known.get(&(s, end)), known.get(&(s, e)));
            if let (Some(same_start), Some(same_end), Some(opposite)) = found {
                let distance = (s.abs_diff(start) + e.abs_diff(end)) as f64;
                let value = self.rate(same_start) + self.rate(same_end) - self.rate(opposite);
                corners.push((value.max(1.0), distance.powi(-2)));
            }
        }
        if corners.len() < ENOUGH_CORNERS {
            return None;
        }
        let level = weighted_median(&corners)?;
        let off: Vec<_> = corners.iter().map(|(v, w)| ((v / level - 1.0).abs(), *w)).collect();
        // The median of |error| is 0.6745 standard deviations; of their median less is left.
        let spread = weighted_median(&off)? / MEDIAN_ABSOLUTE / (corners.len() as f64).sqrt();
        Some((level, spread))
    }

    /// The median error of parallelograms on the windows other than `skip`, as a standard
    /// deviation.
    fn usual_corner_error(&self, skip: &Skip) -> f64 {
        self.usual_error(skip, |window| self.by_corners(window, &[skip]).map(|found| found.0))
    }

    /// The median error of a way to guess on the windows other than `skip`, as a standard
    /// deviation.
    fn usual_error(&self, skip: &Skip, guess: impl Fn(SkipWindow) -> Option<f64>) -> f64 {
        let error = |(window, row): (SkipWindow, &WalkedWindow)| {
            Some((guess(window)? / self.rate(row) - 1.0).abs())
        };
        let others = self.windows().filter(|(_, row)| row.skip != *skip);
        let errors: Vec<f64> = others.filter_map(error).collect();
        // The median of |error| is 0.6745 standard deviations of a normal one.
        median(&errors).map_or(0.02, |middle| middle / MEDIAN_ABSOLUTE)
    }

    /// Tokens per iteration between those of the nearest window that skips fewer layers and the
    /// nearest that skips more, `window` itself and `hidden` left out; nothing where one is
    /// missing. Windows whose start or end is far away say nothing: drafting may have been trained
    /// for this one alone.
    ///
    /// Each further skipped layer loses more than the one before it, the more so towards the edges
    /// of the model. So the loss grows by one ratio for each layer, the one that windows as far
    /// apart on either side show, `growth`.
    fn between(&self, window: SkipWindow, hidden: &[&Skip]) -> Option<f64> {
        let known: Vec<(SkipWindow, f64)> = self
            .windows()
            .filter(|(other, row)| *other != window && !hidden.contains(&&row.skip))
            .map(|(other, row)| (other, self.rate(row)))
            .collect();
        let fewer = nearest(&known, window, |len| len < window.len())?;
        let more = nearest(&known, window, |len| len > window.len())?;
        let step = more.0.len() - fewer.0.len();
        let before = nearest(&known, fewer.0, |len| len + step == fewer.0.len());
        let after = nearest(&known, more.0, |len| len == more.0.len() + step);
        let places = [before, Some(fewer), Some(more), after].map(|place| Some(place?.1));
        let share = (window.len() - fewer.0.len()) as f64 / step as f64;
        Some(fewer.1 - (fewer.1 - more.1) * share_of_loss(growth(places), share))
    }
}

/// The nearest of `known` to `window` whose length is `right`.
fn nearest(
    known: &[(SkipWindow, f64)],
    window: SkipWindow,
    right: impl Fn(usize) -> bool,
) -> Option<(SkipWindow, f64)> {
    let apart = |other: SkipWindow| {
        [other.start().abs_diff(window.start()), other.end().abs_diff(window.end())]
    };
    let near = |(other, _): &&(SkipWindow, f64)| {
        right(other.len()) && apart(*other).iter().all(|layers| *layers <= REACH)
    };
    known.iter().filter(near).min_by_key(|(other, _)| apart(*other).iter().sum::<usize>()).copied()
}

/// Logarithm of how many times the loss between the middle two of four equally spaced values is
/// that before them, and the loss after them is that; the mean of what is known.
fn growth(places: [Option<f64>; 4]) -> f64 {
    let [before, fewer, more, after] = places;
    let level = [fewer, more].into_iter().flatten().sum::<f64>() / 2.0;
    // Noise is added to every loss, so that small ones say less.
    let loss = |from: Option<f64>, to: Option<f64>| {
        Some((from? - to? + NOISE * level).max(0.5 * NOISE * level).ln())
    };
    let losses = [loss(before, fewer), loss(fewer, more), loss(more, after)];
    let ratios = losses.windows(2).filter_map(|pair| Some(pair[1]? - pair[0]?));
    let ratios: Vec<f64> = ratios.collect();
    ratios.iter().sum::<f64>() / ratios.len().max(1) as f64
}

/// Which share of a loss a share of its way has, if the loss grows by `exp(growth)` on all of it.
fn share_of_loss(growth: f64, share: f64) -> f64 {
    if growth.abs() < 1e-6 { share } else { (growth * share).exp_m1() / growth.exp_m1() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: f64 = 60.0;

    /// A window whose texts have so many tokens per iteration.
    fn row(start: usize, end: usize, rate: f64) -> WalkedWindow {
        let skip = Skip::Window(SkipWindow::new(start, end).unwrap());
        WalkedWindow { skip, iterations: TOKENS / rate }
    }

    #[test]
    fn what_lies_between_two_neighbours_lies_half_way() {
        let rows = vec![row(4, 5, 3.0), row(4, 6, 9.0), row(3, 6, 2.0), row(3, 7, 1.5)];
        let neighbours = Neighbours { layers: 10, tokens: TOKENS, rows };
        // source: by hand: half way between 4..5 and 3..6; nothing skips more than 3..7.
        let window = |start, end| SkipWindow::new(start, end).unwrap();
        assert!((neighbours.between(window(4, 6), &[]).unwrap() - 2.5).abs() < 1e-12);
        assert_eq!(neighbours.between(window(2, 7), &[]), None);
    }

    #[test]
    fn losses_that_grow_with_each_layer_come_back() {
        // source: planted: 4 tokens, less 0.05 for the first skipped layer, each further one twice
        let rate = |skipped: usize| 4.0 - 0.05 * (2f64.powi(skipped as i32) - 1.0);
        let row = |(start, end): (usize, usize)| row(start, end, rate(end - start));
        let windows = [(6, 7), (6, 8), (5, 8), (5, 9), (4, 9), (4, 10)];
        let rows = windows.map(row).to_vec();
        let neighbours = Neighbours { layers: 12, tokens: TOKENS, rows };
        let guess = neighbours.between(SkipWindow::new(5, 9).unwrap(), &[]).unwrap();
        // Half way is 3.05. Losses may be noise of 1 %, which takes a part of the growth away.
        assert!((rate(4) - 3.25).abs() < 1e-12);
        assert!(guess > 3.2 && guess < 3.25, "{guess}");
    }

    #[test]
    fn parallelograms_are_exact_where_starts_and_ends_add_up() {
        // source: tokens per iteration made of a part for the start and a part for the end
        let rate = |start: usize, end: usize| {
            let first = [0.2, 2.0, 2.4, 2.5, 2.6, 2.65, 2.7, 2.7];
            let last = [0.0, 0.0, 0.9, 0.88, 0.85, 0.8, 0.7, 0.6, 0.1];
            first[start] + last[end]
        };
        let windows = (0..7usize).flat_map(|s| (s + 1..9).map(move |e| (s, e)));
        let rows = windows.filter(|(_, e)| *e > 1).map(|(s, e)| row(s, e, rate(s, e))).collect();
        let neighbours = Neighbours { layers: 8, tokens: TOKENS, rows };
        let skip = Skip::Window(SkipWindow::new(1, 5).unwrap());
        let guess = neighbours.without(&skip).unwrap();
        assert!(guess.doubt < 1e-9, "{guess:?}");
        assert!((guess.tokens_per_iteration - rate(1, 5)).abs() < 1e-9);
        for edge in [(0, 8), (0, 3), (2, 8)] {
            let edge = Skip::Window(SkipWindow::new(edge.0, edge.1).unwrap());
            assert_eq!(neighbours.without(&edge), None, "at an edge of the model");
        }
    }
}
