//! What dense streaming costs beside its bare products.
//!
//! `cargo run --release -p gainstage-simulate --example dense [DEPTH WIDTH BATCH THREADS REPEATS]` prints the
//! shortest of REPEATS times, in seconds, of a He-initialized ReLU network forward and backward: the
//! products alone, with every statistic of a layer but the weight gradients', and with those.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use gainstage_simulate::{Matrix, Setup, divided_product, measure};
use gainstage_spec::{Activation, Initializer, Network};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sizes = [100, 1000, 1000, 2, 3];
    for (size, text) in sizes.iter_mut().zip(std::env::args().skip(1)) {
        *size = text.parse()?;
    }
    let [depth, width, batch, threads, repeats] = sizes;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let shortest = |work: &(dyn Fn() -> Result<(), Box<dyn std::error::Error>> + Sync)| {
        let time = || {
            let start = Instant::now();
            pool.install(|| work().map_err(|e| e.to_string()))?;
            Ok::<f64, Box<dyn std::error::Error>>(start.elapsed().as_secs_f64())
        };
        (0..repeats).try_fold(f64::INFINITY, |least, _| {
            Ok::<f64, Box<dyn std::error::Error>>(least.min(time()?))
        })
    };

    let products = shortest(&|| {
        let (mut signal, mut out) = (vec![0.5f32; batch * width], vec![0.0f32; batch * width]);
        let weights = vec![1.0 / width as f32; width * width];
        for layer in 0..2 * depth {
            let weights = Matrix::new(&weights, width, width);
            let weights = if layer < depth { weights.transposed() } else { weights };
            divided_product(&mut out, Matrix::new(&signal, batch, width), weights);
            std::mem::swap(&mut signal, &mut out);
        }
        std::hint::black_box(&signal);
        Ok(())
    })?;
    let network = Network::uniform(width, depth, &Initializer::he_normal(), &Activation::Relu)?;
    let measured = |grams: bool| {
        let setup = Setup { trials: 1, batch, grams, ..Setup::default() };
        shortest(&|| {
            measure(&network, &setup)?;
            Ok(())
        })
    };
    let (without, with) = (measured(false)?, measured(true)?);
    println!("depth {depth}, width {width}, batch {batch}, {threads} threads, f32");
    println!("bare products                                {products:.3}");
    println!(
        "forward, backward, statistics                {without:.3}  {:.2} times",
        without / products
    );
    println!(
        "the same, weight-gradient second moments too {with:.3}  {:.2} times",
        with / products
    );
    Ok(())
}
