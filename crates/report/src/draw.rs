//! Panels as SVG, through plotters' SVG backend.
//!
//! Everything is drawn at twice its size, since the backend's coordinates are whole numbers. Layout is
//! our own: without a font library the backend cannot measure text, so margins come from a
//! conservative estimate of 0.62 em a character.

use plotters::backend::SVGBackend;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::colour::{GRID, INK, MUTED, PAPER, STYLE_LIGHT_DARK, mapped, palette};
use crate::scale::{Scale, extent};
use crate::{AxisScale, Figure, Mark, Panel, Point, inline};

const UNIT: f64 = 2.0;
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 390.0;
const TEXT: f64 = 13.0;
/// Width of a character in em, over sans-serif faces.
const CHARACTER: f64 = 0.62;

impl Figure {
    /// The whole figure as a file of its own, light or dark as its reader's screen.
    pub fn to_svg(&self) -> String {
        let width = WIDTH * self.panels.len().max(1) as f64;
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size(width, HEIGHT)).into_drawing_area();
            rectangle(&area, (0.0, 0.0), (width, HEIGHT), PAPER.filled());
            for (i, panel) in self.panels.iter().enumerate() {
                draw_panel(&area, WIDTH * i as f64, panel);
            }
        }
        dressed(&svg, &self.id, &self.title, &self.caption, width)
    }

    /// One panel alone, without background, to stand in a page.
    pub(crate) fn panel_svg(&self, index: usize) -> String {
        let mut svg = String::new();
        let panel = &self.panels[index];
        {
            let area = SVGBackend::with_string(&mut svg, size(WIDTH, HEIGHT)).into_drawing_area();
            draw_panel(&area, 0.0, panel);
        }
        let title = if panel.title.is_empty() { &self.title } else { &panel.title };
        dressed(&svg, &format!("{}-{index}", self.id), title, &self.caption, WIDTH)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn size(width: f64, height: f64) -> (u32, u32) {
    ((width * UNIT) as u32, (height * UNIT) as u32)
}

/// Title, description and the rules for dark screens into the file's first lines.
fn dressed(svg: &str, id: &str, title: &str, description: &str, width: f64) -> String {
    let escape = |text: &str| {
        inline::plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    };
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let (w, h) = size(width, HEIGHT);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{width}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\
         <style>text{{font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}}{STYLE_LIGHT_DARK}</style>{body}",
        escape(title),
        escape(description)
    )
}

fn at(point: (f64, f64)) -> (i32, i32) {
    ((point.0 * UNIT).round() as i32, (point.1 * UNIT).round() as i32)
}

fn rectangle(area: &Area<'_>, a: (f64, f64), b: (f64, f64), style: ShapeStyle) {
    // Writing into a string cannot fail.
    let _ = area.draw(&Rectangle::new([at(a), at(b)], style));
}

fn path(area: &Area<'_>, points: &[(f64, f64)], colour: RGBAColor, width: f64) {
    if points.len() > 1 {
        let style = ShapeStyle {
            color: colour,
            filled: false,
            stroke_width: (width * UNIT).round() as u32,
        };
        let _ =
            area.draw(&PathElement::new(points.iter().map(|p| at(*p)).collect::<Vec<_>>(), style));
    }
}

fn text(
    area: &Area<'_>,
    words: &str,
    place: (f64, f64),
    pos: (HPos, VPos),
    colour: RGBColor,
    em: f64,
) {
    // The backend divides font sizes by 1.24.
    let style =
        ("sans-serif", em * UNIT * 1.24).into_font().color(&colour).pos(Pos::new(pos.0, pos.1));
    let _ = area.draw(&Text::new(words.to_owned(), at(place), style));
}

fn text_width(words: &str, em: f64) -> f64 {
    words.chars().count() as f64 * CHARACTER * em
}

/// The rectangle of the data and both scales.
struct Frame<'a> {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Scale<'a>,
    y: Scale<'a>,
}

impl Frame<'_> {
    /// Place of a point inside the frame; `None` for what cannot be drawn or lies outside.
    fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (px, py) = (self.x.place(x)?, self.y.place(y)?);
        let inside = |v: f64| (-1e-9..=1.0 + 1e-9).contains(&v);
        (inside(px) && inside(py)).then(|| self.scaled(px, py))
    }

    fn scaled(&self, px: f64, py: f64) -> (f64, f64) {
        (self.left + px * (self.right - self.left), self.bottom - py * (self.bottom - self.top))
    }
}

