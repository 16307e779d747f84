use serde::{Deserialize, Serialize};

use crate::{Activation, Fans, Initializer, SpecError, WeightShape};

/// A network, described once: theory predicts it, the simulator measures it, the trainer fits it.
///
/// In TOML each `[[layers]]` table has a `kind` and may `repeat`:
///
/// ```
/// # let text = r#"
/// input = 784
/// [[layers]]
/// kind = "dense"
/// width = 128
/// weights = "he_normal"
/// activation = "relu"
/// repeat = 3
/// [[layers]]
/// kind = "dense"
/// width = 10
/// weights = "glorot_uniform"
/// # "#;
/// # let network: gainstage_spec::Network = toml::from_str(text).unwrap();
/// # assert_eq!(network.dense().map(|d| d.width).collect::<Vec<_>>(), [128, 128, 128, 10]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NetworkText", into = "NetworkText")]
pub struct Network {
    /// Width of the input.
    pub input: usize,
    /// What the signal passes, in order.
    pub layers: Vec<Layer>,
}

/// One step of the forward pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layer {
    /// h -> phi(W h + b)
    Dense(Dense),
    /// h -> phi(h), for what stands apart from a dense layer, behind a normalization say.
    Activation {
        /// phi
        function: Activation,
    },
    /// Each unit is kept with probability `keep` and divided by it (inverted dropout).
    Dropout {
        /// Probability of keeping a unit, in (0, 1].
        keep: f64,
    },
    /// (h - mean over the batch) / sqrt(variance over the batch + epsilon), unit by unit.
    BatchNorm {
        /// Added to the variance.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// (h - mean over the units) / sqrt(variance over the units + epsilon), input by input.
    LayerNorm {
        /// Added to the variance.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// h / sqrt(mean square over the units + epsilon), input by input.
    RmsNorm {
        /// Added to the mean square.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// h -> h + scale * branch(h)
    Residual {
        /// Factor of the branch.
        scale: f64,
        /// The branch; it must return to the width it started from.
        branch: Vec<Layer>,
    },
}

fn epsilon() -> f64 {
    1e-5
}

/// A dense layer: pre-activation z = W h + b, activation phi(z).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// Number of units.
    pub width: usize,
    /// The weights' initializer.
    pub weights: Initializer,
    /// The biases' initializer; fan rules take the fans of the weights.
    #[serde(default = "Initializer::zeros")]
    pub bias: Initializer,
    /// phi
    #[serde(default = "linear")]
    pub activation: Activation,
}

fn linear() -> Activation {
    Activation::Linear
}

impl Dense {
    /// With zero biases.
    pub fn new(width: usize, weights: Initializer, activation: Activation) -> Self {
        Self { width, weights, bias: Initializer::zeros(), activation }
    }

    /// The same with another bias initializer.
    #[must_use]
    pub fn with_bias(mut self, bias: Initializer) -> Self {
        self.bias = bias;
        self
    }
}

impl Network {
    /// Dense layers one after another, checked.
    ///
    /// # Errors
    /// [`SpecError`] if there is no layer, a width is zero or an initializer is out of its domain.
    pub fn new(input: usize, layers: Vec<Layer>) -> Result<Self, SpecError> {
        let network = Self { input, layers };
        network.check()?;
        Ok(network)
    }

    /// `depth` equal dense layers of `width` on an input of the same width.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn uniform(
        width: usize,
        depth: usize,
        weights: &Initializer,
        activation: &Activation,
    ) -> Result<Self, SpecError> {
        let layer = Layer::Dense(Dense::new(width, weights.clone(), activation.clone()));
        Self::new(width, vec![layer; depth])
    }

    /// A perceptron through `widths` (input first), `activation` after all but the last layer.
    ///
    /// # Errors
    /// As [`Network::new`]; at least two widths are needed.
    pub fn perceptron(
        widths: &[usize],
        weights: &Initializer,
        activation: &Activation,
    ) -> Result<Self, SpecError> {
        let (&input, rest) =
            widths.split_first().ok_or_else(|| SpecError::Network("no widths given".to_owned()))?;
        let last = rest.len().saturating_sub(1);
        let layers = rest.iter().enumerate().map(|(i, &width)| {
            let phi = if i == last { Activation::Linear } else { activation.clone() };
            Layer::Dense(Dense::new(width, weights.clone(), phi))
        });
        Self::new(input, layers.collect())
    }

    /// The dense layers in the order of the signal, those within residual branches included.
    pub fn dense(&self) -> impl Iterator<Item = &Dense> {
        let mut found = Vec::new();
        collect_dense(&self.layers, &mut found);
        found.into_iter()
    }

    /// The weight shape of every dense layer, in the order of [`Network::dense`].
    ///
    /// # Errors
    /// [`SpecError::Domain`] if a width is zero.
    pub fn shapes(&self) -> Result<Vec<WeightShape>, SpecError> {
        let mut width = self.input;
        self.dense()
            .map(|dense| {
                let shape = WeightShape::dense(width, dense.width);
                width = dense.width;
                shape
            })
            .collect()
    }

    /// The fans of every dense layer.
    ///
    /// # Errors
    /// As [`Network::shapes`].
    pub fn fans(&self) -> Result<Vec<Fans>, SpecError> {
        Ok(self.shapes()?.iter().map(WeightShape::fans).collect())
    }

    /// Width of the output.
    pub fn output(&self) -> usize {
        self.dense().last().map_or(self.input, |d| d.width)
    }

    /// Whether the network is dense layers only.
    pub fn is_plain(&self) -> bool {
        self.layers.iter().all(|layer| matches!(layer, Layer::Dense(_)))
    }

    /// Checks widths, initializers and parameters.
    ///
    /// # Errors
    /// [`SpecError`] naming the layer and the remedy.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.input == 0 {
            return Err(SpecError::Network(
                "the input width is 0; it must be at least 1".to_owned(),
            ));
        }
        if self.dense().next().is_none() {
            return Err(SpecError::Network(
                "depth 0: a network needs at least one dense layer".to_owned(),
            ));
        }
        check_layers(&self.layers, self.input).map(|_| ())
    }
}

