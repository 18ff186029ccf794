//! Colours with a meaning: the same thing has the same colour on every figure.
//!
//! The hues are those of Okabe and Ito (2008, "Color Universal Design"), which people with any of
//! the common colour-vision deficiencies can tell apart; its light yellow is darkened to be seen on
//! white.

use s3d_data::Drafting;
use s3d_simulator::Family;
use serde::Serialize;

/// A colour by its role. Pages restyle each hue for a dark background by its hexadecimal code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hue {
    /// Text, and what was measured over all.
    Ink,
    /// Axes, second-rank text, reference lines.
    Muted,
    /// Grid lines.
    Grid,
    /// The background.
    Paper,
    /// Okabe-Ito blue.
    Blue,
    /// Okabe-Ito orange.
    Orange,
    /// Okabe-Ito bluish green.
    Green,
    /// Okabe-Ito vermillion.
    Vermillion,
    /// Okabe-Ito reddish purple.
    Purple,
    /// Okabe-Ito sky blue.
    Sky,
    /// Okabe-Ito yellow, darkened.
    Olive,
    /// Grey, in place of black among the series.
    Grey,
}

/// The series hues, in the order in which a list of things takes them.
const SERIES: [Hue; 8] = [
    Hue::Blue,
    Hue::Orange,
    Hue::Green,
    Hue::Vermillion,
    Hue::Purple,
    Hue::Sky,
    Hue::Olive,
    Hue::Grey,
];

impl Hue {
    /// The hue of the `index`-th of a list of things (from 0); repeats after eight.
    pub(crate) fn of_index(index: usize) -> Self {
        SERIES[index % SERIES.len()]
    }

    /// The hue of predictor `i`, and of the curve that drafts `i` tokens (from 1).
    pub(crate) fn of_predictor(predictor: usize) -> Self {
        Self::of_index(predictor.saturating_sub(1))
    }

    /// The hue of a drafting.
    pub fn of_drafting(drafting: Drafting) -> Self {
        match drafting {
            Drafting::Simultaneous => Self::Blue,
            Drafting::Sequential => Self::Vermillion,
        }
    }

    /// The hue of a family of acceptance curves.
    pub(crate) fn of_family(family: Family) -> Self {
        let place = Family::ALL.iter().position(|known| *known == family);
        Self::of_index(place.unwrap_or(SERIES.len() - 1))
    }

    /// Red, green and blue.
    pub(crate) fn rgb(self) -> [u8; 3] {
        match self {
            Self::Ink => [0x1B, 0x1B, 0x1F],
            Self::Muted => [0x5B, 0x60, 0x68],
            Self::Grid => [0xE1, 0xE4, 0xE8],
            Self::Paper => [0xFF, 0xFF, 0xFF],
            Self::Blue => [0x00, 0x72, 0xB2],
            Self::Orange => [0xE6, 0x9F, 0x00],
            Self::Green => [0x00, 0x9E, 0x73],
            Self::Vermillion => [0xD5, 0x5E, 0x00],
            Self::Purple => [0xCC, 0x79, 0xA7],
            Self::Sky => [0x56, 0xB4, 0xE9],
            Self::Olive => [0xA8, 0x9A, 0x00],
            Self::Grey => [0x80, 0x80, 0x80],
        }
    }

    /// All hues.
    pub const ALL: [Self; 12] = [
        Self::Ink,
        Self::Muted,
        Self::Grid,
        Self::Paper,
        Self::Blue,
        Self::Orange,
        Self::Green,
        Self::Vermillion,
        Self::Purple,
        Self::Sky,
        Self::Olive,
        Self::Grey,
    ];

    /// The hexadecimal code that stands for it on a dark page.
    pub(crate) fn dark_hex(self) -> &'static str {
        match self {
            Self::Ink => "#ECEDEF",
            Self::Muted => "#A9AFB8",
            Self::Grid => "#333941",
            Self::Paper => "#1A1D22",
            Self::Blue => "#3F9BDC",
            Self::Orange => "#F0B030",
            Self::Green => "#25BF92",
            Self::Vermillion => "#F07F35",
            Self::Purple => "#E098C0",
            Self::Sky => "#93D3F7",
            Self::Olive => "#D2C535",
            Self::Grey => "#9A9A9A",
        }
    }

    /// The hexadecimal code as SVG files carry it, such as `#0072B2`.
    pub fn hex(self) -> String {
        let [r, g, b] = self.rgb();
        format!("#{r:02X}{g:02X}{b:02X}")
    }
}

/// Cells keep their colour on a dark page: a shade beside Okabe-Ito blue, which is restyled there.
const GAIN: [u8; 3] = [0x00, 0x71, 0xB1];

/// Likewise beside Okabe-Ito orange.
const LOSS: [u8; 3] = [0xE5, 0x9E, 0x01];

/// The fill of a heat-map cell: white at `middle`, towards blue above it and orange below it,
/// saturated where the value is `reach` away.
pub(crate) fn diverging(value: f64, middle: f64, reach: f64) -> [u8; 3] {
    let share = if reach > 0.0 { ((value - middle) / reach).clamp(-1.0, 1.0) } else { 0.0 };
    let full = if share < 0.0 { LOSS } else { GAIN };
    full.map(|channel| {
        let white = 252.0;
        (white + (f64::from(channel) - white) * share.abs()).round() as u8
    })
}

/// Black or white, whichever reads better on `fill` (relative luminance as in WCAG 2, without
/// gamma).
pub(crate) fn text_on(fill: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = fill.map(f64::from);
    let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    if luminance > 118.0 { [0x10, 0x10, 0x10] } else { [0xFD, 0xFD, 0xFD] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_is_white_at_break_even_and_saturates() {
        assert_eq!(diverging(1.0, 1.0, 0.5), [252; 3]);
        assert_eq!(diverging(9.0, 1.0, 0.5), GAIN);
        assert_eq!(diverging(0.0, 1.0, 0.5), LOSS);
        assert_eq!(text_on(Hue::Blue.rgb()), [0xFD; 3]);
        assert_eq!(text_on([252; 3]), [0x10; 3]);
    }

    #[test]
    fn series_hues_differ() {
        let codes: std::collections::BTreeSet<_> = SERIES.iter().map(|hue| hue.hex()).collect();
        assert_eq!(codes.len(), SERIES.len());
    }
}
