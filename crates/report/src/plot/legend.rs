//! Names of series: beside the ends of their lines, or in a row above the plot where lines have no
//! ends, as for bands.

use super::canvas::{Canvas, Face};
use super::labels::spread;
use super::marks::{Plot, marker, series_line};
use super::palette::{Ink, Paint};
use super::scale::Ruler;
use super::{LABEL, LEADING, text};
use crate::{AxisScale, Mark, Panel, Point};

/// Widest label beside a plot; longer ones are broken.
const BESIDE: f64 = 144.0;
const SWATCH: f64 = 26.0;
const ROW: f64 = 21.0;

/// A name at the end of a line.
pub(crate) struct Label {
    lines: Vec<String>,
    ink: Ink,
    /// Value at the line's end; a rule has no x.
    x: Option<f64>,
    y: f64,
}

impl Label {
    pub(crate) fn width(&self) -> f64 {
        self.lines.iter().map(|line| text::width(line, LABEL)).fold(0.0, f64::max)
    }

    fn height(&self) -> f64 {
        self.lines.len() as f64 * LABEL * LEADING
    }
}

/// The row of names above a plot.
pub(crate) struct Legend {
    /// Whether lines are named here too, as they are too many, or a colour bar stands at their ends.
    lines_too: bool,
    rows: Vec<Vec<(f64, Entry)>>,
}

struct Entry {
    name: String,
    colour: usize,
    sample: Sample,
}

#[derive(Clone, Copy)]
enum Sample {
    Line {
        dashed: bool,
        /// Whether the line lies on a heat map.
        cased: bool,
    },
    Area,
    Marker,
}

impl Legend {
    /// The names that have no place beside a plot of the given height, in rows of the given width.
    pub(crate) fn new(panel: &Panel, width: f64, height: f64) -> Self {
        let beside: f64 = ends(panel).iter().map(|(name, ..)| label(name).height()).sum();
        let lines_too = has_heat_map(panel) || beside > height;
        let mut rows: Vec<Vec<(f64, Entry)>> = Vec::new();
        let mut at = f64::INFINITY;
        for entry in entries(panel, lines_too) {
            let room = SWATCH + 6.0 + text::width(&entry.name, LABEL) + 18.0;
            if at + room - 18.0 > width {
                rows.push(Vec::new());
                at = 0.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((at, entry));
            }
            at += room;
        }
        Self { lines_too, rows }
    }

    pub(crate) fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW
    }

    /// The names that stand beside the plot.
    pub(crate) fn labels(&self, panel: &Panel, x: &Ruler, y: &Ruler) -> Vec<Label> {
        if self.lines_too {
            return Vec::new();
        }
        let drawn =
            |p: &&Point| x.place(p.x).is_ok() && y.place(p.y).is_ok() && y.beyond(p.y).is_none();
        let mut labels: Vec<Label> = Vec::new();
        for (name, ink, end) in ends(panel) {
            let end = match end {
                End::Rule(value) if y.place(value).is_ok() && y.beyond(value).is_none() => {
                    (None, value)
                }
                // A note says how a line ends that has no place at its end.
                End::Series(points) if points.last().is_some_and(|p| drawn(&p)) => {
                    let Some(last) =
                        points.iter().rev().find(|p| drawn(p) && x.beyond(p.x).is_none())
                    else {
                        continue;
                    };
                    (Some(last.x), last.y)
                }
                _ => continue,
            };
            labels.push(Label { ink, x: end.0, y: end.1, ..label(name) });
        }
        labels
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, top: f64) {
        for (i, row) in self.rows.iter().enumerate() {
            let middle = top + (i as f64 + 0.5) * ROW;
            for (x, entry) in row {
                entry.draw(canvas, *x, middle);
            }
        }
    }
}

impl Entry {
    fn draw(&self, canvas: &mut Canvas<'_>, x: f64, y: f64) {
        let ink = Ink::series(self.colour);
        match self.sample {
            Sample::Line { dashed, cased } => {
                series_line(canvas, &[(x, y), (x + SWATCH, y)], self.colour, dashed, cased);
            }
            Sample::Area => {
                canvas.rectangle((x, y - 6.0), (x + SWATCH, y + 6.0), Paint::Fill(ink), 0.25);
            }
            Sample::Marker => marker(canvas, (x + SWATCH / 2.0, y), 4.0, self.colour),
        }
        let face = Face::new(LABEL, Paint::Words(Ink::TEXT));
        canvas.text(&self.name, (x + SWATCH + 6.0, y + LABEL * 0.36), face);
    }
}

