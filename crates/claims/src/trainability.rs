//! Which networks learn: depth against the scale of the weights, on the images.

use std::sync::OnceLock;

use gainstage_report::{Axis, ColourMap, Figure, Mark, Panel};
use gainstage_spec::Activation;
use gainstage_theory::MeanField;
use gainstage_train::{Job, Optimizer, Protocol, Sweep, fit_many_then};

use crate::claim::{Chapter, Claim, Finding, Outcome, Verdict};
use crate::comparison::in_every_seed;
use crate::draws::count_finding;
use crate::figures::{percent, significant};
use crate::mean_field::EDGE;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Units of a hidden layer.
pub(crate) const WIDTH: usize = 48;
/// Images a step.
pub(crate) const BATCH: usize = 16;
/// Training images, a little more than one short training sees.
pub(crate) const IMAGES: usize = 5000;
/// A training has learned if its mean loss over the last tenth of the steps is below this share of
/// ln(classes), the loss of knowing nothing.
pub(crate) const LEARNED: f64 = 0.87;
/// Bias variance of the tanh map, as in the paper.
const BIAS: f64 = 0.05;
/// Factors of the error signal's second moment within which a network should learn, and beyond which
/// it should not.
const WITHIN: f64 = 50.0;
const BEYOND: f64 = 1e5;
/// Depth scales down to which a network should learn, and below which it should not.
const LEAST: f64 = 1.0;
const MOST: f64 = 10.0;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "VAN03",
        chapter: Chapter::Training,
        statement: "Vanishing and exploding signals stop training.",
        source: "Seed document, answers 1.2 and 2.1",
        prediction: "Through L ReLU layers the second moments of signal and error signal are multiplied by (sigma_w^2/2)^(L - 1). Plain gradient descent \
             learns where that factor is of order one, and at no depth where it is not: below, the gradients are too small to move the weights in \
             the steps there are; above, the first steps throw them away.",
        rule: "A training has learned if its mean loss over the last tenth of the steps is below 0.87 ln(classes). Supported if most trainings with a \
             factor between 1/50 and 50 are shown to learn, and most of those below 1/100,000, and most of those above 100,000, not to; between, \
             nothing is predicted. Most: the exact interval of the share lies beyond one half, which takes 13 trainings without an exception. \
             Refuted if a share is shown to lie on the other side. The bounds were set, and every training made most, after first maps.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels, Plant::Gain(2.0)],
        run: vanishing_and_exploding,
    },
    Claim {
        code: "MFT04",
        chapter: Chapter::MeanField,
        statement: "Networks train down to a few depth scales xi_c and no deeper: the map of what trains follows the theory's line.",
        source: "Schoenholz et al. 2017, section 5 and figure 5",
        prediction: "Two inputs can be told apart, and the error signal gets through, for a few xi_c layers: 1.2 layers times a few at sigma_w^2 = 0.5, \
             without bound at the edge of chaos (1.761 for tanh, sigma_b^2 = 0.05), 9.1 times a few at 3. The paper draws 6 xi_c; the multiple depends \
             on the number of steps.",
        rule: "Learned, and most, as in VAN03. Supported if most trainings of at most one xi_c layers are shown to learn, most of more than ten not to, and \
             in every seed the networks at the edge learn deeper than those at both ends of the map; refuted if one is shown otherwise. \"A few\" was \
             fixed as 1 to 10, and every training made most, after first maps.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels, Plant::Gain(2.0)],
        run: depth_scales,
    },
];

/// The maps of a lab, each trained when it is first asked for.
#[derive(Default)]
pub(crate) struct Maps {
    relu: OnceLock<Map>,
    tanh: OnceLock<Map>,
}

/// What came of one training.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trained {
    /// Mean loss over the last tenth of the steps, over ln(classes); infinite where it diverged.
    pub(crate) loss: f64,
    /// On the test images.
    pub(crate) accuracy: f64,
}

impl Trained {
    pub(crate) fn learned(self) -> bool {
        self.loss < LEARNED
    }
}

/// Networks of every depth with every weight variance, several seeds each.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) weight_variances: Vec<f64>,
    pub(crate) depths: Vec<usize>,
    pub(crate) seeds: usize,
    steps: u64,
    /// Depth by depth, weight variance by weight variance, seed by seed.
    trained: Vec<Trained>,
}

