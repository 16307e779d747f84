mod against_reference;
mod behaviour;
mod layers;
mod reference;

use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};

use crate::Images;

/// Random-looking images of 30 pixels in three classes; most pixels are dark, the last two always.
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
                    let dark = p >= 28;
                    if !dark && (next() % 8 == 0 || p % 3 == u32::from(label) && p < 9) {
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
