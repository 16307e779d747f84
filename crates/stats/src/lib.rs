//! Instruments: mergeable moments, intervals, tests of agreement and equivalence, planning.
//!
//! The crate knows nothing of networks. Everything it returns is a small serialisable value.
//!
//! | question | instrument |
//! | --- | --- |
//! | what do the data look like? | [`Moments`], [`Histogram`], [`quantile`] |
//! | how well is a number known? | [`Interval`]: [`mean_interval`], [`geometric_mean_interval`], [`variance_interval`], [`quantile_interval`], [`wilson_interval`], [`clopper_pearson_interval`], [`slope_interval`] |
//! | do the data contradict a law? | [`Test`]: [`mean_test`], [`variance_test`], [`second_moment_test`], [`t_test`], [`paired_t_test`], [`welch_test`], [`sign_test`], [`ks_test`], [`ks_p_value`], [`ks_two_sample_test`], [`chi_square_test`], [`correlation_test`] |
//! | do they show that two things are equal? | [`Equivalence`]: [`equivalence`], [`equivalence_paired`], [`equivalence_welch`] |
//! | how many questions were asked? | [`holm`] |
//! | how much data does the question need? | [`Property`], [`Plan`], [`Planned`] |
//!
//! A large p-value is not evidence of equality: that is what [`Equivalence`] is for. A test that
//! passes says nothing until [`Plan`] says what it could have seen.
//!
//! # Example
//! ```
//! use gainstage_stats::{Moments, Probability, equivalence, mean_interval, t_test};
//!
//! let m = Moments::from(&[0.9, 1.1, 1.0, 1.2, 0.8][..]);
//! assert!((m.mean() - 1.0).abs() < 1e-15);
//! assert!((m.sample_variance() - 0.025).abs() < 1e-15);
//!
//! let interval = mean_interval(&m, Probability::P95)?;
//! assert!((interval.low - 0.8037).abs() < 1e-4 && (interval.high - 1.1963).abs() < 1e-4);
//! assert!(t_test(&m, 2.0)?.p_value < 2e-4);
//! assert!(equivalence(&m, 1.0, 0.25, Probability::new(0.05)?)?.is_equivalent());
//! # Ok::<(), gainstage_stats::StatsError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bulk;
mod chi_square;
mod correlation;
mod equivalence;
mod error;
mod histogram;
mod holm;
mod interval;
mod kolmogorov;
mod ks;
mod location;
mod moments;
mod plan;
mod planned;
mod probability;
mod proportion;
mod quantile;
mod scale;
mod sign;
mod slope;
mod special;
mod test;
#[cfg(test)]
mod testing;

pub use chi_square::chi_square_test;
pub use correlation::{correlation, correlation_test};
pub use equivalence::{
    Conclusion, Equivalence, equivalence, equivalence_paired, equivalence_welch,
};
pub use error::StatsError;
pub use histogram::Histogram;
pub use holm::holm;
pub use interval::{Interval, MeanIntervals, geometric_mean_interval, mean_interval};
pub use ks::{ks_p_value, ks_test, ks_two_sample_test};
pub use location::{mean_test, paired_t_test, t_test, welch_test};
pub use moments::Moments;
pub use plan::{Plan, Property, Rates};
pub use planned::{Check, Planned};
pub use probability::Probability;
pub use proportion::{clopper_pearson_interval, wilson_interval};
pub use quantile::{quantile, quantile_interval, quantiles};
pub use scale::{
    relative_standard_error_of_variance, second_moment_test, variance_interval, variance_test,
};
pub use sign::sign_test;
pub use slope::{slope, slope_interval};
pub use test::{Side, Test};
