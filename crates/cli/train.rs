use std::path::Path;

use anyhow::Context as _;
use gainstage_data::{Dataset, Split};
use gainstage_report::{Axis, Cell, Document, Figure, Mark, Panel, Section, Table};
use gainstage_spec::Network;
use gainstage_train::{
    Data, Diverged, Epoch, Evaluation, Images, LayerTrace, Model, Protocol, Training,
};
use serde::{Deserialize, Serialize};

use crate::args::{Common, Train};
use crate::{Exit, output, progress, trainability};

/// What stands beside the network in its file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    training: Protocol,
}

#[derive(Serialize)]
struct Answer {
    network: Network,
    protocol: Protocol,
    seed: u64,
    steps: u64,
    diverged: Option<Diverged>,
    test_accuracy: f64,
    test_loss: f64,
    history: Vec<Epoch>,
    step_losses: Vec<f32>,
    /// Per epoch of this run, the dense layers in its last step.
    layers: Vec<Vec<LayerTrace>>,
}

/// Images to learn from, to hold out, and to test on.
pub(crate) struct Prepared {
    pub(crate) train: Images,
    validation: Images,
    pub(crate) test: Images,
}

impl Prepared {
    /// The first twelfth of the training images, 5,000 of MNIST's 60,000, is held out.
    pub(crate) fn new(data: &Dataset) -> anyhow::Result<Self> {
        let held_out = data.train.len() / 12;
        anyhow::ensure!(
            held_out > 0,
            "{} training images; at least 12 are needed",
            data.train.len()
        );
        let images = |split: &Split| {
            Images::new(&split.pixels, split.pixels_per_image(), &split.labels, data.classes)
        };
        Ok(Self {
            train: images(&data.train.slice(held_out..data.train.len()))?,
            validation: images(&data.train.slice(0..held_out))?,
            test: images(&data.test)?,
        })
    }
}

pub(crate) fn run(common: &Common, args: &Train) -> anyhow::Result<Exit> {
    let Some(path) = &args.network else { return trainability::run(common, args) };
    let (network, protocol) = read(path, args)?;
    let data = crate::data::load(common, &args.data)?;
    output::note(common, &format!("images: {} ({})", data.name, data.source));
    let images = Prepared::new(&data)?;
    let folder = common.out.join("train");
    let checkpoint = folder.join("checkpoint.safetensors");

    let model = Model::new(&network, protocol.loss, common.seed)?;
    let (learn, validate) = (Data::from(&images.train), Some(Data::from(&images.validation)));
    let (mut training, mut history) = match &args.resume {
        None => (Training::new(model, learn, &protocol, common.seed)?, Vec::new()),
        Some(path) => {
            let bytes =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Training::resume(model, learn, &protocol, common.seed, &bytes)
                .with_context(|| format!("cannot go on from {}", path.display()))?
        }
    };
    let bar = progress::bar(common, protocol.epochs as u64, "epochs");
    bar.set_position(training.epochs() as u64);
    let mut layers = Vec::new();
    while training.epochs() < protocol.epochs && !training.finished() {
        let epoch = training.followed_epoch(validate);
        history.push(epoch);
        layers.push(training.layers().to_vec());
        gainstage_report::write_bytes(&checkpoint, &training.checkpoint(&history)?)?;
        bar.inc(1);
        if protocol.stop_below.is_some_and(|bound| epoch.train_loss < bound) {
            break;
        }
    }
    bar.finish_and_clear();

    let Evaluation { loss, accuracy } = training.model().evaluate(&images.test, protocol.scale);
    let answer = Answer {
        steps: training.steps(),
        diverged: training.diverged(),
        step_losses: training.step_losses().to_vec(),
        seed: common.seed,
        test_accuracy: accuracy,
        test_loss: loss,
        network,
        protocol,
        history,
        layers,
    };
    let table = table(&answer);
    document(&answer, &data, path, table.clone()).write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &answer)?;
    let ended = match answer.diverged {
        Some(Diverged { epoch, step }) => {
            format!("the loss stopped being a number in epoch {epoch}, step {step}")
        }
        None => format!("test accuracy {accuracy:.4}, test loss {loss:.4}"),
    };
    let text = format!(
        "{} steps: {ended}\ncheckpoint: {}\nreport: {}\n",
        answer.steps,
        checkpoint.display(),
        folder.join("index.html").display()
    );
    output::result(common, &answer, &[table], &text)?;
    Ok(if answer.diverged.is_some() { Exit::Findings } else { Exit::Clean })
}

