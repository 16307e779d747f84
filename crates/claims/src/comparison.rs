//! Two ways of starting, compared over the same seeds.

use gainstage_stats::{Conclusion as Shown, Moments, equivalence_paired, mean_interval, t_test};

use crate::claim::{Conclusion, Finding};
use crate::figures::significant;
use crate::{ClaimError, Lab};

/// Equivalence of the means of pairs: `first - second` lies within `margin` of 0 (two one-sided t-tests).
///
/// Pairs that agree to the last bit hold without a test.
pub(crate) fn paired_equal(
    lab: &Lab,
    what: impl Into<String>,
    first: &[f64],
    second: &[f64],
    margin: f64,
) -> Result<Finding, ClaimError> {
    let alpha = lab.alpha();
    let differences = differences(first, second);
    let mut finding = Finding {
        what: what.into(),
        predicted: Some(0.0),
        measured: differences.mean(),
        low: differences.min(),
        high: differences.max(),
        level: 1.0,
        n: differences.count() as usize,
        test: format!("every pair differs by the same, margin {margin}"),
        p_value: None,
        conclusion: if differences.mean().abs() < margin {
            Conclusion::Holds
        } else {
            Conclusion::Contradicted
        },
    };
    if differences.population_variance() > 0.0 {
        let test = equivalence_paired(first, second, margin, alpha)?;
        (finding.low, finding.high) = (test.difference.low, test.difference.high);
        finding.level = test.difference.level.get();
        finding.test =
            format!("paired two one-sided t-tests at {:.1e}, margin {margin}", alpha.get());
        finding.p_value = Some(test.p_value);
        finding.conclusion = match test.conclusion {
            Shown::Equivalent => Conclusion::Holds,
            Shown::Different => Conclusion::Contradicted,
            Shown::Undecided => Conclusion::Undecided,
        };
    }
    Ok(finding)
}

/// `first - second` is above `least` in the mean: holds if shown so by a one-sided paired t-test, is
/// contradicted if the mean is shown to be below `least`.
pub(crate) fn paired_greater(
    lab: &Lab,
    what: impl Into<String>,
    first: &[f64],
    second: &[f64],
    least: f64,
) -> Result<Finding, ClaimError> {
    let alpha = lab.alpha().get();
    let differences = differences(first, second);
    let above = if differences.population_variance() > 0.0 {
        let test = t_test(&differences, least)?;
        if test.statistic > 0.0 { 0.5 * test.p_value } else { 1.0 - 0.5 * test.p_value }
    } else {
        // Pairs without spread: the comparison is exact.
        f64::from(u8::from(differences.mean() <= least))
    };
    let level = gainstage_stats::Probability::new(1.0 - 2.0 * alpha)?;
    let interval = mean_interval(&differences, level)?;
    Ok(Finding {
        what: what.into(),
        predicted: None,
        measured: interval.estimate,
        low: interval.low,
        high: interval.high,
        level: level.get(),
        n: differences.count() as usize,
        test: format!("one-sided paired t-test at {alpha:.1e}: above {least}"),
        p_value: Some(above),
        conclusion: if above < alpha {
            Conclusion::Holds
        } else if 1.0 - above < alpha {
            Conclusion::Contradicted
        } else {
            Conclusion::Undecided
        },
    })
}

/// Something that every one of `n` seeds must show.
pub(crate) fn in_every_seed(what: impl Into<String>, good: usize, n: usize) -> Finding {
    Finding {
        what: what.into(),
        predicted: Some(n as f64),
        measured: good as f64,
        low: good as f64,
        high: good as f64,
        level: 1.0,
        n,
        test: "in every seed".to_owned(),
        p_value: None,
        conclusion: if good == n { Conclusion::Holds } else { Conclusion::Contradicted },
    }
}

/// Of few seeds whose spread cannot be told: the mean of `first - second` lies above `least`. The interval is the
/// range of the seeds.
pub(crate) fn mean_greater(
    what: impl Into<String>,
    first: &[f64],
    second: &[f64],
    least: f64,
) -> Finding {
    let differences = differences(first, second);
    let holds = differences.mean() > least;
    Finding {
        what: what.into(),
        predicted: None,
        measured: differences.mean(),
        low: differences.min(),
        high: differences.max(),
        level: 1.0,
        n: differences.count() as usize,
        test: format!("the seeds' mean above {}, with their range", significant(least)),
        p_value: None,
        conclusion: if holds { Conclusion::Holds } else { Conclusion::Contradicted },
    }
}

fn differences(first: &[f64], second: &[f64]) -> Moments {
    first.iter().zip(second).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Budget;

    fn lab() -> Lab {
        let split =
            || gainstage_data::Split { width: 2, height: 2, pixels: vec![0; 4], labels: vec![0] };
        let data = gainstage_data::Dataset {
            name: "none".to_owned(),
            source: "drawn here".to_owned(),
            classes: 2,
            train: split(),
            test: split(),
        };
        Lab::new(1, Budget::Quick, Arc::new(data), Arc::new(|_: &str| ()))
    }

    #[test]
    fn pairs_are_equal_greater_or_neither() {
        let lab = lab();
        let base: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.1).collect();
        let shifted = |by: f64| -> Vec<f64> {
            base.iter().enumerate().map(|(i, x)| x + by + 0.001 * (i % 3) as f64).collect()
        };
        let equal = |by, margin| {
            paired_equal(&lab, "", &shifted(by), &base, margin).expect("finite").conclusion
        };
        assert_eq!(equal(0.0, 0.01), Conclusion::Holds);
        assert_eq!(equal(0.05, 0.01), Conclusion::Contradicted);
        assert_eq!(equal(0.009, 0.01), Conclusion::Undecided);
        let greater = |by, least| {
            paired_greater(&lab, "", &shifted(by), &base, least).expect("finite").conclusion
        };
        assert_eq!(greater(0.05, 0.01), Conclusion::Holds);
        assert_eq!(greater(0.0, 0.01), Conclusion::Contradicted);
        assert_eq!(greater(0.009, 0.01), Conclusion::Undecided);
        // Pairs without spread are compared exactly.
        let same = paired_equal(&lab, "", &base, &base, 0.01).expect("finite");
        assert_eq!((same.conclusion, same.p_value), (Conclusion::Holds, None));
    }
}
