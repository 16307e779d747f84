use gainstage_report::{Axis, Cell, ColourMap, Document, Figure, Mark, Panel, Section, Table};
use gainstage_theory::MeanField;
use gainstage_train::{Images, Optimizer, Protocol, Sweep, SweepCell};
use serde::{Deserialize, Serialize};

use crate::args::{Common, Train};
use crate::store::Store;
use crate::train::Prepared;
use crate::{Exit, output, progress};

/// Networks train down to about so many depth scales (Schoenholz et al. 2017, section 5).
const DEPTH_SCALES: f64 = 6.0;

/// Test images that decide on a cell: a standard error of at most 0.011.
const TEST_IMAGES: usize = 2000;

#[derive(Serialize)]
struct Answer {
    sweep: Sweep,
    seed: u64,
    cells: Vec<SweepCell>,
    /// (sigma_w^2, xi_c)
    depth_scales: Vec<(f64, f64)>,
    seconds: f64,
}

pub(crate) fn run(common: &Common, args: &Train) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        args.variance_from > 0.0 && args.variance_from <= args.variance_to,
        "weight variances from {} to {}: the first must be above 0 and not above the second",
        args.variance_from,
        args.variance_to
    );
    let sweep = Sweep {
        activation: args.activation.clone(),
        width: args.width.get(),
        depths: depths(args),
        weight_variances: even(args.variance_from, args.variance_to, args.grid.get()),
        bias_variance: args.bias_variance,
        protocol: protocol(args),
    };
    let depth_scales = depth_scales(&sweep)?;
    let mut data = crate::data::load(common, &args.data)?;
    output::note(common, &format!("images: {} ({})", data.name, data.source));
    let folder = common.out.join("train-sweep");
    let settings = format!("{}, seed {}", serde_json::to_string(&sweep)?, common.seed);
    let store = Store::new(folder.join("cells"), &data, &settings);
    data.test = data.test.slice(0..data.test.len().min(TEST_IMAGES));
    let Prepared { train, test, .. } = Prepared::new(&data)?;

    let started = std::time::Instant::now();
    let cells = trained(common, &sweep, &train, &test, &store)?;
    store.finish()?;
    let seconds = started.elapsed().as_secs_f64();

    let answer = Answer { sweep, seed: common.seed, cells, depth_scales, seconds };
    let table = table(&answer);
    let mut document = Document::new(
        "Which networks train",
        format!(
            "{} networks of {} units on {} ({}), {} steps each.",
            answer.cells.len(),
            answer.sweep.width,
            data.name,
            data.source,
            args.steps
        ),
    );
    let mut section = Section::new("map", "Depth and weight variance");
    section.figure(figure(&answer));
    section.table(table.clone());
    document.sections.push(section);
    document.reproducibility.push(("command".to_owned(), command(args, common.seed)));
    document.write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &answer)?;
    let text = format!("{seconds:.1} s; report: {}\n", folder.join("index.html").display());
    output::result(common, &answer, &[table], &text)?;
    Ok(Exit::Clean)
}

/// Trains what is not stored yet, and stores it.
fn trained(
    common: &Common,
    sweep: &Sweep,
    train: &Images,
    test: &Images,
    store: &Store,
) -> anyhow::Result<Vec<SweepCell>> {
    let variances = sweep.weight_variances.len();
    let depth = |index: usize| sweep.depths[index / variances] as u64;
    let file = |index: usize| format!("{}-layers-{}", depth(index), index % variances + 1);
    let cells = sweep.depths.len() * variances;
    let layers = (0..cells).map(depth).sum();
    let bar = progress::bar(common, layers, &format!("layers of {cells} networks"));
    let stored = |index: usize| {
        let cell = store.read::<StoredCell>(&file(index))?.into();
        bar.inc(depth(index));
        Some(cell)
    };
    let finished = |index: usize, cell: &SweepCell| {
        store.write(&file(index), StoredCell::from(*cell));
        bar.inc(depth(index));
    };
    let trained = sweep.run(train, test, common.seed, &stored, &finished)?;
    bar.finish_and_clear();
    Ok(trained)
}

/// A cell in a form that JSON holds, which has no infinity.
#[derive(Serialize, Deserialize)]
struct StoredCell {
    depth: usize,
    weight_variance: f64,
    accuracy: f64,
    /// None where it diverged.
    train_loss: Option<f64>,
}

impl From<SweepCell> for StoredCell {
    fn from(cell: SweepCell) -> Self {
        let SweepCell { depth, weight_variance, accuracy, train_loss, diverged } = cell;
        Self { depth, weight_variance, accuracy, train_loss: (!diverged).then_some(train_loss) }
    }
}

