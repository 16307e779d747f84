//! How the values of a tensor are distributed, as counts in cells of their number format.
//!
//! A cell is one number of a 16- or 8-bit format, or the 2^14 neighbours of an f32 that share sign, exponent
//! and 9 bits of fraction. Counts are integers, so they merge in any order; the distribution function is
//! exact at the edges between cells, rounding to the format included.

use gainstage_spec::Law;

use crate::dtype::Dtype;

/// Bits of an f32 that a cell leaves out.
const SHIFT: u32 = 14;

/// The cells of a format, numbered from the most negative; the middle one holds zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid(pub(crate) Dtype);

impl Grid {
    /// Cells on each side of zero.
    pub(crate) fn half(self) -> usize {
        match self.0 {
            Dtype::F64 | Dtype::F32 => 1 << (31 - SHIFT),
            Dtype::F16 | Dtype::Bf16 => 1 << 15,
            Dtype::F8E4M3 | Dtype::F8E5M2 => 1 << 7,
        }
    }

    pub(crate) fn cells(self) -> usize {
        2 * self.half() + 1
    }

    /// The cell of a value that was decoded from an f64, f32 or bf16.
    pub(crate) fn of_f32(self, x: f32) -> usize {
        let shift = if self.0 == Dtype::Bf16 { 16 } else { SHIFT };
        self.signed((x.to_bits() & 0x7fff_ffff) >> shift, x.is_sign_negative())
    }

    /// The cell of a code of an f16 or 8-bit format.
    pub(crate) fn of_code(self, code: u16) -> usize {
        let sign = if self.0 == Dtype::F16 { 0x8000 } else { 0x80 };
        self.signed(u32::from(code & (sign - 1)), code & sign != 0)
    }

    fn signed(self, magnitude: u32, negative: bool) -> usize {
        let half = self.half();
        if negative { half - magnitude as usize } else { half + magnitude as usize }
    }

    /// Smallest magnitude in the m-th cell from zero.
    fn first(self, m: usize) -> f64 {
        if m >= self.half() {
            return f64::NAN;
        }
        let value = match self.0 {
            Dtype::F64 | Dtype::F32 => f32::from_bits((m as u32) << SHIFT),
            other => other.decode_code(m as u16).unwrap_or(f32::NAN),
        };
        f64::from(value)
    }

    /// Largest magnitude in the m-th cell from zero.
    fn last(self, m: usize) -> f64 {
        match self.0 {
            Dtype::F64 | Dtype::F32 if m < self.half() => {
                f64::from(f32::from_bits(((m as u32) << SHIFT) | ((1 << SHIFT) - 1)))
            }
            _ => self.first(m),
        }
    }

    /// Where the m-th and the next magnitude part: values beneath are rounded into the m-th.
    fn part(self, m: usize) -> f64 {
        let next = self.first(m + 1);
        if next.is_finite() { 0.5 * (self.last(m) + next) } else { f64::INFINITY }
    }

    /// The number above which a value, before it was rounded, falls into a later cell.
    pub(crate) fn upper(self, cell: usize) -> f64 {
        let half = self.half();
        if cell >= half { self.part(cell - half) } else { -self.part(half - cell - 1) }
    }

    /// The number below which a value, before it was rounded, falls into an earlier cell.
    pub(crate) fn lower(self, cell: usize) -> f64 {
        if cell == 0 { f64::NEG_INFINITY } else { self.upper(cell - 1) }
    }

    /// The middle of a cell.
    pub(crate) fn middle(self, cell: usize) -> f64 {
        let half = self.half();
        let m = cell.abs_diff(half);
        let magnitude = if m == 0 { 0.0 } else { 0.5 * (self.first(m) + self.last(m)) };
        if cell < half { -magnitude } else { magnitude }
    }
}

/// Counts of the cells that hold something, in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub(crate) grid: Grid,
    counts: Vec<(u32, u64)>,
    total: u64,
}

impl Sketch {
    pub(crate) fn new(grid: Grid) -> Self {
        Self { grid, counts: Vec::new(), total: 0 }
    }

