//! What one framework or network starts with by design and another by mistake: each rule with its twin.

mod common;

use common::{Array, open, report, safetensors};
use gainstage_audit::{Audit, Options, Rules, Severity, TensorRecord, Verdict, audit};
use gainstage_spec::{Layout, WeightShape};

fn dense(name: &str, law: &str, i: usize, o: usize, layout: Layout, layer: u32) -> Array {
    Array::draw(name, law, &WeightShape::dense(i, o).expect("a shape"), layout, 21, layer)
}

fn conv(name: &str, law: &str, i: usize, o: usize, layer: u32) -> Array {
    let shape = WeightShape::conv(&[3, 3], i, o, 1).expect("a shape");
    Array::draw(name, law, &shape, Layout::OutIn, 21, layer)
}

fn of(audit: &Audit, severity: Severity) -> Vec<&TensorRecord> {
    audit.tensors.iter().filter(|t| t.severity() == Some(severity)).collect()
}

fn silent(arrays: &[Array]) -> Audit {
    let audit = report(arrays, "F32");
    assert!(of(&audit, Severity::Finding).is_empty(), "{}", audit.summary());
    assert!(of(&audit, Severity::Warning).is_empty(), "{}", audit.summary());
    audit
}

/// The one tensor with a finding.
fn only(arrays: &[Array]) -> TensorRecord {
    let audit = report(arrays, "F32");
    let list = of(&audit, Severity::Finding);
    let laws: Vec<_> = audit.tensors.iter().map(|t| (&t.name, &t.law, t.ratio)).collect();
    assert_eq!(list.len(), 1, "{} {laws:?}", audit.summary());
    list[0].clone()
}

fn scaled(mut arrays: Vec<Array>, index: usize, factor: f32) -> Vec<Array> {
    arrays[index].values.iter_mut().for_each(|x| *x *= factor);
    arrays
}

/// A stack of [in, out] weights with zero biases, each law by its fan-in.
fn stack(name: impl Fn(usize, &str) -> String, law: impl Fn(usize) -> String) -> Vec<Array> {
    let widths = [300usize, 120, 90, 200, 90, 10];
    let (weight, bias) = if name(0, "w").ends_with("/w") { ("w", "b") } else { ("kernel", "bias") };
    let mut arrays = Vec::new();
    for (l, pair) in widths.windows(2).enumerate() {
        let (i, o) = (pair[0], pair[1]);
        let mut drawn = dense(&name(l, weight), &law(i), i, o, Layout::InOut, l as u32);
        drawn.name = name(l, weight);
        arrays.push(drawn);
        arrays.push(Array::new(&name(l, bias), &[o], vec![0.0; o]));
    }
    arrays
}

fn haiku(l: usize, what: &str) -> String {
    format!("mlp/~/linear_{l}/{what}")
}

fn flax(l: usize, what: &str) -> String {
    let what = if what == "w" { "kernel" } else { what };
    format!("params/Dense_{l}/{what}")
}

fn uncorrected(fan_in: usize) -> String {
    format!("truncated_normal(std = {})", 1.0 / (fan_in as f64).sqrt())
}

#[test]
fn a_cut_that_is_not_corrected_is_haikus_default_and_others_mistake() {
    let audit = silent(&stack(haiku, uncorrected));
    for weight in audit.tensors.iter().filter(|t| t.role.is_weight()) {
        assert_eq!(weight.layout.as_deref(), Some("in-out"));
        assert!(weight.findings.iter().any(|f| f.text.contains("Haiku's default")));
    }
    silent(&stack(haiku, |_| "keras_lecun_normal".to_owned()));
    // Without a bias beside it, and square.
    let square: Vec<Array> = (0..4)
        .map(|l| dense(&haiku(l, "w"), &uncorrected(80), 80, 80, Layout::InOut, l as u32))
        .collect();
    silent(&square);
    let wrong = report(&stack(flax, uncorrected), "F32");
    assert_eq!(of(&wrong, Severity::Finding).len(), 5, "{}", wrong.summary());
    assert!(of(&wrong, Severity::Finding).iter().all(|t| t.factor.as_deref() == Some("0.8796")));
}

