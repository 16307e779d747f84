//! Recommendations: what is chosen, for whom, and that it beats what the frameworks do.

use gainstage_spec::{Activation, Initializer, InputStatistics, Network};
use gainstage_theory::{
    DepthReason, Normalization, Options, Recommendation, Request, TheoryError, predict, recommend,
};

fn request(phi: &str, width: usize, depth: usize) -> Request {
    Request {
        activation: phi.parse().expect("known"),
        input: width,
        widths: vec![width; depth],
        residual: false,
        normalization: Normalization::None,
        inputs: InputStatistics::gaussian(width),
    }
}

fn answer(request: &Request) -> Recommendation {
    recommend(request).expect("a recommendation")
}

#[test]
fn relu_gets_hes_rule_and_a_leaky_slope_goes_into_the_gain() {
    let relu = answer(&request("relu", 256, 20));
    assert!(!relu.chosen.orthogonal && (relu.chosen.weight_variance - 2.0).abs() < 1e-12);
    assert_eq!(relu.chosen.bias_variance, 0.0);
    let leaky = answer(&request("leaky_relu(0.2)", 256, 20));
    assert!((leaky.chosen.weight_variance - 2.0 / 1.04).abs() < 1e-12);
    // Depth is bounded by the width alone: the log-variance of one draw grows by about 5/n a layer.
    assert_eq!(relu.depth_limit.reason, DepthReason::FiniteWidth);
    assert!((relu.depth_limit.layers / (256.0 / 5.0) - 1.0).abs() < 0.1, "{:?}", relu.depth_limit);
    // Narrow and deep, independent weights leave the factor of ten and orthogonal ones come in.
    assert!(answer(&request("relu", 64, 40)).chosen.orthogonal);
}

#[test]
fn tanh_gets_the_edge_of_chaos_and_not_xavier_or_five_thirds() {
    let tanh = answer(&request("tanh", 256, 50));
    assert!(tanh.chosen.name.contains("edge of chaos"));
    let worst = |name: &str| {
        let found = tanh.defaults.iter().find(|d| d.framework.starts_with(name)).expect(name);
        found.consequence.worst
    };
    // Xavier's signal dies like 1/(2l), the gain 5/3 makes gradients explode by 1.21 a layer.
    assert!(tanh.chosen.worst < 10.0 && worst("Keras Dense") > 100.0);
    let expected = 1.2098313204f64.powi(49);
    let gain =
        tanh.defaults.iter().find(|d| d.framework.contains("calculate_gain")).expect("known");
    assert!((gain.consequence.gradient.ln() / expected.ln() - 1.0).abs() < 0.1);
    assert!(tanh.defaults.iter().all(|d| d.consequence.worst > tanh.chosen.worst));
}

#[test]
fn the_input_goes_into_the_first_gain_and_fans_into_every_std() {
    let mut asked = request("relu", 100, 4);
    asked.input = 784;
    asked.inputs = InputStatistics { second_moment: 0.112, ..InputStatistics::gaussian(784) };
    let found = answer(&asked);
    assert!((found.layers[0].gain - (2.0f64 / 0.112).sqrt()).abs() < 1e-12);
    assert!((found.layers[0].std - found.layers[0].gain / 28.0).abs() < 1e-15);
    assert!((found.layers[1].std - 2f64.sqrt() / 10.0).abs() < 1e-12);
    // With it the activations start at 1 and stay there.
    assert!((found.prediction.layers[3].activation.expected - 1.0).abs() < 1e-9);
}

#[test]
fn orthogonal_layers_that_widen_keep_the_second_moment_too() {
    let mut asked = request("relu", 40, 30);
    asked.widths = [40, 60].repeat(15);
    let found = answer(&asked);
    assert!(found.chosen.orthogonal, "{}", found.chosen.name);
    for layer in &found.prediction.layers {
        assert!((layer.forward.expected - 2.0).abs() < 1e-9, "{layer:?}");
    }
}

#[test]
fn residual_branches_are_scaled_by_the_root_of_their_number() {
    let mut asked = request("relu", 128, 40);
    asked.residual = true;
    let found = answer(&asked);
    assert!((found.layers[0].gain - 1.0).abs() < 1e-12);
    assert!((found.layers[1].gain - (2.0f64 / 20.0).sqrt()).abs() < 1e-12);
    // (1 + 1/L)^(L - 1) between the first layers of the first and the last branch.
    assert!((found.chosen.signal - 1.05f64.powi(19)).abs() < 1e-9);
    let full =
        found.compared.iter().find(|c| c.name == "branches at full scale").expect("compared");
    assert!((full.signal - 2f64.powi(19)).abs() < 1e-3);
    // With a normalization ahead of each branch the scale of the stream no longer matters forward.
    asked.normalization = Normalization::Layer;
    assert!(answer(&asked).chosen.worst < 10.0);
}

#[test]
fn batch_normalization_alone_bounds_the_depth_whatever_the_weights_are() {
    let mut asked = request("relu", 256, 20);
    asked.normalization = Normalization::Batch;
    let found = answer(&asked);
    // ln 1000 / ln(pi/(pi-1)) = 18 layers.
    assert_eq!(found.depth_limit.reason, DepthReason::Scale);
    assert!((found.depth_limit.layers - 18.0).abs() < 2.0, "{:?}", found.depth_limit);
}

#[test]
fn every_activation_gets_an_answer_whose_network_predicts_what_it_says() {
    for phi in Activation::all() {
        let asked = Request { activation: phi.clone(), ..request("relu", 32, 4) };
        let found = answer(&asked);
        assert_eq!(found.layers.len(), 4);
        let again =
            predict(&found.network, &asked.inputs, &Options::default()).expect("predictable");
        assert_eq!(again, found.prediction, "{phi}");
        assert!(found.compared[0].worst <= found.chosen.worst, "{phi}");
    }
}

#[test]
fn impossible_requests_are_refused_in_one_sentence() {
    let why = |r: &Request| recommend(r).expect_err("must be refused").to_string();
    let good = request("relu", 10, 3);
    assert!(why(&Request { widths: vec![], ..good.clone() }).contains("depth 0"));
    assert!(why(&Request { widths: vec![10, 0], ..good.clone() }).contains("width 0"));
    let unequal = Request { residual: true, widths: vec![10, 20], ..good.clone() };
    assert!(why(&unequal).contains("equal widths"));
    let even = Request { residual: true, input: 5, widths: vec![10; 4], ..good.clone() };
    assert!(why(&even).contains("make it 5"));
    let mut dark = good;
    dark.inputs.second_moment = 0.0;
    assert!(matches!(recommend(&dark), Err(TheoryError::Domain { .. })));
}

#[test]
fn a_wrong_gain_is_seen_in_the_same_numbers() {
    // The twin: five percent more variance than recommended, and the signal leaves by 1.05^19.
    let found = answer(&request("relu", 256, 20));
    let wrong = Initializer::scaled_normal((2.0f64 * 1.05).sqrt());
    let network = Network::uniform(256, 20, &wrong, &Activation::Relu).expect("valid");
    let off =
        predict(&network, &InputStatistics::gaussian(256), &Options::default()).expect("valid");
    let ratio = off.layers[19].forward.expected / off.layers[0].forward.expected;
    assert!((ratio / found.chosen.signal - 1.05f64.powi(19)).abs() < 1e-9);
}
