use gainstage_spec::Activation;
use serde::{Deserialize, Serialize};

use crate::error::TheoryError;
use crate::kernel::{derivative_cross, parting};
use crate::mean_field::{MeanField, VarianceLimit};
use crate::moments::{Moments, largest_variance, map_at};
use crate::roots::bracketed;

/// What happens to nearby inputs and to gradients at the limit variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// chi_1 < 1: inputs converge, gradients vanish.
    Ordered,
    /// chi_1 = 1 to within 1e-9: the edge of chaos.
    Critical,
    /// chi_1 > 1: nearby inputs part, gradients explode.
    Chaotic,
}

/// The limit of great depth at one point of the phase diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepthLimit {
    /// Limit of the variance.
    pub variance: VarianceLimit,
    /// Factor of the error signal's second moment per layer, sigma_w^2 E phi'^2 (over `keep`): also
    /// the slope of the correlation map at c = 1 without dropout.
    pub chi_1: f64,
    /// Which side of chi_1 = 1.
    pub phase: Phase,
    /// Limit of the correlation of two different inputs.
    pub c: f64,
    /// Slope of the correlation map there.
    pub c_slope: f64,
    /// Layers in which deviations of the variance shrink by e, -1 / ln(slope); infinite at slope 1.
    pub xi_q: f64,
    /// Layers in which deviations of the correlation shrink by e: networks train down to a few of
    /// these (Schoenholz et al. 2017).
    pub xi_c: f64,
    /// Layers in which the error signal's second moment changes by e, 1 / |ln chi_1|.
    pub xi_gradient: f64,
}

/// E (phi(u) - phi(v))^2 / 2 and its slope, exact or interpolated.
pub(crate) trait Kernel {
    /// At the variance of these moments.
    fn at(&self, m: &Moments) -> impl KernelAt;
}

/// A kernel at one variance, as a function of the gap 1 - c.
pub(crate) trait KernelAt {
    /// E (phi(u) - phi(v))^2 / 2
    fn parting(&self, gap: f64) -> f64;
    /// E phi'(u) phi'(v)
    fn slope(&self, gap: f64) -> f64;
}

/// By closed form or quadrature.
pub(crate) struct Exact<'a>(pub(crate) &'a Activation);

impl Kernel for Exact<'_> {
    fn at(&self, m: &Moments) -> impl KernelAt {
        ExactAt(self.0, m.q)
    }
}

struct ExactAt<'a>(&'a Activation, f64);

impl KernelAt for ExactAt<'_> {
    fn parting(&self, gap: f64) -> f64 {
        parting(self.0, self.1, gap)
    }

    fn slope(&self, gap: f64) -> f64 {
        derivative_cross(self.0, self.1, gap)
    }
}

impl MeanField {
    /// The limit of great depth for inputs whose first pre-activations have variance q.
    ///
    /// Where the variance diverges, chi_1 and the correlation are those of the limit of large q.
    ///
    /// # Errors
    /// [`TheoryError::Domain`] for q negative or not finite.
    ///
    /// # Example
    /// ```
    /// use gainstage_spec::Activation;
    /// use gainstage_theory::{MeanField, Phase};
    /// let limit = MeanField::new(&Activation::Tanh, 2.5, 0.05)?.depth_limit(1.0)?;
    /// assert_eq!(limit.phase, Phase::Chaotic);
    /// assert!((limit.chi_1 - 1.1335156987).abs() < 1e-10);
    /// assert!((limit.c - 0.4468042323).abs() < 1e-9);
    /// assert!((limit.xi_c - 11.795598).abs() < 1e-6);
    /// # Ok::<(), gainstage_theory::TheoryError>(())
    /// ```
    pub fn depth_limit(&self, q: f64) -> Result<DepthLimit, TheoryError> {
        let variance = self.variance_limit(q)?;
        Ok(self.limit_at(variance, &Exact(&self.activation)))
    }

    /// The limit once the variance's is known.
    pub(crate) fn limit_at(&self, variance: VarianceLimit, kernel: &impl Kernel) -> DepthLimit {
        // 1e12 stands for the limit of large q; phi's slopes have settled there.
        let (q, slope) = match variance {
            VarianceLimit::Fixed { point } => (point.q, point.slope),
            VarianceLimit::Kept { q } => (q, 1.0),
            VarianceLimit::Diverges => (largest_variance(&self.activation).min(1e12), f64::NAN),
        };
        let m = map_at(&self.activation, q);
        let next = if variance == VarianceLimit::Diverges { self.map(&m) } else { q };
        let at_q = kernel.at(&m);
        // Where the variance diverges phi is linear on each side of zero for all that matters, whose
        // correlation map keeps c = 1 and attracts to it.
        let gap = if variance == VarianceLimit::Diverges && self.keep == 1.0 {
            0.0
        } else {
            self.gap_limit(q, next, &m, &at_q)
        };
        let c_slope = if next > 0.0 {
            self.weight_variance * at_q.slope(gap) * q / next
        } else {
            self.weight_variance * m.derivative_second_moment
        };
        let chi_1 = self.weight_variance * m.derivative_second_moment / self.keep;
        let phase = if (chi_1 - 1.0).abs() < 1e-9 {
            Phase::Critical
        } else if chi_1 < 1.0 {
            Phase::Ordered
        } else {
            Phase::Chaotic
        };
        let scale = |slope: f64| {
            if slope <= 0.0 {
                0.0
            } else if slope >= 1.0 {
                f64::INFINITY
            } else {
                -slope.ln().recip()
            }
        };
        DepthLimit {
            variance,
            chi_1,
            phase,
            c: 1.0 - gap,
            c_slope,
            xi_q: scale(slope),
            xi_c: scale(c_slope),
            xi_gradient: chi_1.ln().abs().recip(),
        }
    }

    /// The gap 1 - c* to which the correlation map converges from independent inputs.
    fn gap_limit(&self, q: f64, next: f64, m: &Moments, kernel: &impl KernelAt) -> f64 {
        if next == 0.0 || q == 0.0 {
            return 0.0;
        }
        let chi = self.weight_variance * m.derivative_second_moment * q / next;
        // Without dropout c = 1 is fixed; it attracts unless its slope exceeds 1.
        if self.keep == 1.0 && chi <= 1.0 + 1e-12 {
            return 0.0;
        }
        // Unrelated inputs stay unrelated.
        if self.bias_variance == 0.0 && self.activation.is_odd() {
            return 1.0;
        }
        // The map of the gap over the gap falls from chi (or infinity) at 0 to at most 1 at gap 1.
        let growth = |e: f64| self.joined(next, kernel.parting(e)) / e - 1.0;
        let at_one = growth(1.0);
        if at_one >= -1e-14 {
            return 1.0;
        }
        let mut low = 0.5;
        let mut at_low = growth(low);
        while at_low < 0.0 && low > 1e-14 {
            low *= 0.25;
            at_low = growth(low);
        }
        if at_low < 0.0 { 0.0 } else { bracketed(low, 1.0, at_low, at_one, growth) }
    }
}