#[test]
fn a_fault_among_haikus_defaults_is_found() {
    for (factor, name) in [(0.5f32.sqrt(), "1/sqrt(2)"), (10.0, "10"), (0.879_625_66, "0.8796")] {
        let found = only(&scaled(stack(haiku, uncorrected), 4, factor));
        assert_eq!(found.name, haiku(2, "w"));
        let names = found.factor.unwrap_or_default();
        assert!(names.split(" or ").any(|n| n == name), "{names}");
    }
    let whole = dense(&haiku(2, "w"), "lecun_normal", 90, 200, Layout::InOut, 99);
    let mut arrays = stack(haiku, uncorrected);
    arrays[4] = whole;
    let found = only(&arrays);
    assert_eq!(
        (found.name.as_str(), found.factor.as_deref()),
        ("mlp/~/linear_2/w", Some("1/0.8796"))
    );
}

const HE_OUT: &str = "variance_scaling(scale = 2, mode = fan_out, distribution = truncated_normal)";
const PYTORCH_OUT: &str =
    "variance_scaling(scale = 0.3333333333333333, mode = fan_out, distribution = uniform)";
const LECUN_OUT: &str =
    "variance_scaling(scale = 1, mode = fan_out, distribution = truncated_normal)";

#[test]
fn hes_rule_by_fan_out_in_every_dense_layer_is_a_warning_and_other_laws_by_it_are_exchanged() {
    let audit = report(&stack(flax, |_| HE_OUT.to_owned()), "F32");
    assert!(!audit.has_findings(), "{}", audit.summary());
    let warned = of(&audit, Severity::Warning);
    assert_eq!(warned.len(), 5, "{}", audit.summary());
    for tensor in warned {
        assert_eq!(tensor.factor.as_deref(), Some("swapped fans"));
        assert!(tensor.findings[0].text.contains("law = \"variance_scaling("));
    }
    // One width throughout: the first and the last layer tell.
    let square = |law: &str| -> Vec<Array> {
        (0..8u32)
            .map(|l| {
                let (i, o) = (if l == 0 { 40 } else { 128 }, if l == 7 { 20 } else { 128 });
                let law = if l == 0 || l == 7 { law } else { "keras_he_normal" };
                dense(&flax(l as usize, "w"), law, i, o, Layout::InOut, 70 + l)
            })
            .collect()
    };
    assert!(!report(&square(HE_OUT), "F32").has_findings());
    let mut one = square("keras_he_normal");
    one[0] = square(HE_OUT).swap_remove(0);
    assert_eq!(only(&one).name, flax(0, "w"));
    // A fault among them is one beside the fan-out.
    for factor in [10.0, 1.3, 0.5f32.sqrt()] {
        let found = only(&scaled(stack(flax, |_| HE_OUT.to_owned()), 4, factor));
        assert_eq!((found.name, found.verdict), (flax(2, "w"), Verdict::WrongScale));
        assert!((found.ratio.expect("a ratio") / f64::from(factor) - 1.0).abs() < 0.05);
    }
    // Only the first tells.
    let mut first = square(HE_OUT);
    first.truncate(7);
    assert!(!report(&first, "F32").has_findings());
    let audit = report(&stack(flax, |_| LECUN_OUT.to_owned()), "F32");
    assert_eq!(of(&audit, Severity::Finding).len(), 5, "{}", audit.summary());
    // One layer among others by fan-in.
    let mut arrays = stack(flax, |_| "keras_he_normal".to_owned());
    arrays[4] = dense(&flax(2, "kernel"), HE_OUT, 90, 200, Layout::InOut, 50);
    let found = only(&arrays);
    assert_eq!((found.name, found.factor.as_deref()), (flax(2, "kernel"), Some("swapped fans")));
    // All but one.
    let mut arrays = stack(flax, |_| HE_OUT.to_owned());
    arrays[4] = dense(&flax(2, "kernel"), "keras_he_normal", 90, 200, Layout::InOut, 50);
    assert!(report(&arrays, "F32").has_findings());
}

