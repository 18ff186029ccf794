//! Mixtures of experts: a pass reads the experts that its rows touch, so its bytes grow with its
//! width, where those of a dense model do not. This is why speculation gains less on them, or
//! loses: verifying `gamma` drafts reads nearly `gamma` times the experts.

use crate::error::{Error, Result};
use crate::statistics::broken_line;
use s3d_data::{ModelShape, limits};

/// The experts of every layer's MLP, of which each token uses some.
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    count: usize,
    active: usize,
    /// Measured: experts touched, by rows of a pass. Empty: independent routing is assumed.
    measured: Vec<(f64, f64)>,
}

impl Experts {
    /// `count` experts a layer, of which a token uses `active`; rows are routed independently,
    /// every set of experts alike.
    ///
    /// # Errors
    /// More active ones than there are, none, or too many.
    pub fn new(count: usize, active: usize) -> Result<Self> {
        if !(1..=limits::EXPERTS).contains(&count) {
            return Err(Error::domain("experts", format!("1 to {}", limits::EXPERTS), count));
        }
        if !(1..=count).contains(&active) {
            return Err(Error::domain("active experts", format!("1 to {count}"), active));
        }
        Ok(Self { count, active, measured: Vec::new() })
    }

    /// The same with the mean number of distinct experts that passes of some widths were seen to
    /// touch: `(rows, experts)`, linear between them.
    ///
    /// # Errors
    /// Rows that do not rise, fewer experts than one row uses or more than there are, fewer for
    /// more rows, or no row.
    pub fn touching(self, measured: Vec<(usize, f64)>) -> Result<Self> {
        let least = self.active as f64;
        let mut before = (0, least);
        for &(rows, experts) in &measured {
            if rows <= before.0 {
                return Err(Error::domain("rows of a pass", format!("above {}", before.0), rows));
            }
            if !(before.1..=self.count as f64).contains(&experts) {
                let bounds = format!("{} to {}", before.1, self.count);
                return Err(Error::domain(
                    format!("experts touched by {rows} rows"),
                    bounds,
                    experts,
                ));
            }
            before = (rows, experts);
        }
        if measured.is_empty() {
            return Err(Error::missing("experts touched by rows", "give at least one width"));
        }
        let one = (1.0, least);
        let rest = measured.into_iter().filter(|(rows, _)| *rows > 1);
        let rest = rest.map(|(rows, experts)| (rows as f64, experts));
        Ok(Self { measured: [one].into_iter().chain(rest).collect(), ..self })
    }

    /// Distinct experts of a layer that a pass over `rows` tokens touches, on average.
    ///
    /// Independent routing: one row leaves an expert alone with probability `1 - K/N`, `w` rows
    /// with its `w`-th power, so `N (1 - (1 - K/N)^w)` are touched.
    pub fn touched(&self, rows: usize) -> f64 {
        let (count, active) = (self.count as f64, self.active as f64);
        match broken_line(&self.measured, rows as f64) {
            Some(experts) => experts.clamp(active, count),
            None => count * (1.0 - (1.0 - active / count).powf(rows as f64)),
        }
    }

    /// The share of a layer's experts that `rows` rows touch.
    pub(crate) fn share(&self, rows: usize) -> f64 {
        self.touched(rows) / self.count as f64
    }

    /// The share of a layer's experts that one token uses.
    pub(crate) fn active_share(&self) -> f64 {
        self.active as f64 / self.count as f64
    }

    /// `dense`, whose MLP is one expert, with all experts.
    pub fn of(&self, dense: &ModelShape) -> ModelShape {
        ModelShape { intermediate: dense.intermediate * self.count, ..dense.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// source: enumeration: every way in which `rows` rows can choose 2 of 4 experts.
    #[test]
    fn independent_rows_touch_what_enumeration_counts() {
        let pairs = [0b0011u8, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100];
        let experts = Experts::new(4, 2).unwrap();
        for rows in 1..=5u32 {
            let ways = 6usize.pow(rows);
            let touched = |way: usize| {
                let choice = |row| pairs[way / 6usize.pow(row) % 6];
                (0..rows).map(choice).fold(0, |all, own| all | own).count_ones()
            };
            let mean = f64::from((0..ways).map(touched).sum::<u32>()) / ways as f64;
            let found = experts.touched(rows as usize);
            assert!((found - mean).abs() < 1e-12, "{rows} rows: {found}, {mean}");
        }
    }

    #[test]
    fn a_measured_table_is_used_as_it_stands() {
        let experts = Experts::new(64, 8).unwrap().touching(vec![(2, 14.0), (8, 32.0)]).unwrap();
        // source: by hand: 8 for one row, half way between 14 and 32 for five
        assert_eq!([1, 2, 5, 8].map(|rows| experts.touched(rows)), [8.0, 14.0, 23.0, 32.0]);
        assert!(experts.touched(1000) <= 64.0);
        for wrong in [vec![], vec![(2, 7.0)], vec![(2, 65.0)], vec![(4, 20.0), (4, 21.0)]] {
            assert!(Experts::new(64, 8).unwrap().touching(wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(Experts::new(8, 9).is_err() && Experts::new(8, 0).is_err());
        assert!(Experts::new(0, 0).is_err() && Experts::new(usize::MAX, 1).is_err());
    }
}
