//! Small figures side by side under one title, with one legend: many curves that would hide each
//! other in one figure.

use crate::draw::frame::Size;
use crate::draw::legend;
use crate::draw::palette::Hue;
use crate::draw::plot::plot;
use crate::draw::shape::{Anchor, SMALL, Scene, Shape, WIDTH, wrap};
use crate::figure::{Figure, Series};

/// Panels in a row.
const COLUMNS: usize = 2;

/// Pixels from the top to the bottom of a panel's data area.
const HEIGHT: f64 = 120.0;

/// Size of the whole figure's title.
const TITLE: f64 = 15.0;

/// Lays the panels of `figure` out.
pub(super) fn scene(figure: &Figure) -> Scene {
    let mut scene = Scene { width: WIDTH, ..Scene::default() };
    let mut top = 8.0;
    for line in wrap(&figure.title, TITLE, WIDTH - 20.0) {
        let at = (10.0, top + 10.0);
        scene.shapes.push(Shape::text(at, line, TITLE, Hue::Ink, Anchor::Start));
        top += 20.0;
    }
    let at = (10.0, top + 10.0);
    scene.shapes.push(Shape::text(at, &figure.y.label, SMALL, Hue::Muted, Anchor::Start));
    top += 22.0;
    let width = WIDTH / COLUMNS as f64;
    for row in figure.panels.chunks(COLUMNS) {
        let mut height: f64 = 0.0;
        for (column, panel) in row.iter().enumerate() {
            let mut small = Scene::default();
            let size = Size { width, height: HEIGHT, title: SMALL + 1.0 };
            height = height.max(plot(panel, size, &mut small));
            scene.add(small, (width * column as f64, top));
        }
        top += height;
    }
    let at = (WIDTH / 2.0, top + 6.0);
    scene.shapes.push(Shape::text(at, &figure.x.label, SMALL, Hue::Muted, Anchor::Middle));
    scene.height = legend::draw(&listed(figure), top + 18.0, &mut scene) + 8.0;
    scene
}

/// A figure that holds each listed series of the panels once.
fn listed(figure: &Figure) -> Figure {
    let mut all: Vec<&Series> = Vec::new();
    for series in figure.panels.iter().flat_map(|panel| &panel.series) {
        if !all.iter().any(|other| other.label == series.label) {
            all.push(series);
        }
    }
    let series = all.into_iter().cloned().collect();
    Figure { series, panels: Vec::new(), ..figure.clone() }
}