impl From<StoredCell> for SweepCell {
    fn from(cell: StoredCell) -> Self {
        let StoredCell { depth, weight_variance, accuracy, train_loss } = cell;
        let diverged = train_loss.is_none();
        let train_loss = train_loss.unwrap_or(f64::INFINITY);
        Self { depth, weight_variance, accuracy, train_loss, diverged }
    }
}

/// Gradient descent with momentum, where the paper has none: its outcome shows how large gradients are,
/// which Adam would hide.
fn protocol(args: &Train) -> Protocol {
    let batch = args.batch.map_or(64, std::num::NonZeroUsize::get);
    Protocol {
        epochs: usize::MAX,
        batch,
        optimizer: Optimizer::Momentum {
            rate: args.rate.unwrap_or(0.01),
            momentum: 0.9,
            nesterov: false,
        },
        max_steps: Some(args.steps.get() as u64),
        ..Protocol::notebook()
    }
}

/// From a twentieth of the deepest, in equal steps.
fn depths(args: &Train) -> Vec<usize> {
    let (deepest, n) = (args.depth.get(), args.grid.get());
    let mut depths: Vec<usize> = (1..=n).map(|i| (deepest * i / n).max(1)).collect();
    depths.dedup();
    depths
}

fn even(from: f64, to: f64, n: usize) -> Vec<f64> {
    if n == 1 || from == to {
        return vec![from];
    }
    (0..n).map(|i| from + (to - from) * i as f64 / (n - 1) as f64).collect()
}

fn depth_scales(sweep: &Sweep) -> anyhow::Result<Vec<(f64, f64)>> {
    let [first, .., last] = sweep.weight_variances[..] else { return Ok(Vec::new()) };
    let fine = even(first, last, 200);
    fine.into_iter()
        .map(|v| {
            let limit =
                MeanField::new(&sweep.activation, v, sweep.bias_variance)?.depth_limit(1.0)?;
            Ok((v, limit.xi_c))
        })
        .collect()
}

fn figure(answer: &Answer) -> Figure {
    let Sweep { depths, weight_variances, activation, bias_variance, protocol, .. } = &answer.sweep;
    let steps = protocol.max_steps.unwrap_or_default();
    let map = Mark::HeatMap {
        xs: weight_variances.clone(),
        ys: depths.iter().map(|d| *d as f64).collect(),
        values: answer.cells.iter().map(|c| c.accuracy).collect(),
        map: ColourMap::Sequential,
    };
    let deepest = depths.last().copied().unwrap_or(1) as f64;
    // Beyond the map the curve is cut, in as many pieces as it enters the map.
    let inside = |(v, scale): (f64, f64)| {
        let depth = DEPTH_SCALES * scale;
        (v, if depth <= deepest { depth } else { f64::NAN })
    };
    let curve: Vec<(f64, f64)> = answer.depth_scales.iter().copied().map(inside).collect();
    let mut panel = Panel::new(
        "test accuracy",
        Axis::linear("weight variance σ_w²"),
        Axis::linear("hidden layers"),
    )
    .mark(map);
    for piece in curve.split(|(_, depth)| depth.is_nan()).filter(|p| p.len() > 1) {
        panel = panel.mark(Mark::line("6 ξ_c", 1, piece.to_vec()));
    }
    Figure::new(
        "trainability",
        format!("{activation}, σ_b² = {bias_variance}"),
        format!(
            "Light cells train. The line is six times the theory's depth scale of correlations, to which Schoenholz et al. 2017 see networks \
             train; it tends to infinity at the edge of chaos. There {steps} steps are the limit, and not initialization: more of them reach deeper."
        ),
    )
    .panel(panel)
}

fn table(answer: &Answer) -> Table {
    let columns = ["depth", "weight variance", "test accuracy", "training loss", "diverged"];
    let mut table = Table::new("cells", "Cell by cell", &columns);
    for cell in &answer.cells {
        table.push(vec![
            Cell::count(cell.depth),
            Cell::number(cell.weight_variance),
            Cell::number(cell.accuracy),
            Cell::number(cell.train_loss),
            Cell::text(if cell.diverged { "yes" } else { "no" }),
        ]);
    }
    table
}

fn command(args: &Train, seed: u64) -> String {
    let mut command = format!(
        "`gainstage train --sweep --activation {} --bias-variance {} --width {} --depth {} --variance-from {} --variance-to {} --grid {} \
         --steps {} --seed {seed} --data {}",
        args.activation,
        args.bias_variance,
        args.width,
        args.depth,
        args.variance_from,
        args.variance_to,
        args.grid,
        args.steps,
        args.data
    );
    if let Some(batch) = args.batch {
        command += &format!(" --batch {batch}");
    }
    if let Some(rate) = args.rate {
        command += &format!(" --rate {rate}");
    }
    command + "`"
}
