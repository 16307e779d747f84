//! Marks in the plot.

use super::canvas::{Canvas, Face, Spot};
use super::clip::Frame;
use super::gaps::{Note, Split, notes_of_lines};
use super::palette::{Ink, Paint, SERIES};
use super::scale::{Ruler, Trouble};
use super::{NOTE, heat};
use crate::{AxisScale, Mark, Panel, Point};

/// The plot of a panel: where values are, and what its marks leave to say.
pub(crate) struct Plot<'a> {
    pub(crate) panel: &'a Panel,
    pub(crate) frame: Frame,
    pub(crate) x: Ruler,
    pub(crate) y: Ruler,
    pub(crate) notes: Vec<Note>,
    /// Points that lie nowhere along x.
    pub(crate) unplaced: usize,
    /// Cells of a heat map without a colour.
    pub(crate) colourless: usize,
    pub(crate) colours: Option<heat::Colours>,
}

/// Series beyond the palette's colours are told apart by dashes.
fn is_dashed(colour: usize, dashed: bool) -> bool {
    dashed || colour.saturating_sub(1) / (SERIES - 1) % 2 == 1
}

/// A line of a series; theory is heavier. On a heat map, whose colours stay the same in the dark, a line
/// in the colour of text stays dark too, and every line has a white casing.
pub(crate) fn series_line(
    canvas: &mut Canvas<'_>,
    spots: &[Spot],
    colour: usize,
    dashed: bool,
    cased: bool,
) {
    let width = if colour == 0 { 2.5 } else { 2.0 };
    let mut paint = Paint::Stroke(Ink::series(colour), is_dashed(colour, dashed));
    if cased {
        canvas.path(spots, width + 2.5, Paint::Exact([0xFF; 3]), 0.85);
        if colour == 0 && !dashed {
            paint = Paint::Exact([0x1A; 3]);
        }
    }
    canvas.path(spots, width, paint, 1.0);
}

