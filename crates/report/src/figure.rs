use serde::{Deserialize, Serialize};

use crate::table::{all_finite_or_text, finite_or_text};
use crate::{Cell, Table};

/// A figure as data: panels side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Name of its file, and anchor.
    pub id: String,
    /// Title.
    pub title: String,
    /// What it shows, with the numbers, for whoever cannot see it; also its caption.
    pub caption: String,
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// One plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Title above the plot.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Drawn in this order.
    pub marks: Vec<Mark>,
}

/// An axis; its range is that of the data unless given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// How values become places.
    pub scale: AxisScale,
    /// Lowest and highest value shown.
    pub range: Option<(f64, f64)>,
}

/// How values become places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AxisScale {
    /// Equal steps.
    Linear,
    /// Equal factors.
    Log10,
    /// Names at 0, 1, 2, ...
    Categories(Vec<String>),
}

/// Something drawn. `colour` counts through the palette; 0 is ink, for theory.
///
/// Names stand beside the ends of lines and above the plot for bands, bars and values by category; a
/// name that several marks share stands there once. Values that have no place (not finite, or not
/// positive on a logarithmic axis, or beyond a given range) are never drawn as data: a line breaks, and a
/// sign at the border says what happened and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A line with its name at its end.
    Line {
        /// Its name.
        name: String,
        /// Palette index.
        colour: usize,
        /// (x, y)
        points: Vec<Point>,
        /// Whether it is broken into dashes.
        dashed: bool,
    },
    /// Lines of single draws, thin and without names.
    Thin {
        /// Palette index.
        colour: usize,
        /// One list per draw.
        lines: Vec<Vec<Point>>,
    },
    /// A band from `low` to `high` of every point.
    Band {
        /// Its name, for the data table.
        name: String,
        /// Palette index.
        colour: usize,
        /// x, low, high; y is not used.
        points: Vec<Point>,
    },
    /// Dots with intervals.
    Points {
        /// Name at the last dot; empty for none.
        name: String,
        /// Palette index.
        colour: usize,
        /// x, y, and an interval where low and high differ from y.
        points: Vec<Point>,
    },
    /// Bars between edges; a height of zero is no bar, on a logarithmic axis too.
    Histogram {
        /// Its name.
        name: String,
        /// Palette index.
        colour: usize,
        /// One more than heights.
        #[serde(with = "all_finite_or_text")]
        edges: Vec<f64>,
        /// Height of each bar.
        #[serde(with = "all_finite_or_text")]
        heights: Vec<f64>,
    },
    /// A horizontal reference line.
    Level {
        /// Its height.
        #[serde(with = "finite_or_text")]
        y: f64,
        /// Written on it.
        label: String,
    },
    /// A vertical reference line.
    Vertical {
        /// Its place.
        #[serde(with = "finite_or_text")]
        x: f64,
        /// Written at its upper end.
        label: String,
    },
    /// A few words in the plot.
    Text {
        /// Where they start.
        #[serde(with = "finite_or_text")]
        x: f64,
        /// The height of their middle.
        #[serde(with = "finite_or_text")]
        y: f64,
        /// The words.
        text: String,
    },
    /// Coloured cells.
    HeatMap {
        /// Centres of the columns.
        #[serde(with = "all_finite_or_text")]
        xs: Vec<f64>,
        /// Centres of the rows.
        #[serde(with = "all_finite_or_text")]
        ys: Vec<f64>,
        /// Row by row.
        #[serde(with = "all_finite_or_text")]
        values: Vec<f64>,
        /// How values become colours.
        map: ColourMap,
    },
}

/// How values become colours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColourMap {
    /// From dark to light.
    Sequential,
    /// Blue below, white at, orange above the centre.
    Diverging {
        /// Shown white.
        #[serde(with = "finite_or_text")]
        centre: f64,
    },
}

/// A point with an interval, along x where the categories are on the vertical axis and else along y.
///
/// Stored as `[x, y]`, or as `[x, y, low, high]` where the interval has an extent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredPoint", into = "StoredPoint")]
pub struct Point {
    /// Place.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Documents hold tens of thousands of points, most of them without an interval.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredPoint {
    Full(Stored, Stored, Stored, Stored),
    Bare(Stored, Stored),
}

