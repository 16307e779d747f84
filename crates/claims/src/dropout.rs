//! What dropout does to the edge of chaos.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_simulate::{Measured, Method, Setup};
use gainstage_spec::{Activation, Layer, Network};
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_theory::{MeanField, VarianceLimit};

use crate::claim::{Chapter, Claim, Finding, Outcome, Verdict};
use crate::draws::{Stack, computed, one_pair};
use crate::figures::significant;
use crate::mean_field::EDGE;
use crate::signal::{difference, equality};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 256;
const DEPTH: usize = 16;
const BIAS: f64 = 0.05;
/// Cosine margin.
const MARGIN: f64 = 0.04;
/// Layers between which the distance of the two starts is compared.
const FROM: usize = 3;
const TO: usize = 9;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "MFT05",
    chapter: Chapter::MeanField,
    statement: "Dropout removes the critical point: no weight variance lets two inputs stay apart, or alike, for ever.",
    source: "Schoenholz et al. 2017, section 4.2 and figure 6",
    prediction: "With activations kept with probability rho and divided by it, q' = sigma_w^2 E phi^2/rho + sigma_b^2 while the covariance has no 1/rho. Two \
                 copies of one input get masks of their own, so c = 1 is no fixed point: at the edge of tanh (sigma_w^2 = 1.761, sigma_b^2 = 0.05) c* = \
                 0.766 at rho = 0.99 and 0.356 at 0.9, and the depth scale there is 14.5 and 4.7 layers; over all sigma_w^2 it is never above 14.5 and \
                 4.7.",
    rule: "Supported if in layer 16 the mean correlations of copies and of orthogonal inputs equal the map's within 0.04 at rho = 0.9, those of copies too at \
           rho = 0.99, and the distance between the two starts shrinks from layer 3 to 9 as the map says within 15% of its size there; copies \
           without dropout stay exactly alike within 1e-6; and the map's largest depth scales over sigma_w^2 from 1.74 to 1.88, around their peaks, equal 14.495 and 4.676 within \
           0.01 (computed elsewhere by quadrature). Refuted if one is shown to differ.",
    expected: Verdict::Supported,
    planted: &[Plant::Gain(1.05)],
    run: no_critical_point,
}];

/// The maps at tanh's edge of chaos, with dropout, and the variance that they keep.
fn edge(keep: f64) -> Result<(MeanField, f64), ClaimError> {
    let map = MeanField::new(&Activation::Tanh, EDGE, BIAS)?.with_dropout(keep)?;
    match map.variance_limit(1.0)? {
        VarianceLimit::Fixed { point } => Ok((map, point.q)),
        _ => Ok((map, f64::NAN)),
    }
}

/// tanh layers at the edge, started at q*, each but the first behind a dropout of what comes into it.
fn network(keep: f64) -> Result<Network, ClaimError> {
    let first = edge(keep)?.1 - BIAS;
    let phi = &Activation::Tanh;
    let stack = Stack { phi, width: WIDTH, depth: DEPTH, first, weights: EDGE, biases: BIAS };
    let mut layers = Vec::new();
    for (index, layer) in stack.network()?.layers.into_iter().enumerate() {
        if index > 0 && keep < 1.0 {
            layers.push(Layer::Dropout { keep });
        }
        layers.push(layer);
    }
    Ok(Network::new(WIDTH, layers)?)
}

/// Correlation of the pre-activations in every layer at infinite width, for inputs of this cosine.
fn trajectory(keep: f64, cosine: f64) -> Result<Vec<f64>, ClaimError> {
    let (map, q) = edge(keep)?;
    let mut at = (q, (q - BIAS) * (1.0 - cosine) / q);
    let mut found = vec![1.0 - at.1];
    for _ in 1..DEPTH {
        at = map.step(at.0, at.1)?;
        found.push(1.0 - at.1);
    }
    Ok(found)
}

/// Cosines of one pair a draw.
struct Pairs {
    keep: f64,
    cosine: f64,
    measured: Measured,
    map: Vec<f64>,
}

impl Pairs {
    /// Starts of one keep probability share weights and masks, draw by draw.
    fn new(lab: &Lab, keep: f64, cosine: f64, trials: usize) -> Result<Self, ClaimError> {
        let setup =
            Setup { moments: false, method: Method::MatrixFree, ..one_pair(trials, cosine) };
        let measured = lab.measure(&format!("keep {keep}"), &network(keep)?, setup)?;
        Ok(Self { keep, cosine, measured, map: trajectory(keep, cosine)? })
    }

    fn values(&self, layer: usize) -> Vec<f64> {
        self.measured.layers[layer - 1].values(|d| d.cosine.unwrap_or(f64::NAN))
    }

    fn name(&self) -> String {
        let start = if self.cosine == 1.0 { "copies" } else { "orthogonal inputs" };
        format!("{start}, rho = {}", self.keep)
    }

    fn finding(&self, lab: &Lab) -> Result<Finding, ClaimError> {
        let what = format!("{}: mean correlation in layer {DEPTH}", self.name());
        equality(lab, what, &self.values(DEPTH), self.map[DEPTH - 1], MARGIN)
    }
}

/// Largest depth scale over the weight variances.
fn largest_scale(keep: f64) -> Result<f64, ClaimError> {
    let mut largest = 0.0f64;
    for i in 0..=7 {
        let variance = 1.74 + 0.02 * f64::from(i);
        let map = MeanField::new(&Activation::Tanh, variance, BIAS)?.with_dropout(keep)?;
        largest = largest.max(map.depth_limit(1.0)?.xi_c);
    }
    Ok(largest)
}

