//! Biases and norm scales without rules: compared with those of the same kind, and with what normalizations start at.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use gainstage_spec::Law;

use crate::audit::Measured;
use crate::judge::{Expected, Limits, against};
use crate::names::{block_pattern, natural};
use crate::record::{Severity, Verdict};
use crate::role::Role;
use crate::tail::quantile;

/// Fewest vectors that make a custom, and the share of them that must agree.
const FEWEST: usize = 3;
const SHARE: f64 = 0.66;

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
    constant(m) == Some(0.0) || m.record.law.as_deref().is_some_and(|l| l.starts_with("zeros,"))
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

/// Biases that are not zero where those of their kind are. The last layer's may be set on purpose.
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
    let last = layers.iter().copied().max_by_key(|&i| natural(&measured[i].record.name));
    let mut odd = Vec::new();
    for ((_, layer), members) in &groups {
        let zero = |list: &[usize]| list.iter().filter(|&&i| is_zero(&measured[i])).count();
        let of_kind = if members.len() >= FEWEST {
            members.clone()
        } else {
            all.iter().copied().filter(|&i| of_layer(i) == *layer).collect()
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
            odd.extend(not.map(|i| (i, zeros, of_kind.len())));
        }
    }
    for (i, zeros, count) in odd {
        let m = &mut measured[i];
        let head = Some(i) == last && layers.len() > 1;
        let known = m.record.law.is_some() && !m.facts.is_constant();
        let severity = match (head, known, m.facts.is_constant()) {
            (true, true, _) => Severity::Note,
            (true, _, true) => Severity::Warning,
            _ => Severity::Finding,
        };
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

/// No initializer leaves most biases of a network at values of no known law: training does, and moves them first.
fn moved_biases(measured: &mut [Measured<'_>]) {
    let unexplained = |m: &Measured<'_>| {
        m.record.findings.iter().any(|f| f.kind == Verdict::Unexplained) && !m.facts.is_constant()
    };
    let layers: Vec<usize> = (0..measured.len())
        .filter(|&i| measured[i].part.role == Role::Bias && !measured[i].part.readings.is_empty())
        .collect();
    let moved: Vec<usize> = layers.iter().copied().filter(|&i| unexplained(&measured[i])).collect();
    if moved.len() < FEWEST || 2 * moved.len() < layers.len() {
        return;
    }
    for &i in &moved {
        let record = &mut measured[i].record;
        record.findings.retain(|f| f.kind != Verdict::Unexplained);
        let text = format!(
            "looks trained: {} of {} biases are neither zero nor of a known law",
            moved.len(),
            layers.len()
        );
        record.notice(Verdict::Trained, Severity::Finding, text);
    }
}