fn draw_panel(area: &Area<'_>, offset: f64, panel: &Panel) {
    let (xs, ys) = extent(panel);
    let histogram = panel.marks.iter().any(|m| matches!(m, Mark::Histogram { .. }));
    let heat = panel.marks.iter().any(|m| matches!(m, Mark::HeatMap { .. }));
    let x = Scale::new(&panel.x, &xs, if heat { 0.0 } else { 0.02 });
    let y = Scale::new(&panel.y, &ys, if heat { 0.0 } else { 0.05 });
    let y_ticks = y.ticks(6);
    let labels = end_labels(panel);
    let widest = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|t| text_width(t, TEXT)).fold(0.0, f64::max)
    };
    let left = offset + 34.0 + widest(&mut y_ticks.iter().map(|t| &t.1));
    let right_room = if heat { 84.0 } else { 14.0 + widest(&mut labels.iter().map(|l| &l.0)) };
    let right = (offset + WIDTH - right_room).max(left + 80.0);
    let frame = Frame { left, right, top: 34.0, bottom: HEIGHT - 50.0, x, y };
    axes(area, offset, panel, &frame, &y_ticks);
    for mark in &panel.marks {
        draw_mark(area, mark, &frame, histogram);
    }
    write_end_labels(area, &frame, &labels);
    notes(area, panel, &frame);
}

fn axes(area: &Area<'_>, offset: f64, panel: &Panel, frame: &Frame<'_>, y_ticks: &[(f64, String)]) {
    text(area, &panel.title, (frame.left, 8.0), (HPos::Left, VPos::Top), INK, TEXT + 2.0);
    for (value, words) in y_ticks {
        if let Some(share) = frame.y.place(*value) {
            let (_, py) = frame.scaled(0.0, share);
            path(area, &[(frame.left, py), (frame.right, py)], GRID.into(), 1.0);
            text(area, words, (frame.left - 6.0, py), (HPos::Right, VPos::Center), MUTED, TEXT);
        }
    }
    let x_ticks = frame.x.ticks(6);
    let room = (frame.right - frame.left) / x_ticks.len().max(1) as f64;
    for (value, words) in &x_ticks {
        if let Some(share) = frame.x.place(*value) {
            let (px, _) = frame.scaled(share, 0.0);
            path(area, &[(px, frame.bottom), (px, frame.bottom + 4.0)], MUTED.into(), 1.0);
            let em =
                TEXT.min(0.95 * room / (words.chars().count().max(1) as f64 * CHARACTER)).max(9.0);
            text(area, words, (px, frame.bottom + 8.0), (HPos::Center, VPos::Top), MUTED, em);
        }
    }
    path(area, &[(frame.left, frame.bottom), (frame.right, frame.bottom)], MUTED.into(), 1.0);
    let middle = 0.5 * (frame.left + frame.right);
    text(area, &panel.x.label, (middle, HEIGHT - 8.0), (HPos::Center, VPos::Bottom), INK, TEXT);
    let style = ("sans-serif", TEXT * UNIT * 1.24)
        .into_font()
        .transform(FontTransform::Rotate270)
        .color(&INK);
    let place = at((offset + 6.0, 0.5 * (frame.top + frame.bottom)));
    let style = style.pos(Pos::new(HPos::Center, VPos::Top));
    let _ = area.draw(&Text::new(panel.y.label.clone(), place, style));
}

