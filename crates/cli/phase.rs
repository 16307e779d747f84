use gainstage_report::{
    Axis, Cell, ColourMap, Document, Figure, Mark, Panel, Point, Section, Table,
};
use gainstage_theory::{
    DepthLimit, EdgePoint, VarianceLimit, edge_of_chaos, gain, phase_diagram, pytorch_gain,
};
use serde::Serialize;

use crate::args::{Common, Phase, Range};
use crate::{Exit, output, progress};

/// An initialization without bias in the diagram.
#[derive(Clone, Serialize)]
struct Place {
    name: String,
    weight_variance: f64,
    bias_variance: f64,
    #[serde(flatten)]
    limit: DepthLimit,
}

#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    activation: String,
    q: f64,
    weight_variances: &'a [f64],
    bias_variances: &'a [f64],
    /// Row by row of the bias variance.
    limits: &'a [Vec<DepthLimit>],
    edge_of_chaos: &'a [(f64, EdgePoint)],
    initializations: &'a [Place],
}

pub(crate) fn run(common: &Common, args: &Phase) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        (2..=1000).contains(&args.points.get()),
        "--points is {}; it must be between 2 and 1000",
        args.points
    );
    let (weights, biases) = (grid(args.weight_variance, args), grid(args.bias_variance, args));
    let bar = progress::spinner(common, "computing the diagram");
    let limits = phase_diagram(&args.activation, &weights, &biases, args.q)?;
    let edge = edge(args)?;
    let places = places(args)?;
    bar.finish_and_clear();
    let answer = Answer {
        version: 1,
        activation: args.activation.to_string(),
        q: args.q,
        weight_variances: &weights,
        bias_variances: &biases,
        limits: &limits,
        edge_of_chaos: &edge,
        initializations: &places,
    };
    let folder = common.out.join("phase");
    let table = table(&places);
    let figures = figures(args, &weights, &biases, &limits, &edge, &places);
    document(args, table.clone(), figures).write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &answer)?;
    let text = format!("{}report: {}\n", sentence(&edge), folder.join("index.html").display());
    output::result(common, &answer, &[table], &text)?;
    Ok(Exit::Clean)
}

fn grid(range: Range, args: &Phase) -> Vec<f64> {
    let last = (args.points.get() - 1) as f64;
    let at = |i: usize| range.low + (range.high - range.low) * i as f64 / last;
    (0..args.points.get()).map(at).collect()
}

/// The edge of chaos as sigma_b^2 runs through its range, finer where it starts.
fn edge(args: &Phase) -> anyhow::Result<Vec<(f64, EdgePoint)>> {
    let Range { low, high } = args.bias_variance;
    let mut found = Vec::new();
    for i in 0..=120 {
        let bias = low + (high - low) * (f64::from(i) / 120.0).powi(3);
        found.extend(edge_of_chaos(&args.activation, bias)?.into_iter().map(|point| (bias, point)));
    }
    Ok(found)
}

/// Where the usual initializations lie, all with zero biases.
fn places(args: &Phase) -> anyhow::Result<Vec<Place>> {
    let mut named = vec![
        ("PyTorch nn.Linear".to_owned(), 1.0 / 3.0),
        ("Xavier, LeCun".to_owned(), 1.0),
        ("He".to_owned(), 2.0),
    ];
    let exact = gain(&args.activation).powi(2);
    if exact.is_finite() && named.iter().all(|(_, variance)| (variance - exact).abs() > 1e-9) {
        named.push(("unit-variance gain".to_owned(), exact));
    }
    if let Some(gain) = pytorch_gain(&args.activation) {
        let variance = gain * gain;
        if named.iter().all(|(_, other)| (other - variance).abs() > 1e-9) {
            named.push(("PyTorch gain".to_owned(), variance));
        }
    }
    named.sort_by(|a, b| a.1.total_cmp(&b.1));
    let variances: Vec<f64> = named.iter().map(|n| n.1).collect();
    let row = phase_diagram(&args.activation, &variances, &[0.0], args.q)?;
    Ok(named
        .into_iter()
        .zip(row.into_iter().flatten())
        .map(|((name, weight_variance), limit)| Place {
            name,
            weight_variance,
            bias_variance: 0.0,
            limit,
        })
        .collect())
}

fn fixed_q(limit: &DepthLimit) -> f64 {
    match limit.variance {
        VarianceLimit::Fixed { point } => point.q,
        VarianceLimit::Kept { q } => q,
        VarianceLimit::Diverges => f64::INFINITY,
    }
}

