//! The variance map, the correlation map, and the edge of chaos.

use gainstage_report::{Axis, ColourMap, Figure, Mark, Panel, Point};
use gainstage_simulate::Measured;
use gainstage_spec::Activation;
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_theory::{MeanField, VarianceLimit, edge_of_chaos, moments};

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::draws::{Stack, one_input, one_pair};
use crate::figures::significant;
use crate::signal::{equality, factor_finding};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 256;
const BIAS: f64 = 0.05;
/// The edge of chaos of tanh at this bias variance (Schoenholz et al. 2017).
pub(crate) const EDGE: f64 = 1.760_954_639_607;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "MFT01",
        chapter: Chapter::MeanField,
        statement: "The variance of pre-activations follows one map from layer to layer and settles at its fixed point q*, wherever it starts.",
        source: "Poole et al. 2016, section 3",
        prediction: "q' = sigma_w^2 E tanh^2(sqrt(q) z) + sigma_b^2. At sigma_b^2 = 0.05, q* = 0.194 for sigma_w^2 = 1 (ordered) and 1.064 for \
             2.5 (chaotic); ten layers from 0.1 and from 4 end there.",
        rule: "Supported if in layers 2, 4 and 10, from q_1 = 0.1 and from 4, the mean second moment equals the infinite-width map within \
             5%, for both weight variances; refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: variance_map,
    },
    Claim {
        code: "MFT02",
        chapter: Chapter::MeanField,
        statement: "Whether nearby inputs merge or part is decided by chi_1, which is also the factor of the gradient: 1 is the edge of chaos.",
        source: "Poole et al. 2016; Schoenholz et al. 2017",
        prediction: "tanh at sigma_b^2 = 0.05: chi_1 = 0.880, 1 and 1.134 at sigma_w^2 = 1.3, 1.761 and 2.5; two inputs of cosine 0.5 tend to \
             correlation 1, slowly to 1, and to 0.447. The error signal's second moment is multiplied by chi_1 per layer.",
        rule: "Supported if the correlation in layers 5 and 20 equals the map's within 0.05 at all three weight variances, and the factor \
             per layer of the error signal equals chi_1 within 3%; refuted if one is shown to differ.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: correlation_map,
    },
];

fn variance_map(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(500, 1200, 5000);
    let phi = Activation::Tanh;
    let mut findings = Vec::new();
    let mut panels = Vec::new();
    for weights in [1.0, 2.5] {
        let mut panel = Panel::new(
            format!("σ_w² = {weights}"),
            Axis::linear("layer"),
            Axis::log10("second moment of the pre-activations"),
        );
        for (colour, start) in [(1, 0.1), (2, 4.0)] {
            let first = start - BIAS;
            let stack = Stack { phi: &phi, width: WIDTH, depth: 10, first, weights, biases: BIAS };
            let map = stack.variances()?;
            let label = format!("sigma_w^2 = {weights} from q = {start}");
            let measured = lab.measure(&label, &stack.network()?, one_input(trials))?;
            for layer in [2, 4, 10] {
                let values = measured.layers[layer - 1].values(|draw| draw.forward.mean);
                let q = map[layer - 1];
                let what = format!("{label}: second moment of the pre-activations, layer {layer}");
                findings.push(equality(lab, what, &values, q, 0.05 * q)?);
            }
            panel.marks.push(Mark::line(
                if start == 4.0 { "map" } else { "" },
                0,
                map.iter().enumerate().map(|(l, at)| ((l + 1) as f64, *at)).collect(),
            ));
            let name = format!("from {start}");
            panel.marks.push(means(&name, colour, &measured, |draw| draw.forward.mean)?);
        }
        panels.push(panel);
    }
    let mut figure = Figure::new(
        "MFT01-map",
        "The variance forgets where it started",
        format!(
            "tanh, σ_b² = 0.05, width {WIDTH}. Dark: the infinite-width map from q = 0.1 and from q = 4. Dots: means over {trials} draws, \
             95% intervals smaller than the dots. In layer 10 the four means are {}.",
            [2, 5, 8, 11].map(|i: usize| significant(findings[i].measured)).join(", ")
        ),
    );
    figure.panels = panels;
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "At sigma_w^2 = 1 the second moment came from 0.1 to {} and from 4 to {} in layer 10 (q* = 0.194); at 2.5 to {} and {} (q* = \
             1.064).",
            significant(findings[2].measured),
            significant(findings[5].measured),
            significant(findings[8].measured),
            significant(findings[11].measured),
        ),
        experiment: format!(
            "10 tanh layers of width {WIDTH}, Gaussian weights, bias variance 0.05, the first layer scaled to start at q = 0.1 and 4; \
             {trials} weight draws a case"
        ),
        figures: vec![figure, phase_figure()?],
        tables: Vec::new(),
        findings,
    })
}

