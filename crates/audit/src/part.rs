//! A tensor's part in its checkpoint: role, fans and order of the axes, from names, shapes and its bias.

use std::collections::BTreeMap;

use gainstage_spec::{Layout, WeightShape};

use crate::array::Tensor;
use crate::haiku::is_haiku;
use crate::reading::{Reading, by_name, reading, readings};
use crate::role::{Role, buffer, role_of};

/// A tensor's part in the network.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) role: Role,
    /// For weights, the likeliest reading of the axes first; for a bias, its layer's.
    pub(crate) readings: Vec<Reading>,
    /// `None` where nothing decides between the two orders.
    pub(crate) layout: Option<Layout>,
    /// What decided.
    pub(crate) why: String,
    /// Whether Haiku names its weights so.
    pub(crate) haiku: bool,
}

/// Facts about the whole checkpoint that decide single tensors.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    shapes: BTreeMap<&'a str, &'a [usize]>,
    /// GPT-2's Conv1D stores [in, out] under PyTorch's names.
    conv1d: bool,
}

/// Ends of names that say weight, and what says bias in their place.
const WEIGHTS: [(&str, &str); 8] = [
    ("weight", "bias"),
    ("kernel", "bias"),
    ("weights", "biases"),
    ("weights", "bias"),
    ("embedding", "bias"),
    ("w", "b"),
    ("W", "b"),
    ("W", "B"),
];

/// What stands for a weight under PyTorch's weight and spectral normalization.
const PARAMETRIZED: [&str; 4] = [
    "parametrizations.weight.original1",
    "parametrizations.weight.original",
    "weight_v",
    "weight_orig",
];

impl<'a> Names<'a> {
    pub(crate) fn new(tensors: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let shapes: BTreeMap<&str, &[usize]> =
            tensors.into_iter().map(|t| (t.own_name(), t.shape())).collect();
        let wide = |name: &str| matches!(shapes[name], [a, b] if b > a);
        let conv1d = shapes.keys().any(|name| {
            (name.ends_with("c_attn.weight") || name.ends_with("c_fc.weight")) && wide(name)
        });
        Self { shapes, conv1d }
    }

    /// The bias that belongs to a weight, and its length.
    pub(crate) fn bias_of(&self, name: &str) -> Option<(&'a str, usize)> {
        let vector = |of: &str| match self.shapes.get_key_value(of) {
            Some((name, [n])) => Some((*name, *n)),
            _ => None,
        };
        WEIGHTS
            .iter()
            .find_map(|(weight, bias)| {
                // `fc1.weight`, but also `W1`: the last word, digits aside.
                let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
                let stem = word.strip_suffix(weight)?;
                vector(&format!("{stem}{bias}{}", &name[word.len()..]))
            })
            .or_else(|| {
                let stem = PARAMETRIZED.iter().find_map(|own| name.strip_suffix(own))?;
                vector(&format!("{stem}bias"))
            })
            // `weight_ih_l0`, `in_proj_weight`
            .or_else(|| vector(&name.replacen("weight", "bias", 1)).filter(|(of, _)| *of != name))
    }

    /// Weight normalization's row norms (Salimans and Kingma 2016), stored as [out, 1, ...] beside the directions.
    fn is_magnitude(&self, name: &str) -> bool {
        [("original0", "original1"), ("weight_g", "weight_v")].iter().any(|(own, other)| {
            name.strip_suffix(own)
                .is_some_and(|stem| self.shapes.contains_key(format!("{stem}{other}").as_str()))
        })
    }

    /// In a list of arrays without names, the two biases of Keras's GRU, [2, 3 units] behind its recurrent kernel of
    /// [units, 3 units].
    fn is_gru_bias(&self, name: &str, shape: &[usize]) -> bool {
        let before = name
            .strip_prefix("arr_")
            .and_then(|n| n.parse::<usize>().ok()?.checked_sub(1))
            .and_then(|n| self.shapes.get(format!("arr_{n}").as_str()));
        matches!((before, shape), (Some([units, gates]), [2, own]) if own == gates && *gates == 3 * units)
    }

    /// The shape of the weight that a bias belongs to.
    fn weight_of(&self, name: &str) -> Option<(&'a str, &'a [usize])> {
        WEIGHTS
            .iter()
            .find_map(|(weight, bias)| {
                let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
                let stem = word.strip_suffix(bias)?;
                let of = format!("{stem}{weight}{}", &name[word.len()..]);
                self.shapes.get_key_value(of.as_str()).map(|(k, v)| (*k, *v))
            })
            .or_else(|| {
                let of = name.replacen("bias", "weight", 1);
                self.shapes.get_key_value(of.as_str()).map(|(k, v)| (*k, *v))
            })
            .or_else(|| {
                let stem = name.strip_suffix("bias")?;
                PARAMETRIZED.iter().find_map(|own| {
                    let of = format!("{stem}{own}");
                    self.shapes.get_key_value(of.as_str()).map(|(k, v)| (*k, *v))
                })
            })
            .filter(|(of, _)| *of != name)
    }

