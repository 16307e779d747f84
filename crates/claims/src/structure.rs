//! Residual branches and batch normalization at birth.

use std::f64::consts::PI;

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_simulate::{InputSource, Measured, Setup};
use gainstage_spec::{Activation, Dense, Initializer, Inputs, Layer, Network};
use gainstage_stats::{Moments, Probability, mean_interval};

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::draws::one_input;
use crate::figures::significant;
use crate::signal::{equality, factor_finding};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "RES01",
        chapter: Chapter::Structure,
        statement: "Residual ReLU branches that are not scaled down make the signal grow by a constant factor per block; scaled by 1/sqrt(L) they keep \
                    it of order one at any depth.",
        source: "Yang & Schoenholz 2017; Hanin & Rolnick 2018; De & Smith 2020",
        prediction: "x + a W2 relu(W1 x), He then LeCun, multiplies the squared norm by 1 + a^2 in expectation, exactly, at any width, forward and \
             backward: 2 per block at a = 1, (1 + 1/L)^L < e in all at a = 1/sqrt(L). It depends on the block: x + relu(W x) grows by 2.904, for \
             its branch has a mean.",
        rule: "Supported if ten unscaled blocks multiply signal and error signal by 2^10 within 12%, ten and forty scaled ones by (1 + 1/L)^L within \
             6%, and the third form's factor per block equals its infinite-width value within 3%; refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: residual_growth,
    },
    Claim {
        code: "NRM01",
        chapter: Chapter::Structure,
        statement: "Batch normalization makes the gradients of a deep ReLU network explode at birth, by pi/(pi - 1) per layer in second moment for large \
                    batches, whatever the weights' scale.",
        source: "Yang, Pennington, Rao, Sohl-Dickstein & Schoenholz 2019",
        prediction: "Normalization takes the mean of the rectified units off and divides by what is left, 1 - 1/pi of their second moment; backward that \
             multiplies by 1.467 per layer, 1.522 at 32 inputs and 1.493 at 64. The forward pass and so the rate do not depend on the \
             weights' variance.",
        rule: "Supported if the typical factor per layer equals the finite-batch rate within 3% at 32 and 64 inputs under He's weights, and at 32 inputs \
             under weights of a quarter of He's variance; refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Leak(0.25)],
        run: batch_norm,
    },
];

/// `blocks` residual blocks and a linear layer, LeCun normal, that reads the stream.
fn residual(width: usize, blocks: usize, scale: f64) -> Result<Network, ClaimError> {
    let branch = vec![
        Layer::Dense(Dense::new(width, Initializer::he_normal(), Activation::Relu)),
        Layer::Dense(Dense::new(width, Initializer::lecun_normal(), Activation::Linear)),
    ];
    let mut layers = vec![Layer::Residual { scale, branch }; blocks];
    layers.push(Layer::Dense(Dense::new(width, Initializer::lecun_normal(), Activation::Linear)));
    Ok(Network::new(width, layers)?)
}

