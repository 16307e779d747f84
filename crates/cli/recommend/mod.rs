//! Which initialization, why, and the code for it.

mod code;

use gainstage_report::{
    Axis, Block, Cell, Document, Figure, Mark, Panel, Point, Section, Table, significant,
};
use gainstage_spec::InputStatistics;
use gainstage_theory::{
    Consequence, LayerAdvice, LayerPrediction, Normalization, Predicted, Recommendation, Request,
    recommend,
};
use serde::Serialize;

use crate::args::{Common, Framework, Norm, Recommend};
use crate::{Exit, data, output};

#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    activation: String,
    residual: bool,
    normalization: Normalization,
    input: usize,
    input_second_moment: f64,
    #[serde(flatten)]
    recommendation: &'a Recommendation,
    reasons: &'a [String],
    code: Vec<Code>,
}

#[derive(Serialize)]
struct Code {
    framework: &'static str,
    code: String,
}

const FRAMEWORKS: [Framework; 5] =
    [Framework::Pytorch, Framework::Keras, Framework::Jax, Framework::Burn, Framework::Candle];

pub(crate) fn run(common: &Common, args: &Recommend) -> anyhow::Result<Exit> {
    let request = request(common, args)?;
    let found = recommend(&request)?;
    let reasons = reasons(&request, &found);
    let code: Vec<Code> = FRAMEWORKS
        .iter()
        .map(|&framework| Code {
            framework: code::name(framework),
            code: code::write(framework, &request, &found),
        })
        .collect();
    let pasted = code::write(args.code, &request, &found);
    let answer = Answer {
        version: 1,
        activation: request.activation.to_string(),
        residual: request.residual,
        normalization: request.normalization,
        input: request.input,
        input_second_moment: request.inputs.second_moment,
        recommendation: &found,
        reasons: &reasons,
        code,
    };
    let folder = common.out.join("recommend");
    let tables = [layers(&found.layers, request.residual), defaults(&found), compared(&found)];
    document(&request, &found, &reasons, &tables, &answer.code).write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &answer)?;
    let said: String = reasons.iter().flat_map(|reason| [plain(reason), "\n".to_owned()]).collect();
    let text = format!("{said}\n{pasted}\nreport: {}\n", folder.join("index.html").display());
    output::result(common, &answer, &tables, &text)?;
    Ok(Exit::Clean)
}

fn request(common: &Common, args: &Recommend) -> anyhow::Result<Request> {
    let widths: Vec<usize> = if args.widths.is_empty() {
        vec![args.width.get(); args.depth.get()]
    } else {
        args.widths.iter().map(|w| w.get()).collect()
    };
    let asked = args.input.map(std::num::NonZero::get);
    let (input, inputs) = match &args.inputs {
        None => {
            let input = asked.unwrap_or(widths[0]);
            let second_moment = args.input_second_moment.unwrap_or(1.0);
            (input, InputStatistics { second_moment, ..InputStatistics::gaussian(input) })
        }
        Some(source) => {
            let data = data::load(common, source)?;
            let pixels = data.train.width * data.train.height;
            anyhow::ensure!(
                asked.is_none_or(|input| input == pixels),
                "--input is {}, the images have {pixels} pixels; leave --input out",
                asked.unwrap_or(0)
            );
            let images = data.train.len().min(2000);
            let rows: Vec<f32> = data.train.pixels[..images * pixels]
                .iter()
                .map(|&p| f32::from(p) / 255.0)
                .collect();
            (pixels, InputStatistics::measure(&rows, pixels))
        }
    };
    let normalization = match args.norm {
        Norm::None => Normalization::None,
        Norm::Batch => Normalization::Batch,
        Norm::Layer => Normalization::Layer,
        Norm::Rms => Normalization::Rms,
    };
    let activation = args.activation.clone();
    Ok(Request { activation, input, widths, residual: args.residual, normalization, inputs })
}

/// A factor in words that hold for tiny and huge ones.
fn times(factor: f64) -> String {
    format!("{} times", significant(factor))
}