    /// Role, fans and layout of a tensor; `Err` with the reason for what is no parameter.
    pub(crate) fn part(
        &self,
        name: &str,
        shape: &[usize],
        forced: Option<Layout>,
    ) -> Result<Part, String> {
        if shape.contains(&0) {
            return Err("it holds no values".to_owned());
        }
        if let Some(reason) = buffer(name, shape) {
            return Err(reason.to_owned());
        }
        let role = if self.is_magnitude(name) {
            Role::Vector
        } else if self.is_gru_bias(name, shape) {
            Role::Bias
        } else {
            role_of(name, shape)
        };
        Ok(match role {
            Role::Dense | Role::Conv => self.weight(role, name, shape, forced),
            Role::Embedding => {
                let reading = reading(
                    WeightShape::embedding(shape[0], shape[1..].iter().product()),
                    Layout::OutIn,
                );
                let readings = reading.into_iter().collect();
                Part {
                    role,
                    readings,
                    layout: None,
                    why: "a table, which has one order".to_owned(),
                    haiku: false,
                }
            }
            Role::Bias => {
                let weight = self.weight_of(name).filter(|(_, s)| s.len() >= 2);
                let readings = weight.map_or_else(Vec::new, |(name, shape)| {
                    self.weight(role_of(name, shape), name, shape, forced).readings
                });
                Part { role, readings, layout: None, why: String::new(), haiku: false }
            }
            _ => {
                Part { role, readings: Vec::new(), layout: None, why: String::new(), haiku: false }
            }
        })
    }

    fn weight(&self, role: Role, name: &str, shape: &[usize], forced: Option<Layout>) -> Part {
        let mut both = [
            readings(role, name, shape, Layout::OutIn),
            readings(role, name, shape, Layout::InOut),
        ];
        let (layout, why) = match forced {
            Some(layout) => (Some(layout), "as told".to_owned()),
            None => self.layout(name, shape, &both),
        };
        let bias = self.bias_of(name).map(|(_, n)| n);
        // A transposed convolution shows by its bias: one value for each of the *second* axis.
        if let (Some(n), Some(layout)) = (bias, layout) {
            let of = if layout == Layout::OutIn { &mut both[0] } else { &mut both[1] };
            if let Some(at) = of.iter().position(|r| r.shape.outputs() == n) {
                of.swap(0, at);
            }
        }
        let [mut out_in, in_out] = both;
        // PyTorch scales all weights of a recurrent layer by its hidden size, of which the first axis
        // holds 4 (LSTM), 3 (GRU) or 1; the weight of the state has it as its second.
        if name.contains("weight_ih_l") || name.contains("weight_hh_l") {
            let state = name.replacen("weight_ih_l", "weight_hh_l", 1);
            let known = match self.shapes.get(state.as_str()) {
                Some([a, b]) if *b > 0 && [b, &(3 * b), &(4 * b)].contains(&a) => Some(a / b),
                _ => None,
            };
            for gates in [4, 3, 1].into_iter().filter(|g| known.is_none_or(|own| own == *g)) {
                let hidden = shape[0] / gates;
                if shape[0].is_multiple_of(gates) {
                    out_in.extend(reading(WeightShape::dense(hidden, shape[0]), Layout::OutIn));
                }
            }
        }
        let readings = match layout {
            Some(Layout::InOut) => [in_out, out_in].concat(),
            _ => [out_in, in_out].concat(),
        };
        Part { role, readings, layout, why, haiku: is_haiku(name) }
    }

