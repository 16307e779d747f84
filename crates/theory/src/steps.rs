//! The forward pass through every kind of layer.

use gainstage_spec::{Activation, Layer};

use crate::error::TheoryError;
use crate::gate::{Argument, Gate, activate};
use crate::law::Cumulants;
use crate::noise::Gates;
use crate::signal::{DenseTrace, Signal, Weights, affine, log_shift};

/// One layer as the backward pass meets it.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one per layer of a network
pub(crate) enum Step {
    /// A dense layer and its own activation.
    Dense { number: usize, trace: DenseTrace, function: Activation, activation: Signal, gate: Gate },
    /// An activation that stands apart.
    Gate { function: Activation, gate: Gate, width: usize },
    /// Inverted dropout.
    Mask { keep: f64, width: usize },
    /// RMS or layer normalization of each input.
    Norm(Norm),
    /// Batch normalization.
    Batch(Norm),
    /// h + scale * branch(h).
    Residual { scale: f64, branch: Vec<Step>, join: Join },
}

/// What a normalization does to error signals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    /// Mean of the factor, and of its logarithm.
    pub(crate) expected: f64,
    pub(crate) log: f64,
    /// d ln(output's second moment) / d ln(input's).
    pub(crate) slope: f64,
}

/// What the backward pass needs of the place where a branch returns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Join {
    pub(crate) width: usize,
    /// d ln(output's second moment) / d ln(input's).
    pub(crate) slope: f64,
    /// Variance of the noise that the branch adds.
    pub(crate) variance: f64,
}

/// The pass itself: what is counted and what it is told.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Dense layers so far.
    dense: usize,
    /// Inputs per batch, infinitely many without.
    batch: Option<usize>,
    gates: Gates,
}

impl Forward {
    /// At the first layer.
    pub(crate) fn new(batch: Option<usize>) -> Self {
        Self { dense: 0, batch, gates: Gates::default() }
    }

    pub(crate) fn run(
        &mut self,
        layers: &[Layer],
        mut signal: Signal,
    ) -> Result<(Vec<Step>, Signal), TheoryError> {
        let mut steps = Vec::with_capacity(layers.len());
        for layer in layers {
            let (step, next) = self.layer(layer, &signal)?;
            steps.push(step);
            signal = next;
        }
        Ok((steps, signal))
    }

    fn layer(&mut self, layer: &Layer, input: &Signal) -> Result<(Step, Signal), TheoryError> {
        let width = input.width;
        Ok(match layer {
            Layer::Dense(dense) => {
                self.dense += 1;
                let number = self.dense;
                let trace = affine(input, Weights::read(number, width, dense)?);
                let (activation, gate) =
                    activate(&dense.activation, &Argument::of(&trace), &mut self.gates);
                let function = dense.activation.clone();
                (Step::Dense { number, trace, function, activation, gate }, activation)
            }
            Layer::Activation { function } => {
                self.needs_gaussian(input, "an activation that stands apart")?;
                let (signal, gate) =
                    activate(function, &Argument::standing(input), &mut self.gates);
                (Step::Gate { function: function.clone(), gate, width }, signal)
            }
            Layer::Dropout { keep } => (Step::Mask { keep: *keep, width }, mask(input, *keep)),
            Layer::RmsNorm { epsilon } => {
                let (norm, signal) = normalize(input, 1.0, 0.0, *epsilon);
                (Step::Norm(norm), signal)
            }
            Layer::LayerNorm { epsilon } => {
                let n = width as f64;
                // The mean of the units goes, theirs and the sampling noise of n units.
                let left = 1.0 - input.mean * input.mean / input.log.mean.exp();
                let (norm, signal) =
                    normalize(input, left.max(0.0) * (1.0 - 1.0 / n), 1.0, *epsilon);
                let gap = (input.gap / left).min(2.0);
                (Step::Norm(norm), Signal { gap, mean: 0.0, centred: true, ..signal })
            }
            Layer::BatchNorm { epsilon } => self.batch_norm(input, *epsilon)?,
            Layer::Residual { scale, branch } => self.residual(input, *scale, branch)?,
            other => return Err(self.error(format!("{other:?} cannot be predicted"))),
        })
    }

    fn error(&self, why: String) -> TheoryError {
        TheoryError::Layer { layer: self.dense, why }
    }

    fn needs_gaussian(&self, input: &Signal, what: &str) -> Result<(), TheoryError> {
        if input.gaussian {
            Ok(())
        } else {
            Err(self.error(format!(
                "{what} follows units that are not Gaussian; put it behind a dense layer without activation"
            )))
        }
    }

    /// Each unit minus its mean over the batch, over its spread there.
    ///
    /// Given the layer below, a unit's values over the batch are Gaussian with variance q and
    /// correlation c, so that their spread is q (1 - c) and the outputs are uniform on a sphere in
    /// the hyperplane of vectors that sum to zero (Yang et al. 2019).
    fn batch_norm(&self, input: &Signal, epsilon: f64) -> Result<(Step, Signal), TheoryError> {
        self.needs_gaussian(input, "batch normalization")?;
        if self.batch.is_some_and(|b| b < 4) {
            return Err(self.error(
                "batch normalization of fewer than 4 inputs has gradients of infinite mean; take 4 or more"
                    .to_owned(),
            ));
        }
        let (norm, signal) = normalize(input, input.gap, 0.0, epsilon);
        let gap = self.batch.map_or(1.0, |b| b as f64 / (b as f64 - 1.0));
        let n = input.width as f64;
        // One input's units are independent again, of variance 1.
        let log = signal.log.plus(log_shift(2.0 / n));
        Ok((Step::Batch(norm), Signal { log, gap, ..signal }))
    }

