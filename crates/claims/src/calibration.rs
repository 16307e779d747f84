//! The instruments under test: how often each test and each finding of the ledger is wrong where the truth
//! is known, and how large an error it sees.

use std::time::Instant;

use gainstage_init::{Key, Purpose};
use gainstage_spec::{Initializer, Layout, WeightShape};
use gainstage_stats::{Moments, Probability, clopper_pearson_interval};
use rayon::prelude::*;
use serde::Serialize;

use crate::instruments::{Instrument, Kind, instruments};
use crate::{ClaimError, Lab};

/// The rate at which every instrument is tried: the ledger's own is too small to be seen in any number
/// of runs that one would wait for.
pub(crate) const RATE: f64 = 0.05;

/// Probability that any instrument that keeps its rate is shown to exceed it.
const FAMILY: f64 = 0.01;

/// Sizes of an error at which power is measured, in the unit of the instrument.
pub(crate) const ERRORS: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

/// One instrument's rates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// The test, interval or finding.
    pub instrument: &'static str,
    /// What is true in every run of the null, and what counts as an alarm.
    pub null: &'static str,
    /// The share of alarms that is promised not to be exceeded.
    pub nominal: f64,
    /// Number of independent runs.
    pub runs: usize,
    /// Share of runs with an alarm.
    pub rate: f64,
    /// Clopper-Pearson interval of that share, simultaneous over all instruments at 99%.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the rate is not shown to exceed the promise.
    pub keeps: bool,
    /// Size of an error in the instrument's unit, and the share of runs that see it; empty for intervals.
    pub power: Vec<(f64, f64)>,
    #[serde(skip)]
    pub(crate) kind: Kind,
}

/// All instruments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// In the order of the report.
    pub instruments: Vec<Calibrated>,
    /// Runs of each size of error.
    pub power_runs: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Runs every instrument a thousand times or more under a true null, and some hundred times under errors
/// of several sizes.
///
/// # Errors
/// [`ClaimError`] if an instrument refuses its data.
pub fn calibrate(lab: &Lab) -> Result<Calibration, ClaimError> {
    let started = Instant::now();
    let lab = Lab { rate: Probability::new(RATE)?, ..lab.clone() };
    let runs = lab.budget.pick(2000, 5000, 20_000);
    let power_runs = lab.budget.pick(400, 1000, 4000);
    let all = instruments();
    let level = Probability::new(1.0 - FAMILY / all.len() as f64)?;
    let calibrated = all.iter().enumerate().map(|(index, instrument)| {
        let share = |error: f64, runs: usize| share(&lab, instrument, index, error, runs);
        let alarms = share(0.0, runs)?;
        let interval = clopper_pearson_interval(alarms as u64, runs as u64, level)?;
        let errors: &[f64] = if instrument.kind == Kind::Interval { &[] } else { &ERRORS };
        let power = errors
            .iter()
            .map(|&error| Ok((error, share(error, power_runs)? as f64 / power_runs as f64)));
        Ok(Calibrated {
            instrument: instrument.name,
            null: instrument.null,
            nominal: RATE,
            runs,
            rate: interval.estimate,
            low: interval.low,
            high: interval.high,
            keeps: interval.low <= RATE,
            power: power.collect::<Result<_, ClaimError>>()?,
            kind: instrument.kind,
        })
    });
    let instruments = calibrated.collect::<Result<_, ClaimError>>()?;
    Ok(Calibration { instruments, power_runs, seconds: started.elapsed().as_secs_f64() })
}

/// Number of runs with an alarm.
fn share(
    lab: &Lab,
    instrument: &Instrument,
    index: usize,
    error: f64,
    runs: usize,
) -> Result<usize, ClaimError> {
    let alarms = (0..runs as u32).into_par_iter().map(|run| {
        // Every size of error has draws of its own.
        let stream = (index * 1000) as u32 + 100 * error as u32;
        let mut draws = Draws { seed: lab.seed_for("calibration"), run, stream };
        (instrument.alarm)(&mut draws, lab, error).map(usize::from)
    });
    alarms.sum()
}

/// The numbers of one run.
pub(crate) struct Draws {
    seed: u64,
    run: u32,
    stream: u32,
}

impl Draws {
    fn fill(&mut self, init: &Initializer, n: usize) -> Result<Vec<f64>, ClaimError> {
        let key = Key::new(self.seed, Purpose::Application, self.run, self.stream);
        self.stream += 1;
        let mut out = vec![0.0; n];
        gainstage_init::fill_f64(init, &WeightShape::dense(n, 1)?, Layout::OutIn, key, &mut out)?;
        Ok(out)
    }

    /// Standard normals; every call has others.
    pub(crate) fn normals(&mut self, n: usize) -> Result<Vec<f64>, ClaimError> {
        self.fill(&Initializer::normal(1.0), n)
    }

    /// Normals of this mean and standard deviation.
    pub(crate) fn around(&mut self, n: usize, mean: f64, std: f64) -> Result<Vec<f64>, ClaimError> {
        Ok(self.normals(n)?.iter().map(|z| mean + std * z).collect())
    }

    /// Their moments.
    pub(crate) fn moments(&mut self, n: usize, mean: f64, std: f64) -> Result<Moments, ClaimError> {
        Ok(Moments::from(self.around(n, mean, std)?.as_slice()))
    }

    /// How many of `n` events of probability `p` happen.
    pub(crate) fn hits(&mut self, n: usize, p: f64) -> Result<usize, ClaimError> {
        let uniforms = self.fill(&Initializer::Uniform { low: 0.0, high: 1.0 }, n)?;
        Ok(uniforms.iter().filter(|u| **u < p).count())
    }
}
