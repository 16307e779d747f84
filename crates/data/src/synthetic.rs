//! Digits drawn by the program: a fresh machine without network does the whole main job.
//!
//! Every image is drawn alone from its own ChaCha8 stream: a way of writing the digit, an affine
//! map, an elastic distortion, a pen width, a grey level and a little noise. Sizes, splits and class
//! counts are MNIST's, the held-out first 5,000 included, so that the commonest class has the same share.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use crate::strokes::{Stroke, strokes};
use crate::{Dataset, Split};

const SIDE: usize = 28;
const FIRST_5000: [usize; 10] = [479, 563, 488, 493, 535, 434, 501, 550, 462, 495];
const TRAIN: [usize; 10] = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
const TEST: [usize; 10] = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];

/// The drawing's version: part of the key, so that a change of the pen changes every image.
const VERSION: u64 = 1;

/// 60,000 training and 10,000 test images of 28 x 28.
pub(crate) fn digits(source: &str) -> Dataset {
    let mut labels = shuffled(&FIRST_5000, 0);
    let rest: Vec<usize> = TRAIN.iter().zip(FIRST_5000).map(|(all, first)| all - first).collect();
    labels.extend(shuffled(&rest, 1));
    Dataset {
        name: "synthetic digits".to_owned(),
        source: source.to_owned(),
        classes: 10,
        train: draw(labels, 0),
        test: draw(shuffled(&TEST, 2), 1 << 32),
    }
}

fn stream(index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(0x6761_696e_7374_6167 ^ VERSION);
    rng.set_stream(index);
    rng
}

fn shuffled(counts: &[usize], which: u64) -> Vec<u8> {
    let mut labels: Vec<u8> =
        counts.iter().enumerate().flat_map(|(d, &n)| vec![d as u8; n]).collect();
    let mut rng = stream((1 << 40) + which);
    for i in (1..labels.len()).rev() {
        labels.swap(i, rng.random_range(0..=i));
    }
    labels
}

fn draw(labels: Vec<u8>, first: u64) -> Split {
    let mut pixels = vec![0u8; labels.len() * SIDE * SIDE];
    pixels
        .par_chunks_exact_mut(SIDE * SIDE)
        .zip(&labels)
        .enumerate()
        .for_each(|(i, (image, &label))| draw_digit(label, &mut stream(first + i as u64), image));
    Split { width: SIDE, height: SIDE, pixels, labels }
}

fn draw_digit(label: u8, rng: &mut ChaCha8Rng, image: &mut [u8]) {
    let style = rng.random_range(0..3u32);
    let mut around = |half: f32| rng.random_range(-half..half);
    let (rotation, shear) = (around(0.36), around(0.36));
    let (width, height) = (15.2 + around(4.0), 18.9 + around(3.0));
    let (dx, dy) = (around(2.3), around(2.3));
    // A smooth displacement field: three waves of different direction and phase.
    let waves: [[f32; 6]; 3] = std::array::from_fn(|_| {
        [around(7.0), around(7.0), around(3.1), around(3.1), around(0.056), around(0.056)]
    });
    let pen = 1.75 + around(0.6);
    let ink = 235.0 + around(20.0);
    let (sin, cos) = rotation.sin_cos();
    let place = |(x, y): (f32, f32)| {
        let (mut u, mut v) = (x - 0.5, y - 0.5);
        for [kx, ky, p, q, a, b] in waves {
            u += a * (kx * x + ky * y + p).sin();
            v += b * (ky * x - kx * y + q).sin();
        }
        let u = u + shear * v;
        ((cos * u - sin * v) * width + 14.0 + dx, (sin * u + cos * v) * height + 14.0 + dy)
    };
    // Distance to the nearest stroke decides the grey level.
    let mut distance = [f32::INFINITY; SIDE * SIDE];
    for stroke in strokes(label, style) {
        let points: Stroke = stroke.into_iter().map(place).collect();
        for segment in points.windows(2) {
            mark(segment[0], segment[1], pen + 1.5, &mut distance);
        }
    }
    for (pixel, d) in image.iter_mut().zip(distance) {
        let cover = (pen + 0.5 - d).clamp(0.0, 1.0);
        let noise = if cover > 0.0 { around(26.0) } else { 0.0 };
        *pixel = (cover * ink + noise).clamp(0.0, 255.0) as u8;
    }
}

