//! Biases and norm scales without rules: compared with those of the same kind, and with what normalizations start at.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use gainstage_spec::Law;

use crate::audit::Measured;
use crate::expected::{Expected, Limits, against};
use crate::names::{block_pattern, natural};
use crate::record::{Severity, Verdict};
use crate::role::Role;
use crate::special::zeros_and_ones;
use crate::tail::quantile;

/// Fewest vectors that make a custom, and the share of them that must agree.
const FEWEST: usize = 3;
const SHARE: f64 = 0.66;
/// Normal quantile, 10^-5 on one side, beyond which the scales of biases are no single law's.
const HETEROGENEITY: f64 = 4.26;

pub(crate) fn compare(measured: &mut [Measured<'_>], limits: &Limits) {
    drawn_scales(measured, limits);
    scales(measured);
    biases(measured);
    moved_biases(measured);
}

fn constant(m: &Measured<'_>) -> Option<f64> {
    m.facts.is_constant().then(|| m.facts.scan.moments.min())
}

/// Zero, or zero with ones for a forget gate.
fn is_zero(m: &Measured<'_>) -> bool {
    constant(m) == Some(0.0) || zeros_and_ones(&m.facts)
}

/// Whether a bias may be PyTorch's default, uniform within 1/sqrt(fan_in).
fn is_default(m: &Measured<'_>) -> bool {
    let accepted = m.fit.iter().flat_map(|f| &f.accepted);
    accepted.map(|s| s.candidate.initializer.to_string()).any(|law| law == "pytorch_linear")
}

/// DCGAN draws its norm scales from a normal law about 1 (Radford et al. 2016, section 4, and PyTorch's tutorial):
/// where all that vary fit it, they are not trained.
fn drawn_scales(measured: &mut [Measured<'_>], limits: &Limits) {
    const STD: f64 = 0.02;
    let drawn: Vec<usize> = (0..measured.len())
        .filter(|&i| measured[i].part.role == Role::NormScale)
        .filter(|&i| !measured[i].facts.is_constant())
        .collect();
    let fits = |m: &Measured<'_>| {
        let n = m.facts.count().max(1) as f64;
        let critical = quantile(limits.level);
        let mean = (m.facts.mean - 1.0).abs() < critical * STD / n.sqrt();
        let std = (m.facts.std / STD).ln().abs() < critical * m.facts.log_std_error(3.0);
        mean && std && m.facts.outliers == 0 && n >= 8.0
    };
    if drawn.is_empty() || !drawn.iter().all(|&i| fits(&measured[i])) {
        return;
    }
    let expected = Expected {
        name: format!("normal(mean = 1, std = {STD})"),
        law: Law::Normal { mean: 1.0, std: STD },
        source: "inferred".to_owned(),
        scaled: false,
        groups: 1,
    };
    for i in drawn {
        let m = &mut measured[i];
        m.record.findings.retain(|f| f.kind != Verdict::Trained);
        against(&mut m.record, &m.facts, &expected, limits);
    }
}

/// A normalization starts at 1, or at 0 where its branch is to start as nothing (Goyal et al. 2017, section 5.1). A
/// scale of a layer, which has no partner and no norm in its name, starts at what its author likes.
fn scales(measured: &mut [Measured<'_>]) {
    let names: BTreeSet<String> = measured.iter().map(|m| m.record.name.clone()).collect();
    let of_norm = |name: &str| {
        let at = name.rfind(['.', '/']).map_or(0, |i| i + 1);
        let partners = ["bias", "beta", "offset", "running_mean", "moving_mean"];
        let word = name[..at].to_ascii_lowercase();
        ["norm", "bn", "ln_"].iter().any(|w| word.contains(w))
            || partners.iter().any(|p| names.contains(&format!("{}{p}", &name[..at])))
    };
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, m) in measured.iter().enumerate().filter(|(_, m)| m.part.role == Role::NormScale) {
        if of_norm(&m.record.name) {
            groups.entry(block_pattern(&m.record.name)).or_default().push(i);
        }
    }
    for members in groups.values() {
        let ones = members.iter().filter(|&&i| constant(&measured[i]) == Some(1.0)).count();
        let custom = members.len() >= FEWEST && ones as f64 >= SHARE * members.len() as f64;
        for &i in members {
            let Some(value) = constant(&measured[i]) else { continue };
            let text = if value != 0.0 && value != 1.0 {
                format!(
                    "every norm scale is {value}, where normalizations start at 1, or at 0 at the end of a residual branch"
                )
            } else if value == 0.0 && custom {
                format!(
                    "every norm scale is 0, where {ones} of {} of its kind are 1",
                    members.len()
                )
            } else {
                continue;
            };
            measured[i].record.notice(Verdict::WrongLaw, Severity::Finding, text);
        }
    }
}

/// Biases that are not zero where those of their kind are.
fn biases(measured: &mut [Measured<'_>]) {
    let all: Vec<usize> =
        (0..measured.len()).filter(|&i| measured[i].part.role == Role::Bias).collect();
    // A normalization's and a layer's may share a pattern of names.
    let of_layer = |i: usize| !measured[i].part.readings.is_empty();
    let mut groups: BTreeMap<(String, bool), Vec<usize>> = BTreeMap::new();
    for &i in &all {
        groups.entry((measured[i].record.group.clone(), of_layer(i))).or_default().push(i);
    }
    let layers: Vec<usize> = all.iter().copied().filter(|&i| of_layer(i)).collect();
    let dense = |i: &usize| measured[*i].part.readings.first().is_some_and(|r| !r.shape.is_conv());
    let last =
        layers.iter().copied().filter(dense).max_by_key(|&i| natural(&measured[i].record.name));
    let mut odd = Vec::new();
    for ((_, layer), members) in &groups {
        let zero = |list: &[usize]| list.iter().filter(|&&i| is_zero(&measured[i])).count();
        let of_kind = if members.len() >= FEWEST {
            members.clone()
        } else {
            let class: Vec<usize> =
                all.iter().copied().filter(|&i| of_layer(i) == *layer).collect();
            // A default in another kind of layer says nothing.
            let own = if class.len() > FEWEST { class } else { all.clone() };
            own.into_iter().filter(|i| members.contains(i) || !is_default(&measured[*i])).collect()
        };
        let zeros = zero(&of_kind);
        let custom = if members.len() >= FEWEST {
            zeros as f64 >= SHARE * members.len() as f64
        } else {
            // Few of a pattern: all the others of the checkpoint must agree.
            zeros >= FEWEST && zeros + 1 == of_kind.len()
        };
        if custom {
            let not = members.iter().copied().filter(|&i| !is_zero(&measured[i]));
            odd.extend(not.map(|i| (i, zeros, of_kind.len(), members.len() < FEWEST)));
        }
    }
    let names: BTreeSet<String> = measured.iter().map(|m| m.record.name.clone()).collect();
    for (i, zeros, count, few) in odd {
        let m = &mut measured[i];
        // PyTorch's default is no fault in the last layer, nor in another kind of layer. Frameworks that call weights
        // otherwise have no such default.
        let head = Some(i) == last && layers.len() > 1;
        let at = m.record.name.rfind(['.', '/']).map_or(0, |at| at + 1);
        let elsewhere =
            ["kernel", "w"].iter().any(|w| names.contains(&format!("{}{w}", &m.record.name[..at])));
        let default = is_default(m) && (few || head) && !elsewhere;
        let severity = if default { Severity::Note } else { Severity::Finding };
        m.record.findings.retain(|f| f.kind != Verdict::Unexplained);
        let moments = &m.facts.scan.moments;
        let text = format!(
            "a bias with values from {:.4e} to {:.4e}, where {zeros} of {count} of its kind are zero",
            moments.min(),
            moments.max()
        );
        m.record.notice(Verdict::WrongLaw, severity, text);
    }
}

/// No initializer leaves most biases of a network at values of no known law, or each at a scale of its own: training
/// does, and it moves biases first.
fn moved_biases(measured: &mut [Measured<'_>]) {
    let layers: Vec<usize> = (0..measured.len())
        .filter(|&i| measured[i].part.role == Role::Bias && !measured[i].part.readings.is_empty())
        .collect();
    let moved: Vec<usize> = layers
        .iter()
        .copied()
        .filter(|&i| {
            let m = &measured[i];
            !is_default(m) && !is_zero(m) && !m.facts.is_constant() && m.facts.count() >= 8
        })
        .collect();
    if moved.len() < FEWEST || 3 * moved.len() < 2 * layers.len() {
        return;
    }
    let unexplained =
        |m: &Measured<'_>| m.record.findings.iter().any(|f| f.kind == Verdict::Unexplained);
    let strange = moved.iter().filter(|&&i| unexplained(&measured[i])).count();
    let scales: Vec<(f64, f64)> = moved
        .iter()
        .map(|&i| {
            let facts = &measured[i].facts;
            let kurtosis = facts.scan.moments.kurtosis().clamp(1.8, 6.0);
            (facts.std.ln(), facts.log_std_error(kurtosis))
        })
        .collect();
    if 2 * strange < moved.len() && heterogeneity(&scales) < HETEROGENEITY {
        return;
    }
    for &i in &moved {
        let record = &mut measured[i].record;
        record.findings.retain(|f| f.kind != Verdict::Unexplained);
        let text = format!(
            "looks trained: {} of {} biases are neither zero nor of one known law",
            moved.len(),
            layers.len()
        );
        record.notice(Verdict::Trained, Severity::Finding, text);
    }
}

/// Deviation of values with those errors from their weighted mean, as a normal quantile: Cochran's chi-square, by Wilson
/// and Hilferty (1931).
fn heterogeneity(values: &[(f64, f64)]) -> f64 {
    let weight = |error: f64| error.max(1e-9).powi(-2);
    let total: f64 = values.iter().map(|(_, e)| weight(*e)).sum();
    let mean = values.iter().map(|(x, e)| x * weight(*e)).sum::<f64>() / total;
    let square: f64 = values.iter().map(|(x, e)| (x - mean).powi(2) * weight(*e)).sum();
    let freedom = values.len().saturating_sub(1).max(1) as f64;
    let v = 2.0 / (9.0 * freedom);
    ((square / freedom).cbrt() - (1.0 - v)) / v.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_of_one_law_agree_and_others_do_not() {
        let errors = [0.04, 0.05, 0.08, 0.1, 0.04];
        let alike: Vec<(f64, f64)> =
            [0.03, -0.04, 0.1, -0.05, 0.0].into_iter().zip(errors).collect();
        assert!(heterogeneity(&alike) < 1.0, "{}", heterogeneity(&alike));
        let apart: Vec<(f64, f64)> =
            [0.15, -0.09, -0.7, 0.2, 0.0].into_iter().zip(errors).collect();
        assert!(heterogeneity(&apart) > HETEROGENEITY, "{}", heterogeneity(&apart));
    }
}
