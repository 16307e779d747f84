//! What the scale of the images does to the first layer, and to training.

use gainstage_data::Scaling;
use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_simulate::{InputSource, Setup};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_train::{Data, Loss, Model, Optimizer, Protocol, Vectors, fit_data};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::comparison::paired_greater;
use crate::figures::significant;
use crate::signal::equality;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 128;
/// Images that pass each draw.
const IMAGES: usize = 32;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "SEL04",
    chapter: Chapter::Choosing,
    statement: "The distribution of the inputs matters to the choice of the start.",
    source: "Seed document, the considerations after answer 8, 4",
    prediction: "Weights know nothing of the inputs: the first layer's second moment is sigma_w^2 E[x^2], whatever the inputs' mean. E[x^2] and not the variance: \
                 MNIST's pixels from 0 to 1 have 0.112 against 0.095. Pixels from 0 to 255 multiply it by 65,025 and standardized ones by 9, and all \
                 layers of a ReLU network inherit the factor.",
    rule: "Supported if under He's rule the first layer's mean second moment equals 2 E[x^2] within 5% for raw pixels, pixels over 255 and standardized ones, \
           is shown to differ by more than 5% from 2 Var[x] for the first two, and the same network at the same rate, started from the same weights, \
           has a loss at birth on raw pixels more than 10 times that on pixels over 255 and ends with a higher loss (paired over seeds); refuted if one is \
           shown otherwise.",
    expected: Verdict::Supported,
    planted: &[Plant::Gain(1.05)],
    run: input_scales,
}];

