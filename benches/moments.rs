//! Moments to the fourth of a million f32 values, accumulated in f64.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gainstage_init::{Key, Purpose, fill_normal};
use gainstage_stats::Moments;

fn moments(c: &mut Criterion) {
    let mut values = vec![0.0f32; 1 << 20];
    fill_normal(Key::new(1, Purpose::Application, 0, 0), 0, 0.0, 1.0, &mut values);
    let mut group = c.benchmark_group("moments");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("first to fourth", |b| {
        b.iter(|| Moments::from(values.as_slice()).kurtosis());
    });
    group.finish();
}

criterion_group!(benches, moments);
criterion_main!(benches);
