//! What a weight file holds, told by its first bytes.

use std::path::Path;

use crate::array::{Contents, Other, Place, Tensor};
use crate::dtype::{Endian, Stored};
use crate::integers::Integers;
use crate::{AuditError, npy, npz, safetensors};

/// Reads what a file describes, by its first bytes and not by its name.
pub(crate) fn contents(path: &Path, file: &[u8]) -> Result<Contents, AuditError> {
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
                prefix: 0,
                dtype,
                shape,
                fortran: false,
                endian: Endian::Little,
                file: 0,
                unit: 0,
                place: Place::Plain { start, end },
            }),
            Stored::Other { name: kind, .. } => {
                let reason =
                    format!("type {kind} is no floating-point type that weights are stored in");
                let integers =
                    Integers::new(&kind, Endian::Little, Place::Plain { start, end }).map(Box::new);
                Err(Other { name, shape, reason, integers })
            }
        });
    }
    Ok(contents)
}

fn one_array(path: &Path, file: &[u8]) -> Result<Contents, AuditError> {
    let array = npy::header(file).map_err(|reason| AuditError::damaged(path, reason))?;
    let size = array.size();
    if array.width().is_some() && size.and_then(|s| s.checked_add(array.data)) != Some(file.len()) {
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
