//! From series to shapes: lines, points with intervals, bands, bars, heat maps.

use crate::draw::frame::Frame;
use crate::draw::palette::{Hue, diverging, text_on};
use crate::draw::shape::{Anchor, Hotspot, Paint, SMALL, Scene, Shape, text_width};
use crate::figure::{Axis, Bar, Figure, Mark, Note, Point, Series, Stroke, Symbol, Tile, TileMark};

/// Radius of a point.
const RADIUS: f64 = 4.0;

/// Radius of a point in a panel.
const DOT: f64 = 2.5;

/// Draws one series.
pub(super) fn draw(series: &Series, figure: &Figure, frame: &Frame, scene: &mut Scene) {
    match &series.mark {
        Mark::Line { points, stroke } => {
            let pixels: Vec<_> =
                points.iter().map(|&(x, y)| (frame.x.at(x), frame.y.at(y))).collect();
            draw_line(&pixels, series.hue, *stroke, scene);
        }
        Mark::Points { points, symbol } => {
            for point in points {
                draw_point(point, *symbol, series.hue, &figure.y, frame, scene);
            }
        }
        Mark::Band { points } => draw_band(points, series.hue, frame, scene),
        Mark::Bars { bars } => {
            for bar in bars {
                draw_bar(bar, series.hue, &figure.x, frame, scene);
            }
        }
        Mark::Heat { cells } => draw_heat(cells, frame, scene),
    }
}

/// Draws a reference line.
pub(super) fn draw_note(note: &Note, frame: &Frame, scene: &mut Scene) {
    let ends = match note {
        Note::Level { y, .. } => [(frame.x.start, frame.y.at(*y)), (frame.x.end, frame.y.at(*y))],
        Note::Limit { x, .. } => [(frame.x.at(*x), frame.y.start), (frame.x.at(*x), frame.y.end)],
    };
    dashed(&ends, Hue::Muted, 1.5, scene);
}

fn draw_line(pixels: &[(f64, f64)], hue: Hue, stroke: Stroke, scene: &mut Scene) {
    let width = match stroke {
        Stroke::Dashed => return dashed(pixels, hue, 1.8, scene),
        Stroke::Fine => 1.1,
        Stroke::Thin => 1.8,
        Stroke::Bold => 3.6,
    };
    scene.shapes.push(Shape::Line { points: pixels.to_vec(), paint: hue.into(), width });
}

/// A dashed line through `pixels`: 6 on, 4 off, measured along the line.
pub(super) fn dashed(pixels: &[(f64, f64)], hue: Hue, width: f64, scene: &mut Scene) {
    const ON: f64 = 6.0;
    const PERIOD: f64 = 10.0;
    let mut walked = 0.0;
    for pair in pixels.windows(2) {
        let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        let length = dx.hypot(dy);
        let at = |d: f64| (pair[0].0 + dx * d / length, pair[0].1 + dy * d / length);
        let mut from = 0.0;
        while from < length {
            let phase: f64 = (walked + from) % PERIOD;
            let rest = if phase < ON { ON - phase } else { PERIOD - phase };
            let to = (from + rest.max(1e-6)).min(length);
            if phase < ON {
                scene.shapes.push(Shape::segment(at(from), at(to), hue, width));
            }
            from = to;
        }
        walked += length;
    }
}

fn draw_point(
    point: &Point,
    symbol: Symbol,
    hue: Hue,
    axis: &Axis,
    frame: &Frame,
    scene: &mut Scene,
) {
    let (x, y) = (frame.x.at(point.x), frame.y.at(point.y.value));
    let (shown, whole) = (axis.shown(&point.y), point.y.ends());
    let (low, high) = (frame.y.at(shown.0), frame.y.at(shown.1));
    if symbol != Symbol::Speck && (low - high).abs() > 1.0 {
        let width = if symbol == Symbol::Dot { 1.0 } else { 1.5 };
        scene.shapes.push(Shape::segment((x, low), (x, high), hue, width));
        // Pixels run down: the lower end of an interval has the larger one.
        for (end, cut, way) in [(low, whole.0 < shown.0, 6.0), (high, whole.1 > shown.1, -6.0)] {
            let points = match cut {
                true => vec![(x - 4.0, end - way), (x + 4.0, end - way), (x, end)],
                false => vec![(x - 3.0, end), (x + 3.0, end)],
            };
            scene.shapes.push(end_of_interval(points, hue, width));
        }
    }
    draw_symbol(symbol, (x, y), hue, scene);
    let half = (8.0, 8.0);
    scene.hotspots.push(Hotspot { centre: (x, y), half, text: point.text.clone() });
}

