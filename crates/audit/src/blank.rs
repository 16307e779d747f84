//! A tensor's record before any judgement: what was measured, and the likeliest laws.

use gainstage_spec::{Fans, Layout};

use crate::array::Tensor;
use crate::facts::Facts;
use crate::infer::{Fit, Scored};
use crate::names::pattern;
use crate::part::Part;
use crate::record::{RunnerUp, TensorRecord, Verdict};
use crate::role::Role;

/// A record with what was measured and no judgement.
pub(crate) fn blank(tensor: &Tensor, file: String, part: &Part, facts: &Facts) -> TensorRecord {
    let m = &facts.scan.moments;
    let std = m.population_variance().sqrt();
    let known = |x: f64| x.is_finite().then_some(x);
    let spread = m.min() < m.max();
    let error = facts.log_std_error(if spread { m.kurtosis() } else { 1.0 });
    let weight = part.role.is_weight();
    let fans = part.readings.first().map(|r| r.shape.fans()).filter(|_| weight);
    let layout = match (part.role, part.layout) {
        (Role::Dense | Role::Conv, Some(Layout::OutIn)) => Some("out-in".to_owned()),
        (Role::Dense | Role::Conv, Some(Layout::InOut)) => Some("in-out".to_owned()),
        (Role::Dense | Role::Conv, None) => Some("ambiguous".to_owned()),
        _ => None,
    };
    TensorRecord {
        name: tensor.name().to_owned(),
        file,
        shape: tensor.shape().to_vec(),
        dtype: tensor.dtype(),
        role: part.role,
        fan_in: fans.map(Fans::fan_in),
        fan_out: fans.map(Fans::fan_out),
        layout,
        layout_reason: part.why.clone(),
        group: format!("{}{}", &tensor.name()[..tensor.prefix], pattern(tensor.own_name())),
        law: None,
        law_source: "none".to_owned(),
        also: Vec::new(),
        runner_up: None,
        std_expected: None,
        std_measured: known(std),
        std_low: known(std * (-1.96 * error).exp()),
        std_high: known(std * (1.96 * error).exp()),
        ratio: None,
        mean: known(m.mean()),
        kurtosis: known(m.kurtosis()).filter(|_| spread),
        ks_distance: None,
        p_value: None,
        detectable: None,
        factor: None,
        verdict: Verdict::Ok,
        findings: Vec::new(),
        picture: None,
    }
}

/// The record's other names and runner-up, from the ranking.
pub(crate) fn ranking(record: &mut TensorRecord, fit: &Fit) {
    let Some(best) = fit.best() else {
        if let Some(next) = &fit.next {
            record.runner_up = Some(runner_up(next, 0.0));
        }
        return;
    };
    let mut names: Vec<String> = Vec::new();
    for other in fit.accepted.iter().skip(1).filter(|s| s.candidate.fault.is_none()) {
        let name = other.candidate.initializer.to_string();
        if best.score - other.score < 6.0
            && name != best.candidate.initializer.to_string()
            && !names.contains(&name)
            && names.len() < 4
        {
            names.push(name);
        }
    }
    record.also = names;
    record.runner_up = fit.next.as_ref().map(|next| runner_up(next, best.score - next.score));
}

fn runner_up(scored: &Scored, behind: f64) -> RunnerUp {
    let candidate = &scored.candidate;
    let law = match &candidate.fault {
        Some(fault) => format!("{} x {}", fault.meant, fault.factor),
        None => candidate.initializer.to_string(),
    };
    RunnerUp { law, std: candidate.law.std(), behind }
}
