use thiserror::Error;

/// What can be wrong with a description.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SpecError {
    /// A name that is not in the vocabulary.
    #[error("unknown {what} \"{name}\"; known: {known}")]
    Unknown {
        /// The kind of name: activation, initializer, fan mode.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The names that would have been understood.
        known: String,
    },
    /// A parameter outside its domain.
    #[error("{what} is {value}; it must be {bound}")]
    Domain {
        /// The parameter.
        what: String,
        /// Its value.
        value: f64,
        /// The condition it violates.
        bound: &'static str,
    },
    /// A description that cannot be read as `name(argument, key = value)`.
    #[error(
        "cannot read \"{text}\": {why}; write name(key = value, ...), for example normal(std = 0.1)"
    )]
    Syntax {
        /// The text as given.
        text: String,
        /// What stands in the way.
        why: String,
    },
    /// An activation's formula or table that cannot be used.
    #[error("activation \"{text}\": {why}")]
    Formula {
        /// The formula as given.
        text: String,
        /// What stands in the way, and where.
        why: String,
    },
    /// An initializer that is not defined for the shape.
    #[error("{initializer} is not defined for {shape}: {why}")]
    Shape {
        /// The initializer.
        initializer: String,
        /// The weight shape.
        shape: String,
        /// The condition that the shape violates, and what to do.
        why: &'static str,
    },
    /// A network that does not hold together.
    #[error("network: {0}")]
    Network(String),
}

impl SpecError {
    pub(crate) fn domain(what: impl Into<String>, value: f64, bound: &'static str) -> Self {
        Self::Domain { what: what.into(), value, bound }
    }
}
