use std::path::{Path, PathBuf};

use gainstage_report::ReportError;
use gainstage_spec::SpecError;
use thiserror::Error;

/// What can keep a checkpoint from being audited.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file or folder that cannot be opened or read.
    #[error("cannot read {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A weight file that contradicts itself or its format.
    #[error("{} is damaged: {reason}; write it again, or fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        reason: String,
    },
    /// A file of a kind that is not read.
    #[error("{}: {reason}; give a .safetensors, .npz or .npy file, a *.index.json, or a folder of them", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// A rules file that cannot be read or does not fit the checkpoint.
    #[error("rules {file}: {reason}")]
    Rules {
        /// The file or preset.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A network file that cannot be read or does not fit the checkpoint.
    #[error("network {file}: {reason}")]
    Network {
        /// The file.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A stored audit that cannot be compared with.
    #[error("baseline {}: {reason}", path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A number outside its domain.
    #[error("{what} is {value}; it must be {bound}")]
    Domain {
        /// The parameter.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The condition it violates.
        bound: &'static str,
    },
    /// A law or shape that is not defined.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A report that cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl AuditError {
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), reason: error.to_string() }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        // A damaged file may quote anything; a sentence is one line.
        let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let reason = reason.into().chars().map(printable).collect();
        Self::Damaged { path: path.to_owned(), reason }
    }
}
