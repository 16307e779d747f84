//! The layers of a plain network as a Markov chain in one number, followed as a whole.
//!
//! Given x, the logarithm of the variance of a layer's pre-activations, nothing below matters to what
//! lies above, as far as second moments go. The law of x is carried forward on a grid, and the law of
//! the error signal given x is carried backward as its first four cumulants at every node. Where the
//! variance map is bent within the spread of x, as for narrow networks of GELU or SiLU, this replaces
//! the linear response around the typical variance.

use gainstage_spec::Activation;

use crate::error_signal::ErrorSignal;
use crate::gate::{Gate, gamma_noise};
use crate::law::Cumulants;
use crate::moments::{Moments, at, shape_at};
use crate::roots::bracketed;
use crate::signal::{DenseTrace, Weights};

/// Half width of a grid in standard deviations of x, and its nodes.
const REACH: f64 = 7.0;
const NODES: usize = 113;

/// One dense layer of the chain.
pub(crate) struct Link<'a> {
    pub(crate) trace: &'a DenseTrace,
    pub(crate) phi: &'a Activation,
    pub(crate) gate: &'a Gate,
}

/// Laws of one layer.
#[derive(Clone, Debug)]
pub(crate) struct LinkLaws {
    pub(crate) forward: Mixture,
    pub(crate) activation: Mixture,
    pub(crate) gradient: Mixture,
    pub(crate) weight_gradient: Mixture,
}

/// A positive quantity whose logarithm's law is known given x.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    /// Mean of the quantity.
    pub(crate) expected: f64,
    /// Cumulants of its logarithm.
    pub(crate) log: Cumulants,
    /// Probabilities and laws given x.
    parts: Vec<(f64, Cumulants)>,
}

impl Mixture {
    fn new(expected: f64, parts: Vec<(f64, Cumulants)>) -> Self {
        Self { expected, log: mixture(&parts), parts }
    }

    fn is_finite(&self) -> bool {
        self.expected.is_finite() && self.log.variance.is_finite()
    }

    /// Quantile of the logarithm.
    pub(crate) fn quantile(&self, p: f64) -> f64 {
        if self.parts.len() == 1 {
            return self.log.quantile(p);
        }
        let beyond = |x: f64| self.parts.iter().map(|(w, law)| w * law.cdf(x)).sum::<f64>() - p;
        let reach = 12.0 * self.log.variance.max(0.0).sqrt();
        let (low, high) = (self.log.mean - reach, self.log.mean + reach);
        bracketed(low, high, beyond(low), beyond(high), beyond)
    }
}

/// Nodes of x with their probabilities, the activation's moments and the noise there.
struct Grid {
    nodes: Vec<Node>,
    step: f64,
}

#[derive(Clone, Copy)]
struct Node {
    x: f64,
    probability: f64,
    /// E phi^2 and E phi'^2
    second: f64,
    derivative: f64,
    /// For quotients that do not depend on the scale.
    shape: Moments,
    /// ln of the activations' second moment over its mean given x.
    forward: Cumulants,
}

/// What is known of the error signal above a node.
#[derive(Clone, Copy, Default)]
struct Above {
    log: Cumulants,
    expected: f64,
    alignment: f64,
}

