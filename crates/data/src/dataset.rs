use std::ops::Range;

/// Labelled images for training and test.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name, such as MNIST.
    pub name: String,
    /// Where it came from, said plainly.
    pub source: String,
    /// Number of classes; labels are below it.
    pub classes: usize,
    /// Training images.
    pub train: Split,
    /// Test images.
    pub test: Split,
}

/// Images of one size with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `len * height * width` grey values, image after image, row after row.
    pub pixels: Vec<u8>,
    /// One class per image.
    pub labels: Vec<u8>,
}

impl Split {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels per image.
    pub fn pixels_per_image(&self) -> usize {
        self.width * self.height
    }

    /// The pixels of some images, in place.
    ///
    /// # Panics
    /// If the range ends behind the last image.
    pub fn pixels_of(&self, images: Range<usize>) -> &[u8] {
        let size = self.pixels_per_image();
        &self.pixels[images.start * size..images.end * size]
    }

    /// Some images as a split of their own; the range is cut at the end.
    #[must_use]
    pub fn slice(&self, images: Range<usize>) -> Self {
        let end = images.end.min(self.len());
        let range = images.start.min(end)..end;
        Self {
            pixels: self.pixels_of(range.clone()).to_vec(),
            labels: self.labels[range].to_vec(),
            ..*self
        }
    }

    /// How often each class occurs.
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &label in &self.labels {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
        counts
    }

    /// Mean over images and pixels of (pixel/255)^2, which sets the first layer's signal.
    pub fn second_moment(&self) -> f64 {
        let mut counts = [0u64; 256];
        self.pixels.iter().for_each(|&p| counts[usize::from(p)] += 1);
        let sum: f64 =
            counts.iter().enumerate().map(|(v, &c)| (v as f64 / 255.0).powi(2) * c as f64).sum();
        sum / self.pixels.len().max(1) as f64
    }
}
