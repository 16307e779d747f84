use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can be wrong with data.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder that cannot be read or written.
    #[error("cannot {action} {path}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A folder without the four files of a data set.
    #[error(
        "{folder} has no {missing}; a data folder holds train-images-idx3-ubyte, train-labels-idx1-ubyte, \
         t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each as it is or with .gz"
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The first file that is missing.
        missing: &'static str,
    },
    /// A file that is not what its name says.
    #[error("{path} is not a usable IDX file: {why}; fetch it again or point to another folder")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Images and labels, or training and test images, that do not belong together.
    #[error("{folder}: {why}")]
    Mismatch {
        /// The folder.
        folder: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A name that is neither a known data set nor a folder.
    #[error(
        "no data set \"{0}\": use auto, mnist, fashion-mnist, synthetic, or the path of a folder that exists"
    )]
    UnknownSource(String),
    /// A download that no mirror could serve.
    #[error(
        "could not download {file}: {tried}; put the four files into {folder} yourself, or use --data synthetic"
    )]
    Download {
        /// The file.
        file: String,
        /// What every mirror said.
        tried: String,
        /// Where the files belong.
        folder: PathBuf,
    },
    /// Only these two are published for download.
    #[error("{0} cannot be downloaded; mnist and fashion-mnist can")]
    NotPublished(String),
    /// No home folder to keep downloads in.
    #[error(
        "no cache folder: neither XDG_CACHE_HOME nor HOME nor LOCALAPPDATA is set; set GAINSTAGE_DATA to a folder instead"
    )]
    NoCache,
}

impl DataError {
    pub(crate) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), reason: error.to_string() }
    }

    pub(crate) fn format(path: &Path, why: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), why: why.into() }
    }
}
