//! What a figure is made of once it is laid out: shapes at pixels, and the estimate of a text's
//! width.

use crate::draw::palette::Hue;
use crate::format::html::legal;

/// Width of every figure in CSS pixels; chosen so that 13-pixel text is still legible when a phone
/// of 390 pixels shows the figure at three quarters.
pub const WIDTH: f64 = 480.0;

/// Size of the text at ticks and in legends.
pub(crate) const SMALL: f64 = 12.0;

/// A colour of a shape: by role, so that pages can restyle it, or fixed (cells of a heat map).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Paint {
    /// By role.
    Hue(Hue),
    /// Fixed red, green, blue.
    Fixed([u8; 3]),
}

impl From<Hue> for Paint {
    fn from(hue: Hue) -> Self {
        Self::Hue(hue)
    }
}

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The point is at its left.
    Start,
    /// The point is in its middle.
    Middle,
    /// The point is at its right.
    End,
}

/// Something to draw; pixels, the vertical axis runs down.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// An open line.
    Line {
        /// Its corners.
        points: Vec<(f64, f64)>,
        /// Its colour.
        paint: Paint,
        /// Its width.
        width: f64,
    },
    /// A filled polygon.
    Area {
        /// Its corners.
        points: Vec<(f64, f64)>,
        /// Its colour.
        paint: Paint,
        /// 1 = opaque.
        opacity: f64,
    },
    /// A disc or, with a width, a ring.
    Circle {
        /// Its centre.
        centre: (f64, f64),
        /// Its radius.
        radius: f64,
        /// Its colour.
        paint: Paint,
        /// Width of the ring; null for a disc.
        ring: Option<f64>,
    },
    /// A line of text, centred vertically on its point.
    Text {
        /// Its point.
        at: (f64, f64),
        /// Its words.
        text: String,
        /// Its size.
        size: f64,
        /// Its colour.
        paint: Paint,
        /// Where it stands.
        anchor: Anchor,
    },
}

impl Shape {
    /// An axis-parallel filled rectangle.
    pub(crate) fn rectangle(
        a: (f64, f64),
        b: (f64, f64),
        paint: impl Into<Paint>,
        opacity: f64,
    ) -> Self {
        let points = vec![a, (b.0, a.1), b, (a.0, b.1)];
        Self::Area { points, paint: paint.into(), opacity }
    }

    /// A line of text.
    pub fn text(
        at: (f64, f64),
        text: impl Into<String>,
        size: f64,
        paint: impl Into<Paint>,
        anchor: Anchor,
    ) -> Self {
        let text = text.into().chars().map(legal).collect();
        Self::Text { at, text, size, paint: paint.into(), anchor }
    }

    /// A straight line.
    pub(crate) fn segment(
        a: (f64, f64),
        b: (f64, f64),
        paint: impl Into<Paint>,
        width: f64,
    ) -> Self {
        Self::Line { points: vec![a, b], paint: paint.into(), width }
    }
}

/// A place that says more when a reader points at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hotspot {
    /// Its middle.
    pub centre: (f64, f64),
    /// Half its width and height.
    pub half: (f64, f64),
    /// What it says.
    pub text: String,
}

/// A figure laid out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// Width in CSS pixels.
    pub width: f64,
    /// Height in CSS pixels.
    pub height: f64,
    /// What is drawn, back to front.
    pub shapes: Vec<Shape>,
    /// Where a reader can point.
    pub hotspots: Vec<Hotspot>,
}

impl Scene {
    /// Adds another scene, moved by `(dx, dy)` pixels.
    pub fn add(&mut self, other: Self, (dx, dy): (f64, f64)) {
        let at = |(x, y): (f64, f64)| (x + dx, y + dy);
        let moved = |shape| match shape {
            Shape::Line { points, paint, width } => {
                Shape::Line { points: points.into_iter().map(at).collect(), paint, width }
            }
            Shape::Area { points, paint, opacity } => {
                Shape::Area { points: points.into_iter().map(at).collect(), paint, opacity }
            }
            Shape::Circle { centre, radius, paint, ring } => {
                Shape::Circle { centre: at(centre), radius, paint, ring }
            }
            Shape::Text { at: place, text, size, paint, anchor } => {
                Shape::Text { at: at(place), text, size, paint, anchor }
            }
        };
        self.shapes.extend(other.shapes.into_iter().map(moved));
        let spots = other.hotspots.into_iter();
        self.hotspots.extend(spots.map(|spot| Hotspot { centre: at(spot.centre), ..spot }));
    }
}

/// An estimate of a text's width, on the wide side for the fonts named in `chart::FONT_STACK`.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if c.is_ascii() { 0.64 } else { 0.8 }).sum::<f64>() * size
}

/// Breaks `text` at spaces into lines of at most `width` pixels (a longer word stays whole).
pub(crate) fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + size * 0.6 <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_spaces() {
        assert_eq!(wrap("one two three", 10.0, 50.0), ["one two", "three"]);
        assert_eq!(wrap("", 10.0, 50.0), Vec::<String>::new());
        assert_eq!(wrap("unbreakable", 10.0, 5.0), ["unbreakable"]);
    }
}
