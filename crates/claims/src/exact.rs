//! What random weights do to a batch, drawn without drawing the weights: the same law, and what it saves.

use cpu_time::ThreadTime;
use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_simulate::{InputSource, LayerDraw, Method, Setup, measure};
use gainstage_spec::{Activation, Dense, Initializer, Inputs, Layer, Network};
use gainstage_stats::{Conclusion as Shown, Moments, equivalence_welch, ks_two_sample_test, slope};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::cost::reading;
use crate::figures::significant;
use crate::signal::scaled;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Largest difference of means that counts as none, in standard deviations of dense draws.
const MARGIN: f64 = 0.15;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "EXA01",
        chapter: Chapter::Exact,
        statement: "What Gaussian or orthogonal weights do to a batch, forward, backward and in the weights' gradients, can be drawn without drawing \
                    the weights, with exactly their law.",
        source: "ours: this report draws its networks so wherever that is cheaper; the argument is in the documentation of gainstage-simulate",
        prediction: "Given a layer's batch H, the rows of W H are independent and normal with covariance (sigma_w^2/fan_in) H'H; given Z = W H, what D \
                     sends back is W'D = H (H'H)^+ Z'D plus an independent normal part off the span of H. No statistic tells the two methods apart.",
        rule: "Five networks, other seeds on either side. Of the logarithms of the last pre-activations' second moment, of the first layer's error signal's, of a \
               middle weight gradient's and of the product of the first two, and of the cosine of two inputs, the means must be shown equal within 0.15 standard \
               deviations (two one-sided Welch tests at the ledger's rate), and no two-sample Kolmogorov-Smirnov test, at that rate divided among all of them, may \
               tell the distributions apart: supported, else refuted where a difference is shown. 5,000 draws a side see a distance of 0.07 between two \
               distribution functions.",
        expected: Verdict::Supported,
        planted: &[Plant::Lopsided(1.05)],
        run: agreement,
    },
    Claim {
        code: "EXA02",
        chapter: Chapter::Exact,
        statement: "Without matrices a draw costs of order n per layer instead of n squared.",
        source: "ours: the measured times of gainstage-simulate",
        prediction: "With B inputs a dense layer draws n^2 weights twice and passes B n^2 products; without matrices it draws about 2 n B normals and forms products of order n B^2. \
                     The powers of n are 2 and 1, less where what costs the same for every width still counts.",
        rule: "Ten ReLU layers of n = 128 to 1024 units, 4 inputs, forward and backward: the best of several interleaved readings of the thread's processor time; the powers are \
               slopes of its logarithm against ln n. Supported if the powers differ by more than 0.5 and dense takes more than 10 times as long at n = 1024; refuted if \
               not. Readings are not independent draws of anything, so no error rate is given.",
        expected: Verdict::Supported,
        planted: &[Plant::DenseForMatrixFree],
        run: cost,
    },
];

/// A network, its inputs, and its name.
struct Case {
    name: &'static str,
    network: Network,
    batch: usize,
    inputs: Inputs,
}