/// Lowers the distances of the pixels near one segment.
fn mark(a: (f32, f32), b: (f32, f32), reach: f32, distance: &mut [f32; SIDE * SIDE]) {
    let bounds = |p: f32, q: f32| {
        let low = (p.min(q) - reach).floor().clamp(0.0, SIDE as f32) as usize;
        let high = (p.max(q) + reach).ceil().clamp(0.0, SIDE as f32) as usize;
        low..high
    };
    let (ux, uy) = (b.0 - a.0, b.1 - a.1);
    let length = (ux * ux + uy * uy).max(1e-9);
    for row in bounds(a.1, b.1) {
        for col in bounds(a.0, b.0) {
            let (px, py) = (col as f32 + 0.5 - a.0, row as f32 + 0.5 - a.1);
            let along = ((px * ux + py * uy) / length).clamp(0.0, 1.0);
            let (ex, ey) = (px - along * ux, py - along * uy);
            let d = &mut distance[row * SIDE + col];
            *d = d.min((ex * ex + ey * ey).sqrt());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_class_counts_are_mnists() {
        let data = digits("test");
        assert_eq!(data.train.class_counts(10), TRAIN);
        assert_eq!(data.train.slice(0..5000).class_counts(10), FIRST_5000);
        assert_eq!(data.test.class_counts(10), TEST);
        // MNIST: 19.1% of the pixels, second moment 0.112.
        let lit = data.train.pixels.iter().filter(|&&p| p > 0).count() as f64
            / data.train.pixels.len() as f64;
        assert!((0.15..0.25).contains(&lit), "{lit}");
        assert!(
            (0.08..0.14).contains(&data.train.second_moment()),
            "{}",
            data.train.second_moment()
        );
    }

    /// Share of the test images that lie nearest to their own class's mean training image.
    fn nearest_mean(train: &Split, test: &Split) -> f64 {
        let (size, counts) = (SIDE * SIDE, train.class_counts(10));
        let mut means = vec![vec![0.0f64; size]; 10];
        for (image, &label) in train.pixels.chunks(size).zip(&train.labels) {
            let count = counts[usize::from(label)] as f64;
            for (mean, &pixel) in means[usize::from(label)].iter_mut().zip(image) {
                *mean += f64::from(pixel) / count;
            }
        }
        let distance = |image: &[u8], class: usize| -> f64 {
            image.iter().zip(&means[class]).map(|(&p, m)| (f64::from(p) - m).powi(2)).sum()
        };
        let right = test.pixels.chunks(size).zip(&test.labels).filter(|(image, label)| {
            let nearest =
                (0..10).min_by(|&a, &b| distance(image, a).total_cmp(&distance(image, b)));
            nearest == Some(usize::from(**label))
        });
        right.count() as f64 / test.len() as f64
    }

    #[test]
    fn the_digits_are_neither_trivial_nor_noise() {
        let data = digits("test");
        let (train, test) = (data.train.slice(0..10_000), data.test.slice(0..2000));
        // Nearest means are a rule without a hidden layer: far above the tenth of a guess, since the
        // classes are there to be learned, and with much left for a hidden layer to learn.
        let guess = 0.1 + 5.0 * (0.09f64 / test.len() as f64).sqrt();
        let share = nearest_mean(&train, &test);
        assert!(share > 3.0 * guess && share < 0.9, "{share}");
        // The twin, whose labels say nothing, guesses.
        let wrong = Split { labels: shuffled(&train.class_counts(10), 9), ..train };
        let share = nearest_mean(&wrong, &test);
        assert!(share < guess, "{share} against {guess}");
    }

    #[test]
    fn images_do_not_depend_on_threads_and_differ_from_each_other() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| draw(vec![3; 200], 0))
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(7));
        let distinct: std::collections::HashSet<&[u8]> = one.pixels.chunks(SIDE * SIDE).collect();
        assert_eq!(distinct.len(), 200);
    }
}
