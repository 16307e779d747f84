//! He (Kaiming) initialization, and what truncation does to it.

use gainstage_spec::{Activation, FanMode, Initializer, Network, ScalingDistribution, WeightShape};
use gainstage_stats::Moments;

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::draws::spread_finding;
use crate::figures::{signal_figure, significant, spread_figure};
use crate::signal::{SHAPES, Side, Signal, difference, equality, factor_finding};
use crate::verdict::{against_theory, all_hold};
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 128;
const DEPTH: usize = 50;
const MARGIN: f64 = 0.01;
const NARROW: usize = 100;
const NARROW_DEPTH: usize = 30;

pub(crate) const CLAIMS: [Claim; 4] = [
    Claim {
        code: "HE01",
        chapter: Chapter::He,
        statement: "Weights of variance 2/fan_in keep the second moment of activations under ReLU.",
        source: "Seed document, answer 7; He et al. 2015, eq. 10",
        prediction: "Exact in expectation at any width. The logarithm of a draw drifts by about -5/(2n) per layer and spreads with \
             variance about 5L/n (Hanin & Nica 2020; exact sums used here).",
        rule: "Supported if for normal, uniform and truncated weights the typical factor per layer equals the exact value within 1% and \
             the spread of ln q in the last layer has the predicted variance within 20%.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: keeps_second_moment,
    },
    Claim {
        code: "HE02",
        chapter: Chapter::He,
        statement: "He's rule keeps the gradients as well.",
        source: "Seed document, answer 7; He et al. 2015, eq. 14",
        prediction: "With fan_in the backward product telescopes to the ratio of the outer widths: the norm of the error signal is kept \
             exactly in expectation, its mean square per unit changes only by n_L/n_l, not geometrically with depth.",
        rule: "Supported if the backward factor per layer equals the exact value within 1% at equal widths, and through an uneven \
             network the squared norm at the input is kept within 5% of the exact typical value.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: keeps_gradients,
    },
    Claim {
        code: "HE03",
        chapter: Chapter::He,
        statement: "A truncated normal prevents exploding gradients.",
        source: "Seed document, answer 7",
        prediction: "Truncation with the variance restored changes the factor per layer by order 1/n^2 only; without that correction the \
             variance is 0.7737 of the stated one, which shrinks signals. At twice He's variance a truncated normal explodes exactly \
             as a normal does.",
        rule: "Refuted if at twice He's variance gradients under truncated weights grow per layer by the predicted factor (about 2) \
             within 1%; supported if they stay within 1% of 1. The uncorrected factor 0.7737 is reported beside it.",
        expected: Verdict::Refuted,
        planted: &[Plant::Gain(1.05)],
        run: truncation,
    },
    Claim {
        code: "FOL04",
        chapter: Chapter::He,
        statement: "A truncated normal \"with standard deviation s\", cut at two sigma, has standard deviation 0.8796 s.",
        source: "Framework threads; TensorFlow, Keras and JAX draw it so unless they correct for it",
        prediction: "std = sqrt(1 - 4 pdf(2)/(2 Phi(2) - 1)) = 0.87963 of the stated value; PyTorch cuts at absolute -2 and 2, which at \
             std 0.02 cuts nothing.",
        rule: "Supported if the std of drawn weights equals 0.87963 s within 0.1%, and the corrected and PyTorch's laws equal s within \
             0.1%.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: truncated_std,
    },
];

fn keeps_second_moment(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(600, 1200, 3000);
    let mut signals = Vec::new();
    let mut findings = Vec::new();
    for (distribution, label) in SHAPES {
        let init = Initializer::scaling(2.0, FanMode::FanIn, distribution);
        let signal = Signal::new(
            lab,
            label,
            &Network::uniform(WIDTH, DEPTH, &init, &Activation::Relu)?,
            trials,
        )?;
        findings.push(signal.growth_finding(lab, Side::Forward, MARGIN)?);
        signals.push(signal);
    }
    // A variance needs more draws than a mean: 3,000 know it to 2.6%, the margin is eight times that.
    let draws = lab.budget.pick(3000, 6000, 20000);
    let narrow =
        Network::uniform(NARROW, NARROW_DEPTH, &Initializer::he_normal(), &Activation::Relu)?;
    let narrow = Signal::new(lab, "spread", &narrow, draws)?;
    findings.push(spread_finding(lab, &narrow, 0.2)?);
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "A ReLU layer of width {WIDTH} multiplied the typical second moment by {} (exact {}); over {draws} draws of \
             {NARROW_DEPTH} layers of width {NARROW}, ln q had variance {} (exact {}): kept in the mean, wide from draw to draw.",
            significant(findings[0].measured),
            significant(findings[0].predicted.unwrap_or(f64::NAN)),
            significant(findings[3].measured),
            significant(findings[3].predicted.unwrap_or(f64::NAN)),
        ),
        experiment: experiment(trials, "He normal, uniform and truncated normal"),
        figures: vec![
            signal_figure("HE01-signal", "He keeps signal and gradient under ReLU", &[&signals[0]]),
            spread_figure("HE01-spread", "After 30 layers one draw is far from the mean", &narrow),
        ],
        tables: Vec::new(),
        findings,
    })
}

