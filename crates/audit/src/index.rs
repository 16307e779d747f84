//! Shards under an index, as Hugging Face writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::Deserialize;

use crate::AuditError;
use crate::checkpoint::Checkpoint;
use crate::safetensors::short;

/// The shards that an index names, which must hold exactly what it says.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, AuditError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(path).map_err(|e| AuditError::io(path, &e))?;
    let index: Index = serde_json::from_str(&text).map_err(|e| AuditError::Kind {
        path: path.to_owned(),
        reason: format!("it is no index of shards ({e})"),
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut checkpoint = Checkpoint::empty();
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    for shard in shards {
        let plain = Path::new(shard).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain {
            return Err(AuditError::damaged(
                path,
                format!("its shard \"{}\" is outside its folder", short(shard)),
            ));
        }
        checkpoint.add(&folder.join(shard), "")?;
    }
    let mut found: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    let other = checkpoint.others.iter().map(|o| (o.name.as_str(), Path::new("")));
    let held = checkpoint.tensors.iter().map(|t| (t.name.as_str(), checkpoint.file_of(t)));
    for (name, file) in held.chain(other) {
        found.entry(name).or_default().push(file);
    }
    for (name, shard) in &index.weight_map {
        match found.get(name.as_str()).map(Vec::as_slice) {
            None => {
                return Err(AuditError::damaged(
                    path,
                    format!("it places tensor \"{}\" in {shard}, which is not there", short(name)),
                ));
            }
            Some([file]) if *file == folder.join(shard) || file.as_os_str().is_empty() => {}
            Some(files) => {
                let names: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
                return Err(AuditError::damaged(
                    path,
                    format!(
                        "it places tensor \"{}\" in {shard}, found in {}",
                        short(name),
                        names.join(" and ")
                    ),
                ));
            }
        }
    }
    if let Some(name) = found.keys().find(|name| !index.weight_map.contains_key(**name)) {
        return Err(AuditError::damaged(
            path,
            format!("its shards hold tensor \"{}\", which it does not list", short(name)),
        ));
    }
    Ok(checkpoint)
}
