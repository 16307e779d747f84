use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::StatsError;

/// The outcome of a test of a null hypothesis.
///
/// Effect size and p-value answer different questions: how large, and how surprising under the null.
/// A report needs both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The test, as a statistician would say it.
    pub name: Cow<'static, str>,
    /// The test statistic.
    pub statistic: f64,
    /// Probability, under the null hypothesis, of a statistic at least as extreme.
    pub p_value: f64,
    /// Values (pairs, for a paired test) that entered.
    pub n: u64,
    /// Size of the effect, in the unit [`effect_unit`](Self::effect_unit).
    pub effect: f64,
    /// What the effect is measured in.
    pub effect_unit: Cow<'static, str>,
    /// True if the sign of the statistic is the direction of the effect.
    pub signed: bool,
}

/// The direction of a one-sided alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first sample, or the sample, is larger.
    Greater,
    /// The first sample, or the sample, is smaller.
    Less,
}

impl Test {
    pub(crate) fn new(
        name: &'static str,
        statistic: f64,
        p_value: f64,
        n: u64,
        effect: (f64, &'static str),
        signed: bool,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            statistic,
            p_value: p_value.clamp(0.0, 1.0),
            n,
            effect: effect.0,
            effect_unit: Cow::Borrowed(effect.1),
            signed,
        }
    }

    /// True if the null hypothesis is rejected at false-alarm rate `alpha`.
    pub fn rejects(&self, alpha: crate::Probability) -> bool {
        self.p_value <= alpha.get()
    }

    /// The one-sided test of the same null against one direction, chosen before seeing the data.
    ///
    /// # Errors
    /// [`StatsError::NoDirection`] for a statistic without sign, such as a distance.
    ///
    /// # Example
    /// ```
    /// use gainstage_stats::{Moments, Side, t_test};
    /// let both = t_test(&Moments::from(&[0.9, 1.1, 1.3][..]), 1.0)?;
    /// let (p, q) = (both.one_sided(Side::Greater)?.p_value, both.one_sided(Side::Less)?.p_value);
    /// assert_eq!(p, both.p_value / 2.0);
    /// assert_eq!(p + q, 1.0);
    /// # Ok::<(), gainstage_stats::StatsError>(())
    /// ```
    pub fn one_sided(&self, side: Side) -> Result<Self, StatsError> {
        if !self.signed {
            return Err(StatsError::NoDirection { test: self.name.to_string() });
        }
        let towards = match side {
            Side::Greater => self.statistic >= 0.0,
            Side::Less => self.statistic <= 0.0,
        };
        let half = 0.5 * self.p_value;
        Ok(Self {
            name: Cow::Owned(format!(
                "{} ({})",
                self.name,
                if side == Side::Greater { "greater" } else { "less" }
            )),
            p_value: if towards { half } else { 1.0 - half },
            // One side has no further side.
            signed: false,
            ..self.clone()
        })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, statistic, p_value, n, effect, effect_unit, .. } = self;
        write!(
            f,
            "{name}: statistic {statistic:.4}, p = {p_value:.3e}, n = {n}, effect {effect:.4e} {effect_unit}"
        )
    }
}
