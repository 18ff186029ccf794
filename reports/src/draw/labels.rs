//! The words beside labelled points.

use crate::draw::frame::Frame;
use crate::draw::palette::Hue;
use crate::draw::shape::{Anchor, SMALL, Scene, Shape, text_width};
use crate::figure::{Figure, Mark, Point};

/// Writes the words of labelled points where they cover neither a point nor other words; words that
/// find no place are left to the table.
pub fn draw(figure: &Figure, frame: &Frame, scene: &mut Scene) {
    let mut taken: Vec<[f64; 4]> = Vec::new();
    let mut labelled: Vec<((f64, f64), &Point)> = Vec::new();
    for series in &figure.series {
        if let Mark::Points { points, .. } = &series.mark {
            for point in points {
                let (x, y) = (frame.x.at(point.x), frame.y.at(point.y.value));
                taken.push([x - 5.0, y - 5.0, x + 5.0, y + 5.0]);
                let (low, high) = point.y.ends();
                let interval = (frame.y.at(high), frame.y.at(low));
                taken.push([x - 2.0, interval.0, x + 2.0, interval.1]);
                if point.labelled {
                    labelled.push(((x, y), point));
                }
            }
        }
    }
    // What was added last lies in front, and its words come first.
    for (at, point) in labelled.into_iter().rev() {
        place_label(at, &point.text, &mut taken, frame, scene);
    }
}

fn place_label(
    (x, y): (f64, f64),
    text: &str,
    taken: &mut Vec<[f64; 4]>,
    frame: &Frame,
    scene: &mut Scene,
) {
    let size = SMALL - 1.0;
    let width = text_width(text, size);
    let (right, left, middle) = (x + 9.0, x - 9.0 - width, x - width / 2.0);
    let places = [(right, 0.0), (left, 0.0), (middle, -14.0), (middle, 14.0), (right, 14.0)];
    let farther = [(left, 14.0), (right, -14.0), (left, -14.0), (middle, 28.0), (middle, -28.0)];
    for (left, drop) in places.into_iter().chain(farther) {
        let middle = y + drop;
        let area = [left, middle - 7.0, left + width, middle + 7.0];
        let inside = left > frame.x.start && area[2] < frame.x.end + 18.0;
        let inside = inside && area[1] > frame.y.end - 8.0 && area[3] < frame.y.start;
        if inside && !taken.iter().any(|other| overlap(other, &area)) {
            let (from, to) = ((area[0], area[1]), (area[2], area[3]));
            scene.shapes.push(Shape::rectangle(from, to, Hue::Paper, 0.8));
            scene.shapes.push(Shape::text((left, middle), text, size, Hue::Ink, Anchor::Start));
            taken.push(area);
            return;
        }
    }
}

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}
