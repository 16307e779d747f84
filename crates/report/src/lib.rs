//! A document of text, tables and figures as data, typeset as HTML, Markdown, SVG, CSV and JSON.
//!
//! The crate knows no experiment: whoever measured describes what should be shown. The same
//! [`Document`] is stored as JSON and can be drawn again without measuring.
//!
//! ```
//! use gainstage_report::{Axis, Figure, Mark, Panel};
//! let line = Mark::line("theory", 0, vec![(1.0, 1.0), (2.0, 0.5), (3.0, f64::INFINITY)]);
//! let panel = Panel::new("forward", Axis::linear("layer"), Axis::log10("second moment")).mark(line);
//! let figure = Figure::new("signal", "Signal by layer", "It halves.").panel(panel);
//! let svg = figure.to_svg();
//! assert!(svg.contains("∞ at layer 3"), "what cannot be drawn is said");
//! ```

mod bundle;
mod document;
mod error;
mod figure;
mod files;
mod html;
mod inline;
mod markdown;
mod number;
mod plot;
mod table;

pub use document::{Badge, Block, Card, Document, Section, Tone};
pub use error::ReportError;
pub use figure::{Axis, AxisScale, ColourMap, Figure, Mark, Panel, Point};
pub use files::{write_bytes, write_json, write_text};
pub use number::significant;
pub use table::{Cell, Link, Table};