#[test]
fn a_classifier_by_fan_out_behind_convolutions_by_fan_out_is_right() {
    let network = |classifier: &str| {
        let law = "he_normal(mode = fan_out)";
        let channels = [16, 32, 48, 48, 96];
        let mut arrays: Vec<Array> = channels
            .windows(2)
            .enumerate()
            .map(|(l, c)| conv(&format!("layer{l}.conv.weight"), law, c[0], c[1], l as u32))
            .collect();
        arrays.push(dense("fc.weight", classifier, 96, 50, Layout::OutIn, 9));
        arrays
    };
    let classifier = silent(&network("he_normal(mode = fan_out)")).tensors.pop().expect("the last");
    assert!((classifier.ratio.expect("a ratio") - 1.0).abs() < 0.1);
    // By a rule that the convolutions do not follow.
    assert_eq!(only(&network(PYTORCH_OUT)).name, "fc.weight");
}

#[test]
fn orthogonal_matrices_of_few_rows_have_their_scale_about_zero() {
    let arrays = |factor: f32| {
        let shapes = [(19, 2), (64, 19), (64, 64), (40, 64), (9, 40), (3, 9)];
        let list: Vec<Array> = shapes
            .iter()
            .enumerate()
            .map(|(l, (i, o))| {
                dense(&format!("net.{l}.weight"), "orthogonal", *i, *o, Layout::OutIn, l as u32)
            })
            .collect();
        scaled(list, 0, factor)
    };
    let text = "[[rule]]\nmatch = \"**.weight\"\nlaw = \"orthogonal\"";
    let rules = Rules::parse("rules", text).expect("rules");
    let options = Options { rules: Some(rules), ..Options::default() };
    let with_rules =
        |arrays: &[Array]| audit(&open(safetensors(arrays, "F32")), &options).expect("an audit");
    silent(&arrays(1.0));
    let right = with_rules(&arrays(1.0));
    assert!(!right.has_findings(), "{}", right.summary());
    for tensor in &right.tensors {
        let ratio = tensor.ratio.expect("a ratio");
        assert!((ratio - 1.0).abs() < 1e-5, "{}: {ratio}", tensor.name);
    }
    // 38 values; chance would hide 40%, an exact scale hides nothing beyond the tolerance.
    let wrong = with_rules(&arrays(1.02));
    assert_eq!(of(&wrong, Severity::Finding).len(), 1, "{}", wrong.summary());
    assert!((wrong.tensors[0].ratio.expect("a ratio") - 1.02).abs() < 1e-4);
    let found = only(&arrays(1.02));
    assert_eq!((found.name.as_str(), found.verdict), ("net.0.weight", Verdict::WrongScale));
}

/// Coordinates into sine layers of one width and out of them.
fn sines(inputs: usize, width: usize, omega: f64) -> Vec<Array> {
    let mut arrays = Vec::new();
    for l in 0..6u32 {
        let (i, o) = match l {
            0 => (inputs, width),
            5 => (width, 3),
            _ => (width, width),
        };
        let bound = if l == 0 { 1.0 / i as f64 } else { (6.0 / i as f64).sqrt() / omega };
        let law = format!("uniform(low = {}, high = {bound})", -bound);
        arrays.push(dense(&format!("net.{l}.weight"), &law, i, o, Layout::OutIn, l));
        let bound = 1.0 / (i as f64).sqrt();
        let law = format!("uniform(low = {}, high = {bound})", -bound);
        let mut bias = dense("b", &law, 1, o, Layout::OutIn, 60 + l);
        (bias.name, bias.shape) = (format!("net.{l}.bias"), vec![o]);
        arrays.push(bias);
    }
    arrays
}

#[test]
fn sine_layers_have_a_law_for_the_first_and_one_for_the_others() {
    for inputs in [1, 2, 3] {
        for width in [64, 128, 256] {
            for omega in [30.0, 1.0] {
                let audit = silent(&sines(inputs, width, omega));
                let bound = 1.0 / inputs as f64;
                let law = format!("uniform(low = {}, high = {bound})", -bound);
                assert_eq!(audit.tensors[0].law.as_ref(), Some(&law));
            }
        }
    }
    // The same first layer before another custom is no stack of sines.
    let mut other = sines(2, 128, 30.0);
    for l in 1..6u32 {
        let at = 2 * l as usize;
        let (o, i) = (other[at].shape[0], other[at].shape[1]);
        let name = other[at].name.clone();
        other[at] = dense(&name, "pytorch_linear", i, o, Layout::OutIn, l);
    }
    assert_eq!(only(&other).name, "net.0.weight");
}

