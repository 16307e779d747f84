//! The bytes of a file, mapped or read.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::AuditError;

/// Files up to this size are read; a mapping costs more than it saves.
const READ: u64 = 1 << 20;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Bytes {
    /// Opens a file, mapped where it is large.
    pub(crate) fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |error: std::io::Error| AuditError::io(path, &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(AuditError::Kind {
                path: path.to_owned(),
                reason: "it is not a regular file".to_owned(),
            });
        }
        if metadata.len() <= READ { Self::read(path) } else { map(&file).map_err(failed) }
    }

    /// Reads a file whole: what [`Bytes::open`] does without a mapping.
    pub(crate) fn read(path: &Path) -> Result<Self, AuditError> {
        std::fs::read(path).map(Self::Read).map_err(|error| AuditError::io(path, &error))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

/// A gigabyte is mapped in microseconds and its pages are the system's cache; reading it copies them.
///
/// # Safety
/// The mapping is private and read-only, and is only ever seen as bytes, which have no invalid
/// values. Should another process shorten the file meanwhile, the system ends this one with SIGBUS, as
/// for every mapped file; should it rewrite it, the numbers are those of the mixture.
#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Bytes> {
    // SAFETY: see above.
    unsafe { Mmap::map(file) }.map(Bytes::Mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_and_a_read_one_hold_the_same_bytes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("large");
        let content: Vec<u8> = (0..READ + 4097).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).expect("writes");
        let mapped = Bytes::open(&path).expect("opens");
        assert!(matches!(mapped, Bytes::Mapped(_)));
        assert_eq!(*mapped, *Bytes::read(&path).expect("reads"));
        assert_eq!(*mapped, *content);
        assert!(matches!(Bytes::open(dir.path()), Err(AuditError::Kind { .. })));
        assert!(matches!(Bytes::open(&dir.path().join("none")), Err(AuditError::Io { .. })));
    }
}