/// Means over draws with 95% intervals, layer by layer.
pub(crate) fn means(
    name: &str,
    colour: usize,
    measured: &Measured,
    read: impl Fn(&gainstage_simulate::LayerDraw) -> f64,
) -> Result<Mark, ClaimError> {
    let mut points = Vec::new();
    for layer in &measured.layers {
        let i = mean_interval(&Moments::from(layer.values(&read).as_slice()), Probability::P95)?;
        points.push(Point::with_interval(layer.layer as f64, i.estimate, i.low, i.high));
    }
    Ok(Mark::points(name, colour, points))
}

/// q* of tanh over both variances, with the line chi_1 = 1 and well-known choices of weights.
fn phase_figure() -> Result<Figure, ClaimError> {
    let xs: Vec<f64> = (1..=50).map(|i| 0.08 * f64::from(i)).collect();
    let ys: Vec<f64> = (0..=30).map(|i| f64::from(i) / 30.0).collect();
    // q is the fixed point of exactly one weight variance, (q - sigma_b^2) / E tanh^2.
    let mut seconds = Vec::new();
    for i in 0..=240 {
        let q = 1e-4 * 10f64.powf(f64::from(i) / 45.0);
        seconds.push((q, moments(&Activation::Tanh, q)?.second_moment));
    }
    let mut values = Vec::new();
    for bias in &ys {
        let settled: Vec<(f64, f64)> =
            seconds.iter().map(|&(q, second)| ((q - bias) / second, q)).collect();
        values.extend(xs.iter().map(|&x| interpolated(&settled, x)));
    }
    let mut edge = Vec::new();
    for i in 0..=40 {
        // Near zero bias the edge moves with the cube root of sigma_b^2.
        let bias = (f64::from(i) / 40.0).powi(3);
        for point in edge_of_chaos(&Activation::Tanh, bias)? {
            edge.push((point.weight_variance, bias));
        }
    }
    let panel = Panel::new("q* of tanh", Axis::linear("σ_w²"), Axis::linear("σ_b²"))
        .mark(Mark::HeatMap { xs, ys, values, map: ColourMap::Sequential })
        .mark(Mark::line("χ₁ = 1", 0, edge))
        .mark(Mark::points("", 2, vec![Point::new(1.0, BIAS), Point::new(2.5, BIAS)]))
        .mark(Mark::Text { x: 0.5, y: 0.85, text: "ordered: inputs merge".to_owned() })
        .mark(Mark::Text { x: 2.6, y: 0.14, text: "chaotic: inputs part".to_owned() });
    let text = "Colour: the fixed point q* of the variance map. Dark line: the edge of chaos, from (1, 0) through (1.761, 0.05) to (3.443, 1). \
                Xavier's weights sit at its foot, (1, 0); the gain 5/3 at (2.78, 0). Dots: where this claim measures.";
    Ok(Figure::new("MFT01-phase", "tanh: order, chaos and the edge", text).panel(panel))
}

