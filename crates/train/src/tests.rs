//! The trainer against an f64 reference that knows nothing of its kernels, and against itself.

use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};

use crate::{Images, Job, Loss, Model, Optimizer, Protocol, TrainError, fit, fit_from, fit_many};

/// Random-looking sparse images of 30 pixels in three classes.
fn images(count: usize) -> Images {
    let mut state = 12345u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let labels: Vec<u8> = (0..count).map(|_| (next() % 3) as u8).collect();
    let pixels = labels
        .iter()
        .flat_map(|&label| {
            (0..30)
                .map(|p| {
                    if next() % 4 == 0 || p % 3 == u32::from(label) && p < 9 {
                        (next() % 256) as u8
                    } else {
                        0
                    }
                })
                .collect::<Vec<u8>>()
        })
        .collect::<Vec<u8>>();
    Images::new(&pixels, 30, &labels, 3).expect("valid")
}

fn network(widths: &[usize], phi: &Activation) -> Network {
    let init = Initializer::normal(0.4);
    let last = widths.len() - 2;
    let layers = widths[1..].iter().enumerate().map(|(i, &w)| {
        let phi = if i == last { Activation::Linear } else { phi.clone() };
        Layer::Dense(Dense::new(w, init.clone(), phi).with_bias(Initializer::normal(0.1)))
    });
    Network::new(widths[0], layers.collect()).expect("valid")
}

/// Plain loops in f64: weights `[input][unit]`, biases, and the loss they give.
struct Reference {
    layers: Vec<(Vec<f64>, Vec<f64>, Activation)>,
    loss: Loss,
}

impl Reference {
    fn of(model: &Model) -> Self {
        let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect();
        let layers =
            model.layers.iter().map(|l| (wide(&l.weights), wide(&l.bias), l.activation.clone()));
        Self { layers: layers.collect(), loss: model.loss }
    }

    fn loss_of(&self, x: &[f64], label: usize) -> f64 {
        let mut h = x.to_vec();
        for (w, b, phi) in &self.layers {
            let units = b.len();
            h = (0..units)
                .map(|u| {
                    phi.value(
                        b[u] + h.iter().enumerate().map(|(i, x)| x * w[i * units + u]).sum::<f64>(),
                    )
                })
                .collect();
        }
        match self.loss {
            Loss::CrossEntropy => h.iter().map(|z| z.exp()).sum::<f64>().ln() - h[label],
            Loss::SquaredError => {
                0.5 * h
                    .iter()
                    .enumerate()
                    .map(|(k, z)| (z - f64::from(u8::from(k == label))).powi(2))
                    .sum::<f64>()
            }
        }
    }

    /// Mean loss over the images.
    fn mean(&self, images: &Images) -> f64 {
        let total: f64 = (0..images.len())
            .map(|i| {
                let mut x = vec![0.0; images.width()];
                let (places, values) = images.image(i);
                places
                    .iter()
                    .zip(values)
                    .for_each(|(&p, &v)| x[usize::from(p)] = f64::from(v) / 255.0);
                self.loss_of(&x, usize::from(images.labels()[i]))
            })
            .sum();
        total / images.len() as f64
    }
}

/// One step of SGD at rate 1 moves every parameter by minus its gradient.
fn gradients(model: &Model, images: &Images, loss: Loss) -> Vec<(Vec<f32>, Vec<f32>)> {
    let protocol = Protocol {
        epochs: 1,
        batch: images.len(),
        optimizer: Optimizer::Sgd { rate: 1.0 },
        loss,
        ..Protocol::notebook()
    };
    let after = fit_from(model.clone(), images, None, &protocol, 0, &|_| ()).expect("trains").model;
    let difference = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect();
    let layers = model.layers.iter().zip(&after.layers);
    layers
        .map(|(a, b)| (difference(&a.weights, &b.weights), difference(&a.bias, &b.bias)))
        .collect()
}