fn cases() -> Result<Vec<Case>, ClaimError> {
    let perceptron = |widths: &[usize], weights: &str, phi: Activation| {
        Ok::<_, ClaimError>(Network::perceptron(widths, &weights.parse()?, &phi)?)
    };
    let tanh = "variance_scaling(1.5, fan_in, normal)";
    let dense = |phi| Layer::Dense(Dense::new(32, Initializer::lecun_normal(), phi));
    let branch = vec![
        Layer::LayerNorm { epsilon: 1e-5 },
        dense(Activation::Gelu),
        dense(Activation::Linear),
    ];
    let mut layers = vec![dense(Activation::Linear)];
    layers.extend((0..3).map(|_| Layer::Residual { scale: 0.7, branch: branch.clone() }));
    layers.push(dense(Activation::Linear));
    let pairs = |correlation| Inputs::CorrelatedPairs { correlation };
    Ok(vec![
        Case {
            name: "ReLU",
            network: perceptron(&[48; 13], "he_normal", Activation::Relu)?,
            batch: 4,
            inputs: Inputs::Gaussian,
        },
        Case {
            name: "tanh, close inputs",
            network: perceptron(&[48; 13], tanh, Activation::Tanh)?,
            batch: 2,
            inputs: pairs(0.99),
        },
        Case {
            name: "ReLU, rectangular",
            network: perceptron(&[40, 96, 24, 64, 17, 48], "he_normal", Activation::Relu)?,
            batch: 4,
            inputs: Inputs::Sphere,
        },
        Case {
            name: "orthogonal, tanh",
            network: perceptron(&[24; 9], "orthogonal(1.2)", Activation::Tanh)?,
            batch: 2,
            inputs: pairs(0.5),
        },
        Case {
            name: "residual, LayerNorm",
            network: Network::new(32, layers)?,
            batch: 2,
            inputs: pairs(0.5),
        },
    ])
}

const STATISTICS: [&str; 5] = [
    "ln last forward",
    "ln first error signal",
    "ln middle weight gradient",
    "ln forward × backward",
    "cosine of inputs",
];

/// [`STATISTICS`] of every draw.
fn drawn(
    lab: &Lab,
    case: &Case,
    method: Method,
    draws: usize,
) -> Result<[Vec<f64>; 5], ClaimError> {
    let setup = Setup {
        seed: lab.seed_for(&format!("{} {method:?}", case.name)),
        trials: draws,
        batch: case.batch,
        inputs: InputSource::Random(case.inputs),
        method,
        moments: false,
        ..Setup::default()
    };
    let measured = measure(&case.network, &setup)?;
    let depth = measured.layers.len();
    let of = |layer: usize, value: fn(&LayerDraw) -> f64| measured.layers[layer].values(value);
    let forward = of(depth - 1, |d| d.forward.log_mean);
    let backward = of(0, |d| d.gradient.log_mean);
    let both = forward.iter().zip(&backward).map(|(f, b)| f + b).collect();
    let weights = of(depth / 2, |d| d.weight_gradient.log_mean);
    let cosine = of(depth - 1, |d| d.cosine.unwrap_or(f64::NAN));
    Ok([forward, backward, weights, both, cosine])
}