fn residual_growth(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(4000, 8000, 20000);
    let width = 64;
    let mut findings = Vec::new();
    let mut panel = Panel::new("", Axis::linear("block"), Axis::log10("mean square of the stream"));
    let cases = [
        ("unscaled", 10, 1.0, 0.12),
        ("scaled, 10 blocks", 10, 0.1f64.sqrt(), 0.06),
        ("scaled, 40 blocks", 40, 0.025f64.sqrt(), 0.06),
    ];
    for (index, (label, blocks, scale, margin)) in cases.into_iter().enumerate() {
        let network = residual(width, blocks, scale)?;
        let measured = lab.measure(label, &network, one_input(trials))?;
        let predicted = (1.0 + scale * scale).powi(blocks as i32);
        let stream = measured.layers[2 * blocks].values(|draw| draw.forward.mean);
        let error: Vec<f64> = measured.input_gradient.iter().map(|e| e.mean).collect();
        let name =
            |side: &str| format!("{label}: growth of the mean square over {blocks} blocks, {side}");
        findings.push(equality(lab, name("forward"), &stream, predicted, margin * predicted)?);
        findings.push(equality(lab, name("backward"), &error, predicted, margin * predicted)?);
        panel.marks.extend(stream_marks(label, index + 1, blocks, scale, &measured)?);
    }
    let (factor, predicted) = relu_branches(lab, trials / 5)?;
    findings.push(factor_finding(
        lab,
        "x + relu(W x): factor per block, blocks 5 to 10".to_owned(),
        &factor,
        predicted,
        0.03,
    )?);
    let text = format!(
        "Lines: 2 per block, and (1 + 1/L) per block, exact in expectation. Dots: means over {trials} draws of width {width} with 95% intervals. \
         Forty scaled blocks end at {}.",
        significant(findings[4].measured)
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Ten unscaled blocks multiplied the mean square by {} forward and {} backward (2^10 = 1024), ten scaled ones by {}, forty by {}; \
             x + relu(W x) grew by {} per block.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(findings[4].measured),
            significant(findings[6].measured),
        ),
        experiment: format!(
            "blocks x + a W2 relu(W1 x) of width {width}, He then LeCun normal, and x + relu(W x) of width 128; {trials} weight draws a case, a fifth \
             for the last"
        ),
        figures: vec![
            Figure::new("RES01-growth", "Unscaled branches double the signal per block", text)
                .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}

/// The stream's mean square before each block, read through He's first matrix, and behind the last.
fn stream_marks(
    label: &str,
    colour: usize,
    blocks: usize,
    scale: f64,
    measured: &Measured,
) -> Result<[Mark; 2], ClaimError> {
    let line = (0..=blocks).map(|l| (l as f64, (1.0 + scale * scale).powi(l as i32)));
    let step = blocks / 10;
    let mut dots = Vec::new();
    for block in (0..=blocks).step_by(step) {
        let reader = if block == blocks { 1.0 } else { 0.5 };
        let values: Moments =
            measured.layers[2 * block].values(|d| reader * d.forward.mean).as_slice().into();
        let i = mean_interval(&values, Probability::P95)?;
        dots.push(Point::with_interval(block as f64, i.estimate, i.low, i.high));
    }
    Ok([Mark::line("", 0, line.collect()), Mark::points(label, colour, dots)])
}

/// ln of the factor per block of x + relu(W x), He's weights, between blocks 5 and 10, and its value at
/// infinite width: with m the mean of the stream, m' = m + sqrt(q/pi), q' = 2 q + 2 m sqrt(q/pi).
fn relu_branches(lab: &Lab, trials: usize) -> Result<(Vec<f64>, f64), ClaimError> {
    let width = 128;
    let branch = vec![Layer::Dense(Dense::new(width, Initializer::he_normal(), Activation::Relu))];
    let network = Network::new(width, vec![Layer::Residual { scale: 1.0, branch }; 10])?;
    let measured = lab.measure("branches with a mean", &network, one_input(trials))?;
    let log = |block: usize| measured.layers[block - 1].values(|d| d.forward.log_mean);
    let factors = log(5).iter().zip(&log(10)).map(|(a, b)| (b - a) / 5.0).collect();
    let (mut m, mut q) = (0.0f64, 1.0f64);
    let mut stream = vec![q];
    for _ in 1..10 {
        let added = (q / PI).sqrt();
        (m, q) = (m + added, 2.0 * q + 2.0 * m * added);
        stream.push(q);
    }
    Ok((factors, (stream[9] / stream[4]).powf(0.2)))
}

/// The factor per layer of the error signal's second moment through ReLU layers with batch normalization
/// over `batch` inputs, in the stationary state at infinite width: the normalized values of a unit are
/// uniform on a sphere in the hyperplane of vectors that sum to zero, of correlation r = -1/(B - 1).
pub(crate) fn rate(batch: f64) -> f64 {
    let r = -1.0 / (batch - 1.0);
    let kernel = ((1.0 - r * r).sqrt() + r * (PI - r.acos())) / PI;
    let k = 0.5 * kernel;
    let pairs = batch * (batch - 1.0);
    let gates = 0.5 * batch + pairs * (0.25 + r.asin() / (2.0 * PI));
    let sum = 0.5 * batch + pairs * k;
    let bracket = 0.5 * batch - 1.5 + (gates + sum) / (batch * batch);
    batch / ((batch - 3.0) * (0.5 - k)) * bracket / (batch - 1.0)
}

/// Layers of this variance times fan-in, each normalized over the batch before its ReLU.
pub(crate) fn normalized(width: usize, depth: usize, variance: f64) -> Result<Network, ClaimError> {
    let init = Initializer::scaled_normal(variance.sqrt());
    let block = [
        Layer::Dense(Dense::new(width, init, Activation::Linear)),
        Layer::BatchNorm { epsilon: 0.0 },
        Layer::Activation { function: Activation::Relu },
    ];
    Ok(Network::new(width, vec![block; depth].concat())?)
}

fn batch_norm(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(60, 150, 600);
    let (width, depth) = (256, 14);
    let mut findings = Vec::new();
    let mut panel =
        Panel::new("", Axis::linear("layer"), Axis::log10("second moment of the error signal"));
    let cases = [
        ("He, 32 inputs", 2.0f64, 32usize),
        ("He, 64 inputs", 2.0, 64),
        ("a quarter of He's variance, 32 inputs", 0.5, 32),
    ];
    for (index, (label, variance, batch)) in cases.into_iter().enumerate() {
        let network = normalized(width, depth, variance)?;
        let setup = Setup {
            trials,
            batch,
            inputs: InputSource::Random(Inputs::Sphere),
            ..Setup::default()
        };
        let measured = lab.measure(label, &network, setup)?;
        // Layers 3 to 12: the ends are not stationary yet.
        let log = |layer: usize| measured.layers[layer - 1].values(|d| d.gradient.mean.ln());
        let growth: Vec<f64> = log(3).iter().zip(&log(12)).map(|(l, h)| (l - h) / 9.0).collect();
        let predicted = rate(batch as f64);
        let what = format!("{label}: factor of the error signal per layer, layers 12 to 3");
        findings.push(factor_finding(lab, what, &growth, predicted, 0.03)?);
        let anchor = Moments::from(log(12).as_slice()).mean();
        let line =
            (1..=depth).map(|l| (l as f64, (anchor + (12.0 - l as f64) * predicted.ln()).exp()));
        panel.marks.push(Mark::line("", 0, line.collect()));
        let mut dots = Vec::new();
        for layer in 1..=depth {
            let i = mean_interval(&Moments::from(log(layer).as_slice()), Probability::P95)?
                .map(f64::exp);
            dots.push(Point::with_interval(layer as f64, i.estimate, i.low, i.high));
        }
        panel.marks.push(Mark::points(label, index + 1, dots));
    }
    let text = format!(
        "Geometric means over {trials} draws with 95% intervals, width {width}. Dark: the finite-batch rates 1.522 and 1.493 from layer 12 down. \
         Measured: {}.",
        findings.iter().map(|f| significant(f.measured)).collect::<Vec<_>>().join(", ")
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Toward the input a layer multiplied the error signal's second moment by {} at 32 inputs (predicted {}), by {} at 64 ({}), and by {} \
             with a quarter of the variance: fifty layers would make it {:.0e}.",
            significant(findings[0].measured),
            significant(rate(32.0)),
            significant(findings[1].measured),
            significant(rate(64.0)),
            significant(findings[2].measured),
            findings[0].measured.powi(50),
        ),
        experiment: format!(
            "{depth} layers of width {width}, batch normalization before ReLU; {trials} weight draws a case, each with a batch of its own"
        ),
        figures: vec![
            Figure::new("NRM01-explosion", "Batch normalization: gradients explode downward", text)
                .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}

#[cfg(test)]
mod tests {
    use super::rate;

    /// Values of the stationary rate computed independently, and its limit pi/(pi - 1).
    #[test]
    fn batch_rates_match_their_published_limit_and_reference_values() {
        for (batch, value) in
            [(8.0, 1.788189976659), (32.0, 1.521952830552), (128.0, 1.479681272322)]
        {
            assert!((rate(batch) - value).abs() < 1e-11, "{batch}: {}", rate(batch));
        }
        let limit = std::f64::consts::PI / (std::f64::consts::PI - 1.0);
        assert!((rate(1e6) - limit).abs() < 1e-5);
        // The twin: the rate of a linear network, (B - 2)/(B - 3), is another.
        assert!((rate(8.0) - 1.2).abs() > 0.5);
    }
}