#[test]
fn faulty_sine_layers_are_found() {
    let first = |bound: f64| {
        let mut arrays = sines(2, 128, 30.0);
        let law = format!("uniform(low = {}, high = {bound})", -bound);
        arrays[0] = dense("net.0.weight", &law, 2, 128, Layout::OutIn, 33);
        only(&arrays)
    };
    // The hidden layers' law; twice the bound; a bound of 1, which another rule may give.
    for bound in [(6.0f64 / 2.0).sqrt() / 30.0, 1.0] {
        let found = first(bound);
        assert_eq!((found.name.as_str(), found.verdict), ("net.0.weight", Verdict::WrongScale));
        assert!((found.ratio.expect("a ratio") / (bound / 0.5) - 1.0).abs() < 0.1);
        assert!(found.findings[0].text.contains("sine layers"), "{}", found.findings[0].text);
    }
    let found = only(&scaled(sines(2, 128, 30.0), 4, 30.0));
    assert_eq!((found.name.as_str(), found.verdict), ("net.2.weight", Verdict::WrongScale));
    assert!((found.ratio.expect("a ratio") - 30.0).abs() < 0.5);
}

/// One recurrent layer of PyTorch's, and a classifier.
fn recurrent(directions: &[&str], gates: usize) -> Vec<Array> {
    let (inputs, hidden) = (48, 64);
    let bound = 1.0 / (hidden as f64).sqrt();
    let law = format!("uniform(low = {}, high = {bound})", -bound);
    let mut arrays = Vec::new();
    for (d, direction) in directions.iter().enumerate() {
        for (k, (kind, i)) in [("ih", inputs), ("hh", hidden)].into_iter().enumerate() {
            let layer = (2 * d + k) as u32;
            let name = format!("rnn.weight_{kind}_l0{direction}");
            arrays.push(dense(&name, &law, i, gates * hidden, Layout::OutIn, layer));
        }
    }
    arrays.push(dense("fc.weight", "pytorch_linear", 64, 200, Layout::OutIn, 9));
    arrays
}

#[test]
fn the_weights_of_one_recurrent_layer_are_held_against_each_other() {
    for directions in [&["", "_reverse"][..], &[""]] {
        for gates in [1, 3, 4] {
            silent(&recurrent(directions, gates));
            if directions.len() == 1 && gates == 1 {
                continue;
            }
            for at in 0..2 * directions.len() {
                // Of two, one at another known law may be meant so.
                let factors =
                    if directions.len() == 2 { &[1.3, 0.5f32.sqrt(), 2.0][..] } else { &[1.45] };
                for &factor in factors {
                    let arrays = scaled(recurrent(directions, gates), at, factor);
                    let name = arrays[at].name.clone();
                    let found = only(&arrays);
                    assert_eq!((found.name, found.verdict), (name, Verdict::WrongScale));
                    assert!((found.ratio.expect("a ratio") - f64::from(factor)).abs() < 0.1);
                }
            }
        }
    }
    // Orthogonal weights of the state, as is usual, and both kinds by rules of their own.
    let mut arrays = recurrent(&["", "_reverse"], 4);
    for at in [1, 3] {
        let name = arrays[at].name.clone();
        arrays[at] = dense(&name, "orthogonal", 64, 256, Layout::OutIn, 40 + at as u32);
    }
    silent(&arrays);
    for at in [0, 2] {
        let name = arrays[at].name.clone();
        arrays[at] = dense(&name, "glorot_uniform", 48, 256, Layout::OutIn, 50 + at as u32);
    }
    silent(&arrays);
}

