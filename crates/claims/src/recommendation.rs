//! How to choose an initialization: a decision table, each row with its evidence.

use gainstage_report::{Badge, Cell, Link, Section, Table, Tone};

use crate::document::{Run, badge};

/// One line of advice.
struct Advice {
    /// The network or data that it is for.
    case: &'static str,
    /// What to take.
    take: &'static str,
    /// What was measured that speaks for it.
    because: &'static str,
    /// Codes of the claims that measured it.
    evidence: &'static [&'static str],
}

const TABLE: [Advice; 15] = [
    Advice {
        case: "ReLU",
        take: "He: Var[w] = 2/fan_in, biases zero",
        because: "It keeps the second moment at any depth in the mean over networks. Xavier's rule halves it in every layer, and deep networks then \
                  start late.",
        evidence: &["HE01", "HE02", "XAV07", "HE05"],
    },
    Advice {
        case: "Leaky or parametric ReLU of slope a",
        take: "He with the slope in it: Var[w] = 2/((1 + a^2^) fan_in)",
        because: "The slope adds a^2^ to what ReLU leaves.",
        evidence: &["HE04"],
    },
    Advice {
        case: "fan_in or fan_out",
        take: "fan_in, unless the gradient of a network of very uneven widths is what matters",
        because: "Each mode keeps one direction exactly and the other up to the ratio of the outer widths.",
        evidence: &["HE08", "HE02", "XAV03"],
    },
    Advice {
        case: "Normal, uniform or truncated",
        take: "Any, with the same variance; a truncated normal corrected for its cut",
        because: "The shape enters deep networks at order 1/n only; a cut at two sigma that is not corrected takes 23% of the variance.",
        evidence: &["HE01", "XAV04", "FOL04"],
    },
    Advice {
        case: "tanh, up to some tens of layers",
        take: "Xavier with gain 1",
        because: "The signal decays slowly, like 1/(2l). The tables' gain of 5/3 keeps the signal and lets gradients grow in every layer.",
        evidence: &["XAV02", "XAV05", "FOL02"],
    },
    Advice {
        case: "tanh, hundreds of layers",
        take: "Orthogonal weights on the critical line: σ~w~^2^ a little above 1 with its small bias variance",
        because: "Training reaches a few depth scales, and only on that line are they long; orthogonal weights bring the singular values together.",
        evidence: &["MFT04", "JAC02"],
    },
    Advice {
        case: "Sigmoid",
        take: "Another activation in hidden layers; if it must be, few layers",
        because: "Its slope is at most 1/4: no common rule keeps the gradient.",
        evidence: &["XAV06"],
    },
    Advice {
        case: "SELU",
        take: "LeCun: Var[w] = 1/fan_in, not the tables' gain of 3/4",
        because: "Mean 0 and variance 1 are a fixed point of that variance and no other.",
        evidence: &["SLU01", "FOL03"],
    },
    Advice {
        case: "GELU, SiLU, softplus and others",
        take: "The gain of that activation: `gainstage gain NAME`",
        because: "Which rule trains how deep depends on the activation first of all.",
        evidence: &["SEL01", "XAV06"],
    },
    Advice {
        case: "One to three hidden layers",
        take: "Any scaled random start; only zero is wrong",
        because: "Between starts that differ by a factor of a few, shallow networks hardly notice. The gap opens with depth.",
        evidence: &["SEL02", "CNV01", "SYM02", "NB03"],
    },
    Advice {
        case: "Ten layers and more, no normalization",
        take: "A variance that goes with the layer's size, never one standard deviation for all",
        because: "A wrong factor per layer is raised to the power of the depth.",
        evidence: &["SEL02", "MIT01", "CNV01", "VAN01"],
    },
    Advice {
        case: "Batch normalization without skips",
        take: "Any scale forward; keep it shallow or add skips",
        because: "The signal is reset in every layer, but at birth the gradient grows by about π/(π − 1) per layer of a ReLU network.",
        evidence: &["MIT02", "NRM01"],
    },
    Advice {
        case: "Residual branches",
        take: "He inside, the branch times 1/√L, or the last layer of every branch zero",
        because: "Unscaled branches multiply the signal once per block; branches that begin as zero leave the identity, which trains at any depth.",
        evidence: &["RES01", "SYM08"],
    },
    Advice {
        case: "Dropout",
        take: "Multiply the variance by the share that is kept, and expect a limit to depth",
        because: "Inverted dropout multiplies the second moment by 1/keep per layer, and its noise takes the critical point away.",
        evidence: &["MIT04", "MFT05"],
    },
    Advice {
        case: "Data and biases",
        take: "Inputs with mean square near 1; biases zero",
        because: "The first layer passes on E[x^2^], not the variance: raw grey values of 0 to 255 spoil the best rule. Small biases change nothing.",
        evidence: &["SEL04", "RND02"],
    },
];

/// The table, from what was run; `None` if nothing that it rests on was.
pub(crate) fn section(runs: &[Run]) -> Option<Section> {
    let find = |code: &str| runs.iter().find(|run| run.claim.code == code);
    let cited = || TABLE.iter().flat_map(|row| row.evidence);
    if !cited().any(|code| find(code).is_some()) {
        return None;
    }
    let mut table = Table::new(
        "recommendation",
        "What to take, and what was measured that speaks for it",
        &["where", "take", "because", "evidence", "stands"],
    );
    let mut standing = 0;
    for row in &TABLE {
        let mut links = Vec::new();
        let (mut missing, mut surprising) = (Vec::new(), Vec::new());
        for &code in row.evidence {
            let run = find(code);
            match run {
                None => missing.push(code),
                Some(run) if run.record.verdict != run.record.expected => surprising.push(code),
                Some(_) => {}
            }
            links.push(Link {
                text: code.to_owned(),
                to: run.map(|_| format!("#{code}")),
                badge: run.map_or_else(
                    || Badge::new("not run", Tone::Neutral),
                    |run| badge(run.record.verdict),
                ),
            });
        }
        let stands = match (surprising.is_empty(), missing.is_empty()) {
            (true, true) => {
                standing += 1;
                "yes".to_owned()
            }
            (true, false) => format!("in part: {} not run here", missing.join(", ")),
            (false, _) => {
                format!("doubtful: {} came out otherwise than expected", surprising.join(", "))
            }
        };
        table.push(vec![
            Cell::text(row.case),
            Cell::text(row.take),
            Cell::text(row.because),
            Cell::Links(links),
            Cell::text(stands),
        ]);
    }
    let mut section = Section::new("recommendation", "Which initialization to choose");
    section.paragraph(format!(
        "How to choose is the last question of the seed document. This table answers it from the claims above: the activation decides the \
         factor, depth decides how much a wrong factor costs, normalization and skips decide whether it matters forward, and the scale of the \
         data belongs to the first layer. A refuted claim can be evidence as well: that an order of starts is noise, say. {standing} of {} lines rest on claims that were all run here and came out as expected.",
        TABLE.len()
    ));
    section.table(table);
    section.paragraph(
        "For one network in particular, `gainstage recommend --activation gelu --depth 48 --width 768 --residual` computes the variance, \
         its reasons and code to paste; `gainstage propagate` measures what it does.",
    );
    Some(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_run_recommends_nothing() {
        assert!(section(&[]).is_none());
    }
}