fn agreement(lab: &Lab) -> Result<Outcome, ClaimError> {
    let draws = lab.budget.pick(5_000, 10_000, 20_000);
    let (alpha, cases) = (lab.alpha(), cases()?);
    let each = alpha.get() / (cases.len() * STATISTICS.len()) as f64;
    let mut table = Table::new(
        "EXA01-agreement",
        format!(
            "{draws} draws by either method: means, their difference in standard deviations with its interval at the ledger's rate, and the p-value of the \
             two-sample Kolmogorov-Smirnov test (told apart below {each:.1e})"
        ),
        &["network", "of", "dense", "matrix-free", "difference", "low", "high", "KS p"],
    );
    let mut findings = Vec::new();
    let (mut widest, mut least) = (0.0f64, 1.0f64);
    let mut figure = quantile_figure(draws);
    for case in &cases {
        (lab.progress)(case.name);
        // Only one side is off where an error is planted.
        let other = match lab.plant {
            Some(Plant::Lopsided(factor)) => {
                Case { network: lopsided(&case.network, factor), ..*case }
            }
            _ => Case { network: case.network.clone(), ..*case },
        };
        let dense = drawn(lab, case, Method::Dense, draws)?;
        let free = drawn(lab, &other, Method::MatrixFree, draws)?;
        for (panel, statistic) in figure.panels.iter_mut().zip(DRAWN) {
            let line = quantiles(&dense[statistic], &free[statistic]);
            panel.marks.push(Mark::points(case.name, panel.marks.len(), line));
        }
        for (statistic, (dense, free)) in STATISTICS.iter().zip(dense.iter().zip(&free)) {
            let (a, b) = (Moments::from(free.as_slice()), Moments::from(dense.as_slice()));
            let deviation = b.sample_variance().sqrt();
            let equal = equivalence_welch(&a, &b, MARGIN * deviation, alpha)?;
            let ks = ks_two_sample_test(free, dense)?.p_value;
            let [difference, low, high] =
                [equal.difference.estimate, equal.difference.low, equal.difference.high]
                    .map(|d| d / deviation);
            (widest, least) = (widest.max(difference.abs()), least.min(ks));
            table.push(vec![
                Cell::text(case.name),
                Cell::text(*statistic),
                Cell::number(b.mean()),
                Cell::number(a.mean()),
                Cell::number(difference),
                Cell::number(low),
                Cell::number(high),
                Cell::number(ks),
            ]);
            let conclusion = match equal.conclusion {
                _ if ks < each => Conclusion::Contradicted,
                Shown::Equivalent => Conclusion::Holds,
                Shown::Different => Conclusion::Contradicted,
                Shown::Undecided => Conclusion::Undecided,
            };
            findings.push(Finding {
                what: format!("{}: {statistic}, difference in standard deviations", case.name),
                predicted: Some(0.0),
                measured: difference,
                low,
                high,
                level: equal.difference.level.get(),
                n: draws,
                test: format!(
                    "two one-sided Welch tests at {:.1e}, margin {MARGIN}; Kolmogorov-Smirnov at {each:.1e}",
                    alpha.get()
                ),
                p_value: Some(equal.p_value),
                conclusion,
            });
        }
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "In {} networks and {} statistics each, {draws} draws by either method differed by at most {} standard deviations in the mean; the smallest of {} \
             Kolmogorov-Smirnov p-values was {}.",
            cases.len(),
            STATISTICS.len(),
            significant(widest),
            findings.len(),
            significant(least)
        ),
        experiment: format!(
            "{} networks of width 17 to 96 and depth 5 to 12, {draws} draws of every weight and {draws} without, 2 or 4 inputs",
            cases.len()
        ),
        figures: vec![figure],
        tables: vec![table],
        findings,
    })
}

/// The statistics that the figure shows.
const DRAWN: [usize; 2] = [2, 3];

/// Panels with the line on which equal laws lie.
fn quantile_figure(draws: usize) -> Figure {
    let text = format!(
        "Quantiles of {draws} draws by either method, from 1% to 99%, in standard deviations of the dense draws from their mean. Equal laws lie on the line."
    );
    let figure =
        Figure::new("EXA01-quantiles", "With and without matrices: the same distributions", text);
    DRAWN.iter().fold(figure, |figure, statistic| {
        let (x, y) = (Axis::linear("dense"), Axis::linear("matrix-free"));
        let mut panel = Panel::new(STATISTICS[*statistic], x, y);
        panel.marks.push(Mark::line("equal", 0, vec![(-3.0, -3.0), (3.0, 3.0)]));
        figure.panel(panel)
    })
}

/// The same quantiles of both samples, in standard deviations of the first.
fn quantiles(dense: &[f64], free: &[f64]) -> Vec<Point> {
    let moments = Moments::from(dense);
    let sorted = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    };
    let (dense, free) = (sorted(dense), sorted(free));
    let deviation = moments.sample_variance().sqrt();
    let at = |sorted: &[f64], share: f64| {
        (sorted[(share * (sorted.len() - 1) as f64) as usize] - moments.mean()) / deviation
    };
    let shares = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];
    shares.iter().map(|&share| Point::new(at(&dense, share), at(&free, share))).collect()
}

/// The network with its weights multiplied.
fn lopsided(network: &Network, factor: f64) -> Network {
    let mut network = network.clone();
    network.layers.iter_mut().for_each(|layer| scale_layer(layer, factor));
    network
}

fn scale_layer(layer: &mut Layer, factor: f64) {
    match layer {
        Layer::Dense(dense) => dense.weights = scaled(&dense.weights, factor),
        Layer::Residual { branch, .. } => {
            branch.iter_mut().for_each(|layer| scale_layer(layer, factor));
        }
        _ => {}
    }
}

