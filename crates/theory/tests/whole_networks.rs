//! Residual blocks, normalizations and dropout.

use gainstage_spec::{Activation, Dense, Initializer, InputStatistics, Layer, Network};
use gainstage_theory::{LayerPrediction, Options, Prediction, predict};

fn dense(width: usize, variance: f64, phi: Activation) -> Layer {
    Layer::Dense(Dense::new(width, Initializer::scaled_normal(variance.sqrt()), phi))
}

fn run(width: usize, layers: Vec<Layer>, options: &Options) -> Prediction {
    let network = Network::new(width, layers).expect("valid");
    predict(&network, &InputStatistics::gaussian(width), options).expect("predictable")
}

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
    assert!(error <= tolerance, "{what}: {got} against {expected}, relative {error:.1e}");
}

/// x + scale W2 relu(W1 x), and a linear layer of weight variance 1/n to read the stream.
fn blocks(width: usize, depth: usize, scale: f64, s1: f64, s2: f64) -> Prediction {
    let branch = vec![dense(width, s1, Activation::Relu), dense(width, s2, Activation::Linear)];
    let mut layers = vec![Layer::Residual { scale, branch }; depth];
    layers.push(dense(width, 1.0, Activation::Linear));
    run(width, layers, &Options::default())
}

#[test]
fn residual_relu_blocks_grow_by_one_plus_half_the_product_of_their_variances() {
    // He's rule on both matrices triples the second moment per block, at any width.
    for (width, s1, s2, growth) in
        [(10, 2.0, 2.0, 3.0), (37, 2.0, 1.0, 2.0), (64, 1.0, 1.0, 1.5f64)]
    {
        let layers = blocks(width, 10, 1.0, s1, s2).layers;
        close(layers[20].forward.expected, growth.powi(10), 1e-12, "forward");
        // The way back: the error entering block k has grown over the blocks above it.
        let at = |block: usize| layers[2 * block + 1].gradient.expected;
        close(at(0) / at(9), growth.powi(9), 1e-12, "backward");
    }
    let layers = blocks(256, 100, 0.1, 2.0, 1.0).layers;
    close(layers[200].forward.expected, 2.704813829422, 1e-11, "scale 1/sqrt(depth)");
}

#[test]
fn the_fluctuation_of_residual_blocks_matches_its_exact_second_moment() {
    // E |x|^4 grows by 1 + 2c + 4c/n + c^2 (1 + 2/n)(1 + 5/n) per block.
    let (n, depth, c) = (200.0, 8, 1.0f64);
    let per_block = 1.0 + 2.0 * c + 4.0 * c / n + c * c * (1.0 + 2.0 / n) * (1.0 + 5.0 / n);
    let exact = f64::from(depth) * (per_block / (1.0 + c).powi(2)).ln();
    let output = blocks(200, 8, 1.0, 2.0, 1.0).layers[16].forward;
    // The reading layer adds chi^2 over n.
    close(output.log_variance - 2.0 / n, exact, 0.02, "log variance");
}

#[test]
fn a_rectified_branch_grows_faster_since_the_means_add_up() {
    // x + relu(W x), He: second moments 1, 2, 4.9003, 13.2029, 37.1110, whose ratio tends to 2.904.
    let branch = vec![dense(100_000, 2.0, Activation::Relu)];
    let layers = run(100_000, vec![Layer::Residual { scale: 1.0, branch }; 5], &Options::default());
    for (layer, expected) in layers.layers.iter().zip([1.0, 2.0, 4.9003, 13.2029, 37.1110]) {
        close(layer.forward.expected, 2.0 * expected, 1e-4, "second moment");
    }
}

#[test]
fn pre_normalized_blocks_grow_linearly() {
    // x + W2 relu(W1 LN(x)), s1 = 2, s2 = 1: one unit of second moment per block, but for 1/n.
    let branch = vec![
        Layer::LayerNorm { epsilon: 0.0 },
        dense(4096, 2.0, Activation::Relu),
        dense(4096, 1.0, Activation::Linear),
    ];
    let mut layers = vec![Layer::Residual { scale: 1.0, branch }; 10];
    layers.push(dense(4096, 1.0, Activation::Linear));
    close(run(4096, layers, &Options::default()).layers[20].forward.expected, 11.0, 1e-3, "stream");
}

