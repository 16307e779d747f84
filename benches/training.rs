//! One epoch of the notebook's model on one core, on the drawn digits: 55,000 images.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gainstage_data::{Source, load};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::{Images, Protocol, fit};

fn epoch(c: &mut Criterion) {
    let data = load(&Source::Synthetic, &mut |_| ()).expect("draws");
    let split = data.train.slice(5000..60_000);
    let images = Images::new(&split.pixels, 784, &split.labels, 10).expect("valid");
    let network =
        Network::perceptron(&[784, 128, 10], &Initializer::glorot_uniform(), &Activation::Relu)
            .expect("valid");
    let protocol = Protocol { epochs: 1, ..Protocol::notebook() };
    let mut group = c.benchmark_group("training");
    group.sample_size(10).throughput(Throughput::Elements(images.len() as u64));
    group.bench_function("one epoch, 784-128-10, Adam, batch 32", |b| {
        b.iter(|| fit(&network, &images, None, &protocol, 1, &|_| ()).expect("trains"));
    });
    group.finish();
}

criterion_group!(benches, epoch);
criterion_main!(benches);
