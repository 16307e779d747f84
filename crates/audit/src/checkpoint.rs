//! A checkpoint as a list of tensors: one file, several under an index, or a folder.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::bytes::Bytes;
use crate::dtype::{Dtype, Endian, Stored};
use crate::safetensors::short;
use crate::{AuditError, npy, npz, safetensors};

/// Weight files, opened.
///
/// # Example
/// ```
/// use gainstage_audit::Checkpoint;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("tiny.safetensors");
/// let header = r#"{"fc.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
/// let mut file = (header.len() as u64).to_le_bytes().to_vec();
/// file.extend(header.as_bytes());
/// file.extend([0; 8]);
/// std::fs::write(&path, &file)?;
/// let checkpoint = Checkpoint::open(&path)?;
/// assert_eq!(checkpoint.tensors()[0].shape(), [2, 1]);
/// file.pop();
/// std::fs::write(&path, &file)?;
/// assert!(Checkpoint::open(&path).unwrap_err().to_string().contains("0 to 8 of 7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<(PathBuf, Bytes)>,
    tensors: Vec<Tensor>,
    others: Vec<Other>,
}

/// One floating-point array of a checkpoint.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    fortran: bool,
    endian: Endian,
    file: usize,
    place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Bytes of the file.
    Plain { start: usize, end: usize },
    /// A deflated numpy array of that size behind its header.
    Deflated { start: usize, end: usize, header: usize, size: usize },
}

/// Something in the files that is no weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// Its shape, where it has one.
    pub shape: Vec<usize>,
    /// Why it is not audited.
    pub reason: String,
}

/// What one file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) others: Vec<Other>,
}

impl Tensor {
    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number format.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its axes as the file states them.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the first axis, not the last, is contiguous.
    pub(crate) fn is_fortran(&self) -> bool {
        self.fortran
    }

    pub(crate) fn endian(&self) -> Endian {
        self.endian
    }

    /// A numpy array.
    pub(crate) fn from_numpy(name: String, array: npy::Array, place: Place) -> Result<Self, Other> {
        let npy::Array { dtype, endian, fortran, shape, .. } = array;
        match dtype {
            Ok(dtype) => Ok(Self { name, dtype, shape, fortran, endian, file: 0, place }),
            Err(kind) => {
                let void = matches!(kind.as_str(), "|V2" | "V2" | "<V2" | "|V1" | "V1");
                let reason = if void {
                    format!(
                        "numpy type {kind}: a bfloat16 or float8 that numpy cannot name; save it as safetensors or as float32"
                    )
                } else {
                    format!("type {kind} is no floating-point type that weights are stored in")
                };
                Err(Other { name, shape, reason })
            }
        }
    }
}

impl Contents {
    pub(crate) fn push(&mut self, tensor: Result<Tensor, Other>) {
        match tensor {
            Ok(tensor) => self.tensors.push(tensor),
            Err(other) => self.others.push(other),
        }
    }
}

