//! Bands of residual, normalized and masked networks against random ones drawn here.

use std::fmt::Write as _;

use gainstage_spec::{
    Activation, Dense, Initializer, InputStatistics, Layer, Network, WeightShape,
};
use gainstage_theory::{Options, Predicted, predict};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

fn mean_square(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64
}

fn on_sphere(n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let v: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
    let scale = mean_square(&v).sqrt().recip();
    v.iter().map(|x| x * scale).collect()
}

/// What the way back needs of one layer.
enum Tape {
    Dense { w: Vec<f64>, z: Vec<f64>, phi: Activation, input: f64 },
    Scale(Vec<f64>),
    Norm { y: Vec<f64>, spread: f64, centred: bool },
    Residual { scale: f64, branch: Vec<Tape> },
}

fn forward(layers: &[Layer], mut h: Vec<f64>, rng: &mut ChaCha8Rng) -> (Vec<Tape>, Vec<f64>) {
    let mut tape = Vec::new();
    for layer in layers {
        let (step, next) = match layer {
            Layer::Dense(dense) => {
                let shape = WeightShape::dense(h.len(), dense.width).expect("valid");
                let std = dense.weights.law(&shape).expect("valid").std();
                let w: Vec<f64> = (0..h.len() * dense.width)
                    .map(|_| std * Distribution::<f64>::sample(&StandardNormal, rng))
                    .collect();
                let z: Vec<f64> = w
                    .chunks(h.len())
                    .map(|row| row.iter().zip(&h).map(|(a, b)| a * b).sum::<f64>())
                    .collect();
                let phi = dense.activation.clone();
                let next = z.iter().map(|&z| phi.value(z)).collect();
                (Tape::Dense { w, z, phi, input: mean_square(&h) }, next)
            }
            Layer::Activation { function } => {
                let slopes = h.iter().map(|&z| function.derivative(z)).collect();
                (Tape::Scale(slopes), h.iter().map(|&z| function.value(z)).collect())
            }
            Layer::Dropout { keep } => {
                let factors: Vec<f64> = (0..h.len())
                    .map(|_| {
                        let u: f64 = StandardUniform.sample(rng);
                        if u < *keep { keep.recip() } else { 0.0 }
                    })
                    .collect();
                let next = h.iter().zip(&factors).map(|(h, f)| h * f).collect();
                (Tape::Scale(factors), next)
            }
            Layer::RmsNorm { .. } | Layer::LayerNorm { .. } => {
                let centred = matches!(layer, Layer::LayerNorm { .. });
                let mean = if centred { h.iter().sum::<f64>() / h.len() as f64 } else { 0.0 };
                let shifted: Vec<f64> = h.iter().map(|h| h - mean).collect();
                let spread = mean_square(&shifted).sqrt();
                let y: Vec<f64> = shifted.iter().map(|h| h / spread).collect();
                (Tape::Norm { y: y.clone(), spread, centred }, y)
            }
            Layer::Residual { scale, branch } => {
                let (branch, out) = forward(branch, h.clone(), rng);
                let next = h.iter().zip(&out).map(|(h, b)| h + scale * b).collect();
                (Tape::Residual { scale: *scale, branch }, next)
            }
            other => panic!("not drawn here: {other:?}"),
        };
        tape.push(step);
        h = next;
    }
    (tape, h)
}

/// Second moments of z, delta and dW per dense layer, last first.
type Noted = Vec<[f64; 3]>;

fn backward(tape: &[Tape], mut delta: Vec<f64>, at_output: bool, noted: &mut Noted) -> Vec<f64> {
    for (index, step) in tape.iter().enumerate().rev() {
        delta = match step {
            Tape::Dense { w, z, phi, input } => {
                if !(at_output && index + 1 == tape.len()) {
                    delta.iter_mut().zip(z).for_each(|(d, &z)| *d *= phi.derivative(z));
                }
                noted.push([mean_square(z), mean_square(&delta), mean_square(&delta) * input]);
                let width = w.len() / z.len();
                let mut below = vec![0.0; width];
                for (row, d) in w.chunks(width).zip(&delta) {
                    below.iter_mut().zip(row).for_each(|(b, w)| *b += w * d);
                }
                below
            }
            Tape::Scale(factors) => delta.iter().zip(factors).map(|(d, f)| d * f).collect(),
            Tape::Norm { y, spread, centred } => {
                let n = y.len() as f64;
                let along = delta.iter().zip(y).map(|(d, y)| d * y).sum::<f64>() / n;
                let mean = if *centred { delta.iter().sum::<f64>() / n } else { 0.0 };
                delta.iter().zip(y).map(|(d, y)| (d - mean - y * along) / spread).collect()
            }
            Tape::Residual { scale, branch } => {
                let entering = delta.iter().map(|d| scale * d).collect();
                let through = backward(branch, entering, false, noted);
                delta.iter().zip(&through).map(|(a, b)| a + b).collect()
            }
        };
    }
    delta
}

