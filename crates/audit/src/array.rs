//! One array of a weight file.

use crate::dtype::{Dtype, Endian};
use crate::integers::Integers;
use crate::npy;

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

/// From the first axis fastest to the last.
pub(crate) fn c_order(values: &[f64], shape: &[usize]) -> Vec<f64> {
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
    fn fortran_order_is_turned_round() {
        // [[1, 2, 3], [4, 5, 6]] with the first axis contiguous.
        assert_eq!(
            c_order(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], &[2, 3]),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
    }
}
