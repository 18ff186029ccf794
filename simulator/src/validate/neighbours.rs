//! Acceptance of a window that was held out, from the traces of its neighbours.

use crate::observed::TraceTable;
use crate::replay::walk;
use crate::statistics::robust_mean;
use crate::validate::Job;
use s3d_data::{Drafting, Skip, SkipWindow, Trace};

/// Iterations per generation of every traced window, at one drafting and number of predictors.
#[derive(Debug, Clone)]
pub struct Neighbours {
    rows: Vec<(Skip, Vec<f64>)>,
}

impl Neighbours {
    /// Walks the texts of `jobs` with the traces of every window that has them all.
    pub fn new(table: &TraceTable, jobs: &[Job], drafting: Drafting, gamma: usize) -> Self {
        let walked = |row: &Vec<Option<&Trace>>| -> Option<Vec<f64>> {
            let one = |job: &Job| {
                let trace = row[job.prompt].filter(|t| t.gamma_max.is_none_or(|m| m >= gamma))?;
                let most = (job.tokens as usize + 1).min(trace.accepted.len());
                Some(walk(&trace.accepted[..most], gamma).iterations as f64)
            };
            jobs.iter().map(one).collect()
        };
        let ways = table.ways.iter().filter(|((way, _), _)| *way == drafting);
        let rows = ways.filter_map(|((_, skip), row)| Some((skip.clone(), walked(row)?)));
        Self { rows: rows.collect() }
    }

    /// Iterations per generation by the skip's own traces.
    pub fn own(&self, skip: &Skip) -> Option<Vec<f64>> {
        self.rows.iter().find(|(known, _)| known == skip).map(|(_, row)| row.clone())
    }

    /// Iterations per generation as if `skip` had not been traced, and the relative error that this way of
    /// guessing shows on the other windows.
    pub fn interpolated(&self, skip: &Skip) -> Option<(Vec<f64>, f64)> {
        let guess = self.guess(skip.window()?, &[])?;
        let others = self.rows.iter().filter(|(known, _)| known != skip);
        let error = |(known, row): &(Skip, Vec<f64>)| {
            let guess: f64 = self.guess(known.window()?, &[skip])?.iter().sum();
            Some(guess / row.iter().sum::<f64>() - 1.0)
        };
        let errors: Vec<f64> = others.filter_map(error).map(f64::abs).collect();
        // The median of |error| is 0.6745 standard deviations of a normal one.
        let doubt = robust_mean(&errors).map_or(0.02, |(middle, _)| middle / 0.6745);
        Some((guess, doubt))
    }

    /// Linear in the number of skipped layers between the nearest window that skips fewer and the
    /// nearest that skips more (at an end: through the two nearest), `window` itself and `hidden`
    /// left out.
    fn guess(&self, window: SkipWindow, hidden: &[&Skip]) -> Option<Vec<f64>> {
        let visible = |skip: &Skip| *skip != Skip::Window(window) && !hidden.contains(&skip);
        let distance = |other: &SkipWindow| {
            other.start().abs_diff(window.start()) + other.end().abs_diff(window.end())
        };
        let mut known: Vec<(SkipWindow, &Vec<f64>)> = self
            .rows
            .iter()
            .filter(|(skip, _)| visible(skip))
            .filter_map(|(skip, row)| Some((skip.window()?, row)))
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
        Some(left.1.iter().zip(right.1).map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_lie_between_the_neighbours() {
        let window = |start, end| Skip::Window(SkipWindow::new(start, end).unwrap());
        let rows = vec![
            (window(4, 5), vec![10.0, 20.0]),
            (window(4, 6), vec![99.0, 99.0]),
            (window(3, 6), vec![14.0, 20.0]),
            (window(3, 7), vec![16.0, 20.0]),
        ];
        let neighbours = Neighbours { rows };
        // source: by hand: half way between 4..5 and 3..6; past the end through 3..6 and 4..6.
        assert_eq!(neighbours.interpolated(&window(4, 6)).unwrap().0, [12.0, 20.0]);
        let beyond = SkipWindow::new(2, 7).unwrap();
        assert_eq!(neighbours.guess(beyond, &[]).unwrap(), [18.0, 20.0]);
    }
}
