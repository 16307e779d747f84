//! One figure of each kind, drawn into the folder given as argument.
//!
//! The numbers are made up: the gallery is for looking at the drawing, not at the results.

use std::path::PathBuf;

use gainstage_report::{
    Axis, Badge, Block, Card, Cell, ColourMap, Document, Figure, Mark, Panel, Point, ReportError,
    Section, Table, Tone,
};

fn main() -> Result<(), ReportError> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("gallery"), PathBuf::from);
    gallery().write_bundle(&folder)
}

/// A normal draw by the sum of twelve uniform ones from a linear congruence: enough for a picture.
struct Scatter(u64);

impl Scatter {
    fn uniform(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / 2f64.powi(31)
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

pub(crate) fn gallery() -> Document {
    let mut document = Document::new(
        "Gallery of figures",
        "Every kind of mark that the report knows, with made-up numbers, to be looked at in light and dark, on \
         a desk and on a telephone.",
    );
    let mut verdicts =
        Table::new("verdicts", "Verdicts", &["code", "statement", "verdict", "measured"]);
    for (code, statement, badge, value) in [
        (
            "HE01",
            "He keeps the second moment of ReLU layers at every depth that was tried",
            ("supported", Tone::Good),
            1.0021,
        ),
        ("XAV07", "Xavier keeps it too", ("refuted", Tone::Bad), 8.88e-16),
        ("FIN02", "A tolerance of 15% suits deep networks", ("qualified", Tone::Mixed), 0.4871),
        ("NB03", "The seeds decide", ("inconclusive", Tone::Neutral), f64::NAN),
    ] {
        verdicts.push(vec![
            Cell::text(format!("[{code}](#{code})")),
            Cell::text(statement),
            Cell::badge(badge.0, badge.1),
            Cell::number(value),
        ]);
    }
    let mut section = Section::new("overview", "Verdicts at a glance");
    section
        .paragraph("A paragraph with **bold** words, `code`, x^2^, q~0~ and a [link](#signals).");
    section.table(verdicts);
    document.sections.push(section);

    let mut section = Section::new("signals", "Signals through depth");
    section.figure(propagation());
    section.figure(initializers());
    section.figure(breakdown());
    document.sections.push(section);

    let mut section = Section::new("others", "Other figures");
    section.figure(histograms());
    section.figure(maps());
    section.figure(accuracies());
    section.figure(crowded());
    section.card(Card {
        code: "HE01".into(),
        title: "He keeps the second moment of ReLU layers".into(),
        badge: Badge::new("supported", Tone::Good),
        summary: "Measured 1.002 (0.988 to 1.016) at layer 50.".into(),
        blocks: vec![
            Block::Paragraph("What was measured and how.".into()),
            Block::List(vec!["one seed".into(), "200 draws".into()]),
            Block::Code("gainstage verify --only HE01".into()),
        ],
        open: false,
    });
    document.sections.push(section);
    document.reproducibility =
        vec![("seed".into(), "1".into()), ("version".into(), "0.1.0".into())];
    document
}

/// The typical figure: theory, its band, draws and the measured mean, forward and backward.
fn propagation() -> Figure {
    let mut scatter = Scatter(1);
    let mut panel = |title: &str, decay: f64, quantity: &str| {
        let theory: Vec<(f64, f64)> = (0..=50).map(|l| (f64::from(l), decay.powi(l))).collect();
        let lines: Vec<Vec<Point>> = (0..10)
            .map(|_| {
                let mut walk = 0.0;
                let step = |&(x, q): &(f64, f64)| {
                    walk += 0.16 * scatter.normal();
                    Point::new(x, q * f64::exp(walk))
                };
                theory.iter().map(step).collect()
            })
            .collect();
        let spread = |l: f64| 0.16 * l.sqrt() * 1.96;
        let band = |&(x, q): &(f64, f64)| {
            Point::with_interval(x, q, q * (-spread(x)).exp(), q * spread(x).exp())
        };
        let mean = |&(x, q): &(f64, f64)| {
            let at = q * (0.05 * (x / 7.0).sin()).exp();
            Point::with_interval(x, at, at * (-spread(x) / 3.0).exp(), at * (spread(x) / 3.0).exp())
        };
        Panel::new(title, Axis::linear("layer"), Axis::log10(quantity))
            .mark(Mark::Band {
                name: "95% of finite-width draws".into(),
                colour: 1,
                points: theory.iter().map(band).collect(),
            })
            .mark(Mark::Thin { colour: 1, lines })
            .mark(Mark::points("measured mean", 2, theory.iter().step_by(5).map(mean).collect()))
            .mark(Mark::line("theory", 0, theory))
    };
    let forward = panel("forward", 0.5, "second moment of pre-activations z");
    let backward = panel("backward", 0.93, "second moment of error signals δ");
    Figure::new(
        "propagation",
        "Xavier halves the signal of ReLU layers, forward and backward",
        "Width 256, 10 draws; theory 8.9×10⁻¹⁶ at layer 50, measured within its band.",
    )
    .panel(forward)
    .panel(backward)
}

/// Several initializers with labels at the ends of their lines, some of them close together.
fn initializers() -> Figure {
    let series = [
        ("He normal", 1.0),
        ("He uniform", 1.004),
        ("Xavier normal", 0.5),
        ("LeCun normal", 0.505),
        ("normal(std = 0.1)", 2.56),
        ("PyTorch default", 0.1667),
    ];
    let mut panel = Panel::new("", Axis::linear("layer"), Axis::log10("second moment of z"))
        .mark(Mark::Level { y: 1.0, label: "kept".into() });
    for (i, (name, factor)) in series.into_iter().enumerate() {
        let points = (0..=50).map(|l| (f64::from(l), f64::powi(factor, l))).collect();
        panel = panel.mark(Mark::line(name, i + 1, points));
    }
    Figure::new(
        "initializers",
        "Six initializers",
        "Theory: the factor per layer, to the power of the layer.",
    )
    .panel(panel.mark(Mark::Vertical { x: 20.0, label: "depth 20".into() }))
}

/// What has no place on the axes.
fn breakdown() -> Figure {
    let powers =
        |f: &dyn Fn(i32) -> f64| (0..=60).map(|l| (f64::from(l), f(l))).collect::<Vec<_>>();
    let explode = powers(&|l| if l < 37 { 10f64.powi(l) } else { f64::INFINITY });
    let vanish = powers(&|l| if l < 12 { 10f64.powi(-4 * l) } else { 0.0 });
    let broken = powers(&|l| if (20..25).contains(&l) { f64::NAN } else { 3f64.powi(l / 4) });
    let zero = powers(&|_| 0.0);
    let lines = (0..20)
        .map(|d| {
            let at = |l: i32| {
                if d % 3 == 0 && l > 40 + d {
                    f64::INFINITY
                } else {
                    2f64.powi(l) / f64::from(1 + d)
                }
            };
            (0..=60).map(|l| Point::new(f64::from(l), at(l))).collect()
        })
        .collect();
    let panel = Panel::new("", Axis::linear("layer"), Axis::log10("second moment"))
        .mark(Mark::Thin { colour: 4, lines })
        .mark(Mark::line("normal(std = 1)", 1, explode))
        .mark(Mark::line("normal(std = 0.001)", 2, vanish))
        .mark(Mark::line("broken", 3, broken))
        .mark(Mark::line("zero", 5, zero));
    Figure::new("breakdown", "Where numbers end", "Infinities, zeros and NaN are said, not drawn.")
        .panel(panel)
}

fn histograms() -> Figure {
    let mut scatter = Scatter(7);
    let mut panel = |layer: usize, std: f64| {
        let edges: Vec<f64> = (0..=40).map(|i| -1.0 + 0.05 * f64::from(i)).collect();
        let mut counts = vec![0.0; 40];
        for _ in 0..4000 {
            let bin = ((scatter.normal() * std + 1.0) / 0.05).floor();
            if (0.0..40.0).contains(&bin) {
                counts[bin as usize] += 1.0 / (4000.0 * 0.05);
            }
        }
        let density = (0..=100)
            .map(|i| -1.0 + 0.02 * f64::from(i))
            .map(|x| {
                (x, (-0.5 * (x / std).powi(2)).exp() / (std * (2.0 * std::f64::consts::PI).sqrt()))
            })
            .collect();
        Panel::new(format!("layer {layer}"), Axis::linear("activation"), Axis::linear("density"))
            .mark(Mark::Histogram { name: "measured".into(), colour: 1, edges, heights: counts })
            .mark(Mark::line("normal law", 0, density))
    };
    Figure::new(
        "histograms",
        "Activations by layer",
        "4000 activations each; std 0.42, 0.3 and 0.2.",
    )
    .panel(panel(1, 0.42))
    .panel(panel(3, 0.3))
    .panel(panel(5, 0.2))
}

fn maps() -> Figure {
    let (columns, rows): (Vec<f64>, Vec<f64>) = (
        (0..30).map(|i| 0.05 + 0.1 * f64::from(i)).collect(),
        (0..24).map(|i| 0.02 * f64::from(i)).collect(),
    );
    let chi = |w: f64, b: f64| w / (1.0 + 0.6 * w + 2.0 * b);
    let values = rows.iter().flat_map(|&b| columns.iter().map(move |&w| 2.0 * chi(w, b))).collect();
    let phase =
        Panel::new("slope χ₁", Axis::linear("weight variance σ²"), Axis::linear("bias variance"))
            .mark(Mark::HeatMap {
                xs: columns,
                ys: rows.clone(),
                values,
                map: ColourMap::Diverging { centre: 1.0 },
            })
            .mark(Mark::line(
                "edge of chaos",
                0,
                rows.iter().map(|&b| ((1.0 + 2.0 * b) / 1.4, b)).collect(),
            ));
    let names = |list: &[&str]| list.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    let activations = names(&["relu", "leaky relu", "tanh", "gelu", "hard sigmoid"]);
    let inits = names(&["zero", "normal(0.1)", "Xavier normal", "He normal"]);
    let depths = (0..20).map(|i| if i < 5 { f64::NAN } else { f64::from(i * i) / 3.0 }).collect();
    let depth = Panel::new(
        "trainable depth",
        Axis::categories("activation", activations),
        Axis::categories("", inits),
    )
    .mark(Mark::HeatMap {
        xs: (0..5).map(f64::from).collect(),
        ys: (0..4).map(f64::from).collect(),
        values: depths,
        map: ColourMap::Sequential,
    });
    Figure::new(
        "maps",
        "Two maps",
        "A diverging one around 1 and a sequential one with missing cells.",
    )
    .panel(phase)
    .panel(depth)
}

fn accuracies() -> Figure {
    let names = ["zero", "normal(std = 0.1)", "Xavier uniform", "He normal"];
    let values = [0.1135, 0.9761, 0.9779, 0.9782];
    let mut scatter = Scatter(3);
    let seeds = (0..4).flat_map(|i| (0..6).map(move |_| i)).map(|i: usize| {
        let spread = if i == 0 { 0.0 } else { 0.0012 };
        (i, values[i] + spread * scatter.normal())
    });
    let seeds: Vec<(usize, f64)> = seeds.collect();
    let sideways = Panel::new(
        "all four",
        Axis::linear("test accuracy"),
        Axis::categories("", names.map(String::from).to_vec()),
    )
    .mark(Mark::points("seed", 5, seeds.iter().map(|&(i, v)| point_at(v, i)).collect()))
    .mark(Mark::points(
        "mean and 95% interval",
        1,
        (0..4)
            .map(|i| {
                Point::with_interval(values[i], i as f64, values[i] - 0.001, values[i] + 0.001)
            })
            .collect(),
    ));
    let upright = Panel::new(
        "without zero",
        Axis::categories("initializer", names[1..].iter().map(|&n| n.to_owned()).collect()),
        Axis::linear("test accuracy"),
    )
    .mark(Mark::points(
        "seed",
        5,
        seeds.iter().filter(|s| s.0 > 0).map(|&(i, v)| Point::new(i as f64 - 1.0, v)).collect(),
    ))
    .mark(Mark::points(
        "mean and 95% interval",
        1,
        (1..4)
            .map(|i| {
                Point::with_interval(
                    i as f64 - 1.0,
                    values[i],
                    values[i] - 0.001,
                    values[i] + 0.001,
                )
            })
            .collect(),
    ));
    Figure::new(
        "accuracies",
        "Test accuracy by initializer",
        "Six seeds each; 0.1135 for zero, 0.976 to 0.978 else.",
    )
    .panel(sideways)
    .panel(upright)
}

fn point_at(value: f64, category: usize) -> Point {
    Point::with_interval(value, category as f64, value, value)
}

/// More lines than labels fit, and long words.
fn crowded() -> Figure {
    let mut panel = Panel::new(
        "A panel whose title is long enough to need two lines on the narrow canvas of one panel",
        Axis::linear("training step (batches of 32 images, ten epochs)"),
        Axis::log10("cross-entropy on 5,000 held-out images, mean of three seeds"),
    );
    for i in 0..20 {
        let points = (1..200)
            .map(|s| (f64::from(s) * 50.0, 2.3 * f64::from(s).powf(-0.1 - 0.03 * f64::from(i))))
            .collect();
        panel = panel.mark(Mark::line(format!("variant {i}"), i as usize, points));
    }
    let plain = Panel::new("plain", Axis::log10("width"), Axis::log10("relative error"))
        .mark(Mark::points(
            "measured and a very long label that must be broken",
            3,
            (4..12)
                .map(|e| {
                    Point::with_interval(
                        2f64.powi(e),
                        2f64.powi(-e),
                        0.7 * 2f64.powi(-e),
                        1.4 * 2f64.powi(-e),
                    )
                })
                .collect(),
        ))
        .mark(Mark::line("1/n", 0, vec![(16.0, 1.0 / 16.0), (2048.0, 1.0 / 2048.0)]))
        .mark(Mark::Text { x: 20.0, y: 1e-3, text: "slope −1".into() });
    Figure::new("crowded", "Too many lines", "Twenty lines go to a legend.")
        .panel(panel)
        .panel(plain)
}