    fn residual(
        &mut self,
        input: &Signal,
        scale: f64,
        layers: &[Layer],
    ) -> Result<(Step, Signal), TheoryError> {
        let before = self.dense;
        let (branch, _) = self.run(layers, *input)?;
        if self.dense == before {
            return Err(self.error(
                "a residual branch without a dense layer repeats its input; give it one".to_owned(),
            ));
        }
        // The branch again from a fixed length: its own noise, apart from what it inherits.
        self.dense = before;
        let typical = input.log.mean.exp();
        let log = Cumulants::constant(input.log.mean);
        let fixed = Signal { expected: typical, log, ..*input };
        let (trace, out) = self.run(layers, fixed)?;
        let inherited: f64 = trace.iter().map(Step::slope).product();
        let n = input.width as f64;
        let square = scale * scale;
        // E h . branch(h): only means survive, the weights' signs being random.
        let cross = 2.0 * scale * input.mean * out.mean;
        let added = square * out.expected;
        let total = typical + added + cross;
        let (share, kept) = (added / total, typical / total);
        let variance = (share * share * out.log.variance + 4.0 * share * kept / n).ln_1p();
        let points: Vec<_> = input
            .log
            .points()
            .into_iter()
            .map(|(x, w)| {
                let (own, relative) = (x.exp(), x - input.log.mean);
                let joined = own
                    + added * (inherited * relative).exp()
                    + cross * (0.5 * (1.0 + inherited) * relative).exp();
                (joined.ln(), w)
            })
            .collect();
        let mean_ratio = if typical > 0.0 { input.expected / typical } else { 1.0 };
        let signal = Signal {
            expected: input.expected
                + square * out.expected * mean_ratio.powf(inherited)
                + cross * mean_ratio.powf(0.5 * (1.0 + inherited)),
            log: Cumulants::of(&points).plus(log_shift(variance)),
            gap: (kept * input.gap + share * out.gap).min(2.0),
            concentration: kept * kept * input.concentration
                + share * share * out.concentration
                + 6.0 * kept * share / n,
            zero: input.zero,
            mean: input.mean + scale * out.mean,
            gaussian: input.gaussian && out.gaussian,
            centred: false,
            ..*input
        };
        let slope = kept + share * inherited + (1.0 - kept - share) * 0.5 * (1.0 + inherited);
        let join = Join { width: input.width, slope, variance };
        Ok((Step::Residual { scale, branch, join }, signal))
    }
}

impl Step {
    /// d ln(output's second moment) / d ln(input's).
    fn slope(&self) -> f64 {
        match self {
            Self::Dense { trace, gate, .. } => trace.share * gate.slope,
            Self::Gate { gate, .. } => gate.slope,
            Self::Mask { .. } => 1.0,
            Self::Norm(norm) | Self::Batch(norm) => norm.slope,
            Self::Residual { join, .. } => join.slope,
        }
    }
}

fn mask(input: &Signal, keep: f64) -> Signal {
    let variance = (1.0 / keep - 1.0) * input.concentration;
    let n = input.width as f64;
    // Fourth moment of one unit over the squared second, now divided by keep.
    let ratio = input.concentration * (n - 1.0) / (1.0 - input.concentration).max(1e-9) / keep;
    Signal {
        expected: input.expected / keep,
        log: input.log.shifted(-keep.ln()).plus(log_shift(variance)),
        gap: 1.0 - keep * (1.0 - input.gap),
        concentration: ratio / (ratio + n - 1.0),
        gaussian: input.gaussian && keep == 1.0,
        ..*input
    }
}

/// Division by the square root of `left` times the second moment plus epsilon; of n dimensions of
/// the error signal `lost` go besides the one along the output, which its alignment stands for.
fn normalize(input: &Signal, left: f64, lost: f64, epsilon: f64) -> (Norm, Signal) {
    let points = input.log.points();
    let total: f64 = points.iter().map(|p| p.1).sum();
    let denominator = |x: f64| left * x.exp() + epsilon;
    let logs: Vec<_> =
        points.iter().map(|&(x, w)| ((left * x.exp() / denominator(x)).ln(), w)).collect();
    let average =
        |f: &dyn Fn(f64) -> f64| points.iter().map(|&(x, w)| w * f(x)).sum::<f64>() / total;
    let typical = input.log.mean;
    let survives = 1.0 - lost / input.width as f64;
    let norm = Norm {
        expected: survives * average(&|x| denominator(x).recip()),
        log: survives.ln() + average(&|x| -denominator(x).ln()),
        slope: epsilon / denominator(typical),
    };
    let signal = Signal {
        expected: average(&|x| left * x.exp() / denominator(x)),
        log: Cumulants::of(&logs),
        ..*input
    };
    (norm, signal)
}
