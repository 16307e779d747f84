//! Whether the theory's bands hold what they say: the instrument that every other claim uses, tested.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_simulate::{Energy, LayerDraw};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network, ScalingDistribution};
use gainstage_stats::{Interval, Probability, clopper_pearson_interval};
use gainstage_theory::{LayerPrediction, Predicted};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::percent;
use crate::signal::Signal;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "COV01",
    chapter: Chapter::Signal,
    statement: "The finite-width theory's 95% bands hold 95% of random networks, whatever the width, depth, activation and initializer.",
    source: "ours: every band in this report rests on it (Hanin & Nica 2019 for ReLU; first order in 1/width for bent activations)",
    prediction: "A share of 0.95 of independent draws lies inside the band: of the last layer's pre-activations, of the first layer's error \
         signal, and of the first and the middle weight gradient.",
    rule: "For each of the four quantities the share over all networks together must be shown to lie between 0.94 and 0.96; then supported, \
         unless in some network a share is shown to lie outside of them (both at the ledger's rate, the second divided among all networks \
         and quantities): then qualified if it lies between 0.9 and 0.99, else refuted. A single network that is off by 0.02 beyond is \
         noticed from 10,000 draws on.",
    expected: Verdict::Supported,
    planted: &[Plant::Gain(1.05)],
    run: bands,
}];

/// Width, dense layers, activation, weights, variance of the biases.
type Case = (usize, usize, &'static str, &'static str, f64);

const CASES: [Case; 13] = [
    (32, 10, "relu", "he_normal", 0.0),
    (32, 10, "relu", "orthogonal(1.4142135623730951)", 0.0),
    (64, 20, "tanh", "glorot_normal", 0.0),
    (64, 20, "tanh", "variance_scaling(1.7609546, fan_in, normal)", 0.05),
    (64, 6, "gelu", "variance_scaling(2.3517, fan_in, normal)", 0.0),
    (32, 30, "relu", "he_normal", 0.0),
    (64, 20, "relu", "he_uniform", 0.0),
    (64, 20, "leaky_relu(0.2)", "he_truncated_normal", 0.0),
    (32, 10, "tanh", "orthogonal(1.2)", 0.05),
    (32, 10, "linear", "lecun_normal", 0.0),
    (64, 20, "tanh", "variance_scaling(2.5, fan_in, uniform)", 0.05),
    (64, 20, "selu", "lecun_normal", 0.0),
    (128, 10, "silu", "variance_scaling(2.8106, fan_in, normal)", 0.0),
];

/// How many of them the quick budget takes.
const QUICK: usize = 6;

const QUANTITIES: [&str; 4] = [
    "last layer's pre-activations",
    "first layer's error signal",
    "first weight gradient",
    "middle weight gradient",
];

/// Draws of one network inside the band, per quantity.
struct Counted {
    name: String,
    /// The name on one line of the figure.
    label: String,
    inside: [u64; 4],
}

fn bands(lab: &Lab) -> Result<Outcome, ClaimError> {
    let draws = lab.budget.pick(6000, 10_000, 10_000);
    let cases = lab.budget.pick(&CASES[..QUICK], &CASES[..], &CASES[..]);
    let counted =
        cases.iter().map(|case| count(lab, case, draws)).collect::<Result<Vec<_>, _>>()?;
    let trials = draws as u64;
    // Two one-sided tests at alpha: the interval of level 1 - 2 alpha inside the margin.
    let alpha = lab.alpha().get();
    let pooled_level = Probability::new(1.0 - 2.0 * alpha)?;
    let mut findings = Vec::new();
    for (q, name) in QUANTITIES.iter().enumerate() {
        let inside: u64 = counted.iter().map(|c| c.inside[q]).sum();
        let all = trials * counted.len() as u64;
        let interval = clopper_pearson_interval(inside, all, pooled_level)?;
        let conclusion = if interval.low >= 0.94 && interval.high <= 0.96 {
            Conclusion::Holds
        } else if beyond(&interval) {
            Conclusion::Contradicted
        } else {
            Conclusion::Undecided
        };
        findings.push(Finding {
            what: format!("share of draws inside the 95% band, {name}, {} networks", counted.len()),
            predicted: Some(0.95),
            measured: interval.estimate,
            low: interval.low,
            high: interval.high,
            level: pooled_level.get(),
            n: all as usize,
            test: format!("exact binomial, two one-sided tests at {alpha:.1e}, margin 0.01"),
            p_value: None,
            conclusion,
        });
    }
    let cell_level = Probability::new(1.0 - alpha / (4 * counted.len()) as f64)?;
    let mut table = Table::new(
        "COV01-shares",
        format!("Share of {draws} independent draws inside the 95% band"),
        &["network", QUANTITIES[0], QUANTITIES[1], QUANTITIES[2], QUANTITIES[3]],
    );
    let (mut outside, mut far) = (Vec::new(), false);
    let mut points: [Vec<Point>; 4] = Default::default();
    for (row, case) in counted.iter().enumerate() {
        let mut cells = vec![Cell::text(&case.name)];
        for (q, &inside) in case.inside.iter().enumerate() {
            let interval = clopper_pearson_interval(inside, trials, cell_level)?;
            if beyond(&interval) {
                outside.push(format!("{} of {}", QUANTITIES[q], case.name));
                far |= !(0.9..=0.99).contains(&interval.estimate);
            }
            cells.push(Cell::number(interval.estimate));
            let place = row as f64 + 0.15 * (q as f64 - 1.5);
            points[q].push(Point::with_interval(
                place,
                interval.estimate,
                interval.low,
                interval.high,
            ));
        }
        table.push(cells);
    }
    let shares = counted.iter().flat_map(|c| c.inside).map(|i| i as f64 / draws as f64);
    let (lowest, highest) =
        shares.fold((1.0f64, 0.0f64), |(low, high), s| (low.min(s), high.max(s)));
    let verdict = match all_hold(&findings, Verdict::Supported) {
        Verdict::Supported if far => Verdict::Refuted,
        Verdict::Supported if !outside.is_empty() => Verdict::Qualified,
        verdict => verdict,
    };
    let exception = if outside.is_empty() {
        "none is shown to leave 94% to 96%".to_owned()
    } else {
        format!("outside 94% to 96%: {}", outside.join(", "))
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Over {} networks and four quantities the 95% bands held {} to {} of {draws} draws; {exception}.",
            counted.len(),
            percent(lowest),
            percent(highest)
        ),
        experiment: format!(
            "{} networks of width 32 to 128 and depth 6 to 30 with linear last layer, {draws} draws each, one input of mean square 1",
            counted.len()
        ),
        figures: vec![figure(&counted, points, draws)],
        tables: vec![table],
        findings,
    })
}

