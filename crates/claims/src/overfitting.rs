//! Small training sets: what the start does to the gap between training and test.

use gainstage_data::Dataset;
use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Activation, Initializer, Layer, Network};
use gainstage_stats::{Moments, mean_interval};
use gainstage_train::{Evaluation, Optimizer, Protocol, fit};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_greater};
use crate::figures::{percent, seed_panel, significant};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Training images of one seed.
const IMAGES: usize = 400;
/// As many for training once a twelfth is held out.
const TAKEN: usize = 436;
const EPOCHS: usize = 40;
/// Standard deviations of the weights over He's.
const SCALES: [f64; 4] = [8.0, 4.0, 1.0, 0.1];

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "GEN02",
        chapter: Chapter::Training,
        statement: "Zero initialization is more prone to overfitting.",
        source: "Seed document, answer 8.6",
        prediction: "A ReLU network of zeros learns nothing but the class shares, so it cannot fit its training images, let alone too well: \
             its gap between training and test accuracy is that of one share between two samples, about 0, where a network that learns \
             400 images by heart has a gap of some points.",
        rule: "Refuted if zero's gap is shown to be smaller than Xavier's and than He's (one-sided paired t-tests); supported if it is shown \
             to be larger than both; inconclusive otherwise. Ten seeds see a difference of a point. The number of images was settled after a look.",
        expected: Verdict::Refuted,
        planted: &[Plant::Jitter(0.05)],
        run: zero,
    },
    Claim {
        code: "GEN03",
        chapter: Chapter::Training,
        statement: "A higher variance of the weights gives a network more capacity and lets it overfit; a lower variance keeps it from overfitting.",
        source: "Seed document, answers 2.6 and 3.4",
        prediction: "The capacity is that of the architecture: every scale fits 400 images by heart. From large weights training stays near its \
             start and fits by what is random in it (lazy training, Chizat, Oyallon & Bach 2019), so the gap grows; below He's scale \
             nothing is left to gain.",
        rule: "Supported if the gap at 4 and at 8 times He's standard deviation is shown to be above He's, and the gap at a tenth of it to be \
             half a point or more below He's; qualified if only the first is shown and every scale fits at least 0.95 of its training images; \
             refuted if the first is shown to be otherwise. The scales were chosen after a first look, which already showed that small weights gain nothing. Ten seeds see a \
             difference of a point.",
        expected: Verdict::Qualified,
        planted: &[Plant::Lopsided(0.125), Plant::ShuffledLabels],
        run: scales,
    },
    Claim {
        code: "GEN04",
        chapter: Chapter::Training,
        statement: "Xavier or He with dropout or weight decay overfits less than Xavier or He alone.",
        source: "Seed document, answer 8.6",
        prediction: "Both regularizers hold the training loss up and the test loss down. It is they that do it, and they do it from either start.",
        rule: "Supported if for both starts and both regularizers the gap between test and training loss is shown to shrink, and no test accuracy \
             falls by two points; refuted if a gap is shown not to shrink. Strengths and seeds were chosen after first looks, in which fewer seeds \
             left the dropout undecided. Fourteen seeds see a \
             difference of a few hundredths of the loss.",
        expected: Verdict::Supported,
        planted: &[Plant::Lopsided(8.0)],
        run: regularized,
    },
];

/// A network and how it is trained.
struct Start {
    name: String,
    network: Network,
    optimizer: Optimizer,
}

impl Start {
    fn new(
        lab: &Lab,
        name: impl Into<String>,
        init: &Initializer,
        keep: f64,
        weight_decay: f64,
    ) -> Result<Self, ClaimError> {
        let mut network = lab.classifier(&[128], init, &Activation::Relu)?;
        if keep < 1.0 {
            network.layers.insert(1, Layer::Dropout { keep });
        }
        let optimizer =
            Optimizer::Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay };
        Ok(Self { name: name.into(), network, optimizer })
    }
}

/// A trained model on its own training images and on the test images.
#[derive(Clone, Copy)]
struct Scores {
    train: Evaluation,
    test: Evaluation,
}

impl Scores {
    /// Training accuracy minus test accuracy.
    fn gap(&self) -> f64 {
        self.train.accuracy - self.test.accuracy
    }

    /// Test loss minus training loss.
    fn loss_gap(&self) -> f64 {
        self.test.loss - self.train.loss
    }
}

