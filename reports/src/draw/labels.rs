//! The words beside labelled points and at the ends of lines.

use crate::draw::frame::Frame;
use crate::draw::palette::Hue;
use crate::draw::shape::{Anchor, SMALL, Scene, Shape, text_width};
use crate::figure::{Figure, Mark, Point};

/// Writes the words of labelled points where they cover neither a point nor other words; words that
/// find no place are left to the table.
pub(super) fn draw(figure: &Figure, frame: &Frame, scene: &mut Scene) {
    let mut taken: Vec<[f64; 4]> = Vec::new();
    let mut labelled: Vec<((f64, f64), &Point)> = Vec::new();
    for series in &figure.series {
        if let Mark::Points { points, .. } = &series.mark {
            for point in points {
                let (x, y) = (frame.x.at(point.x), frame.y.at(point.y.value));
                taken.push([x - 5.0, y - 5.0, x + 5.0, y + 5.0]);
                let (low, high) = figure.y.shown(&point.y);
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

/// Pixels between two words at the ends of lines.
const END_PITCH: f64 = 11.0;

/// Writes the words of lines at the end where the lines lie farther apart, moved up or down where
/// they would touch.
pub(super) fn draw_ends(figure: &Figure, frame: &Frame, scene: &mut Scene) {
    let mut ends: Vec<[(f64, f64); 2]> = Vec::new();
    let mut words = Vec::new();
    for series in &figure.series {
        let (Some(text), Mark::Line { points, .. }) = (&series.end, &series.mark) else { continue };
        let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
        ends.push([*first, *last].map(|(x, y)| (frame.x.at(x), frame.y.at(y))));
        words.push((text, series.hue));
    }
    let spread = |side: usize| {
        let heights = || ends.iter().map(|ends| ends[side].1);
        heights().fold(f64::NEG_INFINITY, f64::max) - heights().fold(f64::INFINITY, f64::min)
    };
    let side = usize::from(spread(1) >= spread(0));
    let mut order: Vec<usize> = (0..ends.len()).collect();
    order.sort_by(|&a, &b| ends[a][side].1.total_cmp(&ends[b][side].1));
    let heights: Vec<f64> = order.iter().map(|&index| ends[index][side].1).collect();
    for (&index, height) in order.iter().zip(apart(&heights, (frame.y.end, frame.y.start))) {
        let ((x, y), (text, hue)) = (ends[index][side], &words[index]);
        let (at, anchor) = match side {
            0 => ((x - 7.0, height), Anchor::End),
            _ => ((x + 7.0, height), Anchor::Start),
        };
        let foot = (if side == 0 { x - 5.0 } else { x + 5.0 }, height);
        scene.shapes.push(Shape::segment((x, y), foot, *hue, 0.8));
        scene.shapes.push(Shape::text(at, text.as_str(), SMALL - 1.0, *hue, anchor));
    }
}

/// Heights that rise, moved apart until no two are closer than the pitch: those that touch spread
/// around their middle, inside the frame where there is room.
fn apart(heights: &[f64], (top, bottom): (f64, f64)) -> Vec<f64> {
    // Groups of neighbours: how many, and the middle of their wanted heights.
    let mut groups: Vec<(usize, f64)> = Vec::new();
    for &height in heights {
        groups.push((1, height));
        while let [.., (few, above), (many, below)] = groups[..] {
            let reach = END_PITCH * (few + many) as f64 / 2.0;
            if below - above >= reach {
                break;
            }
            let all = few + many;
            let middle = (above * few as f64 + below * many as f64) / all as f64;
            groups.truncate(groups.len() - 2);
            groups.push((all, middle));
        }
    }
    let spread = |(count, middle): (usize, f64)| {
        let half = END_PITCH * (count as f64 - 1.0) / 2.0;
        let middle = middle.max(top + half).min((bottom - half).max(top + half));
        (0..count).map(move |place| middle - half + END_PITCH * place as f64)
    };
    groups.into_iter().flat_map(spread).collect()
}

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_would_touch_move_apart_around_their_middle() {
        // source: by hand, with a pitch of 11
        assert_eq!(apart(&[10.0, 50.0, 52.0], (0.0, 100.0)), [10.0, 45.5, 56.5]);
        assert_eq!(apart(&[99.0, 99.0], (0.0, 100.0)), [89.0, 100.0]);
        assert_eq!(apart(&[], (0.0, 100.0)), Vec::<f64>::new());
    }
}