#[test]
fn the_gates_of_flaxs_cells_are_of_one_kind() {
    let cells = |wrong: Option<(&str, f32)>| {
        let mut arrays = Vec::new();
        for cell in 0..2u32 {
            for (g, gate) in ["i", "f", "g", "o"].iter().enumerate() {
                for (k, (of, law)) in
                    [("i", "keras_lecun_normal"), ("h", "orthogonal")].into_iter().enumerate()
                {
                    let i = if of == "i" && cell == 0 { 24 } else { 96 };
                    let name = format!("params/OptimizedLSTMCell_{cell}/{of}{gate}/kernel");
                    let layer = 8 * cell + 2 * g as u32 + k as u32;
                    let mut drawn = dense(&name, law, i, 96, Layout::InOut, layer);
                    if let Some((wrong, factor)) = wrong.filter(|(wrong, _)| name.contains(wrong)) {
                        assert!(name.contains(wrong));
                        drawn.values.iter_mut().for_each(|x| *x *= factor);
                    }
                    arrays.push(drawn);
                }
            }
        }
        arrays.push(dense(
            "params/Dense_0/kernel",
            "keras_lecun_normal",
            96,
            10,
            Layout::InOut,
            90,
        ));
        arrays
    };
    silent(&cells(None));
    for (name, factor) in [("Cell_1/hf/", 0.5f32.sqrt()), ("Cell_0/ig/", 3.0f32.sqrt().recip())] {
        let found = only(&cells(Some((name, factor))));
        assert!(
            found.name.contains(name) && found.verdict == Verdict::WrongScale,
            "{}",
            found.name
        );
        assert!((found.ratio.expect("a ratio") - f64::from(factor)).abs() < 0.05);
    }
}

#[test]
fn a_first_convolution_with_a_known_law_of_its_own_is_a_warning_and_without_one_a_finding() {
    let network = |law: &str| {
        let mut arrays = vec![conv("stem.weight", law, 3, 64, 30)];
        for l in 0..4u32 {
            let name = format!("layer{l}.conv.weight");
            arrays.push(conv(&name, "he_normal(mode = fan_out)", 64, 48 + 16 * l as usize, l));
        }
        arrays
    };
    silent(&network("he_normal(mode = fan_out)"));
    let audit = report(&network("pytorch_linear"), "F32");
    assert!(!audit.has_findings(), "{}", audit.summary());
    let warned = of(&audit, Severity::Warning);
    assert_eq!(warned.len(), 1, "{}", audit.summary());
    assert_eq!(warned[0].name, "stem.weight");
    let found = only(&scaled(network("he_normal(mode = fan_out)"), 0, 2.0));
    assert_eq!(found.name, "stem.weight");
    assert!(found.factor.is_some_and(|f| f.split(" or ").any(|name| name == "2")));
}

#[test]
fn fans_are_those_of_a_plain_kernel_unless_a_bias_tells_that_it_is_transposed() {
    // 24 x 9 and 96 x 9 inputs: half of the fan is what the doubled layer would have as a transposed one.
    let network = || {
        let channels = [3, 24, 96, 24, 48];
        let mut arrays: Vec<Array> = channels
            .windows(2)
            .enumerate()
            .map(|(l, c)| {
                conv(&format!("features.{l}.weight"), "pytorch_linear", c[0], c[1], l as u32)
            })
            .collect();
        arrays.push(dense("classifier.weight", "pytorch_linear", 48, 10, Layout::OutIn, 9));
        arrays
    };
    silent(&network());
    let found = only(&scaled(network(), 2, 2.0));
    assert_eq!((found.name.as_str(), found.factor.as_deref()), ("features.2.weight", Some("2")));
    // [in, out, 3, 3], by He's rule for the inputs that it has.
    let transposed = |biases: bool| {
        let mut arrays = Vec::new();
        for (l, (i, o)) in [(64usize, 32usize), (96, 32), (32, 64), (64, 16)].iter().enumerate() {
            let shape = WeightShape::conv_transposed(&[3, 3], *i, *o, 1).expect("a shape");
            let name = format!("up.{l}.weight");
            arrays.push(Array::draw(&name, "he_normal", &shape, Layout::OutIn, 4, l as u32));
            if biases {
                arrays.push(Array::new(&format!("up.{l}.bias"), &[*o], vec![0.0; *o]));
            }
        }
        arrays
    };
    silent(&transposed(true));
    assert!(!report(&transposed(false), "F32").has_findings());
}

