//! The ledger: statements about weight initialization, each with its prediction, experiment, test and
//! verdict.
//!
//! A [`Claim`] is data plus one short experiment. Its rule stands beside it, and says so where it
//! was revised after a first look; equality is an
//! equivalence test with a stated margin; the family of all claims runs at a stated false-alarm rate
//! ([`FAMILY_RATE`]). [`run`] measures, [`document`] typesets: tests, command line and report read the
//! same [`Record`]s.
//!
//! ```no_run
//! use std::sync::Arc;
//! use gainstage_claims::{Budget, Lab, find, run};
//! use gainstage_data::{Source, load};
//!
//! let data = Arc::new(load(&Source::Synthetic, &mut |_| ())?);
//! let lab = Lab::new(1, Budget::Quick, data, Arc::new(|_: &str| ()));
//! let (record, _) = run(find("HE01")?, &lab)?;
//! assert_eq!(record.verdict, record.expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod autoencoders;
mod biases;
mod blocks;
mod breaking;
mod calibration;
mod calibration_report;
mod chapters;
mod choice;
mod choosing;
mod claim;
mod clipping;
mod comparison;
mod conformance;
mod convergence;
mod cost;
mod coverage;
mod curves;
mod data_scale;
mod deep;
mod depth_scales;
mod document;
mod draws;
mod dropout;
mod error;
mod exact;
mod figures;
mod finite_width;
mod framework_layers;
mod frameworks;
mod frozen;
mod gains;
mod generalization;
mod glorot;
mod glorot_table;
mod he;
mod heads;
mod instruments;
mod lab;
mod layer_jacobians;
mod ledger;
mod limits;
mod mean_field;
mod mitigations;
mod notebook;
mod notebook_figures;
mod overfitting;
mod recommendation;
mod regularizers;
mod rust_frameworks;
mod saddle;
mod saturation;
mod side_by_side;
mod signal;
mod spectra;
mod structure;
mod symmetry;
mod trainability;
mod training;
mod vanishing;
mod variants;
mod verdict;
mod versus_xavier;
mod xavier;

pub use calibration::{Calibrated, Calibration, calibrate};
pub use calibration_report::calibration_section;
pub use claim::{Budget, Chapter, Claim, Conclusion, Finding, Outcome, Record, Verdict};
pub use document::{Run, document};
pub use error::ClaimError;
pub use figures::{LayerPanel, Readers, layer_figure};
pub use lab::{FAMILY_RATE, FAMILY_SIZE, Lab, Plant};
pub use ledger::{find, ledger, run};
pub use notebook::{INITS, ModelRun, Runs, SeedRun, notebook, resume_notebook};
pub use notebook_figures::notebook_figures;
pub use side_by_side::{Planted, run_all, run_planted};
