use serde::{Deserialize, Deserializer, Serialize};

use crate::{StatsError, bulk};

/// Count, mean and central sums of order 2 to 4 of a sample, in f64, mergeable.
///
/// # Definition
/// ```text
/// M_k = sum_i (x_i - mean)^k,  k = 2, 3, 4
/// ```
/// Single values and partial samples are combined by the update formulas of Chan, Golub and LeVeque
/// (1979) and Pébay (2008). NaN and infinite values are counted in [`non_finite`](Self::non_finite)
/// and enter nothing else.
///
/// # Domain
/// Every finite f32. Finite f64 values up to 1e75 in magnitude; beyond that the fourth powers
/// overflow and [`kurtosis`](Self::kurtosis) becomes NaN, beyond 1e150 so does the variance.
/// A quantity that its sample does not define (a mean of nothing, a variance of one value with
/// `n - 1`, a kurtosis without spread) is NaN.
///
/// # Determinism
/// The bits depend on the calls and their order only. Split work by meaning (a trial, a layer), never
/// by thread, and merge in a fixed order.
///
/// # Example
/// ```
/// use gainstage_stats::Moments;
///
/// let mut left = Moments::from(&[1.0_f32, 2.0][..]);
/// left.merge(&Moments::from(&[3.0_f32, 4.0, f32::NAN][..]));
/// assert_eq!((left.count(), left.non_finite()), (4, 1));
/// assert_eq!(left.mean(), 2.5);
/// assert_eq!(left.population_variance(), 1.25);
/// assert_eq!(left.second_moment(), 7.5);
/// assert_eq!((left.min(), left.max()), (1.0, 4.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    pub(crate) count: u64,
    pub(crate) non_finite: u64,
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) mean: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) m2: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) m3: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) m4: f64,
    /// 0 while `count` is 0, so that an empty value has a JSON form.
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// JSON writes an overflowed sum as null.
fn null_is_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::deserialize(from).map(|v| v.unwrap_or(f64::NAN))
}

impl Moments {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one value in.
    pub fn push(&mut self, x: f64) {
        if !x.is_finite() {
            self.non_finite += 1;
            return;
        }
        if self.count == 0 {
            (self.min, self.max) = (x, x);
        } else {
            (self.min, self.max) = (self.min.min(x), self.max.max(x));
        }
        // Pébay (2008), eq. 2.1 with one set a single value.
        let before = self.count as f64;
        self.count += 1;
        let n = self.count as f64;
        let delta = x - self.mean;
        let step = delta / n;
        let square = step * step;
        let term = delta * step * before;
        self.mean += step;
        self.m4 +=
            term * square * (n * n - 3.0 * n + 3.0) + 6.0 * square * self.m2 - 4.0 * step * self.m3;
        self.m3 += term * step * (n - 2.0) - 3.0 * step * self.m2;
        self.m2 += term;
    }

    /// Takes many values in, vectorised: per chunk of 4096, counted from the start of the slice, the
    /// power sums about the chunk's own mean, then a merge.
    pub fn extend_from_f32(&mut self, values: &[f32]) {
        bulk::extend(self, values);
    }

    /// As [`extend_from_f32`](Self::extend_from_f32).
    pub fn extend_from_f64(&mut self, values: &[f64]) {
        bulk::extend(self, values);
    }

