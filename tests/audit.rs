//! `gainstage audit` as a contract: fields, formats, exit codes, one sentence for wrong input.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn gainstage() -> Command {
    let mut command = Command::cargo_bin("gainstage").expect("the binary is built with the tests");
    command.arg("--quiet");
    command
}

/// Checkpoints of PyTorch, Keras and JAX, written by `crates/audit/fixtures/write.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/audit/fixtures").join(name)
}

fn run(name: &str, extra: &[&str]) -> (Value, i32) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let output = gainstage()
        .arg("audit")
        .arg(fixture(name))
        .arg("--out")
        .arg(dir.path())
        .args(["--format", "json"])
        .args(extra)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}: {said}"));
    (json, output.status.code().expect("an exit code"))
}

#[test]
fn the_fields_of_the_contract_are_there() {
    let (json, code) = run("torch_default.safetensors", &[]);
    assert_eq!((json["version"].as_u64(), code), (Some(1), 0));
    let weight = &json["tensors"].as_array().expect("tensors")[1];
    for field in [
        "name",
        "shape",
        "fan_in",
        "fan_out",
        "layout",
        "law",
        "std_expected",
        "std_measured",
        "ratio",
        "p_value",
        "factor",
        "verdict",
    ] {
        assert!(weight.get(field).is_some(), "{field}");
    }
    assert_eq!(weight["name"], "0.weight");
    assert_eq!((&weight["law"], &weight["layout"]), (&"pytorch_linear".into(), &"out-in".into()));
    assert_eq!((weight["fan_in"].as_u64(), weight["fan_out"].as_u64()), (Some(64), Some(96)));
    assert_eq!((&weight["verdict"], &weight["factor"]), (&"ok".into(), &Value::Null));
    let ratio = weight["ratio"].as_f64().expect("a ratio");
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    assert_eq!(json["counts"]["seen"], 8);
}

#[test]
fn frameworks_own_checkpoints_are_right() {
    for (name, law) in [
        ("torch_default.safetensors", "pytorch_linear"),
        ("keras_default.npz", "glorot_uniform"),
        ("keras_he_normal.npz", "keras_he_normal"),
        ("jax_lecun.safetensors", "keras_lecun_normal"),
        ("gpt2.safetensors", "normal(std = 0.02)"),
    ] {
        let (json, code) = run(name, &[]);
        assert_eq!(code, 0, "{name}: {:#}", json["tensors"]);
        let laws: Vec<&str> = json["tensors"]
            .as_array()
            .expect("tensors")
            .iter()
            .filter(|t| t["role"] == "dense")
            .filter_map(|t| t["law"].as_str())
            .collect();
        assert!(laws.contains(&law), "{name}: {laws:?}");
        assert_eq!(json["step_zero"]["likely"], true, "{name}");
    }
}

#[test]
fn planted_faults_of_frameworks_checkpoints_are_named() {
    for (name, tensor, verdict, factor) in [
        ("torch_sqrt2.safetensors", "2.weight", "wrong scale", Some("sqrt(2)")),
        ("torch_outlier.safetensors", "2.weight", "outliers", None),
        ("torch_nan.safetensors", "2.weight", "not finite", None),
        ("torch_row.safetensors", "2.weight", "out of line", None),
        ("torch_rank.safetensors", "2.weight", "rank deficient", None),
        ("keras_sameseed.npz", "dense_1/kernel", "duplicate", None),
        ("jax_swapped.safetensors", "params/Dense_1/kernel", "wrong scale", Some("swapped fans")),
        ("jax_uncorrected.safetensors", "params/Dense_1/kernel", "wrong scale", Some("0.8796")),
        (
            "jax_variance.safetensors",
            "params/Dense_1/kernel",
            "wrong scale",
            Some("variance used as std"),
        ),
        ("gpt2_noscale.safetensors", "h.1.mlp.c_proj.weight", "wrong scale", Some("sqrt(2L)")),
    ] {
        let (json, code) = run(name, &[]);
        assert_eq!(code, 1, "{name}");
        let found = json["tensors"]
            .as_array()
            .expect("tensors")
            .iter()
            .find(|t| t["name"] == tensor)
            .unwrap_or_else(|| panic!("{name}: no {tensor}"));
        assert_eq!(found["verdict"], verdict, "{name}: {found:#}");
        let named = found["factor"].as_str();
        assert!(factor.is_none_or(|f| named.is_some_and(|n| n.contains(f))), "{name}: {found:#}");
    }
}

