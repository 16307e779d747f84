//! Every law that a weight is likely to have been drawn from: the field's initializers, the frameworks'
//! defaults, fixed scales, and what they become under the usual mistakes.

use gainstage_spec::{FanMode, Initializer, Law, Layout, WeightShape};

use crate::factor::{Context, name};
use crate::family::{FAMILIES, Family, cut_std};
use crate::part::Part;
use crate::role::Role;
use crate::{haiku, siren};

/// A law that the tensor may follow.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) initializer: Initializer,
    /// Which of the tensor's readings its fans come from.
    pub(crate) reading: Option<usize>,
    pub(crate) law: Law,
    pub(crate) family: Family,
    /// Logarithm of how usual it is, zero for a default.
    pub(crate) prior: f64,
    /// A mistake: the factor's name, its cause, and the law that was probably meant.
    pub(crate) fault: Option<Fault>,
}

/// A usual mistake.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) factor: String,
    pub(crate) cause: String,
    pub(crate) meant: Initializer,
    pub(crate) expected_std: f64,
}

impl Fault {
    /// Whether the other fan was taken.
    pub(crate) fn is_exchange(&self) -> bool {
        self.factor == SWAPPED
    }
}

const SWAPPED: &str = "swapped fans";

/// Squared gains that are chosen on purpose: none, ReLU, leaky ReLU 0.2, PyTorch's tanh and SELU.
const GAINS: [(f64, f64); 5] =
    [(1.0, 0.0), (2.0, 0.0), (2.0 / 1.04, -4.0), (25.0 / 9.0, -3.0), (9.0 / 16.0, -4.0)];

/// The likelihood of a mistake, next to a deliberate law's.
const MISTAKE: f64 = -7.0;

/// All candidates for a tensor of this part. Its standard deviation, with the error of its logarithm, only
/// chooses among the fixed scales.
pub(crate) fn candidates(
    part: &Part,
    std: f64,
    error: f64,
    layers: Option<usize>,
) -> Vec<Candidate> {
    let mut list = Vec::new();
    for (index, reading) in part.readings.iter().enumerate() {
        // The other order of the axes, and a transposed convolution read as a plain one.
        let ordered = part.layout.is_some() && part.readings[0].layout != reading.layout;
        let plain = !ordered && !reading.shape.is_transposed();
        let penalty = if index == 0 || plain { 0.0 } else { -5.0 };
        let mut scaled = Scaled {
            list: &mut list,
            shape: &reading.shape,
            layout: reading.layout,
            index,
            penalty,
            part,
            layers,
        };
        match part.role {
            Role::Bias => scaled.push(Family::Uniform, 1.0 / 3.0, FanMode::FanIn, 0.0),
            Role::Embedding => scaled.embedding(),
            _ => scaled.weight(),
        }
    }
    fixed(&mut list, part, std, error, layers);
    list
}

struct Scaled<'a> {
    list: &'a mut Vec<Candidate>,
    shape: &'a WeightShape,
    layout: Layout,
    index: usize,
    penalty: f64,
    part: &'a Part,
    layers: Option<usize>,
}

