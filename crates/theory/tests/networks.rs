//! Exact finite-width laws against their published and independently computed values.

use gainstage_spec::{
    Activation, Dense, FanMode, Initializer, InputStatistics, Layer, Network, ScalingDistribution,
};
use gainstage_theory::{Assumption, LayerPrediction, Options, Prediction, predict};

fn run(widths: &[usize], weights: &Initializer, phi: &Activation) -> Vec<LayerPrediction> {
    let network = Network::perceptron(widths, weights, phi).expect("valid");
    let inputs = InputStatistics::gaussian(widths[0]);
    predict(&network, &inputs, &Options::default()).expect("predictable").layers
}

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / expected.abs().max(1e-300);
    assert!(error < tolerance, "{what}: {got} against {expected}, relative error {error:.1e}");
}

#[test]
fn log_norms_of_one_layer_have_their_exact_mean_and_variance() {
    // Sums over Binomial(n, 1/2) of digamma and trigamma (the law of Hanin & Nica 2019, theorem 1).
    let table = [
        (10, -0.307461010692, 0.866734253053, -0.103320244002, 0.221322955737),
        (16, -0.176397324407, 0.419593394107, -0.063800063724, 0.133137014694),
        (32, -0.082540208096, 0.177497787226, -0.031575393912, 0.064493783403),
        (100, -0.025420885623, 0.051939992149, -0.010033332000, 0.020201333227),
        (128, -0.019786401877, 0.040233992603, -0.007832844555, 0.015747706064),
        (300, -0.008379154693, 0.016875424849, -0.003337037021, 0.006688938271),
        (784, -0.003195443833, 0.006407826481, -0.001276052512, 0.002554277028),
        (1024, -0.002445311644, 0.004900534922, -0.000976880391, 0.001955033590),
    ];
    for (n, relu_mean, relu_variance, linear_mean, linear_variance) in table {
        // The activation of a hidden layer, and the output's pre-activation.
        let layers = run(&[n, n, n], &Initializer::he_normal(), &Activation::Relu);
        close(layers[0].activation.log_mean, relu_mean, 1e-9, "relu log mean");
        close(layers[0].activation.log_variance, relu_variance, 1e-10, "relu log variance");
        let output = layers[1].forward;
        close(output.log_mean - 2f64.ln(), relu_mean + linear_mean, 1e-9, "output log mean");
        close(output.log_variance, relu_variance + linear_variance, 1e-10, "output log variance");
        // The way back: gates of the hidden layer, then the weights' chi^2 over the same width.
        close(layers[0].gradient.log_variance, relu_variance, 1e-10, "gradient log variance");
        close(layers[0].gradient.expected, 1.0, 1e-14, "gradient");
    }
}

#[test]
fn weight_gradients_of_a_rectangular_relu_network_have_their_exact_means() {
    // widths 6-12-8-16-3, output variance 2/n: squared norms over |x|^2 of dW_l are
    // (c/2) n_(l-1)/n_0 for one output direction, here times the three outputs.
    let layers = run(&[6, 12, 8, 16, 3], &Initializer::he_normal(), &Activation::Relu);
    for (layer, gradient) in layers.iter().enumerate() {
        let elements = (gradient.fan_in * gradient.fan_out) as f64;
        let norm = gradient.weight_gradient.expected * elements / 6.0;
        let expected = 3.0 * [6.0, 12.0, 8.0, 16.0][layer] / 6.0;
        close(norm, expected, 1e-13, "squared norm of a weight gradient");
    }
}

#[test]
fn a_relu_layer_dies_with_probability_two_to_the_minus_width() {
    let layers = run(&[6, 12, 8, 16, 3], &Initializer::he_normal(), &Activation::Relu);
    let alive = (1.0 - 0.5f64.powi(12)) * (1.0 - 0.5f64.powi(8)) * (1.0 - 0.5f64.powi(16));
    close(layers[3].forward.zero_probability, 1.0 - alive, 1e-12, "output");
    close(layers[0].gradient.zero_probability, 1.0 - alive, 1e-12, "first gradient");
    for layer in &layers {
        close(layer.weight_gradient.zero_probability, 1.0 - alive, 1e-12, "weight gradient");
    }
}