#[test]
fn a_trained_checkpoint_is_told_from_a_wrong_one() {
    let (json, code) = run("torch_trained.safetensors", &[]);
    assert_eq!(code, 1);
    assert_eq!(json["step_zero"]["likely"], false, "{:#}", json["step_zero"]);
    let (wrong, _) = run("torch_sqrt2.safetensors", &[]);
    assert_eq!(wrong["step_zero"]["likely"], true);
}

#[test]
fn presets_judge_and_a_rule_that_matches_nothing_is_an_error() {
    let (json, code) = run("gpt2_noscale.safetensors", &["--expect", "gpt2"]);
    assert_eq!(code, 1);
    let wrong: Vec<&str> = json["tensors"]
        .as_array()
        .expect("tensors")
        .iter()
        .filter(|t| t["verdict"] != "ok")
        .filter_map(|t| t["name"].as_str())
        .collect();
    assert!(!wrong.is_empty() && wrong.iter().all(|n| n.ends_with("c_proj.weight")), "{wrong:?}");
    assert_eq!(run("gpt2.safetensors", &["--expect", "gpt2"]).1, 0);
    gainstage()
        .arg("audit")
        .arg(fixture("torch_default.safetensors"))
        .args(["--expect", "gpt2"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("matches no tensor"));
}

#[test]
fn every_format_is_written_and_rules_and_baselines_go_round() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("out");
    let audit = |name: &str, args: &[&str]| {
        let mut command = gainstage();
        command.arg("audit").arg(fixture(name)).arg("--out").arg(&out).args(args);
        command
    };
    let rules = dir.path().join("rules.toml");
    let written = rules.to_string_lossy().into_owned();
    audit("torch_default.safetensors", &["--write-rules", &written])
        .assert()
        .code(0)
        .stdout(predicate::str::contains("false-alarm rate"));
    for file in
        ["index.html", "results.json", "junit.xml", "results.sarif", "document.json", "report.md"]
    {
        assert!(out.join("audit").join(file).exists(), "{file}");
    }
    audit("torch_default.safetensors", &["--expect", &written]).assert().code(0);
    audit("torch_sqrt2.safetensors", &["--expect", &written]).assert().code(1);
    let baseline = dir.path().join("known.json");
    audit("torch_sqrt2.safetensors", &[]).assert().code(1);
    std::fs::copy(out.join("audit/results.json"), &baseline).expect("copies");
    let known = baseline.to_string_lossy().into_owned();
    audit("torch_sqrt2.safetensors", &["--baseline", &known]).assert().code(0);
    audit("torch_nan.safetensors", &["--baseline", &known]).assert().code(1);

    let sarif = audit("torch_sqrt2.safetensors", &["--format", "sarif"]).output().expect("runs");
    let sarif: Value = serde_json::from_slice(&sarif.stdout).expect("JSON");
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "wrong-scale");
    let junit = audit("torch_sqrt2.safetensors", &["--format", "junit"]).output().expect("runs");
    let junit = String::from_utf8(junit.stdout).expect("UTF-8");
    assert!(junit.contains("<failure message=") && junit.contains("failures=\"1\""), "{junit}");
    audit("torch_sqrt2.safetensors", &["--format", "csv"])
        .assert()
        .stdout(predicate::str::starts_with("name,shape,dtype"));
    audit("torch_sqrt2.safetensors", &["--format", "markdown"])
        .assert()
        .stdout(predicate::str::contains("| --- |"));
}

#[test]
fn threads_do_not_change_a_byte() {
    let of = |threads: &str| run("gpt2_noscale.safetensors", &["--threads", threads]).0;
    assert_eq!(of("1"), of("7"));
}

