//! Every initializer against the law it declares.

use gainstage_init::{Key, Purpose, fill};
use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Initializer, Law, Layout, WeightShape};
use gainstage_stats::{Moments, correlation, correlation_test, ks_test, mean_test, variance_test};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::significant;
use crate::signal::{equality, exactly};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Laws of independent entries.
const INDEPENDENT: [&str; 18] = [
    "uniform(low = -0.2, high = 0.3)",
    "normal(std = 0.1)",
    "normal(mean = 0.5, std = 0.2)",
    "truncated_normal(std = 0.05)",
    "truncated_normal(std = 0.05, std_is = after)",
    "truncated_normal(std = 1, mean = 0.3, low = -0.5, high = 3)",
    "pytorch_trunc_normal(std = 1)",
    "lecun_normal",
    "lecun_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "he_normal(slope = 0.25, mode = fan_out)",
    "keras_he_normal",
    "keras_glorot_normal",
    "pytorch_linear",
    "variance_scaling(scale = 3, mode = fan_geometric_mean, distribution = uniform)",
];

const INPUTS: usize = 150;
const OUTPUTS: usize = 160;
/// What an array is tested for, in short and in full; each test gives one p-value per array, or per two.
const TESTS: [(&str, &str); 7] = [
    ("mean", "mean"),
    ("variance", "variance"),
    ("law", "distribution function (Kolmogorov-Smirnov)"),
    ("units", "correlation between neighbouring units"),
    ("layers", "correlation between two layers"),
    ("squares", "correlation of squares between two layers"),
    ("seeds", "correlation between two seeds"),
];

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "RND01",
    chapter: Chapter::Signal,
    statement: "Every weight is drawn independently of the others from the stated distribution.",
    source: "Seed document, answer 5",
    prediction: "Mean, variance, kurtosis, support and distribution function are the declared ones; units, layers and seeds are uncorrelated. \
         Over seeds the p-values of correct tests are uniform on [0, 1]. Orthogonal weights follow their declared law one by one and depend \
         on each other by construction; sparse ones have a fixed number of zeros.",
    rule: "Supported if for each of 18 laws the variance equals the declared one within 2% and the kurtosis within 0.1, no weight leaves its \
         support, the mean correlation between units, between layers and between consecutive seeds is 0 within 0.005, the p-values of \
         each of seven tests are uniform (Kolmogorov-Smirnov, not rejected), and orthogonal and sparse arrays have their \
         structure; refuted if one is shown to be otherwise. With 20 seeds the tests of uniformity see a distance of 0.12 in the \
         distribution of p-values (0.17 between seeds), a thousandth of correlation, a percent of one law's variance.",
    expected: Verdict::Supported,
    planted: &[Plant::SharedSeed, Plant::Gain(1.05)],
    run: conformance,
}];

/// One law's tests in one seed.
struct Tested {
    variance: f64,
    kurtosis: f64,
    outside: usize,
    p_values: [f64; TESTS.len()],
    /// Between neighbouring units, two layers, two seeds.
    correlations: [f64; 3],
}

/// The weights of a layer under the `index`-th seed; for a negative control, always the first.
fn weights(
    lab: &Lab,
    init: &Initializer,
    shape: &WeightShape,
    index: usize,
    layer: usize,
) -> Result<Vec<f64>, ClaimError> {
    let index = if lab.plant == Some(Plant::SharedSeed) { 0 } else { index as u64 };
    // Seeds that follow one another, as users choose them.
    let key =
        Key::new(lab.seed_for("weights").wrapping_add(index), Purpose::Weights, 0, layer as u32);
    let mut out = vec![0.0f32; shape.elements()];
    fill(init, shape, Layout::OutIn, key, &mut out)?;
    let factor = if let Some(Plant::Gain(factor)) = lab.plant { factor } else { 1.0 };
    Ok(out.iter().map(|&w| factor * f64::from(w)).collect())
}

