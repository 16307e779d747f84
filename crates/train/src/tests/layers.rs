//! Everything beside dense layers, and what surrounds the step: bounds, rates, traces, checkpoints.

use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};

use super::{images, network};
use crate::{
    Clip, Data, Epoch, Loss, Model, Optimizer, Protocol, RateSchedule, Sweep, TrainError, Training,
    Vectors, fit, fit_from,
};

/// Every kind of layer, smooth throughout.
fn everything(keep: f64) -> Network {
    let dense = |width| {
        Layer::Dense(
            Dense::new(width, Initializer::normal(0.5), Activation::Tanh)
                .with_bias(Initializer::normal(0.1)),
        )
    };
    let inner = Layer::Residual { scale: -0.5, branch: vec![dense(6)] };
    let branch =
        vec![Layer::RmsNorm { epsilon: 1e-3 }, dense(6), inner, Layer::Dropout { keep }, dense(9)];
    let layers = vec![
        dense(9),
        Layer::BatchNorm { epsilon: 1e-3 },
        Layer::Activation { function: Activation::Sigmoid },
        Layer::Residual { scale: 0.7, branch },
        Layer::LayerNorm { epsilon: 1e-3 },
        dense(3),
    ];
    Network::new(30, layers).expect("valid")
}

fn first_step(model: &Model, data: Data<'_>, seed: u64) -> (f64, Model) {
    let optimizer = Optimizer::Sgd { rate: 1.0 };
    let protocol = Protocol { optimizer, loss: model.loss, ..Protocol::notebook() };
    let mut training = Training::new(model.clone(), data, &protocol, seed).expect("fits");
    let (loss, _) = training.step(&[0, 1, 2, 3, 4, 5]);
    (loss, training.model().clone())
}

#[test]
fn gradients_through_every_kind_of_layer_are_central_differences_of_the_loss() {
    let images = images(6);
    let model = Model::new(&everything(0.6), Loss::CrossEntropy, 4).expect("draws");
    let (_, moved) = first_step(&model, (&images).into(), 11);
    let (_, otherwise) = first_step(&model, (&images).into(), 12);
    assert_ne!(moved, otherwise, "another seed draws another mask");
    for layer in 0..model.depth() {
        for place in [0, 1, model.weights(layer).len() / 2, model.weights(layer).len() - 1] {
            let loss = |by: f32| {
                let mut model = model.clone();
                model.weights_mut(layer)[place] += by;
                first_step(&model, (&images).into(), 11).0
            };
            let h = 1e-2;
            let slope = (loss(h) - loss(-h)) / f64::from(2.0 * h);
            let gradient =
                f64::from(model.weights(layer)[place]) - f64::from(moved.weights(layer)[place]);
            // h^2 / 6 = 2e-5 times a third derivative of up to ten; a loss rounded at 1e-7, over h.
            assert!((slope - gradient).abs() < 3e-4, "layer {layer}, {place}: {slope} {gradient}");
        }
    }
}

#[test]
fn dropout_keeps_its_share_and_is_off_in_evaluation() {
    let network = |keep| {
        let layers = vec![
            Layer::Dropout { keep },
            Layer::Dense(Dense::new(1, Initializer::Constant { value: 1.0 }, Activation::Linear)),
        ];
        Network::new(1000, layers).expect("valid")
    };
    let ones = Vectors::with_values(vec![1.0; 1000], 1000, vec![0.0], 1).expect("valid");
    let protocol = Protocol {
        loss: Loss::SquaredError,
        optimizer: Optimizer::Sgd { rate: 0.0 },
        ..Protocol::notebook()
    };
    for keep in [0.5, 0.9] {
        let model = Model::new(&network(keep), Loss::SquaredError, 1).expect("draws");
        let mut training = Training::new(model, (&ones).into(), &protocol, 1).expect("fits");
        let sums: Vec<f64> = (0..50).map(|_| (2.0 * training.step(&[0]).0).sqrt()).collect();
        let mean = sums.iter().sum::<f64>() / 50.0;
        // The mean of 50,000 values 1/keep with probability keep: five standard errors, 6e-7 false alarms.
        let error = (1000.0 * (1.0 - keep) / keep / 50.0).sqrt();
        assert!((mean - 1000.0).abs() < 5.0 * error, "{keep}: {mean}");
        assert!(sums.windows(2).any(|w| w[0] != w[1]), "every step has its mask");
        let looked = training.model().evaluate_on((&ones).into(), 1.0).loss;
        assert_eq!(looked, 500_000.0, "evaluation drops nothing");
    }
}

