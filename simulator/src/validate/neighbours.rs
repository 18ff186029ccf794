//! Acceptance of a window that was held out, from the other windows' traces: interpolation between
//! the neighbours, and curves fitted to all of them.
//!
//! Tokens per iteration are `1 + sum of accepted / iterations`, so conditional rates at visited
//! positions give them exactly; only the cut of the last iteration is taken from the neighbours.

use crate::acceptance::AcceptanceRate;
use crate::expected_tokens::expected_tokens;
use crate::fit::curves::{CurveData, best_curve};
use crate::observed::TraceTable;
use crate::replay::{count, walk};
use crate::statistics::median;
use crate::validate::Job;
use s3d_data::{AcceptanceCounts, Drafting, Skip, SkipWindow, Trace};

/// One traced window: iterations of every generation, and counts over all of them.
#[derive(Debug, Clone)]
struct Row {
    skip: Skip,
    iterations: Vec<f64>,
    counts: AcceptanceCounts,
}

/// All traced windows, at one drafting and number of predictors.
#[derive(Debug, Clone)]
pub struct Neighbours {
    layers: usize,
    drafting: Drafting,
    gamma: usize,
    tokens: f64,
    rows: Vec<Row>,
}

impl Neighbours {
    /// Walks the texts of `jobs` with the traces of every window that has them all.
    pub fn new(
        table: &TraceTable,
        jobs: &[Job],
        layers: usize,
        drafting: Drafting,
        gamma: usize,
    ) -> Self {
        let walked = |skip: &Skip, row: &[Option<&Trace>]| -> Option<Row> {
            let mut counts = AcceptanceCounts::new(gamma);
            let mut one = |job: &Job| {
                let trace = row[job.prompt].filter(|t| t.gamma_max.is_none_or(|m| m >= gamma))?;
                let accepted =
                    &trace.accepted[..(job.tokens as usize + 1).min(trace.accepted.len())];
                counts.merge(&count(accepted, gamma));
                Some(walk(accepted, gamma).iterations as f64)
            };
            let iterations = jobs.iter().map(&mut one).collect::<Option<_>>()?;
            Some(Row { skip: skip.clone(), iterations, counts })
        };
        let ways = table.ways.iter().filter(|((way, _), _)| *way == drafting);
        let rows = ways.filter_map(|((_, skip), row)| walked(skip, row)).collect();
        let tokens = jobs.iter().map(|job| job.tokens).sum();
        Self { layers, drafting, gamma, tokens, rows }
    }

    /// Iterations per generation by the skip's own traces.
    pub fn own(&self, skip: &Skip) -> Option<Vec<f64>> {
        self.rows.iter().find(|row| row.skip == *skip).map(|row| row.iterations.clone())
    }

    /// Iterations per generation as if `skip` had not been traced, and the relative error to expect.
    ///
    /// Between two neighbours the geometric mean of interpolation and curve; at an end, where
    /// interpolation would have to extrapolate, the curve alone. The expected error is what
    /// interpolation shows on the other windows, and by how much the two disagree.
    pub fn without(&self, skip: &Skip) -> Option<(Vec<f64>, f64)> {
        let window = skip.window()?;
        let (guess, inside) = self.guess(window, &[])?;
        let usual = self.usual_error(skip);
        let guessed = self.tokens / guess.iter().sum::<f64>();
        let Some(fitted) = self.by_curve(window) else { return Some((guess, usual)) };
        let disagreement = (guessed / fitted).ln().abs();
        let level = if inside { (guessed * fitted).sqrt() } else { fitted };
        let share = if inside { 0.5 } else { 1.0 };
        let scaled = guess.iter().map(|iterations| iterations * guessed / level).collect();
        Some((scaled, usual.hypot(share * disagreement)))
    }

    /// The median error of interpolation on the windows other than `skip`, as a standard deviation.
    fn usual_error(&self, skip: &Skip) -> f64 {
        let error = |row: &Row| {
            let guess: f64 = self.guess(row.skip.window()?, &[skip])?.0.iter().sum();
            Some((guess / row.iterations.iter().sum::<f64>() - 1.0).abs())
        };
        let others = self.rows.iter().filter(|row| row.skip != *skip);
        let errors: Vec<f64> = others.filter_map(error).collect();
        // The median of |error| is 0.6745 standard deviations of a normal one.
        median(&errors).map_or(0.02, |middle| middle / 0.6745)
    }

