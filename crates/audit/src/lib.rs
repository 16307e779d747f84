//! x
mod audit;
mod baseline;
mod bytes;
mod catalogue;
mod checkpoint;
mod copies;
mod dtype;
mod document;
mod error;
mod facts;
mod factor;
mod family;
mod glob;
mod groups;
mod infer;
mod judge;
mod lines;
mod machine;
mod npy;
mod npz;
mod record;
mod role;
mod rules;
mod safetensors;
mod scan;
mod siblings;
mod sketch;
mod structure;
mod summary;
mod tables;
mod tail;

pub use audit::{Options, audit};
pub use checkpoint::{Checkpoint, Other, Tensor};
pub use dtype::Dtype;
pub use error::AuditError;
pub use groups::Group;
pub use record::{
    Audit, Counts, Detectable, Finding, RunnerUp, Severity, Skipped, StepZero, TensorRecord, VERSION, Verdict,
};
pub use role::Role;
pub use rules::Rules;
