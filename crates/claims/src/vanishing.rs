//! Naive scales in deep networks: vanishing, explosion, and where a number format gives way.

use gainstage_report::Figure;
use gainstage_simulate::{BreakdownKind, InputSource, Precision, Setup, measure};
use gainstage_spec::{Activation, Initializer, InputStatistics, Inputs, Network};
use gainstage_stats::{Moments, Probability, wilson_interval};
use gainstage_theory::{Options, predict};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::{percent, signal_figure, significant};
use crate::signal::{Side, Signal, equality};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 256;
const DEPTH: usize = 40;
/// Equality of a factor per layer is shown within this relative margin.
const MARGIN: f64 = 0.01;

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "VAN01",
        chapter: Chapter::Signal,
        statement: "Weights that are too small make the signal and its gradient shrink geometrically with depth.",
        source: "Seed document, answers 1 and 2; Glorot & Bengio 2010",
        prediction: "At normal(std = 0.05) and width 256 the second moment changes per layer by n Var[w] E phi'^2: \
             0.64 without activation and 0.32 with ReLU, forward and backward, corrected for finite width.",
        rule: "Supported if all four factors equal the prediction within 1% (two one-sided tests) and lie below 1; \
             refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: too_small,
    },
    Claim {
        code: "VAN02",
        chapter: Chapter::Signal,
        statement: "Weights that are too large make the signal and its gradient explode.",
        source: "Seed document, answers 1 and 2",
        prediction: "At normal(std = 0.15) and width 256 (n Var[w] = 5.76) a ReLU network grows 2.88-fold per layer both ways. \
             A bounded activation cannot: tanh settles at the fixed point of its variance map and saturates; only its \
             gradient grows, by chi_1 per layer.",
        rule: "Qualified if ReLU explodes as predicted, the tanh signal stays at its fixed point within 2%, and the tanh gradient \
             grows by the predicted factor within 5%; supported if the tanh signal grows too; refuted if ReLU does not explode.",
        expected: Verdict::Qualified,
        planted: &[Plant::Gain(1.05)],
        run: too_large,
    },
    Claim {
        code: "VAN04",
        chapter: Chapter::Signal,
        statement: "Bad scales overflow or underflow floating-point numbers.",
        source: "Seed document, answers 1 and 2",
        prediction: "The layer where f32, bf16 and f16 give way follows from the factor per layer, the finite-width spread and the \
             exponent range of the format.",
        rule: "Supported if in each of six cases at least 99% of the draws break down within the predicted layers (Wilson interval \
             not below 97%); refuted if an interval lies below that. What counts as underflow was made precise after first runs: a signal \
             whose last survivors the activation cuts off has underflowed too.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: number_formats,
    },
];

fn too_small(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(400, 800, 3000);
    let init = Initializer::normal(0.05);
    let mut signals = Vec::new();
    for (label, phi) in [("no activation", Activation::Linear), ("ReLU", Activation::Relu)] {
        signals.push(Signal::new(
            lab,
            label,
            &Network::uniform(WIDTH, DEPTH, &init, &phi)?,
            trials,
        )?);
    }
    let mut findings = Vec::new();
    for signal in &signals {
        for side in [Side::Forward, Side::Backward] {
            findings.push(signal.growth_finding(lab, side, MARGIN)?);
        }
    }
    let shrinks = findings.iter().all(|f| f.high < 1.0);
    let verdict = if shrinks { all_hold(&findings, Verdict::Supported) } else { Verdict::Refuted };
    let (linear, relu) = (findings[0].measured, findings[2].measured);
    Ok(Outcome {
        verdict,
        sentence: format!(
            "With normal(std = 0.05) each layer of width {WIDTH} multiplied the second moment by {} without activation and by {} \
             with ReLU, the same backward; after {DEPTH} ReLU layers {} of the signal's power is left.",
            significant(linear),
            significant(relu),
            significant(relu.powi(DEPTH as i32 - 1)),
        ),
        experiment: experiment(trials, "normal(std = 0.05)"),
        figures: vec![signal_figure(
            "VAN01-signal",
            "Too small: signal and gradient shrink together",
            &signals.iter().collect::<Vec<_>>(),
        )],
        tables: Vec::new(),
        findings,
    })
}