#[test]
fn other_symmetric_weights_change_the_spread_by_their_kurtosis() {
    // E R^2 / (E R)^2 by the recursion of E|z|_2^4 and E|z|_4^4, for x = one-hot.
    let one_hot =
        InputStatistics { second_moment: 1.0 / 6.0, correlation: 0.0, concentration: 1.0 };
    let spread = |weights: &Initializer| {
        let network =
            Network::perceptron(&[6, 12, 8, 16, 3], weights, &Activation::Relu).expect("valid");
        let layers = predict(&network, &one_hot, &Options::default()).expect("predictable").layers;
        layers[3].forward.log_variance
    };
    let difference = spread(&Initializer::he_uniform()) - spread(&Initializer::he_normal());
    close(difference, (3.688657f64 / 5.035807).ln(), 2e-6, "uniform against Gaussian");
}

#[test]
fn orthogonal_weights_leave_only_the_gates_noise() {
    // (n+5)/(n+2) per square layer: 2.197 at n = 8, 3 layers.
    let orthogonal = Initializer::Orthogonal { gain: 2f64.sqrt() };
    let log_variance = |n: usize, phi| run(&[n, n, n, n, n], &orthogonal, &phi)[2].activation;
    assert_eq!(log_variance(8, Activation::Linear).log_variance, 0.0);
    for n in [400, 1600] {
        let relu = log_variance(n, Activation::Relu).log_variance;
        let exact = 3.0 * (1.0 + 3.0 / (n as f64 + 2.0)).ln();
        // ln E and Var ln differ at second order in 1/n.
        close(relu, exact, 10.0 / n as f64, "orthogonal relu");
    }
}

#[test]
fn all_zero_weights_predict_zeros_and_not_nan() {
    for phi in [Activation::Relu, Activation::Tanh, Activation::Sigmoid] {
        let layers = run(&[784, 128, 10], &Initializer::zeros(), &phi);
        assert_eq!(layers[0].forward.expected, 0.0);
        assert_eq!(layers[0].activation.expected, phi.value(0.0).powi(2));
        assert_eq!(layers[1].gradient.expected, 1.0);
        assert_eq!((layers[0].gradient.expected, layers[0].gradient.high), (0.0, 0.0));
        assert_eq!(layers[1].weight_gradient.expected, phi.value(0.0).powi(2));
        assert_eq!(layers[0].weight_gradient.expected, 0.0);
        let text = format!("{layers:?}");
        assert!(!text.contains("NaN"), "{text}");
    }
}

#[test]
fn pytorchs_default_decays_to_its_bias_floor() {
    // q* = sigma_b^2 / (1 - 1/6) = 1.2 / (3 n).
    let default = Initializer::pytorch_linear();
    let layer = Layer::Dense(Dense::new(128, default.clone(), Activation::Relu).with_bias(default));
    let network = Network::new(128, vec![layer; 30]).expect("valid");
    let prediction: Prediction =
        predict(&network, &InputStatistics::gaussian(128), &Options::default()).expect("ok");
    close(prediction.layers[29].forward.expected, 0.003125, 1e-12, "floor");
    assert!(prediction.assumptions.contains(&Assumption::GaussianPreactivations));
}

#[test]
fn a_relu_network_with_biases_has_its_exact_mean_and_its_spread() {
    // n = 16, s2 = 1.5, sigma_b^2 = 0.3, four layers from 1: E M = 0.726563, E M^2 = 1.046996.
    let weights = Initializer::scaling(1.5, FanMode::FanIn, ScalingDistribution::Normal);
    let bias = Initializer::normal(0.3f64.sqrt());
    let layer = Layer::Dense(Dense::new(16, weights, Activation::Relu).with_bias(bias));
    let network = Network::new(16, vec![layer; 5]).expect("valid");
    let layers = predict(&network, &InputStatistics::gaussian(16), &Options::default())
        .expect("predictable")
        .layers;
    let m = layers[3].activation;
    close(m.expected, 0.726563, 1e-6, "mean");
    // The second moment follows from the log's cumulants but for the fourth-order remainder.
    let by_log = (m.log_mean + 0.5 * m.log_variance).exp();
    close(by_log, 0.726563, 0.1, "mean by the log-normal");
}

