//! Projections that end a residual branch.

use gainstage_spec::Law;

use crate::audit::Measured;
use crate::expected::{Expected, Limits, against};
use crate::record::{Severity, Verdict};

/// GPT-2 divides the projections that end a residual branch by sqrt(2L) (Radford et al. 2019, section 2.3).
pub(crate) fn residuals(measured: &mut [Measured<'_>], limits: &Limits) {
    let Some(layers) = limits.layers else { return };
    let into = |m: &Measured<'_>| {
        m.record.name.ends_with("attn.c_attn.weight") || m.record.name.ends_with("mlp.c_fc.weight")
    };
    let stds: Vec<f64> = measured.iter().filter(|m| into(m)).map(|m| m.facts.std).collect();
    if stds.len() < 2 {
        return;
    }
    let base = stds.iter().sum::<f64>() / stds.len() as f64;
    let factor = (2.0 * layers as f64).sqrt();
    for m in measured.iter_mut().filter(|m| m.record.name.ends_with("c_proj.weight")) {
        let near = |std: f64| (m.facts.std / std - 1.0).abs() < 0.05;
        let (never, twice) = (near(base), near(base / (factor * factor)));
        let told = |f: &crate::record::Finding| {
            f.severity == Severity::Finding && f.kind > Verdict::WrongScale
        };
        if !(never || twice) || m.record.findings.iter().any(told) {
            continue;
        }
        // What its siblings say of the scale follows from this.
        let stale = [Verdict::Unexplained, Verdict::WrongScale];
        m.record.findings.retain(|f| !stale.contains(&f.kind));
        let expected = Expected {
            name: format!("{} x 1/sqrt(2L)", m.record.law.clone().unwrap_or_default()),
            law: Law::Normal { mean: 0.0, std: base / factor },
            source: "GPT-2".to_owned(),
            scaled: false,
            groups: 1,
        };
        against(&mut m.record, &m.facts, &expected, limits);
        let rule = format!(
            "GPT-2 divides the projections that end a residual branch by sqrt(2L) = {factor:.3}, L = {layers}"
        );
        let (name, text) = if never {
            let text = format!(
                "std {:.4e} is that of the layers before it; {rule}: the depth factor was not applied",
                m.facts.std
            );
            ("sqrt(2L)", text)
        } else {
            let text = format!(
                "std {:.4e} is {:.3} of that of the layers before it; {rule}: the depth factor was applied twice",
                m.facts.std,
                m.facts.std / base
            );
            ("1/sqrt(2L)", text)
        };
        m.record.factor = Some(name.to_owned());
        m.record.notice(Verdict::WrongScale, Severity::Finding, text);
    }
}
