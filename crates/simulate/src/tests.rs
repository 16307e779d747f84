//! The passes against hand computation, finite differences and their own bookkeeping.

use gainstage_init::Key;
use gainstage_spec::{Activation, Dense, Initializer, Inputs, Layer, Network};

use crate::pass::{Observer, draw};
use crate::{BreakdownKind, InputSource, Precision, Setup, SimulateError, measure};

fn setup(trials: usize, batch: usize, precision: Precision) -> Setup {
    Setup { trials, batch, precision, seed: 5, ..Setup::default() }
}

/// Keeps every z and, from the output down, every dL/dz.
#[derive(Default)]
struct Layers {
    z: Vec<Vec<f64>>,
    delta: Vec<Vec<f64>>,
}

impl Observer<f64> for Layers {
    fn forward(&mut self, _: usize, z: &[f64], _: &[f64]) {
        self.z.push(z.to_vec());
    }
    fn backward(&mut self, _: usize, delta: &[f64]) {
        self.delta.push(delta.to_vec());
    }
}

/// A network with everything that acts between weight layers.
pub(crate) fn mixed(width: usize) -> Network {
    let dense = |phi| Layer::Dense(Dense::new(width, Initializer::normal(0.4), phi));
    let bias = Layer::Dense(
        Dense::new(width, Initializer::he_normal(), Activation::Gelu)
            .with_bias(Initializer::normal(0.3)),
    );
    let layers = vec![
        dense(Activation::Linear),
        Layer::BatchNorm { epsilon: 1e-3 },
        Layer::Activation { function: Activation::Tanh },
        Layer::Residual { scale: 0.7, branch: vec![Layer::LayerNorm { epsilon: 1e-3 }, bias] },
        Layer::Dropout { keep: 0.8 },
        Layer::RmsNorm { epsilon: 1e-3 },
        dense(Activation::Softplus),
    ];
    Network::new(width, layers).expect("valid")
}

#[test]
fn error_signals_are_the_derivatives_of_the_forward_pass() {
    let (width, batch) = (6, 4);
    let network = mixed(width);
    let shapes = network.shapes().expect("valid");
    // Inputs are given, so that one can be moved; L = sum over inputs of <v, z_last>.
    let base: Vec<f32> = (0..width * batch).map(|i| ((i * 37 % 23) as f32 - 11.0) / 8.0).collect();
    let given = |x: Vec<f32>| Setup {
        inputs: InputSource::Given(x.into()),
        ..setup(1, batch, Precision::F64)
    };
    let mut layers = Layers::default();
    let traced =
        draw::<f64>(&network, &shapes, &given(base.clone()), 0, &mut layers).expect("runs");
    let injected = layers.delta.swap_remove(0);
    let loss = |x: Vec<f32>| {
        let mut layers = Layers::default();
        draw::<f64>(&network, &shapes, &given(x), 0, &mut layers).expect("runs");
        layers.z.last().expect("layers").iter().zip(&injected).map(|(z, v)| z * v).sum::<f64>()
    };
    // Steps of 2^-10 are exact in f32; central differences err by h^2/6 times a third derivative.
    let h = 2f32.powi(-10);
    let mut square = 0.0;
    for i in 0..base.len() {
        let (mut up, mut down) = (base.clone(), base.clone());
        up[i] += h;
        down[i] -= h;
        square += ((loss(up) - loss(down)) / f64::from(2.0 * h)).powi(2);
    }
    let measured = traced.input_gradient.mean * base.len() as f64;
    assert!((square / measured - 1.0).abs() < 1e-4, "{square} against {measured}");
}

