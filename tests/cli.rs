//! The command line as a contract: fields, exit codes, one sentence for wrong input.

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn gainstage() -> Command {
    let mut command = Command::cargo_bin("gainstage").expect("the binary is built with the tests");
    command.env_remove("GAINSTAGE_DATA").arg("--quiet");
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.args(["--format", "json"]).output().expect("runs");
    serde_json::from_slice(&output.stdout)
        .expect("machine output and nothing else on standard output")
}

#[test]
fn gain_prints_the_exact_numbers_under_their_names() {
    let tanh = json(gainstage().args(["gain", "tanh"]));
    let close = |name: &str, expected: f64| {
        let value = tanh[name].as_f64().expect(name);
        assert!((value / expected - 1.0).abs() < 1e-12, "{name}: {value}");
    };
    assert_eq!(tanh["activation"], "tanh");
    close("second_moment", 0.3942944903978412);
    close("derivative_second_moment", 0.4644029024482682);
    close("gain", 1.5925374197228312);
    close("critical_gain", 0.4644029024482682f64.sqrt().recip());
    gainstage()
        .args(["gain", "--format", "csv"])
        .assert()
        .success()
        .stdout(predicate::str::contains("hard_swish"));
}

#[test]
fn propagate_agrees_with_theory_and_notices_a_broken_format() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |args: &[&str]| {
        let mut command = gainstage();
        command
            .arg("--out")
            .arg(dir.path())
            .arg("propagate")
            .args(["--width", "64", "--trials", "60", "--batch", "2"])
            .args(args);
        command
    };
    let answer = json(&mut run(&["--depth", "8"]));
    assert_eq!(answer["method"], "matrix-free");
    assert_eq!(answer["layers"].as_array().expect("layers").len(), 8);
    for signal in ["forward", "gradient", "weight_gradient"] {
        let layer = &answer["layers"][3][signal];
        for field in [
            "predicted",
            "predicted_low",
            "predicted_high",
            "measured",
            "measured_low",
            "measured_high",
        ] {
            assert!(layer[field].is_number(), "{signal}.{field}");
        }
        assert_eq!(layer["verdict"], "agrees");
    }
    run(&["--depth", "8"]).assert().code(0);
    run(&["--depth", "40", "--init", "normal(std = 0.5)", "--precision", "f16"]).assert().code(1);
    assert!(dir.path().join("propagate/index.html").exists());
}

#[test]
fn a_network_file_is_read_and_a_broken_one_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("net.toml");
    let text = "input = 20\n[[layers]]\nkind = \"dense\"\nwidth = 30\nweights = \"he_normal\"\nactivation = \"relu\"\nrepeat = 4\n";
    std::fs::write(&file, text).expect("writes");
    let mut command = gainstage();
    command.arg("--out").arg(dir.path()).arg("propagate").arg(&file).args(["--trials", "20"]);
    assert_eq!(json(&mut command)["layers"].as_array().expect("layers").len(), 4);
    std::fs::write(&file, text.replace("he_normal", "hee_normal")).expect("writes");
    gainstage()
        .arg("propagate")
        .arg(&file)
        .assert()
        .code(2)
        .stderr(predicate::str::contains("hee_normal"));
}

#[test]
fn claims_are_listed_and_shown() {
    let list = json(gainstage().args(["claims", "list"]));
    let codes: Vec<&str> =
        list.as_array().expect("a list").iter().filter_map(|c| c["code"].as_str()).collect();
    for code in [
        "SYM01", "SYM02", "SYM06", "VAN01", "VAN02", "VAN04", "XAV01", "XAV02", "XAV03", "XAV05",
        "XAV07", "HE01", "HE02", "HE03", "HE05", "NB01", "NB02", "NB03", "FOL01", "FOL04",
    ] {
        assert!(codes.contains(&code), "{code}");
    }
    gainstage()
        .args(["claims", "show", "he01"])
        .assert()
        .success()
        .stdout(predicate::str::contains("2/fan_in"));
    gainstage()
        .args(["claims", "show", "HE99"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("HE99"));
}

#[test]
fn verify_writes_results_and_a_report_that_can_be_drawn_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = gainstage();
    command.arg("--out").arg(dir.path()).args([
        "verify",
        "--budget",
        "quick",
        "--only",
        "XAV03,FOL04",
        "--data",
        "synthetic",
    ]);
    let results = json(&mut command);
    assert_eq!(results["claims"][0]["code"], "XAV03");
    assert_eq!(results["claims"][0]["verdict"], results["claims"][0]["expected"]);
    assert!(results["claims"][1]["findings"].as_array().is_some_and(|f| !f.is_empty()));
    let stored: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("results.json")).expect("written"))
            .expect("JSON");
    assert_eq!(stored, results);
    let page = std::fs::read(dir.path().join("index.html")).expect("written");
    gainstage().arg("report").arg(dir.path()).assert().success();
    assert_eq!(std::fs::read(dir.path().join("index.html")).expect("written"), page);
}

#[test]
fn wrong_input_ends_with_code_2_and_one_sentence() {
    let cases: [(&[&str], &str); 10] = [
        (&["verify", "--only", "NOPE"], "NOPE"),
        (&["verify", "--budget", "huge"], "huge"),
        (&["verify", "--data", "minst"], "minst"),
        (&["verify", "--data", "/no/such/folder"], "/no/such/folder"),
        (&["gain", "rellu"], "rellu"),
        (&["gain", "tanh", "--q", "-1"], "-1"),
        (&["propagate", "--init", "normal(std = -1)"], "-1"),
        (&["propagate", "--depth", "0"], "0"),
        (&["propagate", "no-such-file.toml"], "no-such-file.toml"),
        (&["report", "/no/such/folder"], "/no/such/folder"),
    ];
    for (args, named) in cases {
        let assert = gainstage().args(args).assert().code(2);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(named), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        assert!(assert.get_output().stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn completions_and_help_are_there() {
    gainstage()
        .args(["completions", "bash"])
        .assert()
        .success()
        .stdout(predicate::str::contains("gainstage"));
    gainstage().arg("--help").assert().success().stdout(predicate::str::contains("Examples:"));
}
