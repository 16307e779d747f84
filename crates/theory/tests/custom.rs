//! Activations given by formula or points against the built-in ones that they spell.

use gainstage_spec::Activation;
use gainstage_theory::{MeanField, Moments, TheoryError, cross_gap, cross_moment, moments};

fn formula(text: &str) -> Activation {
    Activation::expression(text).expect("valid")
}

fn fields(m: &Moments) -> [f64; 6] {
    [
        m.mean,
        m.second_moment,
        m.fourth_moment,
        m.derivative_second_moment,
        m.value_derivative,
        m.second_moment_slope,
    ]
}

const SPELT: [(&str, &str); 8] = [
    ("z * 0.5 * (1 + erf(z / sqrt(2)))", "gelu"),
    ("z / (1 + exp(-z))", "silu"),
    ("sinh(z) / cosh(z)", "tanh"),
    ("where(z, z, 0.3 * expm1(z))", "elu(0.3)"),
    ("z / (1 + abs(z))", "softsign"),
    ("z * clamp(z / 6 + 0.5, 0, 1)", "hard_swish"),
    ("max(z, 0.2 * z)", "leaky_relu(0.2)"),
    ("max(0, min(z, 6))", "relu6"),
];

#[test]
fn a_formula_has_the_moments_of_what_it_spells() {
    for (text, name) in SPELT {
        let (spelt, built_in) = (formula(text), name.parse().expect("known"));
        for q in [1e-6, 0.03, 1.0, 7.0, 300.0] {
            let (Ok(a), Ok(b)) = (moments(&spelt, q), moments(&built_in, q)) else {
                // sinh overflows, which is said.
                assert!(matches!(moments(&spelt, q), Err(TheoryError::Reach { .. })), "{text} {q}");
                continue;
            };
            // An even part of relative size sqrt q is the difference of larger numbers.
            let floor = b.fourth_moment.powf(0.25) * 1e-15;
            for (a, b) in fields(&a).into_iter().zip(fields(&b)) {
                assert!((a - b).abs() <= 1e-11 * b.abs() + floor, "{text} at {q}: {a} against {b}");
            }
        }
    }
}

#[test]
fn a_formula_has_the_maps_of_what_it_spells() {
    for (text, name) in SPELT {
        let (spelt, built_in): (_, Activation) = (formula(text), name.parse().expect("known"));
        for gap in [1e-9, 0.02, 0.7, 1.6] {
            let (a, b) = (cross_gap(&spelt, 1.3, gap), cross_gap(&built_in, 1.3, gap));
            let (a, b) = (a.expect("defined"), b.expect("defined"));
            assert!((a / b - 1.0).abs() < 1e-9, "{text} at gap {gap}: {a} against {b}");
        }
        let limit = |phi: &Activation| {
            let field = MeanField::new(phi, 1.2, 0.1).expect("valid");
            field.depth_limit(1.0).expect("defined")
        };
        let (a, b) = (limit(&spelt), limit(&built_in));
        assert!((a.chi_1 - b.chi_1).abs() < 1e-10 && (a.c - b.c).abs() < 1e-9, "{text}");
    }
}

#[test]
fn steep_and_waving_formulas_are_resolved() {
    // tanh(40 z) at q is tanh at 1600 q; sin(5 z) has closed forms.
    let steep = moments(&formula("tanh(40 * z)"), 0.5).expect("defined");
    let wide = moments(&Activation::Tanh, 800.0).expect("defined");
    assert!((steep.second_moment / wide.second_moment - 1.0).abs() < 1e-12);
    assert!(
        (steep.derivative_second_moment / wide.derivative_second_moment / 1600.0 - 1.0).abs()
            < 1e-11
    );
    let waves = formula("sin(5 * z)");
    let m = moments(&waves, 2.0).expect("defined");
    assert!((m.second_moment - 0.5 * (1.0 - (-100f64).exp())).abs() < 1e-13);
    let cross = cross_moment(&waves, 2.0, 2.0, 0.99).expect("defined");
    assert!((cross - 0.5 * ((-50.0f64 * 0.01).exp() - (-50.0f64 * 1.99).exp())).abs() < 1e-11);
    let error = moments(&waves, 1e9).expect_err("too far").to_string();
    assert!(error.contains("must be at most"), "{error}");
}

#[test]
fn a_dense_table_comes_near_the_function_and_a_coarse_one_is_itself() {
    let points: Vec<(f64, f64)> =
        (-240..=240).map(|i| f64::from(i) / 20.0).map(|z| (z, z.tanh())).collect();
    let table = Activation::table(points).expect("valid");
    let (a, b) =
        (moments(&table, 1.0).expect("defined"), moments(&Activation::Tanh, 1.0).expect("defined"));
    assert!((a.second_moment / b.second_moment - 1.0).abs() < 1e-4);
    assert!((a.derivative_second_moment / b.derivative_second_moment - 1.0).abs() < 2e-3);
    let gap = cross_gap(&table, 1.0, 0.01).expect("defined")
        / cross_gap(&Activation::Tanh, 1.0, 0.01).expect("defined");
    assert!((gap - 1.0).abs() < 2e-3, "{gap}");
    // Two points are a line; three on a bend are a leaky ReLU with a rounded corner.
    let line = moments(&Activation::table(vec![(-1.0, -2.0), (1.0, 2.0)]).expect("valid"), 3.0)
        .expect("defined");
    assert!((line.second_moment - 12.0).abs() < 1e-12);
    assert!((line.derivative_second_moment - 4.0).abs() < 1e-13);
}

#[test]
fn critical_rates_are_what_iteration_shows() {
    // Iterating the map itself at the edge of chaos.
    let edge = gainstage_theory::edge_of_chaos(&Activation::Erf, 0.05).expect("defined")[0];
    let field = MeanField::new(&Activation::Erf, edge.weight_variance, 0.05).expect("valid");
    let rate = field.correlation_rate(1.0).expect("defined").expect("critical");
    let (mut q, mut gap) = (edge.fixed_point.q, 1.0);
    for _ in 0..200_000 {
        (q, gap) = field.step(q, gap).expect("defined");
    }
    assert!((gap * 200_000.0 / rate.constant - 1.0).abs() < 1e-3, "{} {rate:?}", gap * 200_000.0);
    let leaky = Activation::LeakyRelu { slope: 0.25 };
    let critical = MeanField::new(&leaky, 2.0 / 1.0625, 0.0).expect("valid");
    let rate = critical.correlation_rate(1.0).expect("defined").expect("critical");
    assert!((rate.constant - 158.46198177).abs() < 1e-7 && rate.power == 2);
    // The same by a formula; and off criticality there is no rate.
    let spelt = MeanField::new(&formula("max(z, z / 4)"), 2.0 / 1.0625, 0.0).expect("valid");
    let same = spelt.correlation_rate(1.0).expect("defined").expect("critical");
    assert!((same.constant / rate.constant - 1.0).abs() < 1e-12);
    let ordered = MeanField::new(&Activation::Tanh, 1.3, 0.05).expect("valid");
    assert_eq!(ordered.correlation_rate(1.0).expect("defined"), None);
}
