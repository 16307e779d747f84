//! Tells the program what it was built from, for the reports' reproducibility.

#![allow(clippy::print_stdout)] // how a build script speaks to cargo

use std::process::Command;

fn main() {
    let git = |args: &[&str]| said(Command::new("git").args(args));
    // A commit changes this file; a checkout changes HEAD.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let compiler =
        std::env::var("RUSTC").ok().and_then(|rustc| said(Command::new(rustc).arg("--version")));
    for (name, value) in [("GAINSTAGE_COMMIT", commit), ("GAINSTAGE_RUSTC", compiler)] {
        println!("cargo::rustc-env={name}={}", value.unwrap_or_else(|| "unknown".to_owned()));
    }
}

/// What a command prints, if it succeeds and prints anything.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
