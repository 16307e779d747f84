//! Spectra of Jacobians against closed forms of free probability and exact finite-width sums.

use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};
use gainstage_theory::{edge_of_chaos, jacobian_traces, spectrum};

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / expected.abs();
    assert!(error <= tolerance, "{what}: {got} against {expected}, relative {error:.1e}");
}

#[test]
fn products_of_gaussian_matrices_follow_the_fuss_catalan_law() {
    for depth in [1usize, 2, 3, 5, 10, 20] {
        let s = spectrum(&Activation::Linear, 1.0, 1.0, depth, false).expect("valid");
        let l = depth as f64;
        assert_eq!((s.mean, s.relative_variance), (1.0, l));
        close(s.largest, (l + 1.0).powf(l + 1.0) / l.powf(l), 1e-12, "largest");
    }
}

#[test]
fn orthogonal_linear_networks_are_isometries() {
    let s = spectrum(&Activation::Linear, 1.0, 1.0, 50, true).expect("valid");
    assert_eq!((s.mean, s.relative_variance), (1.0, 0.0));
    close(s.largest, 1.0, 1e-9, "largest");
}

#[test]
fn relu_spectra_grow_with_depth_whatever_the_weights() {
    let largest = [
        (1, 5.8284271, 2.0),
        (2, 11.0901699, 4.0),
        (3, 16.4577569, 6.75),
        (5, 27.2727734, 12.2070313),
        (10, 54.4108585, 25.8117479),
        (100, 543.6608961, 270.4679036),
    ];
    for (depth, gaussian, orthogonal) in largest {
        let at = |o| spectrum(&Activation::Relu, 1.0, 2.0, depth, o).expect("valid");
        close(at(false).largest, gaussian, 1e-8, "Gaussian");
        close(at(true).largest, orthogonal, 1e-8, "orthogonal");
        assert_eq!(at(false).relative_variance, 2.0 * depth as f64);
        assert_eq!(at(true).relative_variance, depth as f64);
    }
}

#[test]
fn critical_tanh_spreads_little_when_orthogonal_and_not_when_gaussian() {
    // mu_2 / mu_1^2 - 1 along the critical line.
    let table = [
        (0.0001, 0.0114629238),
        (0.01, 0.1525398862),
        (0.05, 0.3422560783),
        (0.5, 1.0287107157),
        (2.0, 1.9774143345),
    ];
    for (bias, spread) in table {
        let edge = edge_of_chaos(&Activation::Tanh, bias).expect("valid")[0];
        let at = |orthogonal| {
            spectrum(&Activation::Tanh, edge.fixed_point.q, edge.weight_variance, 10, orthogonal)
                .expect("valid")
        };
        close(at(true).mean, 1.0, 1e-10, "mean");
        close(at(true).relative_variance, 10.0 * spread, 1e-8, "orthogonal");
        close(at(false).relative_variance, 10.0 * (1.0 + spread), 1e-8, "Gaussian");
        // A law of this mean and variance reaches beyond mean + std, and not beyond its bound.
        let largest = at(true).largest;
        let bound = (edge.weight_variance).powi(10);
        assert!(
            largest > 1.0 + (10.0 * spread).sqrt() && largest < bound,
            "{bias}: {largest} {bound}"
        );
    }
}

#[test]
fn traces_at_finite_width_are_exact_sums() {
    let layer = |n: usize, gain: f64, phi| {
        Layer::Dense(Dense::new(n, Initializer::scaled_normal(gain), phi))
    };
    let he = 2f64.sqrt();
    let relu = |n| layer(n, he, Activation::Relu);
    let linear = |n| layer(n, 1.0, Activation::Linear);
    let traces = |input, layers| {
        let network = Network::new(input, layers).expect("valid");
        jacobian_traces(&network).expect("exact")
    };
    // ReLU behind every weight would leave one linear map of variance 0.5 scale; here the last is linear.
    let t = traces(8, vec![linear(16), linear(12), linear(8)]);
    close(t.trace_squared, 71.822917, 1e-7, "linear 8-16-12-8, squared trace");
    close(t.square_trace, 29.713542, 1e-7, "linear 8-16-12-8, trace of the square");
    // One layer by hand: E tr (W W^T)^2 = n m (n + m + 1) v^2 for W of m x n.
    let t = traces(5, vec![linear(7)]);
    close(t.square_trace, 5.0 * 7.0 * 13.0 / 25.0, 1e-14, "Wishart");
    // E tr A^2 / n - (E tr A / n)^2 tends to the limit of great width.
    let t = traces(4000, vec![relu(4000), relu(4000), relu(4000), linear(4000)]);
    let variance = t.square_trace / 4000.0 - (t.trace / 4000.0).powi(2);
    close(variance, 3.0 * 2.0 + 1.0, 5e-3, "three ReLU layers and one linear");
}

#[test]
fn what_has_no_exact_traces_is_refused() {
    let refused = |weights: Initializer, phi| {
        let network = Network::perceptron(&[4, 4, 4], &weights, &phi).expect("valid");
        jacobian_traces(&network).expect_err("must be refused").to_string()
    };
    assert!(refused(Initializer::he_uniform(), Activation::Relu).contains("Gaussian weights"));
    assert!(refused(Initializer::he_normal(), Activation::Tanh).contains("linear on each side"));
    assert!(spectrum(&Activation::Tanh, 1.0, 1.0, 0, true).is_err());
    assert!(spectrum(&Activation::Tanh, -1.0, 1.0, 3, true).is_err());
}
