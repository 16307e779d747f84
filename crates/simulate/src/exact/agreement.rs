//! The joint law of draws without matrices against draws of every weight.
//!
//! Two-sample Kolmogorov-Smirnov tests and Welch tests of the mean on nine statistics of each case,
//! at 1e-7 each. With 3,000 draws a side the KS test sees distances of the distribution functions of
//! 0.075 and more, Welch's test shifts of 0.14 standard deviations. Planted faults must be seen.

use gainstage_spec::{Activation, Dense, Initializer, Inputs, Layer, Network};
use gainstage_stats::{Moments, ks_two_sample_test, welch_test};
use rayon::prelude::*;

use super::Arena;
use super::fault::{Fault, PLANTED};
use crate::method::laws;
use crate::trace::Draw;
use crate::{InputSource, Precision, Setup};

const LEVEL: f64 = 1e-7;
const TRIALS: u32 = 3000;

struct Case {
    name: &'static str,
    network: Network,
    setup: Setup,
}

fn perceptron(widths: &[usize], init: &str, phi: &Activation) -> Network {
    Network::perceptron(widths, &init.parse().expect(init), phi).expect("valid")
}

fn setup(batch: usize) -> Setup {
    Setup { batch, grams: true, moments: false, precision: Precision::F64, ..Setup::default() }
}

fn close(correlation: f64) -> InputSource {
    InputSource::Random(Inputs::CorrelatedPairs { correlation })
}

/// Four inputs, the second a copy of the first and the fourth a sum.
fn duplicated(width: usize) -> InputSource {
    let mut x: Vec<f32> =
        (0..4 * width).map(|i| ((i * i * 37 % 1009) as f32 - 504.0) / 300.0).collect();
    for i in 0..width {
        x[width + i] = x[i];
        x[3 * width + i] = x[i] + x[2 * width + i];
    }
    InputSource::Given(x.into())
}

/// Biases of three laws, residual branches, dropout and every normalization.
fn mixed(width: usize) -> Network {
    let dense = |phi, bias: &str| {
        Layer::Dense(
            Dense::new(width, Initializer::lecun_normal(), phi)
                .with_bias(bias.parse().expect(bias)),
        )
    };
    let branch = vec![
        Layer::LayerNorm { epsilon: 1e-3 },
        dense(Activation::Gelu, "normal(std = 0.5)"),
        dense(Activation::Tanh, "pytorch_linear"),
    ];
    let layers = vec![
        dense(Activation::Linear, "constant(0.3)"),
        Layer::BatchNorm { epsilon: 1e-3 },
        Layer::Activation { function: Activation::Tanh },
        Layer::Residual { scale: 0.7, branch },
        Layer::Dropout { keep: 0.8 },
        Layer::RmsNorm { epsilon: 1e-3 },
        dense(Activation::Relu, "zeros"),
        dense(Activation::Linear, "normal(std = 0.3)"),
    ];
    Network::new(width, layers).expect("valid")
}

const RECT: [usize; 11] = [50, 96, 32, 128, 17, 64, 100, 24, 80, 40, 64];

fn gaussian_cases() -> Vec<Case> {
    let (relu, tanh) = (Activation::Relu, Activation::Tanh);
    let case = |name, network, setup| Case { name, network, setup };
    let wide_tanh = "variance_scaling(1.5, fan_in, normal)";
    vec![
        case("ReLU", perceptron(&[48; 13], "he_normal", &relu), setup(3)),
        case("tanh", perceptron(&[48; 13], wide_tanh, &tanh), setup(2)),
        case("rectangular", perceptron(&RECT, "he_normal", &relu), setup(4)),
        case(
            "close inputs",
            perceptron(&[40; 9], wide_tanh, &tanh),
            Setup { inputs: close(0.998), ..setup(2) },
        ),
        case(
            "duplicated inputs",
            perceptron(&[32; 9], "he_normal", &relu),
            Setup { inputs: duplicated(32), ..setup(4) },
        ),
        case("narrow", perceptron(&[4; 9], wide_tanh, &tanh), setup(6)),
        case("narrow and dying", perceptron(&[4; 7], "he_normal", &relu), setup(6)),
        case("large batch", perceptron(&[40, 40, 24, 40], wide_tanh, &tanh), setup(32)),
        case("everything between", mixed(24), setup(4)),
    ]
}

fn orthogonal_cases() -> Vec<Case> {
    let (relu, tanh) = (Activation::Relu, Activation::Tanh);
    let (unit, he) = ("orthogonal(1.1)", "orthogonal(1.4142135623730951)");
    let case = |name, network, setup| Case { name, network, setup };
    vec![
        case("orthogonal ReLU", perceptron(&[24; 7], he, &relu), setup(3)),
        case("orthogonal rectangular", perceptron(&[20, 32, 12, 28, 9, 24], he, &relu), setup(3)),
        case("orthogonal narrow", perceptron(&[4; 7], unit, &tanh), setup(3)),
        case("orthogonal narrow, B > n", perceptron(&[4; 7], unit, &tanh), setup(6)),
        case(
            "orthogonal, duplicated inputs",
            perceptron(&[16; 6], unit, &tanh),
            Setup { inputs: duplicated(16), ..setup(4) },
        ),
    ]
}

