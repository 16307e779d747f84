use gainstage_spec::{Activation, Initializer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::candidates::Candidate;
use super::{Consequence, Normalization, Request, arrange, consequence};
use crate::error::TheoryError;
use crate::predict::{Options, predict};

/// What a framework does when nothing is said, or when its own gain is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameworkDefault {
    /// Framework and function.
    pub framework: String,
    /// The weights' initializer.
    pub weights: Initializer,
    /// The biases' initializer.
    pub bias: Initializer,
    /// What it does to signal and gradient in the requested network.
    pub consequence: Consequence,
}

/// The gain of PyTorch's `nn.init.calculate_gain`, which knows these activations only.
///
/// ```
/// use gainstage_spec::Activation;
/// use gainstage_theory::pytorch_gain;
/// assert_eq!(pytorch_gain(&Activation::Tanh), Some(5.0 / 3.0));
/// assert_eq!(pytorch_gain(&Activation::Gelu), None);
/// ```
pub fn pytorch_gain(phi: &Activation) -> Option<f64> {
    match phi {
        Activation::Linear | Activation::Sigmoid => Some(1.0),
        Activation::Tanh => Some(5.0 / 3.0),
        Activation::Relu => Some(2f64.sqrt()),
        Activation::LeakyRelu { slope } => Some((2.0 / (1.0 + slope * slope)).sqrt()),
        Activation::Selu => Some(0.75),
        _ => None,
    }
}

/// Initializers as the sources of PyTorch 2.15, Keras 3.3, Flax on JAX 0.10, burn and candle (2026) have
/// them.
pub(super) fn defaults(
    request: &Request,
    start: f64,
) -> Result<Vec<FrameworkDefault>, TheoryError> {
    let linear = Initializer::pytorch_linear();
    let zeros = Initializer::zeros();
    let flax: Initializer = "flax_dense".parse()?;
    let mut rows = vec![
        ("PyTorch nn.Linear, burn Linear".to_owned(), linear.clone(), linear.clone()),
        ("Keras Dense".to_owned(), Initializer::glorot_uniform(), zeros.clone()),
        ("Flax nn.Dense".to_owned(), flax, zeros.clone()),
        ("candle_nn::linear".to_owned(), Initializer::he_normal(), linear),
    ];
    if let Some(gain) = pytorch_gain(&request.activation) {
        let name = format!("PyTorch calculate_gain ({gain:.4})");
        rows.push((name, Initializer::scaled_normal(gain), zeros));
    }
    // Behind a normalization the scale does not matter.
    let target = (request.normalization == Normalization::None).then_some(start);
    rows.into_par_iter()
        .map(|(framework, weights, bias)| {
            let network = arrange(request, &bias, &|_, _, _| weights.clone())?;
            let prediction = predict(&network, &request.inputs, &Options::default())?;
            let (shape, width) = (network.shapes()?, request.widths.len() / 2);
            let middle = &shape[width.min(shape.len() - 1)];
            let fan_in = middle.fans().fan_in() as f64;
            let as_candidate = Candidate {
                name: framework.clone(),
                weight_variance: weights.law(middle)?.variance() * fan_in,
                bias_variance: bias.law(middle)?.variance(),
                start: 1.0,
                orthogonal: false,
                branch_gain: 1.0,
            };
            let consequence = consequence(request, &as_candidate, &prediction, target);
            Ok(FrameworkDefault { framework, weights, bias, consequence })
        })
        .collect()
}