const WIDTHS: [usize; 4] = [128, 256, 512, 1024];
const DEPTH: usize = 10;
const INPUTS: usize = 4;

/// Microseconds of a draw per layer: the best of `rounds` readings, method by method and width by width.
fn readings(lab: &Lab, rounds: u32) -> Result<[[f64; WIDTHS.len()]; 2], ClaimError> {
    let free = match lab.plant {
        Some(Plant::DenseForMatrixFree) => Method::Dense,
        _ => Method::MatrixFree,
    };
    let mut best = [[f64::INFINITY; WIDTHS.len()]; 2];
    // All of a draw is on the one thread whose time is read.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for round in 0..rounds {
        for (place, width) in WIDTHS.into_iter().enumerate() {
            let he = Initializer::he_normal();
            let network = Network::uniform(width, DEPTH, &he, &Activation::Relu)?;
            for (method, best) in [Method::Dense, free].into_iter().zip(&mut best) {
                // As many draws as make a reading of about a millisecond.
                let trials = if method == Method::Dense { 1 } else { 8 };
                let seed = lab.seed_for(&format!("cost {round}"));
                let setup = Setup {
                    seed,
                    trials,
                    batch: INPUTS,
                    method,
                    moments: false,
                    ..Setup::default()
                };
                let seconds = pool.install(|| {
                    let started = ThreadTime::now();
                    measure(&network, &setup).map(|_| started.elapsed().as_secs_f64())
                })?;
                best[place] = best[place].min(1e6 * seconds / (trials * DEPTH) as f64);
            }
        }
    }
    Ok(best)
}

fn cost(lab: &Lab) -> Result<Outcome, ClaimError> {
    let rounds = lab.budget.pick(7, 15, 40);
    let [dense, free] = readings(lab, rounds)?;
    let logs = |values: &[f64]| values.iter().map(|v| v.ln()).collect::<Vec<_>>();
    let widths = logs(&WIDTHS.map(|n| n as f64));
    let powers = [slope(&widths, &logs(&dense))?, slope(&widths, &logs(&free))?];
    let last = WIDTHS.len() - 1;
    let (apart, ratio) = (powers[0] - powers[1], dense[last] / free[last]);
    let findings = vec![
        reading(
            "power of n in the time per layer, dense less matrix-free".to_owned(),
            Some(1.0),
            apart,
            apart > 0.5,
            "above 0.5",
            rounds,
        ),
        reading(
            format!("dense over matrix-free at n = {}: time per layer", WIDTHS[last]),
            None,
            ratio,
            ratio > 10.0,
            "above 10",
            rounds,
        ),
    ];
    let mut panel = Panel::new("", Axis::log10("n"), Axis::log10("microseconds per layer"));
    for (index, (name, times)) in [("dense", dense), ("matrix-free", free)].into_iter().enumerate()
    {
        let line = WIDTHS.iter().zip(times).map(|(n, t)| (*n as f64, t)).collect();
        panel.marks.push(Mark::line(name, index + 1, line));
    }
    let text = format!(
        "Processor time of one layer, forward and backward with its weight gradient, {INPUTS} inputs, one thread, best of {rounds} readings. Powers of n: {} and {}.",
        significant(powers[0]),
        significant(powers[1])
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "At n = {} a layer took {} µs dense and {} µs without matrices, {} times as fast; the times grew like n^{} and n^{}.",
            WIDTHS[last],
            significant(dense[last]),
            significant(free[last]),
            significant(ratio),
            significant(powers[0]),
            significant(powers[1]),
        ),
        experiment: format!(
            "{DEPTH} ReLU layers of {} to {} units, {INPUTS} inputs, {rounds} interleaved readings, on the machine of this report",
            WIDTHS[0], WIDTHS[last]
        ),
        figures: vec![
            Figure::new("EXA02-cost", "What a layer costs with and without matrices", text)
                .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}
