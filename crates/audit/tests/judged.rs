//! What a checkpoint of a framework may hold and may not: each rule with its twin.

mod common;

use common::{Array, report};
use gainstage_audit::{Audit, Severity, TensorRecord, Verdict};
use gainstage_spec::{Layout, WeightShape};

fn dense(name: &str, law: &str, i: usize, o: usize, layer: u32) -> Array {
    Array::draw(name, law, &WeightShape::dense(i, o).expect("a shape"), Layout::OutIn, 11, layer)
}

/// Six layers of He's rule with zero biases.
fn network() -> Vec<Array> {
    let widths = [120, 90, 90, 140, 90, 120, 10];
    let mut arrays = Vec::new();
    for l in 0..6 {
        arrays.push(dense(
            &format!("net.{l}.weight"),
            "he_normal",
            widths[l],
            widths[l + 1],
            l as u32,
        ));
        arrays.push(Array::new(
            &format!("net.{l}.bias"),
            &[widths[l + 1]],
            vec![0.0; widths[l + 1]],
        ));
    }
    arrays
}

fn wrong(audit: &Audit) -> Vec<&TensorRecord> {
    audit.tensors.iter().filter(|t| t.severity() == Some(Severity::Finding)).collect()
}

/// The one tensor with a finding.
fn only(arrays: &[Array]) -> TensorRecord {
    let audit = report(arrays, "F32");
    let list = wrong(&audit);
    assert_eq!(list.len(), 1, "{}", audit.summary());
    list[0].clone()
}

fn planted(fault: impl Fn(&mut [Array])) -> TensorRecord {
    let mut arrays = network();
    fault(&mut arrays);
    only(&arrays)
}

fn silent(arrays: &[Array]) {
    let audit = report(arrays, "F32");
    assert!(wrong(&audit).is_empty(), "{}", audit.summary());
}

#[test]
fn exact_zeros_are_an_accident_unless_every_column_has_as_many() {
    silent(&network());
    for every in [50u32, 10, 2] {
        let found = planted(|a| {
            // Scattered by the values themselves, so that no line has a share of its own.
            let w = &mut a[4].values;
            for x in
                w.iter_mut().filter(|x| (x.to_bits() >> 3).wrapping_mul(2_654_435_761) % every == 0)
            {
                *x = 0.0;
            }
        });
        assert_eq!((found.name.as_str(), found.verdict), ("net.2.weight", Verdict::WrongLaw));
        assert!(found.findings[0].text.contains("exactly zero"), "{}", found.findings[0].text);
    }
    let mut sparse = network();
    for l in 0..6 {
        let shape = sparse[2 * l].shape.clone();
        let name = sparse[2 * l].name.clone();
        sparse[2 * l] =
            dense(&name, "sparse(sparsity = 0.1, std = 0.02)", shape[1], shape[0], l as u32);
    }
    silent(&sparse);
}

#[test]
fn a_coarse_grid_is_found_and_a_narrow_format_is_not_one() {
    let grid = |step: f32| {
        move |a: &mut [Array]| a[4].values.iter_mut().for_each(|x| *x = (*x / step).round() * step)
    };
    let found = planted(grid(0.01));
    assert_eq!((found.name.as_str(), found.verdict), ("net.2.weight", Verdict::WrongLaw));
    assert!(found.findings.iter().any(|f| f.text.contains("grid of step 1.000e-2")));
    let mut widened = network();
    for a in &mut widened {
        a.values.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
    }
    silent(&widened);
}

#[test]
fn orthogonal_rows_stay_orthogonal_when_bf16_is_widened() {
    let mut arrays: Vec<Array> =
        (0..4).map(|l| dense(&format!("net.{l}.weight"), "orthogonal", 80, 80, l)).collect();
    for a in &mut arrays {
        a.values.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
    }
    silent(&arrays);
    arrays[1] = dense("net.1.weight", "normal(std = 0.1118)", 80, 80, 9);
    let found = only(&arrays);
    assert_eq!((found.name.as_str(), found.verdict), ("net.1.weight", Verdict::WrongLaw));
}

#[test]
fn copies_are_found_transposed_and_rearranged() {
    let named = |found: TensorRecord| {
        assert_eq!(found.verdict, Verdict::Duplicate, "{:?}", found.findings);
        found.findings[0].text.clone()
    };
    // net.0 is 90 x 120 and net.4 is 120 x 90, each scaled by its own fan-in.
    let text = named(planted(|a| {
        let source = a[0].values.clone();
        let scale = (120.0f32 / 90.0).sqrt();
        for (at, x) in a[8].values.iter_mut().enumerate() {
            *x = source[(at % 90) * 120 + at / 90] * scale;
        }
    }));
    assert!(text.contains("transposed"), "{text}");
    let text = named(planted(|a| {
        let source = a[2].values.clone();
        let n = source.len();
        a[2].shape = vec![90, 90];
        let target = dense("net.1.weight", "he_normal", 90, 90, 1);
        assert_eq!(target.values.len(), n);
        // Two layers of one shape: net.1 and a new one in reversed order.
        a[4].values.truncate(0);
        a[4].values.extend(source.iter().rev());
        a[4].shape = vec![90, 90];
        a[5].values.truncate(90);
        a[5].shape = vec![90];
    }));
    assert!(text.contains("in another order"), "{text}");
}

