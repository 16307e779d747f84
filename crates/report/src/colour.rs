//! Colours that colour-blind readers can tell apart.

use plotters::style::RGBColor;

use crate::ColourMap;

/// Text and theory. Style sheets turn exactly this colour light on dark pages.
pub(crate) const INK: RGBColor = RGBColor(0x1a, 0x1a, 0x1b);
/// Axes and notes.
pub(crate) const MUTED: RGBColor = RGBColor(0x66, 0x66, 0x67);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe5);
/// The page.
pub(crate) const PAPER: RGBColor = RGBColor(0xfe, 0xfe, 0xfd);

/// Okabe & Ito (2008) without yellow, which is too pale for lines; index 0 is ink.
const PALETTE: [RGBColor; 7] = [
    INK,
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

pub(crate) fn palette(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// The rules that make the fixed colours follow the page: CSS overrides presentation attributes.
pub(crate) const STYLE_LIGHT_DARK: &str = "\
@media (prefers-color-scheme: dark){\
[fill=\"#1A1A1B\"]{fill:#eee}[stroke=\"#1A1A1B\"]{stroke:#eee}\
[fill=\"#666667\"]{fill:#aaa}[stroke=\"#666667\"]{stroke:#999}\
[stroke=\"#E4E4E5\"]{stroke:#3a3a3c}[fill=\"#FEFEFD\"]{fill:#1b1b1d}\
[fill=\"#0072B2\"]{fill:#4aa8e0}[stroke=\"#0072B2\"]{stroke:#4aa8e0}}";

/// Ten stops of viridis (van der Walt & Smith 2015).
const VIRIDIS: [[f64; 3]; 10] = [
    [68., 1., 84.],
    [72., 40., 120.],
    [62., 74., 137.],
    [49., 104., 142.],
    [38., 130., 142.],
    [31., 158., 137.],
    [53., 183., 121.],
    [109., 205., 89.],
    [180., 222., 44.],
    [253., 231., 37.],
];
const DIVERGING: [[f64; 3]; 3] = [[0., 90., 160.], [247., 247., 247.], [213., 94., 0.]];

/// The colour of a value between `low` and `high`; grey where it is no number.
pub(crate) fn mapped(map: ColourMap, value: f64, low: f64, high: f64) -> RGBColor {
    if !value.is_finite() {
        return RGBColor(0x99, 0x99, 0x99);
    }
    match map {
        ColourMap::Sequential => {
            between(&VIRIDIS, (value - low) / (high - low).max(f64::MIN_POSITIVE))
        }
        ColourMap::Diverging { centre } => {
            let reach = (high - centre).max(centre - low).max(f64::MIN_POSITIVE);
            between(&DIVERGING, 0.5 + 0.5 * (value - centre) / reach)
        }
    }
}

fn between(stops: &[[f64; 3]], share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let index = (place as usize).min(stops.len() - 2);
    let part = place - index as f64;
    let mix =
        |c: usize| (stops[index][c] * (1.0 - part) + stops[index + 1][c] * part).round() as u8;
    RGBColor(mix(0), mix(1), mix(2))
}
