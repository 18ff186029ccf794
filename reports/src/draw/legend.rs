//! The legend: rows of swatches below the axes.

use crate::draw::marks::{dashed, draw_symbol, heat_reach};
use crate::draw::palette::{Hue, diverging};
use crate::draw::shape::{Anchor, Paint, SMALL, Scene, Shape, WIDTH, text_width};
use crate::figure::{Figure, Mark, Note, Series, Stroke, Tile, TileMark};

/// Pixels from one row to the next.
const ROW: f64 = 20.0;

/// Pixels that a swatch takes, its distance to the words included.
const SWATCH: f64 = 24.0;

/// An entry: what stands before the words, and the words.
enum Entry<'a> {
    Series(&'a Series),
    Note(&'a Note),
    Tile(TileMark),
    Ramp { low: f64, high: f64, reach: f64 },
}

impl Entry<'_> {
    fn text(&self) -> String {
        match self {
            Self::Series(series) => series.label.clone().unwrap_or_default(),
            Self::Note(Note::Level { text, .. } | Note::Limit { text, .. }) => text.clone(),
            Self::Tile(TileMark::Choice) => "choice".into(),
            Self::Tile(TileMark::Tie) => "tied with it".into(),
            Self::Tile(TileMark::None) => "measured".into(),
            Self::Ramp { low, high, .. } => format!("{low:.2} to {high:.2}"),
        }
    }

    fn swatch_width(&self) -> f64 {
        if matches!(self, Self::Ramp { .. }) { 96.0 } else { SWATCH }
    }
}

/// Draws the legend of `figure` from `top` on; returns where it ends.
pub(super) fn draw(figure: &Figure, top: f64, scene: &mut Scene) -> f64 {
    let entries = entries(figure);
    let (mut x, mut y) = (14.0, top + ROW / 2.0);
    for entry in &entries {
        let width = entry.swatch_width() + text_width(&entry.text(), SMALL) + 16.0;
        if x > 14.0 && x + width > WIDTH - 6.0 {
            x = 14.0;
            y += ROW;
        }
        draw_entry(entry, (x, y), scene);
        x += width;
    }
    if entries.is_empty() { top } else { y + ROW / 2.0 }
}

fn entries(figure: &Figure) -> Vec<Entry<'_>> {
    let listed = |series: &&Series| series.label.is_some() && !series.mark.is_empty();
    let mut entries: Vec<Entry> = figure.series.iter().filter(listed).map(Entry::Series).collect();
    entries.extend(figure.notes.iter().map(Entry::Note));
    for series in &figure.series {
        if let Mark::Heat { cells } = &series.mark {
            entries.push(ramp(cells));
            for mark in [TileMark::Choice, TileMark::Tie] {
                if cells.iter().any(|cell| cell.mark == mark) {
                    entries.push(Entry::Tile(mark));
                }
            }
        }
    }
    entries
}

fn ramp<'a>(cells: &[Tile]) -> Entry<'a> {
    let values = || cells.iter().map(|cell| cell.value.value);
    let (low, high) = (values().fold(1.0, f64::min), values().fold(1.0, f64::max));
    Entry::Ramp { low, high, reach: heat_reach(cells) }
}

fn draw_entry(entry: &Entry, (x, y): (f64, f64), scene: &mut Scene) {
    let middle = (x + 9.0, y);
    match entry {
        Entry::Series(series) => draw_swatch(series, (x, y), scene),
        Entry::Note(Note::Level { .. }) => {
            dashed(&[(x, y), (x + 18.0, y)], Hue::Muted, 1.5, scene);
        }
        Entry::Note(Note::Limit { .. }) => {
            dashed(&[(middle.0, y - 8.0), (middle.0, y + 8.0)], Hue::Muted, 1.5, scene);
        }
        Entry::Tile(mark) => draw_cell_mark(*mark, middle, 6.5, Hue::Ink.into(), scene),
        Entry::Ramp { low, high, reach } => draw_ramp((x, y), (*low, *high, *reach), scene),
    }
    let at = (x + entry.swatch_width(), y);
    scene.shapes.push(Shape::text(at, entry.text(), SMALL, Hue::Ink, Anchor::Start));
}

fn draw_swatch(series: &Series, (x, y): (f64, f64), scene: &mut Scene) {
    let ends = [(x, y), (x + 18.0, y)];
    match &series.mark {
        Mark::Line { stroke: Stroke::Dashed, .. } => dashed(&ends, series.hue, 1.8, scene),
        Mark::Line { .. } => {
            scene.shapes.push(Shape::segment(ends[0], ends[1], series.hue, 2.5));
        }
        Mark::Points { symbol, .. } => draw_symbol(*symbol, (x + 9.0, y), series.hue, scene),
        Mark::Band { .. } => {
            let corners = ((x, y - 6.0), (x + 18.0, y + 6.0));
            scene.shapes.push(Shape::rectangle(corners.0, corners.1, series.hue, 0.2));
        }
        Mark::Bars { .. } | Mark::Heat { .. } => {
            let corners = ((x + 2.0, y - 6.0), (x + 16.0, y + 6.0));
            scene.shapes.push(Shape::rectangle(corners.0, corners.1, series.hue, 1.0));
        }
    }
}

/// The colours of a heat map from its lowest to its highest value.
fn draw_ramp((x, y): (f64, f64), (low, high, reach): (f64, f64, f64), scene: &mut Scene) {
    for step in 0..15 {
        let value = low + (high - low) * f64::from(step) / 14.0;
        let fill = diverging(value, 1.0, reach);
        let left = x + 6.0 * f64::from(step);
        let shape =
            Shape::rectangle((left, y - 6.0), (left + 6.0, y + 6.0), Paint::Fixed(fill), 1.0);
        scene.shapes.push(shape);
    }
}

/// The mark of a cell around `centre`: a double frame for the choice, a dot for a tie.
pub(super) fn draw_cell_mark(
    mark: TileMark,
    (x, y): (f64, f64),
    half: f64,
    paint: Paint,
    scene: &mut Scene,
) {
    match mark {
        TileMark::None => {}
        TileMark::Choice => {
            let (a, b) = ((x - half, y - half), (x + half, y + half));
            let points = vec![a, (b.0, a.1), b, (a.0, b.1), a];
            scene.shapes.push(Shape::Line { points, paint, width: 3.0 });
        }
        TileMark::Tie => {
            scene.shapes.push(Shape::Circle { centre: (x, y), radius: 2.5, paint, ring: None });
        }
    }
}
