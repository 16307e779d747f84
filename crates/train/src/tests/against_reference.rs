//! The trainer against the reference that knows nothing of its kernels.

use gainstage_init::{Key, Purpose};
use gainstage_spec::Activation;

use super::reference::{Reference, update};
use super::{images, network};
use crate::fit::shuffle;
use crate::schedule::Schedule;
use crate::{Images, Loss, Model, Optimizer, Protocol, RateSchedule, fit_from};

const OPTIMIZERS: [Optimizer; 6] = [
    Optimizer::Sgd { rate: 0.1 },
    Optimizer::Momentum { rate: 0.02, momentum: 0.9, nesterov: false },
    Optimizer::Momentum { rate: 0.02, momentum: 0.9, nesterov: true },
    Optimizer::RmsProp { rate: 1e-3, decay: 0.9, epsilon: 1e-7 },
    Optimizer::Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.0 },
    Optimizer::Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.1 },
];

/// One step of SGD at rate 1 moves every parameter by minus its gradient.
fn gradients(model: &Model, images: &Images) -> Vec<(Vec<f32>, Vec<f32>)> {
    let protocol = Protocol {
        epochs: 1,
        batch: images.len(),
        optimizer: Optimizer::Sgd { rate: 1.0 },
        loss: model.loss,
        ..Protocol::notebook()
    };
    let after = fit_from(model.clone(), images, None, &protocol, 0, &|_| ()).expect("trains").model;
    let difference = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect();
    let layers = model.layers.iter().zip(&after.layers);
    layers
        .map(|(a, b)| (difference(&a.weights, &b.weights), difference(&a.bias, &b.bias)))
        .collect()
}

fn parameter(reference: &mut Reference, layer: usize, bias: bool, place: usize) -> &mut f64 {
    let (weights, biases, _) = &mut reference.layers[layer];
    if bias { &mut biases[place] } else { &mut weights[place] }
}

#[test]
fn gradients_are_those_of_the_reference_and_its_central_differences() {
    let images = images(7);
    let all: Vec<u32> = (0..7).collect();
    for phi in Activation::all() {
        for loss in [Loss::CrossEntropy, Loss::SquaredError] {
            let model = Model::new(&network(&[30, 6, 5, 3], &phi), loss, 3).expect("valid");
            let found = gradients(&model, &images);
            let mut reference = Reference::of(&model);
            let exact = reference.gradients(&images, &all, 1.0 / 255.0);
            for layer in 0..3 {
                for bias in [false, true] {
                    let pick = |pair: &(Vec<f64>, Vec<f64>)| {
                        if bias { pair.1.clone() } else { pair.0.clone() }
                    };
                    let exact = pick(&exact[layer]);
                    let found = if bias { &found[layer].1 } else { &found[layer].0 };
                    for (place, (exact, found)) in exact.iter().zip(found).enumerate() {
                        let mut loss_moved = |by: f64| {
                            let at = *parameter(&mut reference, layer, bias, place);
                            *parameter(&mut reference, layer, bias, place) = at + by;
                            let loss = reference.mean_loss(&images, 1.0 / 255.0);
                            *parameter(&mut reference, layer, bias, place) = at;
                            loss
                        };
                        let h = 1e-5;
                        let slope = (loss_moved(h) - loss_moved(-h)) / (2.0 * h);
                        let case = format!("{phi} {loss:?} layer {layer} place {place}");
                        // h^2 times a third derivative of order one, and rounding of the loss over h.
                        assert!((slope - exact).abs() < 1e-9, "{case}: {slope} {exact}");
                        // Sums of up to 30 products of order one and a difference of two weights in f32.
                        let error = (exact - f64::from(*found)).abs();
                        assert!(error < 30.0 * f64::from(f32::EPSILON), "{case}: {exact} {error}");
                    }
                }
            }
        }
    }
}

/// Largest difference of a parameter from the model's.
fn distance(reference: &Reference, model: &Model) -> f64 {
    let layers = reference.layers.iter().zip(&model.layers);
    let pairs = layers.flat_map(|((w, b, _), l)| {
        w.iter().zip(l.weights.iter()).chain(b.iter().zip(&l.bias)).collect::<Vec<_>>()
    });
    pairs.map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max)
}

/// Where the reference gets by the trainer's order of the data.
fn train_reference(
    start: &Model,
    images: &Images,
    protocol: &Protocol,
    seed: u64,
    rounded: bool,
) -> Reference {
    let mut reference = Reference::of(start);
    reference.rounded = rounded;
    let mut order: Vec<u32> = (0..images.len() as u32).collect();
    for epoch in 0..protocol.epochs as u32 {
        shuffle(&mut order, Key::new(seed, Purpose::DataOrder, 0, epoch));
        for batch in order.chunks(protocol.batch) {
            reference.step(images, batch, protocol.scale, protocol.optimizer);
        }
    }
    reference
}

