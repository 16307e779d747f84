use std::sync::{Arc, OnceLock};

use gainstage_data::Dataset;
use gainstage_init::{Key, Purpose};
use gainstage_spec::{Initializer, Layout, WeightShape};
use gainstage_stats::Probability;

use crate::notebook::Runs;
use crate::trainability::Maps;
use crate::{Budget, ClaimError};

/// Family-wise false-alarm rate of the whole ledger.
pub const FAMILY_RATE: f64 = 0.01;

/// Number of claims that the family rate is divided among: all that the ledger is to hold, so that
/// a claim's verdict does not depend on which others run beside it.
pub const FAMILY_SIZE: usize = 73;

/// An error planted on purpose: a verdict that survives it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plant {
    /// Every measured network's weights are multiplied by this; the prediction is not.
    Gain(f64),
    /// The labels of the training images are shuffled.
    ShuffledLabels,
    /// Every ReLU of a measured network leaks: it has this slope on the negative side.
    Leak(f64),
    /// Measured networks take fan-out for fan-in and the reverse.
    SwappedFans,
    /// "Constant" and "zero" weights get a normal noise of this standard deviation.
    Jitter(f64),
    /// The first of the starts that are compared has its weights multiplied by this, the others not.
    Lopsided(f64),
    /// Of the starts that are compared, the k-th in the claimed order, counted from 0, has its weights
    /// multiplied by this to the power k.
    Staggered(f64),
    /// Replicates that should be independent share one seed.
    SharedSeed,
    /// Matrices that should be orthogonal are drawn with independent normal entries.
    NormalForOrthogonal,
    /// What should be drawn without matrices is drawn with them.
    DenseForMatrixFree,
}

/// What every experiment needs: seed, budget, data, and the error rate it runs at.
#[derive(Clone)]
pub struct Lab {
    /// Root of every stream.
    pub seed: u64,
    /// How much is measured.
    pub budget: Budget,
    /// Images to train on.
    pub data: Arc<Dataset>,
    /// An error to plant, for negative controls.
    pub plant: Option<Plant>,
    /// Called with a few words when an experiment goes on to its next step.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
    /// The notebook's models, trained once for all claims about them.
    pub(crate) notebook: Arc<OnceLock<Runs>>,
    /// Which networks learn, trained once for all claims about it.
    pub(crate) maps: Arc<Maps>,
    /// Code of the claim that is running: part of every experiment's seed.
    pub(crate) code: &'static str,
    /// See [`Lab::alpha`]; another one where the instruments themselves are tried.
    pub(crate) rate: Probability,
}

impl std::fmt::Display for Plant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gain(factor) => write!(f, "every measured weight times {factor}"),
            Self::ShuffledLabels => f.write_str("labels of the training images shuffled"),
            Self::Leak(slope) => write!(f, "every measured ReLU leaks with slope {slope}"),
            Self::SwappedFans => f.write_str("fan-in and fan-out exchanged"),
            Self::Jitter(std) => {
                write!(f, "constant weights with noise of standard deviation {std}")
            }
            Self::Lopsided(factor) => {
                write!(f, "the first compared start's weights times {factor}")
            }
            Self::Staggered(factor) => {
                write!(f, "each later one of the compared starts {factor} times larger still")
            }
            Self::SharedSeed => f.write_str("replicates share one seed"),
            Self::NormalForOrthogonal => f.write_str("orthogonal weights replaced by normal ones"),
            Self::DenseForMatrixFree => f.write_str("dense draws in place of matrix-free ones"),
        }
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab")
            .field("seed", &self.seed)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl Lab {
    /// A lab without planted errors.
    ///
    /// # Panics
    /// Never: the quotient of two constants lies in (0, 1).
    pub fn new(
        seed: u64,
        budget: Budget,
        data: Arc<Dataset>,
        progress: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self {
            seed,
            budget,
            data,
            plant: None,
            progress,
            notebook: Arc::default(),
            maps: Arc::default(),
            code: "",
            rate: Probability::new(FAMILY_RATE / FAMILY_SIZE as f64)
                .expect("a rate between 0 and 1"),
        }
    }

    /// The same with an error planted.
    #[must_use]
    pub fn with_plant(self, plant: Plant) -> Self {
        // Nothing that was trained without the error is to be found in its place.
        let fresh = Self::new(self.seed, self.budget, self.data, self.progress);
        Self { plant: Some(plant), code: self.code, ..fresh }
    }

    /// The rate at which each of a claim's tests runs: the family rate divided by the family's size.
    pub fn alpha(&self) -> Probability {
        self.rate
    }

    /// A seed of its own for every experiment of every claim, by name (64-bit FNV-1a, mixed with the root).
    pub(crate) fn seed_for(&self, name: &str) -> u64 {
        self.code
            .bytes()
            .chain(name.bytes())
            .fold(0xcbf2_9ce4_8422_2325 ^ self.seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }

    /// Draws one weight array of an experiment.
    pub(crate) fn weights(
        &self,
        init: &Initializer,
        shape: &WeightShape,
        experiment: &str,
        trial: u32,
        out: &mut [f32],
    ) -> Result<(), ClaimError> {
        let key = Key::new(self.seed_for(experiment), Purpose::Weights, trial, 0);
        gainstage_init::fill(init, shape, Layout::OutIn, key, out)?;
        if let Some(Plant::Gain(factor)) = self.plant {
            out.iter_mut().for_each(|w| *w *= factor as f32);
        }
        Ok(())
    }
}
