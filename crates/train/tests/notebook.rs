//! The seed notebook's protocol on MNIST where `GAINSTAGE_DATA` points to it, else on synthetic digits.

use gainstage_data::{Source, Split, load};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::{Fit, Images, Protocol, fit};

struct Data {
    train: Images,
    validation: Images,
    test: Images,
    is_mnist: bool,
}

fn data() -> Data {
    let folder = std::env::var("GAINSTAGE_DATA").ok();
    let source: Source =
        folder.as_deref().unwrap_or("synthetic").parse().expect("a folder or synthetic");
    let data = load(&source, &mut |_| ()).expect("readable");
    let images = |split: &Split| {
        Images::new(&split.pixels, split.pixels_per_image(), &split.labels, data.classes)
            .expect("valid")
    };
    let held_out = data.train.len() / 12;
    Data {
        train: images(&data.train.slice(held_out..data.train.len())),
        validation: images(&data.train.slice(0..held_out)),
        test: images(&data.test),
        is_mnist: folder.is_some() && data.train.len() == 60_000,
    }
}

fn train(data: &Data, init: &Initializer, epochs: usize) -> Fit {
    let widths = [data.train.width(), 128, data.train.classes()];
    let network = Network::perceptron(&widths, init, &Activation::Relu).expect("valid");
    let watch_gradients = *init == Initializer::zeros();
    let protocol = Protocol { epochs, watch_gradients, ..Protocol::notebook() };
    fit(&network, &data.train, Some(&data.validation), &protocol, 1, &|_| ()).expect("trains")
}

/// Shares of the classes.
fn shares(images: &Images) -> Vec<f64> {
    let count = |class| images.labels().iter().filter(|l| usize::from(**l) == class).count();
    (0..images.classes()).map(|c| count(c) as f64 / images.len() as f64).collect()
}

#[test]
fn zero_weights_learn_the_class_frequencies_and_nothing_else() {
    let data = data();
    let fit = train(&data, &Initializer::zeros(), 2);
    assert_eq!(fit.largest_hidden_gradient, Some(0.0));
    assert!((0..2).all(|layer| fit.model.weights(layer).iter().all(|w| *w == 0.0)));
    let found = fit.model.evaluate(&data.test, 1.0 / 255.0);
    assert_eq!(found, fit.model.evaluate(&data.test, 1.0), "pixels do not matter");
    // One class is predicted for all: the commonest, or one that the last batches made look so.
    assert!(shares(&data.test).contains(&found.accuracy), "{}", found.accuracy);
    // Cross-entropy of the training frequencies, plus what a last batch leaves on ten biases: each
    // wanders by about the root of rate / 2 = 0.02, which costs sum p b^2 / 2 = 2e-4.
    let entropy: f64 =
        shares(&data.train).iter().zip(shares(&data.test)).map(|(p, q)| -q * p.ln()).sum();
    assert!((found.loss - entropy).abs() < 5.0 * 2e-4, "{} {entropy}", found.loss);
}

#[test]
fn random_weights_reach_the_accuracy_of_the_notebook() {
    let data = data();
    // Drawn digits are learned as well after three epochs as MNIST after ten.
    let fit = train(&data, &Initializer::he_normal(), if data.is_mnist { 10 } else { 3 });
    let scaled = fit.model.evaluate(&data.test, 1.0 / 255.0);
    let raw = fit.model.evaluate(&data.test, 1.0);
    let last = fit.history[fit.history.len() - 1];
    assert!(fit.diverged.is_none() && last.validation_accuracy > Some(0.95), "{last:?}");
    if data.is_mnist {
        assert!((0.974..0.982).contains(&scaled.accuracy), "{scaled:?}");
        assert!((0.07..0.11).contains(&scaled.loss), "{scaled:?}");
        assert!((10.0..25.0).contains(&raw.loss), "{raw:?}");
        assert!((0.012..0.02).contains(&last.train_loss), "{last:?}");
    }
}
