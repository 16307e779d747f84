//! The seed notebook's four models on one core, with the seconds of an epoch's training (least and mean of ten):
//! `cargo run --release --example notebook -p gainstage-train -- mnist`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use gainstage_data::{Source, load};
use gainstage_spec::{Activation, Initializer, Layer, Network};
use gainstage_train::{Images, Loss, Model, Protocol, Training};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source: Source = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned()).parse()?;
    let data = load(&source, &mut |_| ())?;
    let images = |split: &gainstage_data::Split| {
        Images::new(&split.pixels, split.pixels_per_image(), &split.labels, data.classes)
    };
    let train = images(&data.train.slice(5000..data.train.len()))?;
    let test = images(&data.test)?;
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
        let model = Model::new(&network, Loss::CrossEntropy, 1)?;
        let mut training = Training::new(model, (&train).into(), &Protocol::notebook(), 1)?;
        let seconds = [(); 10].map(|()| {
            let start = Instant::now();
            training.epoch();
            start.elapsed().as_secs_f64()
        });
        let least = seconds.into_iter().fold(f64::INFINITY, f64::min);
        let mean = seconds.iter().sum::<f64>() / 10.0;
        let model = training.model();
        let (scaled, raw) = (model.evaluate(&test, 1.0 / 255.0), model.evaluate(&test, 1.0));
        println!(
            "{init:18} {least:.3} s/epoch (mean {mean:.3})  test {:.4} (loss {:.4})  raw pixels {:.4} (loss {:.3})",
            scaled.accuracy, scaled.loss, raw.accuracy, raw.loss
        );
    }
    Ok(())
}