/// The same samples as vectors, which take the dense path.
fn as_vectors(images: &crate::Images) -> Vectors {
    let mut inputs = vec![0.0; images.len() * images.width()];
    let all: Vec<u32> = (0..images.len() as u32).collect();
    Data::from(images).copy(&all, &Data::grey(1.0 / 255.0), &mut inputs);
    Vectors::with_classes(inputs, images.width(), images.labels().to_vec(), 3).expect("valid")
}

fn distance(a: &Model, b: &Model) -> f32 {
    let pairs = a.layers.iter().zip(&b.layers).flat_map(|(a, b)| {
        a.weights.iter().zip(b.weights.iter()).chain(a.bias.iter().zip(&b.bias)).collect::<Vec<_>>()
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn sparse_images_train_as_the_same_numbers_do_with_changing_rates_and_bounds() {
    let images = images(61);
    let vectors = as_vectors(&images);
    let start = Model::new(&network(&[30, 20, 3], &Activation::Tanh), Loss::CrossEntropy, 5);
    let start = start.expect("draws");
    let adamw =
        Optimizer::Adam { rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.5 };
    let cosine = RateSchedule::Cosine { warmup: 20, steps: 300, floor: 0.1 };
    let mut ends = Vec::new();
    for (schedule, clip) in [
        (RateSchedule::Constant, None),
        (cosine, None),
        (RateSchedule::Stairs { every: 50, factor: 0.5 }, Some(Clip::Norm { bound: 0.5 })),
        (RateSchedule::Exponential { factor: 0.99 }, Some(Clip::Value { bound: 0.02 })),
    ] {
        let protocol = Protocol {
            epochs: 20,
            batch: 4,
            optimizer: adamw,
            schedule,
            clip,
            ..Protocol::notebook()
        };
        let train = |data: Data<'_>| {
            let mut training = Training::new(start.clone(), data, &protocol, 9).expect("fits");
            (0..20).for_each(|_| _ = training.epoch());
            training.model().clone()
        };
        let (sparse, dense) = (train((&images).into()), train((&vectors).into()));
        // 320 steps of at most 0.01, each rounded in the last place of parameters of order one.
        let rounding = 320.0 * f32::EPSILON;
        assert!(
            distance(&sparse, &dense) < rounding,
            "{schedule:?} {clip:?}: {}",
            distance(&sparse, &dense)
        );
        ends.push(sparse);
    }
    for (i, end) in ends.iter().enumerate() {
        assert!(ends[..i].iter().all(|other| distance(end, other) > 0.01), "setting {i} matters");
    }
}

#[test]
fn a_bound_that_is_never_reached_changes_no_bit() {
    let images = images(100);
    let protocol = Protocol { epochs: 2, ..Protocol::notebook() };
    let network = network(&[30, 128, 16, 3], &Activation::Relu);
    let free = fit(&network, &images, None, &protocol, 1, &|_| ()).expect("trains");
    for clip in [Clip::Norm { bound: 1e9 }, Clip::Value { bound: 1e9 }] {
        let protocol = Protocol { clip: Some(clip), watch_layers: true, ..protocol.clone() };
        let bound = fit(&network, &images, None, &protocol, 1, &|_| ()).expect("trains");
        assert!(bound.model == free.model && bound.layers.len() == 2, "{clip:?}");
    }
    let none = Protocol { clip: Some(Clip::Norm { bound: 0.0 }), ..protocol };
    let refused = fit(&network, &images, None, &none, 1, &|_| ()).expect_err("must be refused");
    assert!(matches!(refused, TrainError::Setting { value: 0.0, .. }));
}

#[test]
fn bounds_hold_for_the_norm_of_all_and_for_every_element() {
    let images = images(20);
    let network = network(&[30, 16, 3], &Activation::Tanh);
    let start = Model::new(&network, Loss::CrossEntropy, 2).expect("draws");
    let step = |clip| {
        let optimizer = Optimizer::Sgd { rate: 1.0 };
        let protocol = Protocol { optimizer, clip, epochs: 1, ..Protocol::notebook() };
        let end = fit_from(start.clone(), &images, None, &protocol, 1, &|_| ()).expect("trains");
        let layers = start.layers.iter().zip(&end.model.layers);
        layers
            .flat_map(|(a, b)| {
                let weights = a.weights.iter().zip(b.weights.iter());
                weights.chain(a.bias.iter().zip(&b.bias)).map(|(a, b)| b - a).collect::<Vec<_>>()
            })
            .collect::<Vec<f32>>()
    };
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let free = step(None);
    let bound = norm(&free) / 3.0;
    let clipped = step(Some(Clip::Norm { bound }));
    assert!((norm(&clipped) / bound - 1.0).abs() < 1e-5);
    let largest = free.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    // A difference of two parameters of order one keeps 1e-7 of it.
    let near = |a: f32, b: f32| (a - b).abs() < 4.0 * f32::EPSILON;
    assert!(free.iter().zip(&clipped).all(|(a, b)| near(a / 3.0, *b)));
    let each = step(Some(Clip::Value { bound: f64::from(largest / 2.0) }));
    assert!(free.iter().zip(&each).all(|(a, b)| near(a.clamp(-largest / 2.0, largest / 2.0), *b)));
}

#[test]
fn traces_tell_signal_gradient_update_and_dead_units() {
    let images = images(40);
    let mut start = Model::new(&network(&[30, 10, 3], &Activation::Relu), Loss::CrossEntropy, 2)
        .expect("draws");
    // Three of ten units never fire.
    start.bias_mut(0)[..3].fill(-100.0);
    let rate = 0.5;
    let protocol = Protocol {
        epochs: 1,
        batch: 40,
        optimizer: Optimizer::Sgd { rate },
        watch_layers: true,
        ..Protocol::notebook()
    };
    let fit = fit_from(start.clone(), &images, None, &protocol, 1, &|_| ()).expect("trains");
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let moved = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| b - a).collect::<Vec<f32>>();
    for (layer, trace) in fit.layers[0].iter().enumerate() {
        let (w, b) = (start.weights(layer), start.bias(layer));
        let dw = norm(&moved(w, fit.model.weights(layer)));
        let db = norm(&moved(b, fit.model.bias(layer)));
        assert!((trace.update_ratio / (dw / norm(w)) - 1.0).abs() < 1e-5, "{trace:?}");
        let gradient = dw.hypot(db) / rate;
        assert!((trace.gradient_norm / gradient - 1.0).abs() < 1e-4, "{trace:?} {gradient}");
        assert!(trace.pre_activation > 0.0 && trace.error_signal > 0.0);
    }
    let [first, last] = fit.layers[0][..] else { panic!("two layers") };
    assert!(first.dead >= Some(0.3) && first.dead < Some(1.0) && first.saturated.is_none());
    assert!(first.pre_activation > 100.0 * first.activation, "the three units' squares are 10,000");
    assert_eq!((last.dead, last.activation), (None, last.pre_activation));
    // In the softmax layer the error signals are p - y: their second moment is below 2/3.
    assert!(last.error_signal < 2.0 / 3.0 && last.error_signal > 1e-3);
}

#[test]
fn training_ends_when_the_loss_is_reached() {
    let images = images(200);
    let protocol = Protocol { epochs: 500, stop_below: Some(0.8), ..Protocol::notebook() };
    let network = network(&[30, 16, 3], &Activation::Relu);
    let fit = fit(&network, &images, None, &protocol, 1, &|_| ()).expect("trains");
    let losses: Vec<f64> = fit.history.iter().map(|e| e.train_loss).collect();
    let (last, before) = losses.split_last().expect("epochs");
    assert!(*last < 0.8 && before.iter().all(|l| *l >= 0.8) && !before.is_empty(), "{losses:?}");
}

#[test]
fn a_checkpoint_goes_on_to_the_same_bits() {
    let images = images(70);
    let adam = Optimizer::adam();
    let momentum = Optimizer::Momentum { rate: 0.05, momentum: 0.9, nesterov: true };
    for network in [network(&[30, 20, 3], &Activation::Relu), everything(0.8)] {
        for optimizer in [adam, momentum] {
            let schedule = RateSchedule::Exponential { factor: 0.999 };
            let protocol = Protocol { batch: 16, optimizer, schedule, ..Protocol::notebook() };
            let data = Data::from(&images);
            let fresh = || Model::new(&network, Loss::CrossEntropy, 3).expect("draws");
            let begin = || Training::new(fresh(), data, &protocol, 3).expect("fits");
            let (mut whole, mut part) = (begin(), begin());
            let history: Vec<Epoch> = (0..5).map(|_| whole.followed_epoch(Some(data))).collect();
            let first: Vec<Epoch> = (0..2).map(|_| part.followed_epoch(None)).collect();
            let bytes = part.checkpoint(&first).expect("is written");
            let (mut resumed, told) =
                Training::resume(fresh(), data, &protocol, 3, &bytes).expect("is read");
            assert_eq!(told, first);
            let rest: Vec<Epoch> = (0..3).map(|_| resumed.followed_epoch(Some(data))).collect();
            assert_eq!(rest, history[2..]);
            assert!(resumed.model() == whole.model() && resumed.steps() == whole.steps());
            assert_eq!(resumed.step_losses(), whole.step_losses());

            let refused = |seed, protocol: &Protocol, bytes: &[u8]| {
                let refused = Training::resume(fresh(), data, protocol, seed, bytes);
                matches!(refused, Err(TrainError::Checkpoint { .. }))
            };
            assert!(refused(4, &protocol, &bytes), "another seed");
            let other = Protocol { batch: 17, ..protocol.clone() };
            assert!(refused(3, &other, &bytes), "other batches");
            assert!(refused(3, &protocol, &bytes[..bytes.len() / 2]), "half a file");
            assert!(refused(3, &protocol, b"no safetensors"), "no file");
            let wider = super::network(&[30, 21, 3], &Activation::Relu);
            let wider = Model::new(&wider, Loss::CrossEntropy, 3).expect("draws");
            let refused = Training::resume(wider, data, &protocol, 3, &bytes);
            assert!(matches!(refused, Err(TrainError::Checkpoint { .. })), "another network");
        }
    }
}

#[test]
fn values_need_squared_errors_and_as_many_outputs() {
    let vectors = Vectors::with_values(vec![0.0; 8], 2, vec![1.0; 4], 1).expect("valid");
    let begin = |outputs, loss| {
        let model =
            Model::new(&network(&[2, outputs], &Activation::Linear), loss, 1).expect("draws");
        let protocol = Protocol { loss, ..Protocol::notebook() };
        Training::new(model, (&vectors).into(), &protocol, 1).map(|_| ())
    };
    assert_eq!(begin(1, Loss::CrossEntropy), Err(TrainError::Values));
    assert!(matches!(
        begin(2, Loss::SquaredError),
        Err(TrainError::Size { found: 2, needed: 1, .. })
    ));
    assert_eq!(begin(1, Loss::SquaredError), Ok(()));
    assert!(Vectors::with_values(vec![0.0; 7], 2, vec![1.0; 4], 1).is_err());
    assert!(Vectors::with_values(vec![0.0; 8], 2, vec![1.0; 4], 0).is_err());
    assert!(Vectors::with_classes(vec![0.0; 4], 2, vec![0, 3], 3).is_err());
}

#[test]
fn deep_ordered_networks_do_not_train_and_critical_ones_do() {
    let images = images(300);
    // chi_1 = 0.25 without bias: after 12 layers the signal is below 1e-7 of what it was. At 1.1 it
    // is kept, and 3 layers train either way.
    let sweep = Sweep {
        activation: Activation::Tanh,
        width: 32,
        depths: vec![2, 12],
        weight_variances: vec![0.25, 1.1],
        bias_variance: 0.0,
        // Adam would make up for gradients that are merely small.
        protocol: Protocol {
            epochs: 100,
            max_steps: Some(400),
            optimizer: Optimizer::Momentum { rate: 0.02, momentum: 0.9, nesterov: false },
            ..Protocol::notebook()
        },
    };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| sweep.run(&images, &images, 1, &|_| None, &|_, _| ())).expect("trains")
    };
    let cells = run(1);
    assert_eq!(cells, run(3));
    let places: Vec<(usize, f64)> = cells.iter().map(|c| (c.depth, c.weight_variance)).collect();
    assert_eq!(places, [(2, 0.25), (2, 1.1), (12, 0.25), (12, 1.1)]);
    let accuracies: Vec<f64> = cells.iter().map(|c| c.accuracy).collect();
    let share =
        |k| images.labels().iter().map(|l| f64::from(u8::from(*l == k))).sum::<f64>() / 300.0;
    let commonest = (0..3).map(share).fold(0.0, f64::max);
    assert!(accuracies[1] > 0.8 && accuracies[3] > 0.8, "{accuracies:?}");
    assert!(accuracies[2] <= commonest + 0.01, "{accuracies:?} {commonest}");
}
