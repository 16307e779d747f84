//! Nearly parallel inputs through many layers: what is known of their difference, which is 1e-12 of their
//! squares at the least.

use gainstage_spec::{Activation, Initializer, Inputs, Network};
use gainstage_stats::{ks_test, ks_two_sample_test};
use rayon::prelude::*;

use super::{Arena, draw};
use crate::method::laws;
use crate::pass::Observer;
use crate::trace::Draw;
use crate::{InputSource, Method, Precision, Setup};

const WIDTH: usize = 64;
const DEPTH: usize = 12;
const TRIALS: u32 = 2000;
const GAPS: [f64; 4] = [1e-3, 1e-6, 1e-9, 1e-12];

fn network(init: &Initializer, phi: &Activation) -> Network {
    Network::uniform(WIDTH, DEPTH, init, phi).expect("valid")
}

fn setup(gap: f64, method: Method) -> Setup {
    let inputs = InputSource::Random(Inputs::CorrelatedPairs { correlation: 1.0 - gap });
    let (precision, moments) = (Precision::F64, false);
    Setup { batch: 2, inputs, method, precision, moments, ..Setup::default() }
}

/// Squares of both pre-activations and of their difference, from the values themselves.
#[derive(Default)]
struct Differences(Vec<[f64; 3]>);

impl Observer<f64> for Differences {
    fn forward(&mut self, layer: usize, z: &[f64], _: &[f64]) {
        self.0.resize(self.0.len().max(layer + 1), [0.0; 3]);
        let (a, b) = z.split_at(z.len() / 2);
        for (a, b) in a.iter().zip(b) {
            let terms = [a * a, b * b, (a - b) * (a - b)];
            self.0[layer].iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }
    fn backward(&mut self, _: usize, _: &[f64]) {}
}

fn draws(network: &Network, setup: &Setup) -> Vec<(Draw, Vec<[f64; 3]>)> {
    let shapes = network.shapes().expect("valid");
    let laws = laws(network, &shapes, setup.precision).expect("exact");
    let draw = |arena: &mut Arena, trial| {
        let mut seen = Differences::default();
        let drawn = draw(network, &shapes, &laws, setup, trial, arena, &mut seen);
        (drawn.expect("runs"), seen.0)
    };
    (0..TRIALS).into_par_iter().map_init(Arena::default, draw).collect()
}

/// P(chi^2_64 <= x), a sum of Poisson terms.
fn chi_square_64(x: f64) -> f64 {
    let mut term = (-0.5 * x).exp();
    let mut sum = term;
    for k in 1..32 {
        term *= 0.5 * x / f64::from(k);
        sum += term;
    }
    1.0 - sum
}

#[test]
fn differences_grow_as_independent_weights_make_them_grow() {
    // W d of a given d has the square |d|^2 chi^2_n/n, in every layer anew: 22,000 ratios a gap, which see
    // distances of 0.02 between the laws at 1e-7. A factor of 1.03 moves the law by 0.068.
    let network = network(&Initializer::lecun_normal(), &Activation::Linear);
    for gap in GAPS {
        let mut ratios = Vec::new();
        for (_, layers) in draws(&network, &setup(gap, Method::MatrixFree)) {
            ratios.extend(layers.windows(2).map(|l| WIDTH as f64 * l[1][2] / l[0][2]));
        }
        let p = ks_test(&ratios, chi_square_64).expect("finite").p_value;
        assert!(p > 1e-7, "gap {gap:e}: {p:e}");
        let twin = ks_test(&ratios, |x| chi_square_64(1.03 * x)).expect("finite").p_value;
        assert!(twin < 1e-7, "gap {gap:e}: the twin is not seen, {twin:e}");
    }
}

#[test]
fn orthogonal_layers_keep_the_smallest_differences() {
    let network = network(&Initializer::Orthogonal { gain: 1.0 }, &Activation::Linear);
    for gap in GAPS {
        for (drawn, layers) in draws(&network, &setup(gap, Method::MatrixFree)).iter().take(50) {
            for (layer, squares) in drawn.layers.iter().zip(layers) {
                // Rounding of 1e-16 in cosines, a few times in each of twelve layers.
                let tolerance = 1e-10 + 1e-14 / gap;
                let kept = squares[2] / (2.0 * gap * WIDTH as f64);
                assert!((kept - 1.0).abs() < tolerance, "gap {gap:e}: {kept}");
                let seen = (1.0 - layer.cosine.expect("a pair")) / gap;
                assert!((seen - 1.0).abs() < tolerance, "gap {gap:e}: {seen}");
            }
        }
    }
}

#[test]
fn cosines_are_those_of_the_values() {
    // 1 - cos = (|d|^2 - (|a| - |b|)^2)/(2 |a| |b|), which cancels nothing.
    for phi in [Activation::Linear, Activation::Relu] {
        let network = network(&Initializer::he_normal(), &phi);
        for gap in GAPS {
            for (drawn, layers) in draws(&network, &setup(gap, Method::MatrixFree)).iter().take(200)
            {
                for (layer, [a, b, d]) in drawn.layers.iter().zip(layers) {
                    let lengths = (a - b) / (a.sqrt() + b.sqrt());
                    let expected = (d - lengths * lengths) / (2.0 * a.sqrt() * b.sqrt());
                    let seen = 1.0 - layer.cosine.expect("a pair");
                    assert!((seen - expected).abs() < 1e-15 + 1e-9 * expected, "{phi}, {gap:e}");
                }
            }
        }
    }
}

#[test]
fn angles_have_the_law_of_dense_draws_at_every_depth() {
    // Two-sample tests at 1e-7 of ln (1 - cos): 2,000 draws a side see distances of 0.09.
    for phi in [Activation::Linear, Activation::Relu] {
        let network = network(&Initializer::he_normal(), &phi);
        let shapes = network.shapes().expect("valid");
        let logs = |draws: Vec<Draw>, layer: usize| -> Vec<f64> {
            // Cosines of 1 to the last bit stand below all others.
            let gap = |d: &Draw| 1.0 - d.layers[layer].cosine.unwrap_or(1.0);
            draws.iter().map(|d| gap(d).max(1e-17).ln()).collect()
        };
        for gap in GAPS {
            // Other inputs than those of the matrix-free draws.
            let dense = Setup { seed: 7, ..setup(gap, Method::Dense) };
            let dense: Vec<Draw> = (0..TRIALS)
                .into_par_iter()
                .map(|trial| {
                    crate::pass::draw::<f64>(&network, &shapes, &dense, trial, &mut ())
                        .expect("runs")
                })
                .collect();
            let free: Vec<Draw> = draws(&network, &setup(gap, Method::MatrixFree))
                .into_iter()
                .map(|(drawn, _)| drawn)
                .collect();
            for layer in [0, 4, DEPTH - 1] {
                let (a, b) = (logs(dense.clone(), layer), logs(free.clone(), layer));
                let p = ks_two_sample_test(&a, &b).expect("finite").p_value;
                assert!(p > 1e-7, "{phi}, gap {gap:e}, layer {}: {p:e}", layer + 1);
                let shifted: Vec<f64> = b.iter().map(|b| b + 0.5).collect();
                let twin = ks_two_sample_test(&a, &shifted).expect("finite").p_value;
                assert!(twin < 1e-7, "{phi}, gap {gap:e}: the twin is not seen, {twin:e}");
            }
        }
    }
}
