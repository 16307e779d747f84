//! What a checkpoint is expected to hold, as a file.

use std::path::Path;

use gainstage_spec::{Initializer, Law, Layout, WeightShape};
use serde::Deserialize;

use crate::expected::Expected;
use crate::part::Part;
use crate::{AuditError, glob};

/// Presets by name.
const PRESETS: [(&str, &str); 8] = [
    ("gpt2", include_str!("../presets/gpt2.toml")),
    ("llama", include_str!("../presets/llama.toml")),
    ("vit", include_str!("../presets/vit.toml")),
    ("vit-timm", include_str!("../presets/vit-timm.toml")),
    ("vit-torchvision", include_str!("../presets/vit-torchvision.toml")),
    ("bert", include_str!("../presets/bert.toml")),
    ("resnet", include_str!("../presets/resnet.toml")),
    ("mlp", include_str!("../presets/mlp.toml")),
];

/// Rules: patterns of names with the laws that the tensors follow. The first that matches counts.
///
/// # Example
/// ```
/// use gainstage_audit::Rules;
/// let rules = Rules::parse("mine.toml", r#"
///     [[rule]]
///     name = "residual"
///     match = "blocks.*.out.weight"
///     law = "normal(std = 0.02)"
///     times = "1/sqrt(2L)"
/// "#)?;
/// assert_eq!(rules.name(), "mine.toml");
/// let wrong = Rules::parse("mine.toml", "[[rule]]\nmatch = \"*\"\nlaw = \"hee_normal\"");
/// assert!(wrong.unwrap_err().to_string().contains("hee_normal"));
/// # Ok::<(), gainstage_audit::AuditError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    file: String,
    pub(crate) source: Option<String>,
    pub(crate) layers: Option<usize>,
    pub(crate) tolerance: Option<f64>,
    list: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    patterns: Vec<String>,
    /// `None` for tensors that are left out.
    law: Option<(Initializer, Option<String>)>,
    pub(crate) layout: Option<Layout>,
    groups: usize,
    pub(crate) optional: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    name: Option<String>,
    source: Option<String>,
    layers: Option<usize>,
    tolerance: Option<f64>,
    #[serde(default)]
    rule: Vec<StoredRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRule {
    name: Option<String>,
    r#match: Patterns,
    law: Option<Initializer>,
    times: Option<String>,
    layout: Option<Layout>,
    groups: Option<usize>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    skip: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Several(Vec<String>),
}

impl Rules {
    /// A rules file, or a preset where no file has that name.
    ///
    /// # Errors
    /// [`AuditError::Io`] or [`AuditError::Rules`].
    pub fn load(name: &Path) -> Result<Self, AuditError> {
        let text = name.to_string_lossy();
        if !name.exists() && !text.contains(['/', '\\']) {
            if let Some((preset, content)) = PRESETS.iter().find(|(preset, _)| *preset == text) {
                return Self::parse(preset, content);
            }
            if name.extension().is_none() {
                let known: Vec<&str> = PRESETS.iter().map(|(preset, _)| *preset).collect();
                return Err(AuditError::Rules {
                    file: text.into_owned(),
                    reason: format!("neither a file nor a preset; presets: {}", known.join(", ")),
                });
            }
        }
        let content = std::fs::read_to_string(name).map_err(|e| AuditError::io(name, &e))?;
        Self::parse(&text, &content)
    }

