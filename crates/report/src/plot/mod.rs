//! Figures as SVG.
//!
//! Layout is our own: without a font library plotters cannot measure text, so margins come from
//! upper bounds of text widths, and labels are moved apart before anything is drawn.

mod axes;
mod canvas;
mod clip;
mod gaps;
mod heat;
mod labels;
mod legend;
mod marks;
mod notes;
mod palette;
mod scale;
mod text;

use canvas::{Canvas, Face, UNITS, printable, render};
use clip::Frame;
use legend::{Label, Legend};
use marks::Plot;
use palette::{Ink, Paint, dark_rules};
use plotters::style::text_anchor::HPos;

use crate::{AxisScale, Figure, Mark, Panel, inline};

/// Width of a panel; text is chosen to be readable when this is the width of a telephone.
const WIDTH: f64 = 440.0;
const GAP: f64 = 28.0;
const TITLE: f64 = 15.5;
const LABEL: f64 = 13.5;
const TICK: f64 = 13.0;
const NOTE: f64 = 12.5;
/// From one baseline to the next.
const LEADING: f64 = 1.25;
const FONTS: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

/// A drawn panel.
struct Picture {
    height: f64,
    body: String,
}

impl Figure {
    /// The whole figure as a file of its own, light or dark as its reader's screen.
    pub fn to_svg(&self) -> String {
        let pictures = self.pictures();
        let columns = match pictures.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
        let (mut body, mut top) = (String::new(), 0.0);
        for row in pictures.chunks(columns) {
            for (column, picture) in row.iter().enumerate() {
                let left = (WIDTH + GAP) * column as f64;
                let (x, y) = ((left * UNITS).round(), (top * UNITS).round());
                body += &format!("<g transform=\"translate({x} {y})\">\n{}</g>\n", picture.body);
            }
            top += row.iter().map(|picture| picture.height).fold(0.0, f64::max) + GAP;
        }
        let width = (WIDTH + GAP) * columns as f64 - GAP;
        let (border, height) = (12.0, (top - GAP).max(0.0));
        let style = format!("@media (prefers-color-scheme: dark){{{}}}", dark_rules(""));
        let ground = format!(
            "<style>{style}</style>\n<rect x=\"{0}\" y=\"{0}\" width=\"100%\" height=\"100%\" {1}/>\n",
            -border * UNITS,
            Paint::Ground.attributes("fill").trim_start()
        );
        let frame = [-border, -border, width + 2.0 * border, height + 2.0 * border];
        root(&self.id, &self.title, self.caption.as_str(), frame, &(ground + &body))
    }

    /// Every panel alone, without background, to stand in a page with [`page_rules`].
    pub(crate) fn panel_svgs(&self) -> Vec<String> {
        let svg = |(index, picture): (usize, Picture)| {
            let panel = &self.panels[index];
            let title = if panel.title.is_empty() { &self.title } else { &panel.title };
            let frame = [0.0, 0.0, WIDTH, picture.height];
            root(&format!("{}-{index}", self.id), title, &self.caption, frame, &picture.body)
        };
        self.pictures().into_iter().enumerate().map(svg).collect()
    }

    /// The panels, with their plots on one line.
    fn pictures(&self) -> Vec<Picture> {
        let head = self.panels.iter().map(|panel| Head::new(panel).height()).fold(0.0, f64::max);
        self.panels.iter().map(|panel| picture(panel, head)).collect()
    }
}

/// The rules that a page in dark mode needs for the panels in it.
pub(crate) fn page_rules() -> String {
    dark_rules("svg.plot ")
}

/// The root element with title and description, around a frame in pixels.
fn root(id: &str, title: &str, description: &str, frame: [f64; 4], body: &str) -> String {
    let escape = |text: &str| {
        let text = printable(&inline::plain(text));
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let [x, y, width, height] = frame.map(|v| (v * UNITS).round());
    let (w, h) = (width / UNITS, height / UNITS);
    let id = escape(id);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"{x} {y} {width} {height}\" width=\"{w}\" \
         height=\"{h}\" font-family=\"{FONTS}\" stroke-linejoin=\"round\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n\
         <title id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>\n{body}</svg>\n",
        escape(title),
        escape(description)
    )
}

/// What stands above a plot.
struct Head {
    title: Vec<String>,
    label: Vec<String>,
    legend: Legend,
}

