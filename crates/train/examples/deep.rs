//! Epochs of a deep network on all cores, against the time on one core that its hidden layers' products
//! alone take through a general library:
//! `cargo run --release --example deep -p gainstage-train -- 30 128 64 mnist`.
//!
//! `RAYON_NUM_THREADS=1` keeps it on one core. The peer is `peers/jax_mlp.py` with `deep 64 3`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use gainstage_data::{Source, load};
use gainstage_simulate::{Matrix, product};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::{Images, Loss, Model, Protocol, Training};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| -> Result<usize, std::num::ParseIntError> {
        arguments.next().map_or(Ok(default), |text| text.parse())
    };
    let (depth, width, batch) = (number(30)?, number(128)?, number(64)?);
    let source: Source = arguments.next().unwrap_or_else(|| "auto".to_owned()).parse()?;
    let data = load(&source, &mut |_| ())?;
    let split = data.train.slice(data.train.len() / 12..data.train.len());
    let train = Images::new(&split.pixels, split.pixels_per_image(), &split.labels, data.classes)?;
    let widths = [vec![train.width()], vec![width; depth - 1], vec![data.classes]].concat();
    let network = Network::perceptron(&widths, &Initializer::he_normal(), &Activation::Relu)?;
    let model = Model::new(&network, Loss::CrossEntropy, 1)?;
    let protocol = Protocol { batch, ..Protocol::notebook() };
    let mut training = Training::new(model, (&train).into(), &protocol, 1)?;

    let products = seconds_of_products(batch, width) * (depth - 2) as f64;
    let products = products * train.len().div_ceil(batch) as f64;
    println!("{} ({}), {depth} layers of {width}, batch {batch}", data.name, data.source);
    println!("hidden products, gemm  {products:.3} s an epoch on one core");
    for _ in 0..3 {
        let started = Instant::now();
        let (loss, accuracy) = training.epoch();
        let seconds = started.elapsed().as_secs_f64();
        println!("epoch                  {seconds:.3} s, loss {loss:.4}, accuracy {accuracy:.4}");
    }
    Ok(())
}

/// The least time of the three products of one hidden layer and step.
fn seconds_of_products(batch: usize, width: usize) -> f64 {
    let (h, w) = (vec![0.5f32; batch * width], vec![0.5f32; width * width]);
    let (mut z, mut gradient) = (h.clone(), w.clone());
    let (signal, weights) = (|| Matrix::new(&h, batch, width), || Matrix::new(&w, width, width));
    let run = |_| {
        let started = Instant::now();
        for _ in 0..100 {
            product(&mut z, signal(), weights());
            product(&mut gradient, signal().transposed(), signal());
            product(&mut z, signal(), weights().transposed());
        }
        started.elapsed().as_secs_f64() / 100.0
    };
    (0..20).map(run).fold(f64::INFINITY, f64::min)
}
