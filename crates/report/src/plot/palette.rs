//! Colours in light and dark, and how they are written into SVG.
//!
//! Every element carries its light colour as an attribute, which any program that reads SVG
//! understands, and a class, by which a browser in dark mode replaces it.

use std::fmt::Write as _;

use crate::ColourMap;

/// A colour of lines, points and words, by its place in [`INKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink(u8);

impl Ink {
    /// The colour of text.
    pub(crate) const TEXT: Self = Self(0);
    /// Grey.
    pub(crate) const MUTED: Self = Self(SERIES as u8);

    /// The colour of a series; 0 is that of text, and the others repeat without it.
    pub(crate) fn series(index: usize) -> Self {
        Self(index.checked_sub(1).map_or(0, |i| 1 + i % (SERIES - 1)) as u8)
    }

    fn entry(self) -> (&'static str, [&'static str; 4]) {
        INKS[usize::from(self.0)]
    }
}

/// Colours before they repeat.
pub(crate) const SERIES: usize = 7;

/// Name, light and dark colour of shapes, light and dark colour of words: the set of Okabe & Ito (2008)
/// for all kinds of colour vision, without its yellow, which is lost on white. Words are darker on white
/// than shapes, for a contrast of at least 4.5 to 1.
const INKS: [(&str, [&str; 4]); SERIES + 1] = [
    ("text", ["#1A1A1A", "#E9E6E1", "#1A1A1A", "#E9E6E1"]),
    ("blue", ["#0072B2", "#4A9FE0", "#00649C", "#63B0EC"]),
    ("vermillion", ["#D55E00", "#F5803A", "#B04D00", "#F8935A"]),
    ("green", ["#009E73", "#25BE93", "#00775A", "#3FCFA6"]),
    ("purple", ["#CC79A7", "#DE93BC", "#A24A7B", "#E6A5C8"]),
    ("orange", ["#E69F00", "#EBB13A", "#8A5F00", "#EFBD58"]),
    ("sky", ["#56B4E9", "#8CCFF5", "#24739F", "#9FD8F8"]),
    ("muted", ["#767676", "#9AA1A8", "#5E5E5E", "#A9B0B7"]),
];

pub(crate) const LIGHT_GROUND: &str = "#FFFFFF";
pub(crate) const DARK_GROUND: &str = "#16191D";
const LIGHT_GRID: &str = "#E4E4E4";
const DARK_GRID: &str = "#30373D";

/// What an element is painted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Lines of the plot's grid.
    Grid,
    /// A line, unbroken or dashed.
    Stroke(Ink, bool),
    /// A filled shape.
    Fill(Ink),
    /// Words.
    Words(Ink),
    /// Words with a rim in the colour of the background, as they may lie on lines.
    Halo(Ink),
    /// A shape in the colour of the background.
    Ground,
    /// A colour of a heat map, the same in light and dark.
    Exact([u8; 3]),
}

impl Paint {
    /// The attributes for `key`, which is `fill` or `stroke`.
    pub(crate) fn attributes(self, key: &str) -> String {
        match self {
            Self::Grid => format!(" stroke=\"{LIGHT_GRID}\" class=\"grid\""),
            Self::Ground => format!(" fill=\"{LIGHT_GROUND}\" class=\"ground\""),
            Self::Exact([r, g, b]) => format!(" {key}=\"#{r:02X}{g:02X}{b:02X}\""),
            Self::Stroke(ink, dashed) => {
                let (name, colours) = ink.entry();
                let pattern = if dashed { " stroke-dasharray=\"26 14\"" } else { "" };
                format!(" stroke=\"{}\" class=\"s-{name}\"{pattern}", colours[0])
            }
            Self::Fill(ink) => {
                let (name, colours) = ink.entry();
                format!(" fill=\"{}\" class=\"f-{name}\"", colours[0])
            }
            Self::Words(ink) => {
                let (name, colours) = ink.entry();
                format!(" fill=\"{}\" class=\"t-{name}\"", colours[2])
            }
            Self::Halo(ink) => {
                let (name, colours) = ink.entry();
                format!(
                    " fill=\"{}\" class=\"halo t-{name}\" stroke=\"{LIGHT_GROUND}\" stroke-width=\"14\" \
                     paint-order=\"stroke\"",
                    colours[2]
                )
            }
        }
    }
}