/// Whether a share is shown to lie outside of 0.94 to 0.96.
fn beyond(interval: &Interval) -> bool {
    interval.high < 0.94 || interval.low > 0.96
}

fn count(lab: &Lab, case: &Case, draws: usize) -> Result<Counted, ClaimError> {
    let &(width, depth, phi_name, weights, bias) = case;
    let phi: Activation = phi_name.parse()?;
    let weights: Initializer = weights.parse()?;
    let biases = if bias > 0.0 { Initializer::normal(bias.sqrt()) } else { Initializer::zeros() };
    let layers = (1..=depth).map(|layer| {
        let phi = if layer == depth { Activation::Linear } else { phi.clone() };
        Layer::Dense(Dense::new(width, weights.clone(), phi).with_bias(biases.clone()))
    });
    let network = Network::new(width, layers.collect())?;
    let name = format!("{phi} {width}×{depth}, {}", short(&weights, bias));
    (lab.progress)(&name);
    let signal = Signal::new(lab, &name, &network, draws)?;
    let inside =
        |layer: usize, band: fn(&LayerPrediction) -> &Predicted, of: fn(&LayerDraw) -> Energy| {
            let band = band(&signal.prediction.layers[layer]);
            let values = signal.measured.layers[layer].values(|draw| of(draw).mean);
            values.iter().filter(|v| (band.low..=band.high).contains(*v)).count() as u64
        };
    Ok(Counted {
        inside: [
            inside(depth - 1, |l| &l.forward, |d| d.forward),
            inside(0, |l| &l.gradient, |d| d.gradient),
            inside(0, |l| &l.weight_gradient, |d| d.weight_gradient),
            inside(depth / 2, |l| &l.weight_gradient, |d| d.weight_gradient),
        ],
        label: label(&weights, phi_name, width, depth, bias),
        name,
    })
}

/// A case on one line of the figure; Gaussian weights go without saying.
fn label(weights: &Initializer, phi: &str, width: usize, depth: usize, bias: f64) -> String {
    let law = match weights {
        Initializer::Orthogonal { .. } => " orth.",
        Initializer::VarianceScaling { distribution, .. } => match distribution {
            ScalingDistribution::Normal => "",
            ScalingDistribution::TruncatedNormal => " trunc.",
            ScalingDistribution::Uniform => " unif.",
        },
        _ => "",
    };
    let phi = phi.split(['(', '_']).next().unwrap_or(phi);
    let bias = if bias > 0.0 { " bias" } else { "" };
    format!("{phi} {width}×{depth}{law}{bias}")
}

/// The initializer in a few letters.
fn short(weights: &Initializer, bias: f64) -> String {
    let law = match weights {
        Initializer::Orthogonal { gain } => format!("orthogonal {:.2}", gain * gain),
        Initializer::VarianceScaling { scale, distribution, .. } => {
            let law = format!("{distribution:?}").to_lowercase().replace("normal", " normal");
            format!("{} {scale:.2}", law.trim())
        }
        other => other.to_string(),
    };
    if bias > 0.0 { format!("{law}, bias {bias}") } else { law }
}

fn figure(counted: &[Counted], points: [Vec<Point>; 4], draws: usize) -> Figure {
    let names = counted.iter().map(|c| c.label.clone()).collect();
    let mut panel = Panel::new(
        "",
        Axis::linear("share of draws inside the 95% band").over(0.9, 1.0),
        Axis::categories("", names),
    );
    panel.marks.push(Mark::Vertical { x: 0.94, label: String::new() });
    panel.marks.push(Mark::Vertical { x: 0.96, label: String::new() });
    for (q, points) in points.into_iter().enumerate() {
        // Categories stand on the vertical axis: the share runs along x.
        let flipped = points
            .into_iter()
            .map(|p| Point { x: p.y, y: p.x, low: p.low, high: p.high })
            .collect();
        panel.marks.push(Mark::points(QUANTITIES[q], q + 1, flipped));
    }
    let text = format!(
        "Dots: share of {draws} draws, with intervals at the ledger's rate. Lines: 94% and 96%. Names: \
         activation, width and depth, Gaussian weights unless said; the table has them in full."
    );
    Figure::new("COV01-coverage", "Do 95% bands hold 95% of draws?", text).panel(panel)
}
