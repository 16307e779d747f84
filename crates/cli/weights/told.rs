//! What given weights did, as a table, sentences and a figure.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};

use super::{Answer, Quantity, Row};
use crate::propagate::{FAMILY_RATE, QUANTITIES};

pub(super) fn table(answer: &Answer) -> Table {
    let columns = [&["layer", "tensor", "fan in", "fan out"][..], &QUANTITIES].concat();
    let caption = format!(
        "Second moments of one batch through these weights, beside those of a typical draw; every test at {:.1e} (family {:.1e})",
        FAMILY_RATE / (3 * answer.layers.len()) as f64,
        FAMILY_RATE
    );
    let mut table = Table::new("layers", caption, &columns);
    for row in &answer.layers {
        let mut cells = vec![
            Cell::count(row.layer),
            Cell::text(format!("`{}`", row.tensor)),
            Cell::count(row.fan_in),
            Cell::count(row.fan_out),
        ];
        for quantity in [&row.forward, &row.gradient, &row.weight_gradient] {
            cells.extend([
                quantity.predicted.map_or(Cell::text(""), Cell::number),
                Cell::number(quantity.measured),
                Cell::text(quantity.verdict),
            ]);
        }
        table.push(cells);
    }
    table
}

pub(super) fn sentences(answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    let classes = answer.ln_classes.exp().round();
    if classes > 1.0 {
        let labels =
            answer.loss.map_or_else(String::new, |l| format!("loss of the labels {l:.4}; "));
        let predicted = answer
            .blind_loss_predicted
            .map_or_else(String::new, |l| format!(" ({l:.4} predicted)"));
        lines.push(format!(
            "{labels}loss over blind labels {:.4}{predicted} against ln {classes} = {:.4}",
            answer.blind_loss, answer.ln_classes
        ));
    }
    lines.push(format!("prediction: {}", answer.assumptions.join("; ")));
    if let Some(first) = answer.breakdowns.first() {
        lines.push(format!(
            "{} in layer {}, {}",
            match first.kind {
                gainstage_simulate::BreakdownKind::Overflow => "overflow",
                gainstage_simulate::BreakdownKind::Underflow => "underflow",
            },
            first.layer,
            if first.backward { "on the way back" } else { "on the way forward" }
        ));
    }
    if !answer.unused.is_empty() {
        let shown: Vec<&str> = answer.unused.iter().take(5).map(String::as_str).collect();
        let more = answer.unused.len().saturating_sub(shown.len());
        let and = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!(
            "tensors of the file that the network does not use: {}{and}",
            shown.join(", ")
        ));
    }
    lines
}

pub(super) fn figure(answer: &Answer) -> Figure {
    let panel = |title: &str, of: fn(&Row) -> &Quantity| {
        let all = || answer.layers.iter().map(|row| (row.layer as f64, of(row)));
        let line: Vec<(f64, f64)> = all().filter_map(|(x, q)| Some((x, q.predicted?))).collect();
        let points = all().map(|(x, q)| Point::new(x, q.measured)).collect();
        let mut panel = Panel::new(title, Axis::linear("layer"), Axis::log10("second moment"));
        let bands: Option<Vec<Point>> = all()
            .map(|(x, q)| {
                Some(Point::with_interval(x, f64::NAN, q.predicted_low?, q.predicted_high?))
            })
            .collect();
        if let Some(points) = bands {
            panel = panel.mark(Mark::Band { name: "95% of draws".into(), colour: 0, points });
        }
        panel.mark(Mark::line("typical draw", 0, line)).mark(Mark::points(
            "these weights",
            1,
            points,
        ))
    };
    Figure::new(
        "propagate",
        "Second moment by layer, predicted and measured",
        "Line and band: weights drawn as the network file says. Points: the weights of the file.",
    )
    .panel(panel("forward: pre-activations", |r| &r.forward))
    .panel(panel("backward: error signals", |r| &r.gradient))
    .panel(panel("weight gradients", |r| &r.weight_gradient))
}
