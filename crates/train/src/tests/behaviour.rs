//! What training does and refuses.

use gainstage_spec::{Activation, Initializer, Network};

use super::{images, network};
use crate::{
    Diverged, Images, Job, Loss, Model, Optimizer, Protocol, TrainError, Training, fit, fit_from,
    fit_many,
};

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
        TrainError::Size { found: 29, needed: 30, .. }
    ));
    assert!(matches!(
        run(&network(&[30, 4, 2], &relu), &notebook),
        TrainError::Size { found: 2, needed: 3, .. }
    ));
    let zero = Protocol { batch: 0, ..notebook.clone() };
    assert!(matches!(run(&network(&[30, 4, 3], &relu), &zero), TrainError::Setting { .. }));
    let adam = |rate, epsilon| Optimizer::Adam {
        rate,
        beta1: 0.9,
        beta2: 0.999,
        epsilon,
        weight_decay: 0.0,
    };
    for protocol in [
        // Finite in f64 only, or zero in f32: 0/0 at the first step of a parameter without gradient.
        Protocol { optimizer: adam(1e-3, 1e-300), ..notebook.clone() },
        Protocol { optimizer: adam(1e300, 1e-7), ..notebook.clone() },
        Protocol { optimizer: adam(f64::NAN, 1e-7), ..notebook.clone() },
        Protocol { scale: 1e300, ..notebook.clone() },
    ] {
        let refused = run(&network(&[30, 4, 3], &relu), &protocol);
        assert!(matches!(refused, TrainError::Setting { .. }), "{protocol:?}: {refused}");
    }
    assert!(matches!(
        Images::new(&[0; 4], 2, &[0, 3], 2),
        Err(TrainError::Label { image: 1, label: 3, .. })
    ));
    assert!(matches!(Images::new(&[0; 3], 2, &[0, 1], 2), Err(TrainError::Size { .. })));
}

#[test]
fn outputs_that_are_no_numbers_hit_no_class() {
    let images = images(100);
    let mut model =
        Model::new(&network(&[30, 4, 3], &Activation::Relu), Loss::CrossEntropy, 1).expect("draws");
    model.weights_mut(1).fill(f32::NAN);
    assert_eq!(model.evaluate(&images, 1.0 / 255.0).accuracy, 0.0);
    let fit = fit_from(model, &images, None, &Protocol::notebook(), 1, &|_| ()).expect("runs");
    assert_eq!(fit.history[0].train_accuracy, 0.0);
    assert_eq!(fit.diverged, Some(Diverged { epoch: 1, step: 1 }));
}

#[test]
fn of_equal_outputs_the_first_is_the_class() {
    let images = images(100);
    let zero = Network::perceptron(&[30, 4, 3], &Initializer::zeros(), &Activation::Relu);
    let model = Model::new(&zero.expect("valid"), Loss::CrossEntropy, 1).expect("draws");
    let first: f64 = images.labels().iter().map(|l| f64::from(u8::from(*l == 0))).sum();
    let found = model.evaluate(&images, 1.0 / 255.0);
    assert_eq!(found.accuracy, first / 100.0);
    assert!((found.loss - 3f64.ln()).abs() < 1e-12);
}

#[test]
#[should_panic(expected = "more classes than outputs")]
fn a_model_with_too_few_outputs_is_not_evaluated() {
    let model = Model::new(&network(&[30, 4, 2], &Activation::Relu), Loss::CrossEntropy, 1);
    model.expect("draws").evaluate(&images(10), 1.0);
}

#[test]
fn a_batch_divided_among_threads_gives_the_bits_of_one_thread() {
    let images = images(200);
    // Two blocks and a bit in a batch, and enough work that a training outside a pool divides it.
    let network = network(&[30, 200, 200, 3], &Activation::Relu);
    let protocol = Protocol { batch: 80, ..Protocol::notebook() };
    let run = || {
        let model = Model::new(&network, Loss::CrossEntropy, 1).expect("draws");
        let mut training = Training::new(model, (&images).into(), &protocol, 1).expect("fits");
        let epochs = [training.epoch(), training.epoch()];
        (epochs, training.model().clone(), training.divides)
    };
    let pool =
        |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("starts");
    let (divided, on_one) = (run(), pool(1).install(run));
    assert!(divided.2, "the case is too small to be divided");
    assert_eq!(divided.0, on_one.0);
    assert_eq!(divided.1, on_one.1);
}
