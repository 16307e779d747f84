//! What the usual gains keep, activation by activation.

use gainstage_report::{Axis, Figure, Mark, Panel};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_stats::Moments;
use gainstage_theory::{MeanField, VarianceLimit};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::draws::{Stack, one_input};
use crate::figures::{signal_figure, significant};
use crate::mean_field::means;
use crate::signal::{Side, Signal, equality, factor_finding};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 256;

pub(crate) const CLAIMS: [Claim; 4] = [
    Claim {
        code: "XAV06",
        chapter: Chapter::Xavier,
        statement: "Xavier suits sigmoid and tanh, and activations in general.",
        source: "Seed document, answer 6",
        prediction: "It was derived for odd activations of slope 1 at zero. Backward, between layers 8 and 24, tanh keeps 0.93 per layer and SELU \
             gains 1.07; ReLU keeps half, GELU a quarter, sigmoid (slope 1/4, mean 1/2) an eighteenth.",
        rule: "Qualified if every activation's error signal is multiplied per layer by the predicted factor within 3%, those of tanh and SELU \
             within 10% of 1 and at least one other not; supported if all lie within 10% of 1; refuted if tanh too lies outside.",
        expected: Verdict::Qualified,
        planted: &[Plant::Gain(1.05)],
        run: activations_in_general,
    },
    Claim {
        code: "SLU01",
        chapter: Chapter::Gains,
        statement: "Through SELU layers with variance 1/n, activations tend to mean 0 and variance 1.",
        source: "Klambauer et al. 2017",
        prediction: "(0, 1) is a stable fixed point: deviations of the variance shrink by 0.783 per layer. The gradient is not kept: chi_1 = 1.0716, \
             a factor of 32 in fifty layers.",
        rule: "Supported if in layer 26, from q_1 = 0.25 and from 4, the second moment equals 1 within 5% and the mean equals 0 within 0.03. The \
             gradient's typical factor per layer between layers 10 and 26 is held against its value at this width within 2% beside it, and must hold \
             too. Before a first look the rule read layer 20, where even the infinite-width map is 1% away, and 1.0716, the gradient's factor at infinite \
             width.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: selu_fixed_point,
    },
    Claim {
        code: "FOL02",
        chapter: Chapter::Gains,
        statement: "A gain of 5/3 keeps signal and gradient of tanh networks.",
        source: "PyTorch's calculate_gain(\"tanh\")",
        prediction: "The signal settles at q* = 1.178 (activations of std 0.651). Gradients grow by chi_1 = 1.210 per layer in second moment, 6.7-fold \
             in ten layers: the mean of tanh is zero, so no gain keeps both (Gaussian Poincaré inequality).",
        rule: "Qualified if the signal equals the predicted one in layers 5 and 20 within 4%, and the gradient's factor per layer equals the \
             prediction within 2% and lies above 1.1; supported if that factor equals 1 within 5%; refuted if the signal is shown to differ.",
        expected: Verdict::Qualified,
        planted: &[Plant::Gain(1.05)],
        run: tanh_five_thirds,
    },
    Claim {
        code: "FOL03",
        chapter: Chapter::Gains,
        statement: "SELU networks want a gain of 3/4.",
        source: "PyTorch's calculate_gain(\"selu\"), \"found empirically\"",
        prediction: "It gives up what SELU is for: the signal falls from 1 to 0.067 in ten layers, towards q* = 0.0230. What it buys is the \
             gradient: there chi_1 = 1.0037, against 1.0716 at gain 1.",
        rule: "Qualified if from q_1 = 0.5625 (unit inputs) the second moment in layer 10 equals the predicted one within 15% and lies below 0.1, and at q* \
             the gradient's factor per layer equals chi_1 within 2% and 1 within 3%. Supported if the second moment stays within 5% of \
             1 instead; refuted if the gradient's factor is shown to differ from 1.",
        expected: Verdict::Qualified,
        planted: &[Plant::Gain(1.05)],
        run: selu_three_quarters,
    },
];

