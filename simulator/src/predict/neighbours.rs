//! Acceptance of a window that was held out, from the other windows' traces: parallelograms of
//! windows where enough were traced, else interpolation between the neighbours and curves fitted to
//! all of them.
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
//! Tokens per iteration are `1 + sum of accepted / iterations`, so conditional rates at visited
//! positions give them exactly; only the cut of the last iteration is taken from the neighbours.

use crate::fit::curves::{CurveData, best_curve};
use crate::predict::generation::Generation;
use crate::statistics::{MEDIAN_ABSOLUTE, median, weighted_median};
use crate::tokens::curves::AcceptanceRate;
use crate::tokens::expected::expected_tokens;
use crate::traces::table::TraceTable;
use crate::traces::walk::{TextCounts, walk_text};
use s3d_data::{Drafting, Skip, SkipWindow, Trace};
use std::collections::BTreeMap;

/// Farthest start or end of a neighbour, and of a parallelogram's other corners, in layers.
const REACH: usize = 3;
/// Parallelograms below which their median says little.
const ENOUGH_CORNERS: usize = 3;

/// What the other windows' traces say of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// Iterations of every generation.
    pub iterations: Vec<f64>,
    /// Relative error to expect, as a standard deviation.
    pub doubt: f64,
}

/// One traced window: iterations of every generation, and counts over all of them.
#[derive(Debug, Clone)]
struct WalkedWindow {
    skip: Skip,
    iterations: Vec<f64>,
    counts: TextCounts,
}

/// All traced windows, at one drafting and number of predictors.
#[derive(Debug, Clone)]
pub struct Neighbours {
    layers: usize,
    drafting: Drafting,
    gamma: usize,
    tokens: f64,
    rows: Vec<WalkedWindow>,
}

impl Neighbours {
    /// Walks the texts of `generations` with the traces of every window that has them all.
    pub fn new(
        table: &TraceTable,
        generations: &[Generation],
        layers: usize,
        drafting: Drafting,
        gamma: usize,
    ) -> Self {
        let walked = |skip: &Skip, row: &[Option<&Trace>]| -> Option<WalkedWindow> {
            let mut counts = TextCounts::new(gamma);
            let mut one = |generation: &Generation| {
                let trace = row[generation.prompt]
                    .filter(|t| t.gamma_max.is_none_or(|m| m.get() >= gamma))?;
                let tokens = generation.tokens as usize + 1;
                counts.add(trace, tokens);
                Some(walk_text(trace, tokens, gamma).iterations)
            };
            let iterations = generations.iter().map(&mut one).collect::<Option<_>>()?;
            Some(WalkedWindow { skip: skip.clone(), iterations, counts })
        };
        let ways = table.ways.iter().filter(|(way, _)| way.drafting == drafting);
        let rows = ways.filter_map(|(way, row)| walked(&way.skip, row)).collect();
        let tokens = generations.iter().map(|generation| generation.tokens).sum();
        Self { layers, drafting, gamma, tokens, rows }
    }

    /// Iterations per generation by the skip's own traces.
    pub fn own(&self, skip: &Skip) -> Option<Guess> {
        let own = self.rows.iter().find(|row| row.skip == *skip)?;
        Some(Guess { iterations: own.iterations.clone(), doubt: 0.0 })
    }

