//! The exact law of the norm at finite width, and what a fixed tolerance makes of it.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_spec::{Activation, Initializer, InputStatistics, Network};
use gainstage_theory::{Options, predict};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::draws::{count_finding, one_input, probability_below, variance_finding};
use crate::figures::{Reader, percent, significant, spread_figure};
use crate::signal::{Side, Signal, equality};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "FIN01",
        chapter: Chapter::FiniteWidth,
        statement: "The norms of signal and error signal in one draw of a linear or ReLU network follow a known law at any width: a product of \
                    independent chi-square factors, one a layer.",
        source: "Hanin 2018; Hanin & Rolnick 2018; Hanin & Nica 2020",
        prediction: "ln of the last layer's mean square has mean sum psi(K/2) + ... (about -5L/(2n) for ReLU, -L/n without activation) and variance about \
             5L/n and 2L/n; its distribution function is known, and so is the probability that a layer dies.",
        rule: "Supported if for both activations, forward and backward, the mean of the logarithm equals the exact one within 0.08, its variance the \
             exact one within 15%, and the distribution function the predicted one within 0.04 at eleven quantiles (largest distance plus the \
             Dvoretzky-Kiefer-Wolfowitz bound); and in a net of width 8 the share of dead draws equals the exact one within 0.02. Refuted if one \
             is shown to differ. The first margin of the mean, 0.03, asked for a hundred thousand draws.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: exact_law,
    },
    Claim {
        code: "FIN02",
        chapter: Chapter::FiniteWidth,
        statement: "A fixed tolerance of 15% on the last layer's second moment rejects most correctly initialized deep networks.",
        source: "Computed here from the law of Hanin & Nica 2020; such tolerances are common in unit tests",
        prediction: "The share depends on depth over width alone: He's ReLU networks leave 1 +- 15% in 71% of the draws at L/n = 1/32, in 86% at 1/8 \
             and in 94% at 1/2, while the law's own 95% band is left in 5%.",
        rule: "Supported if at L/n = 1/32, 1/8 and 1/2, at width 32 and at width 64, the rejected share equals the law's within 0.05 and lies above one half, and the \
             95% band holds 0.95 within 0.03 of the draws; refuted if a rejected share is shown to lie below one half.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: fixed_tolerance,
    },
];

fn exact_law(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(20_000, 30_000, 60_000);
    let (width, depth) = (32, 10);
    let mut findings = Vec::new();
    let mut figures = Vec::new();
    let cases = [
        ("linear", Activation::Linear, Initializer::lecun_normal()),
        ("ReLU", Activation::Relu, Initializer::he_normal()),
    ];
    for (label, phi, init) in cases {
        let network = Network::uniform(width, depth, &init, &phi)?;
        let signal = Signal::new(lab, label, &network, trials)?;
        for (side, layer) in [(Side::Forward, depth), (Side::Backward, 1)] {
            let logs = signal.logs(side, layer);
            let law = *side.predicted(&signal.prediction.layers[layer - 1]);
            let name = |what: &str| format!("{label}, {}, layer {layer}: {what}", side.name());
            findings.push(equality(lab, name("mean of ln q"), &logs, law.log_mean, 0.08)?);
            let kurtosis = gainstage_stats::Moments::from(logs.as_slice()).kurtosis();
            let what = name("variance of ln q");
            findings.push(variance_finding(lab, what, &logs, kurtosis, law.log_variance, 0.15)?);
            let what = name("largest distance of the distribution functions");
            findings.push(distance(lab, what, &network, layer, side.readers().0, &logs)?);
        }
        if label == "ReLU" {
            let title = "One draw's norm: measured and exact";
            figures.push(spread_figure("FIN01-law", title, &signal));
        }
    }
    findings.push(dead_draws(lab, trials)?);
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Through {depth} ReLU layers of width {width} ln q had mean {} and variance {} over {trials} draws (exact {} and {}), and its distribution \
             function stayed within {} of the predicted one; of nets of width 8, {} were dead (exact {}).",
            significant(findings[6].measured),
            significant(findings[7].measured),
            significant(findings[6].predicted.unwrap_or(f64::NAN)),
            significant(findings[7].predicted.unwrap_or(f64::NAN)),
            significant(findings[8].measured),
            percent(findings[12].measured),
            percent(findings[12].predicted.unwrap_or(f64::NAN)),
        ),
        experiment: format!(
            "{depth} layers of width {width}, LeCun normal without activation and He normal with ReLU, and 10 ReLU layers of width 8; {trials} weight \
             draws each, one input of mean square 1"
        ),
        figures,
        tables: Vec::new(),
        findings,
    })
}

/// Largest distance between the empirical and the predicted distribution function at eleven quantiles;
/// by Dvoretzky, Kiefer and Wolfowitz (constant: Massart 1990) the empirical one is everywhere within
/// sqrt(ln(2/alpha)/(2N)) of the true one.
fn distance(
    lab: &Lab,
    what: String,
    network: &Network,
    layer: usize,
    read: Reader,
    logs: &[f64],
) -> Result<Finding, ClaimError> {
    const MARGIN: f64 = 0.04;
    let n = logs.len() as f64;
    let inputs = InputStatistics::gaussian(network.input);
    let below = |x: f64| logs.iter().filter(|l| **l <= x.ln()).count() as f64 / n;
    let mut largest: f64 = 0.0;
    for p in [0.005, 0.025, 0.1, 0.2, 0.35, 0.5] {
        let level = (1.0f64 - 2.0 * p).max(1e-9);
        let prediction = predict(network, &inputs, &Options { level, ..Options::default() })?;
        let law = read(&prediction.layers[layer - 1]);
        largest = largest.max((below(law.low) - p).abs()).max((below(law.high) - (1.0 - p)).abs());
    }
    let error = ((2.0 / lab.alpha().get()).ln() / (2.0 * n)).sqrt();
    let conclusion = if largest + error <= MARGIN {
        Conclusion::Holds
    } else if largest - error > MARGIN {
        Conclusion::Contradicted
    } else {
        Conclusion::Undecided
    };
    Ok(Finding {
        what,
        predicted: Some(0.0),
        measured: largest,
        low: (largest - error).max(0.0),
        high: largest + error,
        level: 1.0 - lab.alpha().get(),
        n: logs.len(),
        test: format!("Dvoretzky-Kiefer-Wolfowitz bound within {MARGIN}"),
        p_value: None,
        conclusion,
    })
}

