//! The experiment behind most claims: a described network, predicted and measured.

use gainstage_simulate::{Energy, LayerDraw, Measured};
use gainstage_spec::{
    Activation, Dense, FanMode, Initializer, InputStatistics, Layer, Network, ScalingDistribution,
};
use gainstage_stats::Moments;
use gainstage_theory::{LayerPrediction, Options, Predicted, Prediction, predict};

use crate::claim::{Conclusion, Finding};
use crate::draws::one_input;
use crate::{ClaimError, Lab, Plant};

/// Which signal of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Pre-activations, second moment per unit.
    Forward,
    /// Error signals, second moment per unit.
    Backward,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }

    pub(crate) fn of(self, draw: &LayerDraw) -> Energy {
        match self {
            Self::Forward => draw.forward,
            Self::Backward => draw.gradient,
        }
    }

    pub(crate) fn predicted(self, layer: &LayerPrediction) -> &Predicted {
        match self {
            Self::Forward => &layer.forward,
            Self::Backward => &layer.gradient,
        }
    }
}

/// A network with what theory says of it and what random draws did.
pub(crate) struct Signal {
    pub(crate) label: String,
    pub(crate) prediction: Prediction,
    pub(crate) measured: Measured,
}

impl Signal {
    /// Predicts and measures on inputs of mean square exactly 1, one input per draw, so that every
    /// draw is one sample of the finite-width law.
    pub(crate) fn new(
        lab: &Lab,
        label: &str,
        network: &Network,
        trials: usize,
    ) -> Result<Self, ClaimError> {
        let prediction =
            predict(network, &InputStatistics::gaussian(network.input), &Options::default())?;
        let measured = lab.measure(label, network, one_input(trials))?;
        Ok(Self { label: label.to_owned(), prediction, measured })
    }

    pub(crate) fn depth(&self) -> usize {
        self.measured.layers.len()
    }

    /// ln of a side's second moment in one layer (from 1), draw by draw.
    pub(crate) fn logs(&self, side: Side, layer: usize) -> Vec<f64> {
        self.measured.layers[layer - 1].values(|draw| side.of(draw).log_mean)
    }

    /// ln of the factor per layer over the whole depth, draw by draw, in the direction of the signal.
    pub(crate) fn growth(&self, side: Side) -> Vec<f64> {
        self.growth_between(side, 1, self.depth())
    }

    /// The same from layer `from` to layer `to`, counted upward.
    pub(crate) fn growth_between(&self, side: Side, from: usize, to: usize) -> Vec<f64> {
        let steps = side.sign() * (to - from) as f64;
        let (first, last) = (self.logs(side, from), self.logs(side, to));
        first.iter().zip(&last).map(|(a, b)| (b - a) / steps).collect()
    }

    /// What theory says of [`Signal::growth`]: the exact mean of the logarithm at this width.
    pub(crate) fn growth_predicted(&self, side: Side) -> f64 {
        self.predicted_between(side, 1, self.depth())
    }

    /// What theory says of [`Signal::growth_between`].
    pub(crate) fn predicted_between(&self, side: Side, from: usize, to: usize) -> f64 {
        let log = |layer: usize| side.predicted(&self.prediction.layers[layer - 1]).log_mean;
        (log(to) - log(from)) / (side.sign() * (to - from) as f64)
    }

    /// The measured typical factor per layer against the predicted one.
    pub(crate) fn growth_finding(
        &self,
        lab: &Lab,
        side: Side,
        margin: f64,
    ) -> Result<Finding, ClaimError> {
        let what =
            format!("{}: factor of the second moment per layer, {}", self.label, side.name());
        factor_finding(lab, what, &self.growth(side), self.growth_predicted(side).exp(), margin)
    }

    /// The same between two layers, counted upward.
    pub(crate) fn factor_between(
        &self,
        lab: &Lab,
        side: Side,
        layers: (usize, usize),
        margin: f64,
    ) -> Result<Finding, ClaimError> {
        let (from, to) = layers;
        let predicted = self.predicted_between(side, from, to).exp();
        let what = format!(
            "{}: factor of the second moment per layer, {}, layers {from} to {to}",
            self.label,
            side.name()
        );
        factor_finding(lab, what, &self.growth_between(side, from, to), predicted, margin)
    }

    /// The same measurement against a factor that a statement claims.
    pub(crate) fn growth_against(
        &self,
        lab: &Lab,
        side: Side,
        claimed: f64,
        margin: f64,
    ) -> Result<Finding, ClaimError> {
        let what =
            format!("{}: factor per layer, {}, against the statement's", self.label, side.name());
        factor_finding(lab, what, &self.growth(side), claimed, margin)
    }
}

impl Side {
    /// Layers count upward; the error signal travels downward.
    fn sign(self) -> f64 {
        match self {
            Self::Forward => 1.0,
            Self::Backward => -1.0,
        }
    }
}