impl Checkpoint {
    /// Opens a weight file, a `*.index.json` with its shards, or a folder with either.
    ///
    /// # Errors
    /// [`AuditError`] for what cannot be read, contradicts itself or is of another kind.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let metadata = std::fs::metadata(path).map_err(|e| AuditError::io(path, &e))?;
        if metadata.is_dir() {
            Self::folder(path)
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
            Self::index(path)
        } else {
            let mut checkpoint = Self::empty();
            checkpoint.add(path)?;
            Ok(checkpoint)
        }
    }

    /// Reads a weight file from memory; `name` stands for it in sentences.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(name: &Path, bytes: Vec<u8>) -> Result<Self, AuditError> {
        let mut checkpoint = Self::empty();
        checkpoint.take(name, Bytes::Read(bytes))?;
        Ok(checkpoint)
    }

    /// The weights, in the order of the files.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// What else is in the files, with the reason why it is no weight.
    pub fn others(&self) -> &[Other] {
        &self.others
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The file that holds a tensor.
    pub fn file_of(&self, tensor: &Tensor) -> &Path {
        &self.files[tensor.file].0
    }

    /// A tensor's bytes; only a compressed one is copied.
    pub(crate) fn bytes(&self, tensor: &Tensor) -> Result<Cow<'_, [u8]>, AuditError> {
        let (path, file) = &self.files[tensor.file];
        match tensor.place {
            Place::Plain { start, end } => Ok(Cow::Borrowed(&file[start..end])),
            Place::Deflated { start, end, header, size } => {
                let mut inflated = Vec::new();
                let limit = (header + size + 1) as u64;
                flate2::read::DeflateDecoder::new(&file[start..end])
                    .take(limit)
                    .read_to_end(&mut inflated)
                    .map_err(|e| {
                        AuditError::damaged(path, format!("array \"{}\": {e}", short(&tensor.name)))
                    })?;
                if inflated.len() != header + size {
                    return Err(AuditError::damaged(
                        path,
                        format!(
                            "array \"{}\" needs {size} bytes and {} come out of its archive",
                            short(&tensor.name),
                            inflated.len().saturating_sub(header)
                        ),
                    ));
                }
                inflated.drain(..header);
                Ok(Cow::Owned(inflated))
            }
        }
    }

    fn empty() -> Self {
        Self { files: Vec::new(), tensors: Vec::new(), others: Vec::new() }
    }

    fn add(&mut self, path: &Path) -> Result<(), AuditError> {
        self.take(path, Bytes::open(path)?)
    }

    fn take(&mut self, path: &Path, bytes: Bytes) -> Result<(), AuditError> {
        let mut contents = contents(path, &bytes)?;
        for tensor in &mut contents.tensors {
            tensor.file = self.files.len();
        }
        self.files.push((path.to_owned(), bytes));
        self.tensors.append(&mut contents.tensors);
        self.others.append(&mut contents.others);
        Ok(())
    }

    /// All weight files of a folder, through an index where there is one.
    fn folder(path: &Path) -> Result<Self, AuditError> {
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
            [index] => return Self::index(index),
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
            checkpoint.add(file)?;
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
            tensor.name = format!("{}/{}", file.to_string_lossy(), tensor.name);
        }
    }

    /// The shards that an index names, which must hold exactly what it says.
    fn index(path: &Path) -> Result<Self, AuditError> {
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
        let mut checkpoint = Self::empty();
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        for shard in shards {
            let plain =
                Path::new(shard).components().all(|part| matches!(part, Component::Normal(_)));
            if !plain {
                return Err(AuditError::damaged(
                    path,
                    format!("its shard \"{}\" is outside its folder", short(shard)),
                ));
            }
            checkpoint.add(&folder.join(shard))?;
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
                        format!(
                            "it places tensor \"{}\" in {shard}, which is not there",
                            short(name)
                        ),
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
}

/// Reads what a file describes, by its first bytes and not by its name.
fn contents(path: &Path, file: &[u8]) -> Result<Contents, AuditError> {
    let kind = |reason: &str| AuditError::Kind { path: path.to_owned(), reason: reason.to_owned() };
    if file.starts_with(b"\x93NUMPY") {
        return one_array(path, file);
    }
    if file.starts_with(b"PK") {
        return npz::contents(path, file);
    }
    if file.starts_with(b"\x89HDF") {
        return Err(kind("it is an HDF5 file; save the arrays with numpy.savez"));
    }
    if file.starts_with(b"GGUF") {
        return Err(kind("it is a GGUF file, whose weights are quantised"));
    }
    if file.starts_with(b"\x80")
        && file.get(1).is_some_and(|v| *v <= 5)
        && file.get(8) != Some(&b'{')
    {
        return Err(kind("it is a Python pickle; save the state with safetensors.torch.save_file"));
    }
    let mut contents = Contents::default();
    for entry in safetensors::entries(file).map_err(|reason| AuditError::damaged(path, reason))? {
        let safetensors::Entry { name, stored, shape, start, end } = entry;
        contents.push(match stored {
            Stored::Float(dtype) => Ok(Tensor {
                name,
                dtype,
                shape,
                fortran: false,
                endian: Endian::Little,
                file: 0,
                place: Place::Plain { start, end },
            }),
            Stored::Other { name: kind, .. } => {
                let reason =
                    format!("type {kind} is no floating-point type that weights are stored in");
                Err(Other { name, shape, reason })
            }
        });
    }
    Ok(contents)
}

fn one_array(path: &Path, file: &[u8]) -> Result<Contents, AuditError> {
    let array = npy::header(file).map_err(|reason| AuditError::damaged(path, reason))?;
    let size = array.size();
    if array.dtype.is_ok() && size.and_then(|s| s.checked_add(array.data)) != Some(file.len()) {
        let needed = size.map_or("more than 2^64".to_owned(), |n| n.to_string());
        let reason = format!(
            "its shape {:?} needs {needed} bytes and {} are there",
            array.shape,
            file.len().saturating_sub(array.data)
        );
        return Err(AuditError::damaged(path, reason));
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let place = Place::Plain { start: array.data.min(file.len()), end: file.len() };
    let mut contents = Contents::default();
    contents.push(Tensor::from_numpy(name, array, place));
    Ok(contents)
}
