use std::fmt;

use serde::{Deserialize, Serialize};

use crate::StatsError;

/// A probability strictly between 0 and 1: a confidence level, an error rate, a quantile's rank.
///
/// # Example
/// ```
/// use gainstage_stats::Probability;
/// assert_eq!(Probability::new(0.95)?, Probability::P95);
/// assert!(Probability::new(1.0).is_err() && Probability::new(f64::NAN).is_err());
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f64);

impl Probability {
    /// 0.95, the usual confidence level.
    pub const P95: Self = Self(0.95);
    /// 0.99.
    pub const P99: Self = Self(0.99);
    /// 1e-6, an error rate for tests that run on every commit.
    pub const ONE_IN_A_MILLION: Self = Self(1e-6);

    /// # Errors
    /// [`StatsError::Domain`] unless `0 < value < 1`.
    pub const fn new(value: f64) -> Result<Self, StatsError> {
        if value > 0.0 && value < 1.0 {
            Ok(Self(value))
        } else {
            Err(StatsError::Domain {
                what: "probability",
                value,
                bound: "strictly between 0 and 1",
            })
        }
    }

    /// The value.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Both tails of a central interval at this level: `1 - level`.
    pub(crate) const fn tails(self) -> f64 {
        1.0 - self.0
    }
}

impl TryFrom<f64> for Probability {
    type Error = StatsError;

    fn try_from(value: f64) -> Result<Self, StatsError> {
        Self::new(value)
    }
}

impl From<Probability> for f64 {
    fn from(p: Probability) -> Self {
        p.0
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
