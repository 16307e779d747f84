//! Every kind of test in `gainstage-stats` and every kind of finding in the ledger, with a true null.

use gainstage_stats as stats;
use gainstage_stats::{Probability, StatsError};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::calibration::{Draws, RATE};
use crate::claim::{Conclusion, Finding};
use crate::comparison::{paired_equal, paired_greater};
use crate::draws::{count_finding, variance_finding};
use crate::signal::equality;
use crate::{ClaimError, Lab};

/// What an instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A test whose alarm is a rejection.
    Test,
    /// An interval whose alarm is a miss.
    Interval,
    /// A finding of the ledger whose alarm is a wrong conclusion.
    Finding,
}

/// Something that can be wrong.
pub(crate) struct Instrument {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    /// What is true, and what counts as an alarm.
    pub(crate) null: &'static str,
    /// Whether one run gives an alarm, with an error of this size: standard errors for tests, standard
    /// errors beyond the margin's edge for findings.
    pub(crate) alarm: fn(&mut Draws, &Lab, f64) -> Result<bool, ClaimError>,
}

/// Values in a sample of means.
const N: usize = 40;
/// Values where a test asks for more.
const MANY: usize = 200;

fn rate() -> Result<Probability, StatsError> {
    Probability::new(RATE)
}

fn level() -> Result<Probability, StatsError> {
    Probability::new(1.0 - RATE)
}

/// The standard error of a mean of `N` values of variance 1.
fn unit() -> f64 {
    1.0 / (N as f64).sqrt()
}

fn contradicted(finding: &Finding) -> bool {
    finding.conclusion == Conclusion::Contradicted
}

fn holds(finding: &Finding) -> bool {
    finding.conclusion == Conclusion::Holds
}

const fn test(
    name: &'static str,
    null: &'static str,
    alarm: fn(&mut Draws, &Lab, f64) -> Result<bool, ClaimError>,
) -> Instrument {
    Instrument { kind: Kind::Test, name, null, alarm }
}

const fn interval(
    name: &'static str,
    null: &'static str,
    alarm: fn(&mut Draws, &Lab, f64) -> Result<bool, ClaimError>,
) -> Instrument {
    Instrument { kind: Kind::Interval, name, null, alarm }
}

const fn finding(
    name: &'static str,
    null: &'static str,
    alarm: fn(&mut Draws, &Lab, f64) -> Result<bool, ClaimError>,
) -> Instrument {
    Instrument { kind: Kind::Finding, name, null, alarm }
}

