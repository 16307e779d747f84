//! How many layers a deviation lives: the depth scales, and what is left of them at criticality.

use std::f64::consts::PI;

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_simulate::{InputSource, Setup};
use gainstage_spec::Activation;
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_theory::{DepthLimit, MeanField, VarianceLimit, moments};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::draws::{Stack, computed, one_pair};
use crate::figures::significant;
use crate::mean_field::EDGE;
use crate::signal::{equality, factor_finding};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 256;
const BIAS: f64 = 0.05;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "MFT03",
        chapter: Chapter::MeanField,
        statement: "Both depth scales, xi_q of the variance and xi_c of the correlation, diverge at the edge of chaos.",
        source: "Schoenholz et al. 2017, section 3, as it is often retold",
        prediction: "A small gap 1 - c is multiplied by chi_1 per layer, so xi_c = -1/ln chi_1 grows from 3.6 layers at sigma_w^2 = 1 to \
             infinity at 1.761 (tanh, sigma_b^2 = 0.05). A deviation of q shrinks by the slope of the variance map, which is 0.518 there: \
             xi_q = 1.5 layers and does not diverge; it does only at the corner (1, 0), where q* itself vanishes.",
        rule: "Qualified if the factors per layer of small gaps equal chi_1 within 3% at sigma_w^2 = 1, 1.3, 1.5 and at the edge, and a deviation \
             of q at the edge has shrunk after three layers as the map says within 15% and to below a quarter: xi_c diverges, xi_q does not. \
             Supported if that deviation too is shown to keep more than three quarters; refuted if a factor is shown to differ.",
        expected: Verdict::Qualified,
        planted: &[Plant::Gain(1.05)],
        run: depth_scales,
    },
    Claim {
        code: "MFT06",
        chapter: Chapter::MeanField,
        statement: "At He's point the correlation of two inputs of a ReLU network tends to 1 as a power law: 1 - c_l shrinks like 9 pi^2/(2 l^2).",
        source: "Hayou, Doucet & Rousseau 2019",
        prediction: "The map 1 - c -> (1 - c) - s (1 - c)^(3/2) + ..., s = 2 sqrt(2)/(3 pi), has that limit, but reaches it late: from c = 0 the \
             iterates are 29% of the law in layer 10 and 81% in layer 100.",
        rule: "Supported if mean gaps in layers 5, 10 and 20 equal the map's iterates within 20%, and the iterates themselves come within 1% of \
             9 pi^2/(2 l^2) by layer 10,000; refuted if one is shown to differ. Means replaced geometric means after a first look: at width 256 \
             the typical gap in layer 20 lies 12% below the mean one.",
        expected: Verdict::Supported,
        planted: &[Plant::Leak(0.25)],
        run: power_law,
    },
];

/// A case of small gaps: theory, and the measured factor per layer.
struct Case {
    weights: f64,
    limit: DepthLimit,
    finding: Finding,
}

fn depth_scales(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(300, 800, 3000);
    let phi = Activation::Tanh;
    let mut cases = Vec::new();
    for weights in [1.0, 1.3, 1.5, EDGE] {
        let limit = MeanField::new(&phi, weights, BIAS)?.depth_limit(1.0)?;
        let VarianceLimit::Fixed { point } = limit.variance else { continue };
        let depth = 8;
        let first = point.q - BIAS;
        let stack = Stack { phi: &phi, width: WIDTH, depth, first, weights, biases: BIAS };
        // Stored in f32, the difference of two inputs this near is known to 1e-5 of itself.
        let setup = one_pair(trials, 1.0 - 1e-4);
        let label = format!("gaps at sigma_w^2 = {weights:.3}");
        let measured = lab.measure(&label, &stack.network()?, setup)?;
        let gap = |layer: usize| {
            measured.layers[layer - 1].values(|d| (1.0 - d.cosine.unwrap_or(f64::NAN)).ln())
        };
        let steps = (depth - 1) as f64;
        let (from, to) = (gap(1), gap(depth));
        let growth: Vec<f64> = from.iter().zip(&to).map(|(a, b)| (b - a) / steps).collect();
        let what = format!("{label}: factor of 1 - c per layer, against chi_1");
        let finding = factor_finding(lab, what, &growth, limit.chi_1, 0.03)?;
        cases.push(Case { weights, limit, finding });
    }
    let (kept, predicted_kept) = variance_deviation(lab, trials)?;
    let slow = kept.low > 0.75;
    let gone = kept.high < 0.25;
    let mut findings: Vec<Finding> = cases.iter().map(|c| c.finding.clone()).collect();
    findings.push(kept.clone());
    let factors = all_hold(&findings[..cases.len()], Verdict::Supported);
    let verdict = match factors {
        Verdict::Supported if slow => Verdict::Supported,
        Verdict::Supported if gone && kept.conclusion == Conclusion::Holds => Verdict::Qualified,
        Verdict::Supported => Verdict::Inconclusive,
        other => other,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "A gap of 1e-4 was multiplied by {} per layer at sigma_w^2 = 1, by {} at 1.5 and by {} at the edge, where xi_c has no bound; a \
             deviation of the variance fell there to {} in three layers (predicted {}): xi_q stays at 1.5.",
            significant(findings[0].measured),
            significant(findings[2].measured),
            significant(findings[3].measured),
            significant(kept.measured),
            significant(predicted_kept),
        ),
        experiment: format!(
            "8 tanh layers of width {WIDTH}, bias variance 0.05, started at q*; pairs of cosine 1 - 1e-4, and one input with a copy 1% \
             longer; {trials} weight draws a case"
        ),
        figures: vec![scales_figure(&cases)?],
        tables: Vec::new(),
        findings,
    })
}

