//! Tables of products, summed over a chunk in the order of [`super::lanes`].

use super::lanes::fold;
use crate::vector::{LANES, Vector};

/// `B x B` sums, row after row.
pub(super) type Square<const B: usize> = [[f64; B]; B];

/// Products of rows of vectors, at eight neurons after the other.
pub(super) trait Step<V, const B: usize, const N: usize> {
    /// The factors of `N` tables of products. From `lanes` on, values are those of normals of zero.
    fn at(&mut self, start: usize, lanes: usize) -> [([V; B], [V; B]); N];
}

/// The sums over a chunk, `U` partial ones side by side and what is left over one after another: the
/// order of [`super::lanes::add_dots`].
#[inline(always)]
pub(super) fn sums<V: Vector, const B: usize, const N: usize, const U: usize>(
    len: usize,
    step: &mut impl Step<V, B, N>,
) -> [Square<B>; N] {
    let mut partial = [[[[V::splat(0.0); U]; B]; B]; N];
    let whole = len - len % (LANES * U);
    let mut start = 0;
    while start < whole {
        for u in 0..U {
            let factors = step.at(start, LANES);
            for n in 0..N {
                for j in 0..B {
                    for k in 0..B {
                        let sum = &mut partial[n][j][k][u];
                        *sum = factors[n].0[j].times_plus(factors[n].1[k], *sum);
                    }
                }
            }
            start += LANES;
        }
    }
    let mut out = [[[0.0; B]; B]; N];
    for n in 0..N {
        for j in 0..B {
            for k in 0..B {
                let mut lanes = [0.0; LANES];
                let sum = partial[n][j][k].into_iter().reduce(V::plus);
                sum.unwrap_or(V::splat(0.0)).store(&mut lanes);
                out[n][j][k] = fold(&lanes);
            }
        }
    }
    while start < len {
        let lanes = LANES.min(len - start);
        for (out, (left, right)) in out.iter_mut().zip(step.at(start, lanes)) {
            let (left, right) = (arrays(left), arrays(right));
            for lane in 0..lanes {
                for j in 0..B {
                    for k in 0..B {
                        out[j][k] = left[j][lane].mul_add(right[k][lane], out[j][k]);
                    }
                }
            }
        }
        start += lanes;
    }
    out
}

#[inline(always)]
fn arrays<V: Vector, const B: usize>(vectors: [V; B]) -> [[f64; LANES]; B] {
    let mut out = [[0.0; LANES]; B];
    for (out, vector) in out.iter_mut().zip(vectors) {
        vector.store(out);
    }
    out
}
