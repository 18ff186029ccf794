//! A measured table of pass times, bilinear between its cells.

use crate::error::{Error, Result, non_negative};
use ndarray::Array2;
use std::collections::{BTreeMap, BTreeSet};

/// One measured pass: a row of a cost table.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostRow {
    /// Tokens fed to the pass.
    pub width: usize,
    /// Tokens committed.
    pub context: usize,
    /// Its time.
    pub seconds: f64,
}

/// Measured times over a full grid of widths and contexts; bilinear between them, the outermost
/// cell's plane continued (never below 0) outside them.
#[derive(Debug, Clone, PartialEq)]
pub struct CostTable {
    widths: Vec<usize>,
    contexts: Vec<usize>,
    /// `[widths, contexts]`
    seconds: Array2<f64>,
}

impl CostTable {
    /// The table of `cells`, in any order.
    ///
    /// # Errors
    /// No cells, a negative or non-finite time, a cell given twice, a grid with holes.
    pub fn new(cells: &[CostRow]) -> Result<Self> {
        let mut known = BTreeMap::new();
        for cell in cells {
            let at = format!("width {} at context {}", cell.width, cell.context);
            non_negative(&format!("seconds of {at}"), cell.seconds)?;
            if known.insert((cell.width, cell.context), cell.seconds).is_some() {
                return Err(Error::domain("cost table", "every cell once", format!("{at} twice")));
            }
        }
        if known.is_empty() {
            return Err(Error::missing("cost table rows", "give width,context,seconds rows"));
        }
        let widths: Vec<usize> = distinct(known.keys().map(|key| key.0));
        let contexts: Vec<usize> = distinct(known.keys().map(|key| key.1));
        let mut seconds = Array2::zeros((widths.len(), contexts.len()));
        for ((i, j), cell) in seconds.indexed_iter_mut() {
            *cell = lookup(&known, widths[i], contexts[j])?;
        }
        Ok(Self { widths, contexts, seconds })
    }

    /// Seconds of a pass, bilinear.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        let (i, x) = bracket(&self.widths, width);
        let (j, y) = bracket(&self.contexts, context);
        let next_i = (i + 1).min(self.widths.len() - 1);
        let next_j = (j + 1).min(self.contexts.len() - 1);
        let along =
            |i| self.seconds[[i, j]] + (self.seconds[[i, next_j]] - self.seconds[[i, j]]) * y;
        let (low, high) = (along(i), along(next_i));
        (low + (high - low) * x).max(0.0)
    }

    /// Whether `(width, context)` lies outside what was measured.
    pub(crate) fn extrapolates(&self, width: usize, context: usize) -> bool {
        let outside =
            |axis: &[usize], at: usize| axis.first() > Some(&at) || axis.last() < Some(&at);
        outside(&self.widths, width) || outside(&self.contexts, context)
    }
}

fn distinct(values: impl Iterator<Item = usize>) -> Vec<usize> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

fn lookup(known: &BTreeMap<(usize, usize), f64>, width: usize, context: usize) -> Result<f64> {
    known.get(&(width, context)).copied().ok_or_else(|| {
        Error::missing(
            format!("time for width {width} at context {context} in the cost table"),
            "give every width at every context",
        )
    })
}

/// The interval of `axis` that holds `at` (the outermost one outside), and the place in it: 0 at
/// its start, 1 at its end. An axis with one entry is constant.
fn bracket(axis: &[usize], at: usize) -> (usize, f64) {
    if axis.len() < 2 {
        return (0, 0.0);
    }
    let index = axis.partition_point(|&entry| entry <= at).clamp(1, axis.len() - 1) - 1;
    let (start, end) = (axis[index] as f64, axis[index + 1] as f64);
    (index, (at as f64 - start) / (end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(width: usize, context: usize, seconds: f64) -> CostRow {
        CostRow { width, context, seconds }
    }

    #[test]
    fn a_table_is_bilinear_and_flags_what_it_does_not_know() {
        // source: algebra. The plane 1 + 2 w + 0.5 n is its own bilinear interpolation.
        let plane = |w: usize, n: usize| 1.0 + 2.0 * w as f64 + 0.5 * n as f64;
        let cells: Vec<CostRow> = [1, 4, 8]
            .into_iter()
            .flat_map(|w| [0, 64, 256].map(|n| cell(w, n, plane(w, n))))
            .collect();
        let table = CostTable::new(&cells).unwrap();
        for (width, context) in [(1, 0), (2, 10), (5, 200), (8, 256), (12, 1000)] {
            assert!((table.seconds(width, context) - plane(width, context)).abs() < 1e-12);
        }
        assert!(!table.extrapolates(8, 256) && table.extrapolates(9, 256));
        assert!(table.extrapolates(1, 257));
    }

    #[test]
    fn a_single_cell_is_constant() {
        let table = CostTable::new(&[cell(1, 64, 0.25)]).unwrap();
        assert_eq!(table.seconds(7, 0), 0.25);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(CostTable::new(&[]).is_err());
        assert!(CostTable::new(&[cell(1, 1, 1.0), cell(1, 1, 2.0)]).is_err());
        assert!(CostTable::new(&[cell(1, 1, -1.0)]).is_err());
        let holes = CostTable::new(&[cell(1, 1, 1.0), cell(2, 2, 1.0)]).unwrap_err().to_string();
        assert!(holes.contains("width 1 at context 2"), "{holes}");
    }
}
