//! Sums over the neurons of a chunk, compiled once per processor feature.
//!
//! A chunk holds the values of some neurons, input after input: `values[j * len + i]` belongs to input
//! j and neuron i. The kernels keep a tile of up to 4 x 4 sums in registers. They fuse every
//! multiplication with its addition and add in an order that the lengths alone decide, so every
//! compilation gives the same bits. Beyond [`TILED`] inputs the products go through [`product`].

use super::coefficients::{Coefficients, Tile};
use crate::vector::{Kernel, LANES, Vector};
use crate::{Matrix, add_product, product};

/// Largest batch whose products stay in the kernels of this file.
pub(crate) const TILED: usize = 128;

/// A number that is stored; every sum is f64.
pub(crate) trait Stored: Copy + Into<f64> {
    fn load<V: Vector>(from: &[Self; LANES]) -> V;
}

impl Stored for f32 {
    #[inline(always)]
    fn load<V: Vector>(from: &[f32; LANES]) -> V {
        V::widen(from)
    }
}

impl Stored for f64 {
    #[inline(always)]
    fn load<V: Vector>(from: &[f64; LANES]) -> V {
        V::load(from)
    }
}

/// `out[r] = sum_k c[r, k] x[k]`, or `+=`, for every neuron of a chunk of `len`.
#[inline(always)]
pub(crate) fn combine<V: Vector, S: Stored, const ADD: bool>(
    out: &mut [f64],
    c: &Coefficients,
    x: &[S],
    len: usize,
) {
    V::call(Combine::<'_, S, ADD> { out, c, x, len });
}

struct Combine<'a, S, const ADD: bool> {
    out: &'a mut [f64],
    c: &'a Coefficients,
    x: &'a [S],
    len: usize,
}

impl<S: Stored, const ADD: bool> Kernel for Combine<'_, S, ADD> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { out, c, x, len } = self;
        let (out, x) = (&mut out[..c.rows * len], &x[..c.columns * len]);
        if !c.plain.is_empty() {
            let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
            let a = Matrix::new(&c.plain, c.rows, c.columns);
            let b = Matrix::new(&wide, c.columns, len);
            if ADD {
                add_product(out, a, b);
            } else {
                product(out, a, b);
            }
            return;
        }
        if c.columns == 0 && !ADD {
            out.fill(0.0);
            return;
        }
        for tile in &c.tiles {
            let packed = &c.packed[tile.start as usize..];
            match tile.count {
                4 => combine_tile::<V, S, 4, ADD>(out, tile, packed, x, len),
                2 => combine_tile::<V, S, 2, ADD>(out, tile, packed, x, len),
                _ => combine_tile::<V, S, 1, ADD>(out, tile, packed, x, len),
            }
        }
    }
}

#[inline(always)]
fn combine_tile<V: Vector, S: Stored, const R: usize, const ADD: bool>(
    out: &mut [f64],
    tile: &Tile,
    packed: &[f64],
    x: &[S],
    len: usize,
) {
    let (packed, _) = packed[..tile.reach as usize * R].as_chunks::<R>();
    let mut start = 0;
    if V::MANY {
        while start + 4 * LANES <= len {
            combine_block::<V, S, R, 4, ADD>(out, tile, packed, x, len, start);
            start += 4 * LANES;
        }
    }
    while start + 2 * LANES <= len {
        combine_block::<V, S, R, 2, ADD>(out, tile, packed, x, len, start);
        start += 2 * LANES;
    }
    for i in start..len {
        for r in 0..R {
            let mut sum = 0.0;
            for (k, c) in packed.iter().enumerate() {
                let value: f64 = x[k * len + i].into();
                sum = c[r].mul_add(value, sum);
            }
            let to = &mut out[tile.rows[r] as usize * len + i];
            *to = if ADD { *to + sum } else { sum };
        }
    }
}

/// `R` rows of `W` vectors, from neuron `start` of the chunk.
#[inline(always)]
fn combine_block<V: Vector, S: Stored, const R: usize, const W: usize, const ADD: bool>(
    out: &mut [f64],
    tile: &Tile,
    packed: &[[f64; R]],
    x: &[S],
    len: usize,
    start: usize,
) {
    let mut sums = [[V::splat(0.0); W]; R];
    for (c, column) in packed.iter().zip(x.chunks_exact(len)) {
        let values: [V; W] = vectors(&column[start..start + W * LANES]);
        for r in 0..R {
            let c = V::splat(c[r]);
            for w in 0..W {
                sums[r][w] = c.times_plus(values[w], sums[r][w]);
            }
        }
    }
    for r in 0..R {
        let from = tile.rows[r] as usize * len + start;
        let (to, _) = out[from..from + W * LANES].as_chunks_mut::<LANES>();
        for (to, sum) in to.iter_mut().zip(sums[r]) {
            let sum = if ADD { V::load(to).plus(sum) } else { sum };
            sum.store(to);
        }
    }
}

