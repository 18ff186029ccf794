//! A table is data: columns with units, cells that keep value and interval apart. One small file
//! per format writes it (`format`).

use s3d_data::units::TOO_WIDE;
use s3d_data::{Bytes, Estimate, Seconds, Share};
use serde::Serialize;

/// A table with a name, a title and what to know when reading it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// File stem, such as `plans`.
    pub name: String,
    /// What it shows, in one line.
    pub title: String,
    /// How to read it; may be empty.
    pub note: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(name: &str, title: impl Into<String>, columns: Vec<Column>) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            note: String::new(),
            columns,
            rows: Vec::new(),
        }
    }

    /// The same table with words on how to read it.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The same table with `rows` added; a row that is too short is filled with unknowns.
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        let width = self.columns.len();
        self.rows.extend(rows.into_iter().map(|mut row| {
            row.resize(width, Cell::Unknown);
            row
        }));
        self
    }

    /// The same table without columns in which nothing is known.
    pub fn without_empty_columns(mut self) -> Self {
        let known = |i: usize| self.rows.iter().any(|row| row[i] != Cell::Unknown);
        let kept: Vec<bool> = (0..self.columns.len()).map(known).collect();
        self.keep_columns(&kept);
        self
    }

    /// Keeps the columns whose place in `kept` is true.
    pub(crate) fn keep_columns(&mut self, kept: &[bool]) {
        let mut index = kept.iter();
        self.columns.retain(|_| *index.next().unwrap_or(&true));
        for row in &mut self.rows {
            let mut index = kept.iter();
            row.retain(|_| *index.next().unwrap_or(&true));
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// What it holds.
    pub name: String,
    /// The unit of its numbers.
    pub unit: Option<String>,
}

impl Column {
    /// A column without unit.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), unit: None }
    }

    /// A column of numbers in `unit`.
    pub fn unit(name: &str, unit: &str) -> Self {
        Self { name: name.into(), unit: Some(unit.into()) }
    }

    /// Name and unit, such as `speed (tokens/s)`.
    pub fn header(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{} ({unit})", self.name),
            None => self.name.clone(),
        }
    }
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Not known, or not to be had.
    Unknown,
    /// Words.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number as somebody else stated it, with its decimals.
    Number(f64, usize),
    /// A ratio or rate with its interval, with its decimals. An interval wider than a factor of two
    /// is not shown, in no format.
    Estimate(Estimate, usize),
    /// The same of a number that may be 0 (acceptance, a loss): its interval is always shown.
    Level(Estimate, usize),
    /// Seconds with their interval; scaled for reading, in seconds for programs.
    Seconds(Estimate),
    /// Bytes; scaled for reading, in bytes for programs.
    Bytes(u64),
    /// A fraction with its interval; in percent for reading, a fraction for programs.
    Share(Estimate),
    /// Words that lead to a source.
    Link {
        /// The words.
        text: String,
        /// The address.
        url: String,
    },
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A rate with three digits, or unknown.
    pub fn rate(estimate: Option<Estimate>) -> Self {
        estimate.map_or(Self::Unknown, |rate| Self::Estimate(rate, digits(rate.value)))
    }

    /// A ratio or rate with its interval, or unknown.
    pub fn estimate(estimate: Option<Estimate>, decimals: usize) -> Self {
        estimate.map_or(Self::Unknown, |estimate| Self::Estimate(estimate, decimals))
    }

    /// Whether it stands at the right of its column.
    pub fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Link { .. })
    }

    /// The same without its interval.
    #[must_use]
    pub(crate) fn without_interval(&self) -> Self {
        match self {
            Self::Estimate(e, decimals) => Self::Number(e.value, *decimals),
            other => other.clone(),
        }
    }

    /// Whether it is a value with an interval.
    pub(crate) fn is_estimate(&self) -> bool {
        matches!(self, Self::Estimate(..) | Self::Level(..) | Self::Seconds(_) | Self::Share(_))
    }

    /// The value that rows are sorted by.
    pub(crate) fn sort_value(&self) -> Option<f64> {
        match self {
            Self::Unknown | Self::Text(_) | Self::Link { .. } => None,
            Self::Count(count) | Self::Bytes(count) => Some(*count as f64),
            Self::Number(value, _) => Some(*value),
            Self::Estimate(estimate, _)
            | Self::Level(estimate, _)
            | Self::Seconds(estimate)
            | Self::Share(estimate) => Some(estimate.value),
        }
    }

    /// The value for people, its interval apart.
    pub fn parts(&self) -> (String, Option<String>) {
        match self {
            Self::Unknown => ("-".into(), None),
            Self::Text(text) | Self::Link { text, .. } => (text.clone(), None),
            Self::Count(count) => (count.to_string(), None),
            Self::Number(value, decimals) => (format!("{value:.decimals$}"), None),
            Self::Bytes(bytes) => (Bytes(*bytes).to_string(), None),
            Self::Estimate(e, decimals) => ratio(e, |v| format!("{v:.decimals$}")),
            Self::Level(e, decimals) => with_interval(e, |v| format!("{v:.decimals$}")),
            Self::Seconds(e) => ratio(e, |v| Seconds(v).to_string()),
            Self::Share(e) => with_interval(e, |v| Share(v).to_string()),
        }
    }

    /// The cell for people: `1.83 [1.75, 1.91]`.
    pub fn words(&self) -> String {
        match self.parts() {
            (value, Some(interval)) => format!("{value} {interval}"),
            (value, None) => value,
        }
    }
}

/// Decimals that show three digits of `value`; at most two.
pub fn digits(value: f64) -> usize {
    match value.abs() {
        large if large >= 99.95 => 0,
        middle if middle >= 9.995 => 1,
        _ => 2,
    }
}

/// Value and interval of a ratio or rate.
fn ratio(e: &Estimate, text: impl Fn(f64) -> String) -> (String, Option<String>) {
    match e.is_wide() {
        true => (text(e.value), Some(format!("({TOO_WIDE})"))),
        false => with_interval(e, text),
    }
}

/// An interval of no width is not written: the value is exact. One that is not known is said to be
/// so.
fn with_interval(e: &Estimate, text: impl Fn(f64) -> String) -> (String, Option<String>) {
    let interval = match e.interval() {
        Some((low, high)) if low == high => None,
        Some((low, high)) => Some(format!("[{}, {}]", text(low), text(high))),
        None => Some("(no interval)".into()),
    };
    (text(e.value), interval)
}
