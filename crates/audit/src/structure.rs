//! Dependence within a tensor: rows and columns out of line, repeated, orthogonal, of low rank.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::DMatrix;

use crate::array::Tensor;
use crate::dtype::decode_f32;
use crate::facts::Core;
use crate::scan::{Lines, Scan};

/// Operations that the products of sampled rows may take.
const OPERATIONS: usize = 60_000_000;
/// Most rows that are sampled.
const MOST_ROWS: usize = 512;
/// Values of a sampled row.
const MOST_VALUES: usize = 16_384;
/// A row's variance must differ by this factor to be out of line.
const LINE_FACTOR: f64 = 1.2;

/// What was seen of a tensor as a matrix in the order of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Structure {
    pub(crate) rows: LineFacts,
    pub(crate) columns: LineFacts,
    /// Rows, or columns, that were multiplied with each other; none for vectors.
    pub(crate) products: Option<Products>,
}

/// How the variances of rows, or of columns, lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineFacts {
    pub(crate) count: usize,
    /// Mean squared deviation of their variances, as a multiple of that of independent values.
    pub(crate) dispersion: f64,
    /// Most deviating first: index, ratio of its standard deviation to the tensor's, z of its variance.
    pub(crate) far: Vec<(usize, f64, f64)>,
    /// Lines that repeat an earlier one: the earlier and the later.
    pub(crate) repeated: Vec<(usize, usize)>,
}

/// Inner products of sampled lines.
#[derive(Clone, Debug)]
pub(crate) struct Products {
    pub(crate) lines: usize,
    pub(crate) values: usize,
    /// Numerical rank of the sampled lines.
    pub(crate) rank: usize,
    /// Mean squared cosine of pairs times the number of values: 1 for independent ones.
    pub(crate) squared_cosine: f64,
    /// Largest cosine of a pair in magnitude, and the pair.
    pub(crate) largest: (f64, usize, usize),
    /// Whether the lines are orthogonal and equally long, to the rounding of the format.
    pub(crate) orthogonal: bool,
}

pub(crate) fn structure(
    tensor: &Tensor,
    bytes: &[u8],
    scan: &Scan,
    columns: usize,
    core: &Core,
    epsilon: f64,
) -> Structure {
    let m = &scan.moments;
    if scan.rows.len() < 2 || m.non_finite() > 0 || !(core.std > 0.0) || m.min() == m.max() {
        return Structure::default();
    }
    let kurtosis = m.kurtosis();
    let (count, size) = (scan.rows.len(), tensor.dtype().bytes());
    let tame = (core.outliers > 0).then(|| tame(tensor, bytes, scan, columns, core.range));
    let (of_rows, of_columns) =
        tame.as_ref().map_or((&scan.rows, &scan.columns), |(rows, columns)| (rows, columns));
    let mut rows = lines(of_rows, columns, kurtosis);
    let mut across = lines(of_columns, count, kurtosis);
    // Equal sums are equal lines only where the bytes say so: an 8-bit format has few sums.
    let value = |row: usize, column: usize| {
        let start = (row * columns + column) * size;
        bytes.get(start..start + size)
    };
    rows.keep_equal(|a, b| (0..columns).all(|c| value(a, c) == value(b, c)));
    across.keep_equal(|a, b| (0..count).all(|r| value(r, a) == value(r, b)));
    let products = products(tensor, bytes, scan.rows.len(), columns, epsilon);
    Structure { rows, columns: across, products }
}