    /// Takes the counts out of a table with one number for every cell and leaves it empty.
    pub(crate) fn drain(grid: Grid, table: &mut [u32]) -> Self {
        let mut sketch = Self::new(grid);
        for (cell, count) in table.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            sketch.counts.push((cell as u32, u64::from(std::mem::take(count))));
        }
        sketch.finish()
    }

    /// Counts a list of cells.
    pub(crate) fn count(grid: Grid, mut cells: Vec<u32>) -> Self {
        cells.sort_unstable();
        let mut sketch = Self::new(grid);
        for run in cells.chunk_by(|a, b| a == b) {
            sketch.counts.push((run[0], run.len() as u64));
        }
        sketch.finish()
    }

    /// Leaves out what is not a finite number.
    fn finish(mut self) -> Self {
        let (grid, half) = (self.grid, self.grid.half());
        self.counts.retain(|(cell, _)| grid.last((*cell as usize).abs_diff(half)).is_finite());
        self.total = self.counts.iter().map(|(_, n)| n).sum();
        self
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let (a, b) = (&self.counts, &other.counts);
        let mut merged = Vec::with_capacity(a.len().max(b.len()));
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            let left = a.get(i).map_or(u32::MAX, |(cell, _)| *cell);
            let right = b.get(j).map_or(u32::MAX, |(cell, _)| *cell);
            let cell = left.min(right);
            let mut count = 0;
            if left == cell {
                count += a[i].1;
                i += 1;
            }
            if right == cell {
                count += b[j].1;
                j += 1;
            }
            merged.push((cell, count));
        }
        self.counts = merged;
        self.total += other.total;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Cell and count, ascending.
    pub(crate) fn cells(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> + '_ {
        self.counts.iter().map(|(cell, n)| (*cell as usize, *n))
    }

    /// Number of different cells.
    pub(crate) fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// Values that are zero, or too small for the cells to tell from it.
    pub(crate) fn zeros(&self) -> u64 {
        let zero = self.grid.half() as u32;
        self.counts.binary_search_by_key(&zero, |(cell, _)| *cell).map_or(0, |i| self.counts[i].1)
    }

    /// The larger count of the two cells beside zero.
    pub(crate) fn beside_zero(&self) -> u64 {
        let zero = self.grid.half();
        let beside = |(cell, _): &(usize, u64)| cell.abs_diff(zero) == 1;
        self.cells().filter(beside).map(|(_, n)| n).max().unwrap_or(0)
    }

    /// The counts of all other cells than that of zero.
    pub(crate) fn without_zero(&self) -> Self {
        let zero = self.grid.half();
        self.only(|cell| cell != zero)
    }

    /// The counts of cells whose middle lies within `low` and `high`.
    pub(crate) fn within(&self, low: f64, high: f64) -> Self {
        self.only(|cell| (low..=high).contains(&self.grid.middle(cell)))
    }

    fn only(&self, keep: impl Fn(usize) -> bool) -> Self {
        let counts: Vec<_> =
            self.counts.iter().copied().filter(|(cell, _)| keep(*cell as usize)).collect();
        Self { grid: self.grid, total: counts.iter().map(|(_, n)| n).sum(), counts }
    }

    /// Values in cells wholly outside `low` and `high`.
    pub(crate) fn outside(&self, low: f64, high: f64) -> u64 {
        self.cells()
            .filter(|(cell, _)| self.grid.lower(*cell) >= high || self.grid.upper(*cell) <= low)
            .map(|(_, n)| n)
            .sum()
    }

    /// The edge that leaves at least `share` of the values beneath it.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let target = share * self.total as f64;
        let mut seen = 0;
        for (cell, n) in self.cells() {
            let before = seen as f64;
            seen += n;
            if seen as f64 >= target {
                let (low, high) = (self.grid.lower(cell), self.grid.upper(cell));
                let within = ((target - before) / n as f64).clamp(0.0, 1.0);
                return if low.is_finite() && high.is_finite() {
                    low + within * (high - low)
                } else {
                    self.grid.middle(cell)
                };
            }
        }
        f64::NAN
    }

    /// Mean and variance of the values within `low` and `high`, from the middles of their cells, which
    /// are right to the square of half a cell: 10^-6 of the variance.
    pub(crate) fn moments_within(&self, low: f64, high: f64) -> (f64, f64) {
        let kept = || {
            self.cells()
                .map(|(cell, n)| (self.grid.middle(cell), n as f64))
                .filter(move |(x, _)| (low..=high).contains(x))
        };
        let n: f64 = kept().map(|(_, n)| n).sum();
        let mean = kept().map(|(x, n)| x * n).sum::<f64>() / n;
        (mean, kept().map(|(x, n)| (x - mean).powi(2) * n).sum::<f64>() / n)
    }

    /// Shares of the values between equal steps from `low` to `high`.
    pub(crate) fn histogram(&self, low: f64, high: f64, bins: usize) -> Vec<f64> {
        let mut shares = vec![0.0; bins];
        let scale = bins as f64 / (high - low);
        for (cell, n) in self.cells() {
            let place = (self.grid.middle(cell) - low) * scale;
            if place >= 0.0 && place < bins as f64 {
                shares[place as usize] += n as f64 / self.total as f64;
            }
        }
        shares
    }

    /// A coarser view: about `bins` cells of equal counts, each with its upper edge.
    pub(crate) fn coarse(&self, bins: usize) -> Coarse {
        let step = self.total.div_ceil(bins as u64).max(1);
        let mut edges = Vec::new();
        let mut held = 0;
        let last = self.counts.last().map(|(cell, _)| *cell as usize);
        for (cell, n) in self.cells() {
            if edges.is_empty() {
                edges.push((self.grid.lower(cell), 0));
            }
            held += n;
            if held >= step || Some(cell) == last {
                edges.push((self.grid.upper(cell), std::mem::take(&mut held)));
            }
        }
        Coarse { edges, total: self.total }
    }
}

