//! Which draws `propagate` makes, and what it says about it.

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn propagate(args: &[&str]) -> (Command, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::cargo_bin("gainstage").expect("built");
    command.arg("--out").arg(dir.path()).arg("propagate").args(args);
    (command, dir)
}

fn json(args: &[&str]) -> Value {
    let (mut command, _dir) = propagate(args);
    let out = command.args(["--format", "json"]).output().expect("runs");
    serde_json::from_slice(&out.stdout).expect("JSON on standard output")
}

#[test]
fn auto_takes_the_cheaper_exact_method_and_says_why() {
    let small = ["--depth", "3", "--trials", "10"];
    let answer = |more: &[&str]| json(&[&small[..], more].concat());
    let free = answer(&["--width", "100", "--batch", "2"]);
    assert_eq!(free["method"], "matrix-free");
    assert!(free["method_reason"].as_str().expect("a reason").contains("times as fast"));
    // Not exact for uniform, truncated and sparse weights, nor in formats that round the weights.
    for init in ["xavier-uniform", "keras-he-normal", "sparse(0.5)"] {
        let dense = answer(&["--width", "100", "--batch", "2", "--init", init]);
        assert_eq!(dense["method"], "dense", "{init}");
        let reason = dense["method_reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("not be exact"), "{init}: {reason}");
    }
    let half = answer(&["--width", "100", "--batch", "2", "--precision", "bf16"]);
    assert_eq!(half["method"], "dense");
    // A batch far larger than the layers is cheaper with matrices.
    assert_eq!(answer(&["--width", "20", "--batch", "200"])["method"], "dense");
    assert_eq!(
        answer(&["--width", "100", "--batch", "2", "--init", "orthogonal"])["method"],
        "matrix-free"
    );
}

#[test]
fn a_method_that_would_not_be_exact_is_refused_by_name() {
    let (mut command, dir) =
        propagate(&["--init", "he-uniform", "--method", "matrix-free", "--width", "10"]);
    command.assert().code(2).stdout("").stderr(
        predicate::str::contains("would not be exact").and(predicate::str::contains("dense")),
    );
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
    let asked = json(&["--method", "dense", "--width", "10", "--depth", "2", "--trials", "5"]);
    assert_eq!(asked["method"], "dense");
}

#[test]
fn both_methods_side_by_side_agree_in_law() {
    let answer = json(&[
        "--method", "both", "--width", "40", "--depth", "4", "--batch", "2", "--trials", "300",
    ]);
    let comparison = &answer["comparison"];
    assert_eq!(comparison["agrees"], true);
    // Three signals of four layers and the product of both ends; the injected one is constant.
    assert_eq!((&comparison["tests"], &comparison["left_out"]), (&12.into(), &1.into()));
    assert!(comparison["times_as_fast"].as_f64().expect("a ratio") > 0.0);
    let (mut command, dir) = propagate(&["--method", "both", "--init", "he-uniform"]);
    command.assert().code(2).stderr(predicate::str::contains("would not be exact"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
    let (mut command, _dir) = propagate(&["--method", "both", "--sweep", "depth=2,3"]);
    command.assert().code(2).stderr(predicate::str::contains("a sweep takes"));
}

#[test]
fn a_memory_budget_changes_no_byte() {
    let run = |more: &[&str]| {
        let base = ["--method", "dense", "--width", "20", "--depth", "40", "--batch", "4"];
        let args = ["--activation", "tanh", "--trials", "6", "--threads", "1", "--format", "json"];
        propagate(&[&base[..], &args, more].concat()).0.output().expect("runs")
    };
    let (whole, budgeted) = (run(&[]), run(&["--memory", "6KB"]));
    assert!(!whole.stdout.is_empty());
    assert_eq!(whole.stdout, budgeted.stdout);
    let refused = run(&["--memory", "1KB"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("1000 bytes") && said.contains("at least"), "{said}");
}

/// A numpy array of f32, as numpy writes it.
fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

#[test]
fn rows_of_an_array_file_pass_the_network() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: Vec<u8>| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path.display().to_string()
    };
    // Every row has the mean square 9: nine times that of the sphere.
    let values: Vec<f32> = (0..60).map(|i| if i % 7 < 3 { 3.0 } else { -3.0 }).collect();
    let good = write("x.npy", npy("(3, 4, 5)", &values));
    let args = ["--width", "20", "--depth", "3", "--trials", "200", "--batch", "3"];
    let answer = json(&[&args[..], &["--inputs", &good, "--histograms", "10"]].concat());
    let layer = &answer["layers"][0];
    let predicted = layer["forward"]["predicted"].as_f64().expect("a number");
    let sphere = json(&args)["layers"][0]["forward"]["predicted"].as_f64().expect("a number");
    assert!((predicted / sphere - 9.0).abs() < 1e-5, "{predicted} against {sphere}");
    assert_eq!(layer["forward"]["verdict"], "agrees");
    let counted = |h: &Value| -> u64 {
        let inside: u64 =
            h["counts"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
        inside + h["underflow"].as_u64().expect("below") + h["overflow"].as_u64().expect("above")
    };
    assert_eq!(counted(&layer["histograms"]["pre_activation"]), 200 * 3 * 20);

    let refuse = |inputs: &str, said: &str| {
        let (mut command, _dir) = propagate(&[&args[..], &["--inputs", inputs]].concat());
        command.assert().code(2).stdout("").stderr(predicate::str::contains(said));
    };
    refuse(&write("flat.npy", npy("(20,)", &values[..20])), "1 axes");
    refuse(&write("wide.npy", npy("(3, 10)", &values[..30])), "--width 10");
    refuse(&write("few.npy", npy("(2, 20)", &values[..40])), "holds 2 rows");
    refuse(&write("nan.npy", npy("(3, 20)", &[f32::NAN; 60])), "must be finite");
    refuse(&format!("{good}:y"), "no floating-point array \"y\"");
    refuse("missing.npy", "missing.npy");
}
