//! What the training claims share: images, networks, shuffled labels for negative controls.

use gainstage_data::Split;
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::Images;

use crate::signal::scaled;
use crate::{ClaimError, Lab, Plant};

/// Images held out for validation, as in the notebook.
pub(crate) const HELD_OUT: usize = 5000;

/// Prepared images: 5,000 held out, the rest for training, and the test set.
pub(crate) struct Prepared {
    pub(crate) train: Images,
    pub(crate) validation: Images,
    pub(crate) test: Images,
}

impl Prepared {
    pub(crate) fn new(lab: &Lab) -> Result<Self, ClaimError> {
        Self::at_most(lab, usize::MAX, usize::MAX)
    }

    /// The same with the first so many training and test images, for short trainings.
    pub(crate) fn at_most(lab: &Lab, most: usize, tests: usize) -> Result<Self, ClaimError> {
        let data = &lab.data;
        let found = data.train.len();
        // A small data set holds out a twelfth, as 5,000 are of 60,000.
        let held_out = HELD_OUT.min(found / 12);
        if held_out == 0 {
            return Err(ClaimError::Data { found, needed: 12 });
        }
        let mut train = first(&data.train, held_out, most);
        if lab.plant == Some(Plant::ShuffledLabels) {
            // A fixed stride is coprime to any length that is no multiple of it.
            let (before, n) = (train.1.clone(), train.1.len());
            train.1 = (0..n).map(|i| before[(i * 7919 + 13) % n]).collect();
        }
        let width = data.train.pixels_per_image();
        let images =
            |(pixels, labels): (&[u8], Vec<u8>)| Images::new(pixels, width, &labels, data.classes);
        Ok(Self {
            train: images(train)?,
            validation: images(first(&data.train, 0, held_out.min(tests)))?,
            test: images(first(&data.test, 0, tests))?,
        })
    }
}

/// Pixels, in place, and labels of at most so many images.
fn first(split: &Split, from: usize, most: usize) -> (&[u8], Vec<u8>) {
    let to = split.len().min(from.saturating_add(most));
    let width = split.pixels_per_image();
    (&split.pixels[from * width..to * width], split.labels[from..to].to_vec())
}

pub(crate) fn images(split: &Split, classes: usize) -> Result<Images, ClaimError> {
    Ok(Images::new(&split.pixels, split.pixels_per_image(), &split.labels, classes)?)
}

impl Lab {
    /// A perceptron on the lab's images with hidden layers of these widths.
    pub(crate) fn classifier(
        &self,
        hidden: &[usize],
        init: &Initializer,
        phi: &Activation,
    ) -> Result<Network, ClaimError> {
        let mut widths = vec![self.data.train.pixels_per_image()];
        widths.extend(hidden);
        widths.push(self.data.classes);
        Ok(Network::perceptron(&widths, &self.jittered(init), phi)?)
    }

    /// For a negative control, constants that are not quite constant.
    pub(crate) fn jittered(&self, init: &Initializer) -> Initializer {
        match (self.plant, init) {
            (Some(Plant::Jitter(std)), Initializer::Constant { value }) => {
                Initializer::Normal { mean: *value, std }
            }
            _ => init.clone(),
        }
    }

    /// For a negative control, the first of the starts that are compared, multiplied.
    pub(crate) fn first_start(&self, init: &Initializer) -> Initializer {
        match self.plant {
            Some(Plant::Lopsided(factor)) => scaled(init, factor),
            _ => init.clone(),
        }
    }
}

/// The images of a step, as they lie; every seed begins elsewhere.
pub(crate) fn batch_at(seed: u64, step: usize, batch: usize, images: usize) -> Vec<u32> {
    let batch = batch.min(images);
    let from = (seed as usize).wrapping_mul(7919).wrapping_add(step * batch) % images;
    (from..from + batch).map(|i| (i % images) as u32).collect()
}