/// The rules for dark mode. `scope` keeps them to plots: `svg.plot ` in a page.
pub(crate) fn dark_rules(scope: &str) -> String {
    let mut css = format!(
        "{scope}.grid{{stroke:{DARK_GRID}}}{scope}.ground{{fill:{DARK_GROUND}}}{scope}.halo{{stroke:{DARK_GROUND}}}"
    );
    for (name, [_, shape, _, words]) in INKS {
        // Writing to a string cannot fail.
        let _ = write!(
            css,
            "{scope}.s-{name}{{stroke:{shape}}}{scope}.f-{name}{{fill:{shape}}}{scope}.t-{name}{{fill:{words}}}"
        );
    }
    css
}

/// Viridis (van der Walt & Smith 2015) at eleven equal steps.
const VIRIDIS: [u32; 11] = [
    0x440154, 0x482576, 0x414487, 0x35608D, 0x2A788E, 0x21908C, 0x22A884, 0x43BF71, 0x7AD151,
    0xBBDF27, 0xFDE725,
];

/// ColorBrewer's blues of `RdBu` and oranges of `PuOr` around white.
const BLUE_ORANGE: [u32; 9] =
    [0x2166AC, 0x4393C3, 0x92C5DE, 0xD1E5F0, 0xF7F7F7, 0xFEE0B6, 0xFDB863, 0xE08214, 0xB35806];

/// The colour at a share of the way through a map, `0 <= share <= 1`.
pub(crate) fn colour(map: ColourMap, share: f64) -> [u8; 3] {
    let stops: &[u32] = match map {
        ColourMap::Sequential => &VIRIDIS,
        ColourMap::Diverging { .. } => &BLUE_ORANGE,
    };
    let position = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let below = (position.floor() as usize).min(stops.len() - 2);
    let part = position - below as f64;
    let channel = |shift: u32| {
        let at = |stop: u32| f64::from(stop >> shift & 0xFF);
        (at(stops[below]) * (1.0 - part) + at(stops[below + 1]) * part).round() as u8
    };
    [channel(16), channel(8), channel(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(hex: &str) -> f64 {
        let channel = |range: std::ops::Range<usize>| {
            let c = f64::from(u8::from_str_radix(&hex[range], 16).expect("hex digits")) / 255.0;
            if c <= 0.03928 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1..3) + 0.7152 * channel(3..5) + 0.0722 * channel(5..7)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn words_are_readable_in_light_and_dark() {
        for (name, [.., light, dark]) in INKS {
            assert!(
                contrast(light, LIGHT_GROUND) >= 4.5,
                "{name}: {}",
                contrast(light, LIGHT_GROUND)
            );
            assert!(contrast(dark, DARK_GROUND) >= 4.5, "{name}: {}", contrast(dark, DARK_GROUND));
        }
    }

    #[test]
    fn maps_reach_their_ends_and_brighten() {
        assert_eq!(colour(ColourMap::Sequential, 0.0), [0x44, 0x01, 0x54]);
        assert_eq!(colour(ColourMap::Sequential, 1.0), [0xFD, 0xE7, 0x25]);
        assert_eq!(colour(ColourMap::Diverging { centre: 0.0 }, 0.5), [0xF7; 3]);
        let hex = |[r, g, b]: [u8; 3]| format!("#{r:02X}{g:02X}{b:02X}");
        let brightness: Vec<f64> = (0..=20)
            .map(|i| luminance(&hex(colour(ColourMap::Sequential, f64::from(i) / 20.0))))
            .collect();
        assert!(brightness.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
