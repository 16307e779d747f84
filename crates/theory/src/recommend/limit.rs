use serde::{Deserialize, Serialize};

use super::candidates::Candidate;
use super::{Normalization, Request, ends};
use crate::error::TheoryError;
use crate::mean_field::MeanField;
use crate::predict::Prediction;

/// How many layers a network of this kind may have, and what sets the bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepthBound {
    /// Layers; infinite where nothing sets a bound.
    pub layers: f64,
    /// What does.
    pub reason: DepthReason,
}

/// What bounds the depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthReason {
    /// The correlation of inputs is forgotten: six depth scales xi_c (Schoenholz et al. 2017).
    Correlation,
    /// The expected signal or gradient has changed a thousandfold.
    Scale,
    /// The logarithm of signal or gradient varies by one from draw to draw.
    FiniteWidth,
}

impl std::fmt::Display for DepthReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Correlation => "six correlation depth scales, beyond which inputs look alike or unrelated",
            Self::Scale => "the expected signal or gradient has then changed a thousandfold",
            Self::FiniteWidth => "the log of signal or gradient then varies by one between draws; wider layers allow more",
        })
    }
}

/// The smallest of the three bounds, each extrapolated from the requested depth.
pub(super) fn depth_bound(
    request: &Request,
    candidate: &Candidate,
    prediction: &Prediction,
) -> Result<DepthBound, TheoryError> {
    let depth = prediction.layers.len() as f64;
    let (signal, _) = ends(request, prediction, true);
    let (gradient, _) = ends(request, prediction, false);
    let drift = signal.ln().abs().max(gradient.ln().abs());
    let variance = prediction
        .layers
        .iter()
        .flat_map(|layer| [layer.forward.log_variance, layer.gradient.log_variance])
        .fold(0.0, f64::max);
    let mut bounds = vec![
        (depth * 1000f64.ln() / drift, DepthReason::Scale),
        (depth / variance, DepthReason::FiniteWidth),
    ];
    // Dense chains only: branches and normalizations have maps of their own.
    if !request.residual && request.normalization == Normalization::None {
        let field = MeanField::new(
            &request.activation,
            candidate.weight_variance,
            candidate.bias_variance,
        )?;
        let limit = field.depth_limit(candidate.start)?;
        bounds.push((6.0 * limit.xi_c, DepthReason::Correlation));
    }
    let smallest = bounds
        .into_iter()
        .filter(|b| !b.0.is_nan())
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((f64::INFINITY, DepthReason::Scale));
    Ok(DepthBound { layers: smallest.0, reason: smallest.1 })
}
