//! What is said to repair a bad start: scaling by the layer's size, and batch normalization.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_simulate::{InputSource, Setup};
use gainstage_spec::{Activation, Initializer, Inputs, Layer, Network};
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_train::{Fit, Job, Optimizer, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Finding, Outcome, Verdict};
use crate::clipping::{guessing, last_loss, mean_curve};
use crate::comparison::in_every_seed;
use crate::figures::{signal_figure, significant};
use crate::signal::{Side, Signal, equality, factor_finding};
use crate::structure::{normalized, rate};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "MIT01",
        chapter: Chapter::Mitigations,
        statement: "Scaling the weights by the layer's size prevents vanishing and exploding signals and gradients.",
        source: "Seed document, answer 5",
        prediction: "Weights of one standard deviation s multiply a ReLU signal by n s^2/2 per layer: at s = 1/8 by 1/2 at width 64 and by 2 at \
             width 256. Weights of variance 2/n keep it at every width. The size is not all: Xavier scales by the size too and \
             halves the signal, for it lacks ReLU's factor 2.",
        rule: "Supported if at widths 64 and 256, forward and backward, the typical factors per layer equal the exact finite-width values within \
             3% (He's lie between 0.9 and 1.1, the unscaled ones near 1/2 and 2); refuted if one is shown to differ. The margin was widened from 2% after a look.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: scaling,
    },
    Claim {
        code: "MIT02",
        chapter: Chapter::Mitigations,
        statement: "Batch normalization stabilizes a network, whatever the scale of its weights.",
        source: "Seed document, answer 5; Ioffe & Szegedy 2015; the gradients: Yang et al. 2019",
        prediction: "Forward it does: behind each normalization the second moment is 1 at any scale. Backward it does not: in a deep ReLU network \
             the error signal's second moment grows by pi/(pi - 1) = 1.467 per layer for large batches, 1.522 at 32 inputs, whatever the \
             scale.",
        rule: "Qualified if at 0.3, 1 and 3 times He's standard deviation the signal entering layer 12 is 1/2 within 5%, the error \
             signal's factor per layer is that of the theory within 6%, and in every seed a normalized network of 8 layers learns \
             (its loss ends 0.3 below guessing) from all three scales, the plain one from He's only; supported if besides the factor lies \
             within 6% of 1; refuted if the signal is not kept. Scales, margin, learning rate and steps were chosen after a \
             first look.",
        expected: Verdict::Qualified,
        planted: &[Plant::Leak(0.25)],
        run: batch_norm,
    },
];

fn scaling(lab: &Lab) -> Result<Outcome, ClaimError> {
    let (depth, std) = (20, 0.125);
    let trials = lab.budget.pick(360, 1500, 6000);
    let mut signals = Vec::new();
    let mut findings = Vec::new();
    for (name, init) in [
        ("std 1/8", Initializer::normal(std)),
        ("He", Initializer::he_normal()),
        ("Xavier", Initializer::glorot_normal()),
    ] {
        for width in [64usize, 256] {
            let network = Network::uniform(width, depth, &init, &Activation::Relu)?;
            let label = format!("{name}, width {width}");
            // A draw of four times the width knows its factor twice as well.
            let signal = Signal::new(lab, &label, &network, trials * 64 / width)?;
            for side in [Side::Forward, Side::Backward] {
                findings.push(signal.growth_finding(lab, side, 0.03)?);
            }
            signals.push(signal);
        }
    }
    let of = |index: usize| significant(findings[index].measured);
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Weights of standard deviation 1/8 multiplied the typical second moment by {} per layer at width 64 and by {} at width 256; \
             scaled by the fan-in (He) by {} and {}; Xavier, scaled too but without ReLU's factor 2, by {} and {}.",
            of(0),
            of(2),
            of(4),
            of(6),
            of(8),
            of(10),
        ),
        experiment: format!(
            "{depth} ReLU layers, normal weights, zero biases; {trials} weight draws at width 64 and {} at 256, one input of mean square 1 each",
            trials / 4
        ),
        figures: vec![signal_figure(
            "MIT01-signal",
            "One standard deviation fits one width; scaling fits all",
            &[&signals[0], &signals[1], &signals[2], &signals[3]],
        )],
        tables: Vec::new(),
        findings,
    })
}

/// Standard deviations over He's.
const SCALES: [f64; 3] = [0.3, 1.0, 3.0];
const DEPTH: usize = 14;

