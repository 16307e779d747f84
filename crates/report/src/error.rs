use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can keep a report from being written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or folder.
    #[error(
        "cannot {action} {path}: {reason}; choose another folder with --out, or mend its permissions"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A stored document that cannot be understood.
    #[error("{path} is no stored report of this version ({reason}); run gainstage verify again")]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An id that cannot stand for its part.
    #[error("the id {id:?} does not serve: {reason}")]
    Id {
        /// The id.
        id: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A value that cannot be written as JSON or CSV.
    #[error("cannot write {what}: {reason}")]
    Encode {
        /// What was to be written.
        what: String,
        /// Why not.
        reason: String,
    },
}

impl ReportError {
    pub(crate) fn io(action: &'static str, path: &Path, error: &impl ToString) -> Self {
        Self::Io { action, path: path.to_owned(), reason: error.to_string() }
    }
}