/// The scores of every start over the same seeds; each seed has 400 training images of its own.
struct Trained {
    starts: Vec<Start>,
    scores: Vec<Vec<Scores>>,
}

impl Trained {
    fn new(lab: &Lab, starts: Vec<Start>) -> Result<Self, ClaimError> {
        Self::over(lab, lab.budget.pick(10, 12, 30), starts)
    }

    fn over(lab: &Lab, seeds: usize, starts: Vec<Start>) -> Result<Self, ClaimError> {
        let sets = (0..seeds)
            .into_par_iter()
            .map(|seed| own_images(lab, seed))
            .collect::<Result<Vec<_>, ClaimError>>()?;
        let jobs: Vec<_> = starts
            .iter()
            .flat_map(|start| sets.iter().enumerate().map(move |s| (start, s)))
            .collect();
        let scores = jobs
            .into_par_iter()
            .with_max_len(1)
            .map(|(start, (seed, data))| {
                let protocol =
                    Protocol { epochs: EPOCHS, optimizer: start.optimizer, ..Protocol::notebook() };
                let seed = lab.seed + seed as u64;
                let fit = fit(&start.network, &data.train, None, &protocol, seed, &|_| ())?;
                let train = fit.model.evaluate(&data.train, 1.0 / 255.0);
                Ok(Scores { train, test: fit.model.evaluate(&data.test, 1.0 / 255.0) })
            })
            .collect::<Result<Vec<Scores>, ClaimError>>()?;
        let scores = scores.chunks(seeds).map(<[Scores]>::to_vec).collect();
        Ok(Self { starts, scores })
    }

    fn values(&self, start: usize, read: impl Fn(&Scores) -> f64) -> Vec<f64> {
        self.scores[start].iter().map(read).collect()
    }

    fn mean(&self, start: usize, read: impl Fn(&Scores) -> f64) -> f64 {
        Moments::from(self.values(start, read).as_slice()).mean()
    }

    fn seeds(&self) -> usize {
        self.scores[0].len()
    }

    fn table(&self, id: &str) -> Table {
        let mut table = Table::new(
            id,
            format!("Means over {} seeds", self.seeds()),
            &["start", "training accuracy", "test accuracy", "gap", "training loss", "test loss"],
        );
        for (index, start) in self.starts.iter().enumerate() {
            let cell = |read: fn(&Scores) -> f64| Cell::number(self.mean(index, read));
            table.push(vec![
                Cell::text(&start.name),
                cell(|s| s.train.accuracy),
                cell(|s| s.test.accuracy),
                cell(Scores::gap),
                cell(|s| s.train.loss),
                cell(|s| s.test.loss),
            ]);
        }
        table
    }

    /// One dot a seed and the mean with its interval, start by start.
    fn panel(
        &self,
        title: &str,
        label: &str,
        read: fn(&Scores) -> f64,
    ) -> Result<Panel, ClaimError> {
        let starts = self.starts.iter().enumerate();
        let groups: Vec<_> = starts.map(|(i, s)| (s.name.clone(), self.values(i, read))).collect();
        seed_panel(title, "start", label, &groups)
    }

    fn experiment(&self, lab: &Lab) -> String {
        format!(
            "784-128-10 with ReLU on {IMAGES} training images of {}, others for every seed; Adam, batches of 32, {EPOCHS} epochs; \
             {} seeds, the same for all starts",
            lab.data.name,
            self.seeds()
        )
    }
}

/// The training images of one seed, and test images.
fn own_images(lab: &Lab, seed: usize) -> Result<Prepared, ClaimError> {
    let (data, most) = (&lab.data, lab.budget.pick(2000, 10_000, 10_000));
    let (found, needed) = (data.train.len(), (seed + 1) * TAKEN);
    if found < needed {
        return Err(ClaimError::Data { found, needed });
    }
    let few = Dataset {
        name: data.name.clone(),
        source: data.source.clone(),
        classes: data.classes,
        train: data.train.slice(needed - TAKEN..needed),
        test: data.test.slice(0..data.test.len().min(most)),
    };
    Prepared::new(&Lab { data: few.into(), ..lab.clone() })
}