fn table(places: &[Place]) -> Table {
    let mut table = Table::new(
        "initializations",
        "Usual initializations with zero biases, in the limit of great depth",
        &["initialization", "sigma_w^2", "q*", "c*", "chi_1", "xi_q", "xi_c", "phase"],
    );
    for place in places {
        let limit = &place.limit;
        let q = fixed_q(limit);
        table.push(vec![
            Cell::text(&place.name),
            Cell::number(place.weight_variance),
            if q.is_finite() { Cell::number(q) } else { Cell::text("diverges") },
            Cell::number(limit.c),
            Cell::number(limit.chi_1),
            scale(limit.xi_q),
            scale(limit.xi_c),
            Cell::text(format!("{:?}", limit.phase).to_lowercase()),
        ]);
    }
    table
}

fn scale(xi: f64) -> Cell {
    if xi.is_finite() { Cell::number(xi) } else { Cell::text("infinite") }
}

fn figures(
    args: &Phase,
    weights: &[f64],
    biases: &[f64],
    limits: &[Vec<DepthLimit>],
    edge: &[(f64, EdgePoint)],
    places: &[Place],
) -> Vec<Figure> {
    let inside = |x: f64, range: Range| x >= range.low && x <= range.high;
    let panel = |title: &str, map: ColourMap, value: &dyn Fn(&DepthLimit) -> f64| {
        let values = limits.iter().flatten().map(value).collect();
        let heat = Mark::HeatMap { xs: weights.to_vec(), ys: biases.to_vec(), values, map };
        let mut panel = Panel::new(title, Axis::linear("σ_w²"), Axis::linear("σ_b²")).mark(heat);
        let line: Vec<(f64, f64)> = edge
            .iter()
            .map(|(bias, point)| (point.weight_variance, *bias))
            .filter(|&(weight, _)| inside(weight, args.weight_variance))
            .collect();
        // A single point, as of ReLU, is no line.
        if line.len() > 1 {
            panel.marks.push(Mark::line("", 0, line));
        }
        if args.bias_variance.low == 0.0 {
            let shown = places.iter().filter(|p| inside(p.weight_variance, args.weight_variance));
            for (index, place) in shown.enumerate() {
                let point = Point::new(place.weight_variance, 0.0);
                panel.marks.push(Mark::points(place.name.as_str(), index + 1, vec![point]));
            }
        }
        panel
    };
    let marks: Vec<String> = places
        .iter()
        .filter(|p| inside(p.weight_variance, args.weight_variance))
        .map(|p| {
            format!("{} at σ_w² = {}", p.name, gainstage_report::significant(p.weight_variance))
        })
        .collect();
    let caption = format!(
        "Line: the edge of chaos. Dots on the lower border: {}. Left blank: infinite.",
        marks.join(", ")
    );
    let log = |x: f64| if x > 0.0 && x.is_finite() { x.log10() } else { f64::NAN };
    vec![
        Figure::new("fixed-points", "Where deep networks end up", caption.clone())
            .panel(panel("variance q*", ColourMap::Sequential, &|l| {
                let q = fixed_q(l);
                if q.is_finite() { q } else { f64::NAN }
            }))
            .panel(panel("correlation c*", ColourMap::Sequential, &|l| l.c)),
        Figure::new("gradients", "Gradients and how deep information reaches", caption)
            .panel(panel("ln chi_1 per layer", ColourMap::Diverging { centre: 0.0 }, &|l| {
                if l.chi_1 > 0.0 { l.chi_1.ln().max(-3.0) } else { -3.0 }
            }))
            .panel(panel("log10 of the depth scale xi_c", ColourMap::Sequential, &|l| {
                // The scale diverges on the edge; a thousand layers are as good as that.
                log(l.xi_c.min(1e3)).max(-1.0)
            })),
    ]
}

fn sentence(edge: &[(f64, EdgePoint)]) -> String {
    let (Some(first), Some(last)) = (edge.first(), edge.last()) else {
        return "There is no edge of chaos in this range.\n".to_owned();
    };
    let number = gainstage_report::significant;
    let at = |(bias, point): &(f64, EdgePoint)| {
        format!(
            "sigma_w^2 = {} at sigma_b^2 = {} (q* = {})",
            number(point.weight_variance),
            number(*bias),
            number(point.fixed_point.q)
        )
    };
    if first.0 == last.0 {
        format!("The edge of chaos is {}.\n", at(first))
    } else {
        format!("The edge of chaos runs from {} to {}.\n", at(first), at(last))
    }
}

fn document(args: &Phase, table: Table, figures: Vec<Figure>) -> Document {
    let lead = format!(
        "{}: the limit of great depth over weight and bias variance, for infinitely wide layers (Poole et al. 2016, Schoenholz et al. 2017), from first pre-activations of variance {}.",
        args.activation, args.q
    );
    let mut document = Document::new("Order and chaos", lead);
    let mut section = Section::new("phase", "Phase diagram");
    figures.into_iter().for_each(|figure| section.figure(figure));
    section.table(table);
    document.sections.push(section);
    document
}