/// Norms of both directions, the angle between inputs, weight gradients, and statistics that tie the
/// backward to the forward pass.
fn statistics(draw: &Draw) -> [f64; 9] {
    let depth = draw.layers.len();
    let (first, middle, last) = (&draw.layers[0], &draw.layers[depth / 2], &draw.layers[depth - 1]);
    let batch_gradient = |l: &crate::LayerDraw| l.batch_weight_gradient.map_or(f64::NAN, f64::ln);
    // Rounding decides what exactly parallel inputs differ by.
    let cosine = last.cosine.map_or(2.0, |c| (c * 1e5).round() / 1e5);
    let (z, dx) = (last.forward.first.ln(), draw.input_gradient.first.ln());
    // Units that all die give -inf on both sides; a number keeps them comparable.
    [
        z,
        cosine,
        dx,
        draw.input_gradient.log_mean,
        first.weight_gradient.first.ln(),
        batch_gradient(first),
        batch_gradient(middle),
        z + dx,
        middle.effective_rank.map_or(0.0, |r| (r * 1e6).round() / 1e6),
    ]
    .map(|v| if v.is_finite() { v } else { -1e3 })
}

fn dense(case: &Case) -> Vec<[f64; 9]> {
    let shapes = case.network.shapes().expect("valid");
    let draw = |trial| {
        let draw = crate::pass::draw::<f64>(&case.network, &shapes, &case.setup, trial, &mut ());
        statistics(&draw.expect("runs"))
    };
    (0..TRIALS).into_par_iter().map(draw).collect()
}

fn free(case: &Case, fault: Option<Fault>) -> Vec<[f64; 9]> {
    let shapes = case.network.shapes().expect("valid");
    let laws = laws(&case.network, &shapes, Precision::F64).expect("exact");
    // Other draws of the inputs than the dense side's.
    let setup = Setup { seed: 99, ..case.setup.clone() };
    let draw = |arena: &mut Arena, trial| {
        PLANTED.set(fault);
        let draw = super::draw(&case.network, &shapes, &laws, &setup, trial, arena, &mut ());
        PLANTED.set(None);
        statistics(&draw.expect("runs"))
    };
    (0..TRIALS).into_par_iter().map_init(Arena::default, draw).collect()
}

/// The smallest p-value of every statistic's two tests.
fn smallest_p_values(dense: &[[f64; 9]], free: &[[f64; 9]]) -> [f64; 9] {
    std::array::from_fn(|s| {
        let column = |sample: &[[f64; 9]]| sample.iter().map(|row| row[s]).collect::<Vec<_>>();
        let (a, b) = (column(dense), column(free));
        let ks = ks_two_sample_test(&a, &b).expect("finite").p_value;
        let (a, b) = (Moments::from(a.as_slice()), Moments::from(b.as_slice()));
        if a.sample_variance() < 1e-18 && b.sample_variance() < 1e-18 {
            return if (a.mean() - b.mean()).abs() < 1e-9 { ks.max(LEVEL * 2.0) } else { 0.0 };
        }
        ks.min(welch_test(&a, &b).expect("two samples").p_value)
    })
}

fn assert_agreement(cases: Vec<Case>, faults: &[Fault]) {
    for case in cases {
        let reference = dense(&case);
        let p = smallest_p_values(&reference, &free(&case, None));
        assert!(p.iter().all(|&p| p > LEVEL), "{}: {p:?}", case.name);
        for &fault in faults {
            let p = smallest_p_values(&reference, &free(&case, Some(fault)));
            assert!(p.iter().any(|&p| p < LEVEL), "{} does not see {fault:?}: {p:?}", case.name);
        }
    }
}

#[test]
fn gaussian_draws_have_the_joint_law_of_dense_draws() {
    assert_agreement(gaussian_cases(), &[]);
}

#[test]
fn orthogonal_draws_have_the_joint_law_of_dense_draws() {
    assert_agreement(orthogonal_cases(), &[]);
}

#[test]
fn one_wrong_term_is_seen() {
    let faults = [Fault::Uncorrelated, Fault::Unconditioned, Fault::Unprojected];
    let narrow = |init: &str| {
        let network = perceptron(&[6; 5], init, &Activation::Tanh);
        Case { name: "narrow", network, setup: setup(3) }
    };
    assert_agreement(vec![narrow("lecun_normal"), narrow("orthogonal(1)")], &faults);
}
