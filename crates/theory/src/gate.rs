//! What an activation does to the laws of signals and error signals.

use gainstage_spec::Activation;

use crate::kernel::parting;
use crate::law::Cumulants;
use crate::moments::{Moments, at, derivative_tilt, shape_at};
use crate::noise::{Gates, log_gamma};
use crate::signal::{DenseTrace, Signal, log_shift};

/// An activation's argument: Gaussian units given their nominal variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument {
    /// The units.
    pub(crate) z: Signal,
    /// ln of their variance given what lies below.
    pub(crate) nominal: Cumulants,
    /// Relative variance of |z|^2 given the nominal one.
    pub(crate) length: f64,
    /// Excess of one unit's fourth moment over the Gaussian's 3.
    pub(crate) excess: f64,
    /// d nominal / d ln(input's second moment) of the dense layer that made it.
    pub(crate) share: f64,
}

impl Argument {
    /// The pre-activations of a dense layer.
    pub(crate) fn of(trace: &DenseTrace) -> Self {
        Self {
            z: trace.forward,
            nominal: trace.nominal,
            length: trace.length,
            excess: trace.excess,
            share: trace.share,
        }
    }

    /// A Gaussian signal as it stands: its length is what it is.
    pub(crate) fn standing(z: &Signal) -> Self {
        Self { z: *z, nominal: z.log, length: 0.0, excess: 0.0, share: 1.0 }
    }
}

/// What the backward pass needs of an activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// Whether the laws are exact: phi linear on each side of zero.
    pub(crate) homogeneous: bool,
    /// d ln(second moment) / d ln q
    pub(crate) slope: f64,
    /// Variance of the forward noise.
    pub(crate) variance: f64,
    /// E phi'^2, averaged over the law of q.
    pub(crate) derivative: f64,
    /// ln of the error signal's factor: its mean over the law of q, and the noise.
    pub(crate) log: Cumulants,
    /// d ln(E phi'^2) / d ln q
    pub(crate) derivative_slope: f64,
    /// Covariance of the forward and the backward noise.
    pub(crate) covariance: f64,
    /// E phi^2 phi'^2 / (E phi^2 E phi'^2)
    pub(crate) product: f64,
    /// How alignment arises and is kept, see `ErrorSignal::alignment`: u becomes keep u + add.
    pub(crate) alignment: (f64, f64),
    /// E phi'^4 / (E phi'^2)^2
    pub(crate) ratio: f64,
    /// Spread of the forward noise beyond that of Gaussian pre-activations.
    pub(crate) spread: Cumulants,
    /// Probability that every derivative of the layer is zero.
    pub(crate) dead: f64,
}

impl Gate {
    /// The identity.
    pub(crate) fn open() -> Self {
        Self {
            homogeneous: true,
            slope: 1.0,
            variance: 0.0,
            derivative: 1.0,
            log: Cumulants::default(),
            derivative_slope: 0.0,
            covariance: 0.0,
            product: 1.0,
            alignment: (1.0, 0.0),
            ratio: 1.0,
            spread: Cumulants::default(),
            dead: 0.0,
        }
    }
}

/// h = phi(z).
pub(crate) fn activate(phi: &Activation, argument: &Argument, gates: &mut Gates) -> (Signal, Gate) {
    let z = &argument.z;
    let n = z.width as f64;
    // The typical variance: the mean belongs to rare draws where laws are wide.
    let q = argument.nominal.mean.exp();
    let typical = shape_at(phi, q);
    let q = typical.q;
    let (v, d) = (typical.second_moment, typical.derivative_second_moment);
    let ratio = if v > 0.0 { typical.relative_variance() + 1.0 } else { 1.0 };
    // A fourth moment beyond the Gaussian's counts as far as the squares follow z^2.
    let slope = if v > 0.0 { q * typical.second_moment_slope / v } else { 1.0 };
    let lifted = ratio * (1.0 + slope * slope * argument.excess / 3.0);
    let product = if v > 0.0 && d > 0.0 { typical.square_product / (v * d) } else { 1.0 };
    let signal = Signal {
        width: z.width,
        gap: if v > 0.0 { (parting(phi, q, z.gap) / v).min(2.0) } else { 0.0 },
        concentration: lifted / (lifted + n - 1.0),
        mean: at(phi, argument.nominal.mean.exp()).mean,
        gaussian: z.gaussian && *phi == Activation::Linear,
        centred: false,
        ..*z
    };
    // Units that sum to zero fluctuate less, by what the squares share with the units themselves.
    let tilt = if z.centred && v > 0.0 && d > 0.0 {
        (2.0 * q.sqrt() * typical.value_derivative / v, derivative_tilt(phi, q) / d)
    } else {
        (0.0, 0.0)
    };
    let gate = Gate {
        derivative: d,
        covariance: (product - 1.0 - tilt.0 * tilt.1) / n,
        product,
        ratio: if d > 0.0 { typical.derivative_fourth_moment / (d * d) } else { 1.0 },
        ..Gate::open()
    };
    // Spread that a fourth moment of the pre-activations beyond the Gaussian's adds.
    let spread = log_shift(((lifted + n - 1.0) / (ratio + n - 1.0)).ln());
    match phi.slopes() {
        Some(slopes) => {
            let before = ((n + 2.0 + argument.excess) / (n + 2.0)).ln();
            let coins = gates.law(z.width, slopes.0, slopes.1);
            let spread = spread.plus(log_shift(-before));
            homogeneous(slopes, coins, signal, gate, spread, argument, tilt)
        }
        None => smooth(phi, signal, gate, spread, argument, &typical, tilt),
    }
}