#[test]
fn biases_that_are_not_zero_where_their_kind_is_are_found() {
    let drawn: Vec<f32> = (0..140).map(|i| ((i * 37) % 101) as f32 * 2e-3 - 0.1).collect();
    let found = planted(|a| a[5].values.copy_from_slice(&drawn));
    assert_eq!((found.name.as_str(), found.verdict), ("net.2.bias", Verdict::WrongLaw));
    let found = planted(|a| a[5].values.fill(0.1));
    assert_eq!((found.name.as_str(), found.verdict), ("net.2.bias", Verdict::WrongLaw));
    // PyTorch's own rule in all of them, and a last layer left at it.
    let mut default = network();
    for l in 0..6 {
        let fan_in = default[2 * l].shape[1];
        let law = format!("uniform(low = -{0}, high = {0})", 1.0 / (fan_in as f64).sqrt());
        let n = default[2 * l + 1].values.len();
        let bias = Array::draw(
            "b",
            &law,
            &WeightShape::dense(1, n).expect("a shape"),
            Layout::OutIn,
            3,
            l as u32,
        );
        default[2 * l + 1].values = bias.values;
    }
    silent(&default);
    let mut last = network();
    last[11].values.clone_from(&default[11].values);
    silent(&last);
}

#[test]
fn norm_scales_start_at_one_or_at_zero_and_layer_scales_where_they_like() {
    let with = |value: f32, name: &str| {
        let mut arrays = network();
        for block in 0..4 {
            arrays.push(Array::new(&format!("blocks.{block}.norm1.weight"), &[64], vec![1.0; 64]));
            arrays.push(Array::new(&format!("blocks.{block}.{name}"), &[64], vec![value; 64]));
        }
        arrays
    };
    silent(&with(1.0, "norm2.weight"));
    silent(&with(0.0, "norm2.weight"));
    silent(&with(1e-5, "ls1.gamma"));
    assert_eq!(wrong(&report(&with(0.1, "norm2.weight"), "F32")).len(), 4);
    let mut one = with(1.0, "norm2.weight");
    one.last_mut().expect("a tensor").values.fill(0.0);
    assert_eq!(only(&one).name, "blocks.3.norm2.weight");
    // DCGAN's normal(1, 0.02), and one that training has spread.
    let scales = |std: &str| {
        let mut arrays = network();
        for l in 0..3u32 {
            let law = format!("normal(mean = 1, std = {std})");
            let shape = WeightShape::dense(1, 128).expect("a shape");
            let mut scale =
                Array::draw(&format!("bn{l}.weight"), &law, &shape, Layout::OutIn, 5, l);
            scale.shape = vec![128];
            arrays.push(scale);
            arrays.push(Array::new(&format!("bn{l}.bias"), &[128], vec![0.0; 128]));
        }
        arrays
    };
    silent(&scales("0.02"));
    assert_eq!(wrong(&report(&scales("0.05"), "F32")).len(), 3);
}

#[test]
fn magnitudes_of_weight_normalization_are_no_weights() {
    let of = |magnitude: &str, direction: &str| {
        let mut arrays = Vec::new();
        for l in 0..4u32 {
            let stem = format!("{l}.parametrizations.weight.");
            let v = dense(&format!("{stem}{direction}"), "pytorch_linear", 100, 80, l);
            let norms: Vec<f32> =
                v.values.chunks(100).map(|r| r.iter().map(|x| x * x).sum::<f32>().sqrt()).collect();
            arrays.push(Array::new(&format!("{stem}{magnitude}"), &[80, 1], norms));
            arrays.push(v);
        }
        arrays
    };
    silent(&of("original0", "original1"));
    // Without a direction beside it the same array is a weight, and one that no law draws.
    assert!(!wrong(&report(&of("kernel", "original1"), "F32")).is_empty());
}

#[test]
fn a_branch_that_starts_at_zero_in_every_block_is_right_and_in_one_it_is_not() {
    let blocks = |zero: &dyn Fn(u32) -> bool| {
        let mut arrays = Vec::new();
        for l in 0..4u32 {
            arrays.push(dense(&format!("blocks.{l}.fc1.weight"), "he_normal", 64, 96, 2 * l));
            let mut end = dense(&format!("blocks.{l}.fc2.weight"), "he_normal", 96, 64, 2 * l + 1);
            if zero(l) {
                end.values.fill(0.0);
            }
            arrays.push(end);
        }
        arrays
    };
    silent(&blocks(&|_| true));
    assert_eq!(only(&blocks(&|l| l == 2)).name, "blocks.2.fc2.weight");
}

#[test]
fn a_few_wild_values_are_outliers_and_a_loud_row_is_a_row() {
    let found = planted(|a| [700, 9000].iter().for_each(|i| a[4].values[*i] = 3.0));
    assert_eq!((found.name.as_str(), found.verdict), ("net.2.weight", Verdict::Outliers));
    let found = planted(|a| a[4].values[900..990].iter_mut().for_each(|x| *x *= 10.0));
    assert_eq!((found.name.as_str(), found.verdict), ("net.2.weight", Verdict::OutOfLine));
}

#[test]
fn a_convolution_before_a_classifier_is_no_head() {
    let network = |gain: f32| {
        let mut arrays: Vec<Array> = (0..4u32)
            .map(|l| {
                let shape = WeightShape::conv(&[3, 3], 32, 32, 1).expect("a shape");
                Array::draw(
                    &format!("features.{l}.weight"),
                    "he_normal",
                    &shape,
                    Layout::OutIn,
                    2,
                    l,
                )
            })
            .collect();
        arrays[3].values.iter_mut().for_each(|x| *x *= gain);
        arrays.push(dense("classifier.weight", "he_normal", 32, 10, 9));
        arrays
    };
    silent(&network(1.0));
    let found = only(&network(0.5f32.sqrt()));
    assert_eq!(found.factor.as_deref(), Some("1/sqrt(2)"));
}
