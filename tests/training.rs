//! The notebook's protocol on images: real MNIST where `GAINSTAGE_DATA` points to it, drawn digits elsewhere.

use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use gainstage_claims::{Budget, Lab, notebook};
use gainstage_data::{Dataset, Source, load};
use serde_json::Value;

fn images() -> Dataset {
    let source =
        if std::env::var_os("GAINSTAGE_DATA").is_some() { Source::Auto } else { Source::Synthetic };
    load(&source, &mut |_| ()).expect("images")
}

#[test]
fn three_epochs_tell_zero_from_the_rest_and_divided_pixels_from_raw_ones() {
    let data = images();
    let (name, classes) = (data.name.clone(), data.classes);
    let counts = data.test.class_counts(classes);
    let trained = data.train.slice(5000..data.train.len()).class_counts(classes);
    let commonest = (0..classes).max_by_key(|&k| (trained[k], classes - k)).expect("classes");
    let share = counts[commonest] as f64 / data.test.len() as f64;
    let lab = Lab::new(1, Budget::Quick, Arc::new(data), Arc::new(|_: &str| ()));
    let runs = notebook(&lab, 1, 3, &|| ()).expect("trains");
    let zero = &runs.models[0].seeds[0];
    assert_eq!(zero.test_accuracy, share, "{name}");
    assert_eq!(zero.test_accuracy_unscaled, share, "{name}");
    if name == "MNIST" {
        assert!((zero.test_loss - 2.301).abs() < 0.003, "{}", zero.test_loss);
    }
    for model in &runs.models[1..] {
        let run = &model.seeds[0];
        assert!(run.test_accuracy > 0.93, "{name}, {}: {}", model.init, run.test_accuracy);
        assert!(run.test_loss < 0.3 && run.test_loss_unscaled > 5.0, "{name}, {}", model.init);
        assert_eq!(run.history.len(), 3);
        let losses: Vec<f64> = run.history.iter().map(|e| e.train_loss).collect();
        assert!(losses.windows(2).all(|w| w[1] < w[0]), "{losses:?}");
    }
}

/// IDX files of three classes of 6 x 6 images of noise, a third of it brighter, in part alike.
fn write_digits(folder: &Path) {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for (name, count) in [("train", 360u32), ("t10k", 90)] {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for image in 0..count {
            let class = (image % 3) as u8;
            labels.push(class);
            pixels.extend((0..36u8).map(|p| {
                let noise = next();
                if p / 12 == class { noise.max(next()) } else { noise }
            }));
        }
        let header = |magic: u32, sizes: &[u32]| -> Vec<u8> {
            std::iter::once(&magic).chain(sizes).flat_map(|n| n.to_be_bytes()).collect()
        };
        let images = [header(0x0803, &[count, 6, 6]), pixels].concat();
        let labels = [header(0x0801, &[count]), labels].concat();
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).expect("writes");
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).expect("writes");
    }
}

fn notebook_command(dir: &Path, more: &[&str]) -> Value {
    let mut command = Command::cargo_bin("gainstage").expect("the binary is built with the tests");
    let out = dir.join("out");
    command.args(["notebook", "--quiet", "--format", "json", "--out"]).arg(out);
    let output = command.arg("--data").arg(dir).args(more).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut answer: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    assert!(answer["seconds"].take().as_f64().is_some_and(|s| s >= 0.0));
    answer
}

#[test]
fn a_notebook_that_was_cut_short_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_digits(dir.path());
    let whole = notebook_command(dir.path(), &["--seeds", "4", "--epochs", "2"]);
    assert_eq!(whole["models"][3]["seeds"].as_array().map(Vec::len), Some(4));
    let runs = dir.path().join("out/notebook/runs");
    let path = |name: &str| runs.join(name);
    // One run is gone, one was cut off: both are trained again, to the same bits.
    std::fs::remove_file(path("he-seed-2.json")).expect("was stored");
    std::fs::write(path("xavier-seed-1.json"), "{\"made_by\": ").expect("writes");
    assert_eq!(
        notebook_command(dir.path(), &["--seeds", "4", "--epochs", "2", "--threads", "1"]),
        whole
    );
    // The others are not: what is stored is what is told.
    let text = std::fs::read_to_string(path("zero-seed-1.json")).expect("is stored");
    let mut stored: Value = serde_json::from_str(&text).expect("JSON");
    stored["run"]["test_loss"] = 123.25.into();
    std::fs::write(path("zero-seed-1.json"), stored.to_string()).expect("writes");
    let told = notebook_command(dir.path(), &["--seeds", "4", "--epochs", "2"]);
    assert_eq!(told["models"][0]["seeds"][0]["test_loss"], 123.25);
    // Other epochs are another experiment.
    let longer = notebook_command(dir.path(), &["--seeds", "1", "--epochs", "3"]);
    assert_eq!(longer["models"][0]["seeds"][0]["history"].as_array().map(Vec::len), Some(3));
    assert_ne!(longer["models"][0]["seeds"][0]["test_loss"], 123.25);
}