    /// Rules from text; `file` names them in sentences.
    ///
    /// # Errors
    /// [`AuditError::Rules`] naming what cannot be read.
    pub fn parse(file: &str, text: &str) -> Result<Self, AuditError> {
        let wrong = |reason: String| AuditError::Rules { file: file.to_owned(), reason };
        let stored: Stored =
            toml::from_str(text).map_err(|e| wrong(e.to_string().trim().replace('\n', " ")))?;
        let mut rules = Vec::new();
        for (index, rule) in stored.rule.into_iter().enumerate() {
            let patterns = match rule.r#match {
                Patterns::One(pattern) => vec![pattern],
                Patterns::Several(patterns) => patterns,
            };
            let name = rule.name.unwrap_or_else(|| {
                patterns.first().cloned().unwrap_or_else(|| format!("{}", index + 1))
            });
            let law = match (rule.skip, rule.law) {
                (true, None) => None,
                (false, Some(law)) => Some((law, rule.times)),
                (true, Some(_)) => {
                    return Err(wrong(format!("rule \"{name}\" has a law and skip; keep one")));
                }
                (false, None) => {
                    return Err(wrong(format!(
                        "rule \"{name}\" has no law; write law = \"he_normal\", or skip = true"
                    )));
                }
            };
            if let Some((_, Some(times))) = &law {
                // Checked with any depth; without one it is told when it is needed.
                times_value(times, Some(1)).map_err(&wrong)?;
            }
            rules.push(Rule {
                name,
                patterns,
                law,
                layout: rule.layout,
                groups: rule.groups.unwrap_or(1).max(1),
                optional: rule.optional,
            });
        }
        if rules.is_empty() {
            return Err(wrong("it holds no [[rule]]".to_owned()));
        }
        if let Some(tolerance) = stored.tolerance.filter(|t| !(*t > 0.0 && *t < 1.0)) {
            return Err(wrong(format!("tolerance is {tolerance}; it must be between 0 and 1")));
        }
        Ok(Self {
            file: stored.name.unwrap_or_else(|| file.to_owned()),
            source: stored.source,
            layers: stored.layers,
            tolerance: stored.tolerance,
            list: rules,
        })
    }

    /// The name of the file or preset.
    pub fn name(&self) -> &str {
        &self.file
    }

    /// The first rule that matches a name.
    pub(crate) fn find(&self, name: &str) -> Option<&Rule> {
        self.list.iter().find(|rule| rule.matches(name))
    }

    /// Every rule must be of use: one that matches nothing is a rule that was never applied.
    pub(crate) fn check<'a>(
        &self,
        names: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Result<(), AuditError> {
        for (index, rule) in self.list.iter().enumerate().filter(|(_, r)| !r.optional) {
            let used = names.clone().any(|name| {
                rule.matches(name) && !self.list[..index].iter().any(|r| r.matches(name))
            });
            if used {
                continue;
            }
            let shadowed = names.clone().find(|name| rule.matches(name));
            let reason = match shadowed {
                Some(name) => format!(
                    "rule \"{}\" is never reached: earlier rules take all that it matches, such as {name}; move it up",
                    rule.name
                ),
                None => format!(
                    "rule \"{}\" matches no tensor (pattern {}); correct it, or write optional = true",
                    rule.name,
                    rule.patterns.join(", ")
                ),
            };
            return Err(AuditError::Rules { file: self.file.clone(), reason });
        }
        Ok(())
    }
}

impl Rule {
    fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| glob::matches(pattern, name))
    }

    /// Whether its tensors are left out.
    pub(crate) fn is_skip(&self) -> bool {
        self.law.is_none()
    }

    /// The law of a tensor under this rule.
    pub(crate) fn expected(
        &self,
        part: &Part,
        values: usize,
        layers: Option<usize>,
    ) -> Result<Option<Expected>, String> {
        let Some((initializer, times)) = &self.law else { return Ok(None) };
        let scaled = Expected::is_scaled(initializer);
        let shape = match part.readings.first() {
            Some(reading) => grouped(&reading.shape, self.groups)?,
            None if scaled => {
                return Err(format!(
                    "rule \"{}\" gives {initializer} to a {} without fans; use a law of fixed scale",
                    self.name, part.role
                ));
            }
            None => WeightShape::dense(1, values.max(1)).map_err(|e| e.to_string())?,
        };
        let law = initializer.law(&shape).map_err(|e| e.to_string())?;
        let (law, name) = match times {
            None => (law, initializer.to_string()),
            Some(times) => {
                let factor = times_value(times, layers)?;
                (scale(law, factor), format!("{initializer} x {times}"))
            }
        };
        let source = format!("rule {}", self.name);
        Ok(Some(Expected { name, law, source, scaled, groups: self.groups }))
    }
}

/// The file holds channels of one group; the number of groups is in no name.
fn grouped(shape: &WeightShape, groups: usize) -> Result<WeightShape, String> {
    if groups == 1 || !shape.is_conv() {
        return Ok(shape.clone());
    }
    let inputs = shape.inputs() / shape.groups() * groups;
    WeightShape::conv(shape.kernel(), inputs, shape.outputs(), groups).map_err(|e| e.to_string())
}

/// A law of values that are all multiplied by a positive factor.
fn scale(law: Law, t: f64) -> Law {
    match law {
        Law::Point { value } => Law::Point { value: value * t },
        Law::Uniform { low, high } => Law::Uniform { low: low * t, high: high * t },
        Law::Normal { mean, std } => Law::Normal { mean: mean * t, std: std * t },
        Law::TruncatedNormal { mean, sigma, low, high } => {
            Law::TruncatedNormal { mean: mean * t, sigma: sigma * t, low: low * t, high: high * t }
        }
        Law::SphereCoordinate { dimension, radius } => {
            Law::SphereCoordinate { dimension, radius: radius * t }
        }
        Law::ZeroInflated { zero_share, other } => {
            Law::ZeroInflated { zero_share, other: Box::new(scale(*other, t)) }
        }
    }
}

