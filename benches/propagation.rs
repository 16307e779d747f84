//! Forward and backward through random ReLU networks, every weight drawn and without weights.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gainstage_simulate::{Matrix, Method, Setup, divided_product, measure};
use gainstage_spec::{Activation, Initializer, Network};

fn network(depth: usize, width: usize, init: &Initializer) -> Network {
    Network::uniform(width, depth, init, &Activation::Relu).expect("valid")
}

/// 4 n^2 B floating-point operations a layer.
fn dense(c: &mut Criterion) {
    let mut group = c.benchmark_group("propagation");
    group.sample_size(10);
    for (depth, width, batch) in [(20, 512, 1), (20, 512, 16), (10, 1000, 256)] {
        let network = network(depth, width, &Initializer::he_normal());
        group.throughput(Throughput::Elements((4 * depth * width * width * batch) as u64));
        group.bench_function(format!("depth {depth}, width {width}, batch {batch}: FLOP"), |b| {
            b.iter(|| {
                measure(&network, &Setup { trials: 1, batch, ..Setup::default() }).expect("runs")
            });
        });
    }
    group.finish();
}

/// 2 n^3 floating-point operations, on all threads, as on the way forward and back.
fn products(c: &mut Criterion) {
    let n = 1000;
    let values: Vec<f32> = (0..n * n).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut out = vec![0.0f32; n * n];
    let mut group = c.benchmark_group("product of 1000 x 1000: FLOP");
    group.throughput(Throughput::Elements(2 * (n as u64).pow(3)));
    let matrix = Matrix::new(&values, n, n);
    for (name, right) in [("H W'", matrix.transposed()), ("D W", matrix)] {
        group.bench_function(name, |b| b.iter(|| divided_product(&mut out, matrix, right)));
    }
    group.finish();
}

/// Five draws a round, one after another on one thread: the first pays for the memory.
fn matrix_free(c: &mut Criterion) {
    let mut group = c.benchmark_group("matrix-free");
    group.sample_size(10);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
    let gaussian = Initializer::he_normal();
    let orthogonal = Initializer::Orthogonal { gain: std::f64::consts::SQRT_2 };
    for (init, depth, width, batch) in [
        (&gaussian, 100, 1000, 1),
        (&gaussian, 100, 1000, 2),
        (&gaussian, 100, 1000, 16),
        (&gaussian, 100, 1000, 64),
        (&orthogonal, 100, 1000, 16),
        (&gaussian, 10_000, 1000, 2),
        (&gaussian, 1000, 100_000, 2),
    ] {
        let network = network(depth, width, init);
        let trials = if width > 1000 { 1 } else { 5 };
        let (method, moments) = (Method::MatrixFree, false);
        let setup = Setup { trials, batch, method, moments, ..Setup::default() };
        group.throughput(Throughput::Elements(trials as u64));
        let name = format!("{init}, depth {depth}, width {width}, batch {batch}: draws");
        group.bench_function(name, |b| {
            b.iter(|| one.install(|| measure(&network, &setup).expect("runs")));
        });
    }
    group.finish();
}

criterion_group!(benches, dense, products, matrix_free);
criterion_main!(benches);
