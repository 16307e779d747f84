//! The first layer of byte images: only lit pixels cost anything.

use super::vector::{Kernel, LANES, Vector, dispatch};
use crate::images::{Images, Lit};
use crate::lists::Lists;
use crate::schedule::Schedule;
use crate::step::{Rule, Step, per_rule};

/// `z = bias + sum over each image's pixels of grey * (row of weights)`; weights `[pixel, unit]`,
/// z `[image, unit]`.
pub(crate) fn forward(
    images: &Images,
    batch: &[u32],
    grey: &[f32; 256],
    weights: &[f32],
    bias: &[f32],
    z: &mut [f32],
) {
    dispatch(Forward { images, batch, grey, weights, bias, z });
}

pub(super) struct Forward<'a> {
    pub(super) images: &'a Images,
    pub(super) batch: &'a [u32],
    pub(super) grey: &'a [f32; 256],
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) z: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        for (row, &image) in self.z.chunks_exact_mut(self.bias.len()).zip(self.batch) {
            let list = self.images.image(image as usize);
            combine::<V>(list, self.grey, self.weights, self.bias, row);
        }
    }
}

/// The gradient of the pixels that are lit in a batch: `delta` is `[sample, unit]`, and `zeros` one row of
/// zeros.
#[derive(Clone, Copy)]
pub(crate) struct LitGradient<'a> {
    pub(crate) lists: &'a Lists,
    pub(crate) grey: &'a [f32; 256],
    pub(crate) delta: &'a [f32],
    pub(crate) zeros: &'a [f32],
}

impl LitGradient<'_> {
    /// One row for each lit pixel in their order.
    pub(crate) fn write(self, rows: &mut [f32]) {
        dispatch(WriteLit { gradient: self, rows });
    }

    /// One step for the weights of these pixels.
    pub(crate) fn update(self, step: Step, row: &mut [f32], [w, m, v]: [&mut [f32]; 3]) {
        dispatch(UpdateLit { gradient: self, step, row, w, m, v });
    }

    #[inline(always)]
    fn of<V: Vector>(&self, pixel: u16, row: &mut [f32]) {
        combine::<V>(self.lists.of(pixel), self.grey, self.delta, self.zeros, row);
    }
}

struct WriteLit<'a> {
    gradient: LitGradient<'a>,
    rows: &'a mut [f32],
}

impl Kernel for WriteLit<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { gradient, rows } = self;
        for (row, &pixel) in rows.chunks_exact_mut(gradient.zeros.len()).zip(gradient.lists.lit()) {
            gradient.of::<V>(pixel, row);
        }
    }
}

pub(super) struct UpdateLit<'a> {
    pub(super) gradient: LitGradient<'a>,
    pub(super) step: Step,
    /// Memory of a row.
    pub(super) row: &'a mut [f32],
    pub(super) w: &'a mut [f32],
    pub(super) m: &'a mut [f32],
    pub(super) v: &'a mut [f32],
}

impl Kernel for UpdateLit<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { gradient, step, row, w, m, v } = self;
        let units = row.len();
        per_rule!(step, rule => for &pixel in gradient.lists.lit() {
            let place = usize::from(pixel) * units..(usize::from(pixel) + 1) * units;
            let (w, m, v) = (&mut w[place.clone()], &mut m[place.clone()], &mut v[place]);
            let mut first = 0;
            while first < units {
                first += match (units - first) / LANES {
                    8.. if V::MANY => gradient.learn::<V, _, 8>(rule, pixel, first, w, m, v),
                    4.. => gradient.learn::<V, _, 4>(rule, pixel, first, w, m, v),
                    2.. => gradient.learn::<V, _, 2>(rule, pixel, first, w, m, v),
                    1 => gradient.learn::<V, _, 1>(rule, pixel, first, w, m, v),
                    _ => {
                        gradient.of::<V>(pixel, row);
                        let (w, m, v) = (&mut w[first..], &mut m[first..], &mut v[first..]);
                        rule.apply::<V>(w, m, v, &row[first..]);
                        units - first
                    }
                };
            }
        });
    }
}

impl LitGradient<'_> {
    /// One step for `N` vectors of a pixel's weights from column `first` on; returns how many columns they are.
    #[inline(always)]
    fn learn<V: Vector, R: Rule, const N: usize>(
        &self,
        rule: R,
        pixel: u16,
        first: usize,
        w: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
    ) -> usize {
        let start = [V::splat(0.0); N];
        let list = self.lists.of(pixel);
        let sums = sums::<V, N>(start, list, self.grey, self.delta, w.len(), first);
        let columns = N * LANES;
        let w = w[first..][..columns].as_chunks_mut().0;
        let m = m[first..][..columns].as_chunks_mut().0;
        let v = v[first..][..columns].as_chunks_mut().0;
        for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(sums) {
            rule.apply_block(w, m, v, g);
        }
        columns
    }
}