/// Counts between edges: the first edge has nothing beneath it, the last nothing above it.
#[derive(Clone, Debug)]
pub(crate) struct Coarse {
    pub(crate) edges: Vec<(f64, u64)>,
    pub(crate) total: u64,
}

impl Coarse {
    /// The Kolmogorov-Smirnov distance at the edges: at most the one over all values, so a test of it
    /// raises no more false alarms than stated.
    pub(crate) fn distance(&self, law: &Law) -> f64 {
        let mut beneath = 0;
        let mut distance: f64 = 0.0;
        for (edge, count) in &self.edges {
            beneath += count;
            distance = distance.max((beneath as f64 / self.total as f64 - law.cdf(*edge)).abs());
        }
        distance
    }

    /// Mean over the values of the log-probability that the law gives to their bins; a bin that it
    /// gives less than 10^-12 counts as that.
    pub(crate) fn log_likelihood(&self, law: &Law) -> f64 {
        const LEAST: f64 = 1e-12;
        let mut sum = 0.0;
        let mut before = self.edges.first().map_or(0.0, |(edge, _)| law.cdf(*edge));
        for (edge, count) in self.edges.iter().skip(1) {
            let here = law.cdf(*edge);
            sum += *count as f64 * (here - before).max(LEAST).ln();
            before = here;
        }
        sum / self.total as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_in_the_order_of_their_values_and_part_where_rounding_does() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F8E4M3, Dtype::F8E5M2] {
            let grid = Grid(dtype);
            let half = grid.half();
            let finite = |cell: &usize| grid.last(cell.abs_diff(half)).is_finite();
            let cells: Vec<usize> = (0..grid.cells() - 1).filter(finite).collect();
            for pair in cells.windows(2) {
                let (low, high) = (grid.middle(pair[0]), grid.middle(pair[1]));
                let edge = grid.upper(pair[0]);
                assert!(low < high && low <= edge && edge <= high, "{dtype:?} {pair:?}");
                assert_eq!(edge, grid.lower(pair[1]));
            }
        }
        // Halfway between 1 and the next bf16.
        let grid = Grid(Dtype::Bf16);
        assert_eq!(grid.upper(grid.of_f32(1.0)), 1.0 + 0.5 * Dtype::Bf16.epsilon());
        assert_eq!(grid.of_f32(-0.0), grid.of_f32(0.0));
        let grid = Grid(Dtype::F32);
        assert!(grid.lower(grid.of_f32(-0.3)) <= -0.3 && -0.3 <= grid.upper(grid.of_f32(-0.3)));
    }

    #[test]
    fn counts_merge_and_give_quantiles_and_moments() {
        let grid = Grid(Dtype::F32);
        let values: Vec<f32> = (0..10_000).map(|i| (i as f32 + 0.5) / 10_000.0 - 0.5).collect();
        let cells = |v: &[f32]| v.iter().map(|x| grid.of_f32(*x) as u32).collect::<Vec<_>>();
        let mut sketch = Sketch::count(grid, cells(&values[..3000]));
        sketch.merge(&Sketch::count(grid, cells(&values[3000..])));
        let mut table = vec![0u32; grid.cells()];
        cells(&values).iter().for_each(|c| table[*c as usize] += 1);
        let drained = Sketch::drain(grid, &mut table);
        assert_eq!(sketch.counts, drained.counts);
        assert!(table.iter().all(|n| *n == 0));
        assert_eq!(sketch.total(), 10_000);
        assert!((sketch.quantile(0.25) + 0.25).abs() < 1e-3);
        let (mean, variance) = sketch.moments_within(-1.0, 1.0);
        assert!(mean.abs() < 1e-6 && (variance * 12.0 - 1.0).abs() < 1e-5, "{mean} {variance}");
        assert!(sketch.outside(-0.4, 0.4).abs_diff(2000) < 20);
        let law = Law::Uniform { low: -0.5, high: 0.5 };
        let coarse = sketch.coarse(100);
        assert!(coarse.distance(&law) < 2e-4);
        let wrong = Law::Normal { mean: 0.0, std: law.std() };
        assert!((coarse.distance(&wrong) - 0.058).abs() < 3e-3, "{}", coarse.distance(&wrong));
        assert!(coarse.log_likelihood(&law) > coarse.log_likelihood(&wrong) + 0.05);
    }
}
