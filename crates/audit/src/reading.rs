//! The ways in which a weight's axes can be read.

use gainstage_spec::{Layout, WeightShape};

use crate::role::Role;

/// One way to read the axes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) shape: WeightShape,
    pub(crate) layout: Layout,
}

/// The order that a name stands for.
pub(crate) fn by_name(name: &str, conv1d: bool) -> Option<(Layout, &'static str)> {
    let gpt2 = ["c_attn.weight", "c_proj.weight", "c_fc.weight"];
    if conv1d && gpt2.iter().any(|end| name.ends_with(end)) {
        return Some((Layout::InOut, "GPT-2's Conv1D stores [in, out]"));
    }
    let last = name.rsplit(['.', '/']).next().unwrap_or(name).to_ascii_lowercase();
    let last = last.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':' || c == '_');
    if last.ends_with("kernel") {
        Some((Layout::InOut, "Keras and Flax name a kernel [in, out]"))
    } else if last.ends_with("weight")
        || last.starts_with("weight_")
        || (last == "original" && name.contains("parametrizations.weight."))
    {
        Some((Layout::OutIn, "PyTorch names a weight [out, in]"))
    } else if name.ends_with("/w") {
        Some((Layout::InOut, "Haiku names a weight w and stores [in, out]"))
    } else {
        None
    }
}

pub(crate) fn reading(
    shape: Result<WeightShape, gainstage_spec::SpecError>,
    layout: Layout,
) -> Option<Reading> {
    shape.ok().map(|shape| Reading { shape, layout })
}

/// The readings of a weight in one layout, likeliest first.
pub(crate) fn readings(role: Role, name: &str, shape: &[usize], layout: Layout) -> Vec<Reading> {
    let mut list = Vec::new();
    let mut push = |shape| list.extend(reading(shape, layout));
    if let (Role::Dense, [a, b]) = (role, shape) {
        match layout {
            Layout::OutIn => push(WeightShape::dense(*b, *a)),
            Layout::InOut => push(WeightShape::dense(*a, *b)),
        }
        return list;
    }
    if layout == Layout::InOut && has_heads(name, shape) {
        // Flax and Keras keep heads apart: [in, heads, size], and [heads, size, out] on the way out.
        let [a, b, c] = [shape[0], shape[1], shape[2]];
        if name.contains("out") {
            push(WeightShape::dense(a * b, c));
        } else {
            push(WeightShape::dense(a, b * c));
        }
    }
    if shape.len() >= 3 {
        let (first, second, kernel) = match layout {
            Layout::OutIn => (shape[0], shape[1], &shape[2..]),
            Layout::InOut => {
                (shape[shape.len() - 1], shape[shape.len() - 2], &shape[..shape.len() - 2])
            }
        };
        // A second axis of one is a depthwise kernel, or an image of one channel; fan-in is the same.
        let depthwise =
            second == 1 && first > 1 && (name.contains("dw") || name.contains("depthwise"));
        let groups = if depthwise { first } else { 1 };
        push(WeightShape::conv(kernel, second * groups, first, groups));
        if groups > 1 {
            // PyTorch does not divide the fan-out by the groups.
            push(WeightShape::conv(kernel, second, first, 1));
        }
        push(WeightShape::conv_transposed(kernel, first, second, 1));
    }
    list
}

/// Kernels of attention that keep the heads on an axis of their own.
pub(crate) fn has_heads(name: &str, shape: &[usize]) -> bool {
    let attention = ["query", "key", "value", "attention", "attn"];
    let component = name.rsplit(['.', '/']).nth(1).unwrap_or_default();
    shape.len() == 3
        && name.ends_with("kernel")
        && attention.iter().any(|word| {
            component.contains(word) || (component == "out" && name.to_lowercase().contains(word))
        })
}
