//! Damaged files given to the program itself: exit code 0, 1 or 2, and with 2 one sentence, whatever the file holds.
//! `crates/audit/tests/damaged.rs` tries a hundred thousand within one process.

#[path = "../crates/audit/tests/common/mutants.rs"]
mod mutants;

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use mutants::{Original, mutants, originals};

fn run(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("gainstage").expect("the binary is built with the tests");
    command.args(["--quiet", "--threads", "1"]).args(args).output().expect("runs")
}

/// How many ended with each code.
fn endings(
    of: &[Original],
    count: usize,
    seed: u64,
    args: &dyn Fn(&str) -> Vec<String>,
) -> [usize; 3] {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("out").display().to_string();
    let mut endings = [0; 3];
    for (original, file) in mutants(of, count, seed) {
        let path = dir.path().join("mutant").with_extension(original.extension);
        std::fs::write(&path, &file).expect("writes");
        let args = args(&path.display().to_string());
        let args = args.iter().map(String::as_str).chain(["--out", &out]);
        let Output { status, stderr, .. } = run(&args.collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&stderr);
        let code = status.code().unwrap_or_else(|| panic!("a signal: {said} {file:?}"));
        assert!((0..=2).contains(&code), "code {code}: {said} {file:?}");
        assert!(!said.contains("panicked"), "{said} {file:?}");
        if code == 2 {
            assert_eq!(said.trim_end().lines().count(), 1, "{said} {file:?}");
        }
        endings[code as usize] += 1;
    }
    endings
}

#[test]
fn audit_of_a_damaged_file_is_one_sentence() {
    let owned = |args: &[&str]| args.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = endings(&originals(), 360, 5, &|path| owned(&["audit", path]));
    assert!(found[2] > 90 && found[0] + found[1] > 20, "{found:?}");
}

#[test]
fn propagation_of_a_damaged_batch_is_one_sentence() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/audit/fixtures/propagate");
    let fixture = |name: &str| folder.join(name).display().to_string();
    let batches = ["plain.npz", "plain_compressed.npz"].map(|name| Original {
        extension: "npz",
        bytes: std::fs::read(folder.join(name)).expect("reads"),
    });
    let found = endings(&batches, 80, 6, &|path| {
        let weights = fixture("plain.safetensors");
        ["propagate", &fixture("plain.toml"), "--weights", &weights, "--inputs", path]
            .map(str::to_owned)
            .to_vec()
    });
    assert!(found[2] > 20 && found[0] + found[1] > 4, "{found:?}");
}
