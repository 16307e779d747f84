//! The header of a numpy array (NEP 1): a magic word, a version, and a Python dictionary of three keys.

use crate::dtype::{Dtype, Endian};
use crate::integers;
use crate::safetensors::MOST_AXES;

/// A numpy array's description and where its data start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Array {
    /// `None` for what is not a floating-point array, with its descriptor.
    pub(crate) dtype: Result<Dtype, String>,
    pub(crate) endian: Endian,
    pub(crate) fortran: bool,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: usize,
}

impl Array {
    /// Bytes of one number; `None` for what is neither a floating-point nor a whole number.
    pub(crate) fn width(&self) -> Option<usize> {
        match &self.dtype {
            Ok(dtype) => Some(dtype.bytes()),
            Err(kind) => integers::width(kind),
        }
    }

    /// Bytes of the data, where their type is known and they fit a number.
    pub(crate) fn size(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.width()?, |n, &axis| n.checked_mul(axis))
    }
}

/// Reads the header at the start of `bytes`, which may be longer or shorter than the array.
pub(crate) fn header(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it does not start as a numpy array does")?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or("it ends within its header")?;
    let (length, width, rest) = match version[0] {
        1 => {
            let (n, rest) = rest.split_first_chunk::<2>().ok_or("it ends within its header")?;
            (usize::from(u16::from_le_bytes(*n)), 2, rest)
        }
        2 | 3 => {
            let (n, rest) = rest.split_first_chunk::<4>().ok_or("it ends within its header")?;
            (u32::from_le_bytes(*n) as usize, 4, rest)
        }
        other => return Err(format!("it is of numpy's format {other}; 1 to 3 are known")),
    };
    let text = rest
        .get(..length)
        .ok_or_else(|| format!("its header claims {length} bytes, {} are there", rest.len()))?;
    let text = std::str::from_utf8(text).map_err(|e| format!("its header is not UTF-8: {e}"))?;
    let data = 8 + width + length;
    let (dtype, endian) = descriptor(field(text, "descr")?);
    let fortran = match field(text, "fortran_order")? {
        "False" => false,
        "True" => true,
        other => return Err(format!("its fortran_order is {other}, neither True nor False")),
    };
    Ok(Array { dtype, endian, fortran, shape: shape(field(text, "shape")?)?, data })
}

/// The text of one value of the dictionary.
fn field<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    let missing = || format!("its header has no key {key}");
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let at = quoted
        .iter()
        .find_map(|q| text.find(q.as_str()).map(|i| i + q.len()))
        .ok_or_else(missing)?;
    let value = text[at..].trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    let end = match value.as_bytes().first() {
        Some(b'(') => value.find(')').map(|i| i + 1),
        // A list describes a structured array.
        Some(b'[') => value.rfind(']').map(|i| i + 1),
        Some(quote @ (b'\'' | b'"')) => value[1..].find(*quote as char).map(|i| i + 2),
        _ => value.find([',', '}']),
    };
    end.and_then(|end| value.get(..end))
        .map(str::trim)
        .ok_or_else(|| format!("the value of {key} in its header does not end"))
}

fn descriptor(text: &str) -> (Result<Dtype, String>, Endian) {
    let name = text.trim_matches(['\'', '"']);
    let (endian, kind) = match name.as_bytes().first() {
        Some(b'>') => (Endian::Big, &name[1..]),
        Some(b'<' | b'=' | b'|') => (Endian::Little, &name[1..]),
        _ => (Endian::Little, name),
    };
    let dtype = match kind {
        "f8" => Ok(Dtype::F64),
        "f4" => Ok(Dtype::F32),
        "f2" => Ok(Dtype::F16),
        _ => Err(name.chars().take(40).collect()),
    };
    (dtype, endian)
}

fn shape(text: &str) -> Result<Vec<usize>, String> {
    let bad = || format!("its shape {} is not a tuple of sizes", crate::safetensors::short(text));
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).ok_or_else(bad)?;
    let mut axes = Vec::new();
    for part in inner.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if axes.len() == MOST_AXES {
            return Err(format!("its shape has more than {MOST_AXES} axes"));
        }
        // Python 2 wrote long integers with an L.
        axes.push(part.trim_end_matches('L').parse().map_err(|_| bad())?);
    }
    // Also where the type is not known, and no number of bytes says so.
    axes.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis)).ok_or_else(|| {
        let quoted = crate::safetensors::short(text);
        format!("its shape {quoted} has more elements than memory has bytes")
    })?;
    Ok(axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dictionary: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dictionary.len() as u16).to_le_bytes());
        bytes.extend(dictionary.as_bytes());
        bytes
    }

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n";
        let read = header(&array(text)).expect("a right header");
        assert_eq!(
            (read.dtype.clone(), read.fortran, read.shape.clone()),
            (Ok(Dtype::F32), false, vec![3, 4])
        );
        assert_eq!((read.data, read.size()), (10 + text.len(), Some(48)));
        let scalar = "{'descr': '>f8', 'fortran_order': True, 'shape': (), }\n";
        let read = header(&array(scalar)).expect("a scalar");
        assert_eq!((read.endian, read.shape.len(), read.size()), (Endian::Big, 0, Some(8)));
        let vector = "{'descr': '|V2', 'fortran_order': False, 'shape': (7,), }\n";
        assert_eq!(header(&array(vector)).expect("void").dtype, Err("|V2".to_owned()));
        let labels = "{'descr': '<i8', 'fortran_order': False, 'shape': (7, 2), }\n";
        assert_eq!(header(&array(labels)).expect("whole numbers").size(), Some(112));
        assert_eq!(header(&array(vector)).expect("void").size(), None);
        let record =
            "{'descr': [('a', '<f4'), ('b', '<i8')], 'fortran_order': False, 'shape': (7,), }\n";
        assert!(header(&array(record)).expect("records").dtype.is_err());
    }

    #[test]
    fn broken_headers_are_refused() {
        for (text, said) in [
            ("{'descr': '<f4', 'fortran_order': False}", "no key shape"),
            ("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", "Maybe"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "(-1,)"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1", "does not end"),
            (
                "{'descr': '|S3', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
                "more elements",
            ),
        ] {
            let error = header(&array(text)).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(header(b"\x93NUMPY\x07\x00").expect_err("version").contains("format 7"));
        assert!(header(b"\x93NUMPY\x01\x00\xff\xff").expect_err("length").contains("65535"));
        assert!(header(b"PK").is_err());
    }
}