enum End<'a> {
    Series(&'a [Point]),
    Rule(f64),
}

/// Names that belong to ends of lines, each once.
fn ends(panel: &Panel) -> Vec<(&str, Ink, End<'_>)> {
    let named = is_categorical(panel);
    let mut ends: Vec<(&str, Ink, End<'_>)> = Vec::new();
    for mark in &panel.marks {
        let end = match mark {
            Mark::Line { name, colour, points, .. } => {
                (name, Ink::series(*colour), End::Series(points))
            }
            Mark::Points { name, colour, points } if !named => {
                (name, Ink::series(*colour), End::Series(points))
            }
            Mark::Level { y, label } => (label, Ink::MUTED, End::Rule(*y)),
            _ => continue,
        };
        if !end.0.is_empty() && !ends.iter().any(|known| known.0 == end.0) {
            ends.push((end.0, end.1, end.2));
        }
    }
    ends
}

/// Names that stand in the row, each once.
fn entries(panel: &Panel, lines_too: bool) -> Vec<Entry> {
    let named = is_categorical(panel);
    let cased = has_heat_map(panel);
    let mut entries: Vec<Entry> = Vec::new();
    for mark in &panel.marks {
        let (name, colour, sample) = match mark {
            Mark::Band { name, colour, .. } | Mark::Histogram { name, colour, .. } => {
                (name, *colour, Sample::Area)
            }
            Mark::Points { name, colour, .. } if named || lines_too => {
                (name, *colour, Sample::Marker)
            }
            Mark::Line { name, colour, dashed, .. } if lines_too => {
                (name, *colour, Sample::Line { dashed: *dashed, cased })
            }
            _ => continue,
        };
        if !name.is_empty() && !entries.iter().any(|known| known.name == *name) {
            entries.push(Entry { name: name.clone(), colour, sample });
        }
    }
    entries
}

fn is_categorical(panel: &Panel) -> bool {
    [&panel.x.scale, &panel.y.scale].iter().any(|scale| matches!(scale, AxisScale::Categories(_)))
}

fn has_heat_map(panel: &Panel) -> bool {
    panel.marks.iter().any(|mark| matches!(mark, Mark::HeatMap { .. }))
}

fn label(name: &str) -> Label {
    Label { lines: text::wrap(name, LABEL, BESIDE), ink: Ink::TEXT, x: None, y: f64::NAN }
}

/// Draws names beside the plot, moved apart, with a hairline to where they belong.
pub(crate) fn draw_labels(canvas: &mut Canvas<'_>, plot: &Plot<'_>, labels: &[Label]) {
    let frame = &plot.frame;
    let centre = |label: &Label| plot.y.place(label.y).unwrap_or(frame.bottom);
    let boxes: Vec<(f64, f64)> =
        labels.iter().map(|label| (centre(label), label.height())).collect();
    // The legend has made sure that they fit.
    let Some(tops) = spread(&boxes, frame.top - LABEL / 2.0, frame.bottom + LABEL / 2.0) else {
        return;
    };
    for ((label, top), (wished, height)) in labels.iter().zip(tops).zip(boxes) {
        let end = label.x.and_then(|x| plot.x.place(x).ok()).unwrap_or(frame.right);
        let middle = top + height / 2.0;
        if (middle - wished).abs() > 4.0 || frame.right - end > 14.0 {
            let hairline = [(end + 3.0, wished), (frame.right + 8.0, middle)];
            canvas.path(&hairline, 0.75, Paint::Stroke(label.ink, false), 0.6);
        }
        for (i, line) in label.lines.iter().enumerate() {
            let baseline = top + (i as f64 + 0.79) * LABEL * LEADING;
            canvas.text(
                line,
                (frame.right + 10.0, baseline),
                Face::new(LABEL, Paint::Words(label.ink)),
            );
        }
    }
}
