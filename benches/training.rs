//! Training on the drawn digits: whole epochs, and on one core the steps whose time one kernel decides.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gainstage_data::{Dataset, Source, load};
use gainstage_spec::{Activation, Initializer, Layer, Network};
use gainstage_train::{Clip, Images, Job, Loss, Model, Optimizer, Protocol, Training, fit_many};

struct Digits {
    train: Images,
    test: Images,
}

fn digits() -> Digits {
    let data: Dataset = load(&Source::Synthetic, &mut |_| ()).expect("draws");
    let train = data.train.slice(5000..60_000);
    let images =
        |pixels: &[u8], labels: &[u8]| Images::new(pixels, 784, labels, 10).expect("valid");
    Digits {
        train: images(&train.pixels, &train.labels),
        test: images(&data.test.pixels, &data.test.labels),
    }
}

fn perceptron(widths: &[usize], phi: &Activation) -> Network {
    Network::perceptron(widths, &Initializer::he_normal(), phi).expect("valid")
}

fn training<'a>(network: &Network, images: &'a Images, protocol: &Protocol) -> Training<'a> {
    let model = Model::new(network, Loss::CrossEntropy, 1).expect("draws");
    Training::new(model, images.into(), protocol, 1).expect("fits")
}

/// The notebook's model on one core, its four models on all, and 30 layers of 128 on all.
fn epochs(c: &mut Criterion) {
    let digits = digits();
    let mut group = c.benchmark_group("epoch");
    group.sample_size(10).throughput(Throughput::Elements(digits.train.len() as u64));
    let shallow = perceptron(&[784, 128, 10], &Activation::Relu);
    let mut learner = training(&shallow, &digits.train, &Protocol::notebook());
    group.bench_function("784-128-10, Adam, batch 32", |b| b.iter(|| learner.epoch()));
    let inits = ["zeros", "normal(std = 0.1)", "glorot_uniform", "keras_he_normal"];
    let jobs = inits.map(|init| Job {
        network: Network::perceptron(
            &[784, 128, 10],
            &init.parse().expect("known"),
            &Activation::Relu,
        )
        .expect("valid"),
        protocol: Protocol { epochs: 1, ..Protocol::notebook() },
        seed: 1,
    });
    group.bench_function("four models of 784-128-10, one a core", |b| {
        b.iter(|| fit_many(&jobs, &digits.train, None, &|_, _| ()).expect("trains"));
    });
    let deep = perceptron(&[vec![784], vec![128; 29], vec![10]].concat(), &Activation::Relu);
    let protocol = Protocol { batch: 64, ..Protocol::notebook() };
    let mut learner = training(&deep, &digits.train, &protocol);
    group.bench_function("30 layers of 128, Adam, batch 64", |b| b.iter(|| learner.epoch()));
    group.finish();
}

/// Forward alone: the sparse product of the first layer, and reading the images.
fn forward(c: &mut Criterion) {
    let digits = digits();
    let model = Model::new(&perceptron(&[784, 128, 10], &Activation::Relu), Loss::CrossEntropy, 1)
        .expect("draws");
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(digits.test.len() as u64));
    group.bench_function("784-128-10", |b| b.iter(|| model.evaluate(&digits.test, 1.0 / 255.0)));
    group.finish();
}

/// The steps of an epoch over 2,000 images in batches of 32, setting by setting: the update of every
/// optimiser, gradients that wait for a bound, curves, normalization, dropout.
fn steps(c: &mut Criterion) {
    let digits = digits();
    let notebook = Protocol { max_steps: None, ..Protocol::notebook() };
    let plain = perceptron(&[784, 128, 128, 10], &Activation::Relu);
    let with = |layer: Layer| {
        let mut network = plain.clone();
        network.layers.insert(1, layer);
        network
    };
    let rate = 1e-3;
    let cases: Vec<(&str, Network, Protocol)> = vec![
        ("Adam", plain.clone(), notebook.clone()),
        ("SGD", plain.clone(), Protocol { optimizer: Optimizer::Sgd { rate }, ..notebook.clone() }),
        (
            "momentum",
            plain.clone(),
            Protocol {
                optimizer: Optimizer::Momentum { rate, momentum: 0.9, nesterov: false },
                ..notebook.clone()
            },
        ),
        (
            "RMSprop",
            plain.clone(),
            Protocol {
                optimizer: Optimizer::RmsProp { rate, decay: 0.9, epsilon: 1e-7 },
                ..notebook.clone()
            },
        ),
        (
            "Adam, norm bounded",
            plain.clone(),
            Protocol { clip: Some(Clip::Norm { bound: 1.0 }), ..notebook.clone() },
        ),
        ("tanh", perceptron(&[784, 128, 128, 10], &Activation::Tanh), notebook.clone()),
        ("GELU", perceptron(&[784, 128, 128, 10], &Activation::Gelu), notebook.clone()),
        ("batch normalization", with(Layer::BatchNorm { epsilon: 1e-5 }), notebook.clone()),
        ("layer normalization", with(Layer::LayerNorm { epsilon: 1e-5 }), notebook.clone()),
        ("dropout", with(Layer::Dropout { keep: 0.9 }), notebook.clone()),
    ];
    let batches: Vec<Vec<u32>> =
        (0..62u32).map(|b| (0..32).map(|i| (b * 32 + i) * 27 % 55_000).collect()).collect();
    let mut group = c.benchmark_group("step of 784-128-128-10, batch 32");
    group.sample_size(20).throughput(Throughput::Elements(batches.len() as u64));
    for (name, network, protocol) in cases {
        let mut learner = training(&network, &digits.train, &protocol);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| batches.iter().map(|batch| learner.step(batch).0).sum::<f64>());
        });
    }
    group.finish();
}

criterion_group!(benches, epochs, forward, steps);
criterion_main!(benches);
