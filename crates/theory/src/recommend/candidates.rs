use gainstage_spec::Initializer;

use super::{Normalization, Request, Role, blocks};
use crate::edge::edge_of_chaos;
use crate::error::TheoryError;
use crate::mean_field::MeanField;
use crate::moments::{at, largest_variance, map_at};

/// One way to initialize the request's network.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) weight_variance: f64,
    pub(crate) bias_variance: f64,
    /// Second moment at which the first layer's pre-activations should start.
    pub(crate) start: f64,
    pub(crate) orthogonal: bool,
    /// Of the last layer in every branch.
    pub(crate) branch_gain: f64,
}

impl Candidate {
    /// Weights of variance gain^2 / fan_in.
    pub(crate) fn weights(&self, gain: f64, fan_in: usize, fan_out: usize) -> Initializer {
        if self.orthogonal {
            // Entries of a matrix with more rows than columns have variance 1 / rows.
            let widening = (fan_out as f64 / fan_in as f64).max(1.0).sqrt();
            Initializer::Orthogonal { gain: gain * widening }
        } else {
            Initializer::scaled_normal(gain)
        }
    }

    /// sigma_w of a layer; the first's from q = sigma_w^2 E x^2 + sigma_b^2 at the start.
    pub(crate) fn gain(&self, role: Role, request: &Request) -> f64 {
        match role {
            Role::First => {
                ((self.start - self.bias_variance) / request.inputs.second_moment).sqrt()
            }
            Role::Hidden => self.weight_variance.sqrt(),
            Role::BranchEnd => self.branch_gain,
        }
    }

    pub(crate) fn bias(&self) -> Initializer {
        if self.bias_variance == 0.0 {
            Initializer::zeros()
        } else {
            Initializer::normal(self.bias_variance.sqrt())
        }
    }
}

/// Bias variances at which the edge of chaos is tried.
const BIAS_VARIANCES: [f64; 9] = [0.0, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3];

/// How many of them are worth predicting at finite width.
const EDGE_POINTS: usize = 5;

/// The largest |ln| by which signal or gradient leave their start at infinite width, with a fluctuation
/// of the first q by a tenth: at an unstable fixed point that alone decides.
fn drift(request: &Request, candidate: &Candidate) -> Result<f64, TheoryError> {
    let field =
        MeanField::new(&request.activation, candidate.weight_variance, candidate.bias_variance)?;
    let mut worst = 0.0f64;
    for factor in [0.9, 1.0, 1.1] {
        let start = factor * candidate.start;
        let (mut q, mut gradient) = (start, 0.0);
        for _ in 1..request.widths.len() {
            let m = map_at(&request.activation, q);
            gradient += (candidate.weight_variance * m.derivative_second_moment).ln();
            q = field.map(&m).min(largest_variance(&request.activation));
            worst = worst.max((q / start).ln().abs()).max(gradient.abs());
        }
    }
    Ok(worst)
}

/// What is worth comparing for this network, the simplest first.
pub(crate) fn candidates(request: &Request) -> Result<Vec<Candidate>, TheoryError> {
    let phi = &request.activation;
    let unit = at(phi, 1.0);
    let gain = unit.gain();
    let base = |name: &str, weight_variance: f64, bias_variance: f64, start: f64| Candidate {
        name: name.to_owned(),
        weight_variance,
        bias_variance,
        start,
        orthogonal: false,
        branch_gain: 1.0,
    };
    let blocks = blocks(request) as f64;
    let mut found = Vec::new();
    if request.residual {
        // W1 hands the branch pre-activations of the stream's size, W2 returns its second moment.
        let scaled = |name: &str, scale: f64| Candidate {
            branch_gain: gain * scale,
            ..base(name, 1.0, 0.0, 1.0)
        };
        found.push(scaled("branches scaled by 1/sqrt(blocks)", blocks.sqrt().recip()));
        found.push(scaled("branches at full scale", 1.0));
    } else if request.normalization != Normalization::None {
        // The scale of the weights does not reach the activations.
        found.push(base("gain that keeps the second moment at q = 1", gain * gain, 0.0, 1.0));
    } else if phi.slopes().is_some() {
        let start = gain * gain;
        found.push(base("gain that keeps the second moment (He's rule)", start, 0.0, start));
    } else {
        if gain.is_finite() {
            found.push(base("gain that keeps the second moment at q = 1", gain * gain, 0.0, 1.0));
        }
        let critical = unit.critical_gain();
        if critical.is_finite() {
            let variance = critical * critical;
            found.push(base("gain that keeps gradients at q = 1", variance, 0.0, 1.0));
        }
        let mut edge = Vec::new();
        for bias in BIAS_VARIANCES {
            for point in edge_of_chaos(phi, bias)? {
                let q = point.fixed_point.q;
                // A fixed point at zero is approached from one.
                let start = if q > bias { q } else { 1.0 };
                let candidate = base("edge of chaos", point.weight_variance, bias, start);
                edge.push((drift(request, &candidate)?, candidate));
            }
        }
        edge.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.extend(edge.into_iter().take(EDGE_POINTS).map(|(_, candidate)| candidate));
    }
    let orthogonal: Vec<Candidate> = found
        .iter()
        .map(|c| Candidate {
            orthogonal: true,
            name: format!("{}, orthogonal", c.name),
            ..c.clone()
        })
        .collect();
    found.extend(orthogonal);
    Ok(found)
}
