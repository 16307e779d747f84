use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

use crate::{Probability, clopper_pearson_interval};

/// Rate at which one calibration check may fail by chance, over the choice of its fixed seed.
pub(crate) const CHECK: f64 = 1e-6;

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub(crate) fn normal(rng: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    StandardNormal.sample_iter(rng).take(n).collect()
}

pub(crate) fn exponential(rng: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    Exp1.sample_iter(rng).take(n).collect()
}

/// How often `event` happens in `runs` seeded runs.
pub(crate) fn count(runs: u64, mut event: impl FnMut(&mut ChaCha8Rng) -> bool) -> u64 {
    (0..runs).filter(|&seed| event(&mut rng(seed))).count() as u64
}

/// Asserts that an event seen `hits` times in `runs` has probability `rate`, at false-alarm rate
/// [`CHECK`].
pub(crate) fn assert_rate(what: &str, hits: u64, runs: u64, rate: f64) {
    let level = Probability::new(1.0 - CHECK).unwrap();
    let interval = clopper_pearson_interval(hits, runs, level).unwrap();
    assert!(interval.contains(rate), "{what}: rate {rate}, seen {interval}");
}

/// Asserts that an event seen `hits` times in `runs` has probability at most `rate`.
pub(crate) fn assert_rate_at_most(what: &str, hits: u64, runs: u64, rate: f64) {
    let level = Probability::new(1.0 - CHECK).unwrap();
    let interval = clopper_pearson_interval(hits, runs, level).unwrap();
    assert!(interval.low <= rate, "{what}: rate at most {rate}, seen {interval}");
}

/// Asserts that an event seen `hits` times in `runs` has probability at least `rate`.
pub(crate) fn assert_rate_at_least(what: &str, hits: u64, runs: u64, rate: f64) {
    let level = Probability::new(1.0 - CHECK).unwrap();
    let interval = clopper_pearson_interval(hits, runs, level).unwrap();
    assert!(interval.high >= rate, "{what}: rate at least {rate}, seen {interval}");
}

/// Asserts that a test's p-value is below 0.1, 0.01 and 0.001 as often as it says.
pub(crate) fn assert_calibrated(
    what: &str,
    runs: u64,
    p_value: impl FnMut(&mut ChaCha8Rng) -> f64,
) {
    for (alpha, hits) in counts(runs, p_value) {
        assert_rate(&format!("{what} at {alpha}"), hits, runs, alpha);
    }
}

/// As [`assert_calibrated`] for a discrete statistic, whose p-values may only be too large.
pub(crate) fn assert_conservative(
    what: &str,
    runs: u64,
    p_value: impl FnMut(&mut ChaCha8Rng) -> f64,
) {
    for (alpha, hits) in counts(runs, p_value) {
        assert_rate_at_most(&format!("{what} at {alpha}"), hits, runs, alpha);
    }
}

fn counts(runs: u64, mut p_value: impl FnMut(&mut ChaCha8Rng) -> f64) -> [(f64, u64); 3] {
    let p_values: Vec<f64> = (0..runs).map(|seed| p_value(&mut rng(seed))).collect();
    [0.1, 0.01, 0.001].map(|alpha| (alpha, p_values.iter().filter(|&&p| p <= alpha).count() as u64))
}