#[test]
fn relu_networks_satisfy_eulers_identity_in_every_draw() {
    // Positive homogeneity without biases: <delta_l, z_l> is the same number in every layer.
    let network =
        Network::uniform(20, 6, &Initializer::he_normal(), &Activation::Relu).expect("valid");
    let shapes = network.shapes().expect("valid");
    for trial in 0..20 {
        let mut layers = Layers::default();
        draw::<f64>(&network, &shapes, &setup(1, 1, Precision::F64), trial, &mut layers)
            .expect("runs");
        let product = |l: usize| {
            layers.z[l].iter().zip(&layers.delta[5 - l]).map(|(z, d)| z * d).sum::<f64>()
        };
        let top = product(5);
        for layer in 0..5 {
            assert!((product(layer) - top).abs() < 1e-12 * (1.0 + top.abs()), "layer {layer}");
        }
    }
}

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    let network = mixed(16);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        let wide = Setup { histogram_bins: 20, ..setup(9, 4, Precision::F32) };
        pool.install(|| {
            serde_json::to_string(&measure(&network, &wide).expect("runs")).expect("json")
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
}

#[test]
fn number_formats_break_down_where_their_range_ends() {
    let kinds = |std: f64, precision| {
        let network =
            Network::uniform(32, 60, &Initializer::normal(std), &Activation::Relu).expect("valid");
        let measured = measure(&network, &setup(8, 2, precision)).expect("runs");
        measured
            .breakdowns
            .iter()
            .map(|list| list.first().map(|b| (b.kind, b.layer)))
            .collect::<Vec<_>>()
    };
    for found in kinds(1.5, Precision::F16) {
        let (kind, layer) = found.expect("f16 overflows");
        assert_eq!(kind, BreakdownKind::Overflow);
        assert!((3..=10).contains(&layer), "{layer}"); // 6 per layer in amplitude, 65504 = 6^6.2
    }
    for found in kinds(0.02, Precision::F16) {
        let (kind, layer) = found.expect("f16 underflows");
        assert_eq!(kind, BreakdownKind::Underflow);
        assert!((5..=12).contains(&layer), "{layer}"); // 1/12.5 per layer, 2^-25 = 12.5^-6.9
    }
    // The twin: at He's scale nothing breaks.
    let critical = (2.0f64 / 32.0).sqrt();
    assert!(kinds(critical, Precision::F32).iter().all(Option::is_none));
}

#[test]
fn zero_weights_are_no_underflow() {
    let network = Network::uniform(8, 3, &Initializer::zeros(), &Activation::Tanh).expect("valid");
    let measured = measure(&network, &setup(2, 2, Precision::F32)).expect("runs");
    assert!(measured.breakdowns.iter().all(Vec::is_empty));
    assert_eq!(measured.layers[2].draws[0].forward.mean, 0.0);
    assert_eq!(measured.layers[0].draws[0].forward.log_mean, f64::NEG_INFINITY);
}

#[test]
fn pairs_start_at_their_correlation_and_shares_are_shares() {
    let inputs = InputSource::Random(Inputs::CorrelatedPairs { correlation: 0.3 });
    // An identity layer passes the inputs on as they are.
    let network = Network::uniform(50, 1, &Initializer::Identity { gain: 1.0 }, &Activation::Relu)
        .expect("valid");
    let measured =
        measure(&network, &Setup { inputs, ..setup(4, 6, Precision::F64) }).expect("runs");
    for draw in &measured.layers[0].draws {
        assert!((draw.cosine.expect("pairs") - 0.3).abs() < 1e-12);
        assert!((draw.forward.mean - 1.0).abs() < 1e-12);
        assert!((0.0..=1.0).contains(&draw.dead.expect("ReLU can die")));
        assert_eq!(draw.saturated, None);
    }
}

#[test]
fn wrong_setups_are_refused() {
    let network =
        Network::uniform(8, 2, &Initializer::he_normal(), &Activation::Relu).expect("valid");
    let refuse = |setup: Setup| measure(&network, &setup).expect_err("must be refused");
    assert!(matches!(refuse(setup(0, 1, Precision::F32)), SimulateError::Setup { .. }));
    assert!(matches!(refuse(setup(1, 0, Precision::F32)), SimulateError::Setup { .. }));
    let given = InputSource::Given(vec![0.0; 7].into());
    assert!(matches!(
        refuse(Setup { inputs: given, ..setup(1, 1, Precision::F32) }),
        SimulateError::InputLength { found: 7, needed: 8, .. }
    ));
    let pairs = InputSource::Random(Inputs::CorrelatedPairs { correlation: 2.0 });
    assert!(matches!(
        refuse(Setup { inputs: pairs, ..setup(1, 2, Precision::F32) }),
        SimulateError::Setup { .. }
    ));
}

#[test]
fn keys_of_different_purpose_never_meet() {
    use gainstage_init::Purpose;
    let key = |purpose| Key::new(1, purpose, 0, 0);
    let draw = |key| {
        let mut out = [0.0f32; 64];
        let shape = gainstage_spec::WeightShape::dense(8, 8).expect("valid");
        gainstage_init::fill(
            &Initializer::normal(1.0),
            &shape,
            gainstage_spec::Layout::OutIn,
            key,
            &mut out,
        )
        .expect("fills");
        out
    };
    assert_ne!(draw(key(Purpose::Weights)), draw(key(Purpose::Inputs)));
    assert_ne!(draw(key(Purpose::Inputs)), draw(key(Purpose::ErrorSignal)));
}