impl Plot<'_> {
    /// Draws all marks, those that cover others first.
    pub(crate) fn draw(&mut self, canvas: &mut Canvas<'_>) {
        let layer = |mark: &Mark| match mark {
            Mark::HeatMap { .. } => 0,
            Mark::Band { .. } | Mark::Histogram { .. } => 1,
            Mark::Thin { .. } => 2,
            Mark::Level { .. } | Mark::Vertical { .. } => 3,
            Mark::Line { .. } => 4,
            Mark::Points { .. } => 5,
            Mark::Text { .. } => 6,
        };
        let mut marks: Vec<&Mark> = self.panel.marks.iter().collect();
        marks.sort_by_key(|mark| layer(mark));
        marks.into_iter().for_each(|mark| self.mark(canvas, mark));
    }

    fn mark(&mut self, canvas: &mut Canvas<'_>, mark: &Mark) {
        match mark {
            Mark::Line { name, colour, points, dashed } => {
                let ink = Ink::series(*colour);
                let split = self.split(points);
                let cased = self.colours.is_some();
                self.runs(canvas, &split, ink, |canvas, part| {
                    series_line(canvas, part, *colour, *dashed, cased);
                });
                self.notes.extend(split.notes(name, &self.noun(), ink));
                self.unplaced += split.unplaced;
            }
            Mark::Thin { colour, lines } => {
                let ink = Ink::series(*colour);
                let splits: Vec<Split> = lines.iter().map(|line| self.split(line)).collect();
                let opacity = (1.6 / (lines.len().max(1) as f64).sqrt()).clamp(0.15, 0.5);
                for split in &splits {
                    self.runs(canvas, split, ink, |canvas, part| {
                        canvas.path(part, 1.0, Paint::Stroke(ink, false), opacity);
                    });
                    self.unplaced += split.unplaced;
                }
                self.notes.extend(notes_of_lines(&splits, &self.noun(), ink));
            }
            Mark::Band { colour, points, .. } => self.band(canvas, *colour, points),
            Mark::Points { name, colour, points } => self.points(canvas, name, *colour, points),
            Mark::Histogram { name, colour, edges, heights } => {
                self.histogram(canvas, name, *colour, edges, heights);
            }
            Mark::Level { y, .. } => {
                if let Ok(at) = self.y.place(*y) {
                    let ends = [(self.frame.left, at), (self.frame.right, at)];
                    self.rule(canvas, &ends);
                }
            }
            Mark::Vertical { x, .. } => {
                if let Ok(at) = self.x.place(*x) {
                    let ends = [(at, self.frame.top), (at, self.frame.bottom)];
                    self.rule(canvas, &ends);
                }
            }
            Mark::HeatMap { xs, ys, values, .. } => {
                let pixels = |ruler: &Ruler,
                              centres: &[f64],
                              scale: &AxisScale|
                 -> Vec<Option<f64>> {
                    heat::borders(centres, scale).into_iter().map(|v| ruler.place(v).ok()).collect()
                };
                let columns = pixels(&self.x, xs, &self.panel.x.scale);
                let rows = pixels(&self.y, ys, &self.panel.y.scale);
                let Some(colours) = &self.colours else { return };
                let missing = heat::cells(canvas, &self.frame, (&columns, &rows), values, colours);
                self.colourless += missing;
                heat::bar(canvas, &self.frame, colours);
            }
            Mark::Text { x, y, text } => {
                if let (Ok(x), Ok(y)) = (self.x.place(*x), self.y.place(*y)) {
                    let room = super::WIDTH - super::text::width(text, NOTE);
                    let at = (x.min(room).max(0.0), y + NOTE * 0.36);
                    canvas.text(text, at, Face::new(NOTE, Paint::Halo(Ink::TEXT)));
                }
            }
        }
    }

    fn rule(&self, canvas: &mut Canvas<'_>, ends: &[Spot]) {
        for part in self.frame.clip_line(ends) {
            canvas.path(&part, 1.25, Paint::Stroke(Ink::MUTED, true), 1.0);
        }
    }

    fn split(&self, points: &[Point]) -> Split {
        Split::new(points.iter().map(|p| (p.x, p.y)), &self.x, &self.y)
    }

    /// What x counts: the words of its label, such as `layer `.
    pub(crate) fn noun(&self) -> String {
        let words =
            self.panel.x.label.split(['(', ',', ':', ';']).next().unwrap_or_default().trim();
        if words.is_empty() || words.chars().count() > 20 {
            String::new()
        } else {
            format!("{words} ")
        }
    }

    /// Draws the unbroken parts by `draw`; a single point between gaps becomes a dot.
    fn runs(
        &self,
        canvas: &mut Canvas<'_>,
        split: &Split,
        ink: Ink,
        draw: impl Fn(&mut Canvas<'_>, &[Spot]),
    ) {
        for run in &split.runs {
            if let [spot] = run.as_slice()
                && self.frame.contains(*spot)
            {
                canvas.disc(*spot, 2.0, Paint::Fill(ink));
            }
            for part in self.frame.clip_line(run) {
                draw(canvas, &part);
            }
        }
    }

    fn band(&self, canvas: &mut Canvas<'_>, colour: usize, points: &[Point]) {
        // Where one end has no place, the band reaches the border; where both have none it breaks.
        let end = |value: f64| match self.y.place(value) {
            Ok(at) => Some(at),
            Err(Trouble::NotANumber) => None,
            Err(Trouble::Infinite | Trouble::Above) => Some(self.frame.top),
            Err(_) => Some(self.frame.bottom),
        };
        let sides = |p: &Point| {
            let nowhere = self.y.place(p.low).is_err() && self.y.place(p.high).is_err();
            if nowhere { None } else { Some((self.x.place(p.x).ok()?, end(p.low)?, end(p.high)?)) }
        };
        let placed: Vec<Option<(f64, f64, f64)>> = points.iter().map(sides).collect();
        for run in placed.split(Option::is_none) {
            let run: Vec<_> = run.iter().flatten().collect();
            let lows = run.iter().map(|&&(x, low, _)| (x, low));
            let highs = run.iter().rev().map(|&&(x, _, high)| (x, high));
            let shape = self.frame.clip_polygon(lows.chain(highs).collect());
            canvas.polygon(&shape, Paint::Fill(Ink::series(colour)), 0.18);
        }
    }

    fn points(&mut self, canvas: &mut Canvas<'_>, name: &str, colour: usize, points: &[Point]) {
        let ink = Ink::series(colour);
        let split = self.split(points);
        let sideways = matches!(self.panel.y.scale, AxisScale::Categories(_));
        let along = if sideways { self.frame.height() } else { self.frame.width() };
        let spacing = along / points.len().max(1) as f64;
        let radius = (spacing * 0.4).clamp(1.75, 4.0);
        for point in points {
            let (Ok(x), Ok(y)) = (self.x.place(point.x), self.y.place(point.y)) else {
                self.sideways_note(canvas, point, sideways, ink);
                continue;
            };
            let cap = (spacing > 14.0).then_some(radius);
            self.error_bar(canvas, point, (x, y), sideways, cap, Paint::Stroke(ink, false));
            if self.frame.contains((x, y)) {
                marker(canvas, (x, y), radius, colour);
            }
        }
        if !sideways {
            self.notes.extend(split.notes(name, &self.noun(), ink));
            self.unplaced += split.unplaced;
        }
    }

    /// A value without a place beside its category is said there.
    fn sideways_note(&self, canvas: &mut Canvas<'_>, point: &Point, sideways: bool, ink: Ink) {
        let (Err(trouble), Ok(y), true) = (self.x.place(point.x), self.y.place(point.y), sideways)
        else {
            return;
        };
        let face = Face::new(NOTE, Paint::Halo(ink));
        canvas.text(super::gaps::words(trouble), (self.frame.left + 4.0, y + NOTE * 0.36), face);
    }

    /// The interval of a point, to the border where an end has no place.
    fn error_bar(
        &self,
        canvas: &mut Canvas<'_>,
        point: &Point,
        at: Spot,
        sideways: bool,
        cap: Option<f64>,
        paint: Paint,
    ) {
        let (ruler, value) = if sideways { (&self.x, point.x) } else { (&self.y, point.y) };
        if point.low == value && point.high == value {
            return;
        }
        let frame = &self.frame;
        let (first, last) =
            if sideways { (frame.left, frame.right) } else { (frame.bottom, frame.top) };
        let end = |v: f64, open: f64| match ruler.place(v) {
            Err(Trouble::NotANumber) => None,
            place => Some(place.unwrap_or(open)),
        };
        let (Some(low), Some(high)) = (end(point.low, first), end(point.high, last)) else {
            return;
        };
        let spot = |v: f64| if sideways { (v, at.1) } else { (at.0, v) };
        for part in frame.clip_line(&[spot(low), spot(high)]) {
            canvas.path(&part, 1.5, paint, 0.9);
        }
        for v in [low, high] {
            let (x, y) = spot(v);
            let Some(half) = cap.filter(|_| frame.contains((x, y)) && v != first && v != last)
            else {
                continue;
            };
            let ends = if sideways {
                [(x, y - half), (x, y + half)]
            } else {
                [(x - half, y), (x + half, y)]
            };
            canvas.path(&ends, 1.5, paint, 0.9);
        }
    }

    fn histogram(
        &mut self,
        canvas: &mut Canvas<'_>,
        name: &str,
        colour: usize,
        edges: &[f64],
        heights: &[f64],
    ) {
        let ink = Ink::series(colour);
        let floor = self.y.place(0.0).unwrap_or(self.frame.bottom);
        // A bar between infinite edges reaches the border.
        let edge = |v: f64| match self.x.place(v) {
            Err(Trouble::NotANumber) => None,
            Err(Trouble::Infinite | Trouble::Above) => Some(self.frame.right),
            Err(_) => Some(self.frame.left),
            Ok(at) => Some(at),
        };
        let middle = |pair: &[f64]| pair[0] + (pair[1] - pair[0]) / 2.0;
        // No bar is what zero looks like, so only other values without a place are troubles.
        let bars = edges.windows(2).zip(heights).filter(|&(_, &h)| h != 0.0);
        let split = Split::new(bars.clone().map(|(pair, &h)| (middle(pair), h)), &self.x, &self.y);
        let mut outline: Vec<Spot> = Vec::new();
        for (pair, &height) in edges.windows(2).zip(heights) {
            let (Some(left), Some(right)) = (edge(pair[0]), edge(pair[1])) else { continue };
            let top = self.y.place(height).unwrap_or(floor);
            let shape = vec![(left, floor), (left, top), (right, top), (right, floor)];
            canvas.polygon(&self.frame.clip_polygon(shape), Paint::Fill(ink), 0.18);
            outline.extend([(left, top), (right, top)]);
        }
        for part in self.frame.clip_line(&outline) {
            canvas.path(&part, 1.5, Paint::Stroke(ink, is_dashed(colour, false)), 1.0);
        }
        self.notes.extend(split.notes(name, &self.noun(), ink));
    }
}

