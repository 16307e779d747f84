//! x
mod bytes;
mod checkpoint;
mod dtype;
mod error;
mod npy;
mod npz;
mod role;
mod safetensors;
mod scan;
mod sketch;

pub use checkpoint::{Checkpoint, Other, Tensor};
pub use dtype::Dtype;
pub use error::AuditError;
pub use role::Role;
