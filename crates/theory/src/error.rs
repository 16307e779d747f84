use thiserror::Error;

/// What a prediction cannot be made for.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum TheoryError {
    /// A number outside its domain.
    #[error("{what} is {value}; it must be {bound}")]
    Domain {
        /// The quantity.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The condition it violates.
        bound: &'static str,
    },
    /// A variance at which a custom activation is not known far enough out.
    #[error(
        "{activation} could be followed to |z| = {reach} only, and at variance {q} averages need more; the variance must be at most {largest}, or the formula simpler"
    )]
    Reach {
        /// The activation.
        activation: String,
        /// How far out it is known.
        reach: f64,
        /// The variance.
        q: f64,
        /// The largest variance allowed.
        largest: f64,
    },
    /// A layer outside the theory.
    #[error("layer {layer}: {why}")]
    Layer {
        /// Number of the dense layer, from 1.
        layer: usize,
        /// What stands in the way, and what to do.
        why: String,
    },
    /// A description that does not hold together.
    #[error(transparent)]
    Spec(#[from] gainstage_spec::SpecError),
}

/// The value itself when it is finite and not negative.
pub(crate) fn not_negative(what: &'static str, value: f64) -> Result<f64, TheoryError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(TheoryError::Domain { what, value, bound: "finite and not negative" })
    }
}
