//! Versions of the two rules: uniform or normal, fan-in or fan-out, with a slope in the gain.

use gainstage_simulate::InputSource;
use gainstage_spec::{Activation, FanMode, Initializer, Network, ScalingDistribution};
use gainstage_stats::{Moments, equivalence_welch};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::draws::{one_input, spread_finding, variance_finding};
use crate::figures::{signal_figure, significant};
use crate::signal::{Side, Signal, difference, factor_finding};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const MARGIN: f64 = 0.01;
/// Exact laws hold at any width, and narrow networks give the same precision for less.
const NARROW: usize = 64;

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "XAV04",
        chapter: Chapter::Xavier,
        statement: "The uniform and the normal version of Xavier's rule do the same.",
        source: "Seed document, answer 6",
        prediction: "They have the same first two moments, so the same mean at every layer. Their kurtosis (9/5 and 3) enters a deep network at order \
             1/n^2 per layer. Only a sparse input tells them apart: for a one-hot input the first layer's mean square has relative variance \
             (kurtosis - 1)/n, 2/n for normal and 0.8/n for uniform weights.",
        rule: "Supported if on dense inputs the typical factors per layer, forward and backward, equal the exact value within 1% for both and each \
             other within 1%, and both spreads of ln q in the last layer have the predicted variance within 20%. The one-hot variances are \
             held against (kurtosis - 1)/n within 20% beside it, and must hold too; refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: uniform_and_normal,
    },
    Claim {
        code: "HE04",
        chapter: Chapter::He,
        statement: "He's rule holds for leaky and parametric ReLU once the slope is in the gain: sqrt(2/(1 + a^2)).",
        source: "He et al. 2015, eq. 15",
        prediction: "Each layer keeps the second moment exactly in expectation, both ways, at every slope a; without the slope in the gain it grows by \
             1 + a^2 per layer.",
        rule: "Supported if at slopes 0.01, 0.1, 0.25 and 0.5 both typical factors per layer equal the exact finite-width value within 1%, and \
             with ReLU's gain at slope 0.5 they equal the exact value near 1.25 within 1%; refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: slopes,
    },
    Claim {
        code: "HE08",
        chapter: Chapter::He,
        statement: "He's rule uses the fan-in only.",
        source: "Seed document, answer 7",
        prediction: "The paper gives two forms, either of which suffices: fan-in keeps the signal per unit and multiplies the error signal by \
             n_out/n_in per layer, fan-out keeps the error signal and multiplies the signal by n_in/n_out. At equal widths they coincide.",
        rule: "Qualified if in a network that narrows from 256 to 32 units both forms, forward and backward, show the exact typical ratio between the \
             first and the last layer within 8%, each keeps its own side between 0.6 and 1.5 and takes the other below 0.5 or above 1.5; supported if \
             fan-out keeps neither side.",
        expected: Verdict::Qualified,
        planted: &[Plant::SwappedFans],
        run: fan_in_and_fan_out,
    },
];

fn uniform_and_normal(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(5000, 6000, 20000);
    let depth = 20;
    let mut signals = Vec::new();
    let mut findings = Vec::new();
    for (label, init) in
        [("normal", Initializer::glorot_normal()), ("uniform", Initializer::glorot_uniform())]
    {
        let network = Network::uniform(NARROW, depth, &init, &Activation::Linear)?;
        let signal = Signal::new(lab, label, &network, trials)?;
        for side in [Side::Forward, Side::Backward] {
            findings.push(signal.growth_finding(lab, side, MARGIN)?);
        }
        findings.push(spread_finding(lab, &signal, 0.2)?);
        signals.push(signal);
    }
    for side in [Side::Forward, Side::Backward] {
        findings.push(same_growth(lab, &signals[1], &signals[0], side)?);
    }
    for (label, init, kurtosis) in [
        ("normal", Initializer::glorot_normal(), 3.0),
        ("uniform", Initializer::glorot_uniform(), 1.8),
    ] {
        findings.push(one_hot(lab, label, &init, kurtosis, trials)?);
    }
    let (normal, uniform) = (&findings[8], &findings[9]);
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Uniform and normal weights multiplied the second moment by {} and {} per layer, with variance {} and {} of ln q after {depth} layers; \
             only on a one-hot input did the first layer's spread differ, {}/n against {}/n.",
            significant(findings[3].measured),
            significant(findings[0].measured),
            significant(findings[5].measured),
            significant(findings[2].measured),
            significant(uniform.measured * NARROW as f64),
            significant(normal.measured * NARROW as f64),
        ),
        experiment: format!(
            "{depth} layers of width {NARROW} without activation, and one layer on a one-hot input; {trials} weight draws a case"
        ),
        figures: vec![signal_figure(
            "XAV04-signal",
            "Uniform or normal: the same",
            &[&signals[0], &signals[1]],
        )],
        tables: Vec::new(),
        findings,
    })
}

/// The ratio of two factors per layer, from independent draws, tested for equality with 1.
fn same_growth(lab: &Lab, a: &Signal, b: &Signal, side: Side) -> Result<Finding, ClaimError> {
    let moments = |signal: &Signal| Moments::from(signal.growth(side).as_slice());
    let test = equivalence_welch(&moments(a), &moments(b), MARGIN.ln_1p(), lab.alpha())?;
    Ok(Finding {
        what: format!(
            "{} over {}: ratio of the factors per layer, {}",
            a.label,
            b.label,
            side.name()
        ),
        predicted: Some(1.0),
        measured: test.difference.estimate.exp(),
        low: test.difference.low.exp(),
        high: test.difference.high.exp(),
        level: test.difference.level.get(),
        n: test.n as usize,
        test: format!(
            "Welch's two one-sided tests at {:.1e} on the logarithm, margin 1%",
            lab.alpha().get()
        ),
        p_value: Some(test.p_value),
        conclusion: match test.conclusion {
            gainstage_stats::Conclusion::Equivalent => Conclusion::Holds,
            gainstage_stats::Conclusion::Different => Conclusion::Contradicted,
            gainstage_stats::Conclusion::Undecided => Conclusion::Undecided,
        },
    })
}

