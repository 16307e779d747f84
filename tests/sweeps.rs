//! Sweeps: one run, shards and interrupted runs end with the same bytes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use predicates::prelude::*;

const BINARY: &str = env!("CARGO_BIN_EXE_gainstage");
const SWEEP: [&str; 10] = [
    "--sweep",
    "depth=2..8:log:4",
    "--sweep",
    "init=he-normal,xavier-uniform,variance_scaling(1.5, fan_in, normal)",
    "--width",
    "24",
    "--batch",
    "2",
    "--trials",
    "40",
];
const POINTS: usize = 12;

fn sweep(out: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(BINARY);
    command.arg("propagate").args(SWEEP).args(more).arg("--out").arg(out);
    command
}

fn result(out: &Path) -> Vec<Vec<u8>> {
    ["results.json", "index.html", "sweep.json"]
        .iter()
        .map(|name| std::fs::read(out.join("sweep").join(name)).expect(name))
        .collect()
}

fn points(out: &Path) -> usize {
    let entries = std::fs::read_dir(out.join("sweep/points")).into_iter().flatten();
    let done = entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "json"));
    done.count()
}

#[test]
fn shards_and_one_run_give_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let whole = dir.path().join("whole");
    sweep(&whole, &[])
        .assert()
        .code(predicate::in_iter([0, 1]))
        .stdout(predicate::str::contains("depth"));
    assert_eq!(points(&whole), POINTS);

    // As a Slurm array would: the script of the examples, one task after another.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/cli/examples/sweep-array.sh");
    let mut merge = assert_cmd::Command::new(BINARY);
    merge.arg("merge");
    let merged = dir.path().join("merged");
    for task in ["3", "1", "2"] {
        let mut command = Command::new("sh");
        command.arg(&script).args(SWEEP).args(["--threads", task]).current_dir(dir.path());
        command.env("GAINSTAGE", BINARY).env("OUT", dir.path().join("array"));
        command.env("SLURM_ARRAY_TASK_ID", task).env("SLURM_ARRAY_TASK_COUNT", "3");
        assert!(command.status().expect("runs").success(), "task {task}");
        merge.arg(dir.path().join("array").join(format!("shard-{task}")));
        if task == "1" {
            // One shard is missing yet.
            let mut early = assert_cmd::Command::new(BINARY);
            early.arg("merge").arg(dir.path().join("array/shard-1")).arg("--out").arg(&merged);
            early.assert().code(2).stderr(predicate::str::contains("8 of 12 points are missing"));
        }
    }
    merge.arg("--out").arg(&merged);
    merge.assert().code(predicate::in_iter([0, 1]));
    assert_eq!(result(&whole), result(&merged));
}

#[test]
fn a_killed_sweep_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    // Enough work that the kill comes before the end.
    let work = ["--trials", "10000", "--method", "dense", "--threads", "1"];
    let args: Vec<&str> = SWEEP[..8].iter().chain(&work).copied().collect();
    let mut child = Command::new(BINARY)
        .arg("propagate")
        .args(&args)
        .arg("--out")
        .arg(&killed)
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let start = Instant::now();
    while points(&killed) < 2 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("ends");
    let done = points(&killed);
    assert!((2..POINTS).contains(&done), "{done} points at the kill");
    assert!(!killed.join("sweep/results.json").exists());
    for out in [&killed, &whole] {
        let mut command = assert_cmd::Command::new(BINARY);
        command.arg("propagate").args(&args).arg("--out").arg(out);
        command.assert().code(predicate::in_iter([0, 1]));
    }
    assert_eq!(result(&whole), result(&killed));
}

#[test]
fn what_is_no_sweep_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refuse = |args: &[&str], said: &str| {
        let mut command = assert_cmd::Command::new(BINARY);
        command.arg("propagate").args(["--trials", "2", "--width", "8"]).args(args);
        command.arg("--out").arg(dir.path());
        command.assert().code(2).stdout("").stderr(predicate::str::contains(said));
    };
    refuse(&["--sweep", "colour=1,2"], "colour");
    refuse(&["--sweep", "depth=9..3"], "range");
    refuse(&["--sweep", "depth=2,x"], "depth=x");
    refuse(&["--sweep", "depth=2", "--sweep", "depth=3"], "twice");
    refuse(&["--sweep", "depth=2,3", "--shard", "3/2"], "shard");
    refuse(&["--shard", "1/2"], "--sweep");
    assert!(!dir.path().join("sweep").exists());
    // A folder holds one sweep.
    let same = tempfile::tempdir().expect("a temporary folder");
    sweep(same.path(), &["--shard", "1/4"]).assert().code(predicate::in_iter([0, 1]));
    sweep(same.path(), &["--shard", "1/4", "--seed", "7"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("another sweep"));
}