fn activations_in_general(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(200, 500, 2000);
    let depth = 24;
    let cases = [
        ("tanh", Activation::Tanh),
        ("SELU", Activation::Selu),
        ("ReLU", Activation::Relu),
        ("GELU", Activation::Gelu),
        ("sigmoid", Activation::Sigmoid),
    ];
    let mut signals = Vec::new();
    let mut findings = Vec::new();
    for (name, phi) in cases {
        let network = Network::uniform(WIDTH, depth, &Initializer::glorot_normal(), &phi)?;
        let signal = Signal::new(lab, name, &network, trials)?;
        findings.push(signal.factor_between(lab, Side::Backward, (8, depth), 0.03)?);
        signals.push(signal);
    }
    let near = |f: &Finding| f.low > 0.9 && f.high < 1.1;
    let far = |f: &Finding| f.high < 0.9 || f.low > 1.1;
    let agree = all_hold(&findings, Verdict::Qualified);
    let verdict = if findings.iter().all(near) {
        Verdict::Supported
    } else if far(&findings[0]) {
        Verdict::Refuted
    } else if near(&findings[0]) && near(&findings[1]) && findings.iter().any(far) {
        match agree {
            // A wrong prediction is no refutation of the statement.
            Verdict::Refuted => Verdict::Inconclusive,
            other => other,
        }
    } else {
        Verdict::Inconclusive
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Under Xavier a layer multiplied the error signal's second moment by {} with tanh, {} with SELU, {} with ReLU, {} with GELU and {} \
             with sigmoid.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(findings[3].measured),
            significant(findings[4].measured),
        ),
        experiment: format!(
            "{depth} dense layers of width {WIDTH}, zero biases, Xavier normal; {trials} weight draws an activation, one input of mean square 1 \
             each"
        ),
        figures: vec![signal_figure(
            "XAV06-signal",
            "Xavier under five activations",
            &signals.iter().collect::<Vec<_>>(),
        )],
        tables: Vec::new(),
        findings,
    })
}

fn selu_fixed_point(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(650, 1500, 5000);
    let (depth, phi) = (26, Activation::Selu);
    let mut findings = Vec::new();
    let mut second =
        Panel::new("second moment", Axis::linear("layer"), Axis::log10("mean of φ(z)²"));
    let mut mean = Panel::new("mean", Axis::linear("layer"), Axis::linear("mean of φ(z)"));
    for (colour, start) in [(1, 0.25), (2, 4.0)] {
        let stack =
            Stack { phi: &phi, width: WIDTH, depth, first: start, weights: 1.0, biases: 0.0 };
        let label = format!("from q = {start}");
        let signal = Signal::new(lab, &label, &stack.network()?, trials)?;
        let last = &signal.measured.layers[depth - 1];
        let what = format!("{label}: second moment of the activations in layer {depth}");
        findings.push(equality(lab, what, &last.values(|d| d.activation.mean), 1.0, 0.05)?);
        let what = format!("{label}: mean of the activations in layer {depth}");
        let centre = |d: &gainstage_simulate::LayerDraw| {
            d.moments.as_ref().map_or(f64::NAN, |m| m.activation.mean())
        };
        findings.push(equality(lab, what, &last.values(centre), 0.0, 0.03)?);
        if start == 4.0 {
            findings.push(signal.factor_between(lab, Side::Backward, (10, depth), 0.02)?);
        }
        let measured = &signal.measured;
        second.marks.push(means(&label, colour, measured, |d| d.activation.mean)?);
        mean.marks.push(means(&label, colour, measured, centre)?);
    }
    second.marks.push(Mark::Level { y: 1.0, label: "1".to_owned() });
    mean.marks.push(Mark::Level { y: 0.0, label: "0".to_owned() });
    let figure = Figure::new(
        "SLU01-fixed-point",
        "SELU: back to mean 0 and variance 1",
        format!(
            "Means over {trials} draws, width {WIDTH}, from pre-activations of variance 0.25 and 4."
        ),
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "In layer {depth} the activations had second moment {} (from 0.25) and {} (from 4) and means {} and {}; the error signal grew by {} \
             per layer.",
            significant(findings[0].measured),
            significant(findings[2].measured),
            significant(findings[1].measured),
            significant(findings[3].measured),
            significant(findings[4].measured),
        ),
        experiment: format!(
            "{depth} SELU layers of width {WIDTH}, LeCun normal, the first layer scaled to start at q = 0.25 and 4; {trials} weight draws each"
        ),
        figures: vec![figure.panel(second).panel(mean)],
        tables: Vec::new(),
        findings,
    })
}