impl Scaled<'_> {
    fn push(&mut self, family: Family, scale: f64, mode: FanMode, prior: f64) {
        if let Some(initializer) = family.scaled(scale, mode)
            && let Ok(law) = initializer.law(self.shape)
        {
            let fault = self.swapped(&initializer, &law, mode);
            self.list.push(Candidate {
                initializer,
                reading: Some(self.index),
                law,
                family,
                prior: prior + self.penalty,
                fault,
            });
        }
    }

    /// A dense layer whose order is known and whose law takes the other fan.
    fn swapped(&self, initializer: &Initializer, law: &Law, mode: FanMode) -> Option<Fault> {
        let fans = self.shape.fans();
        let known = self.part.layout.is_some() && fans.fan_in() != fans.fan_out();
        // Extra readings in the same order, such as an LSTM's, are no exchange.
        let own_order = self.layout == self.part.readings[0].layout;
        let other_fan = own_order == (mode == FanMode::FanOut);
        let one_fan = matches!(mode, FanMode::FanIn | FanMode::FanOut);
        if self.part.role != Role::Dense || !known || !one_fan || !other_fan {
            return None;
        }
        let Initializer::VarianceScaling { scale, distribution, .. } = *initializer else {
            return None;
        };
        let meant = Initializer::scaling(scale, FanMode::FanIn, distribution);
        let own = &self.part.readings[0].shape;
        if own.fans().fan_in() == own.fans().fan_out() {
            return None;
        }
        let expected_std = meant.law(own).ok()?.std();
        let (i, o) = (own.fans().fan_in(), own.fans().fan_out());
        Some(Fault {
            factor: SWAPPED.to_owned(),
            cause: format!(
                "scaled by {o}, the fan-out, where {i} is the fan-in: ratio {:.4}, the axes were read in the other order",
                law.std() / expected_std
            ),
            meant,
            expected_std,
        })
    }

    fn embedding(&mut self) {
        // Flax: variance 1 / features; PyTorch's normal(1) is among the fixed scales.
        self.push(Family::Normal, 1.0, FanMode::FanOut, -1.0);
        self.push(Family::Cut(2), 1.0, FanMode::FanOut, -3.0);
        self.push(Family::Uniform, 1.0, FanMode::FanOut, -4.0);
        let dense = WeightShape::dense(self.shape.inputs(), self.shape.outputs());
        if let Ok(shape) = dense {
            let mut as_dense = Scaled {
                list: &mut *self.list,
                shape: &shape,
                layout: self.layout,
                index: self.index,
                penalty: -4.0,
                part: self.part,
                layers: self.layers,
            };
            for family in [Family::Uniform, Family::Normal, Family::Cut(2)] {
                as_dense.push(family, 1.0, FanMode::FanAvg, 0.0);
            }
        }
    }

    fn weight(&mut self) {
        let dense = self.part.role == Role::Dense;
        for family in [Family::Normal, Family::Uniform, Family::Cut(2)] {
            for (scale, prior) in GAINS {
                self.push(family, scale, FanMode::FanIn, prior);
                let average = if scale == 1.0 { 0.0 } else { prior.min(-3.0) };
                self.push(family, scale, FanMode::FanAvg, average);
                // Keeping the backward signal of a convolution is usual, of a dense layer it is not.
                let out = if dense { -5.0 } else { -1.0 };
                self.push(family, scale, FanMode::FanOut, prior + out);
            }
        }
        self.push(Family::Uniform, 1.0 / 3.0, FanMode::FanIn, 0.0);
        self.push(Family::Uniform, 1.0 / 3.0, FanMode::FanOut, if dense { -5.0 } else { -4.0 });
        if dense {
            self.push(Family::Uniform, siren::HIDDEN, FanMode::FanIn, -3.0);
        }
        if self.part.haiku {
            self.push(Family::Cut(2), haiku::scale(), FanMode::FanIn, 0.0);
        }
        let dimension = self.shape.outputs().max(self.shape.elements() / self.shape.outputs());
        for (gain, prior) in
            [(1.0, 0.0), (2f64.sqrt(), -1.0), (5.0 / 3.0, -3.0), (0.01, -2.0), (0.1, -4.0)]
        {
            let initializer = Initializer::Orthogonal { gain };
            if let Ok(law) = initializer.law(self.shape) {
                self.list.push(Candidate {
                    initializer,
                    reading: Some(self.index),
                    law,
                    family: Family::Sphere(dimension),
                    prior: prior + self.penalty,
                    fault: None,
                });
            }
        }
        if self.index == 0 {
            self.mistakes();
        }
    }

    fn mistakes(&mut self) {
        for family in FAMILIES {
            let base = if family == Family::Cut(3) { Family::Cut(2) } else { family };
            for (scale, mode) in
                [(1.0, FanMode::FanIn), (2.0, FanMode::FanIn), (1.0, FanMode::FanAvg)]
            {
                let Some(meant) = base.scaled(scale, mode) else { continue };
                let Ok(law) = meant.law(self.shape) else { continue };
                let expected = law.std();
                let context = Context {
                    fans: None,
                    field: self.shape.field(),
                    groups: self.shape.groups(),
                    layers: self.layers,
                    expected,
                    scaled: true,
                };
                let mut ratios = vec![expected, expected.recip().sqrt(), 2f64.sqrt()];
                ratios.extend([3f64.sqrt(), 6f64.sqrt()].iter().flat_map(|r| [*r, r.recip()]));
                if let Some(layers) = self.layers {
                    ratios.push((2.0 * layers as f64).sqrt());
                }
                if self.shape.field() > 1 {
                    ratios.push((self.shape.field() as f64).sqrt());
                }
                if self.shape.groups() > 1 {
                    ratios.push((self.shape.groups() as f64).sqrt().recip());
                }
                if let Family::Cut(sigmas) = family {
                    ratios.push(cut_std(sigmas));
                }
                for ratio in ratios {
                    let Some(factor) = name(ratio, 1e-9, 0.0, &context) else { continue };
                    let cut = matches!(family, Family::Cut(_)) && factor.name == "0.8796";
                    if cut && self.part.haiku && (scale, mode) == (1.0, FanMode::FanIn) {
                        continue; // the framework's default
                    }
                    let law = family.law(0.0, expected * ratio);
                    self.list.push(Candidate {
                        initializer: family.stated(expected * ratio),
                        reading: Some(self.index),
                        law,
                        family,
                        prior: self.penalty + if cut { -3.0 } else { MISTAKE },
                        fault: Some(Fault {
                            factor: factor.name,
                            cause: factor.cause,
                            meant: meant.clone(),
                            expected_std: expected,
                        }),
                    });
                }
                // A depth factor on a fan rule is deliberate.
                if let Some(layers) = self.layers {
                    self.push(base, scale / (2.0 * layers as f64), mode, -3.0);
                }
            }
        }
    }
}