    fn layout(
        &self,
        name: &str,
        shape: &[usize],
        both: &[Vec<Reading>; 2],
    ) -> (Option<Layout>, String) {
        let square = shape.len() == 2 && shape[0] == shape[1];
        let outputs = |layout: usize, n: usize| both[layout].iter().any(|r| r.shape.outputs() == n);
        let bias = self.bias_of(name).map(|(_, n)| n);
        let by_name = by_name(name, self.conv1d);
        if let Some(n) = bias {
            match (outputs(0, n), outputs(1, n)) {
                (true, false) => return (Some(Layout::OutIn), format!("its bias has {n} values")),
                (false, true) => return (Some(Layout::InOut), format!("its bias has {n} values")),
                _ => {}
            }
        }
        if let Some((layout, why)) = by_name {
            return (Some(layout), why.to_owned());
        }
        // A kernel's axes are small and alike: [3, 3, 16, 32] and [32, 16, 3, 3].
        let kernel = |axes: &[usize]| axes.iter().all(|n| *n == axes[0] && *n <= 11);
        if let [first, second, .., third, last] = *shape {
            let why = "small equal axes are those of a kernel";
            match (kernel(&[first, second]), kernel(&[third, last])) {
                (true, false) => return (Some(Layout::InOut), why.to_owned()),
                (false, true) => return (Some(Layout::OutIn), why.to_owned()),
                _ => {}
            }
        }
        let why = if square {
            "square, and neither its name nor a bias tells the order; the fans are the same"
        } else {
            "neither its name nor a bias tells the order; both were tried"
        };
        (None, why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    fn checkpoint(tensors: &[(&str, &[usize])]) -> Checkpoint {
        let mut header = Vec::new();
        let mut at = 0;
        for (name, shape) in tensors {
            let size = 4 * shape.iter().product::<usize>();
            header.push(format!(
                r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{at},{}]}}"#,
                at + size
            ));
            at += size;
        }
        let header = format!("{{{}}}", header.join(","));
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + at, 0);
        Checkpoint::from_bytes(std::path::Path::new("test"), file).expect("a right file")
    }

    fn part(tensors: &[(&str, &[usize])], name: &str) -> Part {
        let checkpoint = checkpoint(tensors);
        let names = Names::new(checkpoint.tensors());
        let tensor = checkpoint.tensors().iter().find(|t| t.name() == name).expect("is there");
        names.part(name, tensor.shape(), None).expect("a parameter")
    }

    #[test]
    fn layouts_follow_conventions_and_biases_overrule_them() {
        let fans =
            |p: &Part| (p.readings[0].shape.fans().fan_in(), p.readings[0].shape.fans().fan_out());
        let torch = part(&[("fc.weight", &[10, 30]), ("fc.bias", &[10])], "fc.weight");
        assert_eq!(
            (torch.role, torch.layout, fans(&torch)),
            (Role::Dense, Some(Layout::OutIn), (30, 10))
        );
        let burn = part(&[("fc.weight", &[30, 10]), ("fc.bias", &[10])], "fc.weight");
        assert_eq!((burn.layout, fans(&burn)), (Some(Layout::InOut), (30, 10)));
        let keras = part(&[("dense/kernel", &[30, 10])], "dense/kernel");
        assert_eq!((keras.layout, fans(&keras)), (Some(Layout::InOut), (30, 10)));
        let gpt2 = [
            ("h.0.attn.c_attn.weight", &[8usize, 24] as &[usize]),
            ("h.0.attn.c_proj.weight", &[8, 8]),
        ];
        assert_eq!(part(&gpt2, "h.0.attn.c_proj.weight").layout, Some(Layout::InOut));
        let nano = [
            ("h.0.attn.c_attn.weight", &[24usize, 8] as &[usize]),
            ("h.0.attn.c_proj.weight", &[8, 8]),
        ];
        assert_eq!(part(&nano, "h.0.attn.c_proj.weight").layout, Some(Layout::OutIn));
        let listed = part(&[("arr_0", &[3, 3, 16, 48])], "arr_0");
        assert_eq!((listed.layout, fans(&listed).0), (Some(Layout::InOut), 144));
        assert_eq!(part(&[("arr_0", &[3, 3, 3, 3])], "arr_0").layout, None);
        let plain = part(&[("W1", &[30, 10])], "W1");
        assert_eq!((plain.layout, plain.readings.len()), (None, 2));
        let named = part(&[("W1", &[30, 10]), ("b1", &[10])], "W1");
        assert_eq!(named.layout, Some(Layout::InOut));
    }

    #[test]
    fn convolutions_transposed_ones_and_heads_have_their_fans() {
        let conv = part(&[("c.weight", &[64, 32, 3, 3])], "c.weight");
        assert_eq!((conv.role, conv.readings[0].shape.fans().fan_in()), (Role::Conv, 288));
        let up = part(&[("up.weight", &[64, 32, 2, 2]), ("up.bias", &[32])], "up.weight");
        assert!(up.readings[0].shape.is_transposed());
        assert_eq!((up.layout, up.readings[0].shape.inputs()), (Some(Layout::OutIn), 64));
        let flax = part(&[("conv/kernel", &[3, 3, 16, 32])], "conv/kernel");
        assert_eq!(flax.readings[0].shape.fans().fan_in(), 144);
        let query = part(&[("attn/query/kernel", &[64, 4, 16])], "attn/query/kernel");
        assert_eq!(query.readings[0].shape.fans().fan_in(), 64);
        let depthwise = part(&[("dw.weight", &[64, 1, 3, 3])], "dw.weight");
        assert_eq!(depthwise.readings[0].shape.groups(), 64);
    }

    #[test]
    fn roles_come_from_names() {
        let gru = |units: usize| {
            let list: [(&str, &[usize]); 3] =
                [("arr_0", &[7, 24]), ("arr_1", &[units, 24]), ("arr_2", &[2, 24])];
            part(&list, "arr_2").role
        };
        assert_eq!((gru(8), gru(9)), (Role::Bias, Role::Dense));
        for (name, shape, expected) in [
            ("wte.weight", &[100usize, 8] as &[usize], Role::Embedding),
            ("token_embedder/embedding", &[100, 8], Role::Embedding),
            ("patch_embed.proj.weight", &[8, 3, 4, 4], Role::Conv),
            ("bert.embeddings.LayerNorm.weight", &[8], Role::NormScale),
            ("bn1.running_var", &[8], Role::Statistic),
            ("logit_scale", &[], Role::Vector),
            ("layer.bias", &[8], Role::Bias),
        ] {
            assert_eq!(part(&[(name, shape)], name).role, expected, "{name}");
        }
    }
}
