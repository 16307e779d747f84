//! What is said of every layer: predicted, measured, tested.

use gainstage_simulate::{
    Choice, Energy, LayerDraw, LayerHistograms, LayerMeasured, Measured, Method, Precision, Setup,
    SignalMoments,
};
use gainstage_spec::Network;
use gainstage_stats::{MeanIntervals, Moments, Probability, mean_test, quantiles};
use gainstage_theory::{Options, Predicted, Prediction};
use serde::Serialize;

use super::compare::Comparison;
use super::jacobian::JacobianAnswer;

/// Family-wise false-alarm rate of one run, shared by its layers and signals.
pub(crate) const FAMILY_RATE: f64 = 0.001;

/// One signal of one layer; the field names are a contract.
#[derive(Clone, Serialize)]
pub(crate) struct Quantity {
    /// Typical value over draws: the exponential of the predicted mean logarithm.
    pub(super) predicted: f64,
    predicted_low: f64,
    predicted_high: f64,
    /// Geometric mean over draws with its 95% interval.
    pub(super) measured: f64,
    measured_low: f64,
    measured_high: f64,
    /// Quantiles over draws at 5, 25, 50, 75 and 95%; empty if a draw has no finite value.
    quantiles: Vec<f64>,
    p_value: Option<f64>,
    pub(super) verdict: &'static str,
}

#[derive(Serialize)]
pub(crate) struct LayerRow {
    pub(super) layer: usize,
    pub(super) fan_in: usize,
    pub(super) fan_out: usize,
    pub(crate) forward: Quantity,
    pub(crate) gradient: Quantity,
    pub(crate) weight_gradient: Quantity,
    /// Means over draws of what is measured of the batch as a whole.
    pub(crate) batch: BatchRow,
    /// Of z, phi(z) and dL/dz over all draws, with --histograms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) histograms: Option<LayerHistograms>,
}

/// What has no prediction beside it; the mean over draws where it is defined in all of them.
#[derive(Clone, Serialize)]
pub(crate) struct BatchRow {
    /// Between the pre-activations of inputs 2k and 2k + 1.
    cosine: Option<f64>,
    /// Of the layer's incoming batch.
    effective_rank: Option<f64>,
    /// Norm of the batch's weight gradient over the weights' expected norm.
    gradient_to_weight: Option<f64>,
    /// Share of units without slope for any input.
    dead: Option<f64>,
    /// Share of values at the ends of a bounded activation.
    saturated: Option<f64>,
    /// Kurtosis of z, phi(z) and dL/dz, with --moments.
    kurtosis: Option<[f64; 3]>,
}

