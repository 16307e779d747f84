//! One fault in one layer of an otherwise right network, each found and named.

mod common;

use common::{Array, open, report, safetensors};
use gainstage_audit::{Audit, Options, Rules, Severity, Verdict, audit};
use gainstage_spec::{Layout, WeightShape};

const WIDTHS: [usize; 6] = [300, 200, 150, 170, 90, 10];
/// The layer that the fault is planted in: 150 inputs, 170 outputs.
const LAYER: usize = 2;

fn network(law: &str) -> Vec<Array> {
    (0..WIDTHS.len() - 1)
        .map(|l| {
            let shape = WeightShape::dense(WIDTHS[l], WIDTHS[l + 1]).expect("a shape");
            Array::draw(&format!("layers.{l}.weight"), law, &shape, Layout::OutIn, 5, l as u32)
        })
        .collect()
}

fn planted(law: &str, fault: impl Fn(&mut Vec<f32>)) -> Audit {
    let mut arrays = network(law);
    fault(&mut arrays[LAYER].values);
    report(&arrays, "F32")
}

/// The planted layer has the verdict, and no other layer has a finding.
fn found(audit: &Audit, verdict: Verdict) -> &gainstage_audit::TensorRecord {
    assert!(audit.has_findings(), "{}", audit.summary());
    for (index, tensor) in audit.tensors.iter().enumerate() {
        let wrong = tensor.severity() == Some(Severity::Finding);
        assert_eq!(wrong, index == LAYER, "{}", audit.summary());
    }
    let tensor = &audit.tensors[LAYER];
    assert_eq!(tensor.verdict, verdict, "{}", audit.summary());
    tensor
}

#[test]
fn factors_are_named_under_every_law() {
    for law in
        ["he_normal", "glorot_uniform", "keras_he_normal", "pytorch_linear", "normal(std = 0.02)"]
    {
        for (name, factor) in [
            ("sqrt(2)", 2f32.sqrt()),
            ("1/sqrt(2)", 2f32.sqrt().recip()),
            ("1/sqrt(3)", 3f32.sqrt().recip()),
            ("0.8796", 0.879_625_66),
            ("sqrt(6)", 6f32.sqrt()),
            ("1/sqrt(6)", 6f32.sqrt().recip()),
            ("2", 2.0),
        ] {
            let audit = planted(law, |w| w.iter_mut().for_each(|x| *x *= factor));
            let tensor = found(&audit, Verdict::WrongScale);
            assert_eq!(tensor.factor.as_deref(), Some(name), "{law}: {}", audit.summary());
            let ratio = tensor.ratio.expect("a ratio");
            assert!((ratio / f64::from(factor) - 1.0).abs() < 0.02, "{law} x {name}: {ratio}");
        }
    }
}

#[test]
fn variances_standard_deviations_and_fans_are_told_apart() {
    let std = (2.0f32 / 150.0).sqrt();
    for (name, own) in [
        ("variance used as std", std * std),
        ("std used as variance", std.sqrt()),
        ("swapped fans", (2.0f32 / 170.0).sqrt()),
    ] {
        let audit = planted("he_normal", |w| w.iter_mut().for_each(|x| *x *= own / std));
        let tensor = found(&audit, Verdict::WrongScale);
        assert_eq!(tensor.factor.as_deref(), Some(name), "{}", audit.summary());
        assert_eq!(tensor.law.as_deref(), Some("he_normal"));
    }
}

#[test]
fn values_that_no_sampler_draws_are_found() {
    let he = |fault: &dyn Fn(&mut Vec<f32>)| planted("he_normal", fault);
    found(&he(&|w| w[17] = f32::NAN), Verdict::NotFinite);
    found(&he(&|w| w[17] = f32::INFINITY), Verdict::NotFinite);
    found(&he(&|w| w.fill(0.01)), Verdict::Constant);
    found(&he(&|w| w.fill(0.0)), Verdict::Constant);
    // A variance that looks normal: a thousand sigma three times.
    found(&he(&|w| [40, 9000, 20_001].iter().for_each(|i| w[*i] = 115.0)), Verdict::Outliers);
    let clip = 2.0 * (2.0f32 / 150.0).sqrt();
    found(&he(&|w| w.iter_mut().for_each(|x| *x = x.clamp(-clip, clip))), Verdict::Clipped);
    found(&he(&|w| w.iter_mut().for_each(|x| *x += 0.02)), Verdict::WrongMean);
}

