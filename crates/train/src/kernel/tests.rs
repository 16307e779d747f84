//! Kernels chosen at run time against their portable twins.

use super::elementwise::{Update, add_rows_body, squash_back_body, squash_body};
use super::first_layer::{Forward, UpdateLit, catch_up_body};
use super::product::portable;
use super::vector::{Compilation, Kernel, Plain};
use super::*;
use crate::images::Images;
use crate::lists::Lists;
use crate::schedule::Schedule;
use crate::{Optimizer, RateSchedule};

type Idle = fn(&[u16], &mut [u32], &Schedule, usize, &mut [f32], &mut [f32], &mut [f32]);

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
        let pass = |run: &dyn Fn(Forward<'_>)| {
            let (grey, weights, bias) = (&grey, &weights[..], &bias[..]);
            let mut z = vec![0.0; 5 * units];
            run(Forward { images: &images, batch: &batch, grey, weights, bias, z: &mut z });
            z
        };
        let z = pass(&|forward| forward.run::<Plain<true>>());
        for compilation in Compilation::all() {
            let fast = pass(&|forward| compilation.run(forward));
            assert_eq!(fast, z, "forward, {compilation:?}, {units} units");
        }

        let mut sums = [bias.clone(), bias.clone()];
        add_rows(&z, &mut sums[0]);
        add_rows_body(&z, &mut sums[1]);
        assert_eq!(sums[0], sums[1], "sums of rows, {units} units");

        let leaky = Curve::Slopes { negative: 0.2, positive: 1.0 };
        let relu = Curve::Slopes { negative: 0.0, positive: 1.0 };
        for curve in [Curve::Tanh, Curve::Sigmoid, Curve::Gelu, leaky, relu] {
            let mut h = [vec![0.0; 5 * units], vec![0.0; 5 * units]];
            squash(curve, &z, &mut h[0]);
            squash_body(curve, &z, &mut h[1]);
            squash_back(curve, &z, &mut h[0]);
            squash_back_body(curve, &z, &mut h[1]);
            assert_eq!(h[0], h[1], "{curve:?}, {units} units");
        }

        let (delta, zeros) = (values(5 * units, 3), vec![0.0; units]);
        for optimizer in OPTIMIZERS {
            let mut schedule = Schedule::new(optimizer, RateSchedule::Constant);
            (0..40).for_each(|_| _ = schedule.advance());
            let step = schedule.advance();
            let squares: Vec<f32> = values(20 * units, 6).iter().map(|v| v * v).collect();
            let start = (weights.clone(), values(20 * units, 5), squares);
            let learn = |run: &dyn Fn(UpdateLit<'_>, Update<'_>), idle: Idle| {
                let (mut w, mut m, mut v) = start.clone();
                let gradient =
                    LitGradient { lists: &lists, grey: &grey, delta: &delta, zeros: &zeros };
                let row = &mut vec![0.0; units][..];
                let lit = UpdateLit { gradient, step, row, w: &mut w, m: &mut m, v: &mut v };
                let (mut other_w, mut other_m, mut other_v) = start.clone();
                let (all, g) = ([&mut other_w, &mut other_m, &mut other_v], values(20 * units, 8));
                let [w_all, m_all, v_all] = all;
                run(lit, Update { step, w: w_all, m: m_all, v: v_all, g: &g });
                idle(&[0, 3, 19], &mut [5; 20], &schedule, units, &mut w, &mut m, &mut v);
                [w, m, v, other_w, other_m, other_v]
            };
            let plain = learn(
                &|lit, all| {
                    lit.run::<Plain<true>>();
                    all.run::<Plain<true>>();
                },
                catch_up_body,
            );
            assert_ne!(plain[0], start.0, "{optimizer:?}, {units} units");
            assert_ne!(plain[3], start.0, "{optimizer:?}, {units} units");
            for compilation in Compilation::all() {
                let fast = learn(
                    &|lit, all| {
                        compilation.run(lit);
                        compilation.run(all);
                    },
                    catch_up,
                );
                assert_eq!(fast, plain, "{optimizer:?}, {compilation:?}, {units} units");
            }
        }
    }
}

/// Sizes around those of the tiles, and both ways to read the left factor.
#[test]
fn tiles_give_the_bits_of_the_portable_product() {
    for (rows, inner, columns) in
        [(1, 1, 1), (3, 7, 5), (8, 16, 16), (9, 5, 17), (13, 64, 31), (32, 10, 33), (17, 33, 100)]
    {
        let right = values(inner * columns, 1);
        let (straight, turned) = (values(rows * inner, 2), values(inner * (rows + 3), 3));
        let lefts = [Left::rows(&straight, inner), Left::columns(&turned, rows + 3, 2..rows + 2)];
        let row = values(columns, 4);
        for left in lefts {
            for start in [Start::Zero, Start::Row(&row), Start::Kept] {
                let before = values(rows * columns, 5);
                let mut out = before.clone();
                portable::<true>(start, left, &right, &mut out, columns);
                let near = |k: usize| {
                    let (i, j) = (k / columns, k % columns);
                    let begin = match start {
                        Start::Zero => 0.0,
                        Start::Row(row) => f64::from(row[j]),
                        Start::Kept => f64::from(before[k]),
                    };
                    let term = |k: usize| {
                        let a = left.values[i * left.row + k * left.column];
                        f64::from(a) * f64::from(right[k * columns + j])
                    };
                    let exact = begin + (0..inner).map(term).sum::<f64>();
                    // Every addition rounds a sum of numbers below one.
                    let bound = (inner + 1) as f64 * inner as f64 * f64::from(f32::EPSILON) / 2.0;
                    (f64::from(out[k]) - exact).abs() <= bound
                };
                assert!((0..out.len()).all(near), "{rows} x {inner} x {columns}, {start:?}");
                let mut twins = Vec::new();
                let mut add = |run: &dyn Fn(&mut [f32])| {
                    let mut twin = before.clone();
                    run(&mut twin);
                    twins.push(twin);
                };
                #[cfg(target_arch = "x86_64")]
                {
                    if is_x86_feature_detected!("avx512f") {
                        // SAFETY: the feature was detected; the sizes fit.
                        add(&|out| unsafe {
                            tiles::avx512::product(start, left, &right, out, columns);
                        });
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: as above.
                        add(&|out| unsafe {
                            tiles::avx2::product(start, left, &right, out, columns);
                        });
                        add(&|out| product(start, left, &right, out));
                    }
                }
                #[cfg(not(target_arch = "x86_64"))]
                add(&|out| product(start, left, &right, out));
                for twin in twins {
                    assert_eq!(twin, out, "{rows} x {inner} x {columns}, {start:?}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "left factor")]
fn a_left_factor_that_is_too_short_is_refused_before_any_pointer_is_read() {
    let short = Left { values: &[1.0; 7], rows: 2, inner: 4, row: 4, column: 1 };
    product(Start::Zero, short, &[1.0; 8], &mut [0.0; 4]);
}
