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

/// How grey values of 0 to 255 become a network's inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Divided by 255, so that inputs lie in [0, 1].
    Unit,
    /// As they are, 0 to 255.
    Raw,
    /// `(pixel - mean) / std`, both in grey values.
    Standardized {
        /// Subtracted.
        mean: f32,
        /// Divided by; above zero.
        std: f32,
    },
}

impl Scaling {
    /// The scaling that gives `split` mean 0 and variance 1 over all its images and pixels.
    ///
    /// Fit it on the training images and apply it to the test images too. Images of a single grey
    /// value have no variance; they become zeros.
    ///
    /// ```
    /// use gainstage_data::{Scaling, Split};
    /// let split = Split { width: 2, height: 1, pixels: vec![0, 100, 0, 100], labels: vec![0, 1] };
    /// assert_eq!(Scaling::standardizing(&split), Scaling::Standardized { mean: 50.0, std: 50.0 });
    /// assert_eq!(split.scaled(Scaling::standardizing(&split)), [-1.0, 1.0, -1.0, 1.0]);
    /// ```
    #[must_use]
    pub fn standardizing(split: &Split) -> Self {
        let (mean, second) = (split.mean(), split.second_moment());
        let std = 255.0 * (second - mean * mean).max(0.0).sqrt();
        // Rounding leaves about 1e-6 grey values of a constant; one differing pixel among 10^8 leaves 1e-4.
        let std = if std < 1e-5 { 1.0 } else { std };
        Self::Standardized { mean: (255.0 * mean) as f32, std: std as f32 }
    }

    fn of(self, pixel: u8) -> f32 {
        match self {
            Self::Unit => f32::from(pixel) / 255.0,
            Self::Raw => f32::from(pixel),
            Self::Standardized { mean, std } => (f32::from(pixel) - mean) / std,
        }
    }
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

    /// All pixels as inputs of a network, `len * height * width` of them.
    ///
    /// ```
    /// use gainstage_data::{Scaling, Split};
    /// let split = Split { width: 2, height: 1, pixels: vec![0, 51], labels: vec![3] };
    /// assert_eq!(split.scaled(Scaling::Unit), [0.0, 0.2]);
    /// assert_eq!(split.scaled(Scaling::Raw), [0.0, 51.0]);
    /// ```
    #[must_use]
    pub fn scaled(&self, scaling: Scaling) -> Vec<f32> {
        let table: [f32; 256] = std::array::from_fn(|grey| scaling.of(grey as u8));
        self.pixels.iter().map(|&p| table[usize::from(p)]).collect()
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

    /// Mean over images and pixels of pixel/255; 0 without images.
    pub fn mean(&self) -> f64 {
        self.average(|grey| grey as f64 / 255.0)
    }

    /// Mean over images and pixels of (pixel/255)^2, which sets the first layer's signal; 0 without images.
    pub fn second_moment(&self) -> f64 {
        self.average(|grey| (grey as f64 / 255.0).powi(2))
    }

    /// Share of pixels that are not 0; 0 without images.
    pub fn nonzero_share(&self) -> f64 {
        self.average(|grey| f64::from(u8::from(grey > 0)))
    }

    /// Euclidean norm of pixel/255 for each image.
    ///
    /// ```
    /// use gainstage_data::Split;
    /// let split = Split { width: 2, height: 1, pixels: vec![153, 204, 0, 255], labels: vec![0, 1] };
    /// assert_eq!(split.norms(), [1.0, 1.0]);
    /// ```
    pub fn norms(&self) -> Vec<f64> {
        // Squares of bytes add up exactly in integers.
        let norm = |image: &[u8]| {
            let sum: u64 = image.iter().map(|&p| u64::from(p).pow(2)).sum();
            (sum as f64).sqrt() / 255.0
        };
        self.pixels.chunks_exact(self.pixels_per_image().max(1)).map(norm).collect()
    }

    /// Mean of a function of the grey value, from exact counts.
    fn average(&self, of: impl Fn(usize) -> f64) -> f64 {
        let mut counts = [0u64; 256];
        self.pixels.iter().for_each(|&p| counts[usize::from(p)] += 1);
        let sum: f64 = counts.iter().enumerate().map(|(grey, &n)| of(grey) * n as f64).sum();
        sum / self.pixels.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split() -> Split {
        let pixels = (0..4 * 6).map(|i| (i * 37 % 256) as u8).collect();
        Split { width: 3, height: 2, pixels, labels: vec![4, 0, 4, 200] }
    }

    #[test]
    fn statistics_agree_with_their_definitions() {
        let split = split();
        let x = split.scaled(Scaling::Unit);
        let mean = |f: &dyn Fn(f64) -> f64| x.iter().map(|&v| f(v.into())).sum::<f64>() / 24.0;
        // Rounding to f32 moves each value by at most 3e-8.
        assert!((split.mean() - mean(&|v| v)).abs() < 1e-7);
        assert!((split.second_moment() - mean(&|v| v * v)).abs() < 1e-7);
        assert_eq!(split.nonzero_share(), 23.0 / 24.0);
        let squares: f64 = split.norms().iter().map(|n| n * n).sum();
        assert!((squares / 24.0 - split.second_moment()).abs() < 1e-12);
    }

    #[test]
    fn standardized_pixels_have_mean_zero_and_variance_one_and_constants_become_zero() {
        let split = split();
        let z = split.scaled(Scaling::standardizing(&split));
        let moment = |k: i32| z.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / 24.0;
        assert!(moment(1).abs() < 1e-6 && (moment(2) - 1.0).abs() < 1e-6);
        for grey in [0, 77, 255] {
            let flat = Split { pixels: vec![grey; 24], ..split.clone() };
            let z = flat.scaled(Scaling::standardizing(&flat));
            assert!(z.iter().all(|v| v.abs() < 1e-4), "{grey}: {}", z[0]);
        }
    }

    #[test]
    fn slices_are_cut_at_the_end_and_counts_ignore_labels_beyond() {
        let split = split();
        assert_eq!(split.slice(1..3).labels, [0, 4]);
        assert_eq!(split.slice(1..3).pixels, split.pixels[6..18]);
        assert_eq!(split.slice(2..99).len(), 2);
        assert!(split.slice(99..120).is_empty());
        assert_eq!(split.class_counts(5), [1, 0, 0, 0, 2]);
        assert_eq!(split.class_counts(256)[200], 1);
    }

    #[test]
    fn no_images_have_statistics_of_zero() {
        let none = split().slice(0..0);
        assert_eq!((none.mean(), none.second_moment(), none.nonzero_share()), (0.0, 0.0, 0.0));
        assert!(none.norms().is_empty() && none.scaled(Scaling::Unit).is_empty());
        assert_eq!(Scaling::standardizing(&none), Scaling::Standardized { mean: 0.0, std: 1.0 });
    }
}
