//! One pass over a tensor's bytes: moments, counts, ties at the extremes, sums of rows and columns.
//!
//! Chunks depend on the shape alone and are folded in order, so the result is the same on any number of threads.

use gainstage_stats::Moments;
use rayon::prelude::*;

use crate::dtype::{Dtype, Endian, decode_f32, decode_f64, u16s};
use crate::sketch::{Grid, Sketch};

/// Values that are decoded at a time; they stay in the first cache.
const BLOCK: usize = 4096;
/// Values of a chunk, the unit of parallel work.
const CHUNK: usize = 1 << 20;
/// Bytes that the column sums of all chunks may take.
const COLUMN_BYTES: usize = 32 << 20;
/// Rows and columns together whose sums are kept.
const MOST_LINES: usize = 1 << 22;
/// Values below which cells are sorted and not tabulated.
const FEW: usize = 1 << 15;

/// Sum and sum of squares of every row, or of every column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lines {
    pub(crate) sums: Vec<f64>,
    pub(crate) squares: Vec<f64>,
}

impl Lines {
    fn new(count: usize) -> Self {
        Self { sums: vec![0.0; count], squares: vec![0.0; count] }
    }

    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    fn add(&mut self, other: &Self) {
        let add = |a: &mut [f64], b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.sums, &other.sums);
        add(&mut self.squares, &other.squares);
    }
}

/// What one pass saw.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) moments: Moments,
    pub(crate) sketch: Sketch,
    pub(crate) nan: u64,
    pub(crate) infinite: u64,
    /// Values equal to the smallest, and to the largest.
    pub(crate) at_min: u64,
    pub(crate) at_max: u64,
    /// Of the tensor as a matrix in the order of memory; empty without one.
    pub(crate) rows: Lines,
    pub(crate) columns: Lines,
}