#[test]
fn comparisons_are_paired_by_seed_with_an_interval_at_the_tests_level() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_digits(dir.path());
    let answer = notebook_command(dir.path(), &["--seeds", "3", "--epochs", "2"]);
    let accuracy = |model: usize, seed: usize| {
        answer["models"][model]["seeds"][seed]["test_accuracy"].as_f64().expect("a number")
    };
    let comparisons = answer["comparisons"].as_array().expect("comparisons");
    assert!(!comparisons.is_empty(), "accuracies that do not vary");
    for comparison in comparisons {
        let index = |name: &str| {
            ["zero", "normal(0.1)", "xavier", "he"].iter().position(|n| comparison[name] == *n)
        };
        let (a, b) = (index("first").expect("a model"), index("second").expect("a model"));
        let mean = (0..3).map(|s| accuracy(a, s) - accuracy(b, s)).sum::<f64>() / 3.0;
        let found = &comparison["equivalence"];
        let estimate = found["difference"]["estimate"].as_f64().expect("a number");
        assert!((estimate - mean).abs() < 1e-12);
        assert_eq!((&found["n"], &found["margin"]), (&3.into(), &0.002.into()));
    }
}

const NETWORK: &str = r#"
input = 36
[[layers]]
kind = "dense"
width = 16
weights = "he_normal"
[[layers]]
kind = "batch_norm"
[[layers]]
kind = "activation"
function = "relu"
[[layers]]
kind = "dropout"
keep = 0.8
[[layers]]
kind = "dense"
width = 3
weights = "glorot_uniform"
[training]
epochs = 4
batch = 20
optimizer = { kind = "momentum", rate = 0.05 }
schedule = { kind = "exponential", factor = 0.99 }
clip = { kind = "norm", bound = 1.0 }
"#;

fn train_command(dir: &Path, out: &str, more: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("gainstage").expect("the binary is built with the tests");
    command.args(["train", "--quiet", "--format", "json", "--out"]).arg(dir.join(out));
    command.arg("--data").arg(dir).args(more).output().expect("runs")
}

#[test]
fn a_described_network_trains_and_goes_on_from_its_checkpoint_to_the_same_result() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_digits(dir.path());
    let file = dir.path().join("network.toml");
    std::fs::write(&file, NETWORK).expect("writes");
    let file = file.to_str().expect("UTF-8");
    let answer = |out: &str, more: &[&str]| -> Value {
        let output = train_command(dir.path(), out, &[&[file], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON alone")
    };
    let whole = answer("whole", &[]);
    assert_eq!(whole["history"].as_array().map(Vec::len), Some(4));
    assert!(whole["test_accuracy"].as_f64() > Some(0.5), "{}", whole["test_accuracy"]);
    answer("part", &["--epochs", "2"]);
    let checkpoint = dir.path().join("part/train/checkpoint.safetensors");
    let checkpoint = checkpoint.to_str().expect("UTF-8");
    let resumed = answer("part", &["--resume", checkpoint]);
    for field in ["history", "step_losses", "test_accuracy", "test_loss", "steps"] {
        assert_eq!(resumed[field], whole[field], "{field}");
    }
    let read = |out: &str| {
        std::fs::read(dir.path().join(out).join("train/checkpoint.safetensors")).expect("is there")
    };
    assert_eq!(read("part"), read("whole"), "the last checkpoints are the same bytes");
    assert!(dir.path().join("whole/train/index.html").exists());

    for (more, why) in [
        (&["--resume", checkpoint, "--seed", "2"][..], "another seed"),
        (&["--resume", file], "does not fit"),
        (&["--rate=-1"], "learning rate is -1"),
    ] {
        let output = train_command(dir.path(), "refused", &[&[file], more].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(why), "{more:?}: {told}");
    }
    // Divergence is a finding.
    let output = train_command(dir.path(), "wild", &[file, "--rate", "3e38", "--epochs", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_sweep_maps_every_depth_and_variance() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_digits(dir.path());
    let sweep = ["--sweep", "--grid", "3", "--depth", "6", "--width", "20", "--steps", "40"];
    let output = train_command(dir.path(), "out", &sweep);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    let places: Vec<(u64, f64)> = answer["cells"]
        .as_array()
        .expect("cells")
        .iter()
        .filter_map(|c| Some((c["depth"].as_u64()?, c["weight_variance"].as_f64()?)))
        .collect();
    let expected = [2, 4, 6].map(|depth| [1.0, 2.5, 4.0].map(|variance| (depth, variance)));
    assert_eq!(places, expected.concat());
    // The depth scale is infinite at the edge of chaos, 1.76 for this bias variance, and finite elsewhere.
    let scales = answer["depth_scales"].as_array().expect("depth scales");
    let peak =
        scales.iter().max_by(|a, b| a[1].as_f64().partial_cmp(&b[1].as_f64()).expect("numbers"));
    let peak = peak.expect("some")[0].as_f64().expect("a number");
    assert!((peak - 1.760954639607).abs() < 3.0 / 199.0, "{peak}");
    assert!(dir.path().join("out/train-sweep/figures/trainability.svg").exists());

    // What is stored counts as trained; what is gone or was cut off is trained again, to the same bits.
    let cells = |more: &[&str]| -> Value {
        let output = train_command(dir.path(), "out", &[&sweep[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
        answer["cells"].clone()
    };
    let stored = dir.path().join("out/train-sweep/cells");
    std::fs::remove_file(stored.join("4-layers-1.json")).expect("was stored");
    std::fs::write(stored.join("6-layers-3.json"), "{\"made_by\": ").expect("writes");
    assert_eq!(cells(&[]), answer["cells"]);
    let path = stored.join("2-layers-2.json");
    let text = std::fs::read_to_string(&path).expect("is stored");
    let mut changed: Value = serde_json::from_str(&text).expect("JSON");
    changed["run"]["accuracy"] = 0.125.into();
    std::fs::write(&path, changed.to_string()).expect("writes");
    assert_eq!(cells(&[])[1]["accuracy"], 0.125);
    // Another seed is another experiment.
    assert_ne!(cells(&["--seed", "2"])[1]["accuracy"], 0.125);
}