#[inline(always)]
fn vectors<V: Vector, S: Stored, const W: usize>(values: &[S]) -> [V; W] {
    let (values, _) = values[..W * LANES].as_chunks::<LANES>();
    std::array::from_fn(|w| S::load(&values[w]))
}

/// `sums[j, k] += sum_i x[j][i] y[k][i]`, `rows x columns` sums row after row.
#[inline(always)]
pub(crate) fn add_dots<V: Vector, X: Stored, Y: Stored>(
    sums: &mut [f64],
    x: &[X],
    rows: usize,
    y: &[Y],
    columns: usize,
    len: usize,
) {
    V::call(AddDots::<'_, X, Y, false> { sums, x, rows, y, columns, len });
}

/// As [`add_dots`] of a chunk with itself.
#[inline(always)]
pub(crate) fn add_gram<V: Vector, X: Stored>(sums: &mut [f64], x: &[X], rows: usize, len: usize) {
    V::call(AddDots::<'_, X, X, true> { sums, x, rows, y: x, columns: rows, len });
}

struct AddDots<'a, X, Y, const SYMMETRIC: bool> {
    sums: &'a mut [f64],
    x: &'a [X],
    rows: usize,
    y: &'a [Y],
    columns: usize,
    len: usize,
}

impl<X: Stored, Y: Stored, const SYMMETRIC: bool> Kernel for AddDots<'_, X, Y, SYMMETRIC> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { sums, x, rows, y, columns, len } = self;
        let (x, y) = (&x[..rows * len], &y[..columns * len]);
        if rows.max(columns) > TILED {
            let a: Vec<f64> = x.iter().map(|&v| v.into()).collect();
            let b: Vec<f64> = y.iter().map(|&v| v.into()).collect();
            let (a, b) = (Matrix::new(&a, rows, len), Matrix::new(&b, columns, len).transposed());
            add_product(&mut sums[..rows * columns], a, b);
            return;
        }
        let mut j = 0;
        while j < rows {
            let height = tile_size(rows - j);
            let xs = &x[j * len..];
            let mut k = 0;
            let end = if SYMMETRIC { j + height } else { columns };
            while k < end {
                let width = tile_size(end - k);
                let ys = &y[k * len..];
                let to = &mut sums[j * columns + k..];
                match (height, width) {
                    (4, 4) => add_tile::<V, X, Y, 4, 4, 1>(to, columns, xs, ys, len),
                    (4, 2) => add_tile::<V, X, Y, 4, 2, 1>(to, columns, xs, ys, len),
                    (4, 1) => add_tile::<V, X, Y, 4, 1, 2>(to, columns, xs, ys, len),
                    (2, 4) => add_tile::<V, X, Y, 2, 4, 1>(to, columns, xs, ys, len),
                    (2, 2) => add_tile::<V, X, Y, 2, 2, 2>(to, columns, xs, ys, len),
                    (2, 1) => add_tile::<V, X, Y, 2, 1, 2>(to, columns, xs, ys, len),
                    (1, 4) => add_tile::<V, X, Y, 1, 4, 2>(to, columns, xs, ys, len),
                    (1, 2) => add_tile::<V, X, Y, 1, 2, 2>(to, columns, xs, ys, len),
                    _ => add_tile::<V, X, Y, 1, 1, 4>(to, columns, xs, ys, len),
                }
                k += width;
            }
            j += height;
        }
        if SYMMETRIC {
            for j in 0..rows {
                for k in j + 1..rows {
                    sums[j * rows + k] = sums[k * rows + j];
                }
            }
        }
    }
}

#[inline(always)]
fn tile_size(left: usize) -> usize {
    match left {
        1 => 1,
        2 | 3 => 2,
        _ => 4,
    }
}

/// `UNROLL` vectors of sums side by side hide the latency of additions where the tile is small.
#[inline(always)]
fn add_tile<
    V: Vector,
    X: Stored,
    Y: Stored,
    const J: usize,
    const K: usize,
    const UNROLL: usize,
>(
    to: &mut [f64],
    stride: usize,
    x: &[X],
    y: &[Y],
    len: usize,
) {
    let xs: [&[X]; J] = std::array::from_fn(|j| &x[j * len..(j + 1) * len]);
    let ys: [&[Y]; K] = std::array::from_fn(|k| &y[k * len..(k + 1) * len]);
    let blocks = len / (LANES * UNROLL);
    let whole = blocks * LANES * UNROLL;
    let vectors = blocks * UNROLL;
    let wide_x: [&[[X; LANES]]; J] = xs.map(|row| &row.as_chunks::<LANES>().0[..vectors]);
    let wide_y: [&[[Y; LANES]]; K] = ys.map(|row| &row.as_chunks::<LANES>().0[..vectors]);
    let mut sums = [[[V::splat(0.0); UNROLL]; K]; J];
    for block in 0..blocks {
        for u in 0..UNROLL {
            let at = block * UNROLL + u;
            let right: [V; K] = std::array::from_fn(|k| Y::load(&wide_y[k][at]));
            for j in 0..J {
                let left: V = X::load(&wide_x[j][at]);
                for k in 0..K {
                    sums[j][k][u] = left.times_plus(right[k], sums[j][k][u]);
                }
            }
        }
    }
    for j in 0..J {
        for k in 0..K {
            let mut lanes = [0.0; LANES];
            sums[j][k].into_iter().reduce(V::plus).unwrap_or(V::splat(0.0)).store(&mut lanes);
            let mut sum = fold(&lanes);
            for i in whole..len {
                let (a, b): (f64, f64) = (xs[j][i].into(), ys[k][i].into());
                sum = a.mul_add(b, sum);
            }
            to[j * stride + k] += sum;
        }
    }
}