/// Linear on each side of zero: fair coins, independent of all sizes.
fn homogeneous(
    (negative, positive): (f64, f64),
    coins: Cumulants,
    signal: Signal,
    gate: Gate,
    spread: Cumulants,
    argument: &Argument,
    tilt: (f64, f64),
) -> (Signal, Gate) {
    let n = signal.width;
    let dead = if negative == 0.0 || positive == 0.0 { 0.5f64.powi(n as i32) } else { 0.0 };
    let width = n as f64;
    let forward = coins.narrowed(tilt.0 * tilt.0 / width);
    let backward = coins.narrowed(tilt.1 * tilt.1 / width);
    let signal = Signal {
        expected: gate.derivative * signal.expected,
        log: argument.z.log.plus(forward).plus(spread),
        zero: 1.0 - (1.0 - signal.zero) * (1.0 - dead),
        ..signal
    };
    let variance = forward.variance + argument.length;
    (signal, Gate { variance, log: backward, spread, dead, ..gate })
}

/// A bent activation: given q the units are independent, so that to first order in 1/n the mean of
/// their squares is a gamma variable with the right mean and variance.
fn smooth(
    phi: &Activation,
    signal: Signal,
    gate: Gate,
    spread: Cumulants,
    argument: &Argument,
    typical: &Moments,
    tilt: (f64, f64),
) -> (Signal, Gate) {
    let n = signal.width as f64;
    let points: Vec<(Moments, f64)> =
        argument.nominal.points().into_iter().map(|(x, w)| (at(phi, x.exp()), w)).collect();
    let total: f64 = points.iter().map(|p| p.1).sum();
    let average =
        |f: &dyn Fn(&Moments) -> f64| points.iter().map(|(m, w)| w * f(m)).sum::<f64>() / total;
    let logs = |f: &dyn Fn(&Moments) -> f64| {
        Cumulants::of(&points.iter().map(|(m, w)| (f(m).ln(), *w)).collect::<Vec<_>>())
    };
    let (q, v, d) = (typical.q, typical.second_moment, typical.derivative_second_moment);
    let alive = q > 0.0 && v > 0.0 && d > 0.0;
    let slope = if v > 0.0 { q * typical.second_moment_slope / v } else { 1.0 };
    // Independent units have 2 slope^2 of their relative variance from the length of z.
    let relative = if v > 0.0 { typical.relative_variance() } else { 0.0 };
    let relative = relative + slope * slope * (n * argument.length - 2.0) - tilt.0 * tilt.0;
    let relative = relative.max(0.0);
    let noise = gamma_noise(relative / n);
    let step = 1e-3;
    let log_derivative = |shift: f64| at(phi, q * f64::exp(shift)).derivative_second_moment.ln();
    let derivative_slope =
        if alive { (log_derivative(step) - log_derivative(-step)) / (2.0 * step) } else { 0.0 };
    // The derivatives' mean square follows the length of z as the forward one does; where weights fix
    // the length, both fluctuate less, and less together.
    let excess_length = argument.length - 2.0 / n;
    let backward = 3.0 * (gate.ratio - 1.0) / n - tilt.1 * tilt.1 / n
        + derivative_slope * derivative_slope * excess_length;
    let keep = if alive { v * slope * slope / (d * q) } else { 0.0 };
    let signal = Signal {
        expected: average(&|m| m.second_moment),
        log: logs(&|m| m.second_moment).plus(noise).plus(spread),
        mean: average(&|m| m.mean),
        zero: 0.0,
        ..signal
    };
    let gate = Gate {
        homogeneous: false,
        slope,
        variance: noise.variance,
        derivative: average(&|m| m.derivative_second_moment),
        covariance: gate.covariance + slope * derivative_slope * excess_length,
        log: gamma_noise(backward.max(0.0)).shifted(logs(&|m| m.derivative_second_moment).mean),
        derivative_slope,
        alignment: (argument.share * keep, 2.0 * argument.share * derivative_slope),
        spread,
        ..gate
    };
    (signal, gate)
}

/// ln of a gamma variable of mean 1 and this variance.
pub(crate) fn gamma_noise(variance: f64) -> Cumulants {
    if variance < 1e-14 {
        return Cumulants::default();
    }
    log_gamma(variance.recip()).shifted(variance.ln())
}