/// The sums of rows and columns without the few wild values of a line, which are no property of the line; a
/// line of which more than a tenth is wild keeps them.
fn tame(
    tensor: &Tensor,
    bytes: &[u8],
    scan: &Scan,
    columns: usize,
    range: (f64, f64),
) -> (Lines, Lines) {
    let wild = |x: f64| !(range.0..=range.1).contains(&x);
    let count = scan.rows.len();
    let (mut of_rows, mut of_columns) =
        (vec![(0usize, 0.0, 0.0); count], vec![(0, 0.0, 0.0); columns]);
    let mut values = Vec::new();
    let size = (columns * tensor.dtype().bytes()).max(1);
    for (row, part) in of_rows.iter_mut().zip(bytes.chunks_exact(size)) {
        decode_f32(tensor.dtype(), tensor.endian(), part, &mut values);
        for (column, x) in of_columns.iter_mut().zip(&values) {
            let x = f64::from(*x);
            if wild(x) {
                for line in [&mut *row, column] {
                    *line = (line.0 + 1, line.1 + x, line.2 + x * x);
                }
            }
        }
    }
    let without = |lines: &Lines, wild: &[(usize, f64, f64)], length: usize| {
        let mut kept = lines.clone();
        for (i, (n, sum, square)) in wild.iter().enumerate() {
            if *n > 0 && *n <= (length / 10).max(1) && *n < length {
                let share = length as f64 / (length - n) as f64;
                kept.sums[i] = (kept.sums[i] - sum) * share;
                kept.squares[i] = ((kept.squares[i] - square) * share).max(0.0);
            }
        }
        kept
    };
    (without(&scan.rows, &of_rows, columns), without(&scan.columns, &of_columns, count))
}

/// `values` is the number of values in each line.
fn lines(lines: &Lines, values: usize, kurtosis: f64) -> LineFacts {
    let count = lines.len();
    let n = values as f64;
    let mut sorted = lines.squares.clone();
    sorted.sort_by(f64::total_cmp);
    // The median line is the measure, so that one loud line does not make all others quiet.
    let middle = sorted[count / 2] / n;
    let mut repeated = Vec::new();
    let mut seen: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    // Short lines of few distinct values meet by chance; zeros are told by their variance.
    if values >= 8 {
        for (i, (sum, square)) in lines.sums.iter().zip(&lines.squares).enumerate() {
            if *square == 0.0 {
                continue;
            }
            let first = *seen.entry((sum.to_bits(), square.to_bits())).or_insert(i);
            if first != i {
                repeated.push((first, i));
            }
        }
    }
    if !(middle > 0.0) {
        return LineFacts { count, dispersion: f64::INFINITY, far: Vec::new(), repeated };
    }
    // A loud line makes the whole tensor's kurtosis large, and must not hide itself by it.
    let spread = (kurtosis.clamp(1.05, 3.2) - 1.0) / n;
    let mut far: Vec<(usize, f64, f64)> = lines
        .squares
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let ratio = s / n / middle;
            // Few bounded values come near zero more often than their kurtosis says: at most as often
            // as Gaussian ones.
            let spread = if ratio < 1.0 { spread.max(2.0 / n) } else { spread };
            (i, ratio.sqrt(), cube_root_z(ratio, spread))
        })
        .filter(|(_, ratio, _)| !(LINE_FACTOR.recip()..=LINE_FACTOR).contains(ratio))
        .collect();
    far.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    // A few loud lines are a fault of their own; training makes all of them uneven.
    let loud: BTreeSet<usize> =
        far.iter().filter(|f| f.2.abs() > 8.0).take((count / 10).max(2)).map(|f| f.0).collect();
    let kept = lines.squares.iter().enumerate().filter(|(i, _)| !loud.contains(i));
    let wide = (kurtosis.clamp(1.05, 30.0) - 1.0) / n;
    let dispersion = kept.map(|(_, s)| (s / n / middle - 1.0).powi(2)).sum::<f64>()
        / (count - loud.len()).max(1) as f64
        / if loud.is_empty() { wide } else { spread };
    LineFacts { count, dispersion, far, repeated }
}

impl LineFacts {
    fn keep_equal(&mut self, equal: impl Fn(usize, usize) -> bool) {
        self.repeated.retain(|(a, b)| equal(*a, *b));
    }
}

/// Wilson and Hilferty (1931): the cube root of a gamma variable of mean 1 and that variance is nearly
/// normal.
pub(crate) fn cube_root_z(ratio: f64, variance: f64) -> f64 {
    let v = variance / 9.0;
    (ratio.cbrt() - (1.0 - v)) / v.sqrt()
}

