//! What a figure's series draws: lines, points with intervals, bands, bars, heat maps; and notes.

use s3d_data::Estimate;
use serde::Serialize;

/// The shape of a point, so that a series is known without its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Symbol {
    /// A small disc, for panels.
    Dot,
    /// A small disc in the background, without its interval.
    Speck,
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
    pub(crate) fn of_index(index: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond][index % 4]
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// One of many, in the background.
    Fine,
    /// Two pixels.
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
        cells: Vec<Tile>,
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
    pub(crate) fn labelled(self) -> Self {
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
    /// What it is, shown when a reader points at it.
    pub text: String,
    /// Words written at its end; may be empty.
    pub label: String,
}

/// What a heat-map cell is besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TileMark {
    /// Nothing more.
    None,
    /// The choice.
    Choice,
    /// Cannot be told apart from the choice.
    Tie,
}

/// A cell of a heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tile {
    /// Column.
    pub x: i64,
    /// Row.
    pub y: i64,
    /// Its value, with interval.
    pub value: Estimate,
    /// Whether it is the choice or a tie.
    pub mark: TileMark,
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
