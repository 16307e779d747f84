//! Gaussian moments against values from 40-digit arithmetic and against closed forms.

use gainstage_spec::Activation;
use gainstage_theory::{critical_gain, gain, moments};

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
    assert!(error <= tolerance, "{what}: {got:e} against {expected:e}, relative {error:.1e}");
}

/// `activation;q;E phi, E phi^2, E phi^4, E phi'^2, E phi'^4, E phi phi', E (phi phi')^2, dV/dq`,
/// by tanh-sinh quadrature in 40 digits.
const REFERENCE: &str = include_str!("moments.csv");

#[test]
fn moments_have_twelve_digits_from_tiny_to_huge_variances() {
    let mut checked = 0;
    for line in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(';').collect();
        let phi: Activation = fields[0].parse().expect("known activation");
        let q: f64 = fields[1].parse().expect("a number");
        let m = moments(&phi, q).expect("valid q");
        let got = [
            m.mean,
            m.second_moment,
            m.fourth_moment,
            m.derivative_second_moment,
            m.derivative_fourth_moment,
            m.value_derivative,
            m.square_product,
            m.second_moment_slope,
        ];
        for (i, (got, expected)) in got.iter().zip(fields[2].split(',')).enumerate() {
            let expected: f64 = expected.parse().expect("a number");
            let what = format!("{phi} at q = {q:e}, moment {i}");
            // SELU's mean at q = 1 is zero by cancellation between its two sides.
            if phi == Activation::Selu && i == 0 && q == 1.0 {
                assert!(got.abs() < 1e-15, "{what}: {got}");
            } else {
                close(*got, expected, 1e-12, &what);
            }
            checked += 1;
        }
    }
    assert!(checked > 900, "{checked} moments");
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / 2f64.sqrt())
}

#[test]
fn moments_agree_with_closed_forms_that_the_quadrature_does_not_know() {
    use std::f64::consts::PI;
    for q in [0.03, 0.5, 1.0, 3.0, 20.0] {
        let s = f64::sqrt(q);
        let at = |phi: &Activation| moments(phi, q).expect("valid");
        // ELU: E phi^2 = q/2 + e^(2q) Phi(-2s) - 2 e^(q/2) Phi(-s) + 1/2.
        let elu = at(&Activation::Elu { alpha: 1.0 });
        let tails = (2.0 * q).exp() * normal_cdf(-2.0 * s);
        let tail = (0.5 * q).exp() * normal_cdf(-s);
        close(elu.second_moment, 0.5 * q + tails - 2.0 * tail + 0.5, 1e-10, "elu");
        close(elu.derivative_second_moment, 0.5 + tails, 1e-10, "elu'");
        // GELU: E phi = q / sqrt(2 pi (1 + q)).
        let gelu = at(&Activation::Gelu);
        close(gelu.mean, q / (2.0 * PI * (1.0 + q)).sqrt(), 1e-13, "gelu mean");
        let second = 0.25 * q
            + q / (2.0 * PI) * (q / (1.0 + q)).asin()
            + q * q / (PI * (1.0 + q) * (1.0 + 2.0 * q).sqrt());
        close(gelu.second_moment, second, 1e-13, "gelu second moment");
        // hard tanh: E phi'^2 = P(|z| < 1).
        let inside = 1.0 - 2.0 * normal_cdf(-1.0 / s);
        close(at(&Activation::HardTanh).derivative_second_moment, inside, 1e-10, "hard tanh'");
        // sin^2 and erf^2 by their own quadrature-free forms through the slope: dV/dq.
        for phi in Activation::all() {
            let h = 1e-4 * q;
            let v = |q: f64| moments(&phi, q).expect("valid").second_moment;
            let slope =
                (v(q - 2.0 * h) - 8.0 * v(q - h) + 8.0 * v(q + h) - v(q + 2.0 * h)) / (12.0 * h);
            let exact = at(&phi).second_moment_slope;
            assert!(
                (slope - exact).abs() < 1e-9 * exact.abs().max(v(q) / q),
                "{phi}: {slope} {exact}"
            );
        }
    }
}

#[test]
fn gains_are_those_of_the_table() {
    let table = [
        ("linear", 1.0, 1.0),
        ("relu", std::f64::consts::SQRT_2, 1.0),
        ("leaky_relu(0.2)", 1.3867504905631, 1.0),
        ("prelu(0.25)", 1.3719886811401, 1.0),
        ("elu", 1.2451983007007, 1.0359047186043),
        ("celu(2)", 1.1551916071226, 1.0163015928016),
        ("celu(0.5)", 1.330908368227, 1.0528897242162),
        ("selu", 1.0, 1.0715749924558),
        ("gelu", 1.5335304411955, 1.0720315984363),
        ("gelu_tanh", 1.5335805216661, 1.0720239602214),
        ("quick_gelu", 1.5394587622988, 1.0654016115808),
        ("silu", 1.6765324703311, 1.0666342412419),
        ("mish", 1.4868475812732, 1.0591180005951),
        ("hard_swish", 1.7366572127665, 1.0813232665894),
        ("softplus", 1.0418668355353, 0.31845898368369),
        ("sigmoid", 1.8462285453386, 0.15282701171559),
        ("tanh", 1.5925374197228, 1.1778072323042),
        ("lecun_tanh", 1.1543694539761, 1.0713708371136),
        ("softsign", 2.3375333631085, 1.2440103706076),
        ("hard_tanh", 1.3920361404483, 1.3228915417928),
        ("erf", 1.4671669504891, 1.2257000037857),
        ("sin", 1.5208666231788, 1.3130352854993),
        ("arctan", 1.4912076181342, 1.1118500801908),
        ("abs", 1.0, 1.0),
    ];
    for (name, expected, chi) in table {
        let phi: Activation = name.parse().expect("known");
        close(gain(&phi), expected, 1e-13, name);
        close((gain(&phi) / critical_gain(&phi)).powi(2), chi, 1e-13, name);
    }
}

#[test]
fn a_variance_that_is_none_is_refused() {
    for q in [-1.0, f64::NAN, f64::INFINITY] {
        let error = moments(&Activation::Tanh, q).expect_err("must be refused").to_string();
        assert!(error.contains("must be finite and not negative"), "{error}");
    }
    let zero = moments(&Activation::Sigmoid, 0.0).expect("a limit");
    assert_eq!((zero.second_moment, zero.derivative_second_moment), (0.25, 0.0625));
    assert_eq!(moments(&Activation::Tanh, 0.0).expect("a limit").second_moment, 0.0);
}