/// Multiplies evenly spaced rows, or columns where those are fewer.
fn products(
    tensor: &Tensor,
    bytes: &[u8],
    rows: usize,
    columns: usize,
    epsilon: f64,
) -> Option<Products> {
    let by_rows = rows <= columns;
    let (count, length) = if by_rows { (rows, columns) } else { (columns, rows) };
    if count < 2 || length < 8 {
        return None;
    }
    let values = length.min(MOST_VALUES);
    let most = ((OPERATIONS / values) as f64).sqrt() as usize;
    let lines = count.min(most.clamp(16, MOST_ROWS)).min(values);
    let picked: Vec<usize> = (0..lines).map(|i| i * count / lines).collect();
    let size = tensor.dtype().bytes();
    let mut matrix = DMatrix::<f64>::zeros(values, lines);
    let mut buffer = Vec::new();
    let read = |start: usize, n: usize, buffer: &mut Vec<f32>| {
        let part = bytes.get(start * size..(start + n) * size).unwrap_or_default();
        decode_f32(tensor.dtype(), tensor.endian(), part, buffer);
    };
    if by_rows {
        for (j, row) in picked.iter().enumerate() {
            read(row * columns, values, &mut buffer);
            matrix.column_mut(j).iter_mut().zip(&buffer).for_each(|(m, x)| *m = f64::from(*x));
        }
    } else {
        for i in 0..values {
            read(i * columns, columns, &mut buffer);
            for (j, column) in picked.iter().enumerate() {
                matrix[(i, j)] = f64::from(buffer.get(*column).copied().unwrap_or(0.0));
            }
        }
    }
    let gram = matrix.transpose() * &matrix;
    let lengths: Vec<f64> = (0..lines).map(|i| gram[(i, i)]).collect();
    let (mut sum, mut pairs) = (0.0, 0.0);
    let mut largest = (0.0f64, 0, 0);
    for j in 0..lines {
        for i in 0..j {
            let scale = (lengths[i] * lengths[j]).sqrt();
            if scale > 0.0 {
                let cosine = gram[(i, j)] / scale;
                sum += cosine * cosine;
                pairs += 1.0;
                if cosine.abs() > largest.0.abs() {
                    largest = (cosine, picked[i], picked[j]);
                }
            }
        }
    }
    let squared_cosine = sum / f64::max(pairs, 1.0) * values as f64;
    let mean = lengths.iter().sum::<f64>() / lines as f64;
    let rounding = (4.0 * epsilon).clamp(4e-6, 0.02);
    // Whole lines only: a part of an orthogonal row is not orthogonal.
    let orthogonal = values == length
        && squared_cosine < 0.3
        && largest.0.abs() < rounding
        && lengths.iter().all(|l| (l / mean - 1.0).abs() < rounding);
    let rank = rank(gram, epsilon, values);
    Some(Products { lines, values, rank, squared_cosine, largest, orthogonal })
}

/// Rank of a Gram matrix of lines of that many values, by Cholesky's decomposition with pivots: what is
/// left of a line after those before it must exceed rounding.
///
/// Rounding leaves about epsilon^2 / 24 of a line, a product in single precision 10^-12. Of a square matrix of independent values little more
/// is left in its last lines, by chance; there, more than one must be missing.
fn rank(mut gram: DMatrix<f64>, epsilon: f64, values: usize) -> usize {
    let n = gram.nrows();
    let share = (0.25 * epsilon * epsilon).max(1e-11);
    if share * values as f64 > 0.05 {
        return n; // an 8-bit format rounds too coarsely
    }
    let fewest = match values - n {
        8.. => 1,
        _ if epsilon < 1e-6 => 2,
        _ => 4,
    };
    let found = pivots(&mut gram, share);
    if found + fewest <= n { found } else { n }
}

/// Number of pivots above a share of the largest line.
fn pivots(gram: &mut DMatrix<f64>, share: f64) -> usize {
    let n = gram.nrows();
    let tolerance = (0..n).map(|i| gram[(i, i)]).fold(0.0, f64::max) * share;
    for k in 0..n {
        let (mut pivot, mut most) = (k, gram[(k, k)]);
        for i in k + 1..n {
            if gram[(i, i)] > most {
                (pivot, most) = (i, gram[(i, i)]);
            }
        }
        if !(most > tolerance) {
            return k;
        }
        gram.swap_rows(k, pivot);
        gram.swap_columns(k, pivot);
        for j in k + 1..n {
            let factor = gram[(k, j)] / most;
            for i in k + 1..n {
                let change = factor * gram[(i, k)];
                gram[(i, j)] -= change;
            }
        }
    }
    n
}