impl Head {
    fn new(panel: &Panel) -> Self {
        // Bold faces are up to a tenth wider.
        let title = text::wrap(&panel.title, TITLE * 1.1, WIDTH);
        let label = text::wrap(&panel.y.label, LABEL, WIDTH);
        let lines = |lines: Vec<String>| if lines == [""] { Vec::new() } else { lines };
        let legend = Legend::new(panel, WIDTH, plot_height(panel));
        Self { title: lines(title), label: lines(label), legend }
    }

    fn height(&self) -> f64 {
        let lines = self.title.len() as f64 * TITLE + self.label.len() as f64 * LABEL;
        lines * LEADING + 4.0 + self.legend.height() + 10.0
    }

    /// Draws everything above a plot whose top is at `bottom`.
    fn draw(&self, canvas: &mut Canvas<'_>, bottom: f64) {
        let mut y = 0.0;
        for line in &self.title {
            y += TITLE * LEADING;
            let face = Face { bold: true, ..Face::new(TITLE, Paint::Words(Ink::TEXT)) };
            canvas.text(line, (0.0, y - TITLE * 0.3), face);
        }
        let rows = self.label.len() as f64 * LABEL * LEADING + 10.0;
        self.legend.draw(canvas, y + 2.0);
        y = bottom - rows;
        for line in &self.label {
            y += LABEL * LEADING;
            canvas.text(line, (0.0, y - LABEL * 0.3), Face::new(LABEL, Paint::Words(Ink::MUTED)));
        }
    }
}

fn plot_height(panel: &Panel) -> f64 {
    match &panel.y.scale {
        AxisScale::Categories(names) => (names.len() as f64 * 28.0).max(84.0),
        _ => 240.0,
    }
}

/// Draws a panel whose plot begins at least `head` below its top.
fn picture(panel: &Panel, head: f64) -> Picture {
    let above = Head::new(panel);
    let (x, y) = axes::rulers(panel);
    let labels = above.legend.labels(panel, &x, &y);
    let colours = panel.marks.iter().find_map(|mark| match mark {
        Mark::HeatMap { values, map, .. } => Some(heat::Colours::new(*map, values)),
        _ => None,
    });

    let named = matches!(panel.y.scale, AxisScale::Categories(_));
    let y_ticks: Vec<Vec<String>> = y
        .ticks(6, false)
        .into_iter()
        .map(|(_, label)| if named { text::wrap(&label, TICK, WIDTH * 0.36) } else { vec![label] })
        .collect();
    let widest = y_ticks.iter().flatten().map(|line| text::width(line, TICK)).fold(0.0, f64::max);
    let left = widest + 12.0;
    let beside = labels.iter().map(Label::width).fold(0.0, f64::max);
    let right = WIDTH
        - match (&colours, labels.is_empty()) {
            (Some(colours), _) => colours.bar_width(),
            (None, true) => 14.0,
            (None, false) => beside + 14.0,
        };
    let frame = Frame { left, right, top: head, bottom: head + plot_height(panel) };
    let x = x.along(frame.left, frame.right);
    let y = if named { y.along(frame.top, frame.bottom) } else { y.along(frame.bottom, frame.top) };

    let x_ticks = axes::x_ticks(panel, &x, &frame);
    let label = text::wrap(&panel.x.label, LABEL, WIDTH);
    let below = frame.bottom + x_ticks.height + label.len() as f64 * LABEL * LEADING + 6.0;
    let mut plot =
        Plot { panel, frame, x, y, notes: Vec::new(), unplaced: 0, colourless: 0, colours };
    let mut height = below;
    let body = render(WIDTH, below + 80.0, |canvas| {
        above.draw(canvas, head);
        axes::grid(canvas, &plot, &y_ticks, &x_ticks);
        let middle = f64::midpoint(frame.left, frame.right);
        for (i, line) in label.iter().enumerate() {
            let half = text::width(line, LABEL) / 2.0;
            let at = middle.min(WIDTH - half).max(half);
            let y = frame.bottom + x_ticks.height + (i as f64 + 0.95) * LABEL * LEADING;
            let face = Face::new(LABEL, Paint::Words(Ink::MUTED)).anchored(HPos::Center);
            canvas.text(line, (at, y), face);
        }
        plot.draw(canvas);
        legend::draw_labels(canvas, &plot, &labels);
        notes::border(canvas, &plot);
        height = notes::remarks(canvas, &plot, below);
    });
    Picture { height, body }
}