/// The images in three scales.
fn scalings(lab: &Lab) -> [(&'static str, Scaling); 3] {
    [
        ("0 to 255", Scaling::Raw),
        ("0 to 1", Scaling::Unit),
        ("standardized", Scaling::standardizing(&lab.data.train)),
    ]
}

/// The first layer under one scaling.
struct First {
    name: &'static str,
    /// Mean square and variance of the inputs that are measured.
    square: f64,
    variance: f64,
    /// Second moment of the pre-activations, draw by draw.
    draws: Vec<f64>,
}

impl First {
    fn new(lab: &Lab, name: &'static str, scaling: Scaling) -> Result<Self, ClaimError> {
        let images = lab.data.train.slice(0..IMAGES);
        let inputs = images.scaled(scaling);
        let moments: Moments = inputs.iter().map(|x| f64::from(*x)).collect();
        let network = Network::perceptron(
            &[images.pixels_per_image(), WIDTH],
            &Initializer::he_normal(),
            &Activation::Relu,
        )?;
        let setup = Setup {
            trials: lab.budget.pick(300, 600, 2000),
            batch: images.len(),
            inputs: InputSource::Given(inputs.into()),
            moments: false,
            ..Setup::default()
        };
        let measured = lab.measure(name, &network, setup)?;
        Ok(Self {
            name,
            square: moments.mean().powi(2) + moments.population_variance(),
            variance: moments.population_variance(),
            draws: measured.layers[0].values(|d| d.forward.mean),
        })
    }

    fn against(&self, lab: &Lab, what: &str, moment: f64) -> Result<Finding, ClaimError> {
        let what = format!("pixels {}: first layer's second moment against {what}", self.name);
        equality(lab, what, &self.draws, 2.0 * moment, 0.05 * 2.0 * moment)
    }
}

/// Loss at birth and at the end, seed by seed.
struct Course {
    birth: Vec<f64>,
    end: Vec<f64>,
}

fn trainings(lab: &Lab, scaling: Scaling) -> Result<Course, ClaimError> {
    let seeds = lab.budget.pick(10, 12, 30);
    let images = lab.data.train.slice(0..lab.budget.pick(2000, 10_000, 10_000));
    let pixels = images.pixels_per_image();
    let data = Vectors::with_classes(
        images.scaled(scaling),
        pixels,
        images.labels.clone(),
        lab.data.classes,
    )?;
    let network = lab.classifier(&[WIDTH / 2], &Initializer::he_normal(), &Activation::Relu)?;
    let protocol = Protocol {
        epochs: usize::MAX,
        max_steps: Some(lab.budget.pick(100, 500, 2000)),
        optimizer: Optimizer::Sgd { rate: 0.05 },
        ..Protocol::notebook()
    };
    let losses = (0..seeds)
        .into_par_iter()
        .map(|i| {
            let seed = lab.seed + i;
            let model = Model::new(&network, Loss::CrossEntropy, seed)?;
            let fit = fit_data(model, Data::Vectors(&data), None, &protocol, seed, &|_| ())?;
            let tenth = fit.step_losses.len().div_ceil(10);
            let last = &fit.step_losses[fit.step_losses.len() - tenth..];
            let end = last.iter().map(|l| f64::from(*l)).sum::<f64>() / tenth as f64;
            // A loss that stopped being a number stands as the largest one that f32 has.
            let end = if end.is_finite() { end } else { f64::from(f32::MAX) };
            Ok((f64::from(fit.step_losses[0]), end))
        })
        .collect::<Result<Vec<_>, ClaimError>>()?;
    let (birth, end) = losses.into_iter().unzip();
    Ok(Course { birth, end })
}

fn input_scales(lab: &Lab) -> Result<Outcome, ClaimError> {
    let mut firsts = Vec::new();
    let mut courses = Vec::new();
    for (name, scaling) in scalings(lab) {
        firsts.push(First::new(lab, name, scaling)?);
        courses.push(trainings(lab, scaling)?);
    }
    let [raw, unit, _] = [&firsts[0], &firsts[1], &firsts[2]];
    let mut findings = Vec::new();
    for first in &firsts {
        findings.push(first.against(lab, "2 E[x^2]", first.square)?);
    }
    let logs = |values: &[f64]| values.iter().map(|v| v.ln()).collect::<Vec<_>>();
    let (log_raw, log_unit) = (logs(&courses[0].birth), logs(&courses[1].birth));
    findings.push(paired_greater(
        lab,
        "ln of the loss at birth, pixels 0 to 255 minus 0 to 1",
        &log_raw,
        &log_unit,
        10f64.ln(),
    )?);
    findings.push(paired_greater(
        lab,
        "ln of the loss at the end, pixels 0 to 255 minus 0 to 1",
        &logs(&courses[0].end),
        &logs(&courses[1].end),
        0.0,
    )?);
    let verdict = all_hold(&findings, Verdict::Supported);
    // Contradicting the variance is what supports the statement.
    let by_variance = [
        raw.against(lab, "2 Var[x]", raw.variance)?,
        unit.against(lab, "2 Var[x]", unit.variance)?,
    ];
    let differ = by_variance.iter().all(|f| f.conclusion == Conclusion::Contradicted);
    let verdict = match verdict {
        Verdict::Supported if !differ => Verdict::Inconclusive,
        other => other,
    };
    findings.extend(by_variance);
    let mean = |values: &[f64]| Moments::from(values).mean();
    let mut table = Table::new(
        "SEL04-scales",
        "The same images in three scales; losses are means over seeds",
        &[
            "pixels",
            "E[x^2]",
            "Var[x]",
            "first layer's second moment",
            "loss at birth",
            "loss at the end",
        ],
    );
    for (first, course) in firsts.iter().zip(&courses) {
        table.push(vec![
            Cell::text(first.name),
            Cell::number(first.square),
            Cell::number(first.variance),
            Cell::number(mean(&first.draws)),
            Cell::number(mean(&course.birth)),
            Cell::number(mean(&course.end)),
        ]);
    }
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Under He's rule the first layer's second moment was {} on raw pixels, {} on pixels over 255 and {} on standardized ones: 2 E[x^2] each time, and \
             for the second not 2 Var[x] = {}. The loss at birth was {}, {} and {}.",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(2.0 * unit.variance),
            significant(mean(&courses[0].birth)),
            significant(mean(&courses[1].birth)),
            significant(mean(&courses[2].birth)),
        ),
        experiment: format!(
            "a layer of {WIDTH} units on {IMAGES} images of {}, {} weight draws; a hidden layer of {}, SGD with rate 0.05, {} seeds",
            lab.data.name,
            raw.draws.len(),
            WIDTH / 2,
            courses[0].birth.len()
        ),
        figures: vec![figure(&firsts)?],
        tables: vec![table],
        findings,
    })
}

fn figure(firsts: &[First]) -> Result<Figure, ClaimError> {
    let names = firsts.iter().map(|f| f.name.to_owned()).collect();
    let (mut dots, mut square, mut variance) = (Vec::new(), Vec::new(), Vec::new());
    for (x, first) in firsts.iter().enumerate() {
        let x = x as f64;
        let unit = 2.0 * first.square;
        let values: Vec<f64> = first.draws.iter().map(|d| d / unit).collect();
        let i = mean_interval(&Moments::from(values.as_slice()), Probability::P95)?;
        dots.push(Point::with_interval(x, i.estimate, i.low, i.high));
        square.push(Point::new(x - 0.15, 1.0));
        variance.push(Point::new(x + 0.15, first.variance / first.square));
    }
    let panel = Panel::new(
        "",
        Axis::categories("pixels", names),
        Axis::linear("first layer's second moment over 2 E[x²]").over(0.7, 1.1),
    )
    .mark(Mark::points("2 E[x²]", 0, square))
    .mark(Mark::points("2 Var[x]", 3, variance))
    .mark(Mark::points("measured", 1, dots));
    let text = "Means over weight draws with 95% intervals. The variance predicts the first layer only where the inputs have mean zero.";
    Ok(Figure::new("SEL04-first-layer", "E[x²], not the variance, sets the first layer", text)
        .panel(panel))
}