/// A geometric-mean factor from independent logarithms, tested for equality with `predicted` within
/// a relative `margin` by two one-sided t-tests.
pub(crate) fn factor_finding(
    lab: &Lab,
    what: String,
    logs: &[f64],
    predicted: f64,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let log_margin = margin.ln_1p();
    let mut finding = equality(lab, what, logs, predicted.ln(), log_margin)?;
    finding.test = format!(
        "two one-sided t-tests at {:.1e} on the logarithm, margin {:.2}%",
        lab.alpha().get(),
        100.0 * margin
    );
    finding.predicted = Some(predicted);
    for value in [&mut finding.measured, &mut finding.low, &mut finding.high] {
        *value = value.exp();
    }
    Ok(finding)
}

/// A mean over independent values, tested for equality with `predicted` within `margin`.
pub(crate) fn equality(
    lab: &Lab,
    what: String,
    values: &[f64],
    predicted: f64,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let finite = values.iter().all(|v| v.is_finite());
    if !finite {
        return Ok(not_finite(what, predicted, values));
    }
    let test =
        gainstage_stats::equivalence(&Moments::from(values), predicted, margin, lab.alpha())?;
    Ok(Finding {
        what,
        predicted: Some(predicted),
        measured: predicted + test.difference.estimate,
        low: predicted + test.difference.low,
        high: predicted + test.difference.high,
        level: test.difference.level.get(),
        n: values.len(),
        test: format!("two one-sided t-tests at {:.1e}, margin {margin:.3}", lab.alpha().get()),
        p_value: Some(test.p_value),
        conclusion: match test.conclusion {
            gainstage_stats::Conclusion::Equivalent => Conclusion::Holds,
            gainstage_stats::Conclusion::Different => Conclusion::Contradicted,
            gainstage_stats::Conclusion::Undecided => Conclusion::Undecided,
        },
    })
}

/// A signal that died or overflowed in some draw has no finite mean, and that is the finding.
fn not_finite(what: String, predicted: f64, values: &[f64]) -> Finding {
    let broken = values.iter().filter(|v| !v.is_finite()).count();
    Finding {
        what,
        predicted: Some(predicted),
        measured: f64::NAN,
        low: f64::NAN,
        high: f64::NAN,
        level: 1.0,
        n: values.len(),
        test: format!("{broken} of {} draws are not finite", values.len()),
        p_value: None,
        conclusion: Conclusion::Contradicted,
    }
}

/// a - b, draw by draw.
pub(crate) fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// An exact check: equal or not, to the last bit.
pub(crate) fn exactly(what: impl Into<String>, predicted: f64, measured: f64, n: usize) -> Finding {
    Finding {
        what: what.into(),
        predicted: Some(predicted),
        measured,
        low: measured,
        high: measured,
        level: 1.0,
        n,
        test: "exact".to_owned(),
        p_value: None,
        conclusion: if predicted == measured {
            Conclusion::Holds
        } else {
            Conclusion::Contradicted
        },
    }
}

impl Lab {
    /// The network that is measured: the described one, or, for a negative control, one with an error.
    pub(crate) fn planted(&self, network: &Network) -> Network {
        let mut network = network.clone();
        if let Some(plant) = self.plant {
            plant_in(&mut network.layers, plant);
        }
        network
    }
}

fn plant_in(layers: &mut [Layer], plant: Plant) {
    for layer in layers {
        match (layer, plant) {
            (Layer::Dense(dense), Plant::Gain(factor)) => {
                dense.weights = scaled(&dense.weights, factor);
            }
            (Layer::Dense(dense), Plant::SwappedFans) => dense.weights = swapped(&dense.weights),
            (
                Layer::Dense(Dense { activation, .. }) | Layer::Activation { function: activation },
                Plant::Leak(slope),
            ) if *activation == Activation::Relu => *activation = Activation::LeakyRelu { slope },
            (Layer::Residual { branch, .. }, plant) => plant_in(branch, plant),
            _ => {}
        }
    }
}

/// The initializer with fan-in and fan-out exchanged.
fn swapped(weights: &Initializer) -> Initializer {
    match *weights {
        Initializer::VarianceScaling { scale, mode, distribution } => {
            let mode = match mode {
                FanMode::FanIn => FanMode::FanOut,
                FanMode::FanOut => FanMode::FanIn,
                other => other,
            };
            Initializer::VarianceScaling { scale, mode, distribution }
        }
        ref other => other.clone(),
    }
}

/// The initializer with every weight multiplied by `factor`.
pub(crate) fn scaled(weights: &Initializer, factor: f64) -> Initializer {
    match weights.clone() {
        Initializer::Constant { value } => Initializer::Constant { value: value * factor },
        Initializer::Uniform { low, high } => {
            Initializer::Uniform { low: low * factor, high: high * factor }
        }
        Initializer::Normal { mean, std } => {
            Initializer::Normal { mean: mean * factor, std: std * factor }
        }
        Initializer::VarianceScaling { scale, mode, distribution } => {
            Initializer::VarianceScaling { scale: scale * factor * factor, mode, distribution }
        }
        Initializer::Orthogonal { gain } => Initializer::Orthogonal { gain: gain * factor },
        other => other,
    }
}

/// The three shapes of law with the same variance rule.
pub(crate) const SHAPES: [(ScalingDistribution, &str); 3] = [
    (ScalingDistribution::Normal, "normal"),
    (ScalingDistribution::Uniform, "uniform"),
    (ScalingDistribution::TruncatedNormal, "truncated"),
];