impl BatchRow {
    /// `weight` is the second moment of a weight.
    fn new(layer: &LayerMeasured, weight: f64) -> Self {
        let mean = |of: &dyn Fn(&LayerDraw) -> Option<f64>| -> Option<f64> {
            let values: Option<Vec<f64>> = layer.draws.iter().map(of).collect();
            values.map(|v| v.iter().sum::<f64>() / v.len() as f64).filter(|v| v.is_finite())
        };
        let kurtosis = |of: fn(&SignalMoments) -> &Moments| {
            mean(&|d| d.moments.as_deref().map(of).filter(|m| m.count() > 0).map(Moments::kurtosis))
        };
        let kurtoses = (
            kurtosis(|m| &m.pre_activation),
            kurtosis(|m| &m.activation),
            kurtosis(|m| &m.error_signal),
        );
        Self {
            cosine: mean(&|d| d.cosine),
            effective_rank: mean(&|d| d.effective_rank),
            gradient_to_weight: mean(&|d| {
                d.batch_weight_gradient.filter(|_| weight > 0.0).map(|g| (g / weight).sqrt())
            }),
            dead: mean(&|d| d.dead),
            saturated: mean(&|d| d.saturated),
            kurtosis: match kurtoses {
                (Some(z), Some(h), Some(delta)) => Some([z, h, delta]),
                _ => None,
            },
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Answer {
    version: u32,
    pub(crate) method: Method,
    pub(crate) method_reason: String,
    /// With --method both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comparison: Option<Comparison>,
    /// With --jacobian.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jacobian: Option<JacobianAnswer>,
    pub(super) seed: u64,
    pub(super) trials: usize,
    pub(super) batch: usize,
    precision: Precision,
    /// Probability that the predicted band holds one draw of one input.
    band_level: f64,
    /// False-alarm rate of the whole run; every layer's test runs at its share.
    family_false_alarm_rate: f64,
    pub(super) assumptions: Vec<String>,
    pub(crate) layers: Vec<LayerRow>,
    /// First overflow or underflow of every draw that had one.
    pub(crate) breakdowns: Vec<BreakdownRow>,
}

#[derive(Serialize)]
pub(crate) struct BreakdownRow {
    pub(crate) trial: usize,
    #[serde(flatten)]
    pub(super) breakdown: gainstage_simulate::Breakdown,
}

impl Answer {
    /// Number of tests of a layer's signal that reject the prediction.
    pub(crate) fn disagreements(&self) -> usize {
        let signals = |l: &LayerRow| {
            [&l.forward, &l.gradient, &l.weight_gradient]
                .iter()
                .filter(|q| q.verdict == "differs")
                .count()
        };
        self.layers.iter().map(signals).sum()
    }

    pub(crate) fn has_findings(&self) -> bool {
        self.disagreements() > 0
            || !self.breakdowns.is_empty()
            || self.comparison.as_ref().is_some_and(|c| !c.agrees)
    }
}

pub(super) fn answer(
    setup: &Setup,
    options: &Options,
    choice: &Choice,
    network: &Network,
    prediction: &Prediction,
    measured: &Measured,
) -> anyhow::Result<Answer> {
    let weights = network
        .dense()
        .zip(network.shapes()?)
        .map(|(dense, shape)| Ok(dense.weights.law(&shape)?.second_moment()))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    let tests = 3 * measured.layers.len();
    let tested = Tested {
        alpha: FAMILY_RATE / tests as f64,
        intervals: MeanIntervals::new(setup.trials as u64, Probability::P95),
    };
    let layers = measured
        .layers
        .iter()
        .zip(&prediction.layers)
        .zip(weights)
        .map(|((layer, predicted), weight)| {
            let quantity = |p: &Predicted, of: fn(&LayerDraw) -> Energy| {
                tested.quantity(p, &layer.values(|draw| of(draw).log_mean))
            };
            Ok(LayerRow {
                layer: layer.layer,
                fan_in: layer.fan_in,
                fan_out: layer.fan_out,
                forward: quantity(&predicted.forward, |d| d.forward)?,
                gradient: quantity(&predicted.gradient, |d| d.gradient)?,
                weight_gradient: quantity(&predicted.weight_gradient, |d| d.weight_gradient)?,
                batch: BatchRow::new(layer, weight),
                histograms: layer.histograms.clone(),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let breakdowns = measured
        .breakdowns
        .iter()
        .enumerate()
        .flat_map(|(trial, list)| {
            list.iter().map(move |&breakdown| BreakdownRow { trial, breakdown })
        })
        .collect();
    Ok(Answer {
        version: 1,
        method: setup.method,
        method_reason: choice.reason.clone(),
        comparison: None,
        jacobian: None,
        seed: setup.seed,
        trials: setup.trials,
        batch: setup.batch,
        precision: setup.precision,
        band_level: options.level,
        family_false_alarm_rate: FAMILY_RATE,
        assumptions: prediction.assumptions.iter().map(ToString::to_string).collect(),
        layers,
        breakdowns,
    })
}

/// What all tests of a run share.
struct Tested {
    /// False-alarm rate of one test.
    alpha: f64,
    intervals: MeanIntervals,
}

impl Tested {
    /// Tests the mean logarithm over independent draws against the predicted one.
    ///
    /// The variance of a batch's mean logarithm is at most that of one input's, which the law gives, so
    /// the larger of the predicted and the sampled variance keeps the false-alarm rate.
    fn quantity(&self, predicted: &Predicted, logs: &[f64]) -> anyhow::Result<Quantity> {
        let finite: Vec<f64> = logs.iter().copied().filter(|l| l.is_finite()).collect();
        let quantiles = quantiles(logs, [0.05, 0.25, 0.5, 0.75, 0.95])
            .map_or_else(|_| Vec::new(), |found| found.map(f64::exp).to_vec());
        let base = |measured, low, high, p_value, verdict| Quantity {
            predicted: predicted.log_mean.exp(),
            predicted_low: predicted.low,
            predicted_high: predicted.high,
            measured,
            measured_low: low,
            measured_high: high,
            quantiles: quantiles.clone(),
            p_value,
            verdict,
        };
        if finite.len() < logs.len() {
            let all_zero = logs.iter().all(|&l| l == f64::NEG_INFINITY);
            if all_zero && predicted.expected == 0.0 {
                return Ok(base(0.0, 0.0, 0.0, None, "agrees"));
            }
            let share_broken = (logs.len() - finite.len()) as f64 / logs.len() as f64;
            let explained = share_broken <= 10.0 * predicted.zero_probability;
            if finite.len() < 2 || !explained {
                let value = if all_zero { 0.0 } else { f64::NAN };
                return Ok(base(value, value, value, None, "differs"));
            }
        }
        if finite.len() < 2 {
            let value = finite.first().map_or(f64::NAN, |l| l.exp());
            return Ok(base(value, value, value, None, "too few draws"));
        }
        let values: Vec<f64> = finite.iter().map(|l| l.exp()).collect();
        let moments = Moments::from(finite.as_slice());
        let interval = if values.iter().all(|v| *v > 0.0 && v.is_finite()) {
            let interval = self.intervals.geometric_mean(&values)?;
            (interval.estimate, interval.low, interval.high)
        } else {
            (moments.mean().exp(), 0.0, f64::INFINITY)
        };
        let variance = predicted.log_variance.max(moments.sample_variance());
        // The injected error signal has one value in every draw; only rounding is left of it.
        if variance < 1e-12 {
            let equal = (moments.mean() - predicted.log_mean).abs() < 1e-5;
            return Ok(base(
                interval.0,
                interval.1,
                interval.2,
                None,
                if equal { "agrees" } else { "differs" },
            ));
        }
        let test = mean_test(&moments, predicted.log_mean, variance)?;
        let verdict = if test.p_value < self.alpha { "differs" } else { "agrees" };
        Ok(base(interval.0, interval.1, interval.2, Some(test.p_value), verdict))
    }
}