/// Products and quotients of numbers, L and square roots: `0.5`, `1/sqrt(2L)`, `sqrt(3) / 2`.
fn times_value(text: &str, layers: Option<usize>) -> Result<f64, String> {
    let failed = || format!("cannot read times = \"{text}\"; write for example 1/sqrt(2L) or 0.5");
    let mut rest = text;
    let value = product(&mut rest, layers, 0)?.ok_or_else(failed)?;
    if rest.trim().is_empty() && value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(failed())
    }
}

fn product(rest: &mut &str, layers: Option<usize>, depth: usize) -> Result<Option<f64>, String> {
    let Some(mut value) = term(rest, layers, depth)? else { return Ok(None) };
    loop {
        let trimmed = rest.trim_start();
        let divide = trimmed.starts_with('/');
        if let Some(after) = trimmed.strip_prefix(['*', '/']) {
            *rest = after;
        } else if !trimmed.starts_with('L') && !trimmed.starts_with("sqrt") {
            return Ok(Some(value));
        }
        let Some(next) = term(rest, layers, depth)? else { return Ok(None) };
        value = if divide { value / next } else { value * next };
    }
}

fn term(rest: &mut &str, layers: Option<usize>, depth: usize) -> Result<Option<f64>, String> {
    let text = rest.trim_start();
    if let Some(after) = text.strip_prefix('L') {
        *rest = after;
        return match layers {
            Some(layers) => Ok(Some(layers as f64)),
            None => Err("the number of blocks L is needed and the names do not tell it; give --layers, or layers = in the rules".to_owned()),
        };
    }
    if let Some(after) = text.strip_prefix("sqrt(") {
        if depth > 8 {
            return Ok(None);
        }
        *rest = after;
        let inner = product(rest, layers, depth + 1)?;
        let Some(after) = rest.trim_start().strip_prefix(')') else { return Ok(None) };
        *rest = after;
        return Ok(inner.map(f64::sqrt));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    *rest = &text[end..];
    Ok(text[..end].parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_read_and_cites_its_source() {
        for (name, text) in PRESETS {
            let rules = Rules::parse(name, text).expect(name);
            assert_eq!(rules.name(), name);
            assert!(rules.source.is_some_and(|s| s.len() > 40), "{name}");
        }
    }

    #[test]
    fn depth_factors_are_arithmetic() {
        for (text, expected) in [
            ("1/sqrt(2L)", 24f64.sqrt().recip()),
            ("1 / sqrt(2 * L)", 24f64.sqrt().recip()),
            ("0.5", 0.5),
            ("sqrt(3)/2", 3f64.sqrt() / 2.0),
            ("sqrt(sqrt(16))", 2.0),
        ] {
            let value = times_value(text, Some(12)).expect(text);
            assert!((value / expected - 1.0).abs() < 1e-14, "{text}: {value}");
        }
        for text in ["", "1/", "sqrt(2", "L L)", "x", "-1", "1/0"] {
            assert!(times_value(text, Some(12)).is_err(), "{text}");
        }
        assert!(times_value("1/L", None).expect_err("no depth").contains("--layers"));
    }

    #[test]
    fn rules_that_match_nothing_or_are_never_reached_are_told() {
        let text = "[[rule]]\nname = \"all\"\nmatch = \"**\"\nlaw = \"zeros\"\n[[rule]]\nname = \"late\"\nmatch = \"a.*\"\nlaw = \"ones\"";
        let rules = Rules::parse("r", text).expect("reads");
        let error = rules.check(&["a.b"].into_iter()).expect_err("late").to_string();
        assert!(error.contains("\"late\" is never reached"), "{error}");
        let none = Rules::parse("r", "[[rule]]\nmatch = \"x.*\"\nlaw = \"zeros\"").expect("reads");
        let error = none.check(&["a.b"].into_iter()).expect_err("none").to_string();
        assert!(error.contains("matches no tensor"), "{error}");
        for wrong in [
            "[[rule]]\nmatch = \"*\"",
            "",
            "[[rule]]\nmatch = \"*\"\nlaw = \"zeros\"\nlayuot = \"out-in\"",
        ] {
            assert!(Rules::parse("r", wrong).is_err(), "{wrong}");
        }
    }
}
