//! Tensors that were found alike, folded into one line.

use crate::record::{Audit, Severity, TensorRecord, Verdict};

/// Tensors of one kind, law and verdict.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// In the order of the files.
    pub members: Vec<&'a TensorRecord>,
}

impl Group<'_> {
    /// The first member's name, or the pattern that all share.
    pub fn name(&self) -> String {
        let first = self.members[0];
        if self.members.len() == 1 {
            return first.name.clone();
        }
        let pattern = crate::glob::generalise(&first.name);
        if self.members.iter().all(|m| crate::glob::generalise(&m.name) == pattern) {
            pattern
        } else {
            first.group.clone()
        }
    }

    /// The gravest severity.
    pub fn severity(&self) -> Option<Severity> {
        self.members[0].severity()
    }

    /// Smallest and largest of a number over the members that have it.
    pub fn range(&self, of: impl Fn(&TensorRecord) -> Option<f64>) -> Option<(f64, f64)> {
        let values: Vec<f64> = self.members.iter().filter_map(|m| of(m)).collect();
        let low = values.iter().copied().reduce(f64::min)?;
        Some((low, values.iter().copied().fold(low, f64::max)))
    }
}

impl Audit {
    /// The tensors folded: alike are those of one group, role, law, verdict and factor.
    pub fn groups(&self) -> Vec<Group<'_>> {
        type Key<'a> =
            (&'a str, &'a str, Option<&'a str>, Verdict, Option<&'a str>, Option<Severity>);
        let mut keys: Vec<(Key<'_>, Group<'_>)> = Vec::new();
        for tensor in &self.tensors {
            let key = (
                tensor.group.as_str(),
                tensor.layout.as_deref().unwrap_or(""),
                tensor.law.as_deref(),
                tensor.verdict,
                tensor.factor.as_deref(),
                tensor.severity(),
            );
            match keys.iter_mut().find(|(k, _)| *k == key) {
                Some((_, group)) => group.members.push(tensor),
                None => keys.push((key, Group { members: vec![tensor] })),
            }
        }
        keys.into_iter().map(|(_, group)| group).collect()
    }
}