/// Follows the chain from an input of this second moment; `None` where a signal is zero.
pub(crate) fn follow(input: f64, links: &[Link<'_>], seed: f64) -> Option<Vec<LinkLaws>> {
    let mut grids: Vec<Grid> = Vec::with_capacity(links.len());
    let mut points = vec![(input.ln(), 1.0)];
    for link in links {
        let nominal: Vec<(f64, f64)> =
            points.iter().map(|&(m, w)| (affine(&link.trace.weights, m), w)).collect();
        let grid = Grid::new(&nominal, link)?;
        points = grid.activations();
        grids.push(grid);
    }
    let last = links.last()?;
    let start = Above { log: Cumulants::constant(seed.ln()), expected: seed, ..Above::default() };
    let mut above = vec![start; grids.last()?.nodes.len()];
    let mut constant = ErrorSignal::seed(1.0, last.trace.weights.fan_out);
    let mut laws = Vec::with_capacity(links.len());
    for l in (0..links.len()).rev() {
        if l + 1 < links.len() {
            constant.free = Cumulants::default();
            constant = constant.through_weights(links[l + 1].trace);
            let plain = Gate { log: Cumulants::default(), ..Gate::open() };
            let quiet = Gate { ratio: links[l].gate.ratio, ..plain };
            constant = constant.through_gate(&quiet, links[l].trace.weights.fan_out);
            let (from, to) = (&grids[l + 1], &grids[l]);
            let factor =
                links[l + 1].trace.weights.variance * links[l + 1].trace.weights.fan_out as f64;
            above = to.pull(&links[l], &links[l + 1], from, &above, constant.free, factor);
        }
        laws.push(grids[l].laws(&links[l], &above));
    }
    laws.reverse();
    let all = |l: &LinkLaws| {
        [&l.forward, &l.activation, &l.gradient, &l.weight_gradient].iter().all(|m| m.is_finite())
    };
    laws.iter().all(all).then_some(laws)
}

/// ln of the pre-activations' variance from ln of the input's second moment.
fn affine(weights: &Weights, m: f64) -> f64 {
    if weights.bias == 0.0 {
        m + weights.scale().ln()
    } else {
        (weights.scale() * m.exp() + weights.bias).ln()
    }
}

/// And back.
fn input_of(weights: &Weights, x: f64) -> f64 {
    if weights.bias == 0.0 {
        x - weights.scale().ln()
    } else {
        ((x.exp() - weights.bias).max(f64::MIN_POSITIVE) / weights.scale()).ln()
    }
}

impl Grid {
    fn new(points: &[(f64, f64)], link: &Link<'_>) -> Option<Self> {
        let law = Cumulants::of(points);
        let std = law.variance.max(0.0).sqrt();
        // Beyond the range of f64 there is no law to follow.
        if !law.mean.is_finite() || !((law.mean.abs() + REACH * std) < 690.0) {
            return None;
        }
        let single = std < 1e-7;
        let step = if single { 1.0 } else { 2.0 * REACH * std / (NODES - 1) as f64 };
        let count = if single { 1 } else { NODES };
        let low = if single { law.mean } else { law.mean - REACH * std };
        let nodes = (0..count)
            .map(|i| low + step * i as f64)
            .map(|x| {
                let (m, shape) = (at(link.phi, x.exp()), shape_at(link.phi, x.exp()));
                Node {
                    x,
                    probability: 0.0,
                    second: m.second_moment,
                    derivative: m.derivative_second_moment,
                    shape,
                    forward: noise(link, &shape),
                }
            })
            .collect();
        let mut grid = Self { nodes, step };
        let total: f64 = points.iter().map(|p| p.1).sum();
        for &(x, w) in points {
            for (i, share) in grid.around(x) {
                grid.nodes[i].probability += share * w / total;
            }
        }
        Some(grid)
    }

    /// Nodes around x and the weights of cubic interpolation; spreading a mass with the same weights
    /// keeps its first three moments.
    fn around(&self, x: f64) -> [(usize, f64); 4] {
        let n = self.nodes.len();
        if n == 1 {
            return [(0, 1.0), (0, 0.0), (0, 0.0), (0, 0.0)];
        }
        let place = ((x - self.nodes[0].x) / self.step).clamp(0.0, (n - 1) as f64);
        let first = (place.floor() as usize).clamp(1, n - 3) - 1;
        let t = place - first as f64 - 1.0;
        let weights = [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ];
        std::array::from_fn(|k| (first + k, weights[k]))
    }

    /// ln of the activations' second moment: every node's law as points.
    fn activations(&self) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for node in &self.nodes {
            let law = node.forward.shifted(node.second.ln());
            let cloud = law.points();
            let total: f64 = cloud.iter().map(|p| p.1).sum();
            points.extend(cloud.iter().map(|&(m, w)| (m, w * node.probability / total)));
        }
        points
    }

    /// The error signal at this grid's nodes from that at the nodes of the layer above.
    fn pull(
        &self,
        link: &Link<'_>,
        next: &Link<'_>,
        grid: &Grid,
        above: &[Above],
        constant: Cumulants,
        factor: f64,
    ) -> Vec<Above> {
        let n = link.trace.weights.fan_out as f64;
        let log_d = |i: usize| self.nodes[i].derivative.ln();
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, node)| {
                let m = &node.shape;
                let (v, d) = (m.second_moment, m.derivative_second_moment);
                let cloud = node.forward.shifted(node.second.ln()).points();
                let total: f64 = cloud.iter().map(|p| p.1).sum();
                let reached: Vec<(f64, Above)> = cloud
                    .iter()
                    .map(|&(m, w)| (w / total, grid.read(above, affine(&next.trace.weights, m))))
                    .collect();
                let average =
                    |f: &dyn Fn(&Above) -> f64| reached.iter().map(|(w, a)| w * f(a)).sum::<f64>();
                let mixed = mixture(&reached.iter().map(|(w, a)| (*w, a.log)).collect::<Vec<_>>());
                // How the error signal above responds to this layer's noise, by regression.
                let noise = node.forward;
                let covariance: f64 = cloud
                    .iter()
                    .zip(&reached)
                    .map(|((m, _), (w, a))| {
                        w * (m - node.second.ln() - noise.mean) * (a.log.mean - mixed.mean)
                    })
                    .sum();
                let response = if noise.variance > 0.0 { covariance / noise.variance } else { 0.0 };
                let slope = m.q * m.second_moment_slope / v;
                let (lower, upper_node) = (i.saturating_sub(1), (i + 1).min(self.nodes.len() - 1));
                let bend = if self.nodes.len() > 1 {
                    (log_d(upper_node) - log_d(lower)) / (self.step * (upper_node - lower) as f64)
                } else {
                    link.gate.derivative_slope
                };
                let excess_length = link.trace.length - 2.0 / n;
                let product = m.square_product / (v * d);
                let shared = ((product - 1.0) / n + slope * bend * excess_length) * response;
                let upper = average(&|a| a.alignment);
                let aligned = 1.0 + upper * product / n;
                let backward = if link.gate.homogeneous {
                    link.gate.log.shifted(-d.ln())
                } else {
                    let ratio = m.derivative_fourth_moment / (d * d);
                    let noise = 3.0 * (ratio - 1.0) / n + bend * bend * excess_length;
                    gamma_noise(noise.max(0.0))
                };
                let gain = (aligned.max(0.1) * node.derivative).ln();
                let mut log = mixed.plus(constant).plus(backward).shifted(gain);
                log.variance += 2.0 * shared;
                let share = 1.0 - link.trace.weights.bias / node.x.exp();
                let alignment = share * (v * slope * slope / (d * m.q) * upper + 2.0 * bend);
                Above {
                    log,
                    expected: factor
                        * node.derivative
                        * aligned.max(0.1)
                        * average(&|a| a.expected)
                        * shared.exp(),
                    alignment: ((1.0 + alignment) / aligned.max(0.1) - 1.0).clamp(-1.0, n - 1.0),
                }
            })
            .collect()
    }

    /// Interpolated values at x.
    fn read(&self, above: &[Above], x: f64) -> Above {
        let mut found = Above::default();
        for (i, w) in self.around(x) {
            let a = &above[i];
            found.log.mean += w * a.log.mean;
            found.log.variance += w * a.log.variance;
            found.log.third += w * a.log.third;
            found.log.fourth += w * a.log.fourth;
            found.expected += w * a.expected;
            found.alignment += w * a.alignment;
        }
        found
    }

    fn laws(&self, link: &Link<'_>, above: &[Above]) -> LinkLaws {
        let weights = &link.trace.weights;
        let average = |f: &dyn Fn(usize, &Node) -> f64| {
            self.nodes.iter().enumerate().map(|(i, n)| n.probability * f(i, n)).sum::<f64>()
        };
        let mix = |expected: f64, f: &dyn Fn(usize, &Node) -> Cumulants| {
            let parts = self.nodes.iter().enumerate().map(|(i, n)| (n.probability, f(i, n)));
            Mixture::new(expected, parts.collect())
        };
        // The pre-activations' own noise about their nominal variance.
        let own = {
            let (all, nominal) = (link.trace.forward.log, link.trace.nominal);
            Cumulants {
                mean: all.mean - nominal.mean,
                variance: all.variance - nominal.variance,
                third: all.third - nominal.third,
                fourth: all.fourth - nominal.fourth,
            }
        };
        LinkLaws {
            forward: mix(average(&|_, n| n.x.exp()), &|_, n| own.shifted(n.x)),
            activation: mix(average(&|_, n| n.second), &|_, n| n.forward.shifted(n.second.ln())),
            gradient: mix(average(&|i, _| above[i].expected), &|i, _| above[i].log),
            weight_gradient: mix(
                average(&|i, n| above[i].expected * input_of(weights, n.x).exp()),
                &|i, n| above[i].log.shifted(input_of(weights, n.x)),
            ),
        }
    }
}

