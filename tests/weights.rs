//! `gainstage propagate --weights`: the numbers that PyTorch measures on the same weights and batch, written
//! by `crates/audit/fixtures/propagate/write.py`.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::predicate;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/audit/fixtures/propagate").join(name)
}

fn propagate(name: &str, args: &[&str]) -> (Command, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::cargo_bin("gainstage").expect("built");
    command.arg("--out").arg(dir.path()).arg("propagate").arg(fixture(&format!("{name}.toml")));
    command.arg("--weights").arg(fixture(&format!("{name}.safetensors"))).args(args);
    (command, dir)
}

#[test]
fn given_weights_measure_as_in_pytorch() {
    for name in ["plain", "blocks"] {
        let batch = fixture(&format!("{name}.npz")).display().to_string();
        let (mut command, dir) = propagate(name, &["--inputs", &batch, "--format", "json"]);
        let output = command.assert().code(0).get_output().stdout.clone();
        let found: Value = serde_json::from_slice(&output).expect("JSON");
        let text = std::fs::read_to_string(fixture(&format!("{name}.json"))).expect("reads");
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        let close = |a: &Value, b: &Value, what: &str| {
            let (a, b) = (a.as_f64().expect(what), b.as_f64().expect(what));
            assert!((a / b - 1.0).abs() < 1e-4, "{name} {what}: {a} against PyTorch's {b}");
        };
        close(&found["loss"], &expected["loss"], "loss");
        let layers = expected["layers"].as_array().expect("layers");
        assert_eq!(found["layers"].as_array().expect("layers").len(), layers.len());
        for (a, b) in found["layers"].as_array().expect("layers").iter().zip(layers) {
            close(&a["forward"]["measured"], &b["forward"], "forward");
            close(&a["gradient"]["measured"], &b["gradient"], "gradient");
            close(&a["batch_weight_gradient"], &b["batch_weight_gradient"], "weight gradient");
        }
        assert!(dir.path().join("propagate/index.html").exists());
    }
}

#[test]
fn weights_of_another_scale_are_told() {
    // The file's head is twice as wide as a He network of tanh would have it; the description is changed.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read_to_string(fixture("plain.toml")).expect("reads");
    let network = dir.path().join("network.toml");
    std::fs::write(
        &network,
        text.replace("\"pytorch_linear\"\nbias", "\"he_normal(gain = 3)\"\nbias"),
    )
    .expect("writes");
    let mut command = Command::cargo_bin("gainstage").expect("built");
    command.arg("--out").arg(dir.path()).arg("propagate").arg(&network);
    command.arg("--weights").arg(fixture("plain.safetensors"));
    command.assert().code(1).stdout(predicate::str::contains("differs"));
}

#[test]
fn what_does_not_fit_is_one_sentence() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let network = dir.path().join("network.toml");
    let text = std::fs::read_to_string(fixture("plain.toml")).expect("reads");
    let run = |content: &str, said: &str| {
        std::fs::write(&network, content).expect("writes");
        let mut command = Command::cargo_bin("gainstage").expect("built");
        command.arg("--out").arg(dir.path()).arg("propagate").arg(&network);
        command.arg("--weights").arg(fixture("plain.safetensors"));
        command.assert().code(2).stderr(predicate::str::contains(said));
    };
    run(
        &text.replace("width = 7", "width = 8"),
        "dense layer 4 is 32 to 8 wide there, and 32 to 7",
    );
    let named = text.replace("width = 7", "width = 7\nweight_tensor = \"head.weight\"");
    run(&named, "has no weight_tensor, and other layers have");
    let one = "input = 20\n[[layers]]\nkind = \"dense\"\nwidth = 32\nweights = \"he_normal\"\nweight_tensor = \"NAME\"\n";
    run(&one.replace("NAME", "layers.9.weight"), "no tensor is called layers.9.weight");
    run(&one.replace("NAME", "layers.*.weight"), "4 tensors are called layers.*.weight");
    run(&one.replace("NAME", "layers.3.weight"), "has shape [7, 32]");
    let (mut command, _dir) =
        propagate("plain", &["--inputs", &fixture("blocks.npz").display().to_string()]);
    command.assert().code(2).stderr(predicate::str::contains("the network takes 20"));
}
