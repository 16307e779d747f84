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
    /// Replicates that should be independent share one seed.
    SharedSeed,
    /// Matrices that should be orthogonal are drawn with independent normal entries.
    NormalForOrthogonal,
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
        }
    }

    /// The same with an error planted.
    #[must_use]
    pub fn with_plant(self, plant: Plant) -> Self {
        // What was trained without the error stays with the lab without it.
        Self { plant: Some(plant), notebook: Arc::default(), maps: Arc::default(), ..self }
    }

    /// The rate at which each of a claim's tests runs: the family rate divided by the family's size.
    ///
    /// # Panics
    /// Never: the quotient of the two constants lies in (0, 1).
    pub fn alpha(&self) -> Probability {
        Probability::new(FAMILY_RATE / FAMILY_SIZE as f64).expect("a rate between 0 and 1")
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
