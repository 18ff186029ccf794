//! The frame of a figure: title, axes, ticks, grid.

use crate::draw::palette::Hue;
use crate::draw::scale::{Scale, range, tick_labels, ticks};
use crate::draw::shape::{Anchor, SMALL, Scene, Shape, WIDTH, text_width, wrap};
use crate::figure::{Axis, Figure, Mark};

/// Size of the title.
const TITLE: f64 = 15.0;

/// Pixels from one title line to the next.
const TITLE_LINE: f64 = 20.0;

/// How large a figure is drawn, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    /// Width of the figure.
    pub width: f64,
    /// Height of the data area.
    pub height: f64,
    /// Size of the title.
    pub title: f64,
}

impl Size {
    /// A figure by itself; its height follows from what is drawn.
    pub(super) fn of(figure: &Figure) -> Self {
        Self { width: WIDTH, height: plot_height(figure), title: TITLE }
    }
}

/// Where data is drawn, and the scales that lead there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    /// Horizontal scale.
    pub x: Scale,
    /// Vertical scale; its start is at the bottom.
    pub y: Scale,
    title: Vec<String>,
    title_size: f64,
    x_ticks: Vec<(f64, Vec<String>)>,
    y_ticks: Vec<(f64, Vec<String>)>,
}

impl Frame {
    /// Margins follow from the labels, the height from what is drawn.
    pub(super) fn of(figure: &Figure, size: Size) -> Self {
        let title = wrap(&figure.title, size.title, size.width - 20.0);
        let label = if figure.y.label.is_empty() { 6.0 } else { 30.0 };
        let top = 10.0 + TITLE_LINE * title.len() as f64 + label;
        let height = size.height;
        let pitch = if is_heat(figure) { 18.0 } else { 42.0 };
        let y_range = range(figure, false);
        let y_ticks = labelled_ticks(&figure.y, y_range, (height / pitch) as usize);
        let left = 18.0 + widest(&y_ticks).min(170.0);
        let right = size.width - 22.0;
        let x_range = range(figure, true);
        let pitch = if is_heat(figure) { 36.0 } else { 62.0 };
        let columns = ((right - left) / pitch) as usize;
        let x_ticks = labelled_ticks(&figure.x, x_range, columns);
        Self {
            x: Scale { low: x_range.0, high: x_range.1, start: left, end: right },
            y: Scale { low: y_range.0, high: y_range.1, start: top + height, end: top },
            title,
            title_size: size.title,
            x_ticks,
            y_ticks,
        }
        .thinned()
    }

    /// Leaves out horizontal labels that would touch each other.
    fn thinned(mut self) -> Self {
        let gap = widest(&self.x_ticks) + 10.0;
        let pitch = match self.x_ticks.as_slice() {
            [first, second, ..] => (self.x.at(second.0) - self.x.at(first.0)).abs(),
            _ => return self,
        };
        let every = (gap / pitch.max(1e-9)).ceil().max(1.0) as usize;
        let mut index = 0;
        self.x_ticks.retain(|_| {
            index += 1;
            (index - 1) % every == 0
        });
        self
    }

    /// The pixel below which the legend starts.
    pub(super) fn bottom(&self, figure: &Figure) -> f64 {
        self.y.start + if figure.x.label.is_empty() { 26.0 } else { 48.0 }
    }

    /// Draws all that lies behind the data.
    pub(super) fn draw_back(&self, figure: &Figure, scene: &mut Scene) {
        self.draw_title(figure, scene);
        self.draw_grid(figure, scene);
        self.draw_tick_labels(scene);
        let middle = (self.x.start + self.x.end) / 2.0;
        let at = (middle, self.y.start + 36.0);
        scene.shapes.push(Shape::text(at, &figure.x.label, SMALL, Hue::Muted, Anchor::Middle));
    }

    fn draw_title(&self, figure: &Figure, scene: &mut Scene) {
        for (line, text) in self.title.iter().enumerate() {
            let at = (10.0, 18.0 + TITLE_LINE * line as f64);
            scene.shapes.push(Shape::text(at, text, self.title_size, Hue::Ink, Anchor::Start));
        }
        let at = (10.0, self.y.end - 16.0);
        scene.shapes.push(Shape::text(at, &figure.y.label, SMALL, Hue::Muted, Anchor::Start));
    }

    fn draw_grid(&self, figure: &Figure, scene: &mut Scene) {
        if figure.y.categories.is_empty() {
            for (value, _) in &self.y_ticks {
                let y = self.y.at(*value);
                let line = Shape::segment((self.x.start, y), (self.x.end, y), Hue::Grid, 1.0);
                scene.shapes.push(line);
            }
        } else {
            for (value, _) in &self.x_ticks {
                let x = self.x.at(*value);
                let line = Shape::segment((x, self.y.start), (x, self.y.end), Hue::Grid, 1.0);
                scene.shapes.push(line);
            }
        }
        let corner = (self.x.start, self.y.start);
        scene.shapes.push(Shape::segment(corner, (self.x.end, self.y.start), Hue::Muted, 1.0));
        scene.shapes.push(Shape::segment(corner, (self.x.start, self.y.end), Hue::Muted, 1.0));
    }

    fn draw_tick_labels(&self, scene: &mut Scene) {
        for (value, lines) in &self.x_ticks {
            let x = self.x.at(*value);
            let foot = (x, self.y.start + 4.0);
            scene.shapes.push(Shape::segment((x, self.y.start), foot, Hue::Muted, 1.0));
            let at = (x, self.y.start + 14.0);
            scene.shapes.push(Shape::text(at, lines.join(" "), SMALL, Hue::Muted, Anchor::Middle));
        }
        for (value, lines) in &self.y_ticks {
            for (i, line) in lines.iter().enumerate() {
                let shift = (i as f64 - (lines.len() as f64 - 1.0) / 2.0) * 14.0;
                let at = (self.x.start - 7.0, self.y.at(*value) + shift);
                scene.shapes.push(Shape::text(at, line, SMALL, Hue::Muted, Anchor::End));
            }
        }
    }
}

/// Pixels of the data area from top to bottom.
fn plot_height(figure: &Figure) -> f64 {
    if !figure.y.categories.is_empty() {
        return (34.0 * figure.y.categories.len() as f64).clamp(90.0, 420.0);
    }
    if is_heat(figure) {
        let (low, high) = range(figure, false);
        return (26.0 * (high - low)).clamp(78.0, 420.0);
    }
    250.0
}

fn is_heat(figure: &Figure) -> bool {
    figure.series.iter().any(|series| matches!(series.mark, Mark::Heat { .. }))
}

/// Tick places with their labels, broken into lines.
fn labelled_ticks(axis: &Axis, (low, high): (f64, f64), count: usize) -> Vec<(f64, Vec<String>)> {
    if !axis.categories.is_empty() {
        let named = axis.categories.iter().enumerate();
        return named.map(|(i, name)| (i as f64, wrap(name, SMALL, 165.0))).collect();
    }
    let places = ticks(low, high, count, axis.quantity);
    let labels = tick_labels(&places, axis.quantity);
    places.into_iter().zip(labels.into_iter().map(|label| vec![label])).collect()
}

fn widest(ticks: &[(f64, Vec<String>)]) -> f64 {
    let widths = ticks.iter().flat_map(|(_, lines)| lines).map(|line| text_width(line, SMALL));
    widths.fold(0.0, f64::max)
}
