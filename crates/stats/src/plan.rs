use serde::{Deserialize, Serialize};

use crate::error::{kurtosis_above_one, positive};
use crate::special::{normal_upper_quantile, t_upper_quantile};
use crate::{Probability, StatsError, relative_standard_error_of_variance};

/// The two error rates of a test, neither of which can be 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Probability of an alarm when there is nothing to see (alpha).
    pub false_alarm: Probability,
    /// Probability of silence when there is an effect of the detectable size (beta).
    pub miss: Probability,
}

impl Rates {
    /// Both rates 1e-6: a suite of a thousand such tests fails once in a thousand runs.
    pub const ONE_IN_A_MILLION: Self =
        Self { false_alarm: Probability::ONE_IN_A_MILLION, miss: Probability::ONE_IN_A_MILLION };
}

/// The property of a law that a test looks at, with what its standard error depends on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// The mean; effects in the data's unit.
    Mean {
        /// Standard deviation of the law.
        standard_deviation: f64,
    },
    /// The variance, mean removed; effects relative.
    Variance {
        /// Kurtosis of the law, 3 for a normal one.
        kurtosis: f64,
    },
    /// The second moment, mean not removed; effects relative.
    SecondMoment {
        /// `E x^4 / (E x^2)^2`, the kurtosis if the law's mean is zero.
        kurtosis: f64,
    },
    /// The distribution function; effects as Kolmogorov-Smirnov distance.
    Distribution,
    /// Equality of a mean and a value; effects are margins in the data's unit. The false alarm is a
    /// false claim of equivalence, the miss a failure to show exact equality.
    Equivalence {
        /// Standard deviation of the law; of the differences, for pairs.
        standard_deviation: f64,
    },
    /// A proportion; effects are differences of proportions.
    Proportion {
        /// Proportion under the null hypothesis.
        expected: Probability,
    },
}

/// What a test of `n` independent values can see.
///
/// # Definition
/// ```text
/// mean, variance, second moment, proportion   envelope = z(1 - alpha/2) e,  detectable = envelope + z(1 - beta) e
/// distribution                                envelope = sqrt(ln(2 / alpha) / 2n),  detectable = envelope + sqrt(ln(2 / beta) / 2n)
/// equivalence                                 envelope = t(1 - beta/2) e,  detectable = envelope + t(1 - alpha) e
/// ```
/// with `e` the standard error under the null hypothesis and n - 1 degrees of freedom for t. The
/// distribution's bound is that of Dvoretzky, Kiefer and Wolfowitz with Massart's (1990) constant, valid
/// at every n; the first line rests on the central limit theorem. Stating the smallest detectable effect
/// beside every test follows TensorFlow Probability's `statistical_testing`.
///
/// # Example
/// With both rates 1e-6, the smallest detectable relative error of a variance:
/// ```
/// use gainstage_stats::{Plan, Property, Rates};
/// let percent = |kurtosis: f64, n: u64| {
///     let plan = Plan::new(Property::Variance { kurtosis }, n, Rates::ONE_IN_A_MILLION)?;
///     Ok::<_, gainstage_stats::StatsError>(100.0 * plan.detectable)
/// };
/// for (kurtosis, at_1e4, at_1e5, at_1e6) in [
///     (3.0, 13.6, 4.3, 1.36),    // normal
///     (1.8, 8.6, 2.7, 0.86),     // uniform
///     (2.366, 11.3, 3.6, 1.13),  // normal truncated at two standard deviations
/// ] {
///     assert!((percent(kurtosis, 10_000)? - at_1e4).abs() < 0.05);
///     assert!((percent(kurtosis, 100_000)? - at_1e5).abs() < 0.05);
///     assert!((percent(kurtosis, 1_000_000)? - at_1e6).abs() < 0.005);
/// }
/// // The Kolmogorov-Smirnov test is three times blunter on scale. A small relative error v of a normal
/// // variance moves the distribution function by v phi(1) / 2 at most.
/// let phi_1 = (-0.5_f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
/// for (n, percent) in [(10_000, 44.5), (100_000, 14.1), (1_000_000, 4.45)] {
///     let plan = Plan::new(Property::Distribution, n, Rates::ONE_IN_A_MILLION)?;
///     assert!((100.0 * plan.detectable / (0.5 * phi_1) - percent).abs() < 0.05);
/// }
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is tested.
    pub property: Property,
    /// Independent values.
    pub n: u64,
    /// Error rates.
    pub rates: Rates,
    /// Deviation up to which the test is silent.
    pub envelope: f64,
    /// Smallest effect seen except at the miss rate, to first order in the effect; [`Plan::sees`] is
    /// stricter.
    pub detectable: f64,
}

