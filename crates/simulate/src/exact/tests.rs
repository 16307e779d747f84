//! Draws without matrices: identities that hold in every single draw.

use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};

use super::*;
use crate::method::laws;
use crate::trace::BreakdownKind;
use crate::{InputSource, Method, measure};

fn setup(batch: usize) -> Setup {
    let (method, precision) = (Method::MatrixFree, Precision::F64);
    Setup { batch, method, precision, seed: 5, trials: 3, ..Setup::default() }
}

/// Keeps every layer's z, h and dL/dz, `batch` rows each.
#[derive(Default)]
struct Rows {
    batch: usize,
    z: Vec<Vec<Vec<f64>>>,
    h: Vec<Vec<Vec<f64>>>,
    delta: Vec<Vec<Vec<f64>>>,
}

fn add_chunk(to: &mut Vec<Vec<Vec<f64>>>, layer: usize, chunk: &[f64], batch: usize) {
    if to.len() <= layer {
        to.resize(layer + 1, vec![Vec::new(); batch]);
    }
    for (row, part) in to[layer].iter_mut().zip(chunk.chunks_exact(chunk.len() / batch)) {
        row.extend_from_slice(part);
    }
}

impl Observer<f64> for Rows {
    fn forward(&mut self, layer: usize, z: &[f64], h: &[f64]) {
        add_chunk(&mut self.z, layer, z, self.batch);
        add_chunk(&mut self.h, layer, h, self.batch);
    }
    fn backward(&mut self, layer: usize, delta: &[f64]) {
        add_chunk(&mut self.delta, layer, delta, self.batch);
    }
}