impl Map {
    /// Trains the map; every training has weights and a data order of its own.
    pub(crate) fn new(
        lab: &Lab,
        phi: &Activation,
        bias_variance: f64,
        weight_variances: Vec<f64>,
        depths: Vec<usize>,
        (seeds, steps): (usize, u64),
    ) -> Result<Self, ClaimError> {
        let data = Prepared::at_most(lab, IMAGES, 500)?;
        let protocol = protocol(steps);
        let sweep = Sweep {
            activation: phi.clone(),
            width: WIDTH,
            depths: depths.clone(),
            weight_variances: weight_variances.clone(),
            bias_variance,
            protocol: protocol.clone(),
        };
        let mut jobs = Vec::new();
        for &depth in &depths {
            for &variance in &weight_variances {
                let network = lab.planted(&sweep.network(depth, variance, &data.train)?);
                let root = lab.seed_for(&format!("{phi} {variance} {depth}"));
                jobs.extend((0..seeds as u64).map(|i| Job {
                    network: network.clone(),
                    protocol: protocol.clone(),
                    seed: root.wrapping_add(i),
                }));
            }
        }
        let trained = trained(&jobs, &data)?;
        Ok(Self { weight_variances, depths, seeds, steps, trained })
    }

    /// The trainings of one depth and weight variance, by their places.
    pub(crate) fn cell(&self, depth: usize, variance: usize) -> &[Trained] {
        let at = (depth * self.weight_variances.len() + variance) * self.seeds;
        &self.trained[at..at + self.seeds]
    }

    /// The largest depth down to which a seed's trainings learned, 0 if it did not at the smallest.
    pub(crate) fn reach(&self, variance: usize, seed: usize) -> usize {
        let learned = |&depth: &usize| self.cell(depth, variance)[seed].learned();
        let rows = (0..self.depths.len()).take_while(learned);
        rows.last().map_or(0, |row| self.depths[row])
    }

    /// Of the trainings in the cells that `chosen` by (depth, weight variance): how many there are, and
    /// how many learned.
    fn count(&self, chosen: impl Fn(f64, f64) -> bool) -> (usize, usize) {
        let (mut all, mut learned) = (0, 0);
        for (row, &depth) in self.depths.iter().enumerate() {
            for (column, &variance) in self.weight_variances.iter().enumerate() {
                if chosen(depth as f64, variance) {
                    all += self.seeds;
                    learned += self.cell(row, column).iter().filter(|t| t.learned()).count();
                }
            }
        }
        (all, learned)
    }

    /// Mean accuracies, to be drawn.
    fn mark(&self) -> Mark {
        let cells = self.trained.chunks(self.seeds);
        Mark::HeatMap {
            xs: self.weight_variances.clone(),
            ys: self.depths.iter().map(|d| *d as f64).collect(),
            values: cells
                .map(|c| c.iter().map(|t| t.accuracy).sum::<f64>() / c.len() as f64)
                .collect(),
            map: ColourMap::Sequential,
        }
    }

    /// The part of a line of depths that lies on the map, in as many pieces as it enters it.
    fn inside(&self, line: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let (low, high) = (self.depths[0] as f64, self.depths[self.depths.len() - 1] as f64);
        let pieces = line.split(|(_, depth)| !(low..=high).contains(depth));
        pieces.filter(|p| p.len() > 1).map(<[_]>::to_vec).collect()
    }

    fn experiment(&self, lab: &Lab, what: &str) -> String {
        format!(
            "{what} of width {WIDTH}, {} depths from {} to {} and {} weight variances from {} to {}, on {}: SGD with rate 0.01 and momentum 0.9, {} \
             steps of {BATCH} images, {} seeds a cell",
            self.depths.len(),
            self.depths[0],
            self.depths[self.depths.len() - 1],
            self.weight_variances.len(),
            significant(self.weight_variances[0]),
            significant(self.weight_variances[self.weight_variances.len() - 1]),
            lab.data.name,
            self.steps,
            self.seeds
        )
    }
}

