//! The figures that several claims share.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_simulate::{Energy, LayerDraw, Measured};
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_theory::{LayerPrediction, Predicted, Prediction};

use crate::ClaimError;
use crate::signal::{Side, Signal};

pub(crate) use gainstage_report::significant;

/// Single draws shown behind a mean.
const DRAWS: usize = 12;

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", significant(100.0 * share))
}

/// How a quantity is read from a layer's prediction.
pub(crate) type Reader = fn(&LayerPrediction) -> &Predicted;

/// How a figure reads a quantity from a layer's prediction, and from one draw of it.
pub type Readers = (fn(&LayerPrediction) -> &Predicted, fn(&LayerDraw) -> Energy);

/// One panel of [`layer_figure`]: its title, and what it shows.
pub type LayerPanel<'a> = (&'a str, Readers);

/// A predicted and measured network, layer by layer, in panels of the caller's choice.
pub fn layer_figure(
    id: &str,
    title: &str,
    panels: &[LayerPanel<'_>],
    prediction: &Prediction,
    measured: &Measured,
) -> Figure {
    let mut figure = Figure::new(id, title, caption(measured.layers[0].draws.len()));
    for (name, (predicted, energy)) in panels {
        let mut panel =
            Panel::new(*name, Axis::linear("layer"), Axis::log10("second moment per unit"));
        panel.marks = marks("measured", 1, prediction, measured, *predicted, *energy, true);
        figure.panels.push(panel);
    }
    figure
}

/// One dot a seed and the mean with its 95% interval, for every name and its values.
pub(crate) fn seed_panel(
    title: &str,
    names: &str,
    label: &str,
    groups: &[(String, Vec<f64>)],
) -> Result<Panel, ClaimError> {
    let all = groups.iter().map(|g| g.0.clone()).collect();
    let mut panel = Panel::new(title, Axis::categories(names, all), Axis::linear(label));
    for (index, (_, values)) in groups.iter().enumerate() {
        let x = index as f64;
        let spread = |j: usize| (j as f64 / values.len() as f64 - 0.5) * 0.3;
        let dots = values.iter().enumerate().map(|(j, &v)| Point::new(x + spread(j), v));
        panel.marks.push(Mark::points("", index + 1, dots.collect()));
        let mean = mean_interval(&Moments::from(values.as_slice()), Probability::P95)?;
        let mean = Point::with_interval(x + 0.3, mean.estimate, mean.low, mean.high);
        panel.marks.push(Mark::points("", 0, vec![mean]));
    }
    Ok(panel)
}

/// Forward and backward second moments of one or more networks, theory and draws.
pub(crate) fn signal_figure(id: &str, title: &str, signals: &[&Signal]) -> Figure {
    let draws = signals[0].measured.layers[0].draws.len();
    let mut figure = Figure::new(id, title, format!("{} {}", caption(draws), last_values(signals)));
    let sides = [
        ("forward: pre-activations", Side::Forward, "second moment per unit"),
        ("backward: error signals", Side::Backward, "second moment per unit"),
    ];
    for (name, side, label) in sides {
        let mut panel = Panel::new(name, Axis::linear("layer"), Axis::log10(label));
        for (index, signal) in signals.iter().enumerate() {
            let (predicted, energy) = side.readers();
            let name = if signals.len() == 1 { "measured" } else { &signal.label };
            let first = index == 0;
            panel.marks.extend(marks(
                name,
                index + 1,
                &signal.prediction,
                &signal.measured,
                predicted,
                energy,
                first,
            ));
        }
        figure.panels.push(panel);
    }
    figure
}

impl Side {
    /// The side's prediction and measurement of a layer.
    pub(crate) fn readers(self) -> Readers {
        match self {
            Self::Forward => (|l| &l.forward, |d| d.forward),
            Self::Backward => (|l| &l.gradient, |d| d.gradient),
        }
    }
}

fn caption(draws: usize) -> String {
    format!(
        "Dark line: theory, the typical value at this width. Band: 95% of single draws. Thin lines: {} draws. Dots: geometric means \
         over {draws} draws with 95% intervals, mostly smaller than the dots.",
        DRAWS.min(draws)
    )
}

/// The numbers for readers who cannot see the figure.
fn last_values(signals: &[&Signal]) -> String {
    let one = |signal: &&Signal| {
        let (first, last) =
            (&signal.prediction.layers[0], &signal.prediction.layers[signal.depth() - 1]);
        let measured = |side: Side, layer: usize| {
            Moments::from(signal.logs(side, layer).as_slice()).mean().exp()
        };
        format!(
            "{}: the last layer's signal is {} (theory {}), the first layer's error signal {} (theory {}).",
            signal.label,
            significant(measured(Side::Forward, signal.depth())),
            significant(last.forward.log_mean.exp()),
            significant(measured(Side::Backward, 1)),
            significant(first.gradient.log_mean.exp()),
        )
    };
    signals.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn marks(
    name: &str,
    colour: usize,
    prediction: &Prediction,
    measured: &Measured,
    predicted: fn(&LayerPrediction) -> &Predicted,
    energy: fn(&LayerDraw) -> Energy,
    named_theory: bool,
) -> Vec<Mark> {
    let layers = measured.layers.len();
    let x = |layer: usize| (layer + 1) as f64;
    let band = prediction.layers.iter().map(|l| {
        let p = predicted(l);
        Point::with_interval(l.layer as f64, p.log_mean.exp(), p.low, p.high)
    });
    let draws = measured.layers[0].draws.len().min(DRAWS);
    let thin = (0..draws)
        .map(|t| {
            (0..layers)
                .map(|l| Point::new(x(l), energy(&measured.layers[l].draws[t]).mean))
                .collect()
        })
        .collect();
    // About twenty dots, whatever the depth.
    let step = layers.div_ceil(20);
    let dots = (0..layers).filter(|l| l % step == 0 || l + 1 == layers).map(|l| {
        let logs = measured.layers[l].values(|d| energy(d).log_mean);
        let m = Moments::from(logs.as_slice());
        match mean_interval(&m, Probability::P95) {
            Ok(i) if m.non_finite() == 0 => {
                Point::with_interval(x(l), i.estimate.exp(), i.low.exp(), i.high.exp())
            }
            _ => Point::new(x(l), logs.iter().map(|v| v.exp()).sum::<f64>() / logs.len() as f64),
        }
    });
    let theory =
        prediction.layers.iter().map(|l| (l.layer as f64, predicted(l).log_mean.exp())).collect();
    vec![
        Mark::Band { name: format!("{name}: 95% of draws"), colour, points: band.collect() },
        Mark::Thin { colour, lines: thin },
        Mark::line(if named_theory { "theory" } else { "" }, 0, theory),
        Mark::points(name, colour, dots.collect()),
    ]
}

/// Second moments of the activations against the layer, both axes logarithmic: a power law is straight.
pub(crate) fn level_figure(id: &str, title: &str, signal: &Signal) -> Figure {
    let readers: Readers = (|l| &l.activation, |d| d.activation);
    let mut panel =
        Panel::new("activations", Axis::log10("layer"), Axis::log10("second moment per unit"));
    panel.marks =
        marks("measured", 1, &signal.prediction, &signal.measured, readers.0, readers.1, true);
    let law = (2..=signal.depth()).map(|l| (l as f64, 0.5 / l as f64)).collect();
    panel.marks.push(Mark::dashed("1/(2l)", 3, law));
    panel.marks.push(Mark::Level { y: 0.25, label: "0.25".to_owned() });
    let draws = signal.measured.layers[0].draws.len();
    let text = format!("{} Dashed: the law 1/(2l), and the level 0.25.", caption(draws));
    Figure::new(id, title, text).panel(panel)
}

/// The distribution over draws of ln q in the last layer, and the normal law with the exact moments.
pub(crate) fn spread_figure(id: &str, title: &str, signal: &Signal) -> Figure {
    let depth = signal.depth();
    let law = signal.prediction.layers[depth - 1].forward;
    let std = law.log_variance.sqrt();
    let (low, high) = (law.log_mean - 4.0 * std, law.log_mean + 4.0 * std);
    let bins = 40;
    let width = (high - low) / bins as f64;
    let logs = signal.logs(Side::Forward, depth);
    let mut counts = vec![0.0; bins];
    for log in &logs {
        let place = (log - low) / width;
        if (0.0..bins as f64).contains(&place) {
            counts[place as usize] += 1.0 / (logs.len() as f64 * width);
        }
    }
    let edges: Vec<f64> = (0..=bins).map(|i| low + width * i as f64).collect();
    let normal = (0..=200).map(|i| {
        let x = low + (high - low) * f64::from(i) / 200.0;
        (
            x,
            (-0.5 * ((x - law.log_mean) / std).powi(2)).exp()
                / (std * (2.0 * std::f64::consts::PI).sqrt()),
        )
    });
    let panel = Panel::new(
        "",
        Axis::linear("ln of the last layer's second moment"),
        Axis::linear("density over draws"),
    )
    .mark(Mark::Histogram { name: "measured".to_owned(), colour: 1, edges, heights: counts })
    .mark(Mark::line("theory", 0, normal.collect()));
    let text = format!(
        "Bars: {} draws. Line: the normal law with the exact mean {} and variance {} of ln q. The mean of q itself is kept, at e^0 = 1 \
         times the factor 2 of the pre-activation; most draws lie below.",
        logs.len(),
        significant(law.log_mean),
        significant(law.log_variance)
    );
    Figure::new(id, title, text).panel(panel)
}

/// One case of [`breakdown_figure`].
pub(crate) type Breakdown = (String, usize, usize, f64, f64);

/// Predicted ranges of layers and the measured mean layer of the first breakdown.
pub(crate) fn breakdown_figure(rows: &[Breakdown]) -> Figure {
    let names = rows.iter().map(|r| r.0.replace(" at ", " ")).collect();
    let place = |(i, row): (usize, &Breakdown)| (i as f64, row.1 as f64, row.2 as f64, row.3);
    let predicted = rows
        .iter()
        .enumerate()
        .map(place)
        .map(|(x, low, high, _)| Point::with_interval(x - 0.12, 0.5 * (low + high), low, high));
    let measured =
        rows.iter().enumerate().map(place).map(|(x, _, _, mean)| Point::new(x + 0.12, mean));
    let panel = Panel::new(
        "",
        Axis::categories("format, event, std of the weights", names),
        Axis::linear("layer"),
    )
    .mark(Mark::points("predicted", 0, predicted.collect()))
    .mark(Mark::points("measured", 2, measured.collect()));
    let text = "Dark: the layers between which theory expects the first overflow or underflow. Orange: the measured mean layer.";
    Figure::new("VAN04-breakdown", "Where number formats give way", text).panel(panel)
}
