use gainstage_report::{Cell, Table};
use gainstage_spec::Activation;
use gainstage_theory::{moments, pytorch_gain};
use serde::Serialize;

use crate::args::{Common, Gain};
use crate::{Exit, output};

/// One activation; the field names are a contract.
#[derive(Serialize)]
struct Row {
    activation: String,
    q: f64,
    mean: f64,
    second_moment: f64,
    fourth_moment: f64,
    derivative_second_moment: f64,
    /// E phi phi'
    value_derivative: f64,
    gain: f64,
    critical_gain: f64,
    /// That of `nn.init.calculate_gain`, where it has one.
    pytorch_gain: Option<f64>,
}

pub(crate) fn run(common: &Common, args: &Gain) -> anyhow::Result<Exit> {
    if !(args.q > 0.0 && args.q.is_finite()) {
        anyhow::bail!("--q is {}; it must be positive and finite", args.q);
    }
    let activations = args.activation.clone().map_or_else(Activation::all, |phi| vec![phi]);
    let rows = activations
        .iter()
        .map(|phi| {
            let m = moments(phi, args.q)?;
            Ok(Row {
                activation: phi.to_string(),
                q: args.q,
                mean: m.mean,
                second_moment: m.second_moment,
                fourth_moment: m.fourth_moment,
                derivative_second_moment: m.derivative_second_moment,
                value_derivative: m.value_derivative,
                gain: m.gain(),
                critical_gain: m.critical_gain(),
                pytorch_gain: pytorch_gain(phi),
            })
        })
        .collect::<anyhow::Result<Vec<Row>>>()?;
    let mut table = Table::new(
        "gain",
        format!("Gaussian moments and gains at pre-activations of second moment {}", args.q),
        &["activation", "E phi", "E phi^2", "E phi'^2", "gain", "critical gain", "PyTorch gain"],
    );
    for row in &rows {
        let exact = |value: f64| {
            let plain = value == 0.0 || (1e-4..1e6).contains(&value.abs());
            Cell::text(if plain { format!("{value:.12}") } else { format!("{value:.12e}") })
        };
        table.push(vec![
            Cell::text(&row.activation),
            exact(row.mean),
            exact(row.second_moment),
            exact(row.derivative_second_moment),
            exact(row.gain),
            exact(row.critical_gain),
            row.pytorch_gain.map_or(Cell::text("none"), exact),
        ]);
    }
    let text = "gain = sqrt(q / E phi^2) keeps the second moment of pre-activations; critical gain = 1 / sqrt(E phi'^2) keeps gradients.\n\
                Weights: normal, standard deviation gain / sqrt(fan_in). PyTorch gain: nn.init.calculate_gain, which knows few activations.\n\
                Keras, JAX and Flax have no table: he_* is the gain sqrt 2, lecun_* and (for equal widths) glorot_* the gain 1, whatever the activation.\n";
    match (&args.activation, rows.as_slice()) {
        (Some(_), [row]) => output::result(common, row, &[table], text)?,
        _ => output::result(common, &rows, &[table], text)?,
    }
    Ok(Exit::Clean)
}