fn tested(
    lab: &Lab,
    init: &Initializer,
    law: &Law,
    layer: usize,
    seed: usize,
) -> Result<Tested, ClaimError> {
    let shape = WeightShape::dense(INPUTS, OUTPUTS)?;
    let draw = |seed, layer| weights(lab, init, &shape, seed, layer);
    // Every law has two layers of its own, so that no two laws share a stream.
    let (first, second) = (draw(seed, 2 * layer)?, draw(seed, 2 * layer + 1)?);
    let next = draw(seed + 1, 2 * layer)?;
    let moments = Moments::from(first.as_slice());
    let kurtosis = law.kurtosis().unwrap_or(f64::NAN);
    let (low, high) = law.support();
    let (above, below) = (&first[..first.len() - INPUTS], &first[INPUTS..]);
    let squares =
        |values: &[f64]| values.iter().map(|w| (w - law.mean()).powi(2)).collect::<Vec<f64>>();
    let uncorrelated = |a: &[f64], b: &[f64]| correlation_test(a, b, 0.0).map(|t| t.p_value);
    Ok(Tested {
        variance: moments.sample_variance() / law.variance(),
        kurtosis: moments.kurtosis() - kurtosis,
        outside: first.iter().filter(|w| !(low..=high).contains(*w)).count(),
        p_values: [
            mean_test(&moments, law.mean(), law.variance())?.p_value,
            variance_test(&moments, law.variance(), kurtosis)?.p_value,
            ks_test(&first, |x| law.cdf(x))?.p_value,
            uncorrelated(above, below)?,
            uncorrelated(&first, &second)?,
            uncorrelated(&squares(&first), &squares(&second))?,
            uncorrelated(&first, &next)?,
        ],
        correlations: [
            correlation(above, below)?,
            correlation(&first, &second)?,
            correlation(&first, &next)?,
        ],
    })
}