fn keeps_gradients(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(1000, 2000, 4000);
    let equal = Network::uniform(WIDTH, DEPTH, &Initializer::he_normal(), &Activation::Relu)?;
    let equal = Signal::new(lab, "equal widths", &equal, trials)?;
    let widths = [300, 200, 400, 100, 300, 150, 250, 200, 300, 100];
    let uneven = Network::perceptron(&widths, &Initializer::he_normal(), &Activation::Relu)?;
    let uneven = Signal::new(lab, "uneven widths", &uneven, lab.budget.pick(4000, 8000, 20000))?;
    let norm = {
        let layers = widths.len() - 1;
        let per_unit =
            difference(&uneven.logs(Side::Backward, 1), &uneven.logs(Side::Backward, layers));
        // Mean squares times widths are squared norms.
        let widths_ratio = (widths[1] as f64 / widths[layers] as f64).ln();
        let logs: Vec<f64> = per_unit.iter().map(|l| l + widths_ratio).collect();
        let log_mean = |l: usize| uneven.prediction.layers[l - 1].gradient.log_mean;
        let predicted = (log_mean(1) - log_mean(layers) + widths_ratio).exp();
        factor_finding(
            lab,
            "uneven widths: squared norm of the error signal, first over last layer".into(),
            &logs,
            predicted,
            0.05,
        )?
    };
    let findings = vec![equal.growth_finding(lab, Side::Backward, MARGIN)?, norm];
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "The error signal was multiplied by {} per layer at equal widths; through widths from 100 to 400 its squared norm ended at \
             {} of where it began (exact typical value {}).",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[1].predicted.unwrap_or(f64::NAN)),
        ),
        experiment: experiment(trials, "He normal"),
        figures: vec![signal_figure(
            "HE02-signal",
            "He's rule backward, even and uneven widths",
            &[&equal, &uneven],
        )],
        tables: Vec::new(),
        findings,
    })
}

fn truncation(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(700, 1200, 3000);
    let run = |label: &str, init: &Initializer| -> Result<Signal, ClaimError> {
        Signal::new(lab, label, &Network::uniform(WIDTH, DEPTH, init, &Activation::Relu)?, trials)
    };
    let std = (2.0 / WIDTH as f64).sqrt();
    let corrected = run("corrected", &"keras_he_normal".parse()?)?;
    let uncorrected = run("uncorrected", &format!("truncated_normal(std = {std})").parse()?)?;
    let doubled = run(
        "twice the variance, truncated",
        &Initializer::scaling(4.0, FanMode::FanIn, ScalingDistribution::TruncatedNormal),
    )?;
    let findings = vec![
        doubled.growth_against(lab, Side::Backward, 1.0, MARGIN)?,
        doubled.growth_finding(lab, Side::Backward, MARGIN)?,
        corrected.growth_finding(lab, Side::Backward, MARGIN)?,
        uncorrected.growth_finding(lab, Side::Backward, MARGIN)?,
    ];
    Ok(Outcome {
        verdict: against_theory(&findings[..1], &findings[1..2]),
        sentence: format!(
            "Truncated weights at twice He's variance let gradients grow by {} per layer, as a normal does; truncated with the variance \
             restored they kept {}, without it {}: truncation alone makes signals vanish.",
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(findings[3].measured),
        ),
        experiment: experiment(trials, "truncated normal at two sigma"),
        figures: vec![signal_figure(
            "HE03-signal",
            "Truncation does not prevent explosion",
            &[&doubled, &corrected, &uncorrected],
        )],
        tables: Vec::new(),
        findings,
    })
}

fn truncated_std(lab: &Lab) -> Result<Outcome, ClaimError> {
    let draws = lab.budget.pick(200, 400, 1000);
    let shape = WeightShape::dense(1000, 250)?;
    let cases = [
        ("truncated_normal(std = 0.02)", "cut at two sigma", 0.8796256610342398),
        ("truncated_normal(std = 0.02, std_is = after)", "cut at two sigma, corrected", 1.0),
        ("pytorch_trunc_normal(std = 0.02)", "PyTorch's, cut at absolute 2", 1.0),
    ];
    let mut findings = Vec::new();
    for (text, name, predicted) in cases {
        let init: Initializer = text.parse()?;
        let values = (0..draws)
            .map(|trial| {
                let mut weights = vec![0.0f32; shape.elements()];
                lab.weights(&init, &shape, name, trial, &mut weights)?;
                Ok(Moments::from(weights.as_slice()).second_moment().sqrt() / 0.02)
            })
            .collect::<Result<Vec<f64>, ClaimError>>()?;
        findings.push(equality(
            lab,
            format!("{name}: std of the weights over the stated"),
            &values,
            predicted,
            0.001 * predicted,
        )?);
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Weights drawn \"with std 0.02\" and cut at two sigma had {} of it; corrected {}, PyTorch's {}.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
        ),
        experiment: format!("{draws} arrays of 250,000 weights a law"),
        figures: Vec::new(),
        tables: Vec::new(),
        findings,
    })
}

fn experiment(trials: usize, init: &str) -> String {
    format!(
        "{DEPTH} ReLU layers of width {WIDTH}, zero biases, {init}; {trials} independent weight draws, one input of mean square 1 each"
    )
}
