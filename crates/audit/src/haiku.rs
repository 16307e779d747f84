//! Haiku's default law, which is another framework's mistake.
//!
//! Haiku's layers draw from a normal law of standard deviation 1/sqrt(fan_in) and draw again beyond two of them. What is
//! left has a standard deviation of 0.8796/sqrt(fan_in), which Keras, TensorFlow and Flax correct and Haiku does not
//! (haiku/_src/basic.py: `TruncatedNormal(1 / sqrt(fan_in))`). Its parameters are called `w` and `b`.

use gainstage_spec::FanMode;

use crate::audit::Measured;
use crate::family::{Family, cut_std};
use crate::record::{Severity, Verdict};

/// Whether a parameter is named as Haiku names a weight.
pub(crate) fn is_haiku(name: &str) -> bool {
    name.rsplit(['.', '/']).next() == Some("w")
}

/// Variance times fan-in.
pub(crate) fn scale() -> f64 {
    cut_std(2).powi(2)
}

/// Tells which weights are at the default, whose law is no rule that people write.
pub(crate) fn tell(measured: &mut [Measured<'_>]) {
    let law = Family::Cut(2).scaled(scale(), FanMode::FanIn).map(|i| i.to_string());
    for m in measured.iter_mut().filter(|m| m.part.haiku && m.record.law == law) {
        if m.record.severity() < Some(Severity::Warning) {
            let text = "Haiku's default: a normal law of std 1/sqrt(fan_in), cut at two sigma and not corrected by 1/0.8796";
            m.record.notice(Verdict::WrongScale, Severity::Note, text);
        }
    }
}