/// The value at x of a function given at ascending places; its first value before them.
fn interpolated(points: &[(f64, f64)], x: f64) -> f64 {
    let next = points.partition_point(|p| p.0 < x).clamp(1, points.len() - 1);
    let ((a, fa), (b, fb)) = (points[next - 1], points[next]);
    fa + (fb - fa) * ((x - a) / (b - a)).clamp(0.0, 1.0)
}

fn correlation_map(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(400, 800, 3000);
    let phi = Activation::Tanh;
    let chaotic = trials * 3 / 2;
    let depth = 20;
    let mut findings = Vec::new();
    let mut panel =
        Panel::new("", Axis::linear("layer"), Axis::linear("correlation").over(0.3, 1.0));
    let cases = [(1, 1.3, "ordered"), (3, EDGE, "edge"), (2, 2.5, "chaotic")];
    for (colour, weights, name) in cases {
        let map = MeanField::new(&phi, weights, BIAS)?;
        let limit = map.depth_limit(1.0)?;
        let VarianceLimit::Fixed { point } = limit.variance else { continue };
        // In chaos the correlation spreads most.
        let draws = if weights > EDGE { chaotic } else { trials };
        let first = point.q - BIAS;
        let stack = Stack { phi: &phi, width: WIDTH, depth, first, weights, biases: BIAS };
        let predicted = stack.trajectory(0.5)?;
        let measured = lab.measure(name, &stack.network()?, one_pair(draws, 0.5))?;
        let cosine = |draw: &gainstage_simulate::LayerDraw| draw.cosine.unwrap_or(f64::NAN);
        for layer in [5, depth] {
            let what = format!("{name}, sigma_w^2 = {weights:.3}: correlation in layer {layer}");
            let values = measured.layers[layer - 1].values(cosine);
            findings.push(equality(lab, what, &values, 1.0 - predicted[layer - 1].1, 0.05)?);
        }
        let log = |layer: usize| measured.layers[layer - 1].values(|draw| draw.gradient.log_mean);
        let (low, high) = (log(5), log(depth));
        let steps = (depth - 5) as f64;
        let growth: Vec<f64> = low.iter().zip(&high).map(|(l, h)| (l - h) / steps).collect();
        let what = format!("{name}: factor of the error signal per layer, against chi_1");
        findings.push(factor_finding(lab, what, &growth, limit.chi_1, 0.03)?);
        let line = predicted.iter().enumerate().map(|(l, at)| ((l + 1) as f64, 1.0 - at.1));
        panel.marks.push(Mark::line("", 0, line.collect()));
        panel.marks.push(means(name, colour, &measured, cosine)?);
    }
    let text = format!(
        "tanh, σ_b² = 0.05, width {WIDTH}; lines: the correlation map, dots: means over {trials} draws of one pair each ({chaotic} in chaos), with 95% intervals. \
         In layer {depth}: {} ordered, {} at the edge, {} in chaos.",
        significant(findings[1].measured),
        significant(findings[4].measured),
        significant(findings[7].measured)
    );
    let figure = Figure::new("MFT02-correlation", "Two inputs through depth: merge, or part", text);
    // Which side of 1 the gradient's factor lies on is part of the statement.
    let sides = findings[2].high < 1.0 && findings[8].low > 1.0;
    let verdict = match all_hold(&findings, Verdict::Supported) {
        Verdict::Supported if !sides => Verdict::Inconclusive,
        verdict => verdict,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Two inputs of cosine 0.5 had correlation {} in layer {depth} at sigma_w^2 = 1.3, {} at the edge and {} at 2.5; the error signal was \
             multiplied by {}, {} and {} per layer (chi_1: 0.880, 1, 1.134).",
            significant(findings[1].measured),
            significant(findings[4].measured),
            significant(findings[7].measured),
            significant(findings[2].measured),
            significant(findings[5].measured),
            significant(findings[8].measured),
        ),
        experiment: format!(
            "{depth} tanh layers of width {WIDTH}, bias variance 0.05, started at q*; {trials} weight draws with one pair of inputs each, {chaotic} in chaos"
        ),
        figures: vec![figure.panel(panel)],
        tables: Vec::new(),
        findings,
    })
}
