//! `--jacobian`: how far the network stretches directions at its input, and how unevenly.

use anyhow::Context;
use gainstage_report::{Cell, Section, Table, significant};
use gainstage_simulate::{JacobianMoments, Setup, jacobian_moments};
use gainstage_spec::{Initializer, Network};
use gainstage_stats::Moments;
use gainstage_theory::{Prediction, moments};
use rayon::prelude::*;
use serde::Serialize;

use crate::args::Probes;

/// Probes if no number of them is asked for.
const PROBES: usize = 8;

/// Moments of the squared singular values of dz/dx, from the input to the last dense layer.
#[derive(Clone, Serialize)]
pub(crate) struct JacobianAnswer {
    /// Orthonormal directions that pass every draw; as many as the input is wide see everything.
    probes: usize,
    /// m_1, the mean squared singular value.
    mean: Estimate,
    /// The mean of m_2 over that of m_1^2, with m_2 the mean fourth power: 1 is dynamical isometry.
    spread: Estimate,
}

/// A mean over draws, or a ratio of two.
#[derive(Clone, Copy, Serialize)]
struct Estimate {
    /// E m_1, and E m_2 / E m_1^2; null for networks with more than dense layers.
    predicted: Option<f64>,
    measured: f64,
    /// Of the measured value, from the scatter of the draws; null for a single one.
    standard_error: Option<f64>,
}

/// Draws what `probes` directions become, in the draws of `setup`.
pub(super) fn measure(
    network: &Network,
    setup: &Setup,
    probes: Probes,
    prediction: &Prediction,
) -> anyhow::Result<JacobianAnswer> {
    let probes = match probes {
        Probes::Auto => PROBES.min(network.input),
        Probes::Number(number) => number.get(),
    };
    let draws = (0..setup.trials as u32)
        .into_par_iter()
        .map(|trial| jacobian_moments(network, setup, probes, trial))
        .collect::<Result<Vec<_>, _>>()
        .context("--jacobian")?;
    let predicted = predicted(network, prediction);
    let over = |of: &dyn Fn(&JacobianMoments) -> f64| -> Moments { draws.iter().map(of).collect() };
    let (first, first_squared) = (over(&|m| m.first), over(&|m| m.first_squared).mean());
    let ratio = over(&|m| m.second).mean() / first_squared;
    // To first order the ratio errs as the mean of what it leaves over.
    let rest = over(&|m| m.second - ratio * m.first_squared);
    let estimate = |measured: f64, error: f64, predicted| {
        let known = first.non_finite() == 0 && measured.is_finite();
        Estimate {
            predicted,
            measured: if known { measured } else { f64::NAN },
            standard_error: (known && draws.len() > 1).then_some(error),
        }
    };
    let (mean, spread) = (predicted.map(|p| p[0]), predicted.map(|p| p[1]));
    Ok(JacobianAnswer {
        probes,
        mean: estimate(first.mean(), first.standard_error(), mean),
        spread: estimate(ratio, rest.standard_error() / first_squared, spread),
    })
}

/// E m_1 and E m_2 / E m_1^2 of a network of dense layers.
///
/// Layer by layer, t = E tr J J', T = E (tr J J')^2 and Q = E tr (J J')^2. Independent weights of variance v
/// into m units whose slopes have the moments s_2 = E phi'(z)^2 and s_4 make
///
/// ```text
/// t' = v m s_2 t,   Q' = v^2 (m s_4 (T + 2 Q) + m (m - 1) s_2^2 Q),   T' likewise with T last
/// ```
///
/// exact for Gaussian weights and slopes that are fair coins, so for ReLU and its kin; for others as the
/// width grows. Orthogonal ones of gain g are free of what they act on (Pennington, Schoenholz &
/// Ganguli 2017): with c = min(1, m/n) for n inputs
///
/// ```text
/// t' = g^2 c s_2 t,   T' = (g^2 c s_2)^2 T,   Q' = g^4 (s_2^2 (c^2 Q + c (1 - c) T/n) + (s_4 - s_2^2) c^2 T/m)
/// ```
fn predicted(network: &Network, prediction: &Prediction) -> Option<[f64; 2]> {
    if !network.is_plain() {
        return None;
    }
    let shapes = network.shapes().ok()?;
    let start = network.input as f64;
    let (mut trace, mut trace_squared, mut square) = (start, start * start, start);
    for (index, (dense, shape)) in network.dense().zip(&shapes).enumerate() {
        let (n, m) = (shape.inputs() as f64, shape.outputs() as f64);
        let (s2, s4) = if index + 1 == shapes.len() {
            (1.0, 1.0)
        } else {
            let at = moments(&dense.activation, prediction.layers[index].forward.expected).ok()?;
            (at.derivative_second_moment, at.derivative_fourth_moment)
        };
        if let Initializer::Orthogonal { gain } = dense.weights {
            let (g2, c) = (gain * gain, (m / n).min(1.0));
            let gates = (s4 - s2 * s2) * c * c * trace_squared / m;
            let kept = c * c * square + c * (1.0 - c) * trace_squared / n;
            square = g2 * g2 * (s2 * s2 * kept + gates);
            trace *= g2 * c * s2;
            trace_squared *= (g2 * c * s2).powi(2);
        } else {
            let v = dense.weights.law(shape).ok()?.variance();
            let same = m * s4 * (trace_squared + 2.0 * square);
            let others = m * (m - 1.0) * s2 * s2;
            square = v * v * (same + others * square);
            trace_squared = v * v * (same + others * trace_squared);
            trace *= v * m * s2;
        }
    }
    let values = start.min(network.output() as f64);
    Some([trace / values, values * square / trace_squared])
}