/// All of them, in the order of the report.
pub(crate) fn instruments() -> Vec<Instrument> {
    vec![
        test("z-test", "40 normals of the tested mean; rejected", |d, _, e| {
            Ok(stats::mean_test(&d.moments(N, e * unit(), 1.0)?, 0.0, 1.0)?.rejects(rate()?))
        }),
        test("t-test", "40 normals of the tested mean; rejected", |d, _, e| {
            Ok(stats::t_test(&d.moments(N, e * unit(), 1.0)?, 0.0)?.rejects(rate()?))
        }),
        test("paired t-test", "40 pairs of equal means; rejected", |d, _, e| {
            let (second, apart) = (d.normals(N)?, d.around(N, e * unit(), 1.0)?);
            let first: Vec<f64> = second.iter().zip(&apart).map(|(s, a)| s + a).collect();
            Ok(stats::paired_t_test(&first, &second)?.rejects(rate()?))
        }),
        test(
            "Welch's test",
            "40 and 40 normals of std 1 and 3, equal means; rejected",
            |d, _, e| {
                let shift = e * unit() * 10f64.sqrt();
                let (a, b) = (d.moments(N, shift, 1.0)?, d.moments(N, 0.0, 3.0)?);
                Ok(stats::welch_test(&a, &b)?.rejects(rate()?))
            },
        ),
        test("sign test", "40 pairs, either larger as often; rejected", |d, _, e| {
            let (first, second) = (d.around(N, e * unit(), 1.0)?, vec![0.0; N]);
            Ok(stats::sign_test(&first, &second)?.rejects(rate()?))
        }),
        test("Kolmogorov-Smirnov", "40 draws of the tested law; rejected", |d, _, e| {
            let normal = Normal::standard();
            let values = d.around(N, e * unit(), 1.0)?;
            Ok(stats::ks_test(&values, |x| normal.cdf(x))?.rejects(rate()?))
        }),
        test(
            "Kolmogorov-Smirnov, two samples",
            "40 and 40 draws of one law; rejected",
            |d, _, e| {
                let (a, b) = (d.around(N, e * unit() * 2f64.sqrt(), 1.0)?, d.normals(N)?);
                Ok(stats::ks_two_sample_test(&a, &b)?.rejects(rate()?))
            },
        ),
        test("chi-square", "200 draws in five bins of 40 expected; rejected", |d, _, e| {
            let normal = Normal::standard();
            let mut counts = [0u64; 5];
            for x in d.around(MANY, e / (MANY as f64).sqrt(), 1.0)? {
                counts[((5.0 * normal.cdf(x)) as usize).min(4)] += 1;
            }
            Ok(stats::chi_square_test(&counts, &[0.2; 5], 0)?.rejects(rate()?))
        }),
        test("correlation test", "40 pairs of the tested correlation 0; rejected", |d, _, e| {
            let rho = (e / (N as f64 - 3.0).sqrt()).tanh();
            let (x, z) = (d.normals(N)?, d.normals(N)?);
            let mixed = |(x, z): (&f64, &f64)| rho * x + (1.0 - rho * rho).sqrt() * z;
            let y: Vec<f64> = x.iter().zip(&z).map(mixed).collect();
            Ok(stats::correlation_test(&x, &y, 0.0)?.rejects(rate()?))
        }),
        test("variance test", "200 normals of the tested variance; rejected", |d, _, e| {
            let std = (1.0 + e * (2.0 / MANY as f64).sqrt()).sqrt();
            Ok(stats::variance_test(&d.moments(MANY, 0.0, std)?, 1.0, 3.0)?.rejects(rate()?))
        }),
        test(
            "second moment test",
            "200 normals of the tested second moment; rejected",
            |d, _, e| {
                let std = (1.0 + e * (2.0 / MANY as f64).sqrt()).sqrt();
                Ok(stats::second_moment_test(&d.moments(MANY, 0.0, std)?, 1.0, 3.0)?
                    .rejects(rate()?))
            },
        ),
        test(
            "Holm, 20 tests",
            "20 t-tests of true means, the first with the error; any rejected",
            |d, _, e| {
                let p_values = (0..20)
                    .map(|i| {
                        let shift = if i == 0 { e * unit() } else { 0.0 };
                        Ok(stats::t_test(&d.moments(10, shift * 2.0, 1.0)?, 0.0)?.p_value)
                    })
                    .collect::<Result<Vec<f64>, ClaimError>>()?;
                Ok(stats::holm(&p_values)?.iter().any(|p| *p <= RATE))
            },
        ),
        interval("mean", "40 normals; true mean outside", |d, _, _| {
            Ok(!stats::mean_interval(&d.moments(N, 1.0, 1.0)?, level()?)?.contains(1.0))
        }),
        interval("geometric mean", "exponentials of 40 normals; true one outside", |d, _, _| {
            let values: Vec<f64> = d.normals(N)?.iter().map(|z| z.exp()).collect();
            Ok(!stats::geometric_mean_interval(&values, level()?)?.contains(1.0))
        }),
        interval("variance", "200 normals; true variance outside", |d, _, _| {
            Ok(!stats::variance_interval(&d.moments(MANY, 0.0, 1.0)?, 3.0, level()?)?.contains(1.0))
        }),
        interval("median", "40 normals; true median outside", |d, _, _| {
            let half = Probability::new(0.5)?;
            Ok(!stats::quantile_interval(&d.normals(N)?, half, level()?)?.contains(0.0))
        }),
        interval("share, Wilson", "200 events of probability 0.3; it lies outside", |d, _, _| {
            let hits = d.hits(MANY, 0.3)? as u64;
            Ok(!stats::wilson_interval(hits, MANY as u64, level()?)?.contains(0.3))
        }),
        interval(
            "share, Clopper-Pearson",
            "200 events of probability 0.3; it lies outside",
            |d, _, _| {
                let hits = d.hits(MANY, 0.3)? as u64;
                Ok(!stats::clopper_pearson_interval(hits, MANY as u64, level()?)?.contains(0.3))
            },
        ),
        interval("slope", "12 lines of 8 points; true slope outside", |d, _, _| {
            let x: Vec<f64> = (0..8).map(f64::from).collect();
            let lines = (0..12)
                .map(|_| Ok(x.iter().zip(d.normals(8)?).map(|(x, z)| 0.3 * x + z).collect()))
                .collect::<Result<Vec<Vec<f64>>, ClaimError>>()?;
            Ok(!stats::slope_interval(&x, &lines, level()?)?.contains(0.3))
        }),
        finding(
            "equality \"holds\"",
            "mean off by the margin (4 standard errors); called equal",
            |d, lab, e| {
                let margin = 4.0 * unit();
                let values = d.around(N, margin - e * unit(), 1.0)?;
                Ok(holds(&equality(lab, String::new(), &values, 0.0, margin)?))
            },
        ),
        finding(
            "equality \"contradicted\"",
            "mean off by the margin; called different",
            |d, lab, e| {
                let margin = 4.0 * unit();
                let values = d.around(N, margin + e * unit(), 1.0)?;
                Ok(contradicted(&equality(lab, String::new(), &values, 0.0, margin)?))
            },
        ),
        finding("pairs \"equal\"", "paired means off by the margin; called equal", |d, lab, e| {
            let margin = 4.0 * unit();
            let (second, apart) = (d.normals(N)?, d.around(N, margin - e * unit(), 1.0)?);
            let first: Vec<f64> = second.iter().zip(&apart).map(|(s, a)| s + a).collect();
            Ok(holds(&paired_equal(lab, "", &first, &second, margin)?))
        }),
        finding(
            "pairs \"greater\"",
            "paired difference exactly the least asked for; called greater",
            |d, lab, e| {
                let (second, apart) = (d.normals(N)?, d.around(N, 1.0 + e * unit(), 1.0)?);
                let first: Vec<f64> = second.iter().zip(&apart).map(|(s, a)| s + a).collect();
                Ok(holds(&paired_greater(lab, "", &first, &second, 1.0)?))
            },
        ),
        finding(
            "two samples \"equal\"",
            "means of 40 and 40 off by the margin; called equal",
            |d, _, e| {
                let error = unit() * 10f64.sqrt();
                let margin = 4.0 * error;
                let (a, b) = (d.moments(N, margin - e * error, 1.0)?, d.moments(N, 0.0, 3.0)?);
                Ok(stats::equivalence_welch(&a, &b, margin, rate()?)?.is_equivalent())
            },
        ),
        finding(
            "variance \"holds\"",
            "variance of 200 too large by the margin of 40%; called equal",
            |d, lab, e| {
                // At variance 1 its standard error is a tenth.
                let values = d.around(MANY, 0.0, (1.4 - 0.1 * e).sqrt())?;
                Ok(holds(&variance_finding(lab, String::new(), &values, 3.0, 1.0, 0.4)?))
            },
        ),
        finding(
            "variance \"contradicted\"",
            "variance of 200 too large by the margin; called different",
            |d, lab, e| {
                let values = d.around(MANY, 0.0, (1.4 + 0.14 * e).sqrt())?;
                Ok(contradicted(&variance_finding(lab, String::new(), &values, 3.0, 1.0, 0.4)?))
            },
        ),
        finding(
            "share \"holds\"",
            "share of 200 off by the margin of 0.13; called equal",
            |d, lab, e| {
                let error = (0.43 * 0.57 / MANY as f64).sqrt();
                let hits = d.hits(MANY, 0.43 - e * error)?;
                Ok(holds(&count_finding(lab, String::new(), hits, MANY, 0.3, 0.13)?))
            },
        ),
        finding(
            "share \"contradicted\"",
            "share of 200 off by the margin; called different",
            |d, lab, e| {
                let error = (0.43 * 0.57 / MANY as f64).sqrt();
                let hits = d.hits(MANY, 0.43 + e * error)?;
                Ok(contradicted(&count_finding(lab, String::new(), hits, MANY, 0.3, 0.13)?))
            },
        ),
    ]
}