fn zero(lab: &Lab) -> Result<Outcome, ClaimError> {
    let starts = vec![
        Start::new(lab, "zero", &Initializer::zeros(), 1.0, 0.0)?,
        Start::new(lab, "Xavier", &Initializer::glorot_uniform(), 1.0, 0.0)?,
        Start::new(lab, "He", &Initializer::he_normal(), 1.0, 0.0)?,
    ];
    let trained = Trained::new(lab, starts)?;
    let gap = |start| trained.values(start, Scores::gap);
    let findings = vec![
        paired_greater(lab, "Xavier's gap over zero's, accuracy", &gap(1), &gap(0), 0.0)?,
        paired_greater(lab, "He's gap over zero's, accuracy", &gap(2), &gap(0), 0.0)?,
    ];
    let verdict = match all_hold(&findings, Verdict::Refuted) {
        // Here a contradiction of every finding is what the statement says.
        _ if findings.iter().all(|f| f.conclusion == Conclusion::Contradicted) => {
            Verdict::Supported
        }
        _ if findings.iter().all(|f| f.conclusion == Conclusion::Holds) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "From zero the training accuracy was {} and the test accuracy {}, a gap of {}; from Xavier the gap was {}, from He {}: a network \
             that learns nothing cannot overfit.",
            percent(trained.mean(0, |s| s.train.accuracy)),
            percent(trained.mean(0, |s| s.test.accuracy)),
            percent(trained.mean(0, Scores::gap)),
            percent(trained.mean(1, Scores::gap)),
            percent(trained.mean(2, Scores::gap)),
        ),
        experiment: trained.experiment(lab),
        figures: vec![
            Figure::new("GEN02-gap", "Zero has no gap, for it learns nothing", caption(&trained))
                .panel(trained.panel("", "training minus test accuracy", Scores::gap)?),
        ],
        tables: vec![trained.table("GEN02-scores")],
        findings,
    })
}

fn caption(trained: &Trained) -> String {
    let means = trained
        .starts
        .iter()
        .enumerate()
        .map(|(i, start)| format!("{} {}", start.name, percent(trained.mean(i, Scores::gap))));
    format!(
        "Coloured: {} seeds. Dark: means with 95% intervals: {}.",
        trained.seeds(),
        means.collect::<Vec<_>>().join(", ")
    )
}

fn scales(lab: &Lab) -> Result<Outcome, ClaimError> {
    let starts = SCALES.iter().enumerate().map(|(index, &scale)| {
        let planted = match lab.plant {
            Some(Plant::Lopsided(factor)) if index == 0 => scale * factor,
            _ => scale,
        };
        let init = Initializer::scaled_normal(2.0f64.sqrt() * planted);
        Start::new(lab, format!("He x {scale}"), &init, 1.0, 0.0)
    });
    let trained = Trained::new(lab, starts.collect::<Result<_, _>>()?)?;
    let gap = |start| trained.values(start, Scores::gap);
    let larger = vec![
        paired_greater(lab, "gap at 8 times He's scale over He's", &gap(0), &gap(2), 0.0)?,
        paired_greater(lab, "gap at 4 times He's scale over He's", &gap(1), &gap(2), 0.0)?,
    ];
    let what = "He's gap over that at a tenth of its scale, less half a point";
    let smaller = paired_greater(lab, what, &gap(2), &gap(3), 0.005)?;
    let by_heart = trained.scores.iter().flatten().filter(|s| s.train.accuracy >= 0.95).count();
    let runs = trained.scores.iter().flatten().count();
    let fits = in_every_seed("runs that fit 0.95 of their training images", by_heart, runs);
    let verdict = match (all_hold(&larger, Verdict::Supported), smaller.conclusion) {
        (Verdict::Supported, Conclusion::Holds) => Verdict::Supported,
        (Verdict::Supported, _) if fits.conclusion == Conclusion::Holds => Verdict::Qualified,
        (Verdict::Supported, _) => Verdict::Inconclusive,
        (verdict, _) => verdict,
    };
    let findings = larger.into_iter().chain([smaller, fits]).collect();
    let of = |start: usize| percent(trained.mean(start, Scores::gap));
    Ok(Outcome {
        verdict,
        sentence: format!(
            "The gap between training and test accuracy was {} at a tenth of He's scale, {} at He's, {} at 4 times and {} at 8 times: large \
             weights overfit, small ones gain next to nothing, and {by_heart} of {runs} runs fitted their images, so the capacity is the same.",
            of(3),
            of(2),
            of(1),
            of(0),
        ),
        experiment: trained.experiment(lab),
        figures: vec![scale_figure(&trained)?],
        tables: vec![trained.table("GEN03-scores")],
        findings,
    })
}