/// Fixed scales: one digit and a power of ten, also divided by the square root of the depth.
fn fixed(list: &mut Vec<Candidate>, part: &Part, std: f64, error: f64, layers: Option<usize>) {
    // As far as the standard deviation may be off by chance.
    let window = (5.0 * error).clamp(0.1, 1.0);
    if !(std > 0.0 && std.is_finite()) {
        return;
    }
    let mut push = |family: Family, initializer: Initializer, law: Law, prior: f64, fault| {
        list.push(Candidate { initializer, reading: None, law, family, prior, fault });
    };
    let usual = |value: f64| {
        let default = part.role == Role::Embedding && value == 1.0;
        match value {
            _ if default => 0.0,
            0.02 | 0.01 => -1.0,
            v if v < 1e-3 => -6.0,
            _ => -3.0,
        }
    };
    let families: &[Family] = match part.role {
        Role::Bias => &[Family::Normal, Family::Uniform],
        _ => &FAMILIES,
    };
    for &family in families {
        // PyTorch's trunc_normal_ with absolute cuts is a plain normal here; a cut law is named by its
        // std before the cut, as Keras and JAX name it, and a uniform one by its bound.
        let own = match family {
            Family::Cut(sigmas) => cut_std(sigmas),
            Family::Uniform => 3f64.sqrt().recip(),
            _ => 1.0,
        };
        for value in round(std / own, window) {
            let (initializer, extra) = match family {
                Family::Uniform => {
                    let extra = if value == 0.05 { 2.0 } else { -1.0 };
                    (Initializer::Uniform { low: -value, high: value }, extra)
                }
                Family::Cut(3) => (family.stated(value), -1.0),
                _ => (family.stated(value), 0.0),
            };
            push(family, initializer, family.law(0.0, value * own), usual(value) + extra, None);
        }
        let Some(layers) = layers.filter(|_| family != Family::Uniform) else { continue };
        for (count, prior) in [(2 * layers, -1.0), (layers, -5.0)] {
            let depth = (count as f64).sqrt();
            for value in round(std / own * depth, window) {
                let law = family.law(0.0, value * own / depth);
                // Of 0.02 it is GPT-2's; of another scale it is seldom meant.
                let odd = if usual(value) < -1.0 { -3.0 } else { 0.0 };
                push(family, family.stated(value / depth), law, usual(value) + prior + odd, None);
            }
        }
    }
    // normal(0.02) with the variance and the standard deviation mistaken for each other.
    for meant in [0.02f64, 0.01, 0.05] {
        for (own, factor, cause) in [
            (
                meant * meant,
                "variance used as std",
                "the variance was passed where the standard deviation belongs",
            ),
            (
                meant.sqrt(),
                "std used as variance",
                "the standard deviation was passed where the variance belongs",
            ),
        ] {
            if own == 0.1 || own == 0.0025 {
                continue; // more likely chosen
            }
            let fault = Fault {
                factor: factor.to_owned(),
                cause: cause.to_owned(),
                meant: Initializer::normal(meant),
                expected_std: meant,
            };
            push(
                Family::Normal,
                Initializer::normal(own),
                Family::Normal.law(0.0, own),
                -4.0,
                Some(fault),
            );
        }
    }
}

/// The one-digit numbers within a factor of a value, and the two-digit ones in use.
fn round(value: f64, window: f64) -> Vec<f64> {
    let power = value.log10().floor();
    if !power.is_finite() || power.abs() > 30.0 {
        return Vec::new();
    }
    let digits = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.5, 2.5, 1.25];
    let power = power as i32;
    // Parsed, so that 0.02 is the number that people write.
    (power - 1..=power + 1)
        .flat_map(|p| digits.map(|d| format!("{d}e{p}").parse::<f64>()))
        .flatten()
        .filter(|v| (v / value).ln().abs() < window)
        .collect()
}
