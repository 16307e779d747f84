//! Number formats of stored weights, and how they become numbers.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// A floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a single.
    #[serde(rename = "BF16")]
    Bf16,
    /// 4 bits of exponent, 3 of fraction, no infinities (Micikevicius et al. 2022).
    #[serde(rename = "F8_E4M3")]
    F8E4M3,
    /// 5 bits of exponent, 2 of fraction.
    #[serde(rename = "F8_E5M2")]
    F8E5M2,
}

impl Dtype {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }

    /// The name that safetensors gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
        }
    }

    /// Distance from 1 to the next larger number.
    pub fn epsilon(self) -> f64 {
        let fraction_bits = match self {
            Self::F64 => 52,
            Self::F32 => 23,
            Self::F16 => 10,
            Self::Bf16 => 7,
            Self::F8E4M3 => 3,
            Self::F8E5M2 => 2,
        };
        (-f64::from(fraction_bits)).exp2()
    }

    /// The value of a code of at most 16 bits; `None` for the wide formats.
    pub(crate) fn decode_code(self, code: u16) -> Option<f32> {
        match self {
            Self::F16 => Some(f16::from_bits(code).to_f32()),
            Self::Bf16 => Some(bf16::from_bits(code).to_f32()),
            Self::F8E4M3 => Some(small_float(code as u8, 4, 3, true)),
            Self::F8E5M2 => Some(small_float(code as u8, 5, 2, false)),
            Self::F64 | Self::F32 => None,
        }
    }
}

/// Sign, `exponent` bits, `fraction` bits. The finite variant spends one code on NaN and none on infinity.
fn small_float(code: u8, exponent: u32, fraction: u32, finite: bool) -> f32 {
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    let magnitude = u32::from(code & 0x7f);
    let (e, m) = (magnitude >> fraction, magnitude & ((1 << fraction) - 1));
    let top = (1 << exponent) - 1;
    let bias = (1 << (exponent - 1)) - 1;
    if finite && magnitude == 0x7f {
        return f32::NAN;
    }
    if !finite && e == top {
        return if m == 0 { sign * f32::INFINITY } else { f32::NAN };
    }
    let scale = |power: i32| (power as f32).exp2();
    let unit = scale(-(fraction as i32));
    if e == 0 {
        sign * m as f32 * unit * scale(1 - bias)
    } else {
        sign * (1.0 + m as f32 * unit) * scale(e as i32 - bias)
    }
}

/// What a file says that a tensor holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Weights.
    Float(Dtype),
    /// Something else, with its name and bits per value where known.
    Other { name: String, bits: Option<u64> },
}

impl Stored {
    /// A safetensors type name.
    pub(crate) fn from_safetensors(name: &str) -> Self {
        let dtype = match name {
            "F64" => Dtype::F64,
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::Bf16,
            "F8_E4M3" => Dtype::F8E4M3,
            "F8_E5M2" => Dtype::F8E5M2,
            _ => {
                let bits = match name {
                    "F4" => Some(4),
                    "F6_E2M3" | "F6_E3M2" => Some(6),
                    "BOOL" | "U8" | "I8" | "F8_E8M0" => Some(8),
                    "I16" | "U16" => Some(16),
                    "I32" | "U32" => Some(32),
                    "I64" | "U64" | "C64" => Some(64),
                    _ => None,
                };
                return Self::Other { name: name.chars().take(32).collect(), bits };
            }
        };
        Self::Float(dtype)
    }

    pub(crate) fn bits(&self) -> Option<u64> {
        match self {
            Self::Float(dtype) => Some(8 * dtype.bytes() as u64),
            Self::Other { bits, .. } => *bits,
        }
    }
}

/// Little-endian or, from numpy on some machines, big-endian values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

/// Decodes a block into f32; an f64 is rounded to nearest.
pub(crate) fn decode_f32(dtype: Dtype, endian: Endian, bytes: &[u8], out: &mut Vec<f32>) {
    out.clear();
    match dtype {
        Dtype::F64 => out.extend(f64s(endian, bytes).map(|x| x as f32)),
        Dtype::F32 => {
            let (values, _) = bytes.as_chunks::<4>();
            match endian {
                Endian::Little => out.extend(values.iter().map(|b| f32::from_le_bytes(*b))),
                Endian::Big => out.extend(values.iter().map(|b| f32::from_be_bytes(*b))),
            }
        }
        Dtype::F16 => out.extend(u16s(endian, bytes).map(|c| f16::from_bits(c).to_f32())),
        Dtype::Bf16 => {
            out.extend(u16s(endian, bytes).map(|c| f32::from_bits(u32::from(c) << 16)));
        }
        Dtype::F8E4M3 | Dtype::F8E5M2 => {
            let table: Vec<f32> =
                (0..256).map(|c| dtype.decode_code(c).unwrap_or(f32::NAN)).collect();
            out.extend(bytes.iter().map(|b| table[usize::from(*b)]));
        }
    }
}

/// Decodes a block of doubles.
pub(crate) fn decode_f64(endian: Endian, bytes: &[u8], out: &mut Vec<f64>) {
    out.clear();
    out.extend(f64s(endian, bytes));
}

/// The codes of a 16-bit format.
pub(crate) fn u16s(endian: Endian, bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (values, _) = bytes.as_chunks::<2>();
    values.iter().map(move |b| match endian {
        Endian::Little => u16::from_le_bytes(*b),
        Endian::Big => u16::from_be_bytes(*b),
    })
}

fn f64s(endian: Endian, bytes: &[u8]) -> impl Iterator<Item = f64> + '_ {
    let (values, _) = bytes.as_chunks::<8>();
    values.iter().map(move |b| match endian {
        Endian::Little => f64::from_le_bytes(*b),
        Endian::Big => f64::from_be_bytes(*b),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_codes_have_the_published_values() {
        // Micikevicius et al. 2022, table 1.
        let e4m3 = |c: u8| small_float(c, 4, 3, true);
        let e5m2 = |c: u8| small_float(c, 5, 2, false);
        assert_eq!(e4m3(0x7e), 448.0);
        assert_eq!(e4m3(0x08), (-6.0f32).exp2());
        assert_eq!(e4m3(0x01), (-9.0f32).exp2());
        assert_eq!(e4m3(0xb8), -1.0);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        assert_eq!(e5m2(0x7b), 57344.0);
        assert_eq!(e5m2(0x04), (-14.0f32).exp2());
        assert_eq!(e5m2(0x01), (-16.0f32).exp2());
        assert_eq!(e5m2(0xfc), f32::NEG_INFINITY);
        assert!(e5m2(0x7d).is_nan());
    }

    #[test]
    fn both_byte_orders_read_the_same_numbers() {
        let mut out = Vec::new();
        decode_f32(Dtype::F32, Endian::Big, &1.5f32.to_be_bytes(), &mut out);
        assert_eq!(out, [1.5]);
        decode_f32(Dtype::F16, Endian::Little, &f16::from_f32(-0.25).to_le_bytes(), &mut out);
        assert_eq!(out, [-0.25]);
        decode_f32(Dtype::Bf16, Endian::Big, &bf16::from_f32(3.0).to_be_bytes(), &mut out);
        assert_eq!(out, [3.0]);
    }
}
