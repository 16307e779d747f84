//! From findings to verdicts.

use crate::claim::{Conclusion, Finding, Verdict};

/// `verdict` if every finding holds, refuted if one is contradicted, otherwise inconclusive.
///
/// All findings must hold, so no correction for their number is needed: the probability of wrongly
/// showing all equalities is at most that of showing one (intersection-union test).
pub(crate) fn all_hold(findings: &[Finding], verdict: Verdict) -> Verdict {
    let some = |conclusion| findings.iter().any(|f| f.conclusion == conclusion);
    if some(Conclusion::Contradicted) {
        Verdict::Refuted
    } else if some(Conclusion::Undecided) {
        Verdict::Inconclusive
    } else {
        verdict
    }
}

/// For a statement that theory contradicts: refuted only where theory explains what is seen instead.
///
/// `claimed` holds the measurement against the statement, `explained` against theory.
pub(crate) fn against_theory(claimed: &[Finding], explained: &[Finding]) -> Verdict {
    match (all_hold(claimed, Verdict::Supported), all_hold(explained, Verdict::Supported)) {
        (Verdict::Refuted, Verdict::Supported) => Verdict::Refuted,
        (Verdict::Refuted, _) => Verdict::Inconclusive,
        (verdict, _) => verdict,
    }
}
