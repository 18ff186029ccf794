//! Draws a scene as SVG and as PNG: the only user of plotters, one code path for both.
//!
//! plotters places shapes on whole pixels, so everything is drawn at twice its size.

use crate::draw::palette::Hue;
use crate::draw::shape::{Anchor, Paint, Scene, Shape};
use crate::error::{Error, Result};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontFamily, FontStyle, IntoFont, RGBColor, ShapeStyle, TextStyle, register_font,
};
use std::sync::OnceLock;

/// The fonts that an SVG asks for: the one that PNGs are drawn with, then what every system has.
pub(crate) const FONT_STACK: &str = "DejaVu Sans, Verdana, Segoe UI, Helvetica, Arial, sans-serif";

/// Device pixels of one CSS pixel.
pub(crate) const ZOOM: f64 = 2.0;

/// plotters writes `size / 1.24` as the font size of an SVG.
const FONT_SCALE: f64 = 1.24;

/// plotters centres text of a bitmap on its capitals' top half; this share of the size lower is the
/// middle.
const BITMAP_DROP: f64 = 0.14;

/// DejaVu Sans 2.37, unmodified (`fonts/LICENSE`): a fresh machine has no fonts.
static FONT: &[u8] = include_bytes!("../../fonts/DejaVuSans.ttf");

/// The scene as an SVG document.
///
/// # Errors
/// When plotters refuses a shape.
pub fn svg(scene: &Scene) -> Result<String> {
    let mut text = String::new();
    draw(SVGBackend::with_string(&mut text, device_size(scene)), scene, 0.0)?;
    let (width, height) = device_size(scene);
    let written = format!("width=\"{width}\" height=\"{height}\" viewBox");
    let wanted = format!("width=\"{:.0}\" height=\"{:.0}\" viewBox", scene.width, scene.height);
    Ok(text.replacen(&written, &wanted, 1))
}

/// The scene as a PNG file, at twice its CSS size.
///
/// # Errors
/// When plotters refuses a shape or the picture cannot be encoded.
pub fn png(scene: &Scene) -> Result<Vec<u8>> {
    let (width, height) = device_size(scene);
    let mut pixels = vec![255; width as usize * height as usize * 3];
    draw(BitMapBackend::with_buffer(&mut pixels, (width, height)), scene, BITMAP_DROP)?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

fn device_size(scene: &Scene) -> (u32, u32) {
    ((scene.width * ZOOM).ceil() as u32, (scene.height * ZOOM).ceil() as u32)
}

fn draw<B: DrawingBackend>(backend: B, scene: &Scene, drop: f64) -> Result<()> {
    font()?;
    let area = backend.into_drawing_area();
    area.fill(&colour(Hue::Paper.into())).map_err(|e| Error::drawing(&e))?;
    for shape in &scene.shapes {
        draw_shape(&area, shape, drop)?;
    }
    area.present().map_err(|e| Error::drawing(&e))
}

fn draw_shape<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    shape: &Shape,
    drop: f64,
) -> Result<()> {
    let drawn = match shape {
        Shape::Line { points, paint, width } => {
            area.draw(&PathElement::new(pixels(points), stroke(*paint, *width)))
        }
        Shape::Area { points, paint, opacity } => {
            area.draw(&Polygon::new(pixels(points), colour(*paint).mix(*opacity)))
        }
        Shape::Circle { centre, radius, paint, ring } => {
            let style = match ring {
                Some(width) => stroke(*paint, *width),
                None => colour(*paint).filled(),
            };
            area.draw(&Circle::new(pixel(*centre), (radius * ZOOM).round() as u32, style))
        }
        Shape::Text { at, text, size, paint, anchor } => {
            let at = pixel((at.0, at.1 + drop * size));
            area.draw(&Text::new(printable(text), at, text_style(*size, *paint, *anchor)))
        }
    };
    drawn.map_err(|e| Error::drawing(&e))
}

fn text_style(size: f64, paint: Paint, anchor: Anchor) -> TextStyle<'static> {
    let horizontal = match anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let font = (FontFamily::Name(FONT_STACK), size * FONT_SCALE * ZOOM).into_font();
    let mut style = TextStyle::from(font).pos(Pos::new(horizontal, VPos::Center));
    style.color = colour(paint).to_backend_color();
    style
}

/// Registers the font once.
fn font() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || register_font(FONT_STACK, FontStyle::Normal, FONT).is_ok();
    if *REGISTERED.get_or_init(register) { Ok(()) } else { Err(Error::Font) }
}

fn pixel((x, y): (f64, f64)) -> (i32, i32) {
    ((x * ZOOM).round() as i32, (y * ZOOM).round() as i32)
}

fn pixels(points: &[(f64, f64)]) -> Vec<(i32, i32)> {
    points.iter().copied().map(pixel).collect()
}

fn colour(paint: Paint) -> RGBColor {
    let [r, g, b] = match paint {
        Paint::Hue(hue) => hue.rgb(),
        Paint::Fixed(rgb) => rgb,
    };
    RGBColor(r, g, b)
}

fn stroke(paint: Paint, width: f64) -> ShapeStyle {
    colour(paint).stroke_width((width * ZOOM).round().max(1.0) as u32)
}

/// The text without control characters, which XML does not allow.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::shape::Anchor;

    fn scene(text: &str) -> Scene {
        let shapes = vec![Shape::text((10.0, 10.0), text, 12.0, Hue::Ink, Anchor::Start)];
        Scene { width: 60.0, height: 20.0, shapes, hotspots: Vec::new() }
    }

    /// source: XML 1.0, production 2: neither U+FFFE nor U+FFFF is a character of a document.
    #[test]
    fn svg_holds_no_character_that_xml_does_not_have() {
        let svg = svg(&scene("a\u{FFFE}b\u{FFFF}c")).unwrap();
        assert!(svg.contains("a\u{FFFD}b\u{FFFD}c"), "{svg}");
        assert!(!svg.contains(['\u{FFFE}', '\u{FFFF}']), "{svg}");
    }

    #[test]
    fn svg_escapes_what_it_is_given() {
        let svg = svg(&scene("<b>&\u{1}")).unwrap();
        assert!(svg.contains("&lt;b&gt;&amp;\u{fffd}\n") && !svg.contains('\u{1}'), "{svg}");
        assert!(svg.contains("width=\"60\" height=\"20\" viewBox=\"0 0 120 40\""), "{svg}");
    }

    #[test]
    fn png_draws_text_without_system_fonts() {
        let (blank, words) = (png(&scene("")).unwrap(), png(&scene("words")).unwrap());
        assert!(blank.starts_with(b"\x89PNG"));
        assert!(words.len() > blank.len(), "no ink for the words");
    }
}