fn reasons(request: &Request, found: &Recommendation) -> Vec<String> {
    let Consequence {
        name,
        weight_variance,
        bias_variance,
        signal,
        signal_band,
        gradient,
        gradient_band,
        ..
    } = &found.chosen;
    let depth = request.widths.len();
    let mut reasons = vec![
        format!(
            "**{}**: σ_w² = {}, σ_b² = {} in the hidden layers.",
            capital(name),
            significant(*weight_variance),
            significant(*bias_variance)
        ),
        format!(
            "From the first to the last of {depth} layers the signal becomes {} as large in second moment on average (95% of draws: {} to {}), and the error signal's squared norm on its way back {} (95%: {} to {}).",
            times(*signal),
            significant(signal_band.0),
            significant(signal_band.1),
            times(*gradient),
            significant(gradient_band.0),
            significant(gradient_band.1)
        ),
    ];
    let first = found.layers.first().map_or(1.0, |l| l.gain);
    let moment = request.inputs.second_moment;
    if (moment - 1.0).abs() > 1e-9 {
        reasons.push(format!(
            "The input's mean square is {}, so the first layer's gain is {}; standardized inputs need no such correction.",
            significant(moment), significant(first)
        ));
    }
    let limit = &found.depth_limit;
    if limit.layers.is_finite() {
        let limited = limit.layers.floor();
        let warning = if limited < depth as f64 {
            " The requested depth is beyond it: add a residual path or normalization, or choose another activation."
        } else {
            ""
        };
        reasons.push(format!(
            "Depth limit: about {} layers: {}.{warning}",
            significant(limited),
            limit.reason
        ));
    } else {
        reasons.push("Nothing in this theory limits the depth.".to_owned());
    }
    if !found.chosen.orthogonal
        && let Some(best) = found.compared.iter().find(|c| c.orthogonal)
        && best.worst < found.chosen.worst
    {
        reasons.push(format!(
            "Orthogonal weights would narrow the error signal's band to {} to {} ({}).",
            significant(best.gradient_band.0),
            significant(best.gradient_band.1),
            best.name
        ));
    }
    if request.residual {
        reasons.push("The last layer of each branch may also start at zero: every block is then the identity, and its first layer learns from the second step on.".to_owned());
    }
    if request.normalization == Normalization::Batch && !request.residual {
        reasons.push("Batch normalization without a residual path makes gradients explode whatever the weights' scale is (Yang et al. 2019).".to_owned());
    }
    reasons.push("A linear output layer behind these: gain 1 (variance 1/fan_in) or smaller, so that the first loss is near ln K.".to_owned());
    reasons
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Without the marks of the report's texts.
fn plain(text: &str) -> String {
    text.replace("**", "")
}

fn row(name: String, l: &LayerAdvice) -> Vec<Cell> {
    vec![
        Cell::text(name),
        Cell::count(l.fan_in),
        Cell::count(l.fan_out),
        Cell::text(if l.orthogonal { "orthogonal" } else { "normal" }),
        Cell::number(l.gain),
        Cell::number(l.std),
        Cell::number(l.bias_std),
    ]
}

/// Equal layers on one line.
fn layers(advice: &[LayerAdvice], residual: bool) -> Table {
    let mut table = Table::new(
        "layers",
        "Weights of standard deviation gain / sqrt(fan_in), layer by layer",
        &["layers", "fan_in", "fan_out", "weights", "gain", "weight std", "bias std"],
    );
    let mut rest = advice;
    while let Some(first) = rest.first() {
        let same = |l: &&LayerAdvice| LayerAdvice { layer: first.layer, ..(**l).clone() } == *first;
        let count = rest.iter().take_while(same).count();
        let last = rest[count - 1].layer;
        let name =
            if count == 1 { first.layer.to_string() } else { format!("{} to {last}", first.layer) };
        table.push(row(name, first));
        rest = &rest[count..];
    }
    if residual && table.rows.len() > 12 { alternating(advice, table) } else { table }
}

/// Residual branches alternate between two kinds of layers: one line each.
fn alternating(advice: &[LayerAdvice], long: Table) -> Table {
    let offset = advice.len() % 2;
    let repeats = advice[offset..].chunks_exact(2).all(|pair| {
        pair.iter().zip(&advice[offset..]).all(|(a, b)| {
            LayerAdvice { layer: 0, ..a.clone() } == LayerAdvice { layer: 0, ..b.clone() }
        })
    });
    if !repeats {
        return long;
    }
    let mut table = Table { rows: Vec::new(), ..long };
    let mut push = |name: String, l: &LayerAdvice| table.push(row(name, l));
    if offset == 1 {
        push("1".to_owned(), &advice[0]);
    }
    let last = advice.len();
    push(
        format!("{}, {}, ... {}: first of a branch", offset + 1, offset + 3, last - 1),
        &advice[offset],
    );
    push(
        format!("{}, {}, ... {last}: last of a branch", offset + 2, offset + 4),
        &advice[offset + 1],
    );
    table
}

fn defaults(found: &Recommendation) -> Table {
    let mut table = Table::new(
        "defaults",
        "The frameworks' defaults in the same network: how far off",
        &[
            "framework",
            "sigma_w^2",
            "first signal",
            "signal, last / first",
            "gradient, first / last",
            "worst factor",
        ],
    );
    let chosen = ("recommended", &found.chosen);
    let rows = found.defaults.iter().map(|d| (d.framework.as_str(), &d.consequence));
    for (name, c) in std::iter::once(chosen).chain(rows) {
        table.push(vec![
            Cell::text(name),
            Cell::number(c.weight_variance),
            Cell::number(c.start),
            Cell::number(c.signal),
            Cell::number(c.gradient),
            Cell::number(c.worst),
        ]);
    }
    table
}

fn compared(found: &Recommendation) -> Table {
    let mut table = Table::new(
        "compared",
        "What was compared: worst factor is how far the ends of the 95% bands leave 1",
        &[
            "choice",
            "sigma_w^2",
            "sigma_b^2",
            "signal 95%",
            "to",
            "gradient 95%",
            "to ",
            "worst factor",
        ],
    );
    for c in &found.compared {
        table.push(vec![
            Cell::text(&c.name),
            Cell::number(c.weight_variance),
            Cell::number(c.bias_variance),
            Cell::number(c.signal_band.0),
            Cell::number(c.signal_band.1),
            Cell::number(c.gradient_band.0),
            Cell::number(c.gradient_band.1),
            Cell::number(c.worst),
        ]);
    }
    table
}

fn figure(found: &Recommendation) -> Figure {
    let layers = &found.prediction.layers;
    let panel = |title: &str, of: fn(&LayerPrediction) -> &Predicted| {
        let band = layers.iter().map(|l| {
            let p = of(l);
            Point::with_interval(l.layer as f64, p.log_mean.exp(), p.low, p.high)
        });
        let typical = layers.iter().map(|l| (l.layer as f64, of(l).log_mean.exp())).collect();
        Panel::new(title, Axis::linear("layer"), Axis::log10("second moment per unit"))
            .mark(Mark::Band { name: "95% of draws".to_owned(), colour: 1, points: band.collect() })
            .mark(Mark::line("typical", 0, typical))
    };
    let caption = format!(
        "The recommended network: the last layer's signal is {} times the first's, the first layer's error signal in squared norm {} times the last's.",
        significant(found.chosen.signal),
        significant(found.chosen.gradient)
    );
    Figure::new("recommended", "Signal and gradient of the recommended network", caption)
        .panel(panel("pre-activations", |l| &l.forward))
        .panel(panel("error signals", |l| &l.gradient))
}

fn document(
    request: &Request,
    found: &Recommendation,
    reasons: &[String],
    tables: &[Table],
    code: &[Code],
) -> Document {
    let lead = format!(
        "{} through {} dense layers{}, input width {}.",
        request.activation,
        request.widths.len(),
        if request.residual { " in residual branches" } else { "" },
        request.input
    );
    let mut document = Document::new("Recommendation", lead);
    let mut section = Section::new("recommendation", "What to do");
    section.blocks.push(Block::List(reasons.to_vec()));
    tables.iter().take(1).for_each(|table| section.table(table.clone()));
    section.figure(figure(found));
    tables.iter().skip(1).for_each(|table| section.table(table.clone()));
    document.sections.push(section);
    let mut section = Section::new("code", "Code");
    for Code { framework, code } in code {
        section.paragraph(format!("**{framework}**"));
        section.blocks.push(Block::Code(code.clone()));
    }
    document.sections.push(section);
    document
}