#[derive(Serialize, Deserialize)]
struct Stored(#[serde(with = "finite_or_text")] f64);

impl From<Point> for StoredPoint {
    fn from(p: Point) -> Self {
        let same = |v: f64| v.to_bits() == p.y.to_bits();
        if same(p.low) && same(p.high) {
            Self::Bare(Stored(p.x), Stored(p.y))
        } else {
            Self::Full(Stored(p.x), Stored(p.y), Stored(p.low), Stored(p.high))
        }
    }
}

impl From<StoredPoint> for Point {
    fn from(stored: StoredPoint) -> Self {
        match stored {
            StoredPoint::Bare(x, y) => Self::new(x.0, y.0),
            StoredPoint::Full(x, y, low, high) => Self::with_interval(x.0, y.0, low.0, high.0),
        }
    }
}

impl Point {
    /// A point without an interval.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }

    /// A point with an interval.
    pub fn with_interval(x: f64, y: f64, low: f64, high: f64) -> Self {
        Self { x, y, low, high }
    }
}

impl Axis {
    /// Equal steps.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: AxisScale::Linear, range: None }
    }

    /// Equal factors.
    pub fn log10(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: AxisScale::Log10, range: None }
    }

    /// Names at 0, 1, 2, ...
    pub fn categories(label: impl Into<String>, names: Vec<String>) -> Self {
        Self { label: label.into(), scale: AxisScale::Categories(names), range: None }
    }

    /// The same over a given range.
    #[must_use]
    pub fn over(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}

impl Mark {
    /// A full line.
    pub fn line(name: impl Into<String>, colour: usize, points: Vec<(f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point::new(x, y)).collect();
        Self::Line { name: name.into(), colour, points, dashed: false }
    }

    /// A dashed line.
    pub fn dashed(name: impl Into<String>, colour: usize, points: Vec<(f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point::new(x, y)).collect();
        Self::Line { name: name.into(), colour, points, dashed: true }
    }

    /// Dots.
    pub fn points(name: impl Into<String>, colour: usize, points: Vec<Point>) -> Self {
        Self::Points { name: name.into(), colour, points }
    }
}

impl Panel {
    /// An empty panel.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, marks: Vec::new() }
    }

    /// With one more mark.
    #[must_use]
    pub fn mark(mut self, mark: Mark) -> Self {
        self.marks.push(mark);
        self
    }
}

impl Figure {
    /// A figure without panels.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        caption: impl Into<String>,
    ) -> Self {
        Self { id: id.into(), title: title.into(), caption: caption.into(), panels: Vec::new() }
    }

    /// With one more panel.
    #[must_use]
    pub fn panel(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }

    /// Every number of the figure, for CSV and for readers who want it; single draws are left to CSV.
    pub fn data(&self, with_draws: bool) -> Table {
        let columns = ["panel", "series", "x", "y", "low", "high"];
        let mut table = Table::new(self.id.clone(), String::new(), &columns);
        for panel in &self.panels {
            let x_cell = |x: f64| match &panel.x.scale {
                AxisScale::Categories(names) => {
                    Cell::text(names.get(x.round().max(0.0) as usize).cloned().unwrap_or_default())
                }
                _ => Cell::Number(x),
            };
            let mut push = |series: &str, points: &[Point]| {
                for p in points {
                    table.push(vec![
                        Cell::text(&panel.title),
                        Cell::text(series),
                        x_cell(p.x),
                        Cell::Number(p.y),
                        Cell::Number(p.low),
                        Cell::Number(p.high),
                    ]);
                }
            };
            for mark in &panel.marks {
                match mark {
                    Mark::Line { name, points, .. }
                    | Mark::Band { name, points, .. }
                    | Mark::Points { name, points, .. } => push(name, points),
                    Mark::Thin { lines, .. } => {
                        for (i, line) in lines.iter().enumerate().filter(|_| with_draws) {
                            push(&format!("draw {}", i + 1), line);
                        }
                    }
                    Mark::Histogram { name, edges, heights, .. } => {
                        let points: Vec<Point> = heights
                            .iter()
                            .zip(edges.windows(2))
                            .map(|(&h, e)| Point::new(0.5 * (e[0] + e[1]), h))
                            .collect();
                        push(name, &points);
                    }
                    Mark::Level { y, label } => push(label, &[Point::new(f64::NAN, *y)]),
                    Mark::Vertical { x, label } => push(label, &[Point::new(*x, f64::NAN)]),
                    Mark::Text { x, y, text } => push(text, &[Point::new(*x, *y)]),
                    Mark::HeatMap { xs, ys, values, .. } => {
                        for (row, &y) in values.chunks(xs.len().max(1)).zip(ys) {
                            let points: Vec<Point> = xs
                                .iter()
                                .zip(row)
                                .map(|(&x, &v)| Point::with_interval(x, v, y, y))
                                .collect();
                            push("value; low = high = y", &points);
                        }
                    }
                }
            }
        }
        table
    }
}