    /// Tokens per iteration by curves fitted to the other windows; symmetric windows only.
    fn by_curve(&self, window: SkipWindow) -> Option<f64> {
        let symmetric = |w: SkipWindow| SkipWindow::symmetric(self.layers, w.len()).ok() == Some(w);
        let mut others: Vec<(SkipWindow, &Row)> = self
            .rows
            .iter()
            .filter_map(|row| Some((row.skip.window()?, row)))
            .filter(|(other, _)| *other != window && symmetric(*other))
            .collect();
        others.sort_by_key(|(other, _)| other.len());
        let ratio = window.skip_ratio(self.layers).ok()?;
        let rate = |index: usize| -> Option<AcceptanceRate> {
            let attempted = |row: &Row| row.counts.attempted[index] > 0;
            let cells = others.iter().filter(|(_, row)| attempted(row));
            let counts = cells.clone().map(|(_, row)| {
                vec![(row.counts.accepted[index] as f64, row.counts.attempted[index] as f64)]
            });
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
    fn cut(&self, row: &Row) -> f64 {
        let iterations: f64 = row.iterations.iter().sum();
        let accepted: u64 = row.counts.accepted.iter().sum();
        self.tokens / iterations / (1.0 + accepted as f64 / iterations)
    }

    /// Linear in the number of skipped layers between the nearest window that skips fewer and the
    /// nearest that skips more (at an end: through the two nearest), `window` itself and `hidden`
    /// left out; and whether it lies between two.
    fn guess(&self, window: SkipWindow, hidden: &[&Skip]) -> Option<(Vec<f64>, bool)> {
        let visible = |skip: &Skip| *skip != Skip::Window(window) && !hidden.contains(&skip);
        let distance = |other: &SkipWindow| {
            other.start().abs_diff(window.start()) + other.end().abs_diff(window.end())
        };
        let mut known: Vec<(SkipWindow, &Vec<f64>)> = self
            .rows
            .iter()
            .filter(|row| visible(&row.skip))
            .filter_map(|row| Some((row.skip.window()?, &row.iterations)))
            .collect();
        known.sort_by_key(|(other, _)| distance(other));
        let fewer = known.iter().find(|(other, _)| other.len() < window.len());
        let more = known.iter().find(|(other, _)| other.len() > window.len());
        let (left, right) = match (fewer, more) {
            (Some(left), Some(right)) => (left, right),
            (Some(near), None) | (None, Some(near)) => {
                let far = known.iter().find(|(other, _)| other.len() != near.0.len())?;
                (near, far)
            }
            (None, None) => return None,
        };
        let lengths = [left.0.len(), right.0.len(), window.len()].map(|len| len as f64);
        let share = (lengths[2] - lengths[0]) / (lengths[1] - lengths[0]);
        let line = |(a, b): (&f64, &f64)| (a + (b - a) * share).max(0.2 * a);
        let inside = fewer.is_some() && more.is_some();
        Some((left.1.iter().zip(right.1).map(line).collect(), inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_lie_between_the_neighbours() {
        let row = |start, end, iterations: [f64; 2]| Row {
            skip: Skip::Window(SkipWindow::new(start, end).unwrap()),
            iterations: iterations.to_vec(),
            counts: AcceptanceCounts::new(1),
        };
        let rows = vec![
            row(4, 5, [10.0, 20.0]),
            row(4, 6, [99.0, 99.0]),
            row(3, 6, [14.0, 20.0]),
            row(3, 7, [16.0, 20.0]),
        ];
        let drafting = Drafting::Simultaneous;
        let neighbours = Neighbours { layers: 10, drafting, gamma: 1, tokens: 60.0, rows };
        // source: by hand: half way between 4..5 and 3..6; past the end through 3..7 and 3..6.
        let window = |start, end| SkipWindow::new(start, end).unwrap();
        assert_eq!(neighbours.guess(window(4, 6), &[]).unwrap(), (vec![12.0, 20.0], true));
        assert_eq!(neighbours.guess(window(2, 7), &[]).unwrap(), (vec![18.0, 20.0], false));
    }
}
