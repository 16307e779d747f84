//! The kernels of the first layer and of the parameter updates, compiled for several instruction sets.
//!
//! Each unit's additions happen in the same order whatever its column, the width and the instruction
//! set (multiplication and addition are never fused), so units that start equal stay equal to the last
//! bit, and all processors agree on these kernels.
#![allow(unsafe_code)] // calls of functions compiled for a processor feature, after its detection

use crate::elementary::{sigmoid, sigmoid_slope, tanh, tanh_slope};
use crate::images::{Images, Lit};
use crate::lists::Lists;
use crate::optimizer::{Schedule, Step};

/// Columns that fit into the registers at a time.
#[cfg(target_arch = "x86_64")]
const AVX512_COLUMNS: usize = 128;
#[cfg(target_arch = "x86_64")]
const AVX2_COLUMNS: usize = 64;
const PORTABLE_COLUMNS: usize = 32;

macro_rules! dispatched {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($arg:ident: $t:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name($($arg: $t),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $t),*) {
                    $body::<AVX512_COLUMNS>($($arg),*);
                }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $t),*) {
                    $body::<AVX2_COLUMNS>($($arg),*);
                }
                let wide = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw");
                if wide {
                    // SAFETY: the features that the function was compiled for were detected just now.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<PORTABLE_COLUMNS>($($arg),*);
        }
    };
}

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

dispatched!(
    /// Parameters whose gradients are known.
    update,
    update_body,
    (step: Step, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32])
);

dispatched!(
    /// `h = tanh(z)` or `h = 1 / (1 + exp(-z))`.
    squash,
    squash_body,
    (curve: Curve, z: &[f32], h: &mut [f32])
);

dispatched!(
    /// `delta *= phi'(z)` for these two.
    squash_back,
    squash_back_body,
    (curve: Curve, z: &[f32], delta: &mut [f32])
);

/// Smooth activations that are vectorised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curve {
    Tanh,
    Sigmoid,
}

/// Starts to load the images of a batch into the near caches. In shuffled order every one is a miss.
pub(crate) fn prefetch(images: &Images, batch: &[u32]) {
    #[cfg(target_arch = "x86_64")]
    for &image in batch {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        const LINE: usize = 64 / size_of::<Lit>();
        let list = images.image(image as usize);
        for lit in list.iter().step_by(LINE).chain(list.last()) {
            // SAFETY: a prefetch reads nothing, whatever the address; this one is valid.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(lit).cast()) };
        }
    }
}

#[inline(always)]
fn squash_body<const WIDE: usize>(curve: Curve, z: &[f32], h: &mut [f32]) {
    let both = h.iter_mut().zip(z);
    match curve {
        Curve::Tanh => both.for_each(|(h, &z)| *h = tanh(z)),
        Curve::Sigmoid => both.for_each(|(h, &z)| *h = sigmoid(z)),
    }
}

#[inline(always)]
fn squash_back_body<const WIDE: usize>(curve: Curve, z: &[f32], delta: &mut [f32]) {
    let both = delta.iter_mut().zip(z);
    match curve {
        Curve::Tanh => both.for_each(|(d, &z)| *d *= tanh_slope(z)),
        Curve::Sigmoid => both.for_each(|(d, &z)| *d *= sigmoid_slope(z)),
    }
}