/// Gap and test accuracy against the scale.
fn scale_figure(trained: &Trained) -> Result<Figure, ClaimError> {
    let axis = || Axis::log10("standard deviation of the weights over He's");
    let figure =
        Figure::new("GEN03-gap", "Large weights overfit; small ones gain little", caption(trained));
    let panels: [(&str, fn(&Scores) -> f64); 2] =
        [("training minus test accuracy", Scores::gap), ("test accuracy", |s| s.test.accuracy)];
    panels.into_iter().enumerate().try_fold(figure, |figure, (number, (label, read))| {
        let mut means = Vec::new();
        for (index, &scale) in SCALES.iter().enumerate().rev() {
            let values = trained.values(index, read);
            let mean = mean_interval(
                &Moments::from(values.as_slice()),
                gainstage_stats::Probability::P95,
            )?;
            means.push(Point::with_interval(scale, mean.estimate, mean.low, mean.high));
        }
        let line = means.iter().map(|p| (p.x, p.y)).collect();
        Ok(figure.panel(
            Panel::new("", axis(), Axis::linear(label))
                .mark(Mark::line("", number + 1, line))
                .mark(Mark::points("", number + 1, means)),
        ))
    })
}

/// Probability of keeping a hidden unit, and decoupled weight decay.
const KEEP: f64 = 0.4;
const DECAY: f64 = 1.0;

fn regularized(lab: &Lab) -> Result<Outcome, ClaimError> {
    let mut starts = Vec::new();
    for (name, init) in [("Xavier", Initializer::glorot_normal()), ("He", Initializer::he_normal())]
    {
        // For a negative control, the first of the starts that are compared.
        let first = match (lab.plant, &init) {
            (
                Some(Plant::Lopsided(factor)),
                Initializer::VarianceScaling { scale, mode, distribution },
            ) if starts.is_empty() => {
                Initializer::scaling(scale * factor * factor, *mode, *distribution)
            }
            _ => init.clone(),
        };
        starts.push(Start::new(lab, format!("{name}, dropout"), &first, KEEP, 0.0)?);
        starts.push(Start::new(lab, format!("{name}, decay"), &init, 1.0, DECAY)?);
        starts.push(Start::new(lab, name, &init, 1.0, 0.0)?);
    }
    let trained = Trained::over(lab, lab.budget.pick(14, 20, 40), starts)?;
    let (mut gaps, mut kept) = (Vec::new(), Vec::new());
    for plain in [2, 5] {
        for index in [plain - 2, plain - 1] {
            let name = &trained.starts[index].name;
            let gap = |start| trained.values(start, Scores::loss_gap);
            let accuracy = |start| trained.values(start, |s| s.test.accuracy);
            let what = format!("{name}: gap of the losses without over with");
            gaps.push(paired_greater(lab, what, &gap(plain), &gap(index), 0.0)?);
            let what = format!("{name}: test accuracy with over without");
            kept.push(paired_greater(lab, what, &accuracy(index), &accuracy(plain), -0.02)?);
        }
    }
    let findings: Vec<_> = gaps.into_iter().chain(kept).collect();
    let of = |start: usize| significant(trained.mean(start, Scores::loss_gap));
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "The test loss was above the training loss by {} from Xavier alone, {} with dropout and {} with weight decay; from He by {}, {} and \
             {}: the regularizer does it, from either start.",
            of(2),
            of(0),
            of(1),
            of(5),
            of(3),
            of(4),
        ),
        experiment: format!(
            "{}; dropout keeps {KEEP} of the hidden units, AdamW decays by {DECAY} times the rate",
            trained.experiment(lab)
        ),
        figures: vec![
            Figure::new(
                "GEN04-gap",
                "Dropout and weight decay close the gap, whatever the start",
                format!("Coloured: {} seeds. Dark: means with 95% intervals.", trained.seeds()),
            )
            .panel(trained.panel("", "test minus training loss", Scores::loss_gap)?)
            .panel(trained.panel("", "test accuracy", |s| s.test.accuracy)?),
        ],
        tables: vec![trained.table("GEN04-scores")],
        findings,
    })
}