fn collect_dense<'a>(layers: &'a [Layer], found: &mut Vec<&'a Dense>) {
    for layer in layers {
        match layer {
            Layer::Dense(dense) => found.push(dense),
            Layer::Residual { branch, .. } => collect_dense(branch, found),
            _ => {}
        }
    }
}

/// Returns the width behind the layers.
fn check_layers(layers: &[Layer], mut width: usize) -> Result<usize, SpecError> {
    for (index, layer) in layers.iter().enumerate() {
        let here = |why: String| SpecError::Network(format!("layer {}: {why}", index + 1));
        match layer {
            Layer::Dense(dense) => {
                if dense.width == 0 {
                    return Err(here("width 0; it must be at least 1".to_owned()));
                }
                let shape = WeightShape::dense(width, dense.width)?;
                dense.weights.law(&shape).map_err(|e| here(e.to_string()))?;
                if matches!(
                    dense.bias,
                    Initializer::Orthogonal { .. }
                        | Initializer::Identity { .. }
                        | Initializer::Sparse { .. }
                ) {
                    return Err(here(format!("{} is no initializer for a bias", dense.bias)));
                }
                dense.bias.law(&shape).map_err(|e| here(e.to_string()))?;
                width = dense.width;
            }
            Layer::Dropout { keep } => {
                if !(*keep > 0.0 && *keep <= 1.0) {
                    return Err(here(format!(
                        "dropout keeps {keep}; it must be above 0 and at most 1"
                    )));
                }
            }
            Layer::BatchNorm { epsilon }
            | Layer::LayerNorm { epsilon }
            | Layer::RmsNorm { epsilon } => {
                if !(*epsilon >= 0.0 && epsilon.is_finite()) {
                    return Err(here(format!(
                        "epsilon {epsilon}; it must be finite and not negative"
                    )));
                }
            }
            Layer::Residual { scale, branch } => {
                if !scale.is_finite() {
                    return Err(here(format!("residual scale {scale}; it must be finite")));
                }
                let end = check_layers(branch, width)?;
                if end != width {
                    return Err(here(format!(
                        "the residual branch turns width {width} into {end}; it must return to {width}"
                    )));
                }
            }
            Layer::Activation { .. } => {}
        }
    }
    Ok(width)
}

/// The written form, with repetition.
#[derive(Serialize, Deserialize)]
struct NetworkText {
    input: usize,
    layers: Vec<Repeated>,
}

#[derive(Serialize, Deserialize)]
struct Repeated {
    #[serde(default = "one", skip_serializing_if = "is_one")]
    repeat: usize,
    #[serde(flatten)]
    layer: Layer,
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_one(n: &usize) -> bool {
    *n == 1
}

/// Far above any network that could be measured, and below what would exhaust the memory.
const MAX_LAYERS: usize = 1_000_000;

impl TryFrom<NetworkText> for Network {
    type Error = SpecError;

    fn try_from(text: NetworkText) -> Result<Self, SpecError> {
        let total = text.layers.iter().fold(0usize, |sum, r| sum.saturating_add(r.repeat));
        if total > MAX_LAYERS {
            return Err(SpecError::domain(
                "the number of layers",
                total as f64,
                "at most 1,000,000",
            ));
        }
        let layers = text.layers.into_iter().flat_map(|r| vec![r.layer; r.repeat]).collect();
        Self::new(text.input, layers)
    }
}

impl From<Network> for NetworkText {
    fn from(network: Network) -> Self {
        let mut layers: Vec<Repeated> = Vec::new();
        for layer in network.layers {
            match layers.last_mut() {
                Some(last) if last.layer == layer => last.repeat += 1,
                _ => layers.push(Repeated { repeat: 1, layer }),
            }
        }
        Self { input: network.input, layers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_survives_its_written_form() {
        let relu = Activation::Relu;
        let mut network =
            Network::perceptron(&[20, 30, 30, 30, 5], &Initializer::he_normal(), &relu)
                .expect("valid");
        network
            .layers
            .push(Layer::Residual { scale: 0.5, branch: vec![Layer::RmsNorm { epsilon: 1e-5 }] });
        let text = toml::to_string(&network).expect("serialises");
        assert!(text.contains("repeat = 3"), "{text}");
        assert_eq!(toml::from_str::<Network>(&text).expect("parses"), network);
    }

    #[test]
    fn impossible_networks_are_refused_with_the_layer() {
        let he = Initializer::he_normal();
        let relu = Activation::Relu;
        let error =
            |network: Result<Network, SpecError>| network.expect_err("must be refused").to_string();
        assert!(error(Network::uniform(10, 0, &he, &relu)).contains("depth 0"));
        assert!(error(Network::perceptron(&[10, 0], &he, &relu)).contains("layer 1"));
        let branch = vec![Layer::Dense(Dense::new(7, he.clone(), relu.clone()))];
        assert!(
            error(Network::new(5, vec![Layer::Residual { scale: 1.0, branch }]))
                .contains("return to 5")
        );
        let layers = vec![Layer::Dense(Dense::new(5, he, relu)), Layer::Dropout { keep: 0.0 }];
        assert!(error(Network::new(5, layers)).contains("layer 2"));
        let huge = "input = 3\n[[layers]]\nkind = \"dense\"\nwidth = 3\nweights = \"he_normal\"\nrepeat = 4000000000";
        assert!(toml::from_str::<Network>(huge).is_err());
    }
}
