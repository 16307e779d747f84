//! What a tensor is for, from its name and its shape.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reading::has_heads;

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Weight of a fully connected layer.
    Dense,
    /// Kernel of a convolution.
    Conv,
    /// Table of an embedding.
    Embedding,
    /// Added to a layer's output.
    Bias,
    /// Scale of a normalization.
    NormScale,
    /// Running mean or variance of a normalization.
    Statistic,
    /// A vector or scalar whose purpose its name does not tell.
    Vector,
}

impl Role {
    /// Whether tensors of this role mix units, so that a constant one keeps units identical.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::Dense | Self::Conv | Self::Embedding)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dense => "dense",
            Self::Conv => "conv",
            Self::Embedding => "embedding",
            Self::Bias => "bias",
            Self::NormScale => "norm scale",
            Self::Statistic => "statistic",
            Self::Vector => "vector",
        })
    }
}

pub(crate) fn role_of(name: &str, shape: &[usize]) -> Role {
    let lower = name.to_ascii_lowercase();
    let last = lower.rsplit(['.', '/']).next().unwrap_or(&lower);
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let ends =
        |words: &[&str]| words.iter().any(|word| last.starts_with(word) || last.ends_with(word));
    if ends(&["running_mean", "running_var", "moving_mean", "moving_variance"])
        || has(&["batch_stats"])
    {
        return Role::Statistic;
    }
    match shape.len() {
        0 => Role::Vector,
        1 => {
            // Haiku's normalizations have a scale and an offset.
            if ends(&["bias", "beta"])
                || last == "offset"
                || last.trim_end_matches(|c: char| c.is_ascii_digit()) == "b"
            {
                Role::Bias
            } else if ends(&["gamma", "scale"]) || last == "weight" {
                Role::NormScale
            } else {
                Role::Vector
            }
        }
        _ => {
            if last == "bias" {
                return Role::Bias;
            }
            let table = ["embed", "wte", "wpe", "vocab", "lookup", "position", "pos_emb"];
            let projects = ["proj", "patch", "dense", "conv", "mlp", "attn", "fc"];
            let word = lower.rsplit(['.', '/']).take(2).collect::<Vec<_>>().join(".");
            let is_table = has(&table) && !projects.iter().any(|p| word.contains(p));
            if is_table || (shape.len() == 3 && shape[0] == 1) {
                Role::Embedding
            } else if shape.len() == 2 || has_heads(name, shape) {
                Role::Dense
            } else {
                Role::Conv
            }
        }
    }
}

/// What frameworks store beside parameters.
pub(crate) fn buffer(name: &str, shape: &[usize]) -> Option<&'static str> {
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    match last {
        "num_batches_tracked" => Some("a counter of batches"),
        "inv_freq" | "cos_cached" | "sin_cached" | "freqs_cis" => {
            Some("rotary frequencies, computed and not drawn")
        }
        "position_ids" | "relative_position_index" => Some("indices, not weights"),
        "masked_bias" => Some("an attention mask"),
        "bias" if shape.len() == 4 && shape[..2] == [1, 1] => Some("an attention mask"),
        _ => None,
    }
}
