//! A checkpoint as a list of tensors: one file, several under an index, or a folder.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::bytes::Bytes;
use crate::dtype::{Dtype, Endian, decode_f32, decode_f64};
use crate::formats::contents;
use crate::integers::Integers;
use crate::npy;
use crate::safetensors::short;
use crate::{AuditError, index};

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
    pub(crate) files: Vec<(PathBuf, Bytes)>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) others: Vec<Other>,
    /// Names of the checkpoints, which [`Tensor::unit`] counts.
    pub(crate) units: Vec<String>,
}

/// One floating-point array of a checkpoint.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(crate) name: String,
    /// Bytes of the name that were put before the one in the file.
    pub(crate) prefix: usize,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) fortran: bool,
    pub(crate) endian: Endian,
    pub(crate) file: usize,
    /// Which checkpoint it belongs to, where a folder holds several.
    pub(crate) unit: usize,
    pub(crate) place: Place,
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
    /// Whole numbers, such as labels beside inputs.
    pub(crate) integers: Option<Box<Integers>>,
}

/// What one file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) others: Vec<Other>,
}

impl Tensor {
    /// Its name in the file, behind the file's own where several files use it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name in the file.
    pub fn own_name(&self) -> &str {
        &self.name[self.prefix..]
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
            Ok(dtype) => {
                Ok(Self { name, prefix: 0, dtype, shape, fortran, endian, file: 0, unit: 0, place })
            }
            Err(kind) => {
                let void = matches!(kind.as_str(), "|V2" | "V2" | "<V2" | "|V1" | "V1");
                let reason = if void {
                    format!(
                        "numpy type {kind}: a bfloat16 or float8 that numpy cannot name; save it as safetensors or as float32"
                    )
                } else {
                    format!("type {kind} is no floating-point type that weights are stored in")
                };
                let integers = Integers::new(&kind, endian, place).map(Box::new);
                Err(Other { name, shape, reason, integers })
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
            index::open(path)
        } else {
            let mut checkpoint = Self::empty();
            checkpoint.add(path, "")?;
            Ok(checkpoint)
        }
    }

    /// Reads a weight file from memory; `name` stands for it in sentences.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(name: &Path, bytes: Vec<u8>) -> Result<Self, AuditError> {
        let mut checkpoint = Self::empty();
        checkpoint.take(name, Bytes::Read(bytes), "")?;
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

    /// A tensor's values in the order of its axes, the last one fastest.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] for a compressed array that cannot be inflated.
    ///
    /// # Example
    /// ```
    /// use gainstage_audit::Checkpoint;
    /// let header = r#"{"fc.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
    /// let mut file = (header.len() as u64).to_le_bytes().to_vec();
    /// file.extend(header.as_bytes());
    /// file.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
    /// let checkpoint = Checkpoint::from_bytes("tiny.safetensors".as_ref(), file)?;
    /// assert_eq!(checkpoint.values(&checkpoint.tensors()[0])?, [1.5, -2.0]);
    /// # Ok::<(), gainstage_audit::AuditError>(())
    /// ```
    pub fn values(&self, tensor: &Tensor) -> Result<Vec<f64>, AuditError> {
        let bytes = self.bytes(tensor)?;
        let mut values = Vec::new();
        if tensor.dtype == Dtype::F64 {
            decode_f64(tensor.endian, &bytes, &mut values);
        } else {
            let mut narrow = Vec::new();
            decode_f32(tensor.dtype, tensor.endian, &bytes, &mut narrow);
            values.extend(narrow.into_iter().map(f64::from));
        }
        if tensor.fortran && tensor.shape.len() > 1 {
            values = c_order(&values, &tensor.shape);
        }
        Ok(values)
    }