#[inline(always)]
fn forward_body<const WIDE: usize>(
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
fn update_lit_body<const WIDE: usize>(
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
    let units = gradient.len();
    for &pixel in lists.lit() {
        combine::<WIDE>(lists.of(pixel), grey, delta, zeros, gradient);
        let row = usize::from(pixel) * units..(usize::from(pixel) + 1) * units;
        step.apply(&mut w[row.clone()], &mut m[row.clone()], &mut v[row], gradient);
    }
}

#[inline(always)]
fn catch_up_body<const WIDE: usize>(
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

#[inline(always)]
fn update_body<const WIDE: usize>(
    step: Step,
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
) {
    step.apply(w, m, v, g);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Optimizer;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32)
            .map(|i| {
                ((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32) / 8_388_608.0 - 1.0
            })
            .collect()
    }

    fn images() -> Images {
        let pixels: Vec<u8> =
            (0..12 * 20u32).map(|i| if i % 3 == 0 { 0 } else { (i * 77 % 256) as u8 }).collect();
        Images::new(&pixels, 20, &[0; 12], 1).expect("valid")
    }

    const OPTIMIZERS: [Optimizer; 5] = [
        Optimizer::Sgd { rate: 0.1 },
        Optimizer::Momentum { rate: 0.1, momentum: 0.9, nesterov: false },
        Optimizer::Momentum { rate: 0.1, momentum: 0.9, nesterov: true },
        Optimizer::RmsProp { rate: 0.1, decay: 0.9, epsilon: 1e-7 },
        Optimizer::Adam { rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.1 },
    ];

    #[test]
    fn compiled_for_this_processor_kernels_give_the_bits_of_the_portable_ones() {
        let images = images();
        let grey = crate::images::grey_table(1.0 / 255.0);
        let batch = [3u32, 7, 0, 11, 4];
        let mut lists = Lists::new(&images, batch.len());
        lists.fill(&images, &batch);
        for units in [1, 5, 15, 16, 37, 64, 100, 128, 130, 300] {
            let (weights, bias) = (values(20 * units, 1), values(units, 2));
            let mut z = [vec![0.0; 5 * units], vec![0.0; 5 * units]];
            forward(&images, &batch, &grey, &weights, &bias, &mut z[0]);
            forward_body::<PORTABLE_COLUMNS>(&images, &batch, &grey, &weights, &bias, &mut z[1]);
            assert_eq!(z[0], z[1], "forward, {units} units");

            for curve in [Curve::Tanh, Curve::Sigmoid] {
                let mut h = [vec![0.0; 5 * units], vec![0.0; 5 * units]];
                squash(curve, &z[0], &mut h[0]);
                squash_body::<PORTABLE_COLUMNS>(curve, &z[0], &mut h[1]);
                squash_back(curve, &z[0], &mut h[0]);
                squash_back_body::<PORTABLE_COLUMNS>(curve, &z[0], &mut h[1]);
                assert_eq!(h[0], h[1], "{curve:?}, {units} units");
            }

            let (delta, zeros) = (values(5 * units, 3), vec![0.0; units]);
            for optimizer in OPTIMIZERS {
                let mut schedule = Schedule::new(optimizer);
                (0..40).for_each(|_| _ = schedule.advance());
                let step = schedule.advance();
                let squares: Vec<f32> = values(20 * units, 6).iter().map(|v| v * v).collect();
                let start = (weights.clone(), values(20 * units, 5), squares);
                let (mut fast, mut plain) = (start.clone(), start.clone());
                let mut row = vec![0.0; units];
                let (w, m, v) = (&mut fast.0, &mut fast.1, &mut fast.2);
                update_lit(&lists, &grey, &delta, step, &zeros, &mut row, w, m, v);
                catch_up(&[0, 3, 19], &mut [5; 20], &schedule, units, w, m, v);
                update(step, w, m, v, &values(20 * units, 8));
                let (w, m, v) = (&mut plain.0, &mut plain.1, &mut plain.2);
                update_lit_body::<PORTABLE_COLUMNS>(
                    &lists, &grey, &delta, step, &zeros, &mut row, w, m, v,
                );
                catch_up_body::<PORTABLE_COLUMNS>(
                    &[0, 3, 19],
                    &mut [5; 20],
                    &schedule,
                    units,
                    w,
                    m,
                    v,
                );
                update_body::<PORTABLE_COLUMNS>(step, w, m, v, &values(20 * units, 8));
                assert!(fast == plain && fast != start, "{optimizer:?}, {units} units");
            }
        }
    }
}
