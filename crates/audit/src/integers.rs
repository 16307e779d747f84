//! Whole numbers beside weights: labels, which no audit looks at.

use crate::array::Place;
use crate::dtype::Endian;

/// An array of whole numbers and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    signed: bool,
    bytes: usize,
    endian: Endian,
    pub(crate) file: usize,
    pub(crate) place: Place,
}

impl PartialEq for Integers {
    fn eq(&self, other: &Self) -> bool {
        (self.signed, self.bytes, self.file) == (other.signed, other.bytes, other.file)
    }
}

impl Eq for Integers {}

impl Integers {
    /// Of numpy's or safetensors' type name; `None` for what is no whole number.
    pub(crate) fn new(kind: &str, endian: Endian, place: Place) -> Option<Self> {
        let (signed, bytes) = format(kind)?;
        Some(Self { signed, bytes, endian, file: 0, place })
    }

    /// The numbers; those beyond 2^63 become the largest.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Vec<i64> {
        let number = |b: &[u8]| {
            let mut wide = [0u8; 8];
            match self.endian {
                Endian::Little => wide[..b.len()].copy_from_slice(b),
                Endian::Big => wide.iter_mut().zip(b.iter().rev()).for_each(|(w, b)| *w = *b),
            }
            let value = u64::from_le_bytes(wide);
            let spare = 64 - 8 * b.len() as u32;
            if self.signed {
                (value << spare).cast_signed() >> spare
            } else {
                i64::try_from(value).unwrap_or(i64::MAX)
            }
        };
        bytes.chunks_exact(self.bytes).map(number).collect()
    }
}

/// Bytes of one number of a type that numpy or safetensors names; `None` for what is no whole number.
pub(crate) fn width(kind: &str) -> Option<usize> {
    format(kind).map(|(_, bytes)| bytes)
}

/// Whether it has a sign, and its bytes.
fn format(kind: &str) -> Option<(bool, usize)> {
    Some(match kind.trim_start_matches(['<', '>', '=', '|']) {
        "i1" | "I8" => (true, 1),
        "i2" | "I16" => (true, 2),
        "i4" | "I32" => (true, 4),
        "i8" | "I64" => (true, 8),
        "u1" | "U8" => (false, 1),
        "u2" | "U16" => (false, 2),
        "u4" | "U32" => (false, 4),
        "u8" | "U64" => (false, 8),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_sign_and_byte_order_is_read() {
        let of = |kind: &str, endian, bytes: &[u8]| {
            let place = Place::Plain { start: 0, end: bytes.len() };
            Integers::new(kind, endian, place).map(|i| i.decode(bytes))
        };
        assert_eq!(of("<i8", Endian::Little, &(-3i64).to_le_bytes()), Some(vec![-3]));
        assert_eq!(of(">i4", Endian::Big, &(-70_000i32).to_be_bytes()), Some(vec![-70_000]));
        assert_eq!(of("|u1", Endian::Little, &[255, 0]), Some(vec![255, 0]));
        assert_eq!(of("I16", Endian::Little, &(-2i16).to_le_bytes()), Some(vec![-2]));
        assert_eq!(of("<u8", Endian::Little, &u64::MAX.to_le_bytes()), Some(vec![i64::MAX]));
        assert_eq!(of("|b1", Endian::Little, &[1]), None);
    }
}
