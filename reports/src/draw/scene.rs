//! A figure laid out: shapes at pixels, before anything is drawn.
//!
//! Pure: the same figure gives the same scene on every machine, so text is measured by an estimate
//! wide enough for any sans-serif font. The legend stands below the axes, never over data.

use crate::draw::frame::Size;
use crate::draw::plot::plot;
use crate::draw::shape::{Scene, WIDTH};
use crate::draw::{legend, panels};
use crate::figure::Figure;

/// Lays `figure` out.
pub fn scene(figure: &Figure) -> Scene {
    if !figure.panels.is_empty() {
        return panels::scene(figure);
    }
    let mut scene = Scene { width: WIDTH, ..Scene::default() };
    let bottom = plot(figure, Size::of(figure), &mut scene);
    scene.height = legend::draw(figure, bottom, &mut scene) + 8.0;
    scene
}