fn draw_mark(area: &Area<'_>, mark: &Mark, frame: &Frame<'_>, histogram: bool) {
    match mark {
        Mark::Band { colour, points, .. } => {
            for run in
                runs(points, |p| frame.y.place(p.low).is_some() && frame.y.place(p.high).is_some())
            {
                let edge = |pick: fn(&Point) -> f64| {
                    run.iter().filter_map(move |p| {
                        let share = frame.y.place(pick(p))?.clamp(0.0, 1.0);
                        Some(frame.scaled(frame.x.place(p.x)?, share))
                    })
                };
                let mut outline: Vec<_> = edge(|p| p.low).map(at).collect();
                outline.extend(edge(|p| p.high).map(at).collect::<Vec<_>>().into_iter().rev());
                let _ = area.draw(&Polygon::new(outline, palette(*colour).mix(0.16).filled()));
            }
        }
        Mark::Thin { colour, lines } => {
            for line in lines {
                draw_line(area, line, frame, palette(*colour).mix(0.28), 0.5, false);
            }
        }
        Mark::Line { colour, points, dashed, .. } => {
            draw_line(area, points, frame, palette(*colour).into(), 2.0, *dashed);
        }
        Mark::Points { colour, points, .. } => {
            for p in points {
                let Some(centre) = frame.place(p.x, p.y) else { continue };
                let end = |v: f64| frame.y.place(v).map(|s| frame.scaled(0.0, s.clamp(0.0, 1.0)).1);
                if let (Some(low), Some(high)) = (end(p.low), end(p.high)) {
                    path(area, &[(centre.0, low), (centre.0, high)], palette(*colour).into(), 1.5);
                }
                let _ = area.draw(&Circle::new(at(centre), 3.2 * UNIT, palette(*colour).filled()));
            }
        }
        Mark::Histogram { colour, edges, heights, .. } => {
            let floor = frame.y.place(0.0).unwrap_or(0.0).clamp(0.0, 1.0);
            let mut outline = Vec::new();
            for (pair, &height) in edges.windows(2).zip(heights) {
                let (Some(a), Some(b)) = (frame.x.place(pair[0]), frame.x.place(pair[1])) else {
                    continue;
                };
                let top = frame.y.place(height).unwrap_or(floor).clamp(0.0, 1.0);
                let (a, b) = (frame.scaled(a, top), frame.scaled(b, floor));
                rectangle(area, a, b, palette(*colour).mix(0.16).filled());
                outline.extend([a, (b.0, a.1)]);
            }
            path(area, &outline, palette(*colour).into(), if histogram { 1.5 } else { 1.0 });
        }
        Mark::Level { y, .. } => {
            if let Some(share) = frame.y.place(*y).filter(|s| (0.0..=1.0).contains(s)) {
                let (_, py) = frame.scaled(0.0, share);
                dashes(area, &[(frame.left, py), (frame.right, py)], MUTED.into(), 1.0);
            }
        }
        Mark::HeatMap { xs, ys, values, map } => heat_map(area, frame, xs, ys, values, *map),
    }
}

/// Unbroken stretches of points for which `keep` holds.
fn runs(points: &[Point], keep: impl Fn(&Point) -> bool) -> Vec<&[Point]> {
    points.split(|p| !keep(p)).filter(|run| !run.is_empty()).collect()
}

fn draw_line(
    area: &Area<'_>,
    points: &[Point],
    frame: &Frame<'_>,
    colour: RGBAColor,
    width: f64,
    dashed: bool,
) {
    let drawable = |p: &Point| frame.x.place(p.x).is_some() && frame.y.place(p.y).is_some();
    for run in runs(points, drawable) {
        let places: Vec<(f64, f64)> = run
            .iter()
            .filter_map(|p| {
                Some(frame.scaled(frame.x.place(p.x)?, frame.y.place(p.y)?.clamp(-0.02, 1.02)))
            })
            .collect();
        if dashed {
            dashes(area, &places, colour, width);
        } else if let [only] = places.as_slice() {
            let _ = area.draw(&Circle::new(at(*only), 2.0 * UNIT, colour.filled()));
        } else {
            path(area, &places, colour, width);
        }
    }
}

fn dashes(area: &Area<'_>, places: &[(f64, f64)], colour: RGBAColor, width: f64) {
    let (on, off) = (7.0, 4.0);
    let mut travelled = 0.0;
    for pair in places.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let length = (b.0 - a.0).hypot(b.1 - a.1);
        let along = |t: f64| (a.0 + (b.0 - a.0) * t / length, a.1 + (b.1 - a.1) * t / length);
        let mut t = 0.0;
        while t < length {
            let phase: f64 = (travelled + t) % (on + off);
            let step = if phase < on { on - phase } else { on + off - phase };
            let end = (t + step).min(length);
            if phase < on {
                path(area, &[along(t), along(end)], colour, width);
            }
            t = end.max(t + 1e-6);
        }
        travelled += length;
    }
}

fn heat_map(
    area: &Area<'_>,
    frame: &Frame<'_>,
    xs: &[f64],
    ys: &[f64],
    values: &[f64],
    map: crate::ColourMap,
) {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let half = |v: &[f64]| if v.len() > 1 { 0.5 * (v[1] - v[0]) } else { 0.5 };
    let (hx, hy) = (half(xs), half(ys));
    for (row, &y) in values.chunks(xs.len().max(1)).zip(ys) {
        for (&value, &x) in row.iter().zip(xs) {
            let corner = |x: f64, y: f64| Some(frame.scaled(frame.x.place(x)?, frame.y.place(y)?));
            if let (Some(a), Some(b)) = (corner(x - hx, y + hy), corner(x + hx, y - hy)) {
                rectangle(area, a, b, mapped(map, value, low, high).filled());
            }
        }
    }
    // The key, from low to high.
    let (x, steps) = (frame.right + 14.0, 40);
    let height = frame.bottom - frame.top;
    for i in 0..steps {
        let value = low + (high - low) * (i as f64 + 0.5) / f64::from(steps);
        let y = frame.bottom - height * f64::from(i) / f64::from(steps);
        rectangle(
            area,
            (x, y - height / f64::from(steps)),
            (x + 12.0, y),
            mapped(map, value, low, high).filled(),
        );
    }
    for (value, y) in [(low, frame.bottom), (high, frame.top)] {
        text(
            area,
            &crate::significant(value),
            (x + 16.0, y),
            (HPos::Left, VPos::Center),
            MUTED,
            TEXT - 1.0,
        );
    }
}