dispatched!(
    /// Takes the steps after `current[row]` for each of the rows, as if its gradient had been zero.
    catch_up,
    catch_up_body,
    (
        rows: &[u16],
        current: &mut [u32],
        schedule: &Schedule,
        units: usize,
        w: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
    )
);

/// Starts to load a slice into the near caches. What belongs to an image is a miss, in shuffled order.
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(list: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for value in list.iter().step_by(64 / size_of::<T>()).chain(list.last()) {
            // SAFETY: a prefetch reads nothing, whatever the address; this one is valid.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
        }
    }
}

#[inline(always)]
pub(super) fn catch_up_body(
    rows: &[u16],
    current: &mut [u32],
    schedule: &Schedule,
    units: usize,
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    for &row in rows {
        let since = std::mem::replace(&mut current[usize::from(row)], schedule.steps());
        if since < schedule.steps() {
            let row = usize::from(row) * units..(usize::from(row) + 1) * units;
            schedule.idle(since, &mut w[row.clone()], &mut m[row.clone()], &mut v[row]);
        }
    }
}

/// `out = start + sum over the list of grey[value] * (row index)`, rows of `out.len()` columns; a sum takes
/// its terms in their order.
#[inline(always)]
fn combine<V: Vector>(
    list: &[Lit],
    grey: &[f32; 256],
    rows: &[f32],
    start: &[f32],
    out: &mut [f32],
) {
    let (width, mut first) = (out.len(), 0);
    while first < width {
        match (width - first) / LANES {
            8.. if V::MANY => first += block::<V, 8>(list, grey, rows, start, out, first),
            4.. => first += block::<V, 4>(list, grey, rows, start, out, first),
            2.. => first += block::<V, 2>(list, grey, rows, start, out, first),
            1 => first += block::<V, 1>(list, grey, rows, start, out, first),
            // The last block computes columns again that the one before has computed.
            _ if width > LANES => {
                first = width - LANES + block::<V, 1>(list, grey, rows, start, out, width - LANES);
            }
            _ => {
                narrow::<V>(list, grey, rows, start, out);
                first = width;
            }
        }
    }
}

/// `N` vectors of [`combine`] from column `first` on; returns how many columns they are.
#[inline(always)]
fn block<V: Vector, const N: usize>(
    list: &[Lit],
    grey: &[f32; 256],
    rows: &[f32],
    start: &[f32],
    out: &mut [f32],
    first: usize,
) -> usize {
    let columns = N * LANES;
    let mut begin = [V::splat(0.0); N];
    for (begin, start) in begin.iter_mut().zip(start[first..][..columns].as_chunks().0) {
        *begin = V::load(start);
    }
    let sums = sums::<V, N>(begin, list, grey, rows, out.len(), first);
    for (sum, out) in sums.iter().zip(out[first..][..columns].as_chunks_mut().0) {
        sum.store(out);
    }
    columns
}

/// Adds the terms of a list to sums that stay in registers; rows have `width` columns.
#[inline(always)]
fn sums<V: Vector, const N: usize>(
    mut sums: [V; N],
    list: &[Lit],
    grey: &[f32; 256],
    rows: &[f32],
    width: usize,
    first: usize,
) -> [V; N] {
    for &Lit { index, value } in list {
        let x = V::splat(grey[usize::from(value)]);
        let row = &rows[usize::from(index) * width + first..][..N * LANES];
        for (sum, r) in sums.iter_mut().zip(row.as_chunks().0) {
            *sum = x.times_plus(V::load(r), *sum);
        }
    }
    sums
}

/// [`combine`] for rows that do not fill a vector.
#[inline(always)]
fn narrow<V: Vector>(
    list: &[Lit],
    grey: &[f32; 256],
    rows: &[f32],
    start: &[f32],
    out: &mut [f32],
) {
    let width = out.len();
    let mut room = [0.0; LANES];
    room[..width].copy_from_slice(start);
    let mut sum = V::load(&room);
    for &Lit { index, value } in list {
        room[..width].copy_from_slice(&rows[usize::from(index) * width..][..width]);
        sum = V::splat(grey[usize::from(value)]).times_plus(V::load(&room), sum);
    }
    sum.store(&mut room);
    out.copy_from_slice(&room[..width]);
}
