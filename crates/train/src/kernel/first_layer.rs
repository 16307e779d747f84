//! The first layer of byte images: only lit pixels cost anything.

use crate::images::{Images, Lit};
use crate::lists::Lists;
use crate::schedule::Schedule;
use crate::step::{Rule, Step, per_rule};

dispatched!(
    /// `z = bias + sum over each image's pixels of grey * (row of weights)`; weights `[pixel, unit]`,
    /// z `[image, unit]`.
    forward,
    forward_body,
    (
        images: &Images,
        batch: &[u32],
        grey: &[f32; 256],
        weights: &[f32],
        bias: &[f32],
        z: &mut [f32],
    )
);

dispatched!(
    /// One step for the weights of the pixels that are lit in the batch: `delta` `[sample, unit]` gives
    /// the gradient. `zeros` and `gradient` hold one row; the first stays zero.
    update_lit,
    update_lit_body,
    (
        lists: &Lists,
        grey: &[f32; 256],
        delta: &[f32],
        step: Step,
        zeros: &[f32],
        gradient: &mut [f32],
        w: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
    )
);

dispatched!(
    /// The same gradient, one row for each lit pixel in their order, and no step.
    gradient_lit,
    gradient_lit_body,
    (lists: &Lists, grey: &[f32; 256], delta: &[f32], zeros: &[f32], gradient: &mut [f32])
);

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
pub(super) fn forward_body<const WIDE: usize>(
    images: &Images,
    batch: &[u32],
    grey: &[f32; 256],
    weights: &[f32],
    bias: &[f32],
    z: &mut [f32],
) {
    for (row, &image) in z.chunks_exact_mut(bias.len()).zip(batch) {
        combine::<WIDE>(images.image(image as usize), grey, weights, bias, row);
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn update_lit_body<const WIDE: usize>(
    lists: &Lists,
    grey: &[f32; 256],
    delta: &[f32],
    step: Step,
    zeros: &[f32],
    gradient: &mut [f32],
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    per_rule!(step, rule => {
        if gradient.len().is_multiple_of(WIDE) {
            return update_blocks::<WIDE, _>(lists, grey, delta, rule, gradient.len(), w, m, v);
        }
        let units = gradient.len();
        for &pixel in lists.lit() {
            combine::<WIDE>(lists.of(pixel), grey, delta, zeros, gradient);
            let row = usize::from(pixel) * units..(usize::from(pixel) + 1) * units;
            rule.apply(&mut w[row.clone()], &mut m[row.clone()], &mut v[row], gradient);
        }
    });
}

#[inline(always)]
pub(super) fn gradient_lit_body<const WIDE: usize>(
    lists: &Lists,
    grey: &[f32; 256],
    delta: &[f32],
    zeros: &[f32],
    gradient: &mut [f32],
) {
    for (row, &pixel) in gradient.chunks_exact_mut(zeros.len()).zip(lists.lit()) {
        combine::<WIDE>(lists.of(pixel), grey, delta, zeros, row);
    }
}

/// Columns of an update that alternate with additions of a gradient.
const LANES: usize = 16;

/// As the general case, for rows of whole blocks. Sums keep the adders busy and updates the divider,
/// so each block's update runs between the additions of the next block's gradient.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn update_blocks<const N: usize, R: Rule>(
    lists: &Lists,
    grey: &[f32; 256],
    delta: &[f32],
    rule: R,
    units: usize,
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let mut ready = [0.0f32; N];
    let mut place = None;
    for &pixel in lists.lit() {
        let list = lists.of(pixel);
        for first in (0..units).step_by(N) {
            let mut sums = [0.0f32; N];
            let mut add = |lit: Lit| {
                let x = grey[usize::from(lit.value)];
                let row = &delta[usize::from(lit.index) * units + first..][..N];
                sums.iter_mut().zip(row).for_each(|(sum, r)| *sum += x * r);
            };
            if let Some(at) = place {
                let mut parts = parts(&ready, at, w, m, v);
                let (beside, rest) = list.split_at(list.len().min(N / LANES));
                for &lit in beside {
                    add(lit);
                    if let Some((w, m, v, g)) = parts.next() {
                        rule.apply(w, m, v, g);
                    }
                }
                parts.for_each(|(w, m, v, g)| rule.apply(w, m, v, g));
                rest.iter().for_each(|lit| add(*lit));
            } else {
                list.iter().for_each(|lit| add(*lit));
            }
            ready = sums;
            place = Some(usize::from(pixel) * units + first);
        }
    }
    if let Some(at) = place {
        parts(&ready, at, w, m, v).for_each(|(w, m, v, g)| rule.apply(w, m, v, g));
    }
}

type Part<'a> =
    (&'a mut [f32; LANES], &'a mut [f32; LANES], &'a mut [f32; LANES], &'a [f32; LANES]);

/// A block of parameters and slots at a place, with its gradient, in parts of [`LANES`].
#[inline(always)]
fn parts<'a, const N: usize>(
    gradient: &'a [f32; N],
    at: usize,
    w: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
) -> impl Iterator<Item = Part<'a>> {
    let (w, m, v) = (&mut w[at..at + N], &mut m[at..at + N], &mut v[at..at + N]);
    let slots = w.as_chunks_mut().0.iter_mut().zip(m.as_chunks_mut().0).zip(v.as_chunks_mut().0);
    slots.zip(gradient.as_chunks().0).map(|(((w, m), v), g)| (w, m, v, g))
}

#[inline(always)]
pub(super) fn catch_up_body<const WIDE: usize>(
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

/// `out = start + sum over the list of grey[value] * (row index)`, rows of `out.len()` columns.
#[inline(always)]
fn combine<const WIDE: usize>(
    list: &[Lit],
    grey: &[f32; 256],
    rows: &[f32],
    start: &[f32],
    out: &mut [f32],
) {
    let width = out.len();
    let mut first = 0;
    while first < width {
        let left = width - first;
        if left >= WIDE {
            block::<WIDE>(list, grey, rows, start, out, first);
            first += WIDE;
        } else if left >= 32 {
            block::<32>(list, grey, rows, start, out, first);
            first += 32;
        } else if width >= 16 {
            // The last block may compute columns again that the one before has computed.
            first = first.min(width - 16);
            block::<16>(list, grey, rows, start, out, first);
            first += 16;
        } else {
            out.copy_from_slice(start);
            for &Lit { index, value } in list {
                let x = grey[usize::from(value)];
                let row = &rows[usize::from(index) * width..][..width];
                out.iter_mut().zip(row).for_each(|(sum, r)| *sum += x * r);
            }
            first = width;
        }
    }
}

/// `N` columns of [`combine`], in registers.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn block<const N: usize>(
    list: &[Lit],
    grey: &[f32; 256],
    rows: &[f32],
    start: &[f32],
    out: &mut [f32],
    first: usize,
) {
    let width = out.len();
    let mut sums = [0.0f32; N];
    sums.copy_from_slice(&start[first..first + N]);
    for &Lit { index, value } in list {
        let x = grey[usize::from(value)];
        let row = &rows[usize::from(index) * width + first..][..N];
        for (sum, r) in sums.iter_mut().zip(row) {
            *sum += x * r;
        }
    }
    out[first..first + N].copy_from_slice(&sums);
}