fn rows(network: &Network, setup: &Setup, trial: u32) -> (Rows, Draw) {
    let shapes = network.shapes().expect("valid");
    let laws = laws(network, &shapes, setup.precision).expect("exact");
    let mut rows = Rows { batch: setup.batch, ..Rows::default() };
    let mut arena = Arena::default();
    let draw =
        super::draw(network, &shapes, &laws, setup, trial, &mut arena, &mut rows).expect("runs");
    (rows, draw)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

const RECT: [usize; 11] = [50, 96, 32, 128, 17, 64, 700, 24, 80, 40, 64];

fn initializers() -> [Initializer; 2] {
    [Initializer::he_normal(), Initializer::Orthogonal { gain: 1.3 }]
}

/// Given inputs; the second is a copy of the first, the fourth the sum of the first and the third.
fn dependent(width: usize, batch: usize) -> InputSource {
    let mut x: Vec<f32> =
        (0..width * batch).map(|i| ((i * i * 37 % 1009) as f32 - 504.0) / 256.0).collect();
    for i in 0..width {
        x[width + i] = x[i];
        x[3 * width + i] = x[i] + x[2 * width + i];
    }
    InputSource::Given(x.into())
}

#[test]
fn weights_act_forward_and_backward_as_one_linear_map() {
    // <D_b, W h_c> = <W'D_b, h_c> for all inputs b, c. Without activations D travels as W'D.
    for init in initializers() {
        for (widths, batch) in [(&RECT[..], 3), (&RECT[..], 40), (&[4; 11], 6), (&[1, 3, 1], 2)] {
            let network = Network::perceptron(widths, &init, &Activation::Linear).expect("valid");
            for trial in 0..3 {
                let (seen, _) = rows(&network, &setup(batch), trial);
                let depth = seen.z.len();
                for layer in 1..depth {
                    for b in 0..batch {
                        for c in 0..batch {
                            let above = dot(&seen.delta[layer][b], &seen.z[layer][c]);
                            let below = dot(&seen.delta[layer - 1][b], &seen.h[layer - 1][c]);
                            let scale = norm(&seen.delta[layer][b]) * norm(&seen.z[layer][c])
                                + norm(&seen.delta[layer - 1][b]) * norm(&seen.h[layer - 1][c]);
                            assert!(
                                (above - below).abs() <= 1e-9 * scale,
                                "{init}, layer {layer}, inputs {b}, {c}: {above} against {below}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn eulers_identity_holds_for_every_input_of_every_draw() {
    // Positive homogeneity without biases: <dL/dz, z> is one number from the input to the output.
    for init in initializers() {
        for inputs in [setup(5).inputs, dependent(50, 5)] {
            let network = Network::perceptron(&RECT, &init, &Activation::Relu).expect("valid");
            let (seen, _) = rows(&network, &Setup { inputs, ..setup(5) }, 1);
            for b in 0..5 {
                let top = dot(&seen.delta[9][b], &seen.z[9][b]);
                for layer in 0..9 {
                    let here = dot(&seen.delta[layer][b], &seen.z[layer][b]);
                    let scale = norm(&seen.delta[layer][b]) * norm(&seen.z[layer][b]);
                    assert!((here - top).abs() <= 1e-9 * scale, "{init}, layer {layer}, input {b}");
                }
            }
        }
    }
}

#[test]
fn dependent_inputs_stay_dependent() {
    let init = Initializer::he_normal();
    let network = Network::perceptron(&RECT, &init, &Activation::Relu).expect("valid");
    let (seen, _) = rows(&network, &Setup { inputs: dependent(50, 5), ..setup(5) }, 0);
    for layer in &seen.z {
        let scale = norm(&layer[0]);
        let gap: f64 = layer[0].iter().zip(&layer[1]).map(|(a, b)| (a - b).abs()).sum();
        assert!(gap <= 1e-12 * scale, "copies part by {gap}");
    }
    // The first layer is linear in the inputs.
    let first = &seen.z[0];
    for i in 0..first[0].len() {
        assert!((first[3][i] - first[0][i] - first[2][i]).abs() < 1e-12 * norm(&first[3]));
    }
}

#[test]
fn square_orthogonal_layers_keep_every_angle() {
    let init = Initializer::Orthogonal { gain: 1.0 };
    let network = Network::uniform(30, 12, &init, &Activation::Linear).expect("valid");
    for batch in [1, 4, 30, 45] {
        let (seen, _) = rows(&network, &setup(batch), 2);
        for signals in [&seen.z, &seen.delta] {
            for layer in 1..12 {
                for (b, c) in (0..batch).flat_map(|b| (0..=b).map(move |c| (b, c))) {
                    let here = dot(&signals[layer][b], &signals[layer][c]);
                    let before = dot(&signals[layer - 1][b], &signals[layer - 1][c]);
                    assert!((here - before).abs() < 1e-9 * 30.0, "layer {layer}, {b}, {c}");
                }
            }
        }
    }
}

#[test]
fn converging_inputs_are_resolved_to_a_billionth_of_a_thousandth() {
    // 1 - cos of two inputs that start with 1 - cos = d of 1e-10 to 1e-12. In one He ReLU layer the
    // angle keeps its square in expectation at this distance, and a wide layer keeps it well.
    for d in [1e-10, 1e-11, 1e-12f64] {
        let width = 4000;
        let inputs =
            InputSource::Random(gainstage_spec::Inputs::CorrelatedPairs { correlation: 1.0 - d });
        let network = Network::uniform(width, 3, &Initializer::he_normal(), &Activation::Relu)
            .expect("valid");
        let measured = measure(&network, &Setup { inputs, ..setup(2) }).expect("runs");
        for draw in &measured.layers[2].draws {
            let seen = 1.0 - draw.cosine.expect("a pair");
            // Three layers of relative standard error sqrt(c / 4000), c about 5, and rounding of 1e-16.
            assert!((seen / d - 1.0).abs() < 0.3, "{seen} for {d}");
        }
    }
}

/// A network with everything that acts between weight layers.
fn mixed(width: usize) -> Network {
    let dense = |phi| Layer::Dense(Dense::new(width, Initializer::normal(0.4), phi));
    let bias = Layer::Dense(
        Dense::new(width, Initializer::he_normal(), Activation::Gelu)
            .with_bias(Initializer::pytorch_linear()),
    );
    let branch = vec![
        Layer::LayerNorm { epsilon: 1e-3 },
        bias.clone(),
        dense(Activation::Tanh),
        Layer::Residual { scale: 0.3, branch: vec![bias.clone(), bias] },
    ];
    let layers = vec![
        dense(Activation::Linear),
        Layer::BatchNorm { epsilon: 1e-3 },
        Layer::Activation { function: Activation::Tanh },
        Layer::Residual { scale: 0.7, branch },
        Layer::Dropout { keep: 0.8 },
        Layer::RmsNorm { epsilon: 1e-3 },
        dense(Activation::Softplus),
        dense(Activation::Relu),
        Layer::LayerNorm { epsilon: 1e-3 },
    ];
    Network::new(width, layers).expect("valid")
}

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    let network = mixed(16);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        let wide = Setup { histogram_bins: 20, trials: 9, ..setup(4) };
        pool.install(|| {
            serde_json::to_string(&measure(&network, &wide).expect("runs")).expect("json")
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
}

#[test]
fn normals_that_stay_are_those_that_are_drawn_again() {
    for network in [
        mixed(16),
        Network::perceptron(&RECT, &initializers()[1], &Activation::Gelu).expect("valid"),
    ] {
        let shapes = network.shapes().expect("valid");
        let laws = laws(&network, &shapes, Precision::F64).expect("exact");
        let draw = |arena: &mut Arena, trial| {
            let draw = super::draw(&network, &shapes, &laws, &setup(4), trial, arena, &mut ());
            serde_json::to_string(&draw.expect("runs")).expect("json")
        };
        let mut forgets = Arena { most_kept: 0, ..Arena::default() };
        let mut keeps = Arena::default();
        for trial in 0..3 {
            let kept = draw(&mut keeps, trial);
            assert_eq!(kept, draw(&mut forgets, trial));
            // Nor does an arena remember earlier draws.
            assert_eq!(kept, draw(&mut Arena::default(), trial));
        }
    }
}

#[test]
fn number_formats_end_where_they_end_for_dense_draws() {
    let kinds = |std: f64, precision, method| {
        let network =
            Network::uniform(32, 80, &Initializer::normal(std), &Activation::Relu).expect("valid");
        let setup = Setup { precision, method, trials: 8, ..setup(2) };
        let measured = measure(&network, &setup).expect("runs");
        measured.breakdowns.into_iter().map(|list| list.first().copied()).collect::<Vec<_>>()
    };
    for (std, kind) in [(30.0, BreakdownKind::Overflow), (0.002, BreakdownKind::Underflow)] {
        let dense = kinds(std, Precision::F32, Method::Dense);
        let free = kinds(std, Precision::F32, Method::MatrixFree);
        for (a, b) in dense.into_iter().zip(free) {
            let (a, b) = (a.expect("breaks down"), b.expect("breaks down"));
            assert_eq!((a.kind, b.kind), (kind, kind));
            // Factors of 120 and 1/125 a layer: 38 decades last some 18 layers, 45 some 21.
            assert!(a.layer.abs_diff(b.layer) <= 1, "{a:?} against {b:?}");
        }
    }
    // The twins: at He's scale nothing breaks, and zero weights are no underflow.
    assert!(kinds(0.25, Precision::F32, Method::MatrixFree).iter().all(Option::is_none));
    assert!(kinds(0.0, Precision::F32, Method::MatrixFree).iter().all(Option::is_none));
}

#[test]
fn laws_that_a_batch_does_not_determine_are_refused() {
    let refuse = |init: &str, precision| {
        let init: Initializer = init.parse().expect(init);
        let network = Network::uniform(8, 3, &init, &Activation::Relu).expect("valid");
        measure(&network, &Setup { precision, ..setup(2) }).expect_err("must be refused")
    };
    for init in ["he_uniform", "keras_he_normal", "sparse(0.5)", "identity", "constant(0.1)"] {
        let error = refuse(init, Precision::F32);
        assert!(matches!(error, SimulateError::Inexact { layer: 1, .. }), "{init}: {error}");
    }
    assert!(matches!(refuse("he_normal", Precision::F16), SimulateError::Inexact { .. }));
}
