//! Does a checkpoint start the way its authors think?
//!
//! An audit reads every tensor of a weight file once and asks which law it was drawn from: all initializers of
//! `gainstage-spec` and the frameworks' defaults, with either fan and in either order of the axes. With rules it
//! asks whether each tensor follows the law that it was meant to follow. It names the factor by which a scale
//! is off, and it sees what a variance alone does not show: thousand-sigma outliers, clipped tails, rows out of
//! line, low rank, layers drawn with one seed, weights that have been trained.
//!
//! | question | answer |
//! | --- | --- |
//! | what is read? | safetensors (one file, shards under an index, a folder; F64, F32, F16, BF16, F8_E4M3, F8_E5M2), npz and npy |
//! | what decides? | effect and significance together: a deviation must exceed the tolerance *and* chance at the stated rate |
//! | how often is it wrong? | [`Audit::false_alarm_rate`], shared among all tests of the run |
//! | what could it miss? | [`Audit::detectable`] |
//! | what was not looked at? | [`Audit::skipped`], with reasons |
//!
//! # Method
//! One pass counts values in cells of their number format, so the distribution function is exact at the cells'
//! edges, rounding to the format included: a bf16 tensor is compared with the law *as rounded to bf16*. The
//! shape is the family of largest likelihood, refused where its Kolmogorov-Smirnov distance exceeds 0.012 and
//! chance; the scale is compared with every candidate; how usual a law is decides between those that
//! fit alike. Layers of one kind are then compared with each other: what three quarters of them follow is the
//! custom, and who differs is told.
//!
//! # Limits
//! Without rules, a law that every layer follows consistently is right by definition, except for the
//! usual mistakes (a cut that was not corrected, which is right in Haiku's files; a variance passed as a standard
//! deviation; swapped fans of a dense layer, which under He's rule in all of them is a warning). A last layer with a known
//! law of its own is no finding. Rules decide all of it.
//!
//! # Example
//! ```
//! use gainstage_audit::{Checkpoint, Options, audit};
//! # use gainstage_init::{Key, Purpose, fill};
//! # use gainstage_spec::{Initializer, Layout, WeightShape};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("model.safetensors");
//! # let shape = WeightShape::dense(300, 100)?;
//! # let mut w = vec![0.0f32; 30_000];
//! # fill(&Initializer::he_normal(), &shape, Layout::OutIn, Key::new(1, Purpose::Weights, 0, 0), &mut w)?;
//! # let header = r#"{"fc.weight":{"dtype":"F32","shape":[100,300],"data_offsets":[0,120000]}}"#;
//! # let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! # file.extend(header.as_bytes());
//! # w.iter().for_each(|x| file.extend(x.to_le_bytes()));
//! # std::fs::write(&path, file)?;
//! let report = audit(&Checkpoint::open(&path)?, &Options::default())?;
//! let weight = &report.tensors[0];
//! assert_eq!(weight.law.as_deref(), Some("he_normal"));
//! assert_eq!((weight.fan_in, weight.layout.as_deref()), (Some(300), Some("out-in")));
//! assert!((weight.ratio.unwrap() - 1.0).abs() < 0.02);
//! assert!(!report.has_findings());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod array;
mod audit;
mod baseline;
mod blank;
mod branches;
mod bytes;
mod catalogue;
mod checkpoint;
mod consequence;
mod copies;
mod custom;
mod described;
mod document;
mod dtype;
mod effect;
mod error;
mod expected;
mod factor;
mod facts;
mod family;
mod fan_out;
mod folder;
mod formats;
mod general;
mod glob;
mod grain;
mod groups;
mod haiku;
mod index;
mod infer;
mod integers;
mod judge;
mod lines;
mod machine;
mod mistakes;
mod names;
mod npy;
mod npz;
mod part;
mod reading;
mod record;
mod role;
mod rules;
mod safetensors;
mod scan;
mod siblings;
mod siren;
mod sketch;
mod special;
mod stack;
mod structure;
mod summary;
mod tables;
mod tail;
mod tensor;
mod unit;
mod vectors;

pub use array::{Other, Tensor};
pub use audit::{Options, audit};
pub use checkpoint::Checkpoint;
pub use consequence::{Consequence, ConsequenceLayer};
pub use described::Described;
pub use dtype::Dtype;
pub use error::AuditError;
pub use groups::Group;
pub use record::{
    Audit, CheckpointRecord, Counts, Detectable, Finding, RunnerUp, Severity, Skipped, StepZero,
    TensorRecord, VERSION, Verdict,
};
pub use role::Role;
pub use rules::Rules;
pub use stack::{Stack, StackLayer};