#[test]
fn dependence_is_found() {
    let he = |fault: &dyn Fn(&mut Vec<f32>)| planted("he_normal", fault);
    let row =
        |w: &mut Vec<f32>, factor: f32| w[3 * 150..4 * 150].iter_mut().for_each(|x| *x *= factor);
    found(&he(&|w| row(w, 3.0)), Verdict::OutOfLine);
    found(&he(&|w| row(w, 0.0)), Verdict::OutOfLine);
    found(&he(&|w| w.iter_mut().skip(7).step_by(150).for_each(|x| *x *= 3.0)), Verdict::OutOfLine);
    found(&he(&|w| w.copy_within(0..150, 300)), Verdict::RankDeficient);
    // Rank 40 of 150, at the right scale.
    let a = Array::draw(
        "a",
        "normal(std = 1)",
        &WeightShape::dense(40, 170).expect("a shape"),
        Layout::OutIn,
        1,
        1,
    );
    let b = Array::draw(
        "b",
        "normal(std = 1)",
        &WeightShape::dense(150, 40).expect("a shape"),
        Layout::OutIn,
        1,
        2,
    );
    let low = he(&|w| {
        for (i, x) in w.iter_mut().enumerate() {
            let (o, n) = (i / 150, i % 150);
            let dot: f32 = (0..40).map(|k| a.values[o * 40 + k] * b.values[k * 150 + n]).sum();
            *x = dot * (2.0f32 / 150.0 / 40.0).sqrt();
        }
    });
    let tensor = found(&low, Verdict::RankDeficient);
    assert!(tensor.findings[0].text.contains("rank 40"), "{}", tensor.findings[0].text);
}

#[test]
fn copies_and_correlations_are_found_and_ties_are_not_faults() {
    let mut arrays = network("he_normal");
    let first = arrays[1].values.clone();
    let scale = (200.0f32 / 150.0).sqrt();
    arrays[LAYER].values.iter_mut().zip(&first).for_each(|(x, y)| *x = y * scale);
    let audit = report(&arrays, "F32");
    let tensor = found(&audit, Verdict::Duplicate);
    assert!(tensor.findings[0].text.contains("1.15"), "{}", tensor.findings[0].text);

    let mut arrays = network("he_normal");
    arrays[LAYER].values.iter_mut().zip(&first).for_each(|(x, y)| *x = 0.8 * *x + 0.6 * y * scale);
    found(&report(&arrays, "F32"), Verdict::Correlated);

    let table = Array::draw(
        "wte.weight",
        "normal(std = 0.02)",
        &WeightShape::embedding(100, 64).expect("a shape"),
        Layout::OutIn,
        1,
        0,
    );
    let head = Array::new("lm_head.weight", &table.shape.clone(), table.values.clone());
    let tied = report(&[table, head], "F32");
    assert!(!tied.has_findings(), "{}", tied.summary());
    assert!(tied.summary().contains("tied to wte.weight"), "{}", tied.summary());
}

#[test]
fn another_shape_of_the_right_scale_is_found() {
    let shape = WeightShape::dense(150, 170).expect("a shape");
    for (law, other) in
        [("he_normal", "he_uniform"), ("he_uniform", "he_normal"), ("keras_he_normal", "he_normal")]
    {
        let wrong = Array::draw("w", other, &shape, Layout::OutIn, 9, 9);
        let audit = planted(law, |w| w.clone_from(&wrong.values));
        found(&audit, Verdict::WrongLaw);
    }
}

#[test]
fn a_mistake_in_every_layer_is_named_without_rules() {
    for (factor, name) in [(0.879_625_66f32, "0.8796"), (1.0, "ok")] {
        let mut arrays = network("keras_he_normal");
        arrays.iter_mut().for_each(|a| a.values.iter_mut().for_each(|x| *x *= factor));
        let audit = report(&arrays, "F32");
        assert_eq!(audit.has_findings(), factor != 1.0, "{}", audit.summary());
        if factor != 1.0 {
            assert!(
                audit.tensors.iter().all(|t| t.factor.as_deref() == Some(name)),
                "{}",
                audit.summary()
            );
        }
    }
}

