use thiserror::Error;

/// Why an instrument refuses its input.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum StatsError {
    /// A parameter outside its domain.
    #[error("{what} is {value}; it must be {bound}")]
    Domain {
        /// The parameter.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The condition it violates.
        bound: &'static str,
    },
    /// A value that is NaN or infinite.
    #[error(
        "{what}[{index}] is {value}; report values that are not finite apart, then leave them out"
    )]
    NotFinite {
        /// The sample.
        what: &'static str,
        /// Position in the sample.
        index: usize,
        /// NaN or an infinity.
        value: f64,
    },
    /// Moments that met NaN or infinite values.
    #[error(
        "{count} of {of} values are NaN or infinite; that is the finding, a test would hide it"
    )]
    NotFiniteMoments {
        /// Values that are NaN or infinite.
        count: u64,
        /// All values.
        of: u64,
    },
    /// Too little data for the instrument to be defined or trusted.
    #[error("{what} needs at least {needed} values and got {got}; draw more")]
    TooFew {
        /// The instrument.
        what: &'static str,
        /// The least that it takes.
        needed: u64,
        /// What it was given.
        got: u64,
    },
    /// Paired samples of unequal length.
    #[error("paired samples have {left} and {right} values; pairs need as many of each")]
    Lengths {
        /// Values in the first sample.
        left: usize,
        /// Values in the second sample.
        right: usize,
    },
    /// Data without spread, whose standard error is zero.
    #[error("{what} has no spread: all values are equal; compare the value itself")]
    NoSpread {
        /// The sample.
        what: &'static str,
    },
    /// A direction asked of a test that has none.
    #[error("the {test} test has no direction; use its two-sided p-value")]
    NoDirection {
        /// The test's name.
        test: String,
    },
    /// Histograms over different edges.
    #[error("histograms with different edges cannot be merged; build both with the same edges")]
    Edges,
    /// A planned test of the distribution, asked of moments.
    #[error(
        "moments do not determine the distribution; hand the statistic of ks_test to Planned::check"
    )]
    NotInMoments,
    /// A sample too small for what the test promises to see.
    #[error(
        "{got} values cannot show an effect of {effect:e} in the {property} with false-alarm rate {false_alarm:e} and miss rate {miss:e}; {needed} can"
    )]
    Underpowered {
        /// The property under test.
        property: &'static str,
        /// The effect that must be seen, in the property's unit.
        effect: f64,
        /// Values that suffice.
        needed: u64,
        /// Values planned.
        got: u64,
        /// Rate of false alarms.
        false_alarm: f64,
        /// Rate of misses.
        miss: f64,
    },
}

/// `value` if it is finite.
pub(crate) fn finite(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(StatsError::Domain { what, value, bound: "finite" })
    }
}

/// `value` if it is finite and above zero.
pub(crate) fn positive(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(StatsError::Domain { what, value, bound: "finite and above 0" })
    }
}

/// A kurtosis: at least 1 for every law (Jensen).
pub(crate) fn kurtosis(value: f64) -> Result<f64, StatsError> {
    if value.is_finite() && value >= 1.0 {
        Ok(value)
    } else {
        Err(StatsError::Domain { what: "kurtosis", value, bound: "finite and at least 1" })
    }
}

/// A kurtosis for which the second moment has an error: 1 belongs to the sign law alone.
pub(crate) fn kurtosis_above_one(value: f64) -> Result<f64, StatsError> {
    if value.is_finite() && value > 1.0 {
        Ok(value)
    } else {
        Err(StatsError::Domain { what: "kurtosis", value, bound: "finite and above 1" })
    }
}

/// Refuses a sample with NaN or infinities, or with fewer than `needed` values.
pub(crate) fn sample(what: &'static str, values: &[f64], needed: u64) -> Result<(), StatsError> {
    if let Some(index) = values.iter().position(|v| !v.is_finite()) {
        return Err(StatsError::NotFinite { what, index, value: values[index] });
    }
    let got = values.len() as u64;
    if got < needed { Err(StatsError::TooFew { what, needed, got }) } else { Ok(()) }
}

/// The differences of pairs, refusing unequal lengths and values that are not finite.
pub(crate) fn differences(a: &[f64], b: &[f64]) -> Result<Vec<f64>, StatsError> {
    if a.len() != b.len() {
        return Err(StatsError::Lengths { left: a.len(), right: b.len() });
    }
    sample("first sample", a, 0)?;
    sample("second sample", b, 0)?;
    Ok(a.iter().zip(b).map(|(x, y)| x - y).collect())
}
