//! Numpy arrays in a zip archive, stored or deflated.

use std::io::{Cursor, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use crate::AuditError;
use crate::array::{Contents, Other, Place, Tensor};
use crate::npy;
use crate::safetensors::short;

/// Deflate's largest ratio (RFC 1951: 258 bytes from 2 bits); whoever claims more lies.
const MOST_RATIO: usize = 1032;
/// Bytes of a compressed array that are inflated to read its header.
const HEADER: u64 = 1 << 16;

pub(crate) fn contents(path: &Path, file: &[u8]) -> Result<Contents, AuditError> {
    let damaged = |reason: String| AuditError::damaged(path, reason);
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|e| damaged(e.to_string()))?;
    let mut contents = Contents::default();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| damaged(e.to_string()))?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name().to_owned();
        let keras = Path::new(&name).extension().is_some_and(|e| e == "h5");
        if keras || name.ends_with("data.pkl") {
            return Err(AuditError::Kind {
                path: path.to_owned(),
                reason: if keras {
                    "it is a Keras archive around an HDF5 file; save the arrays with numpy.savez"
                } else {
                    "it is a PyTorch archive around a pickle; save the state with safetensors.torch.save_file"
                }
                .to_owned(),
            });
        }
        let said = |reason: String| damaged(format!("array \"{}\": {reason}", short(&name)));
        let (start, length) = (entry.data_start(), entry.compressed_size());
        let range = start
            .and_then(|s| usize::try_from(s).ok())
            .zip(usize::try_from(length).ok())
            .and_then(|(s, n)| Some((s, s.checked_add(n)?)))
            .filter(|(_, end)| *end <= file.len());
        let Some((start, end)) = range else {
            return Err(said(format!("its {length} bytes reach beyond the file")));
        };
        let Some(plain_name) = name.strip_suffix(".npy") else {
            let reason = "it is no numpy array".to_owned();
            contents.others.push(Other {
                name: short(&name),
                shape: Vec::new(),
                reason,
                integers: None,
            });
            continue;
        };
        let stored = &file[start..end];
        let (array, place) = match entry.compression() {
            CompressionMethod::Stored => {
                let array = npy::header(stored).map_err(said)?;
                let place = Place::Plain { start: start + array.data.min(stored.len()), end };
                (array, place)
            }
            CompressionMethod::DEFLATE => {
                let mut head = Vec::new();
                DeflateDecoder::new(stored)
                    .take(HEADER)
                    .read_to_end(&mut head)
                    .map_err(|e| said(e.to_string()))?;
                let array = npy::header(&head).map_err(said)?;
                let (header, size) = (array.data, array.size().unwrap_or(0));
                (array, Place::Deflated { start, end, header, size })
            }
            other => {
                return Err(said(format!(
                    "it is compressed by {other}; stored and deflated are known"
                )));
            }
        };
        if array.width().is_some() {
            let size = array.size();
            let fits = match (&place, size) {
                (Place::Plain { start, end }, Some(size)) => end - start == size,
                (Place::Deflated { start, end, .. }, Some(size)) => {
                    size / MOST_RATIO <= end - start
                }
                (_, None) => false,
            };
            if !fits {
                let needed = size.map_or("more than 2^64".to_owned(), |n| n.to_string());
                return Err(said(format!(
                    "its shape {:?} needs {needed} bytes, more or less than {} stored ones give",
                    array.shape,
                    stored.len()
                )));
            }
        }
        contents.push(Tensor::from_numpy(plain_name.to_owned(), array, place));
    }
    let mut names: Vec<&str> = contents.tensors.iter().map(Tensor::name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(damaged(format!("array \"{}\" occurs twice", short(pair[0]))));
    }
    Ok(contents)
}
