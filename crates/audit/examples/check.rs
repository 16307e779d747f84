//! Audits a weight file from a program: `cargo run --release -p gainstage-audit --example check -- FILE [RULES]`.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::ExitCode;

use gainstage_audit::{AuditError, Checkpoint, Options, Rules, audit};

fn main() -> Result<ExitCode, AuditError> {
    let mut args = std::env::args().skip(1);
    let file = args.next().unwrap_or_else(|| "model.safetensors".to_owned());
    let rules = args.next().map(|name| Rules::load(Path::new(&name))).transpose()?;
    let report =
        audit(&Checkpoint::open(Path::new(&file))?, &Options { rules, ..Options::default() })?;
    println!("{}\n{}", report.table().to_text(), report.summary());
    Ok(ExitCode::from(u8::from(report.has_findings())))
}