/// Names of series with their colours and last drawable points.
fn end_labels(panel: &Panel) -> Vec<(String, RGBColor, Vec<Point>)> {
    let categories = matches!(panel.x.scale, AxisScale::Categories(_));
    let found = panel.marks.iter().filter_map(|mark| match mark {
        Mark::Line { name, colour, points, .. } => Some((name, *colour, points.clone())),
        Mark::Points { name, colour, points } if !categories => {
            Some((name, *colour, points.clone()))
        }
        Mark::Histogram { name, colour, edges, heights } => {
            let peak = (0..heights.len()).max_by(|&a, &b| heights[a].total_cmp(&heights[b]))?;
            Some((name, *colour, vec![Point::new(edges[peak + 1], heights[peak])]))
        }
        Mark::Level { y, label } => Some((label, usize::MAX, vec![Point::new(f64::NAN, *y)])),
        _ => None,
    });
    found
        .filter(|(name, _, _)| !name.is_empty())
        .map(|(name, colour, points)| {
            (name.clone(), if colour == usize::MAX { MUTED } else { palette(colour) }, points)
        })
        .collect()
}

/// Writes the names at the right border beside their lines' ends, moved apart where they would touch.
fn write_end_labels(area: &Area<'_>, frame: &Frame<'_>, labels: &[(String, RGBColor, Vec<Point>)]) {
    let mut placed: Vec<(f64, usize)> = labels
        .iter()
        .enumerate()
        .map(|(i, (_, _, points))| {
            let share = points.iter().rev().find_map(|p| frame.y.place(p.y)).unwrap_or(0.5);
            (frame.scaled(0.0, share.clamp(0.0, 1.0)).1, i)
        })
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let gap = TEXT + 3.0;
    for i in 1..placed.len() {
        placed[i].0 = placed[i].0.max(placed[i - 1].0 + gap);
    }
    // Pushed below the frame: move everything up again.
    let lowest = frame.bottom - 2.0;
    for i in (0..placed.len()).rev() {
        let limit = if i + 1 < placed.len() { placed[i + 1].0 - gap } else { lowest };
        placed[i].0 = placed[i].0.min(limit);
    }
    for (y, i) in placed {
        text(
            area,
            &labels[i].0,
            (frame.right + 6.0, y),
            (HPos::Left, VPos::Center),
            labels[i].1,
            TEXT,
        );
    }
}