/// Gradient descent with momentum: its outcome shows how large gradients are, which Adam would hide.
pub(crate) fn protocol(steps: u64) -> Protocol {
    Protocol {
        epochs: usize::MAX,
        batch: BATCH,
        optimizer: Optimizer::Momentum { rate: 0.01, momentum: 0.9, nesterov: false },
        max_steps: Some(steps),
        ..Protocol::notebook()
    }
}

/// Trains and looks at what came of it.
pub(crate) fn trained(jobs: &[Job], data: &Prepared) -> Result<Vec<Trained>, ClaimError> {
    let nothing = (data.train.classes() as f64).ln();
    let finish = |index: usize, fit: gainstage_train::Fit| {
        let last = &fit.step_losses[fit.step_losses.len() * 9 / 10..];
        let mean = last.iter().map(|l| f64::from(*l)).sum::<f64>() / last.len().max(1) as f64;
        let scale = jobs[index].protocol.scale;
        Trained {
            loss: if fit.diverged.is_some() { f64::INFINITY } else { mean / nothing },
            accuracy: fit.model.evaluate(&data.test, scale).accuracy,
        }
    };
    Ok(fit_many_then(jobs, &data.train, None, &|_, _| (), finish)?)
}

impl Lab {
    /// ReLU without biases, from far too small to far too large.
    pub(crate) fn relu_map(&self) -> Result<Map, ClaimError> {
        let small = vec![1.0 / 3.0, 2.0 / 3.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];
        let fine = vec![1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0];
        let depths = (vec![3, 6, 12, 24], vec![3, 4, 6, 8, 12, 16, 24]);
        self.map(&self.maps.relu, &Activation::Relu, 0.0, (small, fine), depths, 240)
    }

    /// tanh around the edge of chaos.
    pub(crate) fn tanh_map(&self) -> Result<Map, ClaimError> {
        let small = vec![0.2, 0.5, 1.0, EDGE, 3.0, 16.0];
        let fine = vec![0.2, 0.35, 0.5, 0.7, 1.0, 1.3, EDGE, 2.3, 3.0, 5.0, 9.0, 16.0];
        let depths = (vec![3, 6, 12, 18], vec![3, 4, 6, 8, 12, 18]);
        self.map(&self.maps.tanh, &Activation::Tanh, BIAS, (small, fine), depths, 220)
    }

    fn map(
        &self,
        kept: &OnceLock<Map>,
        phi: &Activation,
        bias_variance: f64,
        variances: (Vec<f64>, Vec<f64>),
        depths: (Vec<usize>, Vec<usize>),
        steps: u64,
    ) -> Result<Map, ClaimError> {
        if let Some(map) = kept.get() {
            return Ok(map.clone());
        }
        (self.progress)("training a map of depths and weight variances");
        let seeds = self.budget.pick(3, 10, 30);
        // A map's seeds do not depend on which of its claims runs first.
        let lab = Lab { code: "MAP", ..self.clone() };
        let variances = self.budget.pick(variances.0, variances.1.clone(), variances.1);
        let depths = self.budget.pick(depths.0, depths.1.clone(), depths.1);
        let map = Map::new(&lab, phi, bias_variance, variances, depths, (seeds, steps))?;
        Ok(kept.get_or_init(|| map).clone())
    }
}

/// The share of trainings that learned lies on the side of one half where `predicted` is.
fn most(
    lab: &Lab,
    what: &str,
    learned: usize,
    n: usize,
    predicted: f64,
) -> Result<Finding, ClaimError> {
    count_finding(lab, what.to_owned(), learned, n, predicted, 0.5)
}

/// (sigma_w^2/2)^(L - 1): what the layers above the first do to a second moment under ReLU.
fn factor(depth: f64, variance: f64) -> f64 {
    (variance / 2.0).powf(depth - 1.0)
}

