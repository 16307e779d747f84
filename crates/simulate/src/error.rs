use gainstage_spec::SpecError;
use thiserror::Error;

/// What can keep a network from being measured.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SimulateError {
    /// The description does not hold together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A statistic that could not be formed.
    #[error(transparent)]
    Stats(#[from] gainstage_stats::StatsError),
    /// A number of the setup outside its domain.
    #[error("{what} is {value}; it must be {bound}")]
    Setup {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The condition it violates.
        bound: &'static str,
    },
    /// A memory budget that no division of the network fits into.
    #[error(
        "a memory budget of {budget} bytes does not hold the signals of the draws; give at least {least} bytes, fewer threads or a smaller batch"
    )]
    Memory {
        /// Bytes given.
        budget: usize,
        /// Bytes of the division that takes the least.
        least: usize,
    },
    /// Given inputs that do not fit the network.
    #[error("the inputs hold {found} values; {batch} inputs of width {width} need {needed}")]
    InputLength {
        /// Number of values given.
        found: usize,
        /// Number of inputs asked for.
        batch: usize,
        /// Width of the network's input.
        width: usize,
        /// batch * width
        needed: usize,
    },
    /// The weights could not be drawn.
    #[error("layer {layer}: {reason}")]
    Weights {
        /// Index of the dense layer, from 1.
        layer: usize,
        /// What the sampler said.
        reason: String,
    },
    /// Given weights, labels or error signals that do not fit the network.
    #[error("{what} has {found} values; the network needs {needed}")]
    GivenLength {
        /// Which of them.
        what: String,
        /// Number of values given.
        found: usize,
        /// Number of values that fit.
        needed: usize,
    },
    /// A label without an output.
    #[error("label {label} of input {input} is not below the network's {classes} outputs")]
    Label {
        /// The label.
        label: usize,
        /// Its input, from 0.
        input: usize,
        /// Width of the output.
        classes: usize,
    },
    /// Draws without matrices would not have the network's law.
    #[error(
        "matrix-free draws would not be exact: layer {layer}, {reason}; draw every weight (dense), or let the method be chosen (auto)"
    )]
    Inexact {
        /// Index of the dense layer, from 1.
        layer: usize,
        /// What stands against it.
        reason: String,
    },
    /// One input's Jacobian in a network where inputs act on each other.
    #[error(
        "the Jacobian of one input is not defined behind {0}, which ties or masks a whole batch"
    )]
    Coupled(String),
    /// A kind of layer that this crate does not know.
    #[error("the simulator does not know this layer: {0}")]
    UnknownLayer(String),
}