#[test]
fn wrong_input_ends_with_code_2_and_one_sentence() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let damaged = dir.path().join("damaged.safetensors");
    let mut bytes = std::fs::read(fixture("torch_default.safetensors")).expect("reads");
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&damaged, &bytes).expect("writes");
    let (damaged, empty) = (damaged.to_string_lossy().into_owned(), dir.path().join("empty"));
    std::fs::create_dir(&empty).expect("a folder");
    let empty = empty.to_string_lossy().into_owned();
    let right = fixture("torch_default.safetensors").to_string_lossy().into_owned();
    let cases: [(&[&str], &str); 8] = [
        (&["/no/such/file"], "/no/such/file"),
        (&[&damaged], "claims bytes"),
        (&[&empty], "without weight files"),
        (&[&right, "--expect", "gtp2"], "gtp2"),
        (&[&right, "--expect", "none.toml"], "none.toml"),
        (&[&right, "--rate", "2"], "2"),
        (&[&right, "--tolerance", "0"], "tolerance is 0"),
        (&[&right, "--baseline", &right], "torch_default"),
    ];
    for (args, named) in cases {
        let assert =
            gainstage().arg("audit").arg("--out").arg(dir.path()).args(args).assert().code(2);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(named) && said.trim().lines().count() == 1, "{args:?}: {said}");
        assert!(assert.get_output().stdout.is_empty(), "{args:?}");
    }
    gainstage()
        .args(["gain", "tanh", "--format", "sarif"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("belong to gainstage audit"));
}

#[test]
fn what_follows_for_a_stack_is_told() {
    let (json, code) = run("torch_default.safetensors", &[]);
    let consequence = &json["checkpoints"][0]["consequence"];
    assert_eq!((code, consequence["classes"].as_u64()), (0, Some(10)));
    let number = |value: &Value| value.as_f64().expect("a number");
    // PyTorch's default loses a factor of six a layer under ReLU: the logits are tiny, the loss is ln 10.
    assert!((number(&consequence["loss"]) - 10f64.ln()).abs() < 0.05);
    let layers = consequence["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 4);
    assert!(number(&layers[3]["forward"]) < 0.02 && number(&layers[0]["gradient"]) < 0.02);
    // One layer of four is sqrt(2) too large: twice the signal from there on, twice the gradient up to there.
    let (json, _) = run("torch_sqrt2.safetensors", &[]);
    let layers =
        json["checkpoints"][0]["consequence"]["layers"].as_array().expect("layers").clone();
    let ratio =
        |i: usize, of: &str| number(&layers[i][of]) / number(&layers[i][format!("{of}_meant")]);
    assert!((ratio(0, "forward") - 1.0).abs() < 0.1 && (ratio(0, "gradient") - 2.0).abs() < 0.25);
    assert!((ratio(3, "forward") - 2.0).abs() < 0.25 && (ratio(3, "gradient") - 1.0).abs() < 0.1);
    // A transformer is no chain, and that is said.
    let (json, _) = run("gpt2.safetensors", &[]);
    assert!(json["checkpoints"][0]["consequence"].is_null());
    assert!(
        json["checkpoints"][0]["not_followed"].as_str().expect("a reason").contains("no plain")
    );
}

#[test]
fn checkpoints_of_one_folder_are_judged_one_by_one() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["torch_default.safetensors", "torch_trained.safetensors", "keras_default.npz"] {
        std::fs::copy(fixture(name), dir.path().join(name)).expect("copies");
    }
    let (json, code) = run(&dir.path().display().to_string(), &[]);
    assert_eq!(code, 1);
    let of: Vec<(&str, Option<bool>, u64)> = json["checkpoints"]
        .as_array()
        .expect("checkpoints")
        .iter()
        .map(|c| {
            let findings = c["findings"].as_u64().expect("a count");
            (c["name"].as_str().expect("a name"), c["step_zero"]["likely"].as_bool(), findings)
        })
        .collect();
    assert_eq!(of[0], ("keras_default", Some(true), 0));
    assert_eq!(of[1], ("torch_default", Some(true), 0));
    assert_eq!((of[2].0, of[2].1), ("torch_trained", Some(false)));
    let reason = json["step_zero"]["reason"].as_str().expect("a reason");
    assert_eq!(reason, "1 of 3 checkpoints look trained: torch_trained");
}