fn vanishing_and_exploding(lab: &Lab) -> Result<Outcome, ClaimError> {
    let map = lab.relu_map()?;
    let within = |depth: f64, v: f64| factor(depth, v).ln().abs() < WITHIN.ln();
    let (inside, learned) = map.count(within);
    let (below, too_small) = map.count(|depth, v| factor(depth, v) < 1.0 / BEYOND);
    let (above, too_large) = map.count(|depth, v| factor(depth, v) > BEYOND);
    let findings = vec![
        most(lab, "factor between 1/50 and 50: share that learned", learned, inside, 1.0)?,
        most(lab, "factor below 1/100,000: share that learned", too_small, below, 0.0)?,
        most(lab, "factor above 100,000: share that learned", too_large, above, 0.0)?,
    ];
    let mean = |chosen: &dyn Fn(f64, f64) -> bool| {
        let (mut sum, mut n) = (0.0, 0.0);
        for (row, &depth) in map.depths.iter().enumerate() {
            for (column, &variance) in map.weight_variances.iter().enumerate() {
                if chosen(depth as f64, variance) {
                    sum += map.cell(row, column).iter().map(|t| t.accuracy).sum::<f64>();
                    n += map.seeds as f64;
                }
            }
        }
        percent(sum / n)
    };
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Where the layers multiply the second moment by 1/50 to 50, {learned} of {inside} trainings learned (mean accuracy {}); {too_small} of {below} \
             did below 1/100,000 ({}) and {too_large} of {above} above 100,000 ({}).",
            mean(&within),
            mean(&|depth, v| factor(depth, v) < 1.0 / BEYOND),
            mean(&|depth, v| factor(depth, v) > BEYOND),
        ),
        experiment: map.experiment(lab, "ReLU networks without biases"),
        figures: vec![band_figure(&map)],
        tables: Vec::new(),
        findings,
    })
}

fn band_figure(map: &Map) -> Figure {
    let mut panel = Panel::new(
        "test accuracy",
        Axis::log10("weight variance σ_w²"),
        Axis::log10("hidden layers"),
    )
    .mark(map.mark());
    let (low, high) =
        (map.weight_variances[0], map.weight_variances[map.weight_variances.len() - 1]);
    for (name, colour, bound) in [("factor 50", 1, WITHIN), ("factor 100,000", 2, BEYOND)] {
        let line: Vec<(f64, f64)> = (0..=400)
            .map(|i| low * (high / low).powf(f64::from(i) / 400.0))
            .map(|v| (v, 1.0 + bound.ln() / (v / 2.0).ln().abs()))
            .collect();
        for piece in map.inside(&line) {
            panel.marks.push(Mark::line(name, colour, piece));
        }
    }
    let text = "ReLU, no biases; light cells train. On the lines the layers above the first multiply second moments by 50 and by 100,000, or divide \
                them: He's variance 2 lies between them at every depth.";
    Figure::new("VAN03-band", "Too small or too large weights do not train when deep", text)
        .panel(panel)
}

/// xi_c of tanh at this weight variance.
fn depth_scale(variance: f64) -> Result<f64, ClaimError> {
    Ok(MeanField::new(&Activation::Tanh, variance, BIAS)?.depth_limit(1.0)?.xi_c)
}

fn depth_scales(lab: &Lab) -> Result<Outcome, ClaimError> {
    let map = lab.tanh_map()?;
    let columns = map.weight_variances.len();
    let scales: Vec<f64> =
        map.weight_variances.iter().map(|v| depth_scale(*v)).collect::<Result<_, _>>()?;
    let scale = |v: f64| {
        map.weight_variances.iter().position(|x| *x == v).map_or(f64::NAN, |at| scales[at])
    };
    let (shallow, learned) = map.count(|depth, v| depth <= LEAST * scale(v));
    let (deep, beyond) = map.count(|depth, v| depth > MOST * scale(v));
    let edge = map.weight_variances.iter().position(|v| *v == EDGE).unwrap_or(0);
    let deeper = (0..map.seeds).filter(|&seed| {
        let ends = map.reach(0, seed).max(map.reach(columns - 1, seed));
        map.reach(edge, seed) > ends
    });
    let findings = vec![
        most(lab, "at most one depth scale: share that learned", learned, shallow, 1.0)?,
        most(lab, "more than ten depth scales: share that learned", beyond, deep, 0.0)?,
        in_every_seed(
            "seeds that learn deeper at the edge than at both ends",
            deeper.count(),
            map.seeds,
        ),
    ];
    let reach = |column: usize| {
        (0..map.seeds).map(|s| map.reach(column, s) as f64).sum::<f64>() / map.seeds as f64
    };
    let deepest = map.depths[map.depths.len() - 1] as f64;
    // Where the map ends before the learning does, or there is no bound, no multiple is known.
    let known = |c: &usize| reach(*c) < deepest && scales[*c] < deepest;
    let multiples: Vec<f64> = (0..columns).filter(known).map(|c| reach(c) / scales[c]).collect();
    let (low, high) =
        multiples.iter().fold((f64::INFINITY, 0.0f64), |(l, h), m| (l.min(*m), h.max(*m)));
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "On average networks learned down to {} layers at sigma_w^2 = {}, {} at the edge of chaos and {} at {}: to {} to {} depth scales, where the map \
             is deep enough to tell.",
            significant(reach(0)),
            significant(map.weight_variances[0]),
            significant(reach(edge)),
            significant(reach(columns - 1)),
            significant(map.weight_variances[columns - 1]),
            significant(low),
            significant(high),
        ),
        experiment: map.experiment(lab, "tanh networks with bias variance 0.05"),
        figures: vec![scale_figure(&map)?],
        tables: Vec::new(),
        findings,
    })
}

