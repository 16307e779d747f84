use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{finite, positive};
use crate::{Moments, Plan, Property, Rates, StatsError};

/// A test that has promised, before seeing data, to see an effect of a stated size, and cannot be built
/// from too few values to keep the promise.
///
/// # Example
/// ```
/// use gainstage_stats::{Moments, Planned, Property, Rates, StatsError};
///
/// // Must catch 2% of a uniform law's variance, both error rates 1e-6.
/// let variance = Property::Variance { kurtosis: 1.8 };
/// let refused = Planned::new(variance, 0.02, 100_000, Rates::ONE_IN_A_MILLION);
/// assert!(matches!(refused, Err(StatsError::Underpowered { needed: 189_000..191_000, .. })));
///
/// let planned = Planned::new(variance, 0.02, 200_000, Rates::ONE_IN_A_MILLION)?;
/// let grid: Moments = (0..200_000).map(|i| (f64::from(i) + 0.5) / 200_000.0).collect();
/// assert!(planned.check_moments(&grid, 1.0 / 12.0)?.holds());
/// assert!(!planned.check_moments(&grid, 1.02 / 12.0)?.holds());
/// # Ok::<(), StatsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    plan: Plan,
    must_see: f64,
}

impl Planned {
    /// Promises to see an effect of size `must_see`, in the unit of the property, with `n` values.
    ///
    /// # Errors
    /// [`StatsError::Underpowered`] with the n that suffices; otherwise as [`Plan::new`].
    pub fn new(
        property: Property,
        must_see: f64,
        n: u64,
        rates: Rates,
    ) -> Result<Self, StatsError> {
        let plan = Plan::new(property, n, rates)?;
        if plan.sees(must_see) {
            return Ok(Self { plan, must_see });
        }
        Err(StatsError::Underpowered {
            property: property.name(),
            effect: must_see,
            needed: property.samples(must_see, rates)?,
            got: n,
            false_alarm: rates.false_alarm.get(),
            miss: rates.miss.get(),
        })
    }

    /// Envelope and smallest detectable effect.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Holds a deviation against the envelope; NaN does not hold. Deviations of the mean are absolute, of
    /// a variance or second moment relative, of a distribution the Kolmogorov-Smirnov distance.
    pub fn check(&self, deviation: f64) -> Check {
        Check { plan: self.plan, must_see: self.must_see, deviation }
    }

    /// Checks the mean, variance or second moment of the data against the expected one. More values than
    /// planned narrow the envelope.
    ///
    /// # Errors
    /// [`StatsError`] for fewer values than planned, values that are not finite, an expected variance
    /// that is not positive, or a property that moments do not determine.
    pub fn check_moments(&self, data: &Moments, expected: f64) -> Result<Check, StatsError> {
        data.require("the planned test", self.plan.n)?;
        let relative = |value: f64| Ok(value / positive("expected value", expected)? - 1.0);
        let deviation = match self.plan.property {
            Property::Mean { .. } | Property::Equivalence { .. } => {
                data.mean() - finite("expected value", expected)?
            }
            Property::Proportion { .. } => data.mean() - expected,
            Property::Variance { .. } => relative(data.sample_variance())?,
            Property::SecondMoment { .. } => relative(data.second_moment())?,
            Property::Distribution => return Err(StatsError::NotInMoments),
        };
        let plan = Plan::new(self.plan.property, data.count(), self.plan.rates)?;
        Ok(Check { plan, must_see: self.must_see, deviation })
    }
}

/// A deviation beside the envelope it was held against; prints everything a failed test must say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The plan, at the sample size of the data.
    pub plan: Plan,
    /// Effect that the test promised to see.
    pub must_see: f64,
    /// What the data show, in the unit of the property.
    pub deviation: f64,
}

impl Check {
    /// The deviation is inside the envelope.
    pub fn holds(&self) -> bool {
        self.deviation.abs() <= self.plan.envelope
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { property, n, rates, envelope, detectable } = self.plan;
        write!(
            f,
            "{}: deviation {:+.4e}, envelope {envelope:.4e}, detectable {detectable:.4e}, promised {:.4e}; n = {n}, false-alarm rate {:e}, miss rate {:e}",
            property.name(),
            self.deviation,
            self.must_see,
            rates.false_alarm.get(),
            rates.miss.get(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normal, rng};

    /// False-alarm rate 1e-6 per check; a gain wrong by 1.01 is 2% of variance and must be seen.
    #[test]
    fn a_normal_sample_keeps_its_moments_and_a_gain_wrong_by_one_percent_does_not() {
        let n = 500_000;
        let rates = Rates::ONE_IN_A_MILLION;
        let values = normal(&mut rng(1), n);
        let right = Moments::from(&values[..]);
        let wrong: Moments = values.iter().map(|z| z * 1.01).collect();
        let shifted: Moments = values.iter().map(|z| z + 0.02).collect();
        let kurtosis = 3.0;
        for property in [Property::Variance { kurtosis }, Property::SecondMoment { kurtosis }] {
            let planned = Planned::new(property, 0.02, n as u64, rates).unwrap();
            let check = planned.check_moments(&right, 1.0).unwrap();
            assert!(check.holds(), "{check}");
            assert!(!planned.check_moments(&wrong, 1.0).unwrap().holds());
        }
        let mean = Property::Mean { standard_deviation: 1.0 };
        let mean = Planned::new(mean, 0.02, n as u64, rates).unwrap();
        assert!(mean.check_moments(&right, 0.0).unwrap().holds());
        assert!(!mean.check_moments(&shifted, 0.0).unwrap().holds());
    }

    #[test]
    fn a_check_says_what_it_could_have_seen() {
        let mean = Property::Mean { standard_deviation: 1.0 };
        let planned = Planned::new(mean, 1.0, 400, Rates::ONE_IN_A_MILLION).unwrap();
        let text = planned.check(0.5).to_string();
        assert!(!planned.check(0.5).holds() && !planned.check(f64::NAN).holds());
        for part in ["mean", "+5.0000e-1", "2.4458e-1", "4.8225e-1", "n = 400", "1e-6"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let shape =
            Planned::new(Property::Distribution, 0.5, 400, Rates::ONE_IN_A_MILLION).unwrap();
        let many: Moments = (0..400).map(f64::from).collect();
        assert_eq!(shape.check_moments(&many, 0.0), Err(StatsError::NotInMoments));
        let few: Moments = [0.0, 1.0].into_iter().collect();
        assert!(matches!(
            planned.check_moments(&few, 0.0),
            Err(StatsError::TooFew { needed: 400, .. })
        ));
    }
}
