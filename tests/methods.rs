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