#[test]
fn gradients_are_central_differences_of_an_independent_loss() {
    let images = images(7);
    for phi in Activation::all() {
        for loss in [Loss::CrossEntropy, Loss::SquaredError] {
            let model = Model::new(&network(&[30, 6, 5, 3], &phi), loss, 3).expect("valid");
            let found = gradients(&model, &images, loss);
            for layer in 0..3 {
                let mut reference = Reference::of(&model);
                let h = 1e-5;
                // Every seventh weight and every bias.
                for place in (0..reference.layers[layer].0.len()).step_by(7) {
                    let at = reference.layers[layer].0[place];
                    let mut moved = |by: f64| {
                        reference.layers[layer].0[place] = at + by;
                        reference.mean(&images)
                    };
                    let slope = (moved(h) - moved(-h)) / (2.0 * h);
                    moved(0.0);
                    let error = (slope - f64::from(found[layer].0[place])).abs();
                    // f32 rounding of a difference of two weights of order one.
                    assert!(
                        error < 2e-6,
                        "{phi} {loss:?} layer {layer} weight {place}: {slope} {error}"
                    );
                }
                for place in 0..reference.layers[layer].1.len() {
                    let at = reference.layers[layer].1[place];
                    let mut moved = |by: f64| {
                        reference.layers[layer].1[place] = at + by;
                        reference.mean(&images)
                    };
                    let slope = (moved(h) - moved(-h)) / (2.0 * h);
                    moved(0.0);
                    let error = (slope - f64::from(found[layer].1[place])).abs();
                    assert!(
                        error < 2e-6,
                        "{phi} {loss:?} layer {layer} bias {place}: {slope} {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn optimizers_take_the_textbook_steps() {
    // One parameter, L = w^2/2 by hand: gradients are the parameter itself.
    type Textbook<'a> = &'a dyn Fn(u32, f64, f64, &mut [f64; 2]) -> f64;
    let run = |optimizer: Optimizer, textbook: Textbook<'_>| {
        let (mut w, mut m, mut v) = ([0.7f32], [0.0f32], [0.0f32]);
        let (mut expected, mut state) = (0.7f64, [0.0f64; 2]);
        for t in 1..=50 {
            let g = w;
            optimizer.at(u64::from(t)).apply(&mut w, &mut m, &mut v, &g);
            expected = textbook(t, expected, expected, &mut state);
            assert!(
                (f64::from(w[0]) - expected).abs() < 1e-5,
                "{optimizer:?} step {t}: {} {expected}",
                w[0]
            );
        }
    };
    run(Optimizer::Sgd { rate: 0.1 }, &|_, w, g, _| w - 0.1 * g);
    run(Optimizer::Momentum { rate: 0.1, momentum: 0.9, nesterov: false }, &|_, w, g, s| {
        s[0] = 0.9 * s[0] - 0.1 * g;
        w + s[0]
    });
    run(Optimizer::Momentum { rate: 0.1, momentum: 0.9, nesterov: true }, &|_, w, g, s| {
        s[0] = 0.9 * s[0] - 0.1 * g;
        w + 0.9 * s[0] - 0.1 * g
    });
    run(Optimizer::RmsProp { rate: 0.01, decay: 0.9, epsilon: 1e-7 }, &|_, w, g, s| {
        s[1] = 0.9 * s[1] + 0.1 * g * g;
        w - 0.01 * g / (s[1] + 1e-7).sqrt()
    });
    let adam = |decay: f64| {
        move |t: u32, w: f64, g: f64, s: &mut [f64; 2]| {
            s[0] = 0.9 * s[0] + 0.1 * g;
            s[1] = 0.999 * s[1] + 0.001 * g * g;
            let rate =
                0.01 * (1.0 - 0.999f64.powi(t as i32)).sqrt() / (1.0 - 0.9f64.powi(t as i32));
            (1.0 - 0.01 * decay) * w - rate * s[0] / (s[1].sqrt() + 1e-7)
        }
    };
    for decay in [0.0, 0.1] {
        let optimizer = Optimizer::Adam {
            rate: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            weight_decay: decay,
        };
        run(optimizer, &adam(decay));
    }
}

#[test]
fn units_that_start_equal_stay_equal_to_the_last_bit() {
    let images = images(200);
    for width in [128, 100, 64, 37, 5] {
        for phi in [Activation::Relu, Activation::Tanh] {
            for optimizer in [Optimizer::adam(), Optimizer::Sgd { rate: 0.1 }] {
                let constant = Initializer::Constant { value: 0.05 };
                let network =
                    Network::perceptron(&[30, width, width, 3], &constant, &phi).expect("valid");
                let protocol = Protocol { epochs: 3, batch: 16, optimizer, ..Protocol::notebook() };
                let model =
                    fit(&network, &images, None, &protocol, 1, &|_| ()).expect("trains").model;
                for layer in 0..2 {
                    for row in model.weights(layer).chunks_exact(width) {
                        assert!(
                            row.iter().all(|w| w == &row[0]),
                            "{width} {phi} {optimizer:?} layer {layer}"
                        );
                    }
                }
                assert!(
                    model.weights(0)[0] != 0.05 || model.weights(1)[0] != 0.05,
                    "nothing was learned"
                );
            }
        }
    }
}

#[test]
fn zero_weights_stay_zero_and_only_output_biases_learn() {
    let images = images(200);
    for phi in [Activation::Relu, Activation::Tanh] {
        let network =
            Network::perceptron(&[30, 20, 3], &Initializer::zeros(), &phi).expect("valid");
        let protocol = Protocol { epochs: 5, watch_gradients: true, ..Protocol::notebook() };
        let fit = fit(&network, &images, None, &protocol, 1, &|_| ()).expect("trains");
        assert_eq!(fit.largest_hidden_gradient, Some(0.0));
        assert!((0..2).all(|l| fit.model.weights(l).iter().all(|w| *w == 0.0)));
        assert!(
            fit.model.bias(0).iter().all(|b| *b == 0.0)
                && fit.model.bias(1).iter().all(|b| *b != 0.0)
        );
    }
    // The twin: random weights have hidden gradients.
    let random = network(&[30, 20, 3], &Activation::Relu);
    let protocol = Protocol { epochs: 1, watch_gradients: true, ..Protocol::notebook() };
    let fit = fit(&random, &images, None, &protocol, 1, &|_| ()).expect("trains");
    assert!(fit.largest_hidden_gradient > Some(1e-4));
}

#[test]
fn results_do_not_depend_on_threads_and_repeat() {
    let images = images(100);
    let jobs: Vec<Job> = (0..5)
        .map(|seed| Job {
            network: network(&[30, 16, 16, 3], &Activation::Gelu),
            protocol: Protocol { epochs: 2, ..Protocol::notebook() },
            seed,
        })
        .collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        let fits =
            pool.install(|| fit_many(&jobs, &images, Some(&images), &|_, _| ())).expect("trains");
        fits.into_iter().map(|f| (f.model, f.step_losses)).collect::<Vec<_>>()
    };
    let one = run(1);
    assert!(one == run(2) && one == run(7));
    assert!(one[0] != one[1], "seeds differ");
}

#[test]
fn a_small_task_is_learned_and_divergence_is_told() {
    let images = images(300);
    let protocol = Protocol { epochs: 60, ..Protocol::notebook() };
    let good = fit(
        &network(&[30, 32, 3], &Activation::Relu),
        &images,
        Some(&images),
        &protocol,
        1,
        &|_| (),
    )
    .expect("trains");
    let last = good.history.last().expect("epochs");
    assert!(last.validation_accuracy > Some(0.9), "{last:?}");
    assert!(good.diverged.is_none() && good.steps == 60 * 10);
    let wild =
        Protocol { optimizer: Optimizer::Sgd { rate: 1e20 }, loss: Loss::SquaredError, ..protocol };
    let bad = fit(&network(&[30, 32, 3], &Activation::Relu), &images, None, &wild, 1, &|_| ())
        .expect("runs");
    assert!(bad.diverged.is_some_and(|d| d.epoch == 1 && d.step < 20));
}

#[test]
fn a_step_limit_ends_within_an_epoch() {
    let protocol = Protocol { max_steps: Some(7), ..Protocol::notebook() };
    let fit =
        fit(&network(&[30, 8, 3], &Activation::Relu), &images(300), None, &protocol, 1, &|_| ());
    let fit = fit.expect("trains");
    assert_eq!((fit.steps, fit.step_losses.len(), fit.history.len()), (7, 7, 1));
}

#[test]
fn what_does_not_fit_is_refused() {
    let relu = Activation::Relu;
    let images = images(10);
    let run = |network: &Network, protocol: &Protocol| {
        fit(network, &images, None, protocol, 1, &|_| ()).expect_err("must be refused")
    };
    let notebook = Protocol::notebook();
    assert!(matches!(
        run(&network(&[29, 4, 3], &relu), &notebook),
        TrainError::Size { found: 30, needed: 29, .. }
    ));
    assert!(matches!(
        run(&network(&[30, 4, 2], &relu), &notebook),
        TrainError::Size { found: 2, needed: 3, .. }
    ));
    let zero = Protocol { batch: 0, ..notebook.clone() };
    assert!(matches!(run(&network(&[30, 4, 3], &relu), &zero), TrainError::Setting { .. }));
    let mut normed = network(&[30, 4, 3], &relu);
    normed.layers.insert(1, Layer::LayerNorm { epsilon: 1e-5 });
    assert!(matches!(run(&normed, &notebook), TrainError::Unsupported { layer: 2, .. }));
    assert!(matches!(
        Images::new(&[0; 4], 2, &[0, 3], 2),
        Err(TrainError::Label { image: 1, label: 3, .. })
    ));
    assert!(matches!(Images::new(&[0; 3], 2, &[0, 1], 2), Err(TrainError::Size { .. })));
}