/// A cap, or an arrow where the interval goes on.
fn end_of_interval(points: Vec<(f64, f64)>, hue: Hue, width: f64) -> Shape {
    match points.len() {
        2 => Shape::Line { points, paint: hue.into(), width },
        _ => Shape::Area { points, paint: hue.into(), opacity: 1.0 },
    }
}

/// Draws a symbol around `centre`, with a rim that keeps it apart from lines below it.
pub(super) fn draw_symbol(symbol: Symbol, centre: (f64, f64), hue: Hue, scene: &mut Scene) {
    match symbol {
        Symbol::Circle | Symbol::Dot | Symbol::Speck => {
            let radius = if symbol == Symbol::Circle { RADIUS } else { DOT };
            let disc =
                |radius, hue: Hue| Shape::Circle { centre, radius, paint: hue.into(), ring: None };
            scene.shapes.extend([disc(radius + 1.0, Hue::Paper), disc(radius, hue)]);
        }
        Symbol::Ring => scene.shapes.push(Shape::Circle {
            centre,
            radius: RADIUS + 4.5,
            paint: hue.into(),
            ring: Some(2.0),
        }),
        Symbol::Square | Symbol::Triangle | Symbol::Diamond => {
            for (radius, hue) in [(RADIUS + 1.4, Hue::Paper), (RADIUS, hue)] {
                let points = corners(symbol, centre, radius);
                scene.shapes.push(Shape::Area { points, paint: hue.into(), opacity: 1.0 });
            }
        }
    }
}

fn corners(symbol: Symbol, (x, y): (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    let offsets: &[(f64, f64)] = match symbol {
        Symbol::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        Symbol::Triangle => &[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)],
        _ => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
    };
    offsets.iter().map(|(dx, dy)| (x + dx * radius, y + dy * radius)).collect()
}

fn draw_band(points: &[(f64, f64, f64)], hue: Hue, frame: &Frame, scene: &mut Scene) {
    let low = points.iter().map(|&(x, low, _)| (frame.x.at(x), frame.y.at(low)));
    let high = points.iter().rev().map(|&(x, _, high)| (frame.x.at(x), frame.y.at(high)));
    let points = low.chain(high).collect();
    scene.shapes.push(Shape::Area { points, paint: hue.into(), opacity: 0.2 });
}

fn draw_bar(bar: &Bar, hue: Hue, axis: &Axis, frame: &Frame, scene: &mut Scene) {
    let half = frame.y.unit() * bar.thickness / 2.0;
    let y = frame.y.at(bar.at);
    let (from, to) = (frame.x.at(bar.from), frame.x.at(bar.to.value));
    scene.shapes.push(Shape::rectangle((from, y - half), (to, y + half), hue, 1.0));
    let (shown, whole) = (axis.shown(&bar.to), bar.to.ends());
    let (low, high) = (frame.x.at(shown.0), frame.x.at(shown.1));
    if (high - low).abs() > 1.0 {
        scene.shapes.push(Shape::segment((low, y), (high, y), Hue::Ink, 1.5));
        for (end, cut, way) in [(low, whole.0 < shown.0, -6.0), (high, whole.1 > shown.1, 6.0)] {
            let points = match cut {
                true => vec![(end - way, y - 4.0), (end - way, y + 4.0), (end, y)],
                false => vec![(end, y - 4.0), (end, y + 4.0)],
            };
            scene.shapes.push(end_of_interval(points, Hue::Ink, 1.5));
        }
    }
    draw_bar_label(bar, axis, frame, scene);
    let centre = ((from + to) / 2.0, y);
    let half = ((to - from).abs() / 2.0 + 2.0, half);
    scene.hotspots.push(Hotspot { centre, half, text: bar.text.clone() });
}