impl JacobianAnswer {
    pub(super) fn sentence(&self) -> String {
        let one = |e: &Estimate| {
            let error = e.standard_error.map(|s| format!(" +- {}", significant(s)));
            let predicted = e.predicted.map(|p| format!(", predicted {}", significant(p)));
            format!(
                "{}{}{}",
                significant(e.measured),
                error.unwrap_or_default(),
                predicted.unwrap_or_default()
            )
        };
        format!(
            "Jacobian of the first input, by {} probes a draw: mean squared singular value {}; mean fourth power over its square {}.",
            self.probes,
            one(&self.mean),
            one(&self.spread)
        )
    }

    pub(super) fn section(&self) -> Section {
        let mut section = Section::new("jacobian", "Singular values of the Jacobian");
        section.paragraph(self.sentence());
        section.paragraph(
            "Errors are standard errors over draws. A spread of 1 is dynamical isometry: every direction is kept alike (Pennington, Schoenholz & Ganguli 2017). The spread is the mean of m_2 over the mean of m_1^2.",
        );
        let columns =
            ["moment of squared singular values", "predicted", "measured", "standard error"];
        let mut table = Table::new("jacobian", "From the input to the last dense layer", &columns);
        for (name, e) in [("mean m_1", &self.mean), ("spread m_2 / m_1^2", &self.spread)] {
            table.push(vec![
                Cell::text(name),
                e.predicted.map_or_else(|| Cell::text(""), Cell::number),
                Cell::number(e.measured),
                e.standard_error.map_or_else(|| Cell::text(""), Cell::number),
            ]);
        }
        section.table(table);
        section
    }
}

#[cfg(test)]
mod tests {
    use gainstage_simulate::Method;
    use gainstage_spec::{Activation, InputStatistics};
    use gainstage_theory::{Options, jacobian_traces, predict, spectrum};

    use super::*;

    fn expected(network: &Network) -> [f64; 2] {
        let statistics = InputStatistics::gaussian(network.input);
        let prediction = predict(network, &statistics, &Options::default()).expect("predicted");
        predicted(network, &prediction).expect("dense layers only")
    }

    fn perceptron(widths: &[usize], init: &str, phi: &Activation) -> Network {
        Network::perceptron(widths, &init.parse().expect(init), phi).expect("valid")
    }

    #[test]
    fn predictions_are_those_of_exact_traces_and_of_free_probability() {
        let network = perceptron(&[8, 16, 12, 6], "he_normal", &Activation::Linear);
        let exact = jacobian_traces(&network).expect("exact");
        let [mean, spread] = expected(&network);
        assert!((mean / (exact.trace / 6.0) - 1.0).abs() < 1e-12);
        assert!((spread / (6.0 * exact.square_trace / exact.trace_squared) - 1.0).abs() < 1e-12);
        // A last layer of slope 1 is one gate less than the infinite network has.
        let network = perceptron(&[300; 6], "orthogonal(1.4142135623730951)", &Activation::Relu);
        let free = spectrum(&Activation::Relu, 1.0, 2.0, 4, true).expect("in its domain");
        let [mean, spread] = expected(&network);
        assert!((mean - 2.0).abs() < 1e-9, "{mean}");
        assert!((spread - 1.0 - free.relative_variance).abs() < 1e-9, "{spread}");
    }

    #[test]
    fn measured_moments_are_those_predicted() {
        for (init, widths) in [
            ("he_normal", &[200, 150, 250, 100][..]),
            ("orthogonal(1.2)", &[200, 100, 150, 220, 160][..]),
            ("lecun_normal", &[150; 4][..]),
        ] {
            for phi in [Activation::Relu, Activation::Tanh] {
                let network = perceptron(widths, init, &phi);
                let statistics = InputStatistics::gaussian(network.input);
                let prediction =
                    predict(&network, &statistics, &Options::default()).expect("predicted");
                let setup =
                    Setup { trials: 200, batch: 1, method: Method::MatrixFree, ..Setup::default() };
                let found = measure(&network, &setup, Probes::Auto, &prediction).expect("runs");
                for (what, e) in [("mean", found.mean), ("spread", found.spread)] {
                    let (predicted, error) =
                        (e.predicted.expect("plain"), e.standard_error.expect("many draws"));
                    // Five standard errors, and what is of order 1/width.
                    let bound = 5.0 * error + 0.02 * predicted;
                    let off = (e.measured - predicted).abs();
                    assert!(off < bound, "{init} {phi} {what}: {} for {predicted}", e.measured);
                }
            }
        }
    }

    #[test]
    fn what_is_not_defined_is_refused_with_a_sentence() {
        let dense = gainstage_spec::Layer::Dense(gainstage_spec::Dense::new(
            8,
            Initializer::he_normal(),
            Activation::Linear,
        ));
        let norm = gainstage_spec::Layer::BatchNorm { epsilon: 1e-5 };
        let network = Network::new(8, vec![dense.clone(), norm, dense]).expect("valid");
        let statistics = InputStatistics::gaussian(8);
        let prediction = predict(&network, &statistics, &Options::default()).expect("predicted");
        let setup = Setup { trials: 2, batch: 4, ..Setup::default() };
        let error = measure(&network, &setup, Probes::Auto, &prediction).err().expect("refused");
        assert!(format!("{error:#}").contains("batch_norm"), "{error:#}");
    }
}