    /// An array of whole numbers by its name; `None` where there is none.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] for a number of bytes that does not fit the shape.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, AuditError> {
        let found = self.others.iter().find(|o| o.name == name);
        let Some((other, integers)) = found.and_then(|o| Some((o, o.integers.as_ref()?))) else {
            return Ok(None);
        };
        let bytes = self.bytes_at(integers.file, &integers.place, name)?;
        let values = integers.decode(&bytes);
        if values.len() != other.shape.iter().product::<usize>() {
            let reason = format!(
                "array \"{}\" of shape {:?} holds {} numbers",
                short(name),
                other.shape,
                values.len()
            );
            return Err(AuditError::damaged(&self.files[integers.file].0, reason));
        }
        Ok(Some(values))
    }

    /// A tensor's bytes; only a compressed one is copied.
    pub(crate) fn bytes(&self, tensor: &Tensor) -> Result<Cow<'_, [u8]>, AuditError> {
        self.bytes_at(tensor.file, &tensor.place, &tensor.name)
    }

    fn bytes_at(
        &self,
        file: usize,
        place: &Place,
        name: &str,
    ) -> Result<Cow<'_, [u8]>, AuditError> {
        let (path, file) = &self.files[file];
        match *place {
            Place::Plain { start, end } => Ok(Cow::Borrowed(&file[start..end])),
            Place::Deflated { start, end, header, size } => {
                let mut inflated = Vec::new();
                let limit = (header + size + 1) as u64;
                flate2::read::DeflateDecoder::new(&file[start..end])
                    .take(limit)
                    .read_to_end(&mut inflated)
                    .map_err(|e| {
                        AuditError::damaged(path, format!("array \"{}\": {e}", short(name)))
                    })?;
                if inflated.len() != header + size {
                    return Err(AuditError::damaged(
                        path,
                        format!(
                            "array \"{}\" needs {size} bytes and {} come out of its archive",
                            short(name),
                            inflated.len().saturating_sub(header)
                        ),
                    ));
                }
                inflated.drain(..header);
                Ok(Cow::Owned(inflated))
            }
        }
    }

    pub(crate) fn empty() -> Self {
        Self { files: Vec::new(), tensors: Vec::new(), others: Vec::new(), units: Vec::new() }
    }

    /// Adds a file to the checkpoint called `unit`.
    pub(crate) fn add(&mut self, path: &Path, unit: &str) -> Result<(), AuditError> {
        self.take(path, Bytes::open(path)?, unit)
    }

    fn take(&mut self, path: &Path, bytes: Bytes, unit: &str) -> Result<(), AuditError> {
        let mut contents = contents(path, &bytes)?;
        let at = self.units.iter().position(|u| u == unit).unwrap_or_else(|| {
            self.units.push(unit.to_owned());
            self.units.len() - 1
        });
        for tensor in &mut contents.tensors {
            (tensor.file, tensor.unit) = (self.files.len(), at);
        }
        for integers in contents.others.iter_mut().filter_map(|o| o.integers.as_mut()) {
            integers.file = self.files.len();
        }
        self.files.push((path.to_owned(), bytes));
        self.tensors.append(&mut contents.tensors);
        self.others.append(&mut contents.others);
        Ok(())
    }

    /// All weight files of a folder, through an index where there is one. Each file is a checkpoint of its
    /// own, except shards (`*-00001-of-00003`) and single arrays (`.npy`), which make one.
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

/// From the first axis fastest to the last.
fn c_order(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut step = 1;
    for axis in shape {
        strides.push(step);
        step *= axis;
    }
    let mut index = vec![0usize; shape.len()];
    (0..values.len())
        .map(|_| {
            let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
            for (i, axis) in index.iter_mut().zip(shape).rev() {
                *i += 1;
                if *i < *axis {
                    break;
                }
                *i = 0;
            }
            values[at]
        })
        .collect()
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

    #[test]
    fn fortran_order_is_turned_round() {
        // [[1, 2, 3], [4, 5, 6]] with the first axis contiguous.
        assert_eq!(
            c_order(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], &[2, 3]),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
    }
}
