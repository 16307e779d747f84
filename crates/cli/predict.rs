use anyhow::Context;
use gainstage_report::{Axis, Cell, Document, Figure, Mark, Panel, Point, Section, Table};
use gainstage_spec::{
    Activation, Dense, Initializer, InputStatistics, Layer, Network, SpecError, WeightShape,
};
use gainstage_theory::{
    CriticalRate, DepthLimit, EdgePoint, FixedPoint, MeanField, Options, Phase, Predicted,
    VarianceLimit, edge_of_chaos, moments, predict,
};
use serde::Serialize;

use crate::args::{Common, Format, Predict};
use crate::{Exit, output};

/// The limit of great depth; the field names are a contract.
#[derive(Serialize)]
struct Limit {
    activation: String,
    weight_variance: f64,
    bias_variance: f64,
    keep: f64,
    phase: Phase,
    /// Whether the variance tends to a fixed point, stays what it is, or diverges.
    variance: &'static str,
    fixed_point: LimitPoint,
    chi_1: f64,
    depth_scale: DepthScale,
    /// 1 - c ~ constant / l^power, at criticality.
    correlation_rate: Option<CriticalRate>,
    /// q ~ constant / l^power, at a fixed point 0 of slope 1.
    variance_rate: Option<CriticalRate>,
    /// Every fixed point of the variance map, ascending.
    fixed_points: Vec<AnyFixedPoint>,
    /// Where chi_1 = 1 at this bias variance.
    edge_of_chaos: Vec<EdgePoint>,
}

#[derive(Serialize)]
struct LimitPoint {
    q: Option<f64>,
    c: f64,
    q_slope: Option<f64>,
    c_slope: f64,
}

#[derive(Serialize)]
struct DepthScale {
    q: Option<f64>,
    c: Option<f64>,
    gradient: Option<f64>,
}

#[derive(Serialize)]
struct AnyFixedPoint {
    q: f64,
    slope: f64,
    stable: bool,
}

/// One layer; the field names are a contract.
#[derive(Serialize)]
struct LayerRow {
    layer: usize,
    /// Second moment of the pre-activations.
    q: f64,
    /// Correlation of two inputs' pre-activations.
    c: f64,
    /// Second moment of the error signal over the last layer's.
    gradient: f64,
    /// Mean square of the weight gradient's entries for an error signal of 1 in the last layer.
    weight_gradient: f64,
    #[serde(flatten)]
    band: Option<Bands>,
}

/// What one draw of the weights does, with the stated probability.
#[derive(Serialize)]
struct Bands {
    fan_in: usize,
    fan_out: usize,
    q_typical: f64,
    q_low: f64,
    q_high: f64,
    gradient_typical: f64,
    gradient_low: f64,
    gradient_high: f64,
    weight_gradient_low: f64,
    weight_gradient_high: f64,
}

#[derive(Serialize)]
struct Answer {
    version: u32,
    /// `null` where the layers of a network file differ.
    #[serde(flatten)]
    limit: Option<Limit>,
    depth: usize,
    /// Of the bands, where the width is finite.
    band_level: Option<f64>,
    assumptions: Vec<String>,
    layers: Vec<LayerRow>,
}

pub(crate) fn run(common: &Common, args: &Predict) -> anyhow::Result<Exit> {
    let answer = match (&args.network, args.width) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let network: Network = toml::from_str(&text)
                .with_context(|| format!("{} is no network description", path.display()))?;
            of_network(args, &network, common_field(&network)?.as_ref())?
        }
        (None, Some(width)) => {
            let network = uniform(args, width.get())?;
            of_network(args, &network, Some(&field(args)?))?
        }
        (None, None) => infinitely_wide(args)?,
    };
    let folder = common.out.join("predict");
    let full = table(&answer, usize::MAX);
    document(&answer, full.clone()).write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &answer)?;
    let text = format!(
        "{}{}report: {}\n",
        answer.limit.as_ref().map(sentences).unwrap_or_default(),
        lines(&answer.assumptions),
        folder.join("index.html").display()
    );
    let shown = if common.format == Format::Text { table(&answer, 24) } else { full };
    output::result(common, &answer, &[shown], &text)?;
    Ok(Exit::Clean)
}

