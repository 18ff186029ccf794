//! A figure is data: what is drawn, in which units, and how to read it. Drawing is the last step
//! (`scene` lays it out, `chart` draws it), and its data is written as CSV beside every picture.

mod mark;

use crate::draw::palette::Hue;
use s3d_data::{Bytes, Estimate, Seconds};
use serde::Serialize;

pub use mark::{Bar, Mark, Note, Point, Stroke, Symbol, Tile, TileMark};

/// A figure that can go into a paper as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// File stem, such as `speedup_simultaneous`.
    pub name: String,
    /// What it shows, in one line.
    pub title: String,
    /// How to read it, in one or two sentences.
    pub caption: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
    /// Reference lines, drawn over areas and behind lines and points.
    pub notes: Vec<Note>,
    /// Small figures with the same axes, drawn side by side in place of `series`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub panels: Vec<Figure>,
}

impl Figure {
    /// An empty figure.
    pub fn new(name: &str, title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            caption: String::new(),
            x,
            y,
            series: Vec::new(),
            notes: Vec::new(),
            panels: Vec::new(),
        }
    }

    /// The same figure with a caption.
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// The same figure with a series on top.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// The same figure with a reference line or label.
    pub fn note(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }

    /// Whether an interval is cut where it is drawn.
    pub fn cuts(&self) -> bool {
        let cut = |axis: &Axis, e: &Estimate| axis.ratio && e.is_wide();
        let series = self.series.iter().any(|series| match &series.mark {
            Mark::Points { symbol: Symbol::Speck, .. } => false,
            Mark::Points { points, .. } => points.iter().any(|point| cut(&self.y, &point.y)),
            Mark::Bars { bars } => bars.iter().any(|bar| cut(&self.x, &bar.to)),
            _ => false,
        });
        series || self.panels.iter().any(Self::cuts)
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.mark.is_empty())
            && self.panels.iter().all(Self::is_empty)
    }
}

/// What the numbers of an axis are; decides how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// A number without scaling.
    Number,
    /// A whole number: ticks never fall between two.
    Count,
    /// Seconds; written as ms, us, ...
    Seconds,
    /// Bytes; written as GiB, MiB, ...
    Bytes,
}

impl Quantity {
    /// A value in words, its unit included.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Number => format!("{value:.2}"),
            Self::Count => format!("{value:.0}"),
            Self::Seconds => Seconds(value).to_string(),
            Self::Bytes => Bytes(value.max(0.0).round() as u64).to_string(),
        }
    }
}

/// One axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// What it measures, with the unit where the ticks do not carry it.
    pub label: String,
    /// What its numbers are.
    pub quantity: Quantity,
    /// Names of the places 0, 1, 2, ... where the axis counts things and not numbers.
    pub categories: Vec<String>,
    /// Values the axis must reach, whatever the data.
    pub include: Vec<f64>,
    /// The least share of its highest value that the axis spans, so that what hardly differs looks
    /// so.
    #[serde(skip_serializing_if = "is_zero")]
    pub least_span: f64,
    /// Whether its numbers are ratios or rates: an interval wider than a factor of two is then cut
    /// ([`Axis::shown`]), and arrows mark the cut.
    #[serde(skip_serializing_if = "is_false")]
    pub ratio: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Axis {
    /// An axis whose range follows the data.
    pub fn new(label: impl Into<String>, quantity: Quantity) -> Self {
        let (categories, include) = (Vec::new(), Vec::new());
        Self { label: label.into(), quantity, categories, include, least_span: 0.0, ratio: false }
    }

    /// The same axis, spanning at least `share` of its highest value.
    pub fn span(mut self, share: f64) -> Self {
        self.least_span = share;
        self
    }

    /// The same axis, of ratios or rates.
    pub(crate) fn of_ratios(mut self) -> Self {
        self.ratio = true;
        self
    }

    /// The ends of an interval as they are drawn: of a ratio at most a factor of two apart.
    pub fn shown(&self, estimate: &Estimate) -> (f64, f64) {
        let (low, high) = estimate.ends();
        let reach = std::f64::consts::SQRT_2;
        match self.ratio && estimate.is_wide() {
            true => (low.max(estimate.value / reach), high.min(estimate.value * reach)),
            false => (low, high),
        }
    }

    /// The same axis, reaching `value` at least.
    pub fn reach(mut self, value: f64) -> Self {
        self.include.push(value);
        self
    }

    /// An axis of named places.
    pub(crate) fn categories(label: impl Into<String>, names: Vec<String>) -> Self {
        Self { categories: names, ..Self::new(label, Quantity::Count) }
    }
}

/// Something drawn in one colour under one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Its legend entry; null where the legend does not list it.
    pub label: Option<String>,
    /// Its colour.
    pub hue: Hue,
    /// What is drawn.
    pub mark: Mark,
    /// Words at the end of a line, beside the figure's other lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

impl Series {
    /// A series with a legend entry.
    pub fn new(label: impl Into<String>, hue: Hue, mark: Mark) -> Self {
        Self { label: Some(label.into()), hue, mark, end: None }
    }

    /// A series that the legend does not list.
    pub fn unlisted(hue: Hue, mark: Mark) -> Self {
        Self { label: None, hue, mark, end: None }
    }

    /// The same line with words at its end.
    pub fn ending(mut self, words: impl Into<String>) -> Self {
        self.end = Some(words.into());
        self
    }
}
