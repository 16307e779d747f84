use thiserror::Error;

/// What can keep a claim from being run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// A code that is not in the ledger.
    #[error("no claim \"{code}\"; known: {known}")]
    Unknown {
        /// The code as given.
        code: String,
        /// The ledger's codes.
        known: String,
    },
    /// A budget that is none of three.
    #[error("no budget \"{0}\": use quick, standard or full")]
    Budget(String),
    /// Data that a training claim cannot use.
    #[error("the training images are {found}; {needed} are needed to hold out the first 5,000")]
    Data {
        /// Number of images.
        found: usize,
        /// Smallest number.
        needed: usize,
    },
    /// A description.
    #[error(transparent)]
    Spec(#[from] gainstage_spec::SpecError),
    /// A sampler.
    #[error(transparent)]
    Init(#[from] gainstage_init::InitError),
    /// A prediction.
    #[error(transparent)]
    Theory(#[from] gainstage_theory::TheoryError),
    /// A measurement.
    #[error(transparent)]
    Simulate(#[from] gainstage_simulate::SimulateError),
    /// A statistic.
    #[error(transparent)]
    Stats(#[from] gainstage_stats::StatsError),
    /// A weight file.
    #[error(transparent)]
    Audit(#[from] gainstage_audit::AuditError),
    /// The system gives no thread.
    #[error("no thread to read times on: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A training run.
    #[error(transparent)]
    Train(#[from] gainstage_train::TrainError),
}