fn scale_figure(map: &Map) -> Result<Figure, ClaimError> {
    let mut panel = Panel::new(
        "test accuracy",
        Axis::log10("weight variance σ_w²"),
        Axis::log10("hidden layers"),
    )
    .mark(map.mark());
    let (low, high) =
        (map.weight_variances[0], map.weight_variances[map.weight_variances.len() - 1]);
    let mut line = Vec::new();
    for i in 0..=200 {
        let v = low * (high / low).powf(f64::from(i) / 200.0);
        line.push((v, depth_scale(v)?));
    }
    for (name, colour, multiple) in [("ξ_c", 2, 1.0), ("3 ξ_c", 3, 3.0), ("6 ξ_c", 1, 6.0)] {
        let times: Vec<(f64, f64)> = line.iter().map(|(v, xi)| (*v, multiple * xi)).collect();
        for piece in map.inside(&times) {
            panel.marks.push(Mark::line(name, colour, piece));
        }
    }
    panel.marks.push(Mark::Vertical { x: EDGE, label: "edge of chaos".to_owned() });
    let text = "tanh, σ_b² = 0.05; light cells train. Lines: 1, 3 and 6 times the theory's depth scale of correlations, which has no bound at the \
                edge of chaos. The paper draws 6 ξ_c; fewer steps reach fewer scales.";
    Ok(Figure::new("MFT04-map", "Networks train to a few depth scales", text).panel(panel))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two depths, two weight variances, two seeds; true for a training that learned.
    fn map(learned: [bool; 8]) -> Map {
        let trained = learned.map(|l| Trained { loss: if l { 0.5 } else { 1.0 }, accuracy: 0.5 });
        Map {
            weight_variances: vec![1.0, 2.0],
            depths: vec![3, 6],
            seeds: 2,
            steps: 1,
            trained: trained.to_vec(),
        }
    }

    #[test]
    fn reach_ends_at_the_first_depth_that_does_not_learn() {
        let map = map([true, true, false, true, true, false, true, true]);
        assert_eq!([map.reach(0, 0), map.reach(0, 1)], [6, 3]);
        // Deep but not shallow is no reach.
        assert_eq!([map.reach(1, 0), map.reach(1, 1)], [0, 6]);
    }

    #[test]
    fn trainings_are_counted_by_cell() {
        let map = map([true, true, false, true, true, false, true, true]);
        assert_eq!(map.count(|depth, _| depth > 3.0), (4, 3));
        assert_eq!(map.count(|_, variance| variance < 1.5), (4, 3));
        assert_eq!(map.count(|depth, variance| depth > 3.0 && variance > 1.5), (2, 2));
    }

    #[test]
    fn lines_are_cut_to_the_map() {
        let map = map([true; 8]);
        let line = [(1.0, 2.0), (1.1, 4.0), (1.2, 5.0), (1.3, 9.0), (1.4, 6.0), (1.5, 3.0)];
        let pieces = map.inside(&line);
        assert_eq!(pieces, [vec![(1.1, 4.0), (1.2, 5.0)], vec![(1.4, 6.0), (1.5, 3.0)]]);
    }

    #[test]
    fn second_moments_multiply_above_the_first_layer() {
        assert_eq!(factor(4.0, 1.0), 0.125);
        assert_eq!(factor(1.0, 7.0), 1.0);
    }
}
