//! The seed notebook's models, drawn.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_stats::{Probability, mean_interval};
use gainstage_train::Epoch;

use crate::notebook::{INITS, Runs, SeedRun};

/// The learning curves, and the final accuracies with the notebook's own numbers.
pub fn notebook_figures(runs: &Runs, mnist: bool) -> Vec<Figure> {
    let seeds = runs.models[0].seeds.len();
    let mut loss =
        Panel::new("training loss", Axis::linear("epoch"), Axis::log10("mean loss of the epoch"));
    let mut accuracy =
        Panel::new("validation accuracy", Axis::linear("epoch"), Axis::linear("accuracy"));
    for (index, model) in runs.models.iter().enumerate() {
        for (panel, quantity) in [
            (&mut loss, (|e: &Epoch| e.train_loss) as fn(&Epoch) -> f64),
            (&mut accuracy, |e: &Epoch| e.validation_accuracy.unwrap_or(f64::NAN)),
        ] {
            if index == 0 && panel.title == "validation accuracy" {
                continue; // At 0.11 it would squeeze the other three into one line.
            }
            let line = |s: &SeedRun| -> Vec<Point> {
                s.history
                    .iter()
                    .enumerate()
                    .map(|(e, h)| Point::new(e as f64 + 1.0, quantity(h)))
                    .collect()
            };
            let lines: Vec<Vec<Point>> = model.seeds.iter().map(line).collect();
            let mean = (0..lines[0].len()).map(|e| {
                (e as f64 + 1.0, lines.iter().map(|l| l[e].y).sum::<f64>() / lines.len() as f64)
            });
            panel.marks.push(if seeds <= FEW_SEEDS {
                Mark::Thin { colour: index, lines: lines.clone() }
            } else {
                let points = (0..lines[0].len()).map(|e| {
                    let (low, high) = lines
                        .iter()
                        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), line| {
                            (low.min(line[e].y), high.max(line[e].y))
                        });
                    Point::with_interval(e as f64 + 1.0, high, low, high)
                });
                let name = format!("{}, all seeds", model.init);
                Mark::Band { name, colour: index, points: points.collect() }
            });
            panel.marks.push(Mark::line(model.init.clone(), index, mean.collect()));
        }
    }
    let curves = Figure::new(
        "NB01-curves",
        "The notebook's four models",
        format!(
            "{} Zero stays at ln 10 = 2.303 and is left out on the right, at 0.11.",
            match seeds {
                1 => "One seed.".to_owned(),
                2..=FEW_SEEDS => format!("Bold: mean over {seeds} seeds; thin: single seeds."),
                _ => {
                    format!(
                        "Bold: mean over {seeds} seeds; band: from the lowest seed to the highest."
                    )
                }
            }
        ),
    );
    let text = format!(
        "Coloured: single seeds. {}{}",
        if seeds == 1 {
            "There is one.".to_owned()
        } else {
            format!("Dark dots: means with 95% intervals over {seeds} seeds.")
        },
        if mnist { " Dashed: the number that the notebook printed from one run." } else { "" }
    );
    let dots = Figure::new("NB01-accuracies", "Four initializations, final accuracies", text)
        .panel(accuracy_dots(runs, 0..1, mnist))
        .panel(accuracy_dots(runs, 1..runs.models.len(), mnist));
    vec![curves.panel(loss).panel(accuracy), dots]
}

/// Up to so many seeds are drawn one by one.
const FEW_SEEDS: usize = 5;

/// Final accuracies of some of the models, on an axis of their own.
fn accuracy_dots(runs: &Runs, which: std::ops::Range<usize>, mnist: bool) -> Panel {
    let models = &runs.models[which.clone()];
    let names: Vec<String> = models.iter().map(|m| m.init.clone()).collect();
    let mut axis = Axis::linear("test accuracy");
    if which.end == 1 {
        // Seeds of the zero model agree to the last digit; an axis of their spread would say nothing.
        axis = axis.over(0.0, 0.25);
    }
    let mut dots = Panel::new("", Axis::categories("initialization", names), axis);
    for (i, model) in models.iter().enumerate() {
        let colour = which.start + i;
        let spread = |j: usize| (j as f64 / model.seeds.len().max(2) as f64 - 0.5) * 0.3;
        let single = model
            .seeds
            .iter()
            .enumerate()
            .map(|(j, s)| Point::new(i as f64 + spread(j), s.test_accuracy));
        dots.marks.push(Mark::points("", colour, single.collect()));
        if let Ok(mean) = mean_interval(&model.accuracies(), Probability::P95) {
            let point = Point::with_interval(i as f64 + 0.3, mean.estimate, mean.low, mean.high);
            dots.marks.push(Mark::points("", 0, vec![point]));
        }
        if mnist {
            let printed = INITS[colour].2;
            let mark = vec![(i as f64 - 0.4, printed), (i as f64 + 0.4, printed)];
            let name = if i + 1 == models.len() { "the notebook's" } else { "" };
            dots.marks.push(Mark::dashed(name, 0, mark));
        }
    }
    dots
}
