use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// A positive quantity's law over independent draws of the weights.
///
/// `log_mean`, `log_variance` and the band belong to the natural logarithm: ratios that multiply
/// along the depth are close to normal in the log and far from it outside. The mean over draws,
/// `expected`, lies above the typical value exp(log_mean), in deep networks far above.
///
/// To test the mean of the logarithm over K independent draws compare
/// (mean - log_mean) / sqrt(log_variance / K) with the standard normal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Mean over draws of the weights.
    pub expected: f64,
    /// Mean of the natural logarithm, given that the quantity is not zero.
    pub log_mean: f64,
    /// Variance of the natural logarithm, given that the quantity is not zero.
    pub log_variance: f64,
    /// Lower end of the band that holds one draw with the stated probability.
    pub low: f64,
    /// Upper end of that band.
    pub high: f64,
    /// Probability that the quantity is exactly zero: a layer without a single active unit.
    pub zero_probability: f64,
}

impl Predicted {
    pub(crate) fn new(expected: f64, log: Cumulants, zero_probability: f64, level: f64) -> Self {
        Self::with_quantiles(expected, log, zero_probability, level, |p| log.quantile(p))
    }

    /// With these quantiles of the logarithm, given that the quantity is not zero.
    pub(crate) fn with_quantiles(
        expected: f64,
        log: Cumulants,
        zero_probability: f64,
        level: f64,
        log_quantile: impl Fn(f64) -> f64,
    ) -> Self {
        if expected == 0.0 || log.mean == f64::NEG_INFINITY {
            return Self {
                expected: 0.0,
                log_mean: f64::NEG_INFINITY,
                log_variance: 0.0,
                low: 0.0,
                high: 0.0,
                zero_probability: 1.0,
            };
        }
        // Zeros take their share of the lower tail first.
        let quantile = |p: f64| {
            let alive = (p - zero_probability) / (1.0 - zero_probability);
            if alive <= 0.0 { 0.0 } else { log_quantile(alive).exp() }
        };
        let tail = 0.5 * (1.0 - level);
        Self {
            expected,
            log_mean: log.mean,
            log_variance: log.variance,
            low: quantile(tail),
            high: quantile(1.0 - tail),
            zero_probability,
        }
    }
}

/// First four cumulants of a logarithm; those of independent factors add.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cumulants {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) third: f64,
    pub(crate) fourth: f64,
}

impl Cumulants {
    pub(crate) fn constant(mean: f64) -> Self {
        Self { mean, ..Self::default() }
    }

    /// From weighted values; the weights need not be normalised.
    pub(crate) fn of(values: &[(f64, f64)]) -> Self {
        let total: f64 = values.iter().map(|v| v.1).sum();
        let mean = values.iter().map(|&(x, w)| w * x).sum::<f64>() / total;
        if mean == f64::NEG_INFINITY {
            return Self::constant(mean);
        }
        let central = |power: i32| {
            values.iter().map(|&(x, w)| w * (x - mean).powi(power)).sum::<f64>() / total
        };
        let (second, third, fourth) = (central(2), central(3), central(4));
        Self { mean, variance: second, third, fourth: fourth - 3.0 * second * second }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            mean: self.mean + other.mean,
            variance: self.variance + other.variance,
            third: self.third + other.third,
            fourth: self.fourth + other.fourth,
        }
    }

    /// Those of `factor` times the variable.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self {
            mean: self.mean * factor,
            variance: self.variance * factor.powi(2),
            third: self.third * factor.powi(3),
            fourth: self.fourth * factor.powi(4),
        }
    }

    /// With this much less variance, the mean of the exponential and the shape kept.
    pub(crate) fn narrowed(self, by: f64) -> Self {
        if by == 0.0 || self.variance <= 0.0 {
            return self;
        }
        let left = (self.variance - by).max(0.0);
        let spread = self.centred().scaled((left / self.variance).sqrt());
        spread.shifted(self.mean + 0.5 * (self.variance - left))
    }

    /// The same spread about zero.
    pub(crate) fn centred(self) -> Self {
        Self { mean: 0.0, ..self }
    }

    /// Mean of the exponential, by the cumulants at hand.
    pub(crate) fn exponential_mean(&self) -> f64 {
        (self.mean + self.variance / 2.0 + self.third / 6.0 + self.fourth / 24.0).exp()
    }

    /// Places and weights (not normalised) that stand for the law in an average.
    pub(crate) fn points(&self) -> Vec<(f64, f64)> {
        if self.variance <= 0.0 {
            return vec![(self.mean, 1.0)];
        }
        // The trapezoid rule on normal quantiles: error exp(-2 pi^2 / 0.25).
        (-12..=12)
            .map(|i| 0.5 * f64::from(i))
            .map(|z| (self.at_normal(z), (-0.5 * z * z).exp()))
            .collect()
    }

    pub(crate) fn shifted(self, by: f64) -> Self {
        Self { mean: self.mean + by, ..self }
    }

    /// Quantile by the Cornish-Fisher expansion to the fourth cumulant (Cornish & Fisher 1938).
    pub(crate) fn quantile(&self, p: f64) -> f64 {
        if self.variance <= 0.0 {
            return self.mean;
        }
        self.at_normal(Normal::standard().inverse_cdf(p))
    }

    /// P(variable <= x) by the Edgeworth expansion to the fourth cumulant.
    pub(crate) fn cdf(&self, x: f64) -> f64 {
        if self.variance <= 0.0 {
            return if x >= self.mean { 1.0 } else { 0.0 };
        }
        let std = self.variance.sqrt();
        let (z, skew) = ((x - self.mean) / std, self.third / std.powi(3));
        let excess = self.fourth / self.variance.powi(2);
        let (z2, density) = (z * z, (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt());
        let correction = skew / 6.0 * (z2 - 1.0)
            + excess / 24.0 * z * (z2 - 3.0)
            + skew * skew / 72.0 * z * (z2 * z2 - 10.0 * z2 + 15.0);
        0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2) - density * correction
    }

    /// The value that stands where the standard normal has z.
    pub(crate) fn at_normal(&self, z: f64) -> f64 {
        let std = self.variance.max(0.0).sqrt();
        if std == 0.0 {
            return self.mean;
        }
        // Beyond these, those of ln chi^2 with one degree of freedom and more, the expansion folds over.
        let skew = (self.third / std.powi(3)).clamp(-2.0, 2.0);
        let excess = (self.fourth / self.variance.powi(2)).clamp(-1.0, 6.0);
        let standard = z + skew / 6.0 * (z * z - 1.0) + excess / 24.0 * (z * z * z - 3.0 * z)
            - skew * skew / 36.0 * (2.0 * z * z * z - 5.0 * z);
        self.mean + std * standard
    }
}
