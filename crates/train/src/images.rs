use crate::TrainError;

/// Images with labels, kept as lists of their non-zero pixels.
///
/// Four fifths of MNIST's pixels are zero and contribute nothing to the first layer, forward or
/// backward. Prepared once, an `Images` serves any number of models at a time.
#[derive(Clone, Debug)]
pub struct Images {
    width: usize,
    classes: usize,
    starts: Vec<usize>,
    places: Vec<u16>,
    values: Vec<u8>,
    labels: Vec<u8>,
    lit_counts: Vec<u32>,
}

impl Images {
    /// From `labels.len() * width` grey values, image after image.
    ///
    /// # Errors
    /// [`TrainError`] if sizes do not fit, an image has more than 65,536 pixels, or a label is no class.
    pub fn new(
        pixels: &[u8],
        width: usize,
        labels: &[u8],
        classes: usize,
    ) -> Result<Self, TrainError> {
        if width == 0 || width > 1 << 16 {
            return Err(TrainError::Setting {
                what: "pixels per image",
                value: width as f64,
                bound: "from 1 to 65,536",
            });
        }
        let needed = labels.len() * width;
        if pixels.len() != needed || labels.is_empty() {
            let needed = needed.max(width);
            return Err(TrainError::Size { what: "pixels", found: pixels.len(), needed });
        }
        if let Some((image, &label)) =
            labels.iter().enumerate().find(|(_, l)| usize::from(**l) >= classes)
        {
            return Err(TrainError::Label { image, label, classes });
        }
        let (mut starts, mut places, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut lit_counts = vec![0; width];
        for image in pixels.chunks_exact(width) {
            for (place, &value) in image.iter().enumerate().filter(|(_, v)| **v > 0) {
                places.push(place as u16);
                values.push(value);
                lit_counts[place] += 1;
            }
            starts.push(places.len());
        }
        Ok(Self { width, classes, starts, places, values, labels: labels.to_vec(), lit_counts })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: an `Images` holds at least one.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels per image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of every image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Places and values of an image's non-zero pixels.
    pub(crate) fn image(&self, index: usize) -> (&[u16], &[u8]) {
        let range = self.starts[index]..self.starts[index + 1];
        (&self.places[range.clone()], &self.values[range])
    }

    /// Reads one value of every cache line of these images, all at once: a shuffled order makes each of
    /// them a miss, and misses that do not wait for each other take a fraction of the time.
    pub(crate) fn touch(&self, batch: &[u32]) {
        const LINE: usize = 64;
        let sum = batch.iter().fold(0, |sum, &image| {
            let (places, values) = self.image(image as usize);
            let ends = places.last().copied().unwrap_or(0)
                ^ u16::from(values.last().copied().unwrap_or(0));
            places.iter().step_by(LINE / 2).fold(sum ^ ends, |sum, p| sum ^ p)
                ^ values.iter().step_by(LINE).fold(0, |sum, v| sum ^ u16::from(*v))
        });
        std::hint::black_box(sum);
    }

    /// Per pixel, the number of images in which it is not zero.
    pub(crate) fn lit_counts(&self) -> &[u32] {
        &self.lit_counts
    }
}

/// What a grey value becomes: `value * scale` computed in f64, rounded once.
pub(crate) fn grey_table(scale: f64) -> [f32; 256] {
    std::array::from_fn(|value| (value as f64 * scale) as f32)
}