fn conformance(lab: &Lab) -> Result<Outcome, ClaimError> {
    let seeds = lab.budget.pick(20, 60, 200);
    let shape = WeightShape::dense(INPUTS, OUTPUTS)?;
    let laws = INDEPENDENT
        .iter()
        .map(|text| {
            let init: Initializer = text.parse()?;
            let law = init.law(&shape)?;
            Ok((*text, init, law))
        })
        .collect::<Result<Vec<_>, ClaimError>>()?;
    let tests = (0..laws.len() * seeds)
        .into_par_iter()
        .map(|job| {
            let (layer, seed) = (job / seeds, job % seeds);
            tested(lab, &laws[layer].1, &laws[layer].2, layer, seed)
        })
        .collect::<Result<Vec<Tested>, ClaimError>>()?;
    let mut table = Table::new(
        "RND01-laws",
        format!(
            "Over {seeds} seeds: variance over the declared one, kurtosis beside the declared one, weights outside the support"
        ),
        &["initializer", "variance", "kurtosis", "declared", "outside"],
    );
    let (mut variances, mut kurtoses) = (Vec::new(), Vec::new());
    for ((text, _, law), group) in laws.iter().zip(tests.chunks(seeds)) {
        let values = |read: fn(&Tested) -> f64| group.iter().map(read).collect::<Vec<f64>>();
        let name = |what: &str| format!("{text}: {what}");
        let variance = over_seeds(
            lab,
            name("variance over the declared one"),
            &values(|t| t.variance),
            1.0,
            0.02,
        )?;
        let kurtosis = over_seeds(
            lab,
            name("kurtosis minus the declared one"),
            &values(|t| t.kurtosis),
            0.0,
            0.1,
        )?;
        let declared = law.kurtosis().unwrap_or(f64::NAN);
        table.push(vec![
            Cell::text(*text),
            Cell::number(variance.measured),
            Cell::number(declared + kurtosis.measured),
            Cell::number(declared),
            Cell::count(group.iter().map(|t| t.outside).sum()),
        ]);
        variances.push(variance);
        kurtoses.push(kurtosis);
    }
    let outside: usize = tests.iter().map(|t| t.outside).sum();
    let mut findings = vec![furthest(&variances, 1.0), furthest(&kurtoses, 0.0)];
    findings.push(exactly("weights outside their support", 0.0, outside as f64, tests.len()));
    for (place, name) in ["neighbouring units", "two layers", "two seeds"].iter().enumerate() {
        let values: Vec<f64> =
            apart(&tests, seeds, place == 2).map(|t| t.correlations[place]).collect();
        findings.push(over_seeds(lab, format!("correlation between {name}"), &values, 0.0, 0.005)?);
    }
    let mut panel = Panel::new(
        "",
        Axis::linear("p-value p"),
        Axis::linear("share of p-values below p, minus p"),
    )
    .mark(Mark::Level { y: 0.0, label: "uniform".to_owned() });
    for (place, (short, name)) in TESTS.iter().enumerate() {
        let last = place + 1 == TESTS.len();
        let mut p: Vec<f64> = apart(&tests, seeds, last).map(|t| t.p_values[place]).collect();
        findings.push(uniform(lab, name, &p)?);
        p.sort_by(f64::total_cmp);
        let n = p.len() as f64;
        let steps = p.iter().enumerate().map(|(i, p)| (*p, (i + 1) as f64 / n - p)).collect();
        panel.marks.push(Mark::line(*short, place + 1, steps));
    }
    findings.extend(structured(lab, seeds)?);
    let all: Vec<Finding> = variances.iter().chain(&kurtoses).chain(&findings).cloned().collect();
    let worst = findings[6..6 + TESTS.len()].iter().filter_map(|f| f.p_value).fold(1.0, f64::min);
    Ok(Outcome {
        verdict: all_hold(&all, Verdict::Supported),
        sentence: format!(
            "Over {seeds} seeds of {} laws the variance furthest from the declared one was {} of it, no weight lay outside its support, the mean \
             correlation was {:.5} between units, {:.5} between layers and {:.5} between seeds, and the p-values of seven tests were \
             uniform (smallest p {}).",
            laws.len(),
            significant(findings[0].measured),
            findings[3].measured,
            findings[4].measured,
            findings[5].measured,
            significant(worst),
        ),
        experiment: format!(
            "arrays of {OUTPUTS} x {INPUTS} weights of {} initializers under {seeds} consecutive seeds, two layers each; orthogonal and sparse arrays \
             under as many seeds",
            laws.len()
        ),
        figures: vec![Figure::new(
            "RND01-p-values",
            "P-values of correct draws are uniform",
            format!(
                "Left: the p-values of seven tests over {} laws and {seeds} seeds, as deviations from the uniform law: {}. Right: the variance of each \
                 law, in the order of the table, with the intervals of the test; all lie between {} and {}.",
                laws.len(),
                TESTS.map(|(short, name)| format!("{short}, {name}")).join("; "),
                significant(variances.iter().map(|f| f.low).fold(f64::INFINITY, f64::min)),
                significant(variances.iter().map(|f| f.high).fold(0.0, f64::max)),
            ),
        )
        .panel(panel)
        .panel(variance_panel(&variances))],
        tables: vec![table],
        findings,
    })
}

/// Each law's variance over the declared one.
fn variance_panel(variances: &[Finding]) -> Panel {
    let point =
        |(i, f): (usize, &Finding)| Point::with_interval((i + 1) as f64, f.measured, f.low, f.high);
    let dots = variances.iter().enumerate().map(point).collect();
    Panel::new("", Axis::linear("law"), Axis::linear("variance over the declared one"))
        .mark(Mark::Level { y: 1.0, label: String::new() })
        .mark(Mark::points("", 1, dots))
}

/// All tests, or those of every second seed, which share no array with each other.
fn apart(tests: &[Tested], seeds: usize, every_second: bool) -> impl Iterator<Item = &Tested> {
    tests
        .iter()
        .enumerate()
        .filter(move |(i, _)| !every_second || (i % seeds).is_multiple_of(2))
        .map(|t| t.1)
}

/// As [`equality`]; seeds that all give the same value are not independent, which contradicts the statement.
fn over_seeds(
    lab: &Lab,
    what: String,
    values: &[f64],
    predicted: f64,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let moments = Moments::from(values);
    if moments.sample_variance() > 0.0 {
        return equality(lab, what, values, predicted, margin);
    }
    let same = moments.mean();
    Ok(Finding {
        what,
        predicted: Some(predicted),
        measured: same,
        low: same,
        high: same,
        level: 1.0,
        n: values.len(),
        test: "all seeds give the same value: they are not independent".to_owned(),
        p_value: None,
        conclusion: Conclusion::Contradicted,
    })
}

