//! The header of a safetensors file, believed only where it agrees with itself and with the file's size.
//!
//! Eight bytes of length, that much JSON, then the tensors' bytes without holes
//! (<https://github.com/huggingface/safetensors#format>). The `safetensors` crate checks offsets and sizes
//! likewise, but takes the last of two tensors of one name; here a name that occurs twice is an error.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::dtype::Stored;

/// Axes of a tensor; numpy's limit, twice that of any framework's layers.
pub(crate) const MOST_AXES: usize = 64;

/// One tensor as the header describes it; offsets count from the start of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) stored: Stored,
    pub(crate) shape: Vec<usize>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads the header of a whole file, in the file's order of tensors.
pub(crate) fn entries(file: &[u8]) -> Result<Vec<Entry>, String> {
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(format!(
            "it has {} bytes, and the length of its header alone takes 8",
            file.len()
        ));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length)
        .ok()
        .and_then(|n| rest.get(..n))
        .ok_or_else(|| format!("its header claims {length} bytes, the file has {}", rest.len()))?;
    let text = std::str::from_utf8(header).map_err(|e| format!("its header is not UTF-8: {e}"))?;
    let Header(raw) =
        serde_json::from_str(text).map_err(|e| format!("its header is not as it must be: {e}"))?;
    let origin = 8 + header.len();
    let available = file.len() - origin;
    let mut entries =
        raw.into_iter().map(|raw| raw.check(origin, available)).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|e| (e.start, e.end));
    let mut reached = origin;
    for entry in &entries {
        if entry.start != reached {
            return Err(format!(
                "tensor \"{}\" starts at byte {} of the data where the one before it ends at {}, so they {}",
                short(&entry.name),
                entry.start - origin,
                reached - origin,
                if entry.start < reached { "overlap" } else { "leave a hole" }
            ));
        }
        reached = entry.end;
    }
    if reached != file.len() {
        return Err(format!(
            "its tensors end at byte {} of {} of data",
            reached - origin,
            available
        ));
    }
    Ok(entries)
}

/// Names are quoted in sentences; a name may be as long as the file.
pub(crate) fn short(name: &str) -> String {
    if name.chars().count() <= 80 {
        name.to_owned()
    } else {
        name.chars().take(77).chain("...".chars()).collect()
    }
}

struct Raw {
    name: String,
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "dtype", deserialize_with = "stored")]
    stored: Stored,
    #[serde(deserialize_with = "shape")]
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Raw {
    fn check(self, origin: usize, available: usize) -> Result<Entry, String> {
        let Self { name, info } = self;
        let quoted = short(&name);
        let (start, end) = info.data_offsets;
        if start > end || end > available as u64 {
            return Err(format!(
                "tensor \"{quoted}\" claims bytes {start} to {end} of {available} bytes of data"
            ));
        }
        let elements = info.shape.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis as u64));
        if let Stored::Other { name, bits: None } = &info.stored {
            return Err(format!("tensor \"{quoted}\" has the unknown type \"{name}\""));
        }
        let needed = elements.zip(info.stored.bits()).and_then(|(n, bits)| n.checked_mul(bits));
        // In bits: the 4-bit formats pack two values a byte.
        if needed != Some((end - start).saturating_mul(8)) {
            let needed =
                needed.map_or("more than 2^64".to_owned(), |bits| bits.div_ceil(8).to_string());
            return Err(format!(
                "tensor \"{quoted}\" of shape {:?} needs {needed} bytes and has {}",
                info.shape,
                end - start
            ));
        }
        let place = |offset: u64| origin + offset as usize;
        Ok(Entry {
            name,
            stored: info.stored,
            shape: info.shape,
            start: place(start),
            end: place(end),
        })
    }
}

fn stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stored, D::Error> {
    struct Name;
    impl Visitor<'_> for Name {
        type Value = Stored;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a type")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Stored, E> {
            Ok(Stored::from_safetensors(name))
        }
    }
    deserializer.deserialize_str(Name)
}

fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    struct Axes;
    impl<'de> Visitor<'de> for Axes {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST_AXES} sizes")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut axes = Vec::new();
            while let Some(axis) = list.next_element::<u64>()? {
                if axes.len() == MOST_AXES {
                    return Err(de::Error::custom(format!(
                        "a shape of more than {MOST_AXES} axes"
                    )));
                }
                axes.push(usize::try_from(axis).map_err(de::Error::custom)?);
            }
            Ok(axes)
        }
    }
    deserializer.deserialize_seq(Axes)
}

/// The tensors in the order of the text; serde's own maps would drop a name's first occurrence.
struct Header(Vec<Raw>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Vec<Raw>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a tensor's name at each key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tensors: Vec<Raw> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        tensors.push(Raw { name, info: map.next_value()? });
                    }
                }
                let mut names = BTreeSet::new();
                if let Some(twice) = tensors.iter().find(|t| !names.insert(t.name.as_str())) {
                    return Err(de::Error::custom(format!(
                        "tensor \"{}\" occurs twice",
                        short(&twice.name)
                    )));
                }
                Ok(tensors)
            }
        }
        deserializer.deserialize_map(Tensors).map(Header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn a_right_header_is_read_with_padding_and_metadata() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[2,10]},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}   "#;
        let read = entries(&file(header, 10)).expect("a right header");
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].name.as_str(), read[0].end - read[0].start), ("a", 2));
        assert_eq!(read[1].shape, [2, 1]);
        assert_eq!(read[1].end, 8 + header.len() + 10);
    }

    #[test]
    fn lies_are_refused_with_what_they_said() {
        let one = |dtype: &str, shape: &str, a: u64, b: u64| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{a},{b}]}}}}"#)
        };
        let cases = [
            (one("F32", "[2]", 0, 9), 9, "needs 8 bytes and has 9"),
            (one("F32", "[4]", 0, 16), 8, "0 to 16 of 8"),
            (one("F32", "[2]", 8, 0), 8, "8 to 0"),
            (one("F32", "[4294967296,4294967296,4294967296]", 0, 8), 8, "more than 2^64"),
            (one("F99", "[2]", 0, 8), 8, "unknown type \"F99\""),
            (one("F32", "[2]", 0, 8), 12, "end at byte 8 of 12"),
            (one("F32", "[-2]", 0, 8), 8, "not as it must be"),
            (one("F32", "[1.5]", 0, 8), 8, "not as it must be"),
            (one("F32", "[2]", 4, 12), 12, "leave a hole"),
            ("{\"w\":{\"dtype\":\"F32\"}}".to_owned(), 0, "missing field"),
            ("[]".to_owned(), 0, "not as it must be"),
        ];
        for (header, data, said) in cases {
            let error = entries(&file(&header, data)).expect_err(&header);
            assert!(error.contains(said), "{header}: {error}");
        }
        let w = r#""w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        let twice = entries(&file(&format!("{{{w},{w}}}"), 4)).expect_err("twice");
        assert!(twice.contains("\"w\" occurs twice"), "{twice}");
        let v = w.replace("\"w\"", "\"v\"");
        let overlap = entries(&file(&format!("{{{w},{v}}}"), 4)).expect_err("overlap");
        assert!(overlap.contains("overlap"), "{overlap}");
        let many = one("F32", &format!("[{}]", vec!["1"; 65].join(",")), 0, 4);
        assert!(entries(&file(&many, 4)).expect_err("axes").contains("more than 64 axes"));
        assert!(entries(&[0; 7]).expect_err("short").contains("7 bytes"));
        assert!(entries(&u64::MAX.to_le_bytes()).expect_err("long").contains("claims"));
    }
}
