//! Findings on rows, columns and rank.

use gainstage_spec::Layout;

use crate::expected::Limits;
use crate::facts::Facts;
use crate::part::Part;
use crate::record::{Severity, TensorRecord, Verdict};
use crate::role::Role;
use crate::structure::{LineFacts, Products};
use crate::tail::quantile;

/// Dispersion of the lines' variances, and mean squared cosine, that independent values do not reach
/// by chance and that matters.
const DISPERSION: f64 = 1.5;
const COSINE: f64 = 1.25;

/// Whether rows or columns differ by more than chance, or depend on each other: what training leaves.
pub(crate) fn has_structure(facts: &Facts) -> bool {
    uneven(&facts.structure.rows)
        || uneven(&facts.structure.columns)
        // A mean makes all cosines large.
        || (facts.mean.abs() < 0.1 * facts.std
            && facts.structure.products.as_ref().is_some_and(dependent))
}

fn uneven(lines: &LineFacts) -> bool {
    let error = (2.0 / lines.count.max(1) as f64).sqrt();
    lines.count >= 8 && lines.dispersion > DISPERSION && lines.dispersion - 1.0 > 8.0 * error
}

fn dependent(products: &Products) -> bool {
    let pairs = 0.5 * products.lines as f64 * (products.lines as f64 - 1.0);
    let error = (2.0 / pairs.max(1.0)).sqrt();
    products.squared_cosine > COSINE && products.squared_cosine - 1.0 > 10.0 * error
}

pub(crate) fn dependence(record: &mut TensorRecord, part: &Part, facts: &Facts, limits: &Limits) {
    let structure = &facts.structure;
    let names = match part.layout {
        _ if part.role == Role::Embedding => ["entries", "features"],
        Some(Layout::InOut) if part.role == Role::Dense => ["rows (inputs)", "columns (outputs)"],
        Some(Layout::OutIn) if part.role == Role::Dense => ["rows (outputs)", "columns (inputs)"],
        _ => ["rows", "columns"],
    };
    let mean_is_off = record.findings.iter().any(|f| f.kind == Verdict::WrongMean);
    let both = [&structure.rows, &structure.columns];
    // A loud column makes some rows loud: the farther of the two is the cause.
    let farthest = |lines: &LineFacts| lines.far.first().map_or(0.0, |(_, _, z)| z.abs());
    let most = both.iter().map(|l| farthest(l)).fold(0.0, f64::max);
    for (lines, name) in both.into_iter().zip(names) {
        repeated(record, lines, name);
        if farthest(lines) >= most {
            out_of_line(record, part, lines, name, limits);
        }
    }
    let loud = record.findings.iter().any(|f| f.kind == Verdict::OutOfLine);
    if loud {
        record.findings.retain(|f| f.kind != Verdict::Outliers);
    }
    let Some(products) = &structure.products else { return };
    // A zero line costs a rank and is told as such.
    let zero = both.iter().any(|l| l.far.iter().any(|(_, ratio, _)| *ratio == 0.0));
    if products.rank < products.lines && !(zero && loud) {
        let text = format!(
            "rank {} of {} lines that were multiplied with each other",
            products.rank, products.lines
        );
        record.notice(Verdict::RankDeficient, Severity::Finding, text);
    } else if dependent(products) && !mean_is_off && !loud && facts.outliers == 0 {
        let text = format!(
            "its lines are not independent: the mean squared cosine of two is {:.2} times that of independent ones, as of a matrix of rank {:.0}; the closest two, {} and {}, have cosine {:.3}",
            products.squared_cosine,
            products.values as f64 / (products.squared_cosine - 1.0),
            products.largest.1,
            products.largest.2,
            products.largest.0
        );
        record.notice(Verdict::Dependent, Severity::Finding, text);
    }
}

fn repeated(record: &mut TensorRecord, lines: &LineFacts, name: &str) {
    if let Some((first, second)) = lines.repeated.first() {
        let text = format!(
            "{} of {} {name} repeat earlier ones, the first is {second}, a copy of {first}",
            lines.repeated.len(),
            lines.count
        );
        record.notice(Verdict::RankDeficient, Severity::Finding, text);
    }
}

/// The lines whose variances chance does not explain.
fn far<'a>(lines: &'a LineFacts, limits: &Limits) -> Vec<&'a (usize, f64, f64)> {
    let critical = quantile(limits.level / lines.count.max(1) as f64);
    lines.far.iter().filter(|(_, _, z)| z.abs() > critical).collect()
}

fn out_of_line(
    record: &mut TensorRecord,
    part: &Part,
    lines: &LineFacts,
    name: &str,
    limits: &Limits,
) {
    let far = far(lines, limits);
    let Some((index, ratio, _)) = far.first() else { return };
    let padding = part.role == Role::Embedding && far.len() == 1 && *ratio == 0.0;
    let text = if *ratio == 0.0 {
        let zeros = far.iter().filter(|(_, ratio, _)| *ratio == 0.0).count();
        format!("{zeros} of {} {name} are zero, number {index} for one", lines.count)
    } else {
        format!(
            "{} of {} {name} are out of line; number {index} has {ratio:.3} times the standard deviation of the others",
            far.len(),
            lines.count
        )
    };
    let severity = if padding { Severity::Note } else { Severity::Finding };
    record.notice(Verdict::OutOfLine, severity, text);
}