/// Each on a line of its own.
fn lines(sentences: &[String]) -> String {
    sentences.iter().flat_map(|sentence| [sentence.as_str(), "\n"]).collect()
}

/// Activation and variances, shared by all layers.
struct Field {
    activation: Activation,
    weight_variance: f64,
    bias_variance: f64,
    keep: f64,
    /// Variance of the first layer's pre-activations.
    start: f64,
}

impl Field {
    fn mean_field(&self) -> anyhow::Result<MeanField> {
        Ok(MeanField::new(&self.activation, self.weight_variance, self.bias_variance)?
            .with_dropout(self.keep)?)
    }
}

/// The width at which an initializer by name is read as sigma_w^2.
const NOMINAL_WIDTH: usize = 1000;

fn field(args: &Predict) -> anyhow::Result<Field> {
    let weight_variance = match args.weight_variance {
        Some(variance) => variance,
        None => variance(&args.init, args.width.map_or(NOMINAL_WIDTH, std::num::NonZero::get))?,
    };
    let bias_variance = args.bias_variance;
    Ok(Field {
        activation: args.activation.clone(),
        weight_variance,
        bias_variance,
        keep: args.keep,
        start: weight_variance * args.input_second_moment + bias_variance,
    })
}

/// sigma_w^2 of an initializer between layers of this width.
fn variance(init: &Initializer, width: usize) -> Result<f64, SpecError> {
    let law = init.law(&WeightShape::dense(width, width)?)?;
    Ok(law.variance() * width as f64)
}

fn uniform(args: &Predict, width: usize) -> anyhow::Result<Network> {
    // Bad variances are refused with their own names before they become standard deviations.
    field(args)?.mean_field()?;
    let weights = match args.weight_variance {
        Some(variance) => Initializer::scaled_normal(variance.sqrt()),
        None => args.init.clone(),
    };
    let bias = match args.bias_variance {
        0.0 => Initializer::zeros(),
        variance => Initializer::normal(variance.sqrt()),
    };
    let dense = Dense::new(width, weights, args.activation.clone()).with_bias(bias);
    let mut layers = Vec::new();
    for _ in 0..args.depth.get() {
        layers.push(Layer::Dense(dense.clone()));
        if args.keep < 1.0 {
            layers.push(Layer::Dropout { keep: args.keep });
        }
    }
    // Nothing follows the last layer but the injected error signal.
    if args.keep < 1.0 {
        layers.pop();
    }
    Ok(Network::new(width, layers)?)
}

/// What the layers between the first and the last have in common, if they do.
fn common_field(network: &Network) -> anyhow::Result<Option<Field>> {
    if !network.is_plain() {
        return Ok(None);
    }
    let dense: Vec<&Dense> = network.dense().collect();
    let shapes = network.shapes()?;
    let inner = if dense.len() > 2 { 1..dense.len() - 1 } else { 0..1 };
    let of = |i: usize| -> anyhow::Result<(Activation, f64, f64)> {
        let fan_in = shapes[i].fans().fan_in() as f64;
        let weight = dense[i].weights.law(&shapes[i])?.variance() * fan_in;
        let bias = dense[i].bias.law(&shapes[i])?.variance();
        Ok((dense[i].activation.clone(), weight, bias))
    };
    let (activation, weight_variance, bias_variance) = of(inner.start)?;
    for i in inner {
        let (phi, weight, bias) = of(i)?;
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
        if phi != activation || !same(weight, weight_variance) || !same(bias, bias_variance) {
            return Ok(None);
        }
    }
    let start = weight_variance + bias_variance;
    Ok(Some(Field { activation, weight_variance, bias_variance, keep: 1.0, start }))
}