/// The sign of a point; series differ in shape as well as in colour.
pub(crate) fn marker(canvas: &mut Canvas<'_>, (x, y): Spot, r: f64, colour: usize) {
    let ink = Ink::series(colour);
    let (fill, stroke) = (Paint::Fill(ink), Paint::Stroke(ink, false));
    // Colours repeat after six series, shapes with an offset, so that no pair repeats for 36.
    let turn = colour.saturating_sub(1);
    match (turn % 6 + turn / 6) % 6 {
        1 => canvas.rectangle((x - r * 0.9, y - r * 0.9), (x + r * 0.9, y + r * 0.9), fill, 1.0),
        2 => canvas.polygon(
            &[(x, y - r * 1.2), (x + r * 1.15, y + r * 0.9), (x - r * 1.15, y + r * 0.9)],
            fill,
            1.0,
        ),
        3 => canvas.polygon(
            &[(x, y - r * 1.3), (x + r * 1.3, y), (x, y + r * 1.3), (x - r * 1.3, y)],
            fill,
            1.0,
        ),
        4 => canvas.ring((x, y), r, 1.75, stroke),
        5 => cross(canvas, (x, y), r, stroke),
        _ => canvas.disc((x, y), r, fill),
    }
}

pub(crate) fn cross(canvas: &mut Canvas<'_>, (x, y): Spot, r: f64, stroke: Paint) {
    canvas.path(&[(x - r, y - r), (x + r, y + r)], 1.75, stroke, 1.0);
    canvas.path(&[(x - r, y + r), (x + r, y - r)], 1.75, stroke, 1.0);
}
