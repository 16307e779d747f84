//! Nanoseconds per weight of each initializer, f32, 512 x 512.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gainstage_init::{Key, Purpose, fill};
use gainstage_spec::{Initializer, Layout, WeightShape};

fn initializers(c: &mut Criterion) {
    let shape = WeightShape::dense(512, 512).expect("valid");
    let mut out = vec![0.0f32; shape.elements()];
    let mut group = c.benchmark_group("init");
    group.throughput(Throughput::Elements(shape.elements() as u64));
    for text in [
        "zeros",
        "he_uniform",
        "he_normal",
        "keras_he_normal",
        "sparse(sparsity = 0.9, std = 0.01)",
        "orthogonal",
    ] {
        let initializer: Initializer = text.parse().expect(text);
        if text == "orthogonal" {
            group.sample_size(10);
        }
        group.bench_function(text, |b| {
            b.iter(|| {
                fill(
                    &initializer,
                    &shape,
                    Layout::OutIn,
                    Key::new(1, Purpose::Weights, 0, 0),
                    &mut out,
                )
                .expect(text);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, initializers);
criterion_main!(benches);