fn limit(field: &Field) -> anyhow::Result<Limit> {
    let mean_field = field.mean_field()?;
    let DepthLimit { variance, chi_1, phase, c, c_slope, xi_q, xi_c, xi_gradient } =
        mean_field.depth_limit(field.start)?;
    let (kind, point) = match variance {
        VarianceLimit::Fixed { point } => ("fixed", Some(point)),
        VarianceLimit::Kept { q } => ("kept", Some(FixedPoint { q, slope: 1.0 })),
        VarianceLimit::Diverges => ("diverges", None),
    };
    let scale = |xi: f64| xi.is_finite().then_some(xi);
    Ok(Limit {
        activation: field.activation.to_string(),
        weight_variance: field.weight_variance,
        bias_variance: field.bias_variance,
        keep: field.keep,
        phase,
        variance: kind,
        fixed_point: LimitPoint {
            q: point.map(|p| p.q),
            c,
            q_slope: point.map(|p| p.slope),
            c_slope,
        },
        chi_1,
        depth_scale: DepthScale { q: scale(xi_q), c: scale(xi_c), gradient: scale(xi_gradient) },
        correlation_rate: mean_field.correlation_rate(field.start)?,
        variance_rate: mean_field.variance_rate(field.start)?,
        fixed_points: mean_field
            .fixed_points()
            .into_iter()
            .map(|p| AnyFixedPoint { q: p.q, slope: p.slope, stable: p.is_stable() })
            .collect(),
        edge_of_chaos: edge_of_chaos(&field.activation, field.bias_variance)?,
    })
}

fn inputs(args: &Predict, width: usize) -> InputStatistics {
    InputStatistics {
        second_moment: args.input_second_moment,
        correlation: args.input_correlation,
        ..InputStatistics::gaussian(width)
    }
}

/// By the maps alone.
fn infinitely_wide(args: &Predict) -> anyhow::Result<Answer> {
    let field = field(args)?;
    // Checks the input as every other prediction does.
    let probe = Network::uniform(1, 1, &Initializer::zeros(), &Activation::Linear)?;
    predict(&probe, &inputs(args, 1), &Options::default())?;
    let mean_field = field.mean_field()?;
    let limit = limit(&field)?;
    let depth = args.depth.get();
    let (mut q, mut into) = (field.start, args.input_second_moment);
    let parted = field.weight_variance * args.input_second_moment * (1.0 - args.input_correlation);
    let mut gap = if q > 0.0 { parted / q } else { 0.0 };
    let mut layers = Vec::with_capacity(depth);
    // chi of the layer above, to be multiplied from the top.
    let mut factors = Vec::with_capacity(depth);
    for layer in 1..=depth {
        layers.push(LayerRow {
            layer,
            q,
            c: 1.0 - gap,
            gradient: 1.0,
            weight_gradient: into,
            band: None,
        });
        let m = moments(&field.activation, q)?;
        factors.push(field.weight_variance * m.derivative_second_moment / field.keep);
        into = m.second_moment / field.keep;
        if layer < depth {
            (q, gap) = mean_field.step(q, gap)?;
        }
    }
    let mut gradient = 1.0;
    for (row, factor) in layers.iter_mut().zip(factors).rev() {
        // The signal is injected behind the last layer's weights.
        if row.layer < depth {
            gradient *= factor;
        }
        row.gradient = gradient;
        row.weight_gradient *= gradient;
    }
    let assumptions =
        vec!["infinitely wide layers; --width N adds the band that holds 95% of draws".to_owned()];
    Ok(Answer { version: 1, limit: Some(limit), depth, band_level: None, assumptions, layers })
}

