//! The result on standard output, notes and complaints on standard error.
#![allow(clippy::print_stderr)] // here is where the program speaks

use std::io::{self, Write};

use gainstage_report::Table;
use serde::Serialize;

use crate::args::{Common, Format};

/// Writes text to standard output as it is.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A result in the form that was asked for: `json` whole, or the tables with `text` around them.
pub(crate) fn result(
    common: &Common,
    json: &impl Serialize,
    tables: &[Table],
    text: &str,
) -> anyhow::Result<()> {
    match common.format {
        // The formats of audit alone are refused before a command runs.
        Format::Json | Format::Junit | Format::Sarif => {
            write(&(serde_json::to_string_pretty(json)? + "\n"))
        }
        Format::Csv => {
            write(&tables.iter().map(Table::to_csv).collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        Format::Markdown => {
            write(&tables.iter().map(|t| t.to_markdown() + "\n").collect::<String>())
        }
        Format::Text => {
            let tables: String = tables.iter().map(|t| t.to_text() + "\n").collect();
            write(&format!("{tables}{text}"))
        }
    }
}

/// A note for the person at the terminal.
pub(crate) fn note(common: &Common, text: &str) {
    if !common.quiet {
        eprintln!("{text}");
    }
}

/// One clear sentence: what, where, what to do.
pub(crate) fn complain(error: &anyhow::Error) {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    // Transparent wrappers repeat their source word for word.
    let mut sentences: Vec<&str> = Vec::new();
    for sentence in &chain {
        if !sentences.iter().any(|said| said.contains(sentence.as_str())) {
            sentences.push(sentence);
        }
    }
    eprintln!("gainstage: {}", sentences.join(": "));
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}
