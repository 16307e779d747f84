//! Plotters' SVG backend with fractions of pixels, classes for dark mode and texts on baselines.
//!
//! Plotters knows colours, not classes, so every paint is drawn in a colour that is its number, and
//! the numbers are replaced when the drawing is done.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontFamily, FontStyle, FontTransform, IntoFont as _, RGBColor, ShapeStyle,
    TextStyle,
};

use super::palette::Paint;

/// Units of the drawing in a pixel: plotters places everything on integers.
pub(crate) const UNITS: f64 = 4.0;

/// A position in pixels from the top left.
pub(crate) type Spot = (f64, f64);

/// How a line of text is set.
#[derive(Clone, Copy)]
pub(crate) struct Face {
    pub(crate) size: f64,
    pub(crate) paint: Paint,
    /// Which part of the text stands at its position.
    pub(crate) anchor: HPos,
    pub(crate) bold: bool,
    /// Read from bottom to top.
    pub(crate) upright: bool,
}

impl Face {
    pub(crate) fn new(size: f64, paint: Paint) -> Self {
        Self { size, paint, anchor: HPos::Left, bold: false, upright: false }
    }

    pub(crate) fn anchored(mut self, anchor: HPos) -> Self {
        self.anchor = anchor;
        self
    }
}

pub(crate) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    paints: Vec<Paint>,
}

/// The elements that `draw` puts on a canvas of so many pixels, as SVG without its root.
pub(crate) fn render(width: f64, height: f64, draw: impl FnOnce(&mut Canvas<'_>)) -> String {
    let mut raw = String::new();
    let size = ((width * UNITS).ceil() as u32, (height * UNITS).ceil() as u32);
    let area = SVGBackend::with_string(&mut raw, size).into_drawing_area();
    let mut canvas = Canvas { area, paints: Vec::new() };
    draw(&mut canvas);
    let paints = std::mem::take(&mut canvas.paints);
    drop(canvas);
    finish(&raw, &paints)
}

/// Nothing is drawn millions of pixels away; the bound only keeps the cast exact.
fn units((x, y): Spot) -> (i32, i32) {
    let unit = |v: f64| (v * UNITS).round().clamp(-1e6, 1e6) as i32;
    (unit(x), unit(y))
}

// Drawing into a string cannot fail, so the results of `draw` say nothing.
impl Canvas<'_> {
    fn number(&mut self, paint: Paint) -> RGBColor {
        let index = self.paints.iter().position(|&known| known == paint).unwrap_or_else(|| {
            self.paints.push(paint);
            self.paints.len() - 1
        });
        RGBColor((index >> 16) as u8, (index >> 8) as u8, index as u8)
    }

    fn filled(&mut self, paint: Paint, opacity: f64) -> ShapeStyle {
        self.number(paint).mix(opacity).filled()
    }

    /// A line through the spots; those that fall together are drawn once.
    pub(crate) fn path(&mut self, spots: &[Spot], width: f64, paint: Paint, opacity: f64) {
        let mut points: Vec<(i32, i32)> = spots.iter().copied().map(units).collect();
        points.dedup();
        if points.len() > 1 {
            let style = self.filled(paint, opacity).stroke_width((width * UNITS).round() as u32);
            let _ = self.area.draw(&PathElement::new(points, style));
        }
    }

    /// A filled shape.
    pub(crate) fn polygon(&mut self, spots: &[Spot], paint: Paint, opacity: f64) {
        let mut points: Vec<(i32, i32)> = spots.iter().copied().map(units).collect();
        points.dedup();
        if points.len() > 2 {
            let style = self.filled(paint, opacity);
            let _ = self.area.draw(&Polygon::new(points, style));
        }
    }

    /// A filled rectangle between two corners.
    pub(crate) fn rectangle(&mut self, from: Spot, to: Spot, paint: Paint, opacity: f64) {
        let (a, b) = (units(from), units(to));
        let corners = [(a.0.min(b.0), a.1.min(b.1)), (a.0.max(b.0), a.1.max(b.1))];
        let style = self.filled(paint, opacity);
        let _ = self.area.draw(&Rectangle::new(corners, style));
    }

    /// A filled circle.
    pub(crate) fn disc(&mut self, at: Spot, radius: f64, paint: Paint) {
        let style = self.filled(paint, 1.0);
        let _ = self.area.draw(&Circle::new(units(at), (radius * UNITS).round() as i32, style));
    }

    /// A circle's outline.
    pub(crate) fn ring(&mut self, at: Spot, radius: f64, width: f64, paint: Paint) {
        let style = self.number(paint).stroke_width((width * UNITS).round() as u32);
        let _ = self.area.draw(&Circle::new(units(at), (radius * UNITS).round() as i32, style));
    }

    /// A line of text whose baseline is at the spot.
    pub(crate) fn text(&mut self, text: &str, at: Spot, face: Face) {
        if text.trim().is_empty() {
            return;
        }
        let colour = self.number(face.paint);
        // The backend divides by 1.24.
        let mut font = (FontFamily::SansSerif, face.size * UNITS * 1.24).into_font();
        if face.bold {
            font = font.style(FontStyle::Bold);
        }
        if face.upright {
            font = font.transform(FontTransform::Rotate270);
        }
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(face.anchor, VPos::Bottom));
        let _ = self.area.draw(&Text::new(printable(text), units(at), style));
    }
}

/// XML has no control characters.
pub(crate) fn printable(text: &str) -> String {
    let fits = |c: char| !c.is_control() && !matches!(c, '\u{FFFE}' | '\u{FFFF}');
    text.chars().map(|c| if fits(c) { c } else { ' ' }).collect()
}

/// The backend's elements, one a line, with paints for numbers and without what says nothing.
fn finish(raw: &str, paints: &[Paint]) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut lines = raw.lines();
    while let Some(line) = lines.next() {
        let Some((name, attributes)) = line.strip_prefix('<').and_then(|tag| tag.split_once(' '))
        else {
            continue;
        };
        if name == "svg" {
            continue;
        }
        out.push('<');
        out.push_str(name);
        let mut rest = attributes;
        while let Some((key, after)) = rest.split_once("=\"") {
            let Some((value, next)) = after.split_once('"') else { break };
            attribute(&mut out, key.trim(), value, paints);
            rest = next;
        }
        if rest.starts_with("/>") {
            out.push_str("/>\n");
        } else {
            // The only element with content is a text, its content on the next line, escaped.
            out.push('>');
            out.push_str(lines.next().unwrap_or_default());
            out.push_str("</");
            out.push_str(name);
            out.push_str(">\n");
        }
    }
    out
}

fn attribute(out: &mut String, key: &str, value: &str, paints: &[Paint]) {
    let rounded = |decimals: f64| {
        value
            .parse::<f64>()
            .map_or_else(|_| value.to_owned(), |v| ((v * decimals).round() / decimals).to_string())
    };
    let value = match (key, value) {
        // Baselines are exact places, the face belongs to the root, and the rest are defaults.
        ("dy" | "font-family", _)
        | ("opacity", "1")
        | ("stroke", "none")
        | ("text-anchor", "start") => {
            return;
        }
        ("fill" | "stroke", colour) if colour.starts_with('#') => {
            let paint = usize::from_str_radix(&colour[1..], 16).ok().and_then(|i| paints.get(i));
            out.extend(paint.map(|paint| paint.attributes(key)));
            return;
        }
        ("font-size", _) => rounded(1.0),
        ("opacity", _) => rounded(1000.0),
        _ => value.trim_end().to_owned(),
    };
    out.extend([" ", key, "=\"", &value, "\""]);
}