/// GPT-2 in small: 3 blocks of width 64, as Hugging Face stores it.
fn gpt2(scaled: bool) -> Vec<Array> {
    let d = 64;
    let mut arrays = Vec::new();
    let mut layer = 0;
    let mut draw = |name: String, a: usize, b: usize, std: f64| {
        layer += 1;
        let shape = WeightShape::dense(a, b).expect("a shape");
        arrays.push(Array::draw(
            &name,
            &format!("normal(std = {std})"),
            &shape,
            Layout::InOut,
            3,
            layer,
        ));
    };
    let residual = if scaled { 0.02 / 6f64.sqrt() } else { 0.02 };
    draw("wte.weight".into(), 500, d, 0.02);
    draw("wpe.weight".into(), 128, d, 0.02);
    for block in 0..3 {
        draw(format!("h.{block}.attn.c_attn.weight"), d, 3 * d, 0.02);
        draw(format!("h.{block}.attn.c_proj.weight"), d, d, residual);
        draw(format!("h.{block}.mlp.c_fc.weight"), d, 4 * d, 0.02);
        draw(format!("h.{block}.mlp.c_proj.weight"), 4 * d, d, residual);
    }
    arrays.push(Array::new("ln_f.weight", &[d], vec![1.0; d]));
    arrays.push(Array::new("ln_f.bias", &[d], vec![0.0; d]));
    arrays
}

#[test]
fn a_depth_factor_that_was_never_applied_is_named_with_and_without_rules() {
    for preset in [None, Some("gpt2")] {
        let rules = preset.map(|name| Rules::load(name.as_ref()).expect("a preset"));
        let options = Options { rules, ..Options::default() };
        let of =
            |scaled| audit(&open(safetensors(&gpt2(scaled), "F32")), &options).expect("an audit");
        let right = of(true);
        assert!(!right.has_findings(), "{preset:?}: {}", right.summary());
        assert_eq!(right.layers, Some(3));
        let wrong = of(false);
        for tensor in &wrong.tensors {
            let residual = tensor.name.ends_with("c_proj.weight");
            assert_eq!(
                tensor.verdict == Verdict::WrongScale,
                residual,
                "{preset:?}: {}",
                wrong.summary()
            );
            if residual {
                assert_eq!(
                    tensor.factor.as_deref(),
                    Some("sqrt(2L) or sqrt(6)").filter(|_| preset.is_some()).or(Some("sqrt(2L)"))
                );
                assert!((tensor.ratio.expect("a ratio") - 6f64.sqrt()).abs() < 0.1);
            }
        }
    }
}

#[test]
fn rules_decide_what_inference_cannot() {
    let rules = |law: &str| {
        let text = format!("[[rule]]\nmatch = \"**.weight\"\nlaw = \"{law}\"");
        Options { rules: Some(Rules::parse("rules", &text).expect("rules")), ..Options::default() }
    };
    let file = || open(safetensors(&network("lecun_normal"), "F32"));
    assert!(!audit(&file(), &rules("lecun_normal")).expect("an audit").has_findings());
    let wrong = audit(&file(), &rules("he_normal")).expect("an audit");
    assert!(
        wrong.tensors.iter().all(|t| t.factor.as_deref() == Some("1/sqrt(2)")),
        "{}",
        wrong.summary()
    );
    let shape = audit(&file(), &rules("lecun_uniform")).expect("an audit");
    assert!(shape.tensors.iter().all(|t| t.verdict == Verdict::WrongLaw), "{}", shape.summary());
    // A tensor that no rule names is a warning.
    let text = "[[rule]]\nmatch = \"layers.0.weight\"\nlaw = \"lecun_normal\"";
    let one =
        Options { rules: Some(Rules::parse("rules", text).expect("rules")), ..Options::default() };
    let partial = audit(&file(), &one).expect("an audit");
    assert!(!partial.has_findings());
    assert_eq!(partial.counts.warnings, 4);
}

#[test]
fn rules_written_from_a_right_checkpoint_hold_on_another_draw_and_not_on_a_wrong_one() {
    let first = report(&network("keras_he_normal"), "F32");
    let rules = Rules::parse("written", &first.to_rules()).expect("what it writes it reads");
    let options = Options { rules: Some(rules), ..Options::default() };
    let again =
        audit(&open(safetensors(&network("keras_he_normal"), "BF16")), &options).expect("an audit");
    assert!(!again.has_findings(), "{}", again.summary());
    let other =
        audit(&open(safetensors(&network("he_normal"), "F32")), &options).expect("an audit");
    assert!(other.tensors[LAYER].verdict == Verdict::WrongLaw, "{}", other.summary());
}

#[test]
fn a_baseline_makes_known_findings_warnings_and_tells_what_changed() {
    let known = planted("he_normal", |w| w[17] = f32::NAN);
    let mut again = planted("he_normal", |w| w[17] = f32::NAN);
    again.compare(&known);
    assert!(!again.has_findings(), "{}", again.summary());
    let mut moved = planted("he_normal", |w| w.iter_mut().for_each(|x| *x *= 1.3));
    moved.compare(&report(&network("he_normal"), "F32"));
    assert!(moved.summary().contains("in the baseline"), "{}", moved.summary());
}
