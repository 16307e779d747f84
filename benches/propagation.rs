//! Forward and backward through random ReLU networks: 4 n^2 B floating-point operations a layer.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gainstage_simulate::{Setup, measure};
use gainstage_spec::{Activation, Initializer, Network};

fn propagation(c: &mut Criterion) {
    let mut group = c.benchmark_group("propagation");
    group.sample_size(10);
    for (depth, width, batch) in [(20, 512, 1), (20, 512, 16), (10, 1000, 256)] {
        let network = Network::uniform(width, depth, &Initializer::he_normal(), &Activation::Relu)
            .expect("valid");
        group.throughput(Throughput::Elements((4 * depth * width * width * batch) as u64));
        group.bench_function(format!("depth {depth}, width {width}, batch {batch}: FLOP"), |b| {
            b.iter(|| {
                measure(&network, &Setup { trials: 1, batch, ..Setup::default() }).expect("runs")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, propagation);
criterion_main!(benches);