#[test]
fn a_last_layer_with_a_law_of_its_own_has_no_vote() {
    let network = |head: &str, factor: f32| {
        let widths = [82, 24, 236, 84, 94, 20];
        let list = (0..5)
            .map(|l| {
                let law = if l == 4 { head } else { "he_normal" };
                let name = format!("layers.{l}.weight");
                dense(&name, law, widths[l], widths[l + 1], Layout::OutIn, l as u32)
            })
            .collect();
        scaled(list, 0, factor)
    };
    silent(&network("lecun_normal", 1.0));
    let found = only(&network("lecun_normal", 2f32.sqrt()));
    assert_eq!(
        (found.name.as_str(), found.factor.as_deref()),
        ("layers.0.weight", Some("sqrt(2)"))
    );
}

#[test]
fn a_convolution_at_zero_before_a_classifier_is_no_head() {
    let network = |zero: usize| {
        let mut arrays: Vec<Array> = (0..4)
            .map(|l| conv(&format!("features.{l}.weight"), "pytorch_linear", 32, 32, l as u32))
            .collect();
        arrays.push(dense("classifier.weight", "pytorch_linear", 32, 10, Layout::OutIn, 9));
        arrays[zero].values.fill(0.0);
        arrays
    };
    assert_eq!(only(&network(3)).verdict, Verdict::Constant);
    // The classifier itself may start as nothing.
    assert!(!report(&network(4), "F32").has_findings());
}

#[test]
fn a_drawn_bias_is_pytorchs_default_and_not_another_frameworks() {
    // A convolutional network with one dense layer, whose bias is drawn.
    let network = |weight: &str, offset: &str| -> Vec<Array> {
        let mut arrays = Vec::new();
        for l in 0..4 {
            let mut drawn = conv(&format!("conv_{l}/weight"), "he_normal", 32, 32, l);
            drawn.name = format!("conv_{l}/weight");
            arrays.push(drawn);
            arrays.push(Array::new(&format!("conv_{l}/bias"), &[32], vec![0.0; 32]));
        }
        let mut head = dense("head/weight", "he_normal", 300, 40, Layout::InOut, 9);
        head.name = format!("head/{weight}");
        arrays.push(head);
        let shape = WeightShape::dense(300, 40).expect("a shape");
        let mut bias = Array::draw("head/bias", "pytorch_linear", &shape, Layout::InOut, 22, 9);
        (bias.shape, bias.name) = (vec![40], format!("head/{offset}"));
        bias.values.truncate(40);
        arrays.push(bias);
        arrays
    };
    let default = report(&network("weight", "bias"), "F32");
    assert!(of(&default, Severity::Finding).iter().all(|t| t.name != "head/bias"));
    let drawn = report(&network("kernel", "bias"), "F32");
    assert!(of(&drawn, Severity::Finding).iter().any(|t| t.name == "head/bias"));
}

#[test]
fn an_offset_that_is_not_zero_is_found() {
    let norms = |odd: f64| -> Vec<Array> {
        let mut arrays = stack(haiku, uncorrected);
        for l in 0..4 {
            arrays.push(Array::new(&format!("layer_norm_{l}/scale"), &[30], vec![1.0; 30]));
            let value = if l == 2 { odd as f32 } else { 0.0 };
            arrays.push(Array::new(&format!("layer_norm_{l}/offset"), &[30], vec![value; 30]));
        }
        arrays
    };
    silent(&norms(0.0));
    assert_eq!(only(&norms(0.1)).name, "layer_norm_2/offset");
}

#[test]
fn of_two_blocks_the_one_whose_law_nothing_else_follows_is_wrong() {
    // Both laws are round numbers, which people write.
    let blocks = |odd: f64| -> Vec<Array> {
        let mut arrays = Vec::new();
        for block in 0..2 {
            for (at, (what, o)) in [("attn.qkv", 192), ("mlp.up", 256)].into_iter().enumerate() {
                let std = if block == 1 && at == 0 { odd } else { 0.02 };
                let name = format!("h.{block}.{what}.weight");
                let law = format!("normal(std = {std})");
                arrays.push(dense(&name, &law, 64, o, Layout::OutIn, 2 * block + at as u32));
            }
        }
        arrays
    };
    silent(&blocks(0.02));
    assert_eq!(only(&blocks(0.002)).name, "h.1.attn.qkv.weight");
    assert_eq!(only(&blocks(0.05)).name, "h.1.attn.qkv.weight");
}