/// The finding that says least for the statement; among equals, that furthest from the prediction.
fn furthest(findings: &[Finding], predicted: f64) -> Finding {
    let order = |f: &Finding| {
        let conclusion = match f.conclusion {
            Conclusion::Holds => 0,
            Conclusion::Undecided => 1,
            Conclusion::Contradicted => 2,
        };
        (conclusion, (f.measured - predicted).abs())
    };
    let mut worst = &findings[0];
    for finding in findings {
        let (a, b) = (order(finding), order(worst));
        if a.0 > b.0 || (a.0 == b.0 && a.1 > b.1) {
            worst = finding;
        }
    }
    worst.clone()
}

/// The p-values of one test are uniform: a Kolmogorov-Smirnov test does not reject it.
fn uniform(lab: &Lab, name: &str, p_values: &[f64]) -> Result<Finding, ClaimError> {
    let test = ks_test(p_values, |p| p.clamp(0.0, 1.0))?;
    let alpha = lab.alpha();
    Ok(Finding {
        what: format!("{name}: distance of the p-values from the uniform law"),
        predicted: Some(0.0),
        measured: test.statistic,
        low: test.statistic,
        high: test.statistic,
        level: 1.0,
        n: p_values.len(),
        test: format!("Kolmogorov-Smirnov at {:.1e}", alpha.get()),
        p_value: Some(test.p_value),
        conclusion: if test.rejects(alpha) { Conclusion::Contradicted } else { Conclusion::Holds },
    })
}

/// What orthogonal, sparse and constant arrays are by construction.
fn structured(lab: &Lab, seeds: usize) -> Result<Vec<Finding>, ClaimError> {
    let shape = WeightShape::dense(24, 16)?;
    let orthogonal = Initializer::Orthogonal { gain: 1.0 };
    let law = orthogonal.law(&shape)?;
    // One entry an array: those of one array depend on each other.
    let draws = 20 * seeds;
    let (mut worst, mut entries) = (0.0f64, Vec::with_capacity(draws));
    for seed in 0..draws {
        let w = weights(lab, &orthogonal, &shape, seed, 100)?;
        entries.push(w[0]);
        for i in 0..16 {
            for j in 0..=i {
                let dot: f64 = (0..24).map(|k| w[i * 24 + k] * w[j * 24 + k]).sum();
                worst = worst.max((dot - f64::from(u8::from(i == j))).abs());
            }
        }
    }
    let test = ks_test(&entries, |x| law.cdf(x))?;
    let entry = Finding {
        what: "orthogonal: distance of an entry's distribution from the declared law".to_owned(),
        predicted: Some(0.0),
        measured: test.statistic,
        low: test.statistic,
        high: test.statistic,
        level: 1.0,
        n: draws,
        test: format!("Kolmogorov-Smirnov at {:.1e}", lab.alpha().get()),
        p_value: Some(test.p_value),
        conclusion: if test.rejects(lab.alpha()) {
            Conclusion::Contradicted
        } else {
            Conclusion::Holds
        },
    };
    let off = Finding {
        what: "orthogonal: largest deviation of a product of rows from 0 or 1".to_owned(),
        predicted: Some(0.0),
        measured: worst,
        low: worst,
        high: worst,
        level: 1.0,
        n: draws,
        test: "below 1e-5 in every array".to_owned(),
        p_value: None,
        conclusion: if worst < 1e-5 { Conclusion::Holds } else { Conclusion::Contradicted },
    };
    let sparse = Initializer::Sparse { sparsity: 0.9, std: 0.5 };
    let wide = WeightShape::dense(INPUTS, OUTPUTS)?;
    // Nine tenths of 160 outputs, in every input's column.
    let mut wrong = 0usize;
    for seed in 0..seeds {
        let w = weights(lab, &sparse, &wide, seed, 101)?;
        wrong += (0..INPUTS)
            .filter(|i| w[*i..].iter().step_by(INPUTS).filter(|w| **w == 0.0).count() != 144)
            .count();
    }
    let columns = "sparse: columns with another number of zeros than 144 of 160";
    Ok(vec![entry, off, exactly(columns, 0.0, wrong as f64, seeds * INPUTS)])
}