/// What is left of a deviation of ln q after three layers at the edge: two inputs of one direction,
/// one of them 1% longer, under the same weights.
fn variance_deviation(lab: &Lab, trials: usize) -> Result<(Finding, f64), ClaimError> {
    let phi = Activation::Tanh;
    let limit = MeanField::new(&phi, EDGE, BIAS)?.depth_limit(1.0)?;
    let q = match limit.variance {
        VarianceLimit::Fixed { point } => point.q,
        _ => f64::NAN,
    };
    let stack =
        Stack { phi: &phi, width: WIDTH, depth: 4, first: q - BIAS, weights: EDGE, biases: BIAS };
    let longer = 1.01f32;
    // Gaussian weights do not know directions, so that any will do.
    let mut inputs = vec![1.0f32; WIDTH];
    inputs.extend(vec![longer; WIDTH]);
    let setup = Setup {
        trials: 3 * trials,
        batch: 2,
        inputs: InputSource::Given(inputs.into()),
        ..Setup::default()
    };
    let measured = lab.measure("variance deviation", &stack.network()?, setup)?;
    let stretched = stack.first * f64::from(longer).powi(2);
    let start = ((stretched + BIAS) / q).ln();
    let mut far = stretched + BIAS;
    let map = MeanField::new(&phi, EDGE, BIAS)?;
    for _ in 1..4 {
        far = map.step(far, 1.0)?.0;
    }
    let predicted = (far / q).ln() / start;
    let values = measured.layers[3].values(|draw| {
        let second = 2.0 * draw.forward.mean - draw.forward.first;
        (second / draw.forward.first).ln() / start
    });
    let what = "at the edge: share of a deviation of ln q left after three layers".to_owned();
    Ok((equality(lab, what, &values, predicted, 0.15 * predicted)?, predicted))
}

fn scales_figure(cases: &[Case]) -> Result<Figure, ClaimError> {
    let phi = Activation::Tanh;
    let scale = |factor: f64| if factor < 1.0 { -factor.ln().recip() } else { f64::INFINITY };
    let (mut correlation, mut variance) = (Vec::new(), Vec::new());
    for i in 0..=120 {
        let q = 0.07 * 10f64.powf(f64::from(i) / 75.0);
        let m = moments(&phi, q)?;
        // q is the fixed point of this weight variance; up to the edge xi_c is that of chi_1.
        let weights = (q - BIAS) / m.second_moment;
        if weights < 4.0 {
            variance.push((weights, scale(weights * m.second_moment_slope)));
        }
        if weights < EDGE {
            correlation.push((weights, scale(weights * m.derivative_second_moment)));
        }
    }
    correlation.push((EDGE, f64::INFINITY));
    for beyond in [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.2] {
        let weights = EDGE + beyond;
        let limit = MeanField::new(&phi, weights, BIAS)?.depth_limit(1.0)?;
        correlation.push((weights, limit.xi_c));
    }
    let dots = cases.iter().filter(|c| c.finding.high < 1.0).map(|c| {
        let f = &c.finding;
        Point::with_interval(c.weights, scale(f.measured), scale(f.low), scale(f.high))
    });
    let panel = Panel::new("", Axis::linear("σ_w²"), Axis::log10("layers").over(0.5, 1000.0))
        .mark(Mark::line("ξ_c", 1, correlation))
        .mark(Mark::line("ξ_q", 2, variance))
        .mark(Mark::points("", 1, dots.collect()))
        .mark(Mark::Vertical { x: EDGE, label: "edge".to_owned() });
    let edge = cases.last().map_or(f64::NAN, |c| c.limit.xi_q);
    let text = format!(
        "tanh, σ_b² = 0.05. Lines: theory. Dots: −1/ln of the measured factor of 1 − c, with the test's intervals; at the edge the factor is 1 \
         within its margin and has no finite scale. ξ_q is {} there.",
        significant(edge)
    );
    Ok(Figure::new("MFT03-scales", "Only the correlation's depth scale diverges", text)
        .panel(panel))
}