fn too_large(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(400, 800, 3000);
    let init = Initializer::normal(0.15);
    let relu = Signal::new(
        lab,
        "ReLU",
        &Network::uniform(WIDTH, DEPTH, &init, &Activation::Relu)?,
        trials,
    )?;
    let tanh = Signal::new(
        lab,
        "tanh",
        &Network::uniform(WIDTH, DEPTH, &init, &Activation::Tanh)?,
        // A bounded signal spreads more: three times the draws know it to a third of the margin.
        3 * trials,
    )?;
    let fixed = tanh.prediction.layers[DEPTH - 1].forward.expected;
    let last = tanh.measured.layers[DEPTH - 1].values(|draw| draw.forward.mean);
    let findings = vec![
        relu.growth_finding(lab, Side::Forward, MARGIN)?,
        relu.growth_finding(lab, Side::Backward, MARGIN)?,
        equality(
            lab,
            "tanh: second moment of the last pre-activation".into(),
            &last,
            fixed,
            0.02 * fixed,
        )?,
        tanh.growth_finding(lab, Side::Backward, 0.05)?,
    ];
    let explodes = findings[..2].iter().all(|f| f.low > 1.0);
    let bounded = findings[2].conclusion == Conclusion::Holds;
    let verdict = match (all_hold(&findings, Verdict::Qualified), explodes) {
        (_, false) => Verdict::Refuted,
        (_, true) if !bounded && findings[2].low > fixed => Verdict::Supported,
        (verdict, true) => verdict,
    };
    let saturated = tanh.measured.layers[DEPTH - 1].mean(|draw| draw.saturated.unwrap_or(0.0));
    Ok(Outcome {
        verdict,
        sentence: format!(
            "With normal(std = 0.15) a ReLU layer multiplied the second moment by {}, forward and backward; tanh kept its signal at {} \
             (predicted {}) with {} of its units saturated, and only its gradient grew, by {} per layer.",
            significant(findings[0].measured),
            significant(findings[2].measured),
            significant(fixed),
            percent(saturated),
            significant(findings[3].measured),
        ),
        experiment: experiment(trials, "normal(std = 0.15)"),
        figures: vec![signal_figure(
            "VAN02-signal",
            "Too large: ReLU explodes, tanh saturates",
            &[&relu, &tanh],
        )],
        tables: Vec::new(),
        findings,
    })
}

fn experiment(trials: usize, init: &str) -> String {
    format!(
        "{DEPTH} dense layers of width {WIDTH}, zero biases, {init}; {trials} independent weight draws, one input of mean square 1 each"
    )
}

/// One format with a scale that breaks it.
struct Format {
    precision: Precision,
    name: &'static str,
    std: f64,
    depth: usize,
    kind: BreakdownKind,
}