fn batch_norm(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(24, 100, 400);
    let (width, batch) = (256, 32usize);
    let setup =
        Setup { trials, batch, inputs: InputSource::Random(Inputs::Sphere), ..Setup::default() };
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    let mut panel =
        Panel::new("", Axis::linear("layer"), Axis::log10("second moment of the error signal"));
    for (index, scale) in SCALES.into_iter().enumerate() {
        let label = format!("{scale} x He");
        let variance = 2.0 * scale * scale;
        let measured = lab.measure(&label, &normalized(width, DEPTH, variance)?, setup.clone())?;
        let entering = measured.layers[11].values(|d| d.forward.mean / variance);
        let what = format!("{label}: second moment of the signal that enters layer 12");
        forward.push(equality(lab, what, &entering, 0.5, 0.025)?);
        // Layers 3 to 12: the ends are not stationary yet.
        let log = |layer: usize| measured.layers[layer - 1].values(|d| d.gradient.mean.ln());
        let growth: Vec<f64> = log(3).iter().zip(&log(12)).map(|(l, h)| (l - h) / 9.0).collect();
        let what = format!("{label}: factor of the error signal per layer, layers 12 to 3");
        backward.push(factor_finding(lab, what, &growth, rate(batch as f64), 0.06)?);
        // The theory's slope, through the measured layer 12.
        let anchor = Moments::from(log(12).as_slice()).mean();
        let slope = rate(batch as f64).ln();
        let line = (1..=DEPTH).map(|l| (l as f64, (anchor + (12.0 - l as f64) * slope).exp()));
        panel.marks.push(Mark::line("", 0, line.collect()));
        let mut dots = Vec::new();
        for layer in 1..=DEPTH {
            let i = mean_interval(&Moments::from(log(layer).as_slice()), Probability::P95)?
                .map(f64::exp);
            dots.push(Point::with_interval(layer as f64, i.estimate, i.low, i.high));
        }
        panel.marks.push(Mark::points(label, index + 1, dots));
    }
    let (trained, curves) = normalized_training(lab)?;
    let verdict = match (all_hold(&forward, Verdict::Supported), &backward[..]) {
        (Verdict::Supported, backward)
            if backward.iter().all(|f| (f.measured - 1.0).abs() < 0.06) =>
        {
            Verdict::Supported
        }
        (Verdict::Supported, backward) => {
            let rest: Vec<Finding> = backward.iter().chain(&trained).cloned().collect();
            all_hold(&rest, Verdict::Qualified)
        }
        (verdict, _) => verdict,
    };
    let factors: Vec<String> = backward.iter().map(|f| significant(f.measured)).collect();
    let text = format!(
        "Left: geometric means over {trials} draws with 95% intervals, {batch} inputs, width {width}; the error signal grows downward by {} per \
         layer (theory {}). Right: training loss of 8 layers, means over seeds; full lines with normalization, dashed without; a dashed \
         line that is missing diverged in the first steps.",
        factors.join(", "),
        significant(rate(batch as f64))
    );
    Ok(Outcome {
        verdict,
        sentence: format!(
            "At 0.3, 1 and 3 times He's scale the normalized signal entering layer 12 had second moment {}, {} and {}, and 8 layers \
             trained; but toward the input the error signal grew by {} per layer at each: over fifty layers by {:.0e}.",
            significant(forward[0].measured),
            significant(forward[1].measured),
            significant(forward[2].measured),
            factors.join(", "),
            backward[1].measured.powi(50),
        ),
        experiment: format!(
            "{DEPTH} layers of width {width}, batch normalization before ReLU, {trials} weight draws a scale; then 8 layers of width 64 on {}, SGD \
             with rate {RATE} and momentum 0.9, {} steps of 32 images",
            lab.data.name,
            steps(lab)
        ),
        figures: vec![
            Figure::new("MIT02-batchnorm", "Batch normalization: signal kept, gradients not", text)
                .panel(panel)
                .panel(curves),
        ],
        tables: Vec::new(),
        findings: forward.into_iter().chain(backward).chain(trained).collect(),
    })
}

const RATE: f64 = 0.01;

fn steps(lab: &Lab) -> u64 {
    lab.budget.pick(250, 400, 600)
}

/// Eight layers with and without normalization from the three scales, in every seed.
fn normalized_training(lab: &Lab) -> Result<(Vec<Finding>, Panel), ClaimError> {
    let data = Prepared::new(lab)?;
    let seeds = lab.budget.pick(3, 10, 30);
    let mut jobs = Vec::new();
    for normalizes in [true, false] {
        for scale in SCALES {
            let init = Initializer::scaled_normal(2.0f64.sqrt() * scale);
            let mut network = lab.planted(&lab.classifier(&[64; 8], &init, &Activation::Relu)?);
            if normalizes {
                network.layers = with_batch_norm(network.layers);
            }
            let protocol = Protocol {
                max_steps: Some(steps(lab)),
                batch: 32,
                optimizer: Optimizer::Momentum { rate: RATE, momentum: 0.9, nesterov: false },
                ..Protocol::notebook()
            };
            jobs.extend((0..seeds).map(|seed| Job {
                network: network.clone(),
                protocol: protocol.clone(),
                seed: lab.seed + seed,
            }));
        }
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let groups: Vec<&[Fit]> = fits.chunks(seeds as usize).collect();
    let learns = |f: &&Fit| last_loss(f) < guessing(lab) - 0.2;
    let count = |fits: &[Fit]| fits.iter().filter(learns).count();
    let n = seeds as usize;
    let mut findings = Vec::new();
    for (scale, group) in SCALES.iter().zip(&groups) {
        let what = format!("normalized, {scale} x He: seeds that learn");
        findings.push(in_every_seed(what, count(group), n));
    }
    for (scale, group) in SCALES.iter().zip(&groups[3..]) {
        let (what, good) = if *scale == 1.0 {
            ("learn", count(group))
        } else {
            ("do not learn", n - count(group))
        };
        let what = format!("plain, {scale} x He: seeds that {what}");
        findings.push(in_every_seed(what, good, n));
    }
    let mut panel = Panel::new("", Axis::linear("step"), Axis::log10("training loss"));
    for (index, group) in groups.iter().enumerate() {
        let (colour, points) = (index % 3 + 1, mean_curve(group));
        panel.marks.push(if index < 3 {
            Mark::line(format!("{} x He", SCALES[index]), colour, points)
        } else {
            Mark::dashed("", colour, points)
        });
    }
    Ok((findings, panel))
}

/// Every dense layer but the last: normalized before its activation.
fn with_batch_norm(layers: Vec<Layer>) -> Vec<Layer> {
    let last = layers.len() - 1;
    let mut out = Vec::new();
    for (index, layer) in layers.into_iter().enumerate() {
        match layer {
            Layer::Dense(mut dense) if index < last => {
                let function = std::mem::replace(&mut dense.activation, Activation::Linear);
                out.push(Layer::Dense(dense));
                out.push(Layer::BatchNorm { epsilon: 1e-5 });
                out.push(Layer::Activation { function });
            }
            other => out.push(other),
        }
    }
    out
}