    /// Iterations per generation as if `skip` had not been traced; nothing at an edge of the model,
    /// and where no traced windows lie around it.
    ///
    /// By parallelograms where windows around it were traced, else the geometric mean of what its
    /// two neighbours and a curve say. The expected error is what the same way shows on the other
    /// windows, and by how much its parts disagree.
    pub fn without(&self, skip: &Skip) -> Option<Guess> {
        let window = skip.window().filter(|window| self.is_inside(*window))?;
        let inside = self.of_inside();
        match inside.by_corners(window, &[]) {
            Some((iterations, spread)) => {
                let doubt = spread.hypot(inside.usual_corner_error(skip));
                Some(Guess { iterations, doubt })
            }
            None => inside.by_neighbours(window, skip),
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

    fn windows(&self) -> impl Iterator<Item = (SkipWindow, &WalkedWindow)> {
        self.rows.iter().filter_map(|row| Some((row.skip.window()?, row)))
    }

    /// Tokens per iteration by parallelograms of windows other than `window` and `hidden`, spread
    /// over generations as the nearest window's iterations are; and how much the parallelograms
    /// disagree. `None` where there are too few.
    fn by_corners(&self, window: SkipWindow, hidden: &[&Skip]) -> Option<(Vec<f64>, f64)> {
        let rate = |row: &WalkedWindow| self.tokens / row.iterations.iter().sum::<f64>();
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
                let value = rate(same_start) + rate(same_end) - rate(opposite);
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
        let distance = |(s, e): &(usize, usize)| s.abs_diff(start) + e.abs_diff(end);
        let nearest = known.iter().min_by_key(|(place, _)| distance(place))?.1;
        let scale = rate(nearest) / level;
        Some((nearest.iterations.iter().map(|i| i * scale).collect(), spread))
    }

    /// The median error of parallelograms on the windows other than `skip`, as a standard
    /// deviation.
    fn usual_corner_error(&self, skip: &Skip) -> f64 {
        let others = self.windows().filter(|(_, row)| row.skip != *skip);
        let errors = others.filter_map(|(window, row)| {
            let guess: f64 = self.by_corners(window, &[skip])?.0.iter().sum();
            Some((guess / row.iterations.iter().sum::<f64>() - 1.0).abs())
        });
        let errors: Vec<f64> = errors.collect();
        median(&errors).map_or(0.02, |middle| middle / MEDIAN_ABSOLUTE)
    }

    fn by_neighbours(&self, window: SkipWindow, skip: &Skip) -> Option<Guess> {
        let guess = self.guess(window, &[])?;
        let usual = self.usual_error(skip);
        let guessed = self.tokens / guess.iter().sum::<f64>();
        let Some(fitted) = self.by_curve(window) else {
            return Some(Guess { iterations: guess, doubt: usual });
        };
        let disagreement = (guessed / fitted).ln().abs();
        let level = (guessed * fitted).sqrt();
        let iterations = guess.iter().map(|iterations| iterations * guessed / level).collect();
        Some(Guess { iterations, doubt: usual.hypot(0.5 * disagreement) })
    }

    /// The median error of interpolation on the windows other than `skip`, as a standard deviation.
    fn usual_error(&self, skip: &Skip) -> f64 {
        let error = |row: &WalkedWindow| {
            let guess: f64 = self.guess(row.skip.window()?, &[skip])?.iter().sum();
            Some((guess / row.iterations.iter().sum::<f64>() - 1.0).abs())
        };
        let others = self.rows.iter().filter(|row| row.skip != *skip);
        let errors: Vec<f64> = others.filter_map(error).collect();
        // The median of |error| is 0.6745 standard deviations of a normal one.
        median(&errors).map_or(0.02, |middle| middle / MEDIAN_ABSOLUTE)
    }

    /// Tokens per iteration by curves fitted to the other windows; symmetric windows only.
    fn by_curve(&self, window: SkipWindow) -> Option<f64> {
        let symmetric = |w: SkipWindow| SkipWindow::symmetric(self.layers, w.len()).ok() == Some(w);
        let mut others: Vec<(SkipWindow, &WalkedWindow)> = self
            .rows
            .iter()
            .filter_map(|row| Some((row.skip.window()?, row)))
            .filter(|(other, _)| *other != window && symmetric(*other))
            .collect();
        others.sort_by_key(|(other, _)| other.len());
        let ratio = window.skip_ratio(self.layers).ok()?;
        let rate = |index: usize| -> Option<AcceptanceRate> {
            let attempted = |row: &WalkedWindow| row.counts.attempted[index] > 0.0;
            let cells = others.iter().filter(|(_, row)| attempted(row));
            let counts = cells
                .clone()
                .map(|(_, row)| vec![(row.counts.accepted[index], row.counts.attempted[index])]);
            let ratios = cells.clone().map(|(other, _)| other.skip_ratio(self.layers).ok());
            let data = CurveData {
                drafting: self.drafting,
                predictor: index + 1,
                ratios: ratios.collect::<Option<_>>()?,
                counts: counts.collect(),
            };
            Some(best_curve(&data)?.rate(ratio))
        };
        if !symmetric(window) || others.len() < 4 {
            return None;
        }
        let rates: Vec<AcceptanceRate> = (0..self.gamma).map(rate).collect::<Option<_>>()?;
        let cuts: Vec<f64> = others.iter().map(|(_, row)| self.cut(row)).collect();
        Some(expected_tokens(&rates) * median(&cuts)?)
    }

    /// Tokens per iteration over its value without the cut of last iterations.
    fn cut(&self, row: &WalkedWindow) -> f64 {
        let iterations: f64 = row.iterations.iter().sum();
        let accepted: f64 = row.counts.accepted.iter().sum();
        self.tokens / iterations / (1.0 + accepted / iterations)
    }

    /// Linear in the number of skipped layers between the nearest window that skips fewer and the
    /// nearest that skips more, `window` itself and `hidden` left out; nothing where one is
    /// missing. Windows whose start or end is far away say nothing: drafting may have been trained
    /// for this one alone.
    fn guess(&self, window: SkipWindow, hidden: &[&Skip]) -> Option<Vec<f64>> {
        let visible = |skip: &Skip| *skip != Skip::Window(window) && !hidden.contains(&skip);
        let apart = |other: &SkipWindow| {
            (other.start().abs_diff(window.start()), other.end().abs_diff(window.end()))
        };
        let distance = |other: &SkipWindow| apart(other).0 + apart(other).1;
        let near = |other: &SkipWindow| apart(other).0 <= REACH && apart(other).1 <= REACH;
        let mut known: Vec<(SkipWindow, &Vec<f64>)> = self
            .windows()
            .filter(|(other, row)| visible(&row.skip) && near(other))
            .map(|(other, row)| (other, &row.iterations))
            .collect();
        known.sort_by_key(|(other, _)| distance(other));
        let left = known.iter().find(|(other, _)| other.len() < window.len())?;
        let right = known.iter().find(|(other, _)| other.len() > window.len())?;
        let lengths = [left.0.len(), right.0.len(), window.len()].map(|len| len as f64);
        let share = (lengths[2] - lengths[0]) / (lengths[1] - lengths[0]);
        let line = |(a, b): (&f64, &f64)| a + (b - a) * share;
        Some(left.1.iter().zip(right.1).map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_lie_between_the_neighbours() {
        let row = |start, end, iterations: [f64; 2]| WalkedWindow {
            skip: Skip::Window(SkipWindow::new(start, end).unwrap()),
            iterations: iterations.to_vec(),
            counts: TextCounts::new(1),
        };
        let rows = vec![
            row(4, 5, [10.0, 20.0]),
            row(4, 6, [99.0, 99.0]),
            row(3, 6, [14.0, 20.0]),
            row(3, 7, [16.0, 20.0]),
        ];
        let drafting = Drafting::Simultaneous;
        let neighbours = Neighbours { layers: 10, drafting, gamma: 1, tokens: 60.0, rows };
        // source: by hand: half way between 4..5 and 3..6; nothing skips more than 3..7.
        let window = |start, end| SkipWindow::new(start, end).unwrap();
        assert_eq!(neighbours.guess(window(4, 6), &[]).unwrap(), [12.0, 20.0]);
        assert_eq!(neighbours.guess(window(2, 7), &[]), None);
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
        let rows = windows.filter(|(_, e)| *e > 1).map(|(start, end)| WalkedWindow {
            skip: Skip::Window(SkipWindow::new(start, end).unwrap()),
            iterations: vec![40.0 / rate(start, end), 20.0 / rate(start, end)],
            counts: TextCounts::new(1),
        });
        let drafting = Drafting::Simultaneous;
        let rows = rows.collect();
        let neighbours = Neighbours { layers: 8, drafting, gamma: 1, tokens: 60.0, rows };
        let skip = Skip::Window(SkipWindow::new(1, 5).unwrap());
        let guess = neighbours.without(&skip).unwrap();
        assert!(guess.doubt < 1e-9, "{guess:?}");
        assert!((60.0 / guess.iterations.iter().sum::<f64>() - rate(1, 5)).abs() < 1e-9);
        for edge in [(0, 8), (0, 3), (2, 8)] {
            let edge = Skip::Window(SkipWindow::new(edge.0, edge.1).unwrap());
            assert_eq!(neighbours.without(&edge), None, "at an edge of the model");
        }
    }
}
