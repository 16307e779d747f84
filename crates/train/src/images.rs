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
    lit: Vec<Lit>,
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
        let (mut starts, mut lit) = (vec![0], Vec::new());
        let mut lit_counts = vec![0; width];
        for image in pixels.chunks_exact(width) {
            for (place, &value) in image.iter().enumerate().filter(|(_, v)| **v > 0) {
                lit.push(Lit { index: place as u16, value });
                lit_counts[place] += 1;
            }
            starts.push(lit.len());
        }
        Ok(Self { width, classes, starts, lit, labels: labels.to_vec(), lit_counts })
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

    /// The non-zero pixels of an image: places and grey values.
    pub(crate) fn image(&self, index: usize) -> &[Lit] {
        &self.lit[self.starts[index]..self.starts[index + 1]]
    }
    /// Per pixel, the number of images in which it is not zero.
    pub(crate) fn lit_counts(&self) -> &[u32] {
        &self.lit_counts
    }
}

/// An entry of a sparse row: a pixel of an image, or a sample in which a pixel is lit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lit {
    pub(crate) index: u16,
    pub(crate) value: u8,
}

/// What a grey value becomes: `value * scale` computed in f64, rounded once.
pub(crate) fn grey_table(scale: f64) -> [f32; 256] {
    std::array::from_fn(|value| (value as f64 * scale) as f32)
}
