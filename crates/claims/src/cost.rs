//! What drawing the weights costs.

use std::hint::black_box;

use cpu_time::ThreadTime;
use gainstage_init::{Key, Purpose, fill};
use gainstage_report::{Axis, Figure, Mark, Panel};
use gainstage_spec::{Initializer, Layout, WeightShape};
use gainstage_stats::slope;

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::significant;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Widths of the square matrices that are drawn.
const WIDTHS: [usize; 4] = [128, 256, 512, 1024];
/// Weights that a reading draws at least, in as many matrices as that takes.
const WEIGHTS: usize = 20_000;
/// A case is read at least so often, and then until it has taken this many seconds.
const LEAST: u32 = 3;
const SECONDS: f64 = 0.04;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "SEL06",
    chapter: Chapter::Choosing,
    statement: "Some initializations cost more to compute than others.",
    source: "Seed document, the considerations after answer 8, 7",
    prediction: "Independent entries cost a constant time each, whatever the law. An orthogonal matrix takes n reflections of n rows: of order n^3 in all, so that \
                 its time per weight grows with n, with a power that tends to 1. Nanoseconds are the machine's; the powers are not.",
    rule: "Time per weight in n x n matrices, n = 128 to 1024: the best of several interleaved readings of the thread's processor time, so that other work on the machine hardly enters; the \
           power is the slope of its logarithm against ln n. Supported if orthogonal's power exceeds 0.3 and it costs more than 5 times what normal does at n = \
           1024, while the powers of uniform, normal and truncated normal lie within 0.3 of 0; refuted if not. Readings are not independent draws of \
           anything, so no error rate is given. Widths and bounds were set after first readings, of which they leave a factor of two.",
    expected: Verdict::Supported,
    planted: &[Plant::NormalForOrthogonal],
    run: cost,
}];

/// Names as drawn, and initializers as text.
const INITS: [(&str, &str); 5] = [
    ("uniform", "he_uniform"),
    ("normal", "he_normal"),
    ("truncated normal", "keras_he_normal"),
    ("sparse", "sparse(sparsity = 0.9, std = 0.01)"),
    ("orthogonal", "orthogonal"),
];

/// Nanoseconds per weight: the best of `rounds` readings (fewer of what takes long), initializer by initializer and width by width.
fn readings(lab: &Lab, rounds: u32) -> Result<Vec<[f64; WIDTHS.len()]>, ClaimError> {
    let mut inits = Vec::new();
    for (_, text) in INITS {
        let init: Initializer = text.parse()?;
        let swap = lab.plant == Some(Plant::NormalForOrthogonal)
            && matches!(init, Initializer::Orthogonal { .. });
        inits.push(if swap { Initializer::lecun_normal() } else { init });
    }
    let mut best = vec![[f64::INFINITY; WIDTHS.len()]; inits.len()];
    let mut spent = vec![[0.0; WIDTHS.len()]; inits.len()];
    let mut out = vec![0.0f32; WIDTHS[WIDTHS.len() - 1].pow(2)];
    for round in 0..rounds {
        for (place, width) in WIDTHS.into_iter().enumerate() {
            let shape = WeightShape::dense(width, width)?;
            let weights = &mut out[..width * width];
            let matrices = WEIGHTS.div_ceil(weights.len());
            for (index, init) in inits.iter().enumerate() {
                if round >= LEAST && spent[index][place] > SECONDS {
                    continue;
                }
                // The thread's own time: what else the machine does enters through its caches only.
                let started = ThreadTime::now();
                for matrix in 0..matrices as u32 {
                    let key = Key::new(lab.seed, Purpose::Weights, round, matrix);
                    fill(init, &shape, Layout::OutIn, key, weights)?;
                    black_box(&mut *weights);
                }
                let seconds = started.elapsed().as_secs_f64();
                let each = 1e9 * seconds / (matrices * weights.len()) as f64;
                spent[index][place] += seconds;
                best[index][place] = best[index][place].min(each);
            }
        }
    }
    Ok(best)
}

/// What was read off a clock: no sample of anything, so that it holds or does not.
pub(crate) fn reading(
    what: String,
    predicted: Option<f64>,
    value: f64,
    good: bool,
    test: &str,
    n: u32,
) -> Finding {
    Finding {
        what,
        predicted,
        measured: value,
        low: value,
        high: value,
        level: 1.0,
        n: n as usize,
        test: test.to_owned(),
        p_value: None,
        conclusion: if good { Conclusion::Holds } else { Conclusion::Contradicted },
    }
}

fn cost(lab: &Lab) -> Result<Outcome, ClaimError> {
    let rounds = lab.budget.pick(14, 30, 100);

    let best = readings(lab, rounds)?;
    let logs = |values: &[f64]| values.iter().map(|v| v.ln()).collect::<Vec<_>>();
    let widths = logs(&WIDTHS.map(|n| n as f64));
    let mut findings = Vec::new();
    for (index, (name, _)) in INITS.into_iter().enumerate() {
        let power = slope(&widths, &logs(&best[index]))?;
        let what = format!("{name}: power of n in the time per weight");
        match name {
            // Its choice of the zeros sorts every column, which is no matter of the law.
            "sparse" => {}
            "orthogonal" => {
                findings.push(reading(what, Some(1.0), power, power > 0.3, "above 0.3", rounds));
            }
            _ => {
                let flat = power.abs() < 0.3;
                findings.push(reading(what, Some(0.0), power, flat, "within 0.3 of 0", rounds));
            }
        }
    }
    let last = WIDTHS.len() - 1;
    let ratio = best[4][last] / best[1][last];
    let what = format!("orthogonal over normal at n = {}: time per weight", WIDTHS[last]);
    findings.push(reading(what, None, ratio, ratio > 5.0, "above 5", rounds));
    let mut panel = Panel::new("", Axis::log10("n"), Axis::log10("nanoseconds per weight"));
    for (index, (name, _)) in INITS.into_iter().enumerate() {
        let line = WIDTHS.iter().zip(best[index]).map(|(n, t)| (*n as f64, t)).collect();
        panel.marks.push(Mark::line(name, index + 1, line));
    }
    let text = format!(
        "Time per weight of an n × n matrix in single precision, one thread, best of up to {rounds} readings. At n = {}: normal {} ns, orthogonal {} ns.",
        WIDTHS[last],
        significant(best[1][last]),
        significant(best[4][last])
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "At n = {} a weight took {} ns uniform, {} ns normal, {} ns truncated normal and {} ns orthogonal, {} times as long as normal; orthogonal's time \
             per weight grew like n^{}.",
            WIDTHS[last],
            significant(best[0][last]),
            significant(best[1][last]),
            significant(best[2][last]),
            significant(best[4][last]),
            significant(ratio),
            significant(findings[3].measured),
        ),
        experiment: format!(
            "n x n matrices, n from {} to {}, up to {rounds} interleaved readings of at least {WEIGHTS} weights each, on the machine of this report",
            WIDTHS[0], WIDTHS[last],
        ),
        figures: vec![
            Figure::new(
                "SEL06-cost",
                "Orthogonal matrices cost more, and more so when large",
                text,
            )
            .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}
