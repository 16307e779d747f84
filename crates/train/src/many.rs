use gainstage_spec::Network;
use rayon::prelude::*;

use crate::{Fit, Images, Protocol, TrainError, fit};

/// One model to train.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is trained.
    pub network: Network,
    /// How.
    pub protocol: Protocol,
    /// Root of its streams.
    pub seed: u64,
}

/// Trains many models, one a thread, and returns them in the order of the jobs.
///
/// `progress` is called with (job, epoch) whenever a model has finished an epoch.
///
/// # Errors
/// The first job's [`TrainError`], if one cannot be trained.
pub fn fit_many(
    jobs: &[Job],
    train: &Images,
    validation: Option<&Images>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Fit>, TrainError> {
    fit_many_then(jobs, train, validation, progress, |_, fit| fit)
}

/// As [`fit_many`], and keeps of each model what `finish` makes of (job, model) on the thread that
/// trained it, as soon as it is trained: an evaluation, say, or a file.
///
/// # Errors
/// As [`fit_many`].
pub fn fit_many_then<T: Send>(
    jobs: &[Job],
    train: &Images,
    validation: Option<&Images>,
    progress: &(dyn Fn(usize, usize) + Sync),
    finish: impl Fn(usize, Fit) -> T + Sync,
) -> Result<Vec<T>, TrainError> {
    let train_one = |(index, job): (usize, &Job)| {
        fit(&job.network, train, validation, &job.protocol, job.seed, &|epoch| {
            progress(index, epoch);
        })
        .map(|fit| finish(index, fit))
    };
    if let [only] = jobs {
        // Outside the pool its batches may be divided among all threads.
        return train_one((0, only)).map(|done| vec![done]);
    }
    jobs.par_iter().enumerate().with_max_len(1).map(train_one).collect()
}