fn power_law(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(800, 1600, 5000);
    let depth = 20;
    let phi = Activation::Relu;
    let stack = Stack { phi: &phi, width: WIDTH, depth, first: 2.0, weights: 2.0, biases: 0.0 };
    let map = stack.trajectory(1.0)?;
    let measured = lab.measure("orthogonal inputs", &stack.network()?, one_pair(trials, 0.0))?;
    let gap = |draw: &gainstage_simulate::LayerDraw| 1.0 - draw.cosine.unwrap_or(f64::NAN);
    let mut findings = Vec::new();
    for layer in [5, 10, depth] {
        let what = format!("mean 1 - c in layer {layer}");
        let values = measured.layers[layer - 1].values(gap);
        let predicted = map[layer - 1].1;
        findings.push(equality(lab, what, &values, predicted, 0.2 * predicted)?);
    }
    let relu = MeanField::new(&phi, 2.0, 0.0)?;
    let law = |layer: f64| 4.5 * (PI / layer).powi(2);
    // Layer l of pre-activations has seen l - 1 nonlinearities: c_(l-1) of the map from c_0 = 0.
    let mut at = (2.0, 1.0);
    let mut iterates = Vec::new();
    for iterate in 1..=10_000u32 {
        at = relu.step(at.0, at.1)?;
        iterates.push((f64::from(iterate), at.1));
    }
    let ratio = at.1 / law(1e4);
    findings.push(computed("iterate 10,000 of the map over 9 pi^2/(2 l^2)", 1.0, ratio, 0.01));
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Two orthogonal inputs were within {} of each other in layer 5, {} in layer 10 and {} in layer 20 (map: {}, {}, {}); the map \
             reaches {} of 9 pi^2/(2 l^2) after 10,000 layers.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(map[4].1),
            significant(map[9].1),
            significant(map[19].1),
            significant(ratio),
        ),
        experiment: format!(
            "{depth} ReLU layers of width {WIDTH}, He normal, zero biases; {trials} weight draws with one pair of orthogonal inputs each"
        ),
        figures: vec![power_figure(&iterates, &measured, law)?],
        tables: Vec::new(),
        findings,
    })
}

fn power_figure(
    iterates: &[(f64, f64)],
    measured: &gainstage_simulate::Measured,
    law: impl Fn(f64) -> f64,
) -> Result<Figure, ClaimError> {
    let mut dots = Vec::new();
    for layer in &measured.layers[1..] {
        let gaps = layer.values(|d| 1.0 - d.cosine.unwrap_or(f64::NAN));
        let i = mean_interval(&Moments::from(gaps.as_slice()), Probability::P95)?;
        dots.push(Point::with_interval((layer.layer - 1) as f64, i.estimate, i.low, i.high));
    }
    // Evenly on the logarithmic axis.
    let mut next = 1.0;
    let thinned: Vec<(f64, f64)> = iterates
        .iter()
        .copied()
        .filter(|&(l, _)| {
            let keep = l >= next;
            if keep {
                next = 1.05 * l;
            }
            keep
        })
        .collect();
    let asymptote = thinned.iter().map(|&(l, _)| (l, law(l))).filter(|&(l, _)| l >= 3.0).collect();
    let panel =
        Panel::new("", Axis::log10("nonlinearities passed, l"), Axis::log10("1 − correlation"))
            .mark(Mark::line("map", 0, thinned))
            .mark(Mark::dashed("9π²/(2l²)", 3, asymptote))
            .mark(Mark::points("measured", 1, dots));
    let text = "Dark: iterates of ReLU's correlation map from orthogonal inputs. Dashed: the power law, which they reach only after thousands of \
                layers. Dots: means over draws with 95% intervals.";
    Ok(Figure::new("MFT06-power-law", "ReLU at criticality: a power law, reached late", text)
        .panel(panel))
}
