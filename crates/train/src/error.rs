use thiserror::Error;

/// What can keep a network from being trained.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum TrainError {
    /// The description does not hold together.
    #[error(transparent)]
    Spec(#[from] gainstage_spec::SpecError),
    /// The weights could not be drawn.
    #[error(transparent)]
    Init(#[from] gainstage_init::InitError),
    /// A kind of layer that is not trained.
    #[error("layer {layer} is {kind}, which the trainer does not know")]
    Unsupported {
        /// Position in the network, from 1.
        layer: usize,
        /// What it is.
        kind: String,
    },
    /// Sizes that do not fit each other.
    #[error("{what}: {found} where {needed} are needed")]
    Size {
        /// What has the size.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The size that fits.
        needed: usize,
    },
    /// A checkpoint from which this training cannot go on.
    #[error("the checkpoint does not fit: {reason}")]
    Checkpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// Values with a loss for classes.
    #[error("cross-entropy is for classes; values are approximated with squared_error")]
    Values,
    /// A label that is no class.
    #[error("image {image} has label {label}; with {classes} classes labels are below {classes}")]
    Label {
        /// Index of the image.
        image: usize,
        /// Its label.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
    /// A setting outside its domain.
    #[error("{what} is {value}; it must be {bound}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The condition it violates.
        bound: &'static str,
    },
}