fn read(path: &Path, args: &Train) -> anyhow::Result<(Network, Protocol)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let network = toml::from_str(&text)
        .with_context(|| format!("{} is no network description", path.display()))?;
    let settings: Settings = toml::from_str(&text)
        .with_context(|| format!("{}: [training] cannot be used", path.display()))?;
    let mut protocol = Protocol { watch_layers: true, ..settings.training };
    if let Some(epochs) = args.epochs {
        protocol.epochs = epochs.get();
    }
    if let Some(batch) = args.batch {
        protocol.batch = batch.get();
    }
    if let Some(rate) = args.rate {
        *protocol.optimizer.rate_mut() = rate;
    }
    Ok((network, protocol))
}

fn table(answer: &Answer) -> Table {
    let columns =
        ["epoch", "training loss", "training accuracy", "validation loss", "validation accuracy"];
    let mut table = Table::new("epochs", "Epoch by epoch", &columns);
    let number = |value: Option<f64>| value.map_or_else(|| Cell::text("-"), Cell::number);
    for (index, epoch) in answer.history.iter().enumerate() {
        table.push(vec![
            Cell::count(index + 1),
            Cell::number(epoch.train_loss),
            Cell::number(epoch.train_accuracy),
            number(epoch.validation_loss),
            number(epoch.validation_accuracy),
        ]);
    }
    table
}

fn document(answer: &Answer, data: &Dataset, path: &Path, table: Table) -> Document {
    let mut document = Document::new(
        "Training",
        format!(
            "{} on {} ({}): test accuracy {:.4}, test loss {:.4} after {} steps.",
            path.display(),
            data.name,
            data.source,
            answer.test_accuracy,
            answer.test_loss,
            answer.steps
        ),
    );
    let mut section = Section::new("training", "Curves");
    section.figure(curves(answer));
    section.table(table);
    if let Some(figure) = layer_figure(answer) {
        section.figure(figure);
    }
    document.sections.push(section);
    let Protocol { epochs, .. } = answer.protocol;
    document.reproducibility.push((
        "command".to_owned(),
        format!("`gainstage train {} --epochs {epochs} --seed {}`", path.display(), answer.seed),
    ));
    document
}

/// Loss and accuracy by epoch.
fn curves(answer: &Answer) -> Figure {
    let line = |pick: &dyn Fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = answer.history.iter().enumerate();
        points.filter_map(|(i, e)| Some((i as f64 + 1.0, pick(e)?))).collect()
    };
    let loss = Panel::new("loss", Axis::linear("epoch"), Axis::log10("mean loss"))
        .mark(Mark::line("training", 0, line(&|e| Some(e.train_loss))))
        .mark(Mark::line("validation", 1, line(&|e| e.validation_loss)));
    let accuracy = Panel::new("accuracy", Axis::linear("epoch"), Axis::linear("accuracy"))
        .mark(Mark::line("training", 0, line(&|e| Some(e.train_accuracy))))
        .mark(Mark::line("validation", 1, line(&|e| e.validation_accuracy)));
    let text = "Training: mean over the epoch's steps, as they went. Validation: after the epoch.";
    Figure::new("curves", "Loss and accuracy", text).panel(loss).panel(accuracy)
}

/// The layers in the last step of the first epoch of this run and of its last.
fn layer_figure(answer: &Answer) -> Option<Figure> {
    let (first, last) = (answer.layers.first()?, answer.layers.last()?);
    let panel = |title: &str, axis: Axis, pick: fn(&LayerTrace) -> f64| {
        let line = |layers: &[LayerTrace]| -> Vec<(f64, f64)> {
            layers.iter().enumerate().map(|(i, l)| (i as f64 + 1.0, pick(l))).collect()
        };
        let panel = Panel::new(title, Axis::linear("dense layer"), axis).mark(Mark::line(
            "first epoch",
            0,
            line(first),
        ));
        if answer.layers.len() > 1 {
            panel.mark(Mark::line("last epoch", 1, line(last)))
        } else {
            panel
        }
    };
    let figure = Figure::new(
        "layers",
        "Layer by layer",
        "In the last step of an epoch: second moment of the activations, norm of the gradient, and norm of the weights' update over \
         the norm of the weights.",
    )
    .panel(panel("signal", Axis::log10("second moment of h"), |l| l.activation))
    .panel(panel("gradient", Axis::log10("norm of the gradient"), |l| l.gradient_norm))
    .panel(panel("update", Axis::log10("update over weights"), |l| l.update_ratio));
    Some(figure)
}
