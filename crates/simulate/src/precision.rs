use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::Real;

/// The number format in which signals and weights are stored.
///
/// Products accumulate in f32 (f64 for [`Precision::F64`]) as on present hardware; every stored
/// value is then rounded to the format, so overflow and underflow happen where the format's exponent
/// range puts them. Measured moments accumulate in f64 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE double: 2^-1074 to 2^1024.
    F64,
    /// IEEE single: 2^-149 to 2^128.
    #[default]
    F32,
    /// Brain float: the exponent range of single, 8 bits of precision.
    Bf16,
    /// IEEE half: 2^-24 to 65,504.
    F16,
}

impl Precision {
    /// Smallest positive value, subnormal ones included.
    pub fn smallest(self) -> f64 {
        match self {
            Self::F64 => f64::from_bits(1),
            Self::F32 => f64::from(f32::from_bits(1)),
            Self::Bf16 => bf16::from_bits(1).to_f64(),
            Self::F16 => f16::from_bits(1).to_f64(),
        }
    }

    /// Largest finite value.
    pub fn largest(self) -> f64 {
        match self {
            Self::F64 => f64::MAX,
            Self::F32 => f64::from(f32::MAX),
            Self::Bf16 => bf16::MAX.to_f64(),
            Self::F16 => f16::MAX.to_f64(),
        }
    }

    /// Rounds computed values to the stored format; the identity for the format computed in.
    pub(crate) fn round<T: Real>(self, values: &mut [T]) {
        match self {
            Self::F64 | Self::F32 => {}
            Self::Bf16 => values
                .iter_mut()
                .for_each(|v| *v = T::from_f64(bf16::from_f64(v.to_f64()).to_f64())),
            Self::F16 => {
                values
                    .iter_mut()
                    .for_each(|v| *v = T::from_f64(f16::from_f64(v.to_f64()).to_f64()));
            }
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_their_published_ranges() {
        assert_eq!(Precision::F16.largest(), 65504.0);
        assert_eq!(Precision::F16.smallest(), 2f64.powi(-24));
        assert_eq!(Precision::F32.smallest(), 2f64.powi(-149));
        assert_eq!(Precision::Bf16.smallest(), 2f64.powi(-133));
        let mut values = [70_000.0f32, 2e-8, 1.0 + 1e-4];
        Precision::F16.round(&mut values);
        assert_eq!(values, [f32::INFINITY, 0.0, 1.0]);
    }
}
