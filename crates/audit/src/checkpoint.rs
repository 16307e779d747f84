//! A checkpoint as a list of tensors: one file, several under an index, or a folder.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::array::{Other, Place, Tensor, c_order};
use crate::bytes::Bytes;
use crate::dtype::{Dtype, decode_f32, decode_f64};
use crate::formats::contents;
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
}