/// With bands at finite width.
fn of_network(args: &Predict, network: &Network, field: Option<&Field>) -> anyhow::Result<Answer> {
    let statistics = inputs(args, network.input);
    let batch = args.batch.map(std::num::NonZero::get);
    let options = Options { batch, ..Options::default() };
    let prediction = predict(network, &statistics, &options)?;
    let limit = field.map(limit).transpose()?;
    let top = prediction.layers.last().map_or(1.0, |l| l.gradient.expected);
    let layers: Vec<LayerRow> = prediction
        .layers
        .iter()
        .map(|l| {
            let over = |value: f64| if top > 0.0 { value / top } else { 0.0 };
            let typical = |p: &Predicted| p.log_mean.exp();
            LayerRow {
                layer: l.layer,
                q: l.forward.expected,
                c: l.correlation,
                gradient: over(l.gradient.expected),
                weight_gradient: over(l.weight_gradient.expected),
                band: Some(Bands {
                    fan_in: l.fan_in,
                    fan_out: l.fan_out,
                    q_typical: typical(&l.forward),
                    q_low: l.forward.low,
                    q_high: l.forward.high,
                    gradient_typical: over(typical(&l.gradient)),
                    gradient_low: over(l.gradient.low),
                    gradient_high: over(l.gradient.high),
                    weight_gradient_low: over(l.weight_gradient.low),
                    weight_gradient_high: over(l.weight_gradient.high),
                }),
            }
        })
        .collect();
    Ok(Answer {
        version: 1,
        limit,
        depth: layers.len(),
        band_level: Some(prediction.level),
        assumptions: prediction.assumptions.iter().map(ToString::to_string).collect(),
        layers,
    })
}

/// The limit of great depth in words.
fn sentences(limit: &Limit) -> String {
    let number = |x: f64| gainstage_report::significant(x);
    let variance = match (limit.variance, limit.fixed_point.q) {
        ("kept", Some(q)) => format!("every q stays what it is, here {}", number(q)),
        (_, Some(q)) => format!("q tends to q* = {}", number(q)),
        _ => "q diverges with depth".to_owned(),
    };
    let chi = number(limit.chi_1);
    let phase = match limit.phase {
        Phase::Ordered => format!("ordered (chi_1 = {chi} < 1: inputs converge, gradients vanish)"),
        Phase::Critical => "at the edge of chaos (chi_1 = 1)".to_owned(),
        Phase::Chaotic => format!("chaotic (chi_1 = {chi} > 1: inputs part, gradients explode)"),
    };
    let scale = |xi: Option<f64>| xi.map_or("infinite".to_owned(), number);
    let rate = |rate: &Option<CriticalRate>, what: &str| {
        rate.map_or(String::new(), |r| {
            let power = if r.power == 1 { "l" } else { "l^2" };
            format!("; {what} ~ {} / {power}", number(r.constant))
        })
    };
    let several = if limit.fixed_points.len() > 1 {
        let list: Vec<String> = limit
            .fixed_points
            .iter()
            .map(|p| format!("{} ({})", number(p.q), if p.stable { "stable" } else { "unstable" }))
            .collect();
        format!("Fixed points of q: {}.\n", list.join(", "))
    } else {
        String::new()
    };
    format!(
        "{variance}; {phase}; c* = {}{}{}.\n{several}Depth scales: q {}, c {}, gradient {} layers.\n",
        number(limit.fixed_point.c),
        rate(&limit.variance_rate, "q"),
        rate(&limit.correlation_rate, "1 - c"),
        scale(limit.depth_scale.q),
        scale(limit.depth_scale.c),
        scale(limit.depth_scale.gradient),
    )
}