fn no_critical_point(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(600, 4000, 20_000);
    let copies = [1.0, 0.99, 0.9]
        .into_iter()
        .map(|keep| Pairs::new(lab, keep, 1.0, trials))
        .collect::<Result<Vec<_>, _>>()?;
    let orthogonal = Pairs::new(lab, 0.9, 0.0, trials)?;
    let mut findings = Vec::new();
    for pairs in [&copies[1], &copies[2], &orthogonal] {
        findings.push(pairs.finding(lab)?);
    }
    // Between the starts; its mean is what the map's two trajectories differ by.
    let apart = |layer: usize| difference(&copies[2].values(layer), &orthogonal.values(layer));
    let expected = |layer: usize| copies[2].map[layer - 1] - orthogonal.map[layer - 1];
    let factor = expected(TO) / expected(FROM);
    let (from, to) = (apart(FROM), apart(TO));
    let excess: Vec<f64> = from.iter().zip(&to).map(|(a, b)| b - factor * a).collect();
    let what = format!(
        "rho = 0.9: distance of the starts in layer {TO}, less {} of that in layer {FROM}",
        significant(factor)
    );
    findings.push(equality(lab, what, &excess, 0.0, 0.15 * expected(TO))?);
    let alike = copies[0]
        .values(DEPTH)
        .iter()
        .fold(1.0f64, |w, c| if (c - 1.0).abs() > (w - 1.0).abs() { *c } else { w });
    findings.push(computed(
        "copies without dropout: correlation furthest from 1",
        1.0,
        alike,
        1e-6,
    ));
    for (keep, expected) in [(0.99, 14.495), (0.9, 4.676)] {
        let what = format!("rho = {keep}: largest depth scale over all weight variances");
        findings.push(computed(what, expected, largest_scale(keep)?, 0.01));
    }
    let mean = |values: &[f64]| Moments::from(values).mean();
    let scale = (TO - FROM) as f64 / (mean(&from) / mean(&to)).ln();
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "At the edge of chaos two copies of an input, alike for ever without dropout, had a correlation of {} in layer {DEPTH} at rho = 0.99 and of {} at \
             0.9, where orthogonal inputs had {}: the two starts drew near within {} layers (theory {}), and no weight variance gives a longer scale than \
             {}.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(scale),
            significant((TO - FROM) as f64 / -factor.ln()),
            significant(findings[6].measured),
        ),
        experiment: format!(
            "{DEPTH} tanh layers of width {WIDTH}, weight variance {EDGE:.3}, bias variance 0.05, started at q*, dropout between them; {trials} weight draws with \
             a pair each"
        ),
        figures: vec![figure(&copies, &orthogonal)?],
        tables: Vec::new(),
        findings,
    })
}

fn figure(copies: &[Pairs], orthogonal: &Pairs) -> Result<Figure, ClaimError> {
    let mut panel = Panel::new("two inputs", Axis::linear("layer"), Axis::linear("correlation"));
    for (colour, pairs) in copies.iter().chain([orthogonal]).enumerate() {
        let mut dots = Vec::new();
        for layer in 1..=DEPTH {
            let i =
                mean_interval(&Moments::from(pairs.values(layer).as_slice()), Probability::P95)?;
            dots.push(Point::with_interval(layer as f64, i.estimate, i.low, i.high));
        }
        let line = pairs.map.iter().enumerate().map(|(l, c)| ((l + 1) as f64, *c)).collect();
        panel.marks.push(Mark::line("", 0, line));
        let start = if pairs.cosine == 1.0 { "copies" } else { "orthogonal" };
        panel.marks.push(Mark::points(format!("{start}, ρ = {}", pairs.keep), colour + 1, dots));
    }
    let mut scales = Panel::new(
        "depth scale",
        Axis::linear("σ_w²"),
        Axis::log10("ξ_c in layers").over(0.5, 1000.0),
    );
    for (colour, keep) in [1.0, 0.99, 0.9].into_iter().enumerate() {
        let mut line = Vec::new();
        for i in 0..=24 {
            let variance = 0.5 + 0.125 * f64::from(i);
            let map = MeanField::new(&Activation::Tanh, variance, BIAS)?.with_dropout(keep)?;
            line.push((variance, map.depth_limit(1.0)?.xi_c));
        }
        scales.marks.push(Mark::line(format!("ρ = {keep}"), colour + 1, line));
    }
    let text = "Left: lines are the map at the edge of chaos, dots means over draws with 95% intervals; copies stay copies only without dropout. Right: \
                theory's depth scale against the weight variance; dropout cuts the peak at the edge of chaos off.";
    Ok(Figure::new("MFT05-dropout", "Dropout removes the critical point", text)
        .panel(panel)
        .panel(scales))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn copies_part_only_with_dropout() {
        let alone = trajectory(1.0, 1.0).unwrap();
        assert!(alone.iter().all(|c| *c == 1.0));
        // Fixed points computed independently by quadrature; layer 16 is not there yet.
        let (near, far) = (trajectory(0.9, 1.0).unwrap(), trajectory(0.9, 0.0).unwrap());
        assert!(near[DEPTH - 1] > 0.356_413_78 && far[DEPTH - 1] < 0.356_413_78);
        assert!(near[DEPTH - 1] - far[DEPTH - 1] < 0.05);
    }
}
