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
    // Stored and compressed archives hold the same batch, the labels in 64 and in 16 bits.
    let cases = ["plain", "blocks"].into_iter().flat_map(|n| [(n, ""), (n, "_compressed")]);
    for (name, written) in cases {
        let batch = fixture(&format!("{name}{written}.npz")).display().to_string();
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

/// A batch of three inputs of width 20 beside an array of labels.
fn batch(path: &Path, first: f32, labels: (&str, &str, &[u8])) {
    let (dtype, shape, bytes) = labels;
    let header = format!(
        r#"{{"x":{{"dtype":"F32","shape":[3,20],"data_offsets":[0,240]}},"y":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[240,{}]}}}}"#,
        240 + bytes.len()
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(first.to_le_bytes());
    file.extend((1..60).flat_map(|i| (i as f32 * 0.37).sin().to_le_bytes()));
    file.extend(bytes);
    std::fs::write(path, file).expect("writes");
}

#[test]
fn labels_are_whole_numbers_one_for_each_input() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("batch.safetensors");
    let run = |first: f32, labels: (&str, &str, &[u8])| {
        batch(&path, first, labels);
        propagate("plain", &["--inputs", &path.display().to_string()]).0.assert()
    };
    run(1.0, ("U8", "[3]", &[0, 6, 2])).code(predicate::in_iter([0, 1]));
    for (labels, said) in [
        (("F16", "[3]", &[0u8; 6][..]), "labels y are floating-point numbers"),
        (("BOOL", "[3]", &[0; 3]), "labels y cannot be read: type BOOL"),
        (("U8", "[3,7]", &[0; 21]), "labels y have shape [3, 7]"),
        (("U8", "[2]", &[0; 2]), "the list of labels"),
        (("U8", "[3]", &[0, 7, 0]), "label 7 of input 1 is not below the network's 7 outputs"),
        (("I8", "[3]", &[0, 255, 0]), "label -1 is negative; count from 0\n"),
    ] {
        let ending = run(1.0, labels).code(2).stderr(predicate::str::contains(said));
        let sentence = String::from_utf8_lossy(&ending.get_output().stderr).into_owned();
        assert_eq!(sentence.trim_end().lines().count(), 1, "{sentence}");
    }
    let infinite = run(f32::INFINITY, ("U8", "[3]", &[0; 3])).code(2);
    infinite.stderr(predicate::str::contains("value 1 of row 1 of array x"));
}
