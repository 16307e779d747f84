//! The report of one run.

use gainstage_claims::{LayerPanel, layer_figure};
use gainstage_report::{Axis, Cell, Document, Figure, Mark, Panel, Section, Table};
use gainstage_simulate::Measured;
use gainstage_spec::Network;
use gainstage_theory::Prediction;

use super::answer::{Answer, FAMILY_RATE};

/// Columns of the three quantities that are predicted and measured in every layer.
pub(crate) const QUANTITIES: [&str; 9] = [
    "forward predicted",
    "measured",
    "",
    "gradient predicted",
    "measured",
    "",
    "weight gradient predicted",
    "measured",
    "",
];

pub(super) fn table(answer: &Answer) -> Table {
    let columns = [&["layer", "fan in", "fan out"][..], &QUANTITIES].concat();
    let caption = format!(
        "Typical second moments over {} draws; every test at {:.1e} (family {:.1e})",
        answer.trials,
        FAMILY_RATE / (3 * answer.layers.len()) as f64,
        FAMILY_RATE
    );
    let mut table = Table::new("layers", caption, &columns);
    for row in &answer.layers {
        let mut cells =
            vec![Cell::count(row.layer), Cell::count(row.fan_in), Cell::count(row.fan_out)];
        for quantity in [&row.forward, &row.gradient, &row.weight_gradient] {
            cells.extend([
                Cell::number(quantity.predicted),
                Cell::number(quantity.measured),
                Cell::text(quantity.verdict),
            ]);
        }
        table.push(cells);
    }
    table
}

pub(super) fn figure(prediction: &Prediction, measured: &Measured) -> Figure {
    let panels: [LayerPanel<'_>; 3] = [
        ("forward: pre-activations", (|l| &l.forward, |d| d.forward)),
        ("backward: error signals", (|l| &l.gradient, |d| d.gradient)),
        ("weight gradients", (|l| &l.weight_gradient, |d| d.weight_gradient)),
    ];
    layer_figure(
        "propagate",
        "Second moment by layer, predicted and measured",
        &panels,
        prediction,
        measured,
    )
}

pub(super) fn document(
    network: &Network,
    answer: &Answer,
    table: Table,
    figure: Figure,
) -> Document {
    let mut document = Document::new(
        "Signal propagation",
        format!(
            "{} dense layers, {} weight draws, {} inputs each, seed {}.",
            network.dense().count(),
            answer.trials,
            answer.batch,
            answer.seed
        ),
    );
    let mut section = Section::new("propagation", "Predicted and measured, layer by layer");
    section.figure(figure);
    section.paragraph(format!("The draws are {}: {}.", answer.method, answer.method_reason));
    section.paragraph(format!("The prediction is {}.", answer.assumptions.join("; ")));
    section.paragraph(breakdown_sentence(answer));
    section.table(table);
    document.sections.push(section);
    if let Some(comparison) = &answer.comparison {
        document.sections.push(comparison.section(answer.trials));
    }
    if let Some(jacobian) = &answer.jacobian {
        document.sections.push(jacobian.section());
    }
    if let Some(figure) = histograms(answer) {
        let mut section = Section::new("histograms", "Distributions of the signals");
        section.figure(figure);
        document.sections.push(section);
    }
    document
}

/// The first, the middle and the last layer, with --histograms.
fn histograms(answer: &Answer) -> Option<Figure> {
    let last = answer.layers.len().checked_sub(1)?;
    let mut shown = vec![0, last / 2, last];
    shown.dedup();
    let mut figure = Figure::new(
        "histograms",
        "Signals over all draws, inputs and units",
        "Bins reach four root mean squares of the first draw to either side; results.json has every layer.",
    );
    for at in shown {
        let row = &answer.layers[at];
        let of = row.histograms.as_ref()?;
        for (colour, (name, histogram)) in [
            ("pre-activations z", &of.pre_activation),
            ("activations", &of.activation),
            ("error signals", &of.error_signal),
        ]
        .into_iter()
        .enumerate()
        {
            let title = format!("layer {}: {name}", row.layer);
            let panel = Panel::new(title, Axis::linear("value"), Axis::linear("density"));
            figure = figure.panel(panel.mark(Mark::Histogram {
                name: name.to_owned(),
                colour,
                edges: histogram.edges().to_vec(),
                heights: histogram.density(),
            }));
        }
    }
    Some(figure)
}

pub(super) fn breakdown_sentence(answer: &Answer) -> String {
    let Some(first) = answer.breakdowns.first() else { return String::new() };
    let mut trials: Vec<usize> = answer.breakdowns.iter().map(|b| b.trial).collect();
    trials.dedup();
    format!(
        "{} of {} draws overflowed or underflowed; the first, draw {}, {} in layer {}.\n",
        trials.len(),
        answer.trials,
        first.trial,
        match first.breakdown.kind {
            gainstage_simulate::BreakdownKind::Overflow => "overflowed",
            gainstage_simulate::BreakdownKind::Underflow => "underflowed",
        },
        first.breakdown.layer
    )
}
