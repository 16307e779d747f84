//! Results of trained models, one file each, so that a run that was cut short goes on where it was.

use std::path::PathBuf;
use std::sync::Mutex;

use gainstage_data::{Dataset, Split};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A folder of them.
pub(crate) struct Store {
    folder: PathBuf,
    /// What a stored result must have been trained with.
    made_by: String,
    failed: Mutex<Option<anyhow::Error>>,
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    made_by: String,
    run: T,
}

impl Store {
    /// For results of this program, these images, and settings as `of` names them.
    pub(crate) fn new(folder: PathBuf, data: &Dataset, of: &str) -> Self {
        let (version, name) = (env!("CARGO_PKG_VERSION"), &data.name);
        let made_by = format!("gainstage {version}, {name}, {:016x}, {of}", digest(data));
        Self { folder, made_by, failed: Mutex::new(None) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// A result of the same making; anything else, or a file that was cut off, is trained again.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = std::fs::read_to_string(self.path(name)).ok()?;
        let stored: Stored<T> = serde_json::from_str(&text).ok()?;
        (stored.made_by == self.made_by).then_some(stored.run)
    }

    pub(crate) fn write<T: Serialize>(&self, name: &str, run: T) {
        let stored = Stored { made_by: self.made_by.clone(), run };
        let written = gainstage_report::write_json(&self.path(name), &stored);
        if let (Err(error), Ok(mut failed)) = (written, self.failed.lock()) {
            failed.get_or_insert(error.into());
        }
    }

    /// The first failure to write, if any.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.failed.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

/// 64-bit FNV-1a over words of eight bytes of all pixels and labels.
fn digest(data: &Dataset) -> u64 {
    let all = |split: &Split, hash: u64| {
        split.pixels.chunks(8).chain(split.labels.chunks(8)).fold(hash, |hash, bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
        })
    };
    all(&data.test, all(&data.train, 0xcbf2_9ce4_8422_2325))
}