fn dense(width: usize, variance: f64, phi: Activation) -> Layer {
    Layer::Dense(Dense::new(width, Initializer::scaled_normal(variance.sqrt()), phi))
}

fn cases() -> Vec<(&'static str, Vec<Layer>)> {
    use Activation::{Linear, Relu, Tanh};
    let n = 32;
    let repeated = |block: Vec<Layer>, times: usize| -> Vec<Layer> {
        let mut layers: Vec<Layer> = (0..times).flat_map(|_| block.clone()).collect();
        layers.push(dense(n, 1.0, Linear));
        layers
    };
    let layer_norm = || Layer::LayerNorm { epsilon: 0.0 };
    let rms_norm = || Layer::RmsNorm { epsilon: 0.0 };
    let residual = |scale: f64, branch: Vec<Layer>| vec![Layer::Residual { scale, branch }];
    vec![
        (
            "residual relu",
            repeated(residual(1.0, vec![dense(n, 2.0, Relu), dense(n, 1.0, Linear)]), 8),
        ),
        (
            "scaled residual tanh",
            repeated(residual(0.3, vec![dense(n, 1.5, Tanh), dense(n, 1.0, Linear)]), 8),
        ),
        (
            "pre-normalized residual",
            repeated(
                residual(1.0, vec![layer_norm(), dense(n, 2.0, Relu), dense(n, 1.0, Linear)]),
                8,
            ),
        ),
        (
            "LayerNorm before relu",
            repeated(
                vec![dense(n, 2.0, Linear), layer_norm(), Layer::Activation { function: Relu }],
                8,
            ),
        ),
        ("RMSNorm behind relu", repeated(vec![dense(n, 2.0, Relu), rms_norm()], 8)),
        ("LayerNorm behind relu", repeated(vec![dense(n, 2.0, Relu), layer_norm()], 8)),
        ("dropout", repeated(vec![dense(n, 1.6, Relu), Layer::Dropout { keep: 0.8 }], 8)),
    ]
}

const DRAWS: usize = 2000;

#[test]
fn bands_of_whole_networks_hold_one_draw() {
    let mut report = String::new();
    let mut worst = 0.0f64;
    // Four standard errors of a share: 21 quantities, a false alarm in one of 700 seeds.
    let margin = 4.0 * (0.95f64 * 0.05 / DRAWS as f64).sqrt();
    for (case, (name, layers)) in cases().into_iter().enumerate() {
        let network = Network::new(32, layers).expect("valid");
        let predicted = predict(&network, &InputStatistics::gaussian(32), &Options::default())
            .expect("predictable")
            .layers;
        let mut rng = ChaCha8Rng::seed_from_u64(case as u64);
        let draws: Vec<Noted> = (0..DRAWS)
            .map(|_| {
                let input = on_sphere(32, &mut rng);
                let (tape, out) = forward(&network.layers, input, &mut rng);
                let mut noted = Noted::new();
                backward(&tape, on_sphere(out.len(), &mut rng), true, &mut noted);
                noted.reverse();
                noted
            })
            .collect();
        let last = predicted.len() - 1;
        let quantities: [(&str, usize, usize, Predicted); 3] = [
            ("forward", last, 0, predicted[last].forward),
            ("gradient", 0, 1, predicted[0].gradient),
            ("weight gradient", last / 2, 2, predicted[last / 2].weight_gradient),
        ];
        for (what, layer, index, band) in quantities {
            let values: Vec<f64> = draws.iter().map(|d| d[layer][index]).collect();
            let inside = values.iter().filter(|v| (band.low..=band.high).contains(*v)).count();
            let share = inside as f64 / DRAWS as f64;
            let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
            let mean = logs.iter().sum::<f64>() / DRAWS as f64;
            let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DRAWS as f64;
            let offset = (mean - band.log_mean) / band.log_variance.sqrt();
            let _ = writeln!(
                report,
                "{name}, {what}: {:.1}% inside, offset {offset:+.3} std, variance ratio {:.3}",
                100.0 * share,
                variance / band.log_variance
            );
            worst = worst.max((share - 0.95).abs());
            // Twin: draws 1.5 times as far from the typical value are not covered.
            let stretched = logs
                .iter()
                .map(|x| band.log_mean + 1.5 * (x - band.log_mean))
                .filter(|x| (band.low.ln()..=band.high.ln()).contains(x))
                .count() as f64;
            assert!(stretched / (DRAWS as f64) < 0.94 - margin, "{name}, {what}: {stretched}");
        }
    }
    assert!(worst < 0.01 + margin, "{report}");
}