/// Says which series hold values that cannot be drawn, and from where on.
fn notes(area: &Area<'_>, panel: &Panel, frame: &Frame<'_>) {
    let mut row = 0.0;
    for mark in &panel.marks {
        let (name, colour, points) = match mark {
            Mark::Line { name, colour, points, .. } | Mark::Points { name, colour, points } => {
                (name, *colour, points)
            }
            _ => continue,
        };
        let Some(first) = points.iter().find(|p| frame.y.place(p.y).is_none()) else { continue };
        let what = if first.y.is_nan() {
            "not a number"
        } else if first.y == f64::INFINITY {
            "∞"
        } else if first.y == f64::NEG_INFINITY {
            "−∞"
        } else {
            "0 or less"
        };
        let words = format!(
            "{name}{}{what} from {}",
            if name.is_empty() { "" } else { ": " },
            crate::significant(first.x)
        );
        let place = (frame.left + 6.0, frame.top + 4.0 + row);
        text(area, &words, place, (HPos::Left, VPos::Top), palette(colour), TEXT - 1.0);
        row += TEXT + 3.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, ColourMap};

    fn figure() -> Figure {
        let decay: Vec<(f64, f64)> = (1..=50).map(|l| (f64::from(l), 0.5f64.powi(l))).collect();
        let band =
            decay.iter().map(|&(x, y)| Point::with_interval(x, y, 0.3 * y, 3.0 * y)).collect();
        let forward =
            Panel::new("forward <&>", Axis::linear("layer"), Axis::log10("second moment"))
                .mark(Mark::Band { name: "95% band".into(), colour: 1, points: band })
                .mark(Mark::line("theory", 0, decay.clone()))
                .mark(Mark::line(
                    "a rather long name",
                    2,
                    decay.iter().map(|p| (p.0, 2.0 * p.1)).collect(),
                ))
                .mark(Mark::Level { y: 1.0, label: "kept".into() });
        let names = vec!["zero".into(), "He".into()];
        let dots = Panel::new("accuracy", Axis::categories("init", names), Axis::linear("share"))
            .mark(Mark::points(
                "",
                1,
                vec![Point::with_interval(0.0, 0.1, 0.09, 0.11), Point::new(1.0, 0.98)],
            ));
        let map = Panel::new("map", Axis::linear("x"), Axis::linear("y")).mark(Mark::HeatMap {
            xs: vec![1.0, 2.0],
            ys: vec![1.0, 2.0],
            values: vec![0.5, 1.0, 1.5, f64::NAN],
            map: ColourMap::Diverging { centre: 1.0 },
        });
        Figure::new("test", "A test", "Numbers: 1 & 2").panel(forward).panel(dots).panel(map)
    }

    /// Every text's box, by the same conservative estimate, lies on the canvas.
    fn assert_inside(svg: &str, width: f64) {
        for element in svg.split("<text ").skip(1) {
            let number = |name: &str| -> f64 {
                let after = element.split_once(&format!("{name}=\"")).expect(name).1;
                after.split('"').next().expect("closed").parse().expect("a number")
            };
            let words = element
                .split_once('>')
                .expect("closed")
                .1
                .split('<')
                .next()
                .expect("closed")
                .trim();
            let words = words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            if element.contains("rotate") {
                continue;
            }
            let extent = text_width(&words, number("font-size"));
            let x = number("x");
            let (low, high) = if element.contains("text-anchor=\"end\"") {
                (x - extent, x)
            } else if element.contains("text-anchor=\"middle\"") {
                (x - 0.5 * extent, x + 0.5 * extent)
            } else {
                (x, x + extent)
            };
            assert!(low >= 0.0 && high <= width * UNIT, "\"{words}\" spans {low} to {high}");
        }
    }

    #[test]
    fn every_label_lies_on_the_canvas() {
        for index in 0..3 {
            assert_inside(&figure().panel_svg(index), WIDTH);
        }
    }

    #[test]
    fn titles_are_escaped_and_text_is_text() {
        let svg = figure().to_svg();
        assert!(svg.contains("forward &lt;&amp;&gt;"), "plotters escapes");
        assert!(svg.contains("Numbers: 1 &amp; 2"));
        assert_eq!(svg.matches("<svg").count(), 1);
        assert!(svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg, figure().to_svg(), "the same figure gives the same bytes");
    }

    #[test]
    fn what_cannot_be_drawn_is_said_and_not_drawn() {
        let points =
            vec![(1.0, 1.0), (2.0, 0.1), (3.0, 0.0), (4.0, f64::NAN), (5.0, f64::INFINITY)];
        let panel =
            |y| Panel::new("", Axis::linear("layer"), y).mark(Mark::line("q", 1, points.clone()));
        let log = Figure::new("a", "", "").panel(panel(Axis::log10("q"))).to_svg();
        assert!(log.contains("q: 0 or less from 3"));
        let linear = Figure::new("a", "", "").panel(panel(Axis::linear("q"))).to_svg();
        assert!(linear.contains("q: not a number from 4"));
        // Two points are left on the log axis, three on the linear one.
        let vertices = |svg: &str| {
            let line = svg
                .lines()
                .find(|l| l.starts_with("<polyline") && l.contains("#0072B2"))
                .expect("the line");
            line.rsplit_once("points=\"").expect("points").1.matches(',').count()
        };
        assert_eq!((vertices(&log), vertices(&linear)), (2, 3));
    }

    #[test]
    fn an_empty_panel_and_a_constant_series_do_not_break() {
        let empty = Figure::new("e", "", "")
            .panel(Panel::new("", Axis::linear("x"), Axis::log10("y")))
            .to_svg();
        assert!(!empty.contains("NaN"));
        let flat = Panel::new("", Axis::linear("x"), Axis::log10("y")).mark(Mark::line(
            "c",
            1,
            vec![(1.0, 2.0), (2.0, 2.0)],
        ));
        assert!(!Figure::new("f", "", "").panel(flat).to_svg().contains("NaN"));
    }
}