#[test]
fn sparse_and_idle_updates_are_the_dense_ones_for_every_optimizer() {
    // Batches of 4 leave most rows of the first layer dark in most steps; 61 images leave one over.
    let images = images(61);
    for phi in [Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Gelu] {
        for loss in [Loss::CrossEntropy, Loss::SquaredError] {
            let start = Model::new(&network(&[30, 20, 7, 3], &phi), loss, 5).expect("valid");
            for optimizer in OPTIMIZERS {
                let protocol =
                    Protocol { epochs: 20, batch: 4, optimizer, loss, ..Protocol::notebook() };
                let model = fit_from(start.clone(), &images, None, &protocol, 9, &|_| ())
                    .expect("trains")
                    .model;
                let exact = train_reference(&start, &images, &protocol, 9, false);
                // Rounding of the stored parameters alone, carried through the same 320 steps; sums and
                // products round as well, in fewer than eight times as many places.
                let stored = train_reference(&start, &images, &protocol, 9, true);
                let rounding = exact.distance(&stored);
                let error = distance(&exact, &model);
                let moved = distance(&exact, &start);
                assert!(error < 8.0 * rounding, "{phi} {loss:?} {optimizer:?}: {error} {rounding}");
                assert!(moved > 1e3 * error, "{phi} {loss:?} {optimizer:?}: {moved} {error}");
            }
        }
    }
}

#[test]
fn a_slightly_different_optimizer_is_told_apart() {
    let images = images(61);
    let start = Model::new(&network(&[30, 20, 7, 3], &Activation::Relu), Loss::CrossEntropy, 5)
        .expect("valid");
    let protocol = Protocol { epochs: 20, batch: 4, ..Protocol::notebook() };
    let model =
        fit_from(start.clone(), &images, None, &protocol, 9, &|_| ()).expect("trains").model;
    let rounding = train_reference(&start, &images, &protocol, 9, false)
        .distance(&train_reference(&start, &images, &protocol, 9, true));
    let wrong = |beta1, beta2, epsilon, weight_decay| {
        let optimizer = Optimizer::Adam { rate: 1e-3, beta1, beta2, epsilon, weight_decay };
        let protocol = Protocol { optimizer, ..protocol.clone() };
        distance(&train_reference(&start, &images, &protocol, 9, false), &model)
    };
    for error in [
        wrong(0.9001, 0.999, 1e-7, 0.0),
        wrong(0.9, 0.9991, 1e-7, 0.0),
        wrong(0.9, 0.999, 1e-6, 0.0),
        wrong(0.9, 0.999, 1e-7, 1e-3),
    ] {
        assert!(error > 8.0 * rounding, "{error} {rounding}");
    }
}

#[test]
fn many_idle_steps_at_once_are_as_many_steps_with_zero_gradients() {
    for optimizer in OPTIMIZERS {
        for idle in [1, 2, 7, 150, 1000, 20_000] {
            let mut schedule = Schedule::new(optimizer, RateSchedule::Constant);
            let (mut w, mut m, mut v) = ([0.3f32, 0.0], [0.0f32; 2], [0.0f32; 2]);
            let (mut exact, mut slot_m, mut slot_v) = (f64::from(0.3f32), 0.0, 0.0);
            for t in 1..=20 {
                let g = 0.1 * (1.0 + (t as f32).sin());
                crate::kernel::update(schedule.advance(), &mut w, &mut m, &mut v, &[g, 0.0]);
                update(optimizer, t, &mut exact, &mut slot_m, &mut slot_v, f64::from(g));
            }
            for t in 21..=20 + idle {
                _ = schedule.advance();
                update(optimizer, t, &mut exact, &mut slot_m, &mut slot_v, 0.0);
            }
            schedule.idle(20, &mut w, &mut m, &mut v);
            let case = format!("{optimizer:?}, {idle} steps");
            // Each step rounds the parameter once; the constants are rounded once, to the power of steps.
            let rounded = f64::from(f32::EPSILON) * f64::from(idle + 20);
            assert!((f64::from(w[0]) - exact).abs() < rounded * 0.5, "{case}: {} {exact}", w[0]);
            for (ours, exact) in [(m[0], slot_m), (v[0], slot_v)] {
                let error = (f64::from(ours) - exact).abs();
                assert!(error <= rounded * exact.abs() + 1e-30, "{case}: {ours} {exact}");
            }
            assert!([w, m, v].iter().flatten().all(|x| !x.is_subnormal()), "{case}");
            assert!([w[1], m[1], v[1]] == [0.0; 3], "{case}: zero stays zero");
        }
    }
}

#[test]
fn evaluation_is_that_of_the_reference_on_scaled_and_raw_pixels() {
    let images = images(50);
    for loss in [Loss::CrossEntropy, Loss::SquaredError] {
        let model = Model::new(&network(&[30, 20, 3], &Activation::Relu), loss, 5).expect("valid");
        let reference = Reference::of(&model);
        for scale in [1.0 / 255.0, 1.0] {
            let (found, exact) =
                (model.evaluate(&images, scale), reference.mean_loss(&images, scale));
            // Outputs are sums of 50 products, each rounded twice.
            let tolerance = 100.0 * f64::from(f32::EPSILON) * (1.0 + exact);
            assert!((found.loss - exact).abs() < tolerance, "{loss:?}: {} {exact}", found.loss);
        }
    }
}
