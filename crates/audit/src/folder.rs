//! All weight files of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::{AuditError, index};

impl Checkpoint {
    /// All weight files of a folder, through an index where there is one. Each file is a checkpoint of its
    /// own, except shards (`*-00001-of-00003`) and single arrays (`.npy`), which make one.
    pub(crate) fn folder(path: &Path) -> Result<Self, AuditError> {
        let list = std::fs::read_dir(path).map_err(|e| AuditError::io(path, &e))?;
        let mut files = list
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| AuditError::io(path, &e))?;
        files.sort();
        let indices: Vec<&PathBuf> = files
            .iter()
            .filter(|f| f.to_string_lossy().ends_with(".safetensors.index.json"))
            .collect();
        match indices.as_slice() {
            [] => {}
            [index] => return index::open(index),
            several => {
                let names: Vec<_> = several.iter().map(|p| p.display().to_string()).collect();
                return Err(AuditError::Kind {
                    path: path.to_owned(),
                    reason: format!(
                        "it holds {} indices ({}); name one",
                        names.len(),
                        names.join(", ")
                    ),
                });
            }
        }
        let is_weights = |f: &&PathBuf| {
            f.extension().is_some_and(|e| ["safetensors", "npz", "npy"].iter().any(|x| e == *x))
        };
        let mut checkpoint = Self::empty();
        for file in files.iter().filter(is_weights) {
            checkpoint.add(file, &unit_of(file))?;
        }
        if checkpoint.files.is_empty() {
            return Err(AuditError::Kind {
                path: path.to_owned(),
                reason: "it is a folder without weight files".to_owned(),
            });
        }
        checkpoint.tell_files_apart();
        Ok(checkpoint)
    }

    /// Puts the file's name before names that several files use.
    fn tell_files_apart(&mut self) {
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for tensor in &self.tensors {
            *uses.entry(&tensor.name).or_default() += 1;
        }
        let shared: BTreeSet<String> =
            uses.into_iter().filter(|(_, n)| *n > 1).map(|(name, _)| name.to_owned()).collect();
        for tensor in self.tensors.iter_mut().filter(|t| shared.contains(&t.name)) {
            let file = self.files[tensor.file].0.file_stem().unwrap_or_default();
            let before = format!("{}/", file.to_string_lossy());
            tensor.prefix = before.len();
            tensor.name = before + &tensor.name;
        }
    }
}

/// The checkpoint that a file of a folder belongs to.
fn unit_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if file.extension().is_some_and(|e| e == "npy") {
        return "*.npy".to_owned();
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match stem.rsplit_once("-of-") {
        Some((before, count)) if digits(count) => match before.rsplit_once('-') {
            Some((model, shard)) if digits(shard) => model.to_owned(),
            _ => stem.into_owned(),
        },
        _ => stem.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder_are_told_apart_and_shards_are_not() {
        let of = |name: &str| unit_of(Path::new(name));
        assert_eq!(of("a/model-00001-of-00003.safetensors"), "model");
        assert_eq!(of("a/step0.safetensors"), "step0");
        assert_eq!(of("out-of-3.npz"), "out-of-3");
        assert_eq!(of("w.npy"), of("b.npy"));
    }
}
