//! The kernels of the first layer and of the parameter updates, compiled for several instruction sets.
//!
//! Each unit's additions happen in the same order whatever its column, the width and the instruction
//! set (multiplication and addition are never fused), so units that start equal stay equal to the last
//! bit, and all processors agree on these kernels.
#![allow(unsafe_code)] // calls of functions compiled for a processor feature, after its detection

use crate::optimizer::Step;

/// Columns that are kept in registers at a time.
const BLOCK: usize = 64;

macro_rules! dispatched {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($arg:ident: $t:ty),*)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name($($arg: $t),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
                fn avx512($($arg: $t),*) {
                    $body($($arg),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $t),*) {
                    $body($($arg),*);
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
            $body($($arg),*);
        }
    };
}

dispatched!(
    /// `z = bias + sum over the image's pixels of grey * (row of weights)`; weights `[pixel, unit]`.
    forward_image,
    forward_image_body,
    (places: &[u16], values: &[u8], grey: &[f32; 256], weights: &[f32], bias: &[f32], z: &mut [f32])
);

dispatched!(
    /// One pixel's row of weights: its gradient from the batch's error signals, and the update.
    ///
    /// `samples` lists (sample, grey); `delta` is `[sample, unit]`.
    update_row,
    update_row_body,
    (samples: &[(u16, f32)], delta: &[f32], step: Step, w: &mut [f32], m: &mut [f32], v: &mut [f32])
);

dispatched!(
    /// Parameters whose gradients are known.
    update,
    update_body,
    (step: Step, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32])
);

#[inline(always)]
fn forward_image_body(
    places: &[u16],
    values: &[u8],
    grey: &[f32; 256],
    weights: &[f32],
    bias: &[f32],
    z: &mut [f32],
) {
    let width = z.len();
    let (blocks, tail) = z.as_chunks_mut::<BLOCK>();
    for (index, block) in blocks.iter_mut().enumerate() {
        let first = index * BLOCK;
        let mut sums = [0.0f32; BLOCK];
        sums.copy_from_slice(&bias[first..first + BLOCK]);
        for (&place, &value) in places.iter().zip(values) {
            let x = grey[usize::from(value)];
            let row = &weights[usize::from(place) * width + first..][..BLOCK];
            for (sum, w) in sums.iter_mut().zip(row) {
                *sum += x * w;
            }
        }
        *block = sums;
    }
    let first = width - tail.len();
    tail.copy_from_slice(&bias[first..]);
    for (&place, &value) in places.iter().zip(values) {
        let x = grey[usize::from(value)];
        let row = &weights[usize::from(place) * width + first..][..tail.len()];
        for (sum, w) in tail.iter_mut().zip(row) {
            *sum += x * w;
        }
    }
}

#[inline(always)]
fn update_row_body(
    samples: &[(u16, f32)],
    delta: &[f32],
    step: Step,
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let width = w.len();
    let mut first = 0;
    while first < width {
        let columns = BLOCK.min(width - first);
        let mut sums = [0.0f32; BLOCK];
        if columns == BLOCK {
            for &(sample, x) in samples {
                let row = &delta[usize::from(sample) * width + first..][..BLOCK];
                for (sum, d) in sums.iter_mut().zip(row) {
                    *sum += x * d;
                }
            }
        } else {
            for &(sample, x) in samples {
                let row = &delta[usize::from(sample) * width + first..][..columns];
                for (sum, d) in sums.iter_mut().zip(row) {
                    *sum += x * d;
                }
            }
        }
        let range = first..first + columns;
        step.apply(&mut w[range.clone()], &mut m[range.clone()], &mut v[range], &sums[..columns]);
        first += columns;
    }
}

#[inline(always)]
fn update_body(step: Step, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
    step.apply(w, m, v, g);
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

    #[test]
    fn dispatched_kernels_give_the_bits_of_the_portable_ones() {
        for width in [1, 5, 64, 100, 128, 200] {
            let (weights, bias) = (values(10 * width, 1), values(width, 2));
            let grey = crate::images::grey_table(1.0 / 255.0);
            let (places, pixels) = ([0u16, 3, 9], [200u8, 7, 255]);
            let (mut a, mut b) = (vec![0.0; width], vec![0.0; width]);
            forward_image(&places, &pixels, &grey, &weights, &bias, &mut a);
            forward_image_body(&places, &pixels, &grey, &weights, &bias, &mut b);
            assert_eq!(a, b, "forward, width {width}");

            let delta = values(4 * width, 3);
            let step = Optimizer::adam().at(3);
            let start = [
                values(width, 4),
                values(width, 5),
                values(width, 6).iter().map(|v| v * v).collect(),
            ];
            let ([mut w1, mut m1, mut v1], [mut w2, mut m2, mut v2]) = (start.clone(), start);
            update_row(&[(0, 0.5), (3, 0.25)], &delta, step, &mut w1, &mut m1, &mut v1);
            update_row_body(&[(0, 0.5), (3, 0.25)], &delta, step, &mut w2, &mut m2, &mut v2);
            assert_eq!((w1, m1, v1), (w2, m2, v2), "update, width {width}");
        }
    }
}
