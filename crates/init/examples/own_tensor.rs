//! Weights for a matrix type of your own, and the check that they are what was asked for.
//!
//! `cargo run -p gainstage-init --example own_tensor`
#![allow(clippy::print_stdout)] // an example shows its result

use std::error::Error;
use std::thread;

use gainstage_init::{Key, Purpose, fill, fill_bias, fill_block};
use gainstage_spec::{Initializer, Layout, WeightShape};

/// Stands for the tensor of any library: a shape and a slice.
struct Tensor {
    axes: Vec<usize>,
    values: Vec<f32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    // Three frameworks' defaults and He's rule: the same layer, six-fold apart in variance.
    let layer = WeightShape::dense(784, 128)?;
    println!(
        "{:<18} {:>12} {:>12}  law of one weight of {layer}",
        "initializer", "declared", "drawn"
    );
    for (index, text) in
        ["pytorch_linear", "keras_dense", "flax_dense", "he_normal"].into_iter().enumerate()
    {
        let initializer: Initializer = text.parse()?;
        let law = initializer.law(&layer)?;
        // PyTorch stores [out, in]; `Layout::InOut` is Keras's, Flax's and burn's order.
        let mut w = Tensor { axes: layer.axes(Layout::OutIn), values: vec![0.0; layer.elements()] };
        let key = Key::new(42, Purpose::Weights, 0, index as u32);
        fill(&initializer, &layer, Layout::OutIn, key, &mut w.values)?;
        assert_eq!(w.axes, [128, 784]);
        println!("{text:<18} {:>12.4e} {:>12.4e}  {law}", law.variance(), variance(&w.values));
    }

    // Convolutions and biases: fans come from the layer, never from the axes of an array.
    let conv = WeightShape::conv(&[3, 3], 64, 128, 4)?;
    let mut kernel = vec![0.0f32; conv.elements()];
    let mut bias = vec![0.0f32; conv.outputs()];
    let default: Initializer = "pytorch_conv".parse()?;
    fill(&default, &conv, Layout::OutIn, Key::new(42, Purpose::Weights, 0, 4), &mut kernel)?;
    fill_bias(&default, &conv, Key::new(42, Purpose::Biases, 0, 4), &mut bias)?;
    println!("{conv}: axes {:?}, fan-in {}", conv.axes(Layout::OutIn), conv.fans().fan_in());

    // A large layer in pieces, on as many threads as there are: the values do not depend on it.
    let (he, wide) = (Initializer::he_normal(), WeightShape::dense(4096, 1024)?);
    let (law, key) = (he.law(&wide)?, Key::new(42, Purpose::Weights, 0, 5));
    let mut pieces = vec![0.0f32; wide.elements()];
    let rows = 1024 / thread::available_parallelism()?.get().min(1024);
    thread::scope(|scope| {
        let drawing: Vec<_> = pieces
            .chunks_mut(rows * 4096)
            .enumerate()
            .map(|(i, piece)| {
                let law = &law;
                scope.spawn(move || fill_block(law, key, (i * rows * 4096) as u64, piece))
            })
            .collect();
        drawing.into_iter().try_for_each(|thread| thread.join().expect("no panic in a draw"))
    })?;
    let mut whole = vec![0.0f32; wide.elements()];
    fill(&he, &wide, Layout::OutIn, key, &mut whole)?;
    assert_eq!(pieces, whole);
    println!("{wide}: the same {} weights in pieces and in one", whole.len());
    Ok(())
}

fn variance(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n
}
