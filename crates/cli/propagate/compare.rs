//! `--method both`: the two methods side by side.

use std::time::Instant;

use gainstage_report::{Cell, Section, Table};
use gainstage_simulate::{LayerDraw, Measured, Method, Setup, measure_with_progress};
use gainstage_spec::Network;
use gainstage_stats::ks_two_sample_test;
use serde::Serialize;

use super::answer::FAMILY_RATE;

/// Whether draws without matrices follow the law of draws of every weight here, and what they save.
#[derive(Clone, Serialize)]
pub(crate) struct Comparison {
    /// Seconds of all draws, on the run's threads.
    dense_seconds: f64,
    matrix_free_seconds: f64,
    /// How many times as fast draws without matrices are.
    times_as_fast: f64,
    /// Two-sample Kolmogorov-Smirnov tests of one input's second moments: three signals of every layer,
    /// and the last forward times the first backward, which ties the passes together.
    tests: usize,
    /// Signals that are the same number in every draw, or not finite in some.
    left_out: usize,
    smallest_p_value: f64,
    /// Probability that any of the tests errs.
    false_alarm_rate: f64,
    pub(crate) agrees: bool,
}

/// Measures by `setup.method` and by the other one.
pub(super) fn measure_both(
    network: &Network,
    setup: &Setup,
    progress: &(dyn Fn() + Sync),
) -> anyhow::Result<(Measured, Comparison)> {
    let timed = |method| -> anyhow::Result<(Measured, f64)> {
        let start = Instant::now();
        let setup = Setup { method, ..setup.clone() };
        let measured = measure_with_progress(network, &setup, progress)?;
        Ok((measured, start.elapsed().as_secs_f64()))
    };
    // First what may not be exact here, and then is refused.
    let (free, matrix_free_seconds) = timed(Method::MatrixFree)?;
    let (dense, dense_seconds) = timed(Method::Dense)?;
    let (mut tests, mut left_out, mut smallest) = (0, 0, 1.0f64);
    for (a, b) in signals(&dense).iter().zip(&signals(&free)) {
        if is_constant(a) && is_constant(b) || a.iter().chain(b).any(|v| !v.is_finite()) {
            left_out += 1;
            continue;
        }
        tests += 1;
        smallest = smallest.min(ks_two_sample_test(a, b)?.p_value);
    }
    let comparison = Comparison {
        dense_seconds,
        matrix_free_seconds,
        times_as_fast: dense_seconds / matrix_free_seconds,
        tests,
        left_out,
        smallest_p_value: smallest,
        false_alarm_rate: FAMILY_RATE,
        agrees: smallest >= FAMILY_RATE / tests.max(1) as f64,
    };
    let measured = if setup.method == Method::Dense { dense } else { free };
    Ok((measured, comparison))
}

/// Logarithms of the first input's second moments over draws.
fn signals(measured: &Measured) -> Vec<Vec<f64>> {
    let of = [
        |d: &LayerDraw| d.forward.first.ln(),
        |d: &LayerDraw| d.gradient.first.ln(),
        |d: &LayerDraw| d.weight_gradient.first.ln(),
    ];
    let layers = &measured.layers;
    let mut all: Vec<Vec<f64>> =
        layers.iter().flat_map(|layer| of.iter().map(|of| layer.values(of))).collect();
    if let (Some(first), Some(last)) = (layers.first(), layers.last()) {
        let ends = last.values(of[0]).into_iter().zip(first.values(of[1]));
        all.push(ends.map(|(z, delta)| z + delta).collect());
    }
    all
}

/// Up to rounding, which differs between the methods.
fn is_constant(logs: &[f64]) -> bool {
    logs.iter().all(|l| (l - logs[0]).abs() < 1e-5)
}

impl Comparison {
    pub(super) fn sentence(&self) -> String {
        format!(
            "Draws without matrices are {} in law with draws of every weight (smallest p-value {:.2e} of {} two-sample tests at a family-wise rate of {:.1e}) and {:.1} times as fast here.",
            if self.agrees { "at one" } else { "NOT at one" },
            self.smallest_p_value,
            self.tests,
            self.false_alarm_rate,
            self.times_as_fast
        )
    }

    pub(super) fn section(&self, trials: usize) -> Section {
        let mut section = Section::new("exact", "Exact without matrices");
        section.paragraph(self.sentence());
        section.paragraph(
            "A network meets its weights only in W h and W' delta. For Gaussian and orthogonal weights both have a known joint law given the batch, so they are drawn themselves: the documentation of gainstage-simulate has the argument.",
        );
        let columns = ["method", "draws", "seconds a draw", "times as fast"];
        let mut table = Table::new("methods", "Both methods, on the run's threads", &columns);
        for (name, seconds) in
            [("dense", self.dense_seconds), ("matrix-free", self.matrix_free_seconds)]
        {
            table.push(vec![
                Cell::text(name),
                Cell::count(trials),
                Cell::number(seconds / trials as f64),
                Cell::number(self.dense_seconds / seconds),
            ]);
        }
        section.table(table);
        section
    }
}