/// Share of draws in which some layer of width 8 has no active unit.
fn dead_draws(lab: &Lab, trials: usize) -> Result<Finding, ClaimError> {
    let network = Network::uniform(8, 10, &Initializer::he_normal(), &Activation::Relu)?;
    let prediction = predict(&network, &InputStatistics::gaussian(8), &Options::default())?;
    let measured = lab.measure("width 8", &network, one_input(trials))?;
    let dead = measured.layers[9].draws.iter().filter(|d| d.activation.mean == 0.0).count();
    let exact = prediction.layers[9].activation.zero_probability;
    count_finding(lab, "ReLU, width 8: share of dead draws".to_owned(), dead, trials, exact, 0.02)
}

fn fixed_tolerance(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(4000, 10_000, 30_000);
    let read: Reader = |layer| &layer.activation;
    let mut rejected = Vec::new();
    let mut inside = Vec::new();
    let mut dots: [Vec<Point>; 2] = Default::default();
    for (index, width) in [32usize, 64].into_iter().enumerate() {
        for divisor in [32, 8, 2] {
            let depth = width / divisor;
            let network =
                Network::uniform(width, depth, &Initializer::he_normal(), &Activation::Relu)?;
            let law = predict(&network, &InputStatistics::gaussian(width), &Options::default())?
                .layers[depth - 1]
                .activation;
            let share = 1.0 - probability_below(&network, depth, read, 1.15)?
                + probability_below(&network, depth, read, 0.85)?;
            let label = format!("L = {depth}, n = {width}");
            // A share near one half needs the most draws, and shallow networks are cheap.
            let trials = if divisor > 2 { 2 * trials } else { trials };
            let measured = lab.measure(&label, &network, one_input(trials))?;
            let values = measured.layers[depth - 1].values(|draw| draw.activation.mean);
            let out = values.iter().filter(|v| (*v - 1.0).abs() > 0.15).count();
            let what = format!("{label}: share of draws outside 1 +- 15%");
            let finding = count_finding(lab, what, out, trials, share, 0.05)?;
            let place = 1.0 / f64::from(divisor as u32);
            dots[index].push(Point::with_interval(
                place,
                finding.measured,
                finding.low,
                finding.high,
            ));
            rejected.push(finding);
            let held = values.iter().filter(|v| (law.low..=law.high).contains(*v)).count();
            let what = format!("{label}: share of draws within the law's 95% band");
            inside.push(count_finding(lab, what, held, trials, 0.95, 0.03)?);
        }
    }
    let findings: Vec<Finding> = rejected.iter().chain(&inside).cloned().collect();
    let most = rejected.iter().all(|f| f.low > 0.5);
    let few = rejected.iter().any(|f| f.high < 0.5);
    let verdict = match all_hold(&findings, Verdict::Supported) {
        _ if few => Verdict::Refuted,
        Verdict::Supported if most => Verdict::Supported,
        // A law that is off does not refute the statement.
        _ => Verdict::Inconclusive,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "1 +- 15% rejected {} of correct He networks at L/n = 1/32, {} at 1/8 and {} at 1/2 (width 64); the law's 95% band rejected {}, {} and {}.",
            percent(rejected[3].measured),
            percent(rejected[4].measured),
            percent(rejected[5].measured),
            percent(1.0 - inside[3].measured),
            percent(1.0 - inside[4].measured),
            percent(1.0 - inside[5].measured),
        ),
        experiment: format!(
            "ReLU layers of width 32 and 64, He normal, zero biases, depths of a 32nd, an 8th and a half of the width; {trials} weight draws a case, \
             twice as many where L/n is below 1/2, one input of mean square 1 each"
        ),
        figures: vec![collapse_figure(dots, read)?],
        tables: Vec::new(),
        findings,
    })
}

/// Rejected share against depth over width.
fn collapse_figure(dots: [Vec<Point>; 2], read: Reader) -> Result<Figure, ClaimError> {
    let mut line = Vec::new();
    let width = 64;
    for depth in [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48] {
        let network = Network::uniform(width, depth, &Initializer::he_normal(), &Activation::Relu)?;
        let share = 1.0 - probability_below(&network, depth, read, 1.15)?
            + probability_below(&network, depth, read, 0.85)?;
        line.push((depth as f64 / width as f64, share));
    }
    let [narrow, wide] = dots;
    let panel = Panel::new(
        "",
        Axis::log10("depth over width, L/n"),
        Axis::linear("share of correct networks rejected").over(0.0, 1.0),
    )
    .mark(Mark::line("law, n = 64", 0, line))
    .mark(Mark::points("n = 32", 1, narrow))
    .mark(Mark::points("n = 64", 2, wide))
    .mark(Mark::Level { y: 0.05, label: "a 95% band".to_owned() });
    let text = "Share of correctly initialized He networks whose last layer's second moment misses 1 by more than 15%: one curve in L/n, whatever \
                the width. Dark: the exact law at width 64. Dots: measured, with the test's intervals.";
    Ok(Figure::new("FIN02-collapse", "A fixed tolerance rejects correct networks", text)
        .panel(panel))
}
