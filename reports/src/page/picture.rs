//! A figure as a page shows it: drawn, with words at its values.

use crate::draw::shape::Hotspot;
use crate::draw::{chart, scene};
use crate::error::Result;
use crate::figure::Figure;
use serde::Serialize;

/// A drawn figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Picture {
    name: String,
    title: String,
    caption: String,
    /// The SVG document between the first word of its opening tag and its closing tag.
    drawing: String,
    spots: Vec<Spot>,
}

/// Words of a value, shown when a reader points at it; in device pixels of the drawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Spot {
    x: String,
    y: String,
    width: String,
    height: String,
    words: String,
}

impl Picture {
    /// Draws `figure`.
    ///
    /// # Errors
    /// When plotters refuses a shape.
    pub(crate) fn new(figure: &Figure) -> Result<Self> {
        let scene = scene::scene(figure);
        let svg = chart::svg(&scene)?;
        let inner = svg.trim().trim_start_matches("<svg ").trim_end_matches("</svg>");
        Ok(Self {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: figure.caption.clone(),
            drawing: inner.into(),
            spots: scene.hotspots.iter().map(Spot::new).collect(),
        })
    }

    /// The figures whose name starts with one of `names`, in the order of `names`.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub(crate) fn of(figures: &[Figure], names: &[&str]) -> Result<Vec<Self>> {
        let named = |name: &&str| {
            let name = name.to_string();
            figures.iter().filter(move |figure| belongs(&figure.name, &name))
        };
        names.iter().flat_map(named).map(Self::new).collect()
    }
}

impl Spot {
    fn new(spot: &Hotspot) -> Self {
        let pixels = |length: f64| format!("{:.0}", length * chart::ZOOM);
        Self {
            x: pixels(spot.centre.0 - spot.half.0),
            y: pixels(spot.centre.1 - spot.half.1),
            width: pixels(spot.half.0 * 2.0),
            height: pixels(spot.half.1 * 2.0),
            words: spot.text.clone(),
        }
    }
}

/// Whether a figure is `name` itself or that of one drafting.
pub(crate) fn belongs(figure: &str, name: &str) -> bool {
    figure == name
        || figure
            .strip_prefix(name)
            .is_some_and(|rest| ["_simultaneous", "_sequential"].contains(&rest))
}