#[test]
fn relu_correlations_follow_the_arc_cosine_map() {
    let layers = run(&[64; 102], &Initializer::he_normal(), &Activation::Relu);
    let table = [
        (1, std::f64::consts::FRAC_1_PI),
        (2, 0.49373109020037),
        (3, 0.60482572011294),
        (5, 0.73594635062764),
        (9, 0.8548092375489),
        (10, 0.87153551602152),
        (20, 0.94842847915599),
        (50, 0.98786194493735),
        (100, 0.99642314668395),
    ];
    for (steps, c) in table {
        close(layers[steps].correlation, c, 1e-12, "correlation");
    }
}

#[test]
fn xavier_tanh_decays_as_the_mean_field_map_says_at_large_width() {
    let layers = run(&[100_000; 7], &Initializer::lecun_normal(), &Activation::Tanh);
    let stds = [0.627929, 0.486262, 0.408236, 0.357638, 0.321622];
    for (layer, std) in layers.iter().zip(stds) {
        close(layer.activation.expected.sqrt(), std, 1e-4, "std of tanh activations");
    }
    // Error signals over the top one of five, in std; weight gradients likewise.
    let top = layers[4].gradient.expected;
    for (layer, std) in layers.iter().zip([0.40983, 0.60139, 0.75377, 0.88421, 1.0]) {
        close((layer.gradient.expected / top).sqrt(), std, 1e-4, "error signal");
    }
    let top = layers[4].weight_gradient.expected;
    for (layer, std) in layers.iter().zip([1.14593, 1.05590, 1.02486, 1.00930, 1.0]) {
        close((layer.weight_gradient.expected / top).sqrt(), std, 1e-4, "weight gradient");
    }
}

#[test]
fn what_cannot_be_predicted_is_refused_in_one_sentence() {
    let network = |weights: &str| {
        Network::perceptron(&[10, 10, 10], &weights.parse().expect("known"), &Activation::Relu)
            .expect("valid")
    };
    let gaussian = InputStatistics::gaussian(10);
    let error = |n: &Network, i: &InputStatistics, o: &Options| {
        predict(n, i, o).expect_err("must be refused").to_string()
    };
    let options = Options::default();
    assert!(error(&network("ones"), &gaussian, &options).contains("mean 1"));
    let he = network("he_normal");
    let bad = InputStatistics { second_moment: -1.0, ..gaussian };
    assert!(error(&he, &bad, &options).contains("second moment is -1"));
    let bad = InputStatistics { correlation: f64::NAN, ..gaussian };
    assert!(error(&he, &bad, &options).contains("NaN"));
    assert!(error(&he, &gaussian, &Options { level: 1.0, ..options }).contains("level"));
    let zero = Network { input: 0, layers: he.layers.clone() };
    assert!(error(&zero, &gaussian, &options).contains("width is 0"));
}

#[test]
fn nothing_is_not_a_number_at_the_smallest_widths_and_odd_corners() {
    let gains =
        ["he_normal", "he_uniform", "zeros", "pytorch_linear", "orthogonal", "normal(std = 30)"];
    for phi in Activation::all() {
        for weights in gains {
            for (width, bias) in [(1, 0.0), (3, 0.5)] {
                let weights: Initializer = weights.parse().expect("known");
                let dense = Dense::new(width, weights.clone(), phi.clone())
                    .with_bias(Initializer::normal(bias));
                let network = Network::new(width, vec![Layer::Dense(dense); 3]).expect("valid");
                for second_moment in [0.0, 1e-30] {
                    let inputs =
                        InputStatistics { second_moment, correlation: 0.3, concentration: 1.0 };
                    let prediction =
                        predict(&network, &inputs, &Options::default()).expect("predictable");
                    let text = format!("{prediction:?}");
                    assert!(
                        !text.contains("NaN"),
                        "{phi} {weights} {width} {bias} {second_moment}: {text}"
                    );
                }
            }
        }
    }
}
