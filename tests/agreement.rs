//! Theory against simulation where no claim looks.

use gainstage_simulate::{InputSource, Method, Setup, measure};
use gainstage_spec::{Activation, Initializer, InputStatistics, Inputs, Network};
use gainstage_stats::ks_two_sample_test;
use gainstage_theory::{Options, predict};

/// Standard errors at a false-alarm rate of 1e-6.
const SIGMAS: f64 = 4.89;

/// Theory for smooth activations is first order in 1/width: deviations of its log-mean up to this, per
/// layer and 1/width, are its own and no error.
const SECOND_ORDER: f64 = 3.0;

#[test]
fn smooth_activations_agree_at_their_stable_scales() {
    let (width, depth, trials) = (200, 10, 600);
    for (phi, scale) in [("tanh", 1.5), ("erf", 1.2), ("selu", 1.0), ("elu", 1.5), ("sin", 1.3)] {
        let phi: Activation = phi.parse().expect(phi);
        let init: Initializer =
            format!("variance_scaling({scale}, fan_in, normal)").parse().expect("an initializer");
        let network = Network::uniform(width, depth, &init, &phi).expect("valid");
        let prediction = predict(&network, &InputStatistics::gaussian(width), &Options::default())
            .expect("predictable");
        let setup = Setup {
            seed: 99,
            trials,
            batch: 1,
            inputs: InputSource::Random(Inputs::Sphere),
            ..Setup::default()
        };
        let measured = measure(&network, &setup).expect("measurable");
        let own = SECOND_ORDER * depth as f64 / (width * width) as f64;
        let both = [
            (
                "forward",
                measured.layers[depth - 1].values(|d| d.forward.log_mean),
                prediction.layers[depth - 1].forward,
            ),
            (
                "backward",
                measured.layers[0].values(|d| d.gradient.log_mean),
                prediction.layers[0].gradient,
            ),
        ];
        for (side, logs, law) in both {
            let mean = logs.iter().sum::<f64>() / trials as f64;
            let variance =
                logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (trials - 1) as f64;
            let envelope = SIGMAS * (variance / trials as f64).sqrt() + own;
            let deviation = mean - law.log_mean;
            assert!(deviation.abs() < envelope, "{phi} {side}: {deviation} beyond {envelope}");
            // What the check can see: a gain wrong by 5% moves ln q by 0.1 in the last layer alone.
            assert!(envelope < 0.1, "{phi} {side}: the envelope {envelope} is too wide");
        }
    }
}

#[test]
fn relu_bands_hold_ninety_five_percent_of_the_draws() {
    let network =
        Network::uniform(64, 20, &Initializer::he_normal(), &Activation::Relu).expect("valid");
    let prediction = predict(&network, &InputStatistics::gaussian(64), &Options::default())
        .expect("predictable");
    let trials = 4000;
    let setup = Setup { seed: 3, trials, batch: 1, ..Setup::default() };
    let measured = measure(&network, &setup).expect("measurable");
    for layer in [4, 19] {
        let law = prediction.layers[layer].forward;
        let share = |factor: f64| {
            let draws = measured.layers[layer].draws.iter();
            let inside =
                draws.filter(|d| (law.low..=law.high).contains(&(factor * d.forward.first)));
            inside.count() as f64 / trials as f64
        };
        // Binomial standard error 0.0034; false-alarm rate 1e-6.
        let envelope = SIGMAS * (0.95 * 0.05 / trials as f64).sqrt();
        assert!((share(1.0) - 0.95).abs() < envelope, "layer {}: {}", layer + 1, share(1.0));
        // The twin: a signal twice as large is seen.
        assert!((share(2.0) - 0.95).abs() > envelope, "layer {}: {}", layer + 1, share(2.0));
    }
}

#[test]
fn both_methods_draw_from_one_law() {
    // Two-sample KS at 1e-7 on norms, angle, weight gradient and the product of the norms of both
    // directions, in the precision of the command line; 3,000 draws a side see distances of 0.075.
    let statistics = |network: &Network, method, seed| -> Vec<Vec<f64>> {
        let setup = Setup { seed, trials: 3000, batch: 4, method, grams: true, ..Setup::default() };
        let measured = measure(network, &setup).expect("measurable");
        let (first, last) = (&measured.layers[0], &measured.layers[measured.layers.len() - 1]);
        let z = last.values(|d| d.forward.log_mean);
        let dx: Vec<f64> = measured.input_gradient.iter().map(|e| e.log_mean).collect();
        let both = z.iter().zip(&dx).map(|(z, dx)| z + dx).collect();
        let angle = last.values(|d| d.cosine.expect("four inputs"));
        let whole = first.values(|d| d.batch_weight_gradient.expect("Grams").ln());
        vec![z, dx, both, angle, whole]
    };
    let network = |init: &str, phi: &Activation| {
        let init: Initializer = init.parse().expect(init);
        Network::perceptron(&[30, 50, 20, 40, 30], &init, phi).expect("valid")
    };
    for (init, wrong, phi) in [
        ("he_normal", "variance_scaling(2.1, fan_in, normal)", Activation::Relu),
        ("variance_scaling(1.5, fan_in, normal)", "glorot_normal", Activation::Tanh),
        ("orthogonal(1.2)", "orthogonal(1.17)", Activation::Tanh),
    ] {
        let dense = statistics(&network(init, &phi), Method::Dense, 1);
        let p_values = |init| {
            let free = statistics(&network(init, &phi), Method::MatrixFree, 2);
            let pairs = dense.iter().zip(&free);
            pairs.map(|(a, b)| ks_two_sample_test(a, b).expect("finite").p_value).collect()
        };
        let right: Vec<f64> = p_values(init);
        assert!(right.iter().all(|&p| p > 1e-7), "{init}: {right:?}");
        // The twin: another scale of the weights is seen.
        let wrong_law: Vec<f64> = p_values(wrong);
        assert!(wrong_law.iter().any(|&p| p < 1e-7), "{wrong} passes for {init}: {wrong_law:?}");
    }
}
