//! How finely values were rounded before they were stored: bf16 widened to f32, a coarse grid, zeros in even shares.

use crate::array::Tensor;
use crate::dtype::{Dtype, decode_f32};

/// Fewest values that tell.
const FEWEST: usize = 16;
/// Bits of f32's fraction that are zero in every value of a narrower format: f16 leaves 13.
const NARROW: u32 = 13;
/// Cells of a grid between the smallest and the largest value; floating-point formats have far more.
const MOST_CELLS: f64 = 1024.0;

/// Distance from 1 to the next larger number of the narrowest format that holds all of these values.
pub(crate) fn precision(dtype: Dtype, head: &[f32]) -> f64 {
    let own = dtype.epsilon();
    let values = || head.iter().filter(|x| x.is_finite() && **x != 0.0);
    if dtype.bytes() < 4 || values().count() < FEWEST {
        return own;
    }
    let zero_bits = values().map(|x| x.to_bits().trailing_zeros()).min().unwrap_or(0).min(23);
    if zero_bits < NARROW { own } else { (f64::from(zero_bits) - 23.0).exp2() }
}

/// The step of the uniform grid on which all of these values lie, where it has few cells.
pub(crate) fn step(dtype: Dtype, head: &[f32]) -> Option<f64> {
    if dtype.bytes() < 2 || head.len() < 256 {
        return None;
    }
    let mut values: Vec<f64> =
        head.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x)).collect();
    let count = values.len();
    values.sort_by(f64::total_cmp);
    values.dedup();
    if values.len() < 3 || 8 * values.len() > count {
        return None;
    }
    let (low, high) = (values[0], values[values.len() - 1]);
    let gap = values.windows(2).map(|w| w[1] - w[0]).fold(f64::INFINITY, f64::min);
    let cells = ((high - low) / gap).round();
    if !(gap > 0.0) || cells > MOST_CELLS {
        return None;
    }
    let step = (high - low) / cells;
    let on_grid = |x: &f64| {
        let at = (x - low) / step;
        (at - at.round()).abs() < 0.1
    };
    values.iter().all(on_grid).then_some(step)
}

/// Share of lines with the same number of zeros; in f16 a drawn value is rounded to zero now and then.
const EVEN: f64 = 0.9;

/// Whether rows, or columns, hold the same number of zeros each, as a sparse initializer leaves them
/// (Martens 2010, section 5) and chance or an accident does not.
pub(crate) fn even_zeros(tensor: &Tensor, bytes: &[u8], columns: usize) -> bool {
    if columns < 2 {
        return false;
    }
    let mut values = Vec::new();
    let mut across = vec![0u64; columns];
    let mut rows = Vec::new();
    for row in bytes.chunks_exact(columns * tensor.dtype().bytes()) {
        decode_f32(tensor.dtype(), tensor.endian(), row, &mut values);
        let mut zeros = 0;
        for (column, _) in across.iter_mut().zip(&values).filter(|(_, x)| **x == 0.0) {
            *column += 1;
            zeros += 1;
        }
        rows.push(zeros);
    }
    let even = |counts: &mut Vec<u64>| {
        counts.sort_unstable();
        let most = counts.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
        counts.len() > 1 && most as f64 >= EVEN * counts.len() as f64
    };
    even(&mut rows) || even(&mut across)
}

/// The first `most` values of a matrix in the order of its transpose.
pub(crate) fn transposed_head(
    tensor: &Tensor,
    bytes: &[u8],
    columns: usize,
    most: usize,
) -> Vec<f32> {
    let size = tensor.dtype().bytes();
    let rows = (bytes.len() / size).checked_div(columns).unwrap_or(0);
    if tensor.shape().iter().filter(|n| **n > 1).count() != 2 || rows < 2 || columns < 2 {
        return Vec::new();
    }
    let mut picked = Vec::with_capacity(most * size);
    let places = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
    for at in places.take(most) {
        picked.extend_from_slice(bytes.get(at * size..(at + 1) * size).unwrap_or_default());
    }
    let mut head = Vec::new();
    decode_f32(tensor.dtype(), tensor.endian(), &picked, &mut head);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 1.618).sin() * 0.05).collect()
    }

    #[test]
    fn widened_formats_are_known_by_their_zero_bits() {
        let fine = wave(500);
        assert_eq!(precision(Dtype::F32, &fine), Dtype::F32.epsilon());
        let narrow = |keep: u32| -> Vec<f32> {
            fine.iter().map(|x| f32::from_bits(x.to_bits() & !((1 << (23 - keep)) - 1))).collect()
        };
        assert_eq!(precision(Dtype::F32, &narrow(7)), Dtype::Bf16.epsilon());
        assert_eq!(precision(Dtype::F32, &narrow(10)), Dtype::F16.epsilon());
        // One bit more than any narrow format has.
        assert_eq!(precision(Dtype::F32, &narrow(12)), Dtype::F32.epsilon());
    }

    #[test]
    fn a_grid_is_seen_and_a_floating_format_is_none() {
        let grid: Vec<f32> = wave(4000).iter().map(|x| (x / 0.004).round() * 0.004).collect();
        let seen = step(Dtype::F32, &grid).expect("a grid");
        assert!((seen / 0.004 - 1.0).abs() < 1e-5, "{seen}");
        assert_eq!(step(Dtype::F32, &wave(4000)), None);
        let bf16: Vec<f32> =
            wave(4000).iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect();
        assert_eq!(step(Dtype::F32, &bf16), None);
    }
}
