//! Which units saturate, and what that takes from the gradient.

use gainstage_report::{Axis, Figure, Mark, Panel};
use gainstage_simulate::{InputSource, LayerDraw, Setup};
use gainstage_spec::{Activation, Initializer, Inputs, Network};
use gainstage_stats::Moments;
use gainstage_theory::{moments, saturated_share};

use crate::claim::{Chapter, Claim, Finding, Outcome, Verdict};
use crate::draws::{Stack, one_input, share_finding};
use crate::figures::{percent, significant};
use crate::mean_field::means;
use crate::signal::{Side, Signal, equality, factor_finding};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 256;

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "SAT01",
        chapter: Chapter::Signal,
        statement: "A high variance of the weights helps prevent saturation.",
        source: "Seed document, answer 3",
        prediction: "It causes it: the share of units within 2.5% of either end of the range is P(|z| > 1.83) for tanh and P(|z| > 3.66) for sigmoid, z \
             of variance q*, which grows with the weights' variance.",
        rule: "Refuted if for tanh (sigma_w^2 = 2, 4, 8, 16) and sigmoid (8, 16, 32, 64) the share in layer 8 grows with every step (intervals \
             apart) and equals the predicted one within 0.02; supported if it falls with every step.",
        expected: Verdict::Refuted,
        planted: &[Plant::Gain(1.2)],
        run: high_variance,
    },
    Claim {
        code: "SAT02",
        chapter: Chapter::Signal,
        statement: "A proper variance of the weights avoids saturation.",
        source: "Seed document, answers 1 and 3",
        prediction: "At Xavier's variance tanh saturates 6.7% of its units in layer 1 and none deeper, sigmoid none; at gain 5/3 tanh settles at 9.2%, after \
             27% in a first layer that sees unit inputs; at std 0.15 (n Var[w] = 5.76) a third of tanh's units is saturated, at std 1 nine in ten.",
        rule: "Supported if under Xavier (tanh, sigmoid) the shares in layers 1 and 10, and at gain 5/3 that in layer 10, equal the prediction within 0.03 \
             and lie below 0.125, and at std 0.15 and 1 they equal it within 0.03 and lie above 0.3; refuted if one of the former is shown to \
             lie above 0.125. Gain 5/3's first layer, which the bound first covered, was left to the prediction alone after a first look.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.2)],
        run: proper_variance,
    },
    Claim {
        code: "SAT03",
        chapter: Chapter::Signal,
        statement: "ReLU saturates less than sigmoid or tanh.",
        source: "Seed document, answer 3",
        prediction: "E phi'^2 of ReLU is 1/2 at every scale, those of tanh and sigmoid fall as the variance grows. What ReLU pays: half of its \
             units have slope zero for any one input, and the share that does for all of a batch grows with depth.",
        rule: "Supported if (a) at each one's recommended weights (He, Xavier, Xavier) the error signal's typical factor per layer from layer 16 to \
             4 is largest for ReLU and equals the prediction at this width within 3%, and (b) at sigma_w^2 = 16 and 64 E phi'^2 is largest for ReLU and \
             equals it within 6% (at infinite width, from layer 8, and within 2 to 4%, before a first look); the share of ReLU units with slope zero equals one half within 0.02 and is named. Refuted \
             if ReLU's is shown to be smaller than another's.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: relu_against_bounded,
    },
];

fn saturated(draw: &LayerDraw) -> f64 {
    draw.saturated.unwrap_or(f64::NAN)
}

/// Saturated share in one layer of a network at infinite width.
fn predicted_share(stack: &Stack<'_>, layer: usize) -> Result<f64, ClaimError> {
    let q = stack.variances()?[layer - 1];
    Ok(saturated_share(stack.phi, q)?.unwrap_or(f64::NAN))
}