/// ln of the activations' second moment over its mean given the nominal variance.
fn noise(link: &Link<'_>, m: &Moments) -> Cumulants {
    if link.gate.homogeneous {
        // The typical law serves every variance.
        let trace = link.trace;
        let length = Cumulants {
            mean: trace.forward.log.mean - trace.nominal.mean,
            variance: trace.forward.log.variance - trace.nominal.variance,
            third: trace.forward.log.third - trace.nominal.third,
            fourth: trace.forward.log.fourth - trace.nominal.fourth,
        };
        let law = length.plus(link.gate.log).plus(link.gate.spread);
        return law.shifted(-link.gate.derivative.ln());
    }
    let n = link.trace.weights.fan_out as f64;
    let slope = m.q * m.second_moment_slope / m.second_moment;
    let relative = m.relative_variance() + slope * slope * (n * link.trace.length - 2.0);
    gamma_noise(relative.max(0.0) / n).plus(link.gate.spread)
}

/// Cumulants of a mixture of laws given by theirs; the weights sum to 1.
fn mixture(parts: &[(f64, Cumulants)]) -> Cumulants {
    let mean: f64 = parts.iter().map(|(w, a)| w * a.mean).sum();
    let (mut second, mut third, mut fourth) = (0.0, 0.0, 0.0);
    for (w, a) in parts {
        let (d, c) = (a.mean - mean, a);
        second += w * (c.variance + d * d);
        third += w * (c.third + 3.0 * c.variance * d + d.powi(3));
        fourth += w
            * (c.fourth
                + 3.0 * c.variance * c.variance
                + 4.0 * c.third * d
                + 6.0 * c.variance * d * d
                + d.powi(4));
    }
    Cumulants { mean, variance: second, third, fourth: fourth - 3.0 * second * second }
}