/// At most `rows` layers, evenly spread, first and last among them.
fn table(answer: &Answer, rows: usize) -> Table {
    let mut columns = vec!["layer", "q", "c", "gradient", "weight gradient"];
    if answer.band_level.is_some() {
        columns.extend(["q: 95% from", "to", "gradient: 95% from", "to "]);
    }
    let caption = "Second moments by layer: pre-activations q, correlation c of two inputs, error signal and weight gradient for an error signal of 1 in the last layer";
    let mut table = Table::new("layers", caption, &columns);
    let last = answer.layers.len().saturating_sub(1);
    let step = answer.layers.len().div_ceil(rows).max(1);
    for (index, row) in answer.layers.iter().enumerate() {
        if index % step != 0 && index != last {
            continue;
        }
        let mut cells = vec![
            Cell::count(row.layer),
            Cell::number(row.q),
            Cell::number(row.c),
            Cell::number(row.gradient),
            Cell::number(row.weight_gradient),
        ];
        if let Some(band) = &row.band {
            let ends = [band.q_low, band.q_high, band.gradient_low, band.gradient_high];
            cells.extend(ends.map(Cell::number));
        }
        table.push(cells);
    }
    table
}

fn figures(answer: &Answer) -> [Figure; 2] {
    let last = answer.layers.last();
    let number = |x: Option<f64>| x.map_or("unknown".to_owned(), gainstage_report::significant);
    let caption = format!(
        "Theory by layer{}. The last layer's signal is {}; the first layer's error signal is {} times the last's.",
        if answer.band_level.is_some() { "; bands hold 95% of draws" } else { "" },
        number(last.map(|l| l.q)),
        number(answer.layers.first().map(|l| l.gradient)),
    );
    let figure = Figure::new("predict", "Predicted signal and gradient", caption);
    let line = |of: fn(&LayerRow) -> f64| {
        let points = answer.layers.iter().map(|l| (l.layer as f64, of(l))).collect();
        Mark::line("theory", 0, points)
    };
    let band = |of: fn(&Bands) -> (f64, f64, f64)| {
        let points = answer.layers.iter().filter_map(|l| {
            let (typical, low, high) = of(l.band.as_ref()?);
            Some(Point::with_interval(l.layer as f64, typical, low, high))
        });
        Mark::Band { name: "95% of draws".to_owned(), colour: 1, points: points.collect() }
    };
    let log = || Axis::log10("second moment per unit");
    let mut signal = Panel::new("pre-activations q", Axis::linear("layer"), log());
    let mut gradient = Panel::new("error signals", Axis::linear("layer"), log());
    if answer.band_level.is_some() {
        signal.marks.push(band(|b| (b.q_typical, b.q_low, b.q_high)));
        gradient.marks.push(band(|b| (b.gradient_typical, b.gradient_low, b.gradient_high)));
    }
    let correlation =
        Panel::new("", Axis::linear("layer"), Axis::linear("correlation c of two inputs"))
            .mark(line(|l| l.c));
    let caption = format!(
        "Theory by layer: from {} in the first to {} in the last.",
        number(answer.layers.first().map(|l| l.c)),
        number(last.map(|l| l.c))
    );
    [
        figure.panel(signal.mark(line(|l| l.q))).panel(gradient.mark(line(|l| l.gradient))),
        Figure::new("correlation", "Predicted correlation of two inputs", caption)
            .panel(correlation),
    ]
}

fn document(answer: &Answer, table: Table) -> Document {
    let lead = answer.limit.as_ref().map_or_else(
        || format!("{} dense layers.", answer.depth),
        |l| {
            format!(
                "{} through {} dense layers, σ_w² = {}, σ_b² = {}.",
                l.activation, answer.depth, l.weight_variance, l.bias_variance
            )
        },
    );
    let mut document = Document::new("Prediction", lead);
    let mut section = Section::new("prediction", "Layer by layer");
    figures(answer).into_iter().for_each(|figure| section.figure(figure));
    if let Some(limit) = &answer.limit {
        sentences(limit).lines().for_each(|line| section.paragraph(line));
    }
    section.paragraph(answer.assumptions.join("; "));
    section.table(table);
    document.sections.push(section);
    document
}