fn tanh_five_thirds(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(700, 1200, 4000);
    let depth = 20;
    let init = Initializer::scaled_normal(5.0 / 3.0);
    let network = Network::uniform(WIDTH, depth, &init, &Activation::Tanh)?;
    let signal = Signal::new(lab, "gain 5/3", &network, trials)?;
    let mut findings = Vec::new();
    for layer in [5, depth] {
        let values = signal.measured.layers[layer - 1].values(|draw| draw.forward.mean);
        let predicted = signal.prediction.layers[layer - 1].forward.expected;
        let what = format!("second moment of the pre-activations in layer {layer}");
        findings.push(equality(lab, what, &values, predicted, 0.04 * predicted)?);
    }
    let gradient = signal.factor_between(lab, Side::Backward, (5, depth), 0.02)?;
    let kept = gradient.low > 1.0 / 1.05 && gradient.high < 1.05;
    let grows = gradient.low > 1.1;
    findings.push(gradient);
    let verdict = match (all_hold(&findings[..2], Verdict::Supported), findings[2].conclusion) {
        (Verdict::Supported, _) if kept => Verdict::Supported,
        (Verdict::Supported, Conclusion::Holds) if grows => Verdict::Qualified,
        (Verdict::Supported, _) => Verdict::Inconclusive,
        (other, _) => other,
    };
    let std =
        Moments::from(signal.measured.layers[depth - 1].values(|d| d.activation.mean).as_slice())
            .mean()
            .sqrt();
    Ok(Outcome {
        verdict,
        sentence: format!(
            "The pre-activations' second moment was {} in layer 5 and {} in layer {depth} (activations of std {}); the error signal grew by {} per \
             layer.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(std),
            significant(findings[2].measured),
        ),
        experiment: format!(
            "{depth} tanh layers of width {WIDTH}, normal weights of gain 5/3, zero biases; {trials} weight draws"
        ),
        figures: vec![signal_figure(
            "FOL02-signal",
            "tanh at gain 5/3: the signal settles, the gradient grows",
            &[&signal],
        )],
        tables: Vec::new(),
        findings,
    })
}

fn selu_three_quarters(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(700, 1400, 5000);
    let (phi, weights) = (Activation::Selu, 0.75f64.powi(2));
    let limit = MeanField::new(&phi, weights, 0.0)?.depth_limit(1.0)?;
    let q = match limit.variance {
        VarianceLimit::Fixed { point } => point.q,
        _ => f64::NAN,
    };
    let network = Network::uniform(WIDTH, 10, &Initializer::scaled_normal(0.75), &phi)?;
    let signal = Signal::new(lab, "gain 3/4", &network, trials)?;
    let values = signal.measured.layers[9].values(|draw| draw.forward.mean);
    let predicted = signal.prediction.layers[9].forward.expected;
    let what = "from unit inputs: second moment of the pre-activations in layer 10".to_owned();
    let fallen = equality(lab, what, &values, predicted, 0.15 * predicted)?;

    let settled = Stack { phi: &phi, width: WIDTH, depth: 16, first: q, weights, biases: 0.0 };
    let measured = lab.measure("at q*", &settled.network()?, one_input(trials))?;
    let log = |layer: usize| measured.layers[layer - 1].values(|d| d.gradient.log_mean);
    let growth: Vec<f64> = log(1).iter().zip(&log(16)).map(|(l, h)| (l - h) / 15.0).collect();
    let against = |claimed: f64, name: &str, margin: f64| {
        let what = format!("at q*: factor of the error signal per layer, against {name}");
        factor_finding(lab, what, &growth, claimed, margin)
    };
    let findings = vec![fallen, against(limit.chi_1, "chi_1", 0.02)?, against(1.0, "1", 0.03)?];
    let stays = findings[0].low > 0.95 && findings[0].high < 1.05;
    let falls = findings[0].conclusion == Conclusion::Holds && findings[0].high < 0.1;
    let verdict = match all_hold(&findings[1..], Verdict::Qualified) {
        Verdict::Qualified if stays => Verdict::Supported,
        Verdict::Qualified if falls => Verdict::Qualified,
        Verdict::Qualified => Verdict::Inconclusive,
        other => other,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "At gain 3/4 the second moment fell from 0.5625 in layer 1 to {} in layer 10, no longer self-normalizing; at q* = {} the error signal \
             was multiplied by {} per layer.",
            significant(findings[0].measured),
            significant(q),
            significant(findings[1].measured),
        ),
        experiment: format!(
            "10 SELU layers of width {WIDTH} on unit inputs, and 16 started at q*; normal weights of gain 3/4; {trials} weight draws each"
        ),
        figures: vec![signal_figure(
            "FOL03-signal",
            "SELU at gain 3/4: the signal falls",
            &[&signal],
        )],
        tables: Vec::new(),
        findings,
    })
}
