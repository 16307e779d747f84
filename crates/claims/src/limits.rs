//! What the report does not show, and where its rules did not survive a first look.

use gainstage_report::{Block, Section};

use crate::claim::Claim;
use crate::document::Run;

/// Words with which a rule says that it was revised.
const ADMISSIONS: [&str; 9] = [
    "after first runs",
    "after a first",
    "before a first",
    "after a look",
    "first look",
    "first margin",
    "first rule",
    "revised",
    "added later",
];

pub(crate) fn section(runs: &[Run]) -> Section {
    let mut section = Section::new("limits", "What this does not show");
    section.blocks.push(Block::List(
        [
            "Perceptrons only: no convolutions, no attention. Claims about other architectures are not tested here.",
            "Signal claims hold at birth. After the first steps of training the weights are no longer independent of the data.",
            "A supported equality means \"within the stated margin\", never \"identical\".",
            "Error signals are injected at the output, independent of the weights. A loss's own error signal depends on the output.",
            "Gaussian and orthogonal networks are drawn from the exact joint law of their signals and not weight by weight where that is \
             cheaper; tests hold the two ways of drawing against each other.",
            "Training claims hold for these images, sizes, optimisers and numbers of steps. Ten seeds do not see differences far below their \
             stated margin.",
            "One family of random streams drew everything; other seeds are one `--seed` away.",
        ]
        .map(str::to_owned)
        .to_vec(),
    ));
    let revised: Vec<String> = runs.iter().filter_map(|run| admission(run.claim)).collect();
    if !revised.is_empty() {
        section.paragraph(
            "Rules were written before their claim was first run, but not all of them survived it. Where one was revised its text says so; \
             these verdicts are confirmed on other seeds, not by a second experiment:",
        );
        section.blocks.push(Block::List(revised));
    }
    section
}

/// The sentences in which a claim says that its rule or prediction was revised.
fn admission(claim: &Claim) -> Option<String> {
    let admits = |sentence: &&str| ADMISSIONS.iter().any(|words| sentence.contains(words));
    let sentences = [claim.rule, claim.prediction].into_iter().flat_map(|text| text.split(". "));
    let found: Vec<&str> = sentences.filter(admits).map(|s| s.trim_end_matches('.')).collect();
    let code = claim.code;
    (!found.is_empty()).then(|| format!("[{code}](#{code}): {}.", found.join(". ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    #[test]
    fn revised_rules_are_found_by_their_own_words() {
        for code in ["HE05", "XAV05", "VAN04", "MFT06", "SAT02", "SAT03", "SLU01", "FIN01", "JAC02"]
        {
            assert!(admission(find(code).expect(code)).is_some(), "{code}");
        }
        for code in ["SYM02", "HE02", "XAV07"] {
            assert_eq!(admission(find(code).expect(code)), None, "{code}");
        }
    }
}