impl Plan {
    /// # Errors
    /// [`StatsError`] for fewer than two values, a standard deviation that is not positive, a kurtosis that
    /// is not above 1, or an equivalence at a false-alarm rate of one half or more.
    pub fn new(property: Property, n: u64, rates: Rates) -> Result<Self, StatsError> {
        if n < 2 {
            return Err(StatsError::TooFew { what: "a plan", needed: 2, got: n });
        }
        let (alpha, beta) = (rates.false_alarm.get(), rates.miss.get());
        let (silent, seen) = match property {
            Property::Distribution => {
                let dkw = |rate: f64| ((2.0 / rate).ln() / (2.0 * n as f64)).sqrt();
                (dkw(alpha), dkw(beta))
            }
            Property::Equivalence { .. } => {
                let error = property.standard_error(n)?;
                let t = |tail| t_upper_quantile(tail, n as f64 - 1.0) * error;
                (t(0.5 * beta), t(below_half(alpha)?))
            }
            _ => {
                let error = property.standard_error(n)?;
                let z = |tail| normal_upper_quantile(tail) * error;
                (z(0.5 * alpha), z(beta))
            }
        };
        Ok(Self { property, n, rates, envelope: silent, detectable: silent + seen })
    }

    /// True if an effect of this size, in either direction, is missed at no more than the miss rate,
    /// with the standard error that the effect itself brings: a scale larger by a share `d` has an error
    /// larger by `1 + d`, a proportion has its own binomial one.
    pub fn sees(&self, effect: f64) -> bool {
        let growth = match self.property {
            Property::Variance { .. } | Property::SecondMoment { .. } => 1.0 + effect,
            Property::Proportion { expected } => {
                let p = expected.get();
                let variance = |p: f64| p.clamp(0.0, 1.0) * (1.0 - p.clamp(0.0, 1.0));
                let worst = variance(p + effect).max(variance(p - effect));
                (worst / variance(p)).sqrt()
            }
            Property::Mean { .. } | Property::Distribution | Property::Equivalence { .. } => 1.0,
        };
        self.envelope + (self.detectable - self.envelope) * growth <= effect
    }
}

impl Property {
    /// Values needed to see an effect at the given rates: the smallest n whose [`Plan::sees`] it.
    ///
    /// # Errors
    /// [`StatsError`] for an effect that is not positive or needs more than 2^53 values, and as
    /// [`Plan::new`].
    ///
    /// # Example
    /// ```
    /// use gainstage_stats::{Property, Rates};
    /// // 2% of a normal variance, both rates 1e-6: about 2 (9.65 / 0.02)^2.
    /// let n = Property::Variance { kurtosis: 3.0 }.samples(0.02, Rates::ONE_IN_A_MILLION)?;
    /// assert!((465_000..480_000).contains(&n));
    /// # Ok::<(), gainstage_stats::StatsError>(())
    /// ```
    pub fn samples(self, effect: f64, rates: Rates) -> Result<u64, StatsError> {
        let effect = positive("effect", effect)?;
        let sees = |n: u64| Ok::<_, StatsError>(Plan::new(self, n, rates)?.sees(effect));
        let mut enough = 2;
        while !sees(enough)? {
            if enough >= 1 << 53 {
                let bound = "large enough for 2^53 values to show";
                return Err(StatsError::Domain { what: "effect", value: effect, bound });
            }
            enough *= 2;
        }
        let mut few = enough / 2;
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            if sees(middle)? {
                enough = middle;
            } else {
                few = middle;
            }
        }
        Ok(enough)
    }

    /// Standard error under the null hypothesis, in the unit of the property's effects.
    fn standard_error(self, n: u64) -> Result<f64, StatsError> {
        let root = (n as f64).sqrt();
        match self {
            Self::Mean { standard_deviation } | Self::Equivalence { standard_deviation } => {
                Ok(positive("standard deviation", standard_deviation)? / root)
            }
            Self::Variance { kurtosis } => {
                relative_standard_error_of_variance(kurtosis_above_one(kurtosis)?, n)
            }
            Self::SecondMoment { kurtosis } => {
                Ok((kurtosis_above_one(kurtosis)? - 1.0).sqrt() / root)
            }
            Self::Proportion { expected } => {
                let p = expected.get();
                Ok((p * (1.0 - p)).sqrt() / root)
            }
            // A bound rather than an error; see the definition.
            Self::Distribution => Ok(0.5 / root),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mean { .. } => "mean",
            Self::Variance { .. } => "variance",
            Self::SecondMoment { .. } => "second moment",
            Self::Distribution => "distribution",
            Self::Equivalence { .. } => "equality of means",
            Self::Proportion { .. } => "proportion",
        }
    }
}