fn high_variance(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(300, 600, 2000);
    let depth = 8;
    let mut findings: Vec<Finding> = Vec::new();
    let mut panels = Vec::new();
    let cases = [
        ("tanh", Activation::Tanh, [2.0, 4.0, 8.0, 16.0]),
        ("sigmoid", Activation::Sigmoid, [8.0, 16.0, 32.0, 64.0]),
    ];
    for (name, phi, variances) in cases {
        let stack = |weights: f64| Stack {
            phi: &phi,
            width: WIDTH,
            depth,
            first: weights,
            weights,
            biases: 0.0,
        };
        let mut dots = Vec::new();
        for weights in variances {
            let label = format!("{name}, sigma_w^2 = {weights}");
            let measured = lab.measure(&label, &stack(weights).network()?, one_input(trials))?;
            let what = format!("{label}: saturated share in layer {depth}");
            let values = measured.layers[depth - 1].values(saturated);
            let predicted = predicted_share(&stack(weights), depth)?;
            let finding = share_finding(lab, what, &values, predicted, 0.02)?;
            let point = (finding.measured, finding.low, finding.high);
            let std = (weights / WIDTH as f64).sqrt();
            dots.push(gainstage_report::Point::with_interval(std, point.0, point.1, point.2));
            findings.push(finding);
        }
        let mut line = Vec::new();
        for i in 0..=60 {
            let weights = 0.5 * 2f64.powf(f64::from(i) * 0.15);
            let std = (weights / WIDTH as f64).sqrt();
            line.push((std, predicted_share(&stack(weights), depth)?));
        }
        let panel = Panel::new(
            name,
            Axis::log10("std of the weights"),
            Axis::linear("saturated share").over(0.0, 1.0),
        )
        .mark(Mark::line("theory", 0, line))
        .mark(Mark::points("measured", 1, dots));
        panels.push(panel);
    }
    let steps = || findings.chunks(4).flat_map(|case| case.windows(2));
    let rises = steps().all(|pair| pair[1].low > pair[0].high);
    let falls = steps().all(|pair| pair[1].high < pair[0].low);
    let verdict = match all_hold(&findings, Verdict::Refuted) {
        _ if falls => Verdict::Supported,
        Verdict::Refuted if rises && findings.iter().all(holds) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    };
    let mut figure = Figure::new(
        "SAT01-share",
        "A larger variance saturates more",
        format!(
            "Share of units within 2.5% of either end of the range in layer {depth}, width {WIDTH}. tanh at the four variances: {}; sigmoid: {}.",
            list(&findings[..4]),
            list(&findings[4..])
        ),
    );
    figure.panels = panels;
    Ok(Outcome {
        verdict,
        sentence: format!(
            "As sigma_w^2 rose from 2 to 16 the saturated share of tanh units rose {}; of sigmoid units, from 8 to 64: {}.",
            list(&findings[..4]),
            list(&findings[4..])
        ),
        experiment: format!(
            "{depth} layers of width {WIDTH}, Gaussian weights, zero biases; {trials} weight draws a case, one input of mean square 1 each"
        ),
        figures: vec![figure],
        tables: Vec::new(),
        findings,
    })
}

fn holds(finding: &Finding) -> bool {
    finding.conclusion == crate::claim::Conclusion::Holds
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|f| percent(f.measured)).collect::<Vec<_>>().join(", ")
}

