//! What the training claims share: images, networks, shuffled labels for negative controls.

use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::Images;

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
        Self::first(lab, usize::MAX)
    }

    /// The same with at most so many images to train on.
    pub(crate) fn first(lab: &Lab, most: usize) -> Result<Self, ClaimError> {
        let data = &lab.data;
        let found = data.train.len();
        // A small data set holds out a twelfth, as 5,000 are of 60,000.
        let held_out = HELD_OUT.min(found / 12);
        if held_out == 0 {
            return Err(ClaimError::Data { found, needed: 12 });
        }
        let width = data.train.pixels_per_image();
        let (validation, train) = data.train.pixels.split_at(held_out * width);
        let (validation_labels, labels) = data.train.labels.split_at(held_out);
        let most = most.min(labels.len());
        let train = &train[..most * width];
        let mut labels = labels[..most].to_vec();
        if lab.plant == Some(Plant::ShuffledLabels) {
            // A fixed stride is coprime to any length that is no multiple of it.
            let (before, n) = (labels.clone(), labels.len());
            labels = (0..n).map(|i| before[(i * 7919 + 13) % n]).collect();
        }
        let images =
            |pixels: &[u8], labels: &[u8]| Images::new(pixels, width, labels, data.classes);
        Ok(Self {
            train: images(train, &labels)?,
            validation: images(validation, validation_labels)?,
            test: images(&data.test.pixels, &data.test.labels)?,
        })
    }
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
    fn jittered(&self, init: &Initializer) -> Initializer {
        match (self.plant, init) {
            (Some(Plant::Jitter(std)), Initializer::Constant { value }) => {
                Initializer::Normal { mean: *value, std }
            }
            _ => init.clone(),
        }
    }
}