/// Relative variance of one layer's mean square for an input with a single entry.
fn one_hot(
    lab: &Lab,
    label: &str,
    init: &Initializer,
    kurtosis: f64,
    trials: usize,
) -> Result<Finding, ClaimError> {
    let mut input = vec![0.0f32; NARROW];
    input[0] = (NARROW as f32).sqrt();
    let setup =
        gainstage_simulate::Setup { inputs: InputSource::Given(input.into()), ..one_input(trials) };
    let network = Network::uniform(NARROW, 1, init, &Activation::Linear)?;
    let measured = lab.measure(&format!("one-hot {label}"), &network, setup)?;
    let values = measured.layers[0].values(|draw| draw.forward.mean);
    let what = format!("{label}, one-hot input: variance of the first layer's mean square");
    let predicted = (kurtosis - 1.0) / NARROW as f64;
    let own = Moments::from(values.as_slice()).kurtosis();
    variance_finding(lab, what, &values, own, predicted, 0.2)
}

fn slopes(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(2000, 4000, 12000);
    let depth = 40;
    let run = |label: &str, slope: f64, scale: f64| -> Result<Signal, ClaimError> {
        let init = Initializer::scaling(scale, FanMode::FanIn, ScalingDistribution::Normal);
        let phi = Activation::LeakyRelu { slope };
        Signal::new(lab, label, &Network::uniform(NARROW, depth, &init, &phi)?, trials)
    };
    let mut signals = Vec::new();
    for slope in [0.01, 0.1, 0.25, 0.5] {
        signals.push(run(&format!("slope {slope}"), slope, 2.0 / (1.0 + slope * slope))?);
    }
    signals.push(run("slope 0.5, ReLU's gain", 0.5, 2.0)?);
    let mut findings = Vec::new();
    for signal in &signals {
        for side in [Side::Forward, Side::Backward] {
            findings.push(signal.growth_finding(lab, side, MARGIN)?);
        }
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "With the slope in the gain a layer multiplied the typical second moment by {} at slope 0.01 (exact {}) and by {} at 0.5 (exact {}); \
             with ReLU's gain at slope 0.5 by {}.",
            significant(findings[0].measured),
            significant(findings[0].predicted.unwrap_or(f64::NAN)),
            significant(findings[6].measured),
            significant(findings[6].predicted.unwrap_or(f64::NAN)),
            significant(findings[8].measured),
        ),
        experiment: format!(
            "{depth} leaky ReLU layers of width {NARROW}, normal weights, zero biases; {trials} weight draws a slope"
        ),
        figures: vec![signal_figure(
            "HE04-signal",
            "The slope belongs in the gain",
            &[&signals[1], &signals[3], &signals[4]],
        )],
        tables: Vec::new(),
        findings,
    })
}

fn fan_in_and_fan_out(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(4000, 8000, 20000);
    let widths = [256, 128, 64, 32];
    let last = widths.len() - 1;
    let mut signals = Vec::new();
    let mut findings = Vec::new();
    for (label, mode) in [("fan-in", FanMode::FanIn), ("fan-out", FanMode::FanOut)] {
        let init = Initializer::scaling(2.0, mode, ScalingDistribution::Normal);
        let network = Network::perceptron(&widths, &init, &Activation::Relu)?;
        let signal = Signal::new(lab, label, &network, trials)?;
        for side in [Side::Forward, Side::Backward] {
            let (from, to) = match side {
                Side::Forward => (1, last),
                Side::Backward => (last, 1),
            };
            let log = |l: usize| side.predicted(&signal.prediction.layers[l - 1]).log_mean;
            let logs = difference(&signal.logs(side, to), &signal.logs(side, from));
            let what =
                format!("{label}, {}: second moment in layer {to} over layer {from}", side.name());
            findings.push(factor_finding(lab, what, &logs, (log(to) - log(from)).exp(), 0.08)?);
        }
        signals.push(signal);
    }
    // fan-in forward, fan-in backward, fan-out forward, fan-out backward
    let changed = |f: &Finding| f.high < 0.5 || f.low > 1.5;
    let keeps = |f: &Finding| f.low > 0.6 && f.high < 1.5;
    let [in_forward, in_backward, out_forward, out_backward] =
        [&findings[0], &findings[1], &findings[2], &findings[3]];
    let each = changed(in_backward) && changed(out_forward);
    let verdict = match all_hold(&findings, Verdict::Qualified) {
        Verdict::Qualified if each && keeps(in_forward) && keeps(out_backward) => {
            Verdict::Qualified
        }
        Verdict::Qualified if changed(out_backward) && changed(out_forward) => Verdict::Supported,
        Verdict::Qualified => Verdict::Inconclusive,
        other => other,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "From 128 to 32 units the fan-in form took the typical signal to {} and the error signal, downward, to {}; the fan-out form to {} and \
             {}: each keeps what the other changes.",
            significant(in_forward.measured),
            significant(in_backward.measured),
            significant(out_forward.measured),
            significant(out_backward.measured),
        ),
        experiment: format!(
            "ReLU layers of widths {widths:?}, normal weights of variance 2/fan-in and 2/fan-out; {trials} weight draws each"
        ),
        figures: vec![signal_figure(
            "HE08-signal",
            "Fan-in keeps the signal, fan-out its gradient",
            &[&signals[0], &signals[1]],
        )],
        tables: Vec::new(),
        findings,
    })
}