    /// Takes another sample in.
    pub fn merge(&mut self, other: &Self) {
        let non_finite = self.non_finite + other.non_finite;
        if self.count == 0 {
            *self = *other;
        } else if other.count > 0 {
            // Pébay (2008), eq. 2.1.
            let (na, nb) = (self.count as f64, other.count as f64);
            let n = na + nb;
            let delta = other.mean - self.mean;
            let (step, weight) = (delta / n, na * nb);
            let (delta2, step2) = (delta * step * weight, step * step);
            self.m4 += other.m4
                + delta2 * step2 * (na * na - weight + nb * nb)
                + 6.0 * step2 * (na * na * other.m2 + nb * nb * self.m2)
                + 4.0 * step * (na * other.m3 - nb * self.m3);
            self.m3 +=
                other.m3 + delta2 * step * (na - nb) + 3.0 * step * (na * other.m2 - nb * self.m2);
            self.m2 += other.m2 + delta2;
            self.mean += step * nb;
            self.count += other.count;
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
        self.non_finite = non_finite;
    }

    /// Finite values taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Values that were NaN or infinite.
    pub fn non_finite(&self) -> u64 {
        self.non_finite
    }

    /// Sample mean.
    pub fn mean(&self) -> f64 {
        self.defined(1, self.mean)
    }

    /// Smallest finite value.
    pub fn min(&self) -> f64 {
        self.defined(1, self.min)
    }

    /// Largest finite value.
    pub fn max(&self) -> f64 {
        self.defined(1, self.max)
    }

    /// `M_2 / n`, the variance of the values as a whole population.
    pub fn population_variance(&self) -> f64 {
        self.defined(1, self.m2 / self.count as f64)
    }

    /// `M_2 / (n - 1)`, the unbiased estimate of the variance of the law they were drawn from.
    pub fn sample_variance(&self) -> f64 {
        self.defined(2, self.m2 / (self.count as f64 - 1.0))
    }

    /// Square root of [`sample_variance`](Self::sample_variance).
    pub fn sample_std(&self) -> f64 {
        self.sample_variance().sqrt()
    }

    /// Mean of `x^2`; the mean is not removed.
    pub fn second_moment(&self) -> f64 {
        self.second_moment_about(0.0)
    }

    /// Mean of `(x - centre)^2`.
    pub fn second_moment_about(&self, centre: f64) -> f64 {
        let shift = self.mean - centre;
        self.defined(1, self.m2 / self.count as f64 + shift * shift)
    }

    /// Third standardised moment `sqrt(n) M_3 / M_2^(3/2)`; 0 for a symmetric law.
    pub fn skewness(&self) -> f64 {
        (self.count as f64).sqrt() * (self.m3 / self.m2) / self.m2.sqrt()
    }

    /// Fourth standardised moment `n M_4 / M_2^2`: 3 for a normal law, at least 1 for every law and at
    /// most n for a sample.
    pub fn kurtosis(&self) -> f64 {
        self.count as f64 * (self.m4 / self.m2) / self.m2
    }

    /// Standard error of the mean, `sample_std / sqrt(n)`.
    pub fn standard_error(&self) -> f64 {
        (self.sample_variance() / self.count as f64).sqrt()
    }

    fn defined(&self, needed: u64, value: f64) -> f64 {
        if self.count < needed { f64::NAN } else { value }
    }

    /// Refuses moments that met NaN or infinities, hold fewer than `needed` values, or overflowed.
    pub(crate) fn require(&self, what: &'static str, needed: u64) -> Result<(), StatsError> {
        if self.non_finite > 0 {
            let of = self.count + self.non_finite;
            return Err(StatsError::NotFiniteMoments { count: self.non_finite, of });
        }
        if self.count < needed {
            return Err(StatsError::TooFew { what, needed, got: self.count });
        }
        if !self.m2.is_finite() || !self.mean.is_finite() {
            let value = self.max.max(-self.min);
            return Err(StatsError::Domain {
                what: "largest magnitude",
                value,
                bound: "below 1e150",
            });
        }
        Ok(())
    }

    /// As [`require`](Self::require) with two values, and refuses a sample without spread.
    pub(crate) fn require_spread(&self, what: &'static str) -> Result<(), StatsError> {
        self.require(what, 2)?;
        if self.m2 > 0.0 { Ok(()) } else { Err(StatsError::NoSpread { what }) }
    }
}

impl From<&[f32]> for Moments {
    fn from(values: &[f32]) -> Self {
        let mut moments = Self::new();
        moments.extend_from_f32(values);
        moments
    }
}

impl From<&[f64]> for Moments {
    fn from(values: &[f64]) -> Self {
        let mut moments = Self::new();
        moments.extend_from_f64(values);
        moments
    }
}

impl Extend<f64> for Moments {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|x| self.push(x));
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::new();
        moments.extend(values);
        moments
    }
}
