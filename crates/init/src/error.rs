use gainstage_spec::{Law, SpecError};
use thiserror::Error;

/// What can keep an array from being filled.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum InitError {
    /// The initializer, or the initializer for this shape, is not defined.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The array has another size than the shape.
    #[error(
        "the array holds {found} values, the shape {shape} has {needed}; give it exactly as many"
    )]
    Length {
        /// Values in the array.
        found: usize,
        /// Values of the shape.
        needed: usize,
        /// The shape.
        shape: String,
    },
    /// An initializer whose entries depend on each other, asked for a bias.
    #[error(
        "{0} is no initializer for a bias; use zeros, constant, normal, uniform or a scaled rule"
    )]
    Bias(String),
    /// A law that the number format cannot hold.
    #[error("{law:?} cannot be drawn in {format}: {why}; rescale it{}", if *format == "f32" { " or draw in f64" } else { "" })]
    Format {
        /// The law.
        law: Law,
        /// The number format, `f32` or `f64`.
        format: &'static str,
        /// What would be lost.
        why: &'static str,
    },
}