/// The interval of an equivalence test has level 1 - 2 alpha.
fn below_half(alpha: f64) -> Result<f64, StatsError> {
    if alpha < 0.5 {
        Ok(alpha)
    } else {
        let what = "alpha of an equivalence test";
        Err(StatsError::Domain { what, value: alpha, bound: "below one half" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rate, assert_rate_at_least, assert_rate_at_most, count, normal};
    use crate::{Conclusion, Moments, equivalence, ks_test};
    use rand_distr::{Distribution, StandardUniform};

    const RUNS: u64 = 3000;

    fn rates() -> Rates {
        let rate = Probability::new(0.05).unwrap();
        Rates { false_alarm: rate, miss: rate }
    }

    /// Each property: alarms under the null at the false-alarm rate, and misses of the planned effect,
    /// larger and smaller, at no more than the miss rate. The normal approximation at these n is within
    /// 0.5% of 5%, the check's resolution is 1.9%.
    #[test]
    fn planned_tests_keep_both_of_their_rates() {
        let cases: [(Property, f64); 2] = [
            (Property::Mean { standard_deviation: 1.0 }, 0.1),
            (Property::Variance { kurtosis: 3.0 }, 0.2),
        ];
        for (property, effect) in cases {
            let n = property.samples(effect, rates()).unwrap();
            let plan = Plan::new(property, n, rates()).unwrap();
            let alarms = |effect: f64| {
                count(RUNS, |rng| {
                    let m = Moments::from(&normal(rng, n as usize)[..]);
                    let deviation = match property {
                        Property::Mean { .. } => m.mean() + effect,
                        _ => m.sample_variance() * (1.0 + effect) - 1.0,
                    };
                    deviation.abs() > plan.envelope
                })
            };
            assert_rate(property.name(), alarms(0.0), RUNS, 0.05);
            assert_rate_at_least(property.name(), alarms(effect), RUNS, 0.95);
            assert_rate_at_least(property.name(), alarms(-effect), RUNS, 0.95);
            // Planning is not wasteful: half of the effect is missed far more often.
            assert_rate_at_most(property.name(), alarms(0.5 * effect), RUNS, 0.7);
        }
    }

    #[test]
    fn a_planned_proportion_keeps_both_of_its_rates() {
        let property = Property::Proportion { expected: Probability::new(0.9).unwrap() };
        let n = property.samples(0.02, rates()).unwrap();
        let plan = Plan::new(property, n, rates()).unwrap();
        let alarms = |p: f64| {
            count(1000, |rng| {
                let hits = StandardUniform
                    .sample_iter(rng)
                    .take(n as usize)
                    .filter(|&u: &f64| u < p)
                    .count();
                (hits as f64 / n as f64 - 0.9).abs() > plan.envelope
            })
        };
        assert_rate("null", alarms(0.9), 1000, 0.05);
        assert_rate_at_least("0.88", alarms(0.88), 1000, 0.95);
        assert_rate_at_least("0.92", alarms(0.92), 1000, 0.95);
    }

    /// A shift by s moves the uniform distribution function by s everywhere inside.
    #[test]
    fn a_planned_distribution_test_keeps_both_of_its_rates() {
        let n = Property::Distribution.samples(0.1, rates()).unwrap();
        let plan = Plan::new(Property::Distribution, n, rates()).unwrap();
        let alarms = |shift: f64| {
            count(1000, |rng| {
                let u: Vec<f64> = StandardUniform.sample_iter(rng).take(n as usize).collect();
                let d = ks_test(&u, |x| (x + shift).clamp(0.0, 1.0)).unwrap().statistic;
                d > plan.envelope
            })
        };
        assert_rate_at_most("null", alarms(0.0), 1000, 0.05);
        assert_rate_at_least("shift", alarms(0.1), 1000, 0.95);
    }

    #[test]
    fn a_planned_equivalence_is_shown_as_often_as_planned() {
        let property = Property::Equivalence { standard_deviation: 1.0 };
        for margin in [0.5, 1.5] {
            let n = property.samples(margin, rates()).unwrap();
            let shown = |shift: f64| {
                count(RUNS, |rng| {
                    let m: Moments = normal(rng, n as usize).iter().map(|z| z + shift).collect();
                    let test = equivalence(&m, 0.0, margin, rates().false_alarm).unwrap();
                    test.conclusion == Conclusion::Equivalent
                })
            };
            // The plan takes the standard deviation for known; the t-test's estimate of it costs a few
            // percent of power at n below ten.
            let power = if n < 10 { 0.85 } else { 0.93 };
            assert_rate_at_least("equal", shown(0.0), RUNS, power);
            assert_rate_at_most("on the margin", shown(margin), RUNS, 0.05);
        }
    }

    #[test]
    fn samples_is_the_smallest_that_sees() {
        let spread = [
            Property::Mean { standard_deviation: 2.0 },
            Property::Variance { kurtosis: 1.8 },
            Property::SecondMoment { kurtosis: 6.0 },
            Property::Distribution,
            Property::Equivalence { standard_deviation: 0.3 },
            Property::Proportion { expected: Probability::new(0.01).unwrap() },
        ];
        for property in spread {
            let n = property.samples(0.05, Rates::ONE_IN_A_MILLION).unwrap();
            let sees = |n| Plan::new(property, n, Rates::ONE_IN_A_MILLION).unwrap().sees(0.05);
            assert!(sees(n) && !sees(n - 1), "{property:?}: {n}");
            assert!(property.samples(0.0, Rates::ONE_IN_A_MILLION).is_err());
        }
        assert!(Property::Distribution.samples(1e-9, Rates::ONE_IN_A_MILLION).is_err());
        let sign_law = Property::SecondMoment { kurtosis: 1.0 };
        assert!(Plan::new(sign_law, 100, Rates::ONE_IN_A_MILLION).is_err());
    }
}