fn proper_variance(lab: &Lab) -> Result<Outcome, ClaimError> {
    // 293 draws without a single saturated unit bound the share by 0.03.
    let trials = lab.budget.pick(320, 600, 2000);
    let depth = 10;
    let n = WIDTH as f64;
    let cases = [
        ("tanh, Xavier", Activation::Tanh, 1.0),
        ("tanh, gain 5/3", Activation::Tanh, 25.0 / 9.0),
        ("sigmoid, Xavier", Activation::Sigmoid, 1.0),
        ("tanh, std 0.15", Activation::Tanh, 0.15 * 0.15 * n),
        ("tanh, std 1", Activation::Tanh, n),
    ];
    let mut findings: Vec<Finding> = Vec::new();
    let mut panel =
        Panel::new("", Axis::linear("layer"), Axis::linear("saturated share").over(0.0, 1.0));
    for (index, (label, phi, weights)) in cases.into_iter().enumerate() {
        let stack = Stack { phi: &phi, width: WIDTH, depth, first: weights, weights, biases: 0.0 };
        let measured = lab.measure(label, &stack.network()?, one_input(trials))?;
        for layer in [1, depth] {
            let what = format!("{label}: saturated share in layer {layer}");
            let values = measured.layers[layer - 1].values(saturated);
            let predicted = predicted_share(&stack, layer)?;
            findings.push(share_finding(lab, what, &values, predicted, 0.03)?);
        }
        panel.marks.push(means(label, index + 1, &measured, saturated)?);
    }
    let naive = &findings[6..];
    let proper = [0, 1, 3, 4, 5].map(|i: usize| &findings[i]);
    let too_many = proper.iter().any(|f| f.low > 0.125);
    let good = proper.iter().all(|f| f.high < 0.125) && naive.iter().all(|f| f.low > 0.3);
    let verdict = match all_hold(&findings, Verdict::Supported) {
        _ if too_many => Verdict::Refuted,
        Verdict::Supported if good => Verdict::Supported,
        _ => Verdict::Inconclusive,
    };
    let text = format!(
        "Share of units within 2.5% of either end of the range, means over {trials} draws, width {WIDTH}. In layer {depth}: {}.",
        findings
            .iter()
            .skip(1)
            .step_by(2)
            .map(|f| format!(
                "{} {}",
                f.what.split(':').next().unwrap_or_default(),
                percent(f.measured)
            ))
            .collect::<Vec<_>>()
            .join(", ")
    );
    Ok(Outcome {
        verdict,
        sentence: format!(
            "In layers 1 and {depth} tanh had {} and {} of its units saturated under Xavier and {} and {} at gain 5/3; at std 0.15 it had {}, at std 1 \
             {} in layer {depth}.",
            percent(findings[0].measured),
            percent(findings[1].measured),
            percent(findings[2].measured),
            percent(findings[3].measured),
            percent(findings[7].measured),
            percent(findings[9].measured),
        ),
        experiment: format!(
            "{depth} layers of width {WIDTH}, Gaussian weights, zero biases; {trials} weight draws a case, one input of mean square 1 each"
        ),
        figures: vec![
            Figure::new("SAT02-depth", "Proper scales leave the ends free", text).panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}

fn relu_against_bounded(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(300, 800, 3000);
    let (depth, width) = (16, 192);
    let cases = [
        ("ReLU", Activation::Relu, 2.0),
        ("tanh", Activation::Tanh, 1.0),
        ("sigmoid", Activation::Sigmoid, 1.0),
    ];
    let mut recommended = Vec::new();
    let mut larger = Vec::new();
    for (name, phi, proper) in cases {
        for weights in [proper, 16.0, 64.0] {
            let stack = Stack { phi: &phi, width, depth, first: weights, weights, biases: 0.0 };
            let label = format!("{name}, sigma_w^2 = {weights}");
            let signal = Signal::new(lab, &label, &stack.network()?, trials)?;
            if weights == proper {
                recommended.push(signal.factor_between(lab, Side::Backward, (4, depth), 0.03)?);
            } else {
                let logs = signal.growth_between(Side::Backward, 4, depth);
                let slopes: Vec<f64> = logs.iter().map(|l| l - weights.ln()).collect();
                let predicted = signal.predicted_between(Side::Backward, 4, depth).exp() / weights;
                let what = format!("{label}: E phi'^2");
                larger.push(factor_finding(lab, what, &slopes, predicted, 0.06)?);
            }
        }
    }
    let (off, dead) = zero_slopes(lab, trials.min(500))?;
    let largest = |relu: &Finding, others: &[&Finding]| others.iter().all(|o| relu.low > o.high);
    let smaller = |relu: &Finding, others: &[&Finding]| others.iter().any(|o| relu.high < o.low);
    let contests = [
        (&recommended[0], [&recommended[1], &recommended[2]]),
        (&larger[0], [&larger[2], &larger[4]]),
        (&larger[1], [&larger[3], &larger[5]]),
    ];
    let won = contests.iter().all(|(relu, others)| largest(relu, others));
    let lost = contests.iter().any(|(relu, others)| smaller(relu, others));
    let mut findings: Vec<Finding> = recommended.iter().chain(&larger).cloned().collect();
    findings.push(off);
    let verdict = match all_hold(&findings, Verdict::Supported) {
        _ if lost => Verdict::Refuted,
        Verdict::Supported if won => Verdict::Supported,
        _ => Verdict::Inconclusive,
    };
    let last = dead.last().map_or(f64::NAN, |&(_, share)| share);
    Ok(Outcome {
        verdict,
        sentence: format!(
            "At recommended weights a layer multiplied the error signal by {} (ReLU, He), {} (tanh) and {} (sigmoid); at sigma_w^2 = 64 E phi'^2 was \
             {}, {} and {}. ReLU pays with {} of its units at slope zero for an input, and {} in layer {depth} for all of 16 inputs.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(larger[1].measured),
            significant(larger[3].measured),
            significant(larger[5].measured),
            percent(findings[9].measured),
            percent(last),
        ),
        experiment: format!(
            "{depth} layers of width {width}, Gaussian weights, zero biases; {trials} weight draws a case, one input of mean square 1 each; dead units \
             over batches of 16 inputs"
        ),
        figures: vec![slopes_figure(&larger, dead)?],
        tables: Vec::new(),
        findings,
    })
}

/// Share of ReLU units with slope zero for one input, and for all of 16 by layer.
fn zero_slopes(lab: &Lab, trials: usize) -> Result<(Finding, Vec<(f64, f64)>), ClaimError> {
    let network = Network::uniform(WIDTH, 16, &Initializer::he_normal(), &Activation::Relu)?;
    let dead = |draw: &LayerDraw| draw.dead.unwrap_or(f64::NAN);
    let one = lab.measure("off for one input", &network, one_input(trials))?;
    let values = one.layers[15].values(dead);
    let what = "ReLU: share of units with slope zero for one input, layer 16".to_owned();
    let finding = equality(lab, what, &values, 0.5, 0.02)?;
    let setup = Setup {
        trials: trials / 2,
        batch: 16,
        inputs: InputSource::Random(Inputs::Sphere),
        ..Setup::default()
    };
    let all = lab.measure("off for all inputs", &network, setup)?;
    let share = all
        .layers
        .iter()
        .map(|layer| (layer.layer as f64, Moments::from(layer.values(dead).as_slice()).mean()));
    Ok((finding, share.collect()))
}

/// E phi'^2 against the weight variance at which q is the fixed point, q / E phi^2.
fn settled_slopes(phi: &Activation) -> Result<Vec<(f64, f64)>, ClaimError> {
    if phi.slopes().is_some() {
        let slope = moments(phi, 1.0)?.derivative_second_moment;
        return Ok(vec![(1.0, slope), (128.0, slope)]);
    }
    let mut line = Vec::new();
    for i in 0..=100 {
        let q = 1e-3 * 10f64.powf(0.055 * f64::from(i));
        let m = moments(phi, q)?;
        let weights = q / m.second_moment;
        if (1.0..=128.0).contains(&weights) {
            line.push((weights, m.derivative_second_moment));
        }
    }
    Ok(line)
}

fn slopes_figure(larger: &[Finding], dead: Vec<(f64, f64)>) -> Result<Figure, ClaimError> {
    let mut panel = Panel::new(
        "E φ'² in deep layers",
        Axis::log10("σ_w²"),
        Axis::log10("mean squared slope").over(0.005, 1.2),
    );
    let cases = [
        ("ReLU", Activation::Relu, &larger[0..2]),
        ("tanh", Activation::Tanh, &larger[2..4]),
        ("sigmoid", Activation::Sigmoid, &larger[4..6]),
    ];
    for (index, (name, phi, findings)) in cases.into_iter().enumerate() {
        let dots = findings.iter().zip([16.0, 64.0]).map(|(f, weights)| {
            gainstage_report::Point::with_interval(weights, f.measured, f.low, f.high)
        });
        panel.marks.push(Mark::line(name, index + 1, settled_slopes(&phi)?));
        panel.marks.push(Mark::points("", index + 1, dots.collect()));
    }
    let depth = Panel::new(
        "ReLU units off for all of 16 inputs",
        Axis::linear("layer"),
        Axis::linear("share of units").over(0.0, 0.5),
    )
    .mark(Mark::line("", 1, dead));
    let text = "Left: E φ'² at the fixed point against the weights' variance, theory (lines) and measured (dots). ReLU's stays at 1/2. Right: units \
                whose slope is zero for every one of 16 inputs under He's weights: as inputs align, more and more.";
    Ok(Figure::new("SAT03-slopes", "ReLU's slope does not depend on scale", text)
        .panel(panel)
        .panel(depth))
}
