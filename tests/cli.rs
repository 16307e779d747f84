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
fn planted_errors_are_listed_tried_and_stored() {
    let list = json(gainstage().args(["claims", "list"]));
    let claims = list.as_array().expect("a list");
    assert!(claims.iter().all(|c| c["planted"].as_array().is_some_and(|p| !p.is_empty())));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().to_str().expect("UTF-8");
    let args = ["verify", "--planted", "--only", "HE08,XAV07", "--data", "synthetic", "--out", out];
    let tried = json(gainstage().args(args));
    let planted = tried["planted"].as_array().expect("a list");
    assert_eq!(planted.len(), 2);
    assert_eq!(planted[0]["planted"], "fan-in and fan-out exchanged");
    assert!(planted.iter().all(|p| p["noticed"] == true && p["verdict"] != p["expected"]));
    assert!(dir.path().join("planted.json").exists());
    gainstage()
        .args(["claims", "show", "HE08"])
        .assert()
        .success()
        .stdout(predicate::str::contains("fan-in and fan-out exchanged"));
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

#[test]
fn predict_prints_the_depth_limit_and_every_layer_under_their_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |args: &[&str]| {
        let mut command = gainstage();
        command.arg("--out").arg(dir.path()).arg("predict").args(args);
        command
    };
    let field = ["--activation", "tanh", "--weight-variance", "2.5", "--bias-variance", "0.05"];
    let chaotic = json(&mut run(&[&field[..], &["--depth", "200"]].concat()));
    let close = |value: &Value, expected: f64, tolerance: f64| {
        let value = value.as_f64().expect("a number");
        assert!((value / expected - 1.0).abs() < tolerance, "{value} against {expected}");
    };
    close(&chaotic["fixed_point"]["q"], 1.0639583774, 1e-9);
    close(&chaotic["fixed_point"]["c"], 0.4468042323, 1e-9);
    close(&chaotic["chi_1"], 1.1335156987, 1e-9);
    close(&chaotic["depth_scale"]["q"], 1.179873, 1e-6);
    close(&chaotic["depth_scale"]["c"], 11.795598, 1e-7);
    assert_eq!(chaotic["phase"], "chaotic");
    let layers = chaotic["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 200);
    close(&layers[0]["q"], 2.55, 1e-12);
    close(&layers[199]["q"], 1.0639583774, 1e-9);
    close(&layers[199]["c"], 0.4468042323, 1e-6);
    close(&layers[199]["gradient"], 1.0, 1e-12);
    close(&layers[189]["gradient"], 1.1335156987f64.powi(10), 1e-8);
    // ReLU above its edge diverges, and that is said, not printed as a number.
    let text = run(&["--weight-variance", "2.1"]).output().expect("runs").stdout;
    assert!(String::from_utf8_lossy(&text).contains("q diverges"));
    // A finite width adds the band: exact for He's rule.
    let band = json(&mut run(&["--width", "100", "--depth", "3"]));
    let (low, high) = (&band["layers"][2]["q_low"], &band["layers"][2]["q_high"]);
    assert!(low.as_f64() < Some(2.0) && high.as_f64() > Some(2.0));
    for wrong in [
        &["--weight-variance=-1"][..],
        &["--weight-variance", "nan"],
        &["--keep", "0"],
        &["--input-correlation", "1.5"],
        &["--activation", "expr(z *)"],
        &["--activation", "@no-such-file.csv"],
        &["no-such-network.toml"],
    ] {
        let output = run(wrong).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn formulas_and_tables_are_activations_too() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let spelt = json(gainstage().args(["gain", "expr(z / (1 + exp(-z)))"]));
    let silu = json(gainstage().args(["gain", "silu"]));
    let close = |a: &Value, b: &Value, tolerance: f64| {
        let ratio = a.as_f64().expect("a number") / b.as_f64().expect("a number");
        assert!((ratio - 1.0).abs() < tolerance, "{a} against {b}");
    };
    for field in ["mean", "second_moment", "derivative_second_moment", "gain", "critical_gain"] {
        close(&spelt[field], &silu[field], 1e-11);
    }
    let path = dir.path().join("points.csv");
    let points: Vec<String> = (-300..=300)
        .map(|i| f64::from(i) / 25.0)
        .map(|z| format!("{z},{}", z / (1.0 + (-z).exp())))
        .collect();
    std::fs::write(&path, format!("z,phi\n{}\n", points.join("\n"))).expect("writes");
    let table = json(gainstage().arg("gain").arg(format!("@{}", path.display())));
    close(&table["second_moment"], &silu["second_moment"], 1e-4);
    std::fs::write(&path, "0,0\n1\n").expect("writes");
    gainstage()
        .arg("gain")
        .arg(format!("@{}", path.display()))
        .assert()
        .code(2)
        .stderr(predicate::str::contains("line 2"));
}

#[test]
fn phase_marks_the_edge_of_chaos_and_the_usual_initializations() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = gainstage();
    command.arg("--out").arg(dir.path());
    let phase = json(command.args(["phase", "--activation", "tanh", "--points", "9"]));
    assert_eq!(phase["limits"].as_array().expect("rows").len(), 9);
    let he = phase["initializations"].as_array().expect("marks").iter().find(|p| p["name"] == "He");
    let chi = he.expect("He's rule is marked")["chi_1"].as_f64().expect("a number");
    assert!((chi - 1.1055288204).abs() < 1e-9, "{chi}");
    for file in ["index.html", "figures/fixed-points.svg", "figures/gradients.svg", "results.json"]
    {
        assert!(dir.path().join("phase").join(file).is_file(), "{file}");
    }
    gainstage().args(["phase", "--weight-variance", "4..1"]).assert().code(2);
    gainstage().args(["phase", "--points", "1"]).assert().code(2);
}

#[test]
fn recommend_gives_reasons_defaults_and_code_for_five_frameworks() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |args: &[&str]| {
        let mut command = gainstage();
        command.arg("--out").arg(dir.path()).arg("recommend").args(args);
        command
    };
    let answer = json(&mut run(&["--activation", "relu", "--depth", "6", "--width", "64"]));
    let gain = answer["layers"][3]["gain"].as_f64().expect("a gain");
    assert!((gain - 2f64.sqrt()).abs() < 1e-12);
    let named: Vec<&str> = answer["code"]
        .as_array()
        .expect("code")
        .iter()
        .map(|c| c["framework"].as_str().expect("a name"))
        .collect();
    assert_eq!(named, ["PyTorch", "Keras", "JAX", "burn", "candle"]);
    assert!(answer["defaults"].as_array().expect("defaults").len() >= 4);
    run(&["--activation", "gelu", "--depth", "8", "--width", "64", "--residual", "--code", "jax"])
        .assert()
        .success()
        .stdout(predicate::str::contains("import jax"))
        .stdout(predicate::str::contains("GAINS = [1.0, "));
    run(&["--activation", "relu", "--depth", "1", "--residual"]).assert().code(2);
    run(&["--activation", "relu", "--input-second-moment", "0"]).assert().code(2);
}