fn number_formats(lab: &Lab) -> Result<Outcome, ClaimError> {
    use BreakdownKind::{Overflow, Underflow};
    let trials = lab.budget.pick(800, 1500, 4000);
    let case = |precision, name, std, depth, kind| Format { precision, name, std, depth, kind };
    let cases = [
        case(Precision::F16, "f16", 0.5, 30, Overflow),
        case(Precision::F16, "f16", 0.03, 30, Underflow),
        case(Precision::Bf16, "bf16", 0.5, 100, Overflow),
        case(Precision::Bf16, "bf16", 0.03, 80, Underflow),
        case(Precision::F32, "f32", 0.5, 100, Overflow),
        case(Precision::F32, "f32", 0.03, 80, Underflow),
    ];
    let mut findings = Vec::new();
    let mut parts = Vec::new();
    let mut rows = Vec::new();
    for case in cases {
        let network =
            Network::uniform(64, case.depth, &Initializer::normal(case.std), &Activation::Relu)?;
        let predicted = predicted_breakdown(&network, &case)?;
        let label = format!("{} {:?} at std {}", case.name, case.kind, case.std).to_lowercase();
        let setup = Setup {
            seed: lab.seed_for(&label),
            trials,
            batch: 1,
            precision: case.precision,
            inputs: InputSource::Random(Inputs::Sphere),
            ..Setup::default()
        };
        let measured = measure(&lab.planted(&network), &setup)?;
        let layers: Vec<f64> = measured
            .breakdowns
            .iter()
            .filter_map(|list| list.iter().find(|b| !b.backward && b.kind == case.kind))
            .map(|b| b.layer as f64)
            .collect();
        let (first, last) = predicted;
        let inside = layers.iter().filter(|&&l| (first as f64..=last as f64).contains(&l)).count();
        let level = Probability::new(1.0 - 2.0 * lab.alpha().get())?;
        let interval = wilson_interval(inside as u64, trials as u64, level)?;
        let share = inside as f64 / trials as f64;
        let conclusion = if share >= 0.99 && interval.low >= 0.97 {
            Conclusion::Holds
        } else if interval.high < 0.97 {
            Conclusion::Contradicted
        } else {
            Conclusion::Undecided
        };
        let mean = Moments::from(layers.as_slice()).mean();
        parts.push(format!("{label}: layer {mean:.1} (predicted {first} to {last})"));
        rows.push((label.clone(), first, last, mean, share));
        findings.push(Finding {
            what: format!("{label}: share of draws that break down in layers {first} to {last}"),
            predicted: Some(1.0),
            measured: share,
            low: interval.low,
            high: interval.high,
            level: level.get(),
            n: trials,
            test: "at least 99% of draws within the predicted layers, Wilson interval above 97%"
                .to_owned(),
            p_value: None,
            conclusion,
        });
    }
    let figures: Vec<Figure> = vec![crate::figures::breakdown_figure(&rows)];
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!("Mean layer of the first breakdown: {}.", parts.join("; ")),
        experiment: format!(
            "ReLU networks of width 64, every stored value rounded to the format, products summed in f32; {trials} weight draws a case"
        ),
        figures,
        tables: Vec::new(),
        findings,
    })
}

/// First and last layer in which a draw may break down, each with probability 0.001 beyond.
///
/// Given a layer's second moment q its n pre-activations are independent normal(std = sqrt q), so the
/// largest magnitude among them is known; q itself has the finite-width law. Underflow asks that the
/// largest magnitude rounds to zero. Where products are summed in the format they are stored in (f32),
/// single products w h vanish before their sum would: the largest weight shifts the first layer.
fn predicted_breakdown(network: &Network, case: &Format) -> Result<(usize, usize), ClaimError> {
    let options = Options { level: 0.998, ..Options::default() };
    let prediction = predict(network, &InputStatistics::gaussian(network.input), &options)?;
    let n = network.output() as f64;
    // P(max of n normals <= x) = (1 - 2 Q(x))^n, solved for both tails.
    let largest = |tail: f64| Normal::standard().inverse_cdf(0.5 + 0.5 * tail.powf(1.0 / n));
    let (lowest_max, highest_max) = (largest(0.001), largest(0.999));
    let (low_bound, high_bound) = match case.kind {
        BreakdownKind::Overflow => (case.precision.largest(), case.precision.largest()),
        BreakdownKind::Underflow => {
            let half = 0.5 * case.precision.smallest();
            let single = if case.precision == Precision::F32 { n.sqrt() } else { 1.0 };
            (half, half * single * 2.0)
        }
    };
    let (mut first, mut last) = (network.dense().count(), network.dense().count());
    let amplitude = |q: f64, factor: f64| q.sqrt() * factor;
    for layer in prediction.layers.iter().rev() {
        let (may, must) = match case.kind {
            BreakdownKind::Overflow => (
                amplitude(layer.forward.high, highest_max) > low_bound,
                amplitude(layer.forward.low, lowest_max) > high_bound,
            ),
            BreakdownKind::Underflow => (
                amplitude(layer.forward.low, lowest_max) < high_bound,
                amplitude(layer.forward.high, highest_max) < low_bound,
            ),
        };
        if may {
            first = layer.layer;
        }
        if must {
            last = layer.layer;
        }
    }
    Ok((first, last))
}