/// Growth of the error signal's second moment from one dense layer to the one below, mid-way.
fn growth(block: &[Layer], batch: Option<usize>) -> f64 {
    let layers: Vec<Layer> = (0..12).flat_map(|_| block.to_vec()).collect();
    let prediction = run(100_000, layers, &Options { batch, ..Options::default() });
    let at = |l: usize| -> LayerPrediction { prediction.layers[l] };
    at(5).gradient.expected / at(6).gradient.expected
}

#[test]
fn batch_normalization_multiplies_gradients_by_its_known_rate() {
    use std::f64::consts::PI;
    let block = |phi: Activation, s: f64| {
        [
            dense(100_000, s, Activation::Linear),
            Layer::BatchNorm { epsilon: 0.0 },
            Layer::Activation { function: phi },
        ]
    };
    // Yang et al. 2019; no weight variance changes it.
    for (batch, rate) in [
        (4, 3.084060948088),
        (8, 1.788189976659),
        (16, 1.589950416765),
        (64, 1.493062937804),
        (1024, 1.468500991973),
    ] {
        for s in [2.0, 0.5] {
            close(growth(&block(Activation::Relu, s), Some(batch)), rate, 1e-4, "finite batch");
        }
    }
    close(growth(&block(Activation::Relu, 2.0), None), PI / (PI - 1.0), 1e-4, "large batch");
    let linear = |b: f64| (b - 2.0) / (b - 3.0);
    close(growth(&block(Activation::Linear, 1.0), Some(8)), linear(8.0), 1e-4, "linear");
}

#[test]
fn normalizing_each_input_after_relu_explodes_gradients_only_where_the_mean_is_removed() {
    use std::f64::consts::PI;
    let relu = Activation::Relu;
    let after = |norm: Layer| [dense(100_000, 2.0, relu.clone()), norm];
    let before = |norm: Layer| {
        let function = relu.clone();
        [dense(100_000, 2.0, Activation::Linear), norm, Layer::Activation { function }]
    };
    let (layer, rms) = (Layer::LayerNorm { epsilon: 0.0 }, Layer::RmsNorm { epsilon: 0.0 });
    close(growth(&after(layer.clone()), None), PI / (PI - 1.0), 1e-4, "LayerNorm behind ReLU");
    close(growth(&before(layer), None), 1.0, 1e-4, "LayerNorm before ReLU");
    close(growth(&after(rms.clone()), None), 1.0, 1e-4, "RMSNorm behind ReLU");
    close(growth(&before(rms), None), 1.0, 1e-4, "RMSNorm before ReLU");
}

#[test]
fn dropout_divides_second_moments_by_the_share_kept() {
    let keep = 0.8;
    let block = [dense(300, 2.0 * keep, Activation::Relu), Layer::Dropout { keep }];
    let layers: Vec<Layer> = (0..200).flat_map(|_| block.to_vec()).collect();
    let layers = run(300, layers, &Options::default()).layers;
    close(layers[199].forward.expected, 2.0 * keep, 1e-12, "variance kept by 2 keep");
    close(layers[10].gradient.expected / layers[150].gradient.expected, 1.0, 1e-11, "gradient");
    // Independent masks hold the correlation at the fixed point of keep f(c).
    close(layers[199].correlation, 0.472799347213, 1e-10, "correlation");
}

#[test]
fn combinations_outside_the_theory_are_named() {
    let relu = || dense(8, 2.0, Activation::Relu);
    let refused = |layers: Vec<Layer>, batch: Option<usize>| {
        let network = Network::new(8, layers).expect("valid");
        let options = Options { batch, ..Options::default() };
        predict(&network, &InputStatistics::gaussian(8), &options)
            .expect_err("must be refused")
            .to_string()
    };
    let batch_norm = Layer::BatchNorm { epsilon: 1e-5 };
    assert!(refused(vec![relu(), batch_norm.clone()], None).contains("not Gaussian"));
    let linear = dense(8, 1.0, Activation::Linear);
    assert!(refused(vec![linear, batch_norm], Some(3)).contains("fewer than 4"));
    let empty = Layer::Residual { scale: 1.0, branch: vec![Layer::RmsNorm { epsilon: 0.0 }] };
    assert!(refused(vec![relu(), empty], None).contains("without a dense layer"));
}
