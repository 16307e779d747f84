use crate::dtype::decode_f32;
use crate::{AuditError, Checkpoint, Tensor};

impl Checkpoint {
    /// A tensor's values, the last axis running fastest whatever the file's order, rounded to f32.
    ///
    /// # Errors
    /// [`AuditError`] for a compressed array that is damaged.
    ///
    /// # Example
    /// ```
    /// use gainstage_audit::Checkpoint;
    /// // Columns first: 1 2 / 3 4.
    /// let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n";
    /// let mut file = b"\x93NUMPY\x01\x00".to_vec();
    /// file.extend((header.len() as u16).to_le_bytes());
    /// file.extend(header.as_bytes());
    /// [1.0f32, 3.0, 2.0, 4.0].iter().for_each(|v| file.extend(v.to_le_bytes()));
    /// let checkpoint = Checkpoint::from_bytes("x.npy".as_ref(), file)?;
    /// assert_eq!(checkpoint.values(&checkpoint.tensors()[0])?, [1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), gainstage_audit::AuditError>(())
    /// ```
    pub fn values(&self, tensor: &Tensor) -> Result<Vec<f32>, AuditError> {
        let bytes = self.bytes(tensor)?;
        let mut stored = Vec::with_capacity(tensor.elements());
        decode_f32(tensor.dtype(), tensor.endian(), &bytes, &mut stored);
        if !tensor.is_fortran() || tensor.shape().len() < 2 {
            return Ok(stored);
        }
        let axes = tensor.shape();
        let mut place = vec![0usize; axes.len()];
        let mut values = Vec::with_capacity(stored.len());
        for _ in 0..stored.len() {
            let at = axes.iter().zip(&place).rev().fold(0, |at, (axis, i)| at * axis + i);
            values.push(stored[at]);
            for (i, axis) in place.iter_mut().zip(axes).rev() {
                *i += 1;
                if *i < *axis {
                    break;
                }
                *i = 0;
            }
        }
        Ok(values)
    }
}