/// The sum of eight, by halves.
#[inline(always)]
pub(crate) fn fold(x: &[f64; LANES]) -> f64 {
    ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Plain, dispatch};

    /// Multiples of 1/8 below 16: every sum of products is exact.
    fn values(n: usize, step: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * step) % 257) as f64 / 8.0 - 16.0).collect()
    }

    struct Both {
        rows: usize,
        columns: usize,
        len: usize,
    }

    impl Kernel for Both {
        type Output = Vec<Vec<f64>>;
        #[inline(always)]
        fn run<V: Vector>(self) -> Vec<Vec<f64>> {
            let Self { rows, columns, len } = self;
            let (x, y) = (values(columns * len, 37), values(rows * len, 101));
            let narrow: Vec<f32> = x.iter().map(|&v| v as f32).collect();
            let mut c = Coefficients::default();
            let mut matrix = values(rows * columns, 59);
            // A triangle of zeros.
            for row in 0..rows {
                for column in row + 1..columns {
                    matrix[row * columns + column] = 0.0;
                }
            }
            c.pack(&matrix, rows, columns);
            let mut out = vec![f64::NAN; rows * len];
            combine::<V, _, false>(&mut out, &c, &narrow, len);
            combine::<V, _, true>(&mut out, &c, &x, len);
            let mut dots = vec![1.0; rows * columns];
            add_dots::<V, _, _>(&mut dots, &y, rows, &narrow, columns, len);
            let mut gram = vec![0.0; rows * rows];
            add_gram::<V, _>(&mut gram, &y, rows, len);

            let plain_out: Vec<f64> = (0..rows * len)
                .map(|at| {
                    let (row, i) = (at / len, at % len);
                    let sum: f64 =
                        (0..columns).map(|k| matrix[row * columns + k] * x[k * len + i]).sum();
                    2.0 * sum
                })
                .collect();
            let dot = |a: &[f64], j: usize, b: &[f64], k: usize| -> f64 {
                (0..len).map(|i| a[j * len + i] * b[k * len + i]).sum()
            };
            let plain_dots: Vec<f64> = (0..rows * columns)
                .map(|at| 1.0 + dot(&y, at / columns, &x, at % columns))
                .collect();
            let plain_gram: Vec<f64> =
                (0..rows * rows).map(|at| dot(&y, at / rows, &y, at % rows)).collect();
            vec![out, plain_out, dots, plain_dots, gram, plain_gram]
        }
    }

    #[test]
    fn every_compilation_and_size_agrees_with_plain_loops() {
        for (rows, columns) in
            [(1, 1), (1, 3), (2, 2), (3, 1), (3, 5), (4, 4), (7, 6), (16, 16), (24, 11), (130, 40)]
        {
            for len in [1, 4, 16, 37, 128] {
                let kernel = || Both { rows, columns, len };
                for results in [kernel().run::<Plain>(), dispatch(kernel())] {
                    for pair in results.chunks(2) {
                        assert_eq!(pair[0], pair[1], "{rows} x {columns} x {len}");
                    }
                }
            }
        }
        let mut out = [f64::NAN; 3];
        let mut none = Coefficients::default();
        none.pack(&[], 1, 0);
        combine::<Plain, f64, false>(&mut out, &none, &[], 3);
        assert_eq!(out, [0.0; 3]);
    }

    #[test]
    fn every_compilation_gives_the_same_bits() {
        struct Rounded;
        impl Kernel for Rounded {
            type Output = Vec<u64>;
            #[inline(always)]
            fn run<V: Vector>(self) -> Vec<u64> {
                let x: Vec<f64> = (0..16 * 100).map(|i| (i as f64 * 0.7).sin()).collect();
                let matrix: Vec<f64> = (0..256).map(|i| (i as f64 * 1.3).cos()).collect();
                let mut c = Coefficients::default();
                c.pack(&matrix, 16, 16);
                let mut out = vec![0.0; 16 * 100];
                combine::<V, _, false>(&mut out, &c, &x, 100);
                let mut gram = vec![0.0; 256];
                add_gram::<V, _>(&mut gram, &out, 16, 100);
                add_dots::<V, _, _>(&mut gram, &x, 16, &out, 16, 100);
                gram.into_iter().chain(out).map(f64::to_bits).collect()
            }
        }
        assert_eq!(Rounded.run::<Plain>(), dispatch(Rounded));
        crate::vector::assert_same_everywhere(|| Rounded);
    }
}
