//! A figure is data: what is drawn, in which units, and how to read it. Drawing is the last step
//! (`scene` lays it out, `chart` draws it), and its data is written as CSV beside every picture.

use crate::palette::Hue;
use s3d_data::{Bytes, Estimate, Seconds};
use serde::Serialize;

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

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.mark.is_empty())
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
}

impl Axis {
    /// An axis whose range follows the data.
    pub fn new(label: impl Into<String>, quantity: Quantity) -> Self {
        Self { label: label.into(), quantity, categories: Vec::new(), include: Vec::new() }
    }

    /// The same axis, reaching `value` at least.
    pub fn reach(mut self, value: f64) -> Self {
        self.include.push(value);
        self
    }

    /// An axis of named places.
    pub fn categories(label: impl Into<String>, names: Vec<String>) -> Self {
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
}

impl Series {
    /// A series with a legend entry.
    pub fn new(label: impl Into<String>, hue: Hue, mark: Mark) -> Self {
        Self { label: Some(label.into()), hue, mark }
    }

    /// A series that the legend does not list.
    pub fn unlisted(hue: Hue, mark: Mark) -> Self {
        Self { label: None, hue, mark }
    }
}

/// The shape of a point, so that a series is known without its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Symbol {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// An empty ring, to mark a point of another series.
    Ring,
}

impl Symbol {
    /// The symbol of the `index`-th of a list of things (from 0).
    pub fn of_index(index: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond][index % 4]
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// One pixel and a half.
    Thin,
    /// Emphasised.
    Bold,
    /// Reference or model, not data.
    Dashed,
}

/// What a series draws.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Mark {
    /// A line through `(x, y)`.
    Line {
        /// The corners.
        points: Vec<(f64, f64)>,
        /// How it is drawn.
        stroke: Stroke,
    },
    /// Points with their intervals.
    Points {
        /// The points.
        points: Vec<Point>,
        /// Their shape.
        symbol: Symbol,
    },
    /// The area between two lines, as `(x, low, high)`.
    Band {
        /// The corners.
        points: Vec<(f64, f64, f64)>,
    },
    /// Horizontal bars at places of the vertical axis.
    Bars {
        /// The bars.
        bars: Vec<Bar>,
    },
    /// Cells of side 1 around whole numbers, coloured by value: blue above 1, orange below.
    Heat {
        /// The cells.
        cells: Vec<Cell>,
    },
}

impl Mark {
    /// What lies in front: areas, lines, emphasised lines, points.
    pub fn layer(&self) -> u8 {
        match self {
            Self::Band { .. } | Self::Bars { .. } | Self::Heat { .. } => 0,
            Self::Line { stroke: Stroke::Bold, .. } => 2,
            Self::Line { .. } => 1,
            Self::Points { .. } => 3,
        }
    }

    /// Whether it draws nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Line { points, .. } => points.is_empty(),
            Self::Points { points, .. } => points.is_empty(),
            Self::Band { points } => points.is_empty(),
            Self::Bars { bars } => bars.is_empty(),
            Self::Heat { cells } => cells.is_empty(),
        }
    }
}

/// A point with its interval; the words are shown when a reader points at it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// How much, with its interval.
    pub y: Estimate,
    /// What it is, such as a plan.
    pub text: String,
    /// Whether the words are written beside it.
    pub labelled: bool,
}

impl Point {
    /// A point whose words are shown on demand.
    pub fn new(x: f64, y: Estimate, text: impl Into<String>) -> Self {
        Self { x, y, text: text.into(), labelled: false }
    }

    /// The same point with its words beside it.
    pub fn labelled(self) -> Self {
        Self { labelled: true, ..self }
    }
}

/// A horizontal bar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// Place on the vertical axis; the bar takes `thickness` around it.
    pub at: f64,
    /// Share of the place's height that it takes.
    pub thickness: f64,
    /// Where it starts.
    pub from: f64,
    /// Where it ends, with its interval.
    pub to: Estimate,
    /// Words written at its end.
    pub text: String,
}

/// What a heat-map cell is besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CellMark {
    /// Nothing more.
    None,
    /// The choice.
    Choice,
    /// Cannot be told apart from the choice.
    Tie,
}

/// A cell of a heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Column.
    pub x: i64,
    /// Row.
    pub y: i64,
    /// Its value, with interval.
    pub value: Estimate,
    /// Whether it is the choice or a tie.
    pub mark: CellMark,
    /// What it is, shown when a reader points at it.
    pub text: String,
}

/// A reference line, drawn dashed across the figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Note {
    /// A horizontal line.
    Level {
        /// Where it crosses the vertical axis.
        y: f64,
        /// Words above its left end.
        text: String,
    },
    /// A vertical line.
    Limit {
        /// Where it crosses the horizontal axis.
        x: f64,
        /// Words at its top.
        text: String,
    },
}
