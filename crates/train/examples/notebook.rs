//! The seed notebook's four models on one core each, with seconds an epoch:
//! `cargo run --release --example notebook -p gainstage-train -- mnist`.
#![allow(clippy::print_stdout)]

use gainstage_data::{Source, load};
use gainstage_spec::{Activation, Initializer, Layer, Network};
use gainstage_train::{Images, Protocol, fit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source: Source = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned()).parse()?;
    let data = load(&source, &mut |_| ())?;
    let images = |split: &gainstage_data::Split| {
        Images::new(&split.pixels, split.pixels_per_image(), &split.labels, data.classes)
    };
    let train = images(&data.train.slice(5000..data.train.len()))?;
    let (validation, test) = (images(&data.train.slice(0..5000))?, images(&data.test)?);
    println!("{} ({})", data.name, data.source);
    for init in ["zeros", "normal(std = 0.1)", "glorot_uniform", "keras_he_normal"] {
        let initializer: Initializer = init.parse()?;
        let mut network = Network::perceptron(
            &[train.width(), 128, data.classes],
            &initializer,
            &Activation::Relu,
        )?;
        // As the notebook leaves its output layer: Keras's default.
        if let Some(Layer::Dense(output)) = network.layers.last_mut() {
            output.weights = Initializer::glorot_uniform();
        }
        let fit = fit(&network, &train, Some(&validation), &Protocol::notebook(), 1, &|_| ())?;
        let (scaled, raw) =
            (fit.model.evaluate(&test, 1.0 / 255.0), fit.model.evaluate(&test, 1.0));
        println!(
            "{init:18} {:.3} s/epoch  test {:.4} (loss {:.4})  raw pixels {:.4} (loss {:.3})",
            fit.seconds / 10.0,
            scaled.accuracy,
            scaled.loss,
            raw.accuracy,
            raw.loss
        );
    }
    Ok(())
}
