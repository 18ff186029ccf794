//! The axes of a figure with all that stands in them.

use crate::draw::frame::{Frame, Size};
use crate::draw::shape::Scene;
use crate::draw::{labels, marks};
use crate::figure::Figure;

/// Draws all of `figure` but the legend; returns where that may start.
pub(crate) fn plot(figure: &Figure, size: Size, scene: &mut Scene) -> f64 {
    let frame = Frame::of(figure, size);
    frame.draw_back(figure, scene);
    let mut series: Vec<_> = figure.series.iter().collect();
    series.sort_by_key(|series| series.mark.layer());
    let (areas, lines): (Vec<_>, Vec<_>) = series.into_iter().partition(|s| s.mark.layer() == 0);
    areas.into_iter().for_each(|series| marks::draw(series, figure, &frame, scene));
    figure.notes.iter().for_each(|note| marks::draw_note(note, &frame, scene));
    lines.into_iter().for_each(|series| marks::draw(series, figure, &frame, scene));
    labels::draw_ends(figure, &frame, scene);
    labels::draw(figure, &frame, scene);
    frame.bottom(figure)
}