/// Scans the bytes of a tensor, seen as a matrix of `columns` values a row.
pub(crate) fn scan(dtype: Dtype, endian: Endian, bytes: &[u8], columns: usize) -> Scan {
    let size = dtype.bytes();
    let elements = bytes.len() / size;
    let rows = elements.checked_div(columns).unwrap_or(0);
    let lines = rows >= 2 && columns >= 2 && rows + columns <= MOST_LINES;
    let chunk = if lines {
        let most = (COLUMN_BYTES / (16 * columns)).max(1);
        CHUNK.max(elements.div_ceil(most)).div_ceil(columns) * columns
    } else {
        CHUNK
    };
    let parts: Vec<Scan> = bytes
        .par_chunks((chunk * size).max(1))
        .map_init(Vec::new, |table, part| {
            scan_chunk(dtype, endian, part, if lines { columns } else { 0 }, table)
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_else(|| Scan {
        moments: Moments::new(),
        sketch: Sketch::new(Grid(dtype)),
        nan: 0,
        infinite: 0,
        at_min: 0,
        at_max: 0,
        rows: Lines::default(),
        columns: Lines::default(),
    });
    parts.for_each(|part| whole.append(part));
    whole
}

impl Scan {
    fn append(&mut self, mut next: Self) {
        let (ours, theirs) = (&self.moments, &next.moments);
        let (low, high) = (ours.min(), ours.max());
        self.at_min = ties(low, self.at_min, theirs.min(), next.at_min, |a, b| a < b);
        self.at_max = ties(high, self.at_max, theirs.max(), next.at_max, |a, b| a > b);
        self.moments.merge(&next.moments);
        self.sketch.merge(&next.sketch);
        self.nan += next.nan;
        self.infinite += next.infinite;
        self.rows.sums.append(&mut next.rows.sums);
        self.rows.squares.append(&mut next.rows.squares);
        self.columns.add(&next.columns);
    }
}

/// How often the more extreme of two values occurs; NaN stands for none.
fn ties(a: f64, count_a: u64, b: f64, count_b: u64, beats: impl Fn(f64, f64) -> bool) -> u64 {
    if a == b {
        count_a + count_b
    } else if b.is_nan() || beats(a, b) {
        count_a
    } else {
        count_b
    }
}

fn scan_chunk(
    dtype: Dtype,
    endian: Endian,
    bytes: &[u8],
    columns: usize,
    table: &mut Vec<u32>,
) -> Scan {
    let grid = Grid(dtype);
    let size = dtype.bytes();
    let elements = bytes.len() / size;
    let tabulate = elements >= FEW;
    if tabulate {
        table.resize(grid.cells(), 0);
    }
    let mut few = Vec::new();
    let mut moments = Moments::new();
    let (mut nan, mut infinite) = (0, 0);
    let (mut at_min, mut at_max) = (0, 0);
    let mut sums = LineSums::new(elements, columns);
    let (mut narrow, mut wide) = (Vec::with_capacity(BLOCK), Vec::new());
    for block in bytes.chunks(BLOCK * size) {
        decode_f32(dtype, endian, block, &mut narrow);
        let (low, high) = (moments.min(), moments.max());
        let mut here = Moments::new();
        if dtype == Dtype::F64 {
            decode_f64(endian, block, &mut wide);
            here.extend_from_f64(&wide);
        } else {
            here.extend_from_f32(&narrow);
        }
        if here.non_finite() > 0 {
            nan += narrow.iter().filter(|x| x.is_nan()).count() as u64;
            infinite = moments.non_finite() + here.non_finite() - nan;
        }
        // Extremes are compared as stored; an f64's as the f32 nearest to it would tie by rounding.
        let equal = |to: f64| -> u64 {
            if dtype == Dtype::F64 {
                wide.iter().filter(|x| **x == to).count() as u64
            } else {
                narrow.iter().filter(|x| f64::from(**x) == to).count() as u64
            }
        };
        at_min = extreme(low, at_min, here.min(), &equal, |a, b| a < b);
        at_max = extreme(high, at_max, here.max(), &equal, |a, b| a > b);
        moments.merge(&here);
        let mut place = |cell: usize| {
            if tabulate {
                table[cell] += 1;
            } else {
                few.push(cell as u32);
            }
        };
        match dtype {
            Dtype::F16 => u16s(endian, block).for_each(|code| place(grid.of_code(code))),
            Dtype::F8E4M3 | Dtype::F8E5M2 => {
                block.iter().for_each(|code| place(grid.of_code(u16::from(*code))));
            }
            _ => narrow.iter().for_each(|x| place(grid.of_f32(*x))),
        }
        if columns > 0 {
            if here.non_finite() > 0 {
                narrow.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
            }
            sums.add(&narrow);
        }
    }
    let sketch = if tabulate { Sketch::drain(grid, table) } else { Sketch::count(grid, few) };
    let LineSums { rows, columns, .. } = sums;
    Scan { moments, sketch, nan, infinite, at_min, at_max, rows, columns }
}

/// Counts values equal to the extreme so far, looking at the block only where it reaches it.
fn extreme(
    so_far: f64,
    count: u64,
    here: f64,
    equal: &impl Fn(f64) -> u64,
    beats: impl Fn(f64, f64) -> bool,
) -> u64 {
    if here.is_nan() || beats(so_far, here) {
        count
    } else if so_far == here {
        count + equal(here)
    } else {
        equal(here)
    }
}

struct LineSums {
    rows: Lines,
    columns: Lines,
    row: usize,
    column: usize,
}

impl LineSums {
    fn new(elements: usize, columns: usize) -> Self {
        let rows = elements.checked_div(columns).unwrap_or(0);
        Self { rows: Lines::new(rows), columns: Lines::new(columns), row: 0, column: 0 }
    }

    /// Adds the next values in the order of memory.
    fn add(&mut self, mut values: &[f32]) {
        while !values.is_empty() {
            let take = (self.columns.len() - self.column).min(values.len());
            let (segment, rest) = values.split_at(take);
            let range = self.column..self.column + take;
            let sums = &mut self.columns.sums[range.clone()];
            let squares = &mut self.columns.squares[range];
            for ((x, sum), square) in segment.iter().zip(sums).zip(squares) {
                let x = f64::from(*x);
                *sum += x;
                *square += x * x;
            }
            let (sum, square) = row_sums(segment);
            self.rows.sums[self.row] += sum;
            self.rows.squares[self.row] += square;
            self.column += take;
            if self.column == self.columns.len() {
                self.column = 0;
                self.row += 1;
            }
            values = rest;
        }
    }
}

fn row_sums(values: &[f32]) -> (f64, f64) {
    const LANES: usize = 8;
    let (blocks, rest) = values.as_chunks::<LANES>();
    let (mut sum, mut square) = ([0.0; LANES], [0.0; LANES]);
    for block in blocks {
        for lane in 0..LANES {
            let x = f64::from(block[lane]);
            sum[lane] += x;
            square[lane] += x * x;
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        let x = f64::from(*x);
        sum[lane] += x;
        square[lane] += x * x;
    }
    (sum.iter().sum(), square.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn one_pass_sees_what_plain_loops_see() {
        let columns = 37;
        let mut values: Vec<f32> =
            (0..columns * 1000).map(|i| ((i as f32) * 0.7).sin().clamp(-0.9, 0.9)).collect();
        let seen = scan(Dtype::F32, Endian::Little, &bytes(&values), columns);
        let row_5: f64 =
            values[5 * columns..6 * columns].iter().map(|x| f64::from(*x).powi(2)).sum();
        let column_9: f64 = values.iter().skip(9).step_by(columns).map(|x| f64::from(*x)).sum();
        assert!((seen.rows.squares[5] - row_5).abs() < 1e-9);
        assert!((seen.columns.sums[9] - column_9).abs() < 1e-9);
        assert_eq!((seen.rows.len(), seen.columns.len()), (1000, columns));
        let at_max = values.iter().filter(|x| **x == 0.9).count() as u64;
        assert!(at_max > 1000);
        assert_eq!((seen.at_max, seen.moments.max()), (at_max, f64::from(0.9f32)));
        assert_eq!(seen.at_min, values.iter().filter(|x| **x == -0.9).count() as u64);
        assert_eq!(seen.sketch.total(), values.len() as u64);
        values[17] = f32::NAN;
        values[18] = f32::INFINITY;
        let seen = scan(Dtype::F32, Endian::Little, &bytes(&values), columns);
        assert_eq!((seen.nan, seen.infinite, seen.moments.non_finite()), (1, 1, 2));
        assert_eq!(seen.sketch.total(), values.len() as u64 - 2);
        assert!(seen.rows.squares.iter().all(|s| s.is_finite()));
    }

    #[test]
    fn threads_do_not_matter_and_chunks_follow_rows() {
        let columns = 3000;
        let values: Vec<f32> =
            (0..columns * 900).map(|i| ((i * i % 1_000_003) as f32).sin()).collect();
        let data = bytes(&values);
        let on = |threads: usize| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| scan(Dtype::F32, Endian::Little, &data, columns))
        };
        let (one, seven) = (on(1), on(7));
        assert_eq!(one.moments, seven.moments);
        assert_eq!((one.rows, one.columns), (seven.rows, seven.columns));
        assert!(one.sketch.cells().eq(seven.sketch.cells()));
    }
}