/// The words of a bar behind its farther end, its interval included.
fn draw_bar_label(bar: &Bar, axis: &Axis, frame: &Frame, scene: &mut Scene) {
    let end = frame.x.at(bar.from.max(bar.to.value).max(axis.shown(&bar.to).1)) + 6.0;
    let left = end.min(frame.x.end + 18.0 - text_width(&bar.label, SMALL - 1.0));
    let at = (left, frame.y.at(bar.at));
    if !bar.label.is_empty() {
        scene.shapes.push(Shape::text(at, &bar.label, SMALL - 1.0, Hue::Ink, Anchor::Start));
    }
}

/// The distance from 1 at which the colours of a heat map saturate.
pub(super) fn heat_reach(cells: &[Tile]) -> f64 {
    cells.iter().map(|cell| (cell.value.value - 1.0).abs()).fold(0.0, f64::max).max(0.05)
}

fn draw_heat(cells: &[Tile], frame: &Frame, scene: &mut Scene) {
    let reach = heat_reach(cells);
    let half = (frame.x.unit() / 2.0, frame.y.unit() / 2.0);
    let written = half.0 > 15.0 && half.1 > 8.0;
    for cell in cells {
        let (x, y) = (frame.x.at(cell.x as f64), frame.y.at(cell.y as f64));
        let fill = diverging(cell.value.value, 1.0, reach);
        let (a, b) = ((x - half.0, y - half.1), (x + half.0, y + half.1));
        scene.shapes.push(Shape::rectangle(a, b, Paint::Fixed(fill), 1.0));
        if written {
            let text = format!("{:.2}", cell.value.value);
            let ink = Paint::Fixed(text_on(fill));
            scene.shapes.push(Shape::text((x, y), text, SMALL - 1.0, ink, Anchor::Middle));
        }
        scene.hotspots.push(Hotspot { centre: (x, y), half, text: cell.text.clone() });
    }
    draw_break_even(cells, frame, scene);
    for cell in cells {
        draw_cell_mark(cell, half, written, frame, scene);
    }
}

/// The border between cells that gain and cells that lose.
fn draw_break_even(cells: &[Tile], frame: &Frame, scene: &mut Scene) {
    let gains: std::collections::BTreeMap<_, _> =
        cells.iter().map(|cell| ((cell.x, cell.y), cell.value.value >= 1.0)).collect();
    for (&(x, y), &gain) in &gains {
        let (x0, y0) = (x as f64, y as f64);
        if gains.get(&(x + 1, y)).is_some_and(|other| *other != gain) {
            let x = frame.x.at(x0 + 0.5);
            let ends = ((x, frame.y.at(y0 - 0.5)), (x, frame.y.at(y0 + 0.5)));
            scene.shapes.push(Shape::segment(ends.0, ends.1, Paint::Fixed([0x10; 3]), 2.0));
        }
        if gains.get(&(x, y + 1)).is_some_and(|other| *other != gain) {
            let y = frame.y.at(y0 + 0.5);
            let ends = ((frame.x.at(x0 - 0.5), y), (frame.x.at(x0 + 0.5), y));
            scene.shapes.push(Shape::segment(ends.0, ends.1, Paint::Fixed([0x10; 3]), 2.0));
        }
    }
}

/// A frame inside the chosen cell; a dot in tied cells, below the number where there is one.
fn draw_cell_mark(cell: &Tile, half: (f64, f64), written: bool, frame: &Frame, scene: &mut Scene) {
    let (x, y) = (frame.x.at(cell.x as f64), frame.y.at(cell.y as f64));
    let paint = Paint::Fixed([0x10; 3]);
    match cell.mark {
        TileMark::None => {}
        TileMark::Choice => {
            let (a, b) = ((x - half.0, y - half.1), (x + half.0, y + half.1));
            for (inset, paint, width) in [(2.0, Paint::Fixed([0xFD; 3]), 5.0), (1.0, paint, 3.0)] {
                let (a, b) = ((a.0 + inset, a.1 + inset), (b.0 - inset, b.1 - inset));
                let points = vec![a, (b.0, a.1), b, (a.0, b.1), a];
                scene.shapes.push(Shape::Line { points, paint, width });
            }
        }
        TileMark::Tie => {
            let centre = if written { (x, y + half.1 - 4.5) } else { (x, y) };
            let disc = |radius, paint| Shape::Circle { centre, radius, paint, ring: None };
            scene.shapes.extend([disc(3.5, Paint::Fixed([0xFD; 3])), disc(2.5, paint)]);
        }
    }
}
