use rayon::prelude::*;

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
        let mut starts = vec![0; labels.len() + 1];
        starts[1..]
            .par_iter_mut()
            .zip(pixels.par_chunks_exact(width))
            .for_each(|(count, image)| *count = image.iter().filter(|v| **v > 0).count());
        for image in 0..labels.len() {
            starts[image + 1] += starts[image];
        }
        let mut lit = vec![Lit::default(); starts[labels.len()]];
        let mut parts = Vec::new();
        let mut rest = &mut lit[..];
        for (first, images) in pixels.chunks(PART * width).enumerate() {
            let end = (first + 1) * PART;
            let length = starts[end.min(labels.len())] - starts[first * PART];
            let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
            parts.push((images, part));
            rest = after;
        }
        let lit_counts = parts
            .into_par_iter()
            .map(|(images, part)| list(images, width, part))
            .reduce(|| vec![0; width], |a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect());
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

    /// Where an image's list begins and ends.
    pub(crate) fn place(&self, index: usize) -> &[usize] {
        &self.starts[index..index + 2]
    }

    /// Per pixel, the number of images in which it is not zero.
    pub(crate) fn lit_counts(&self) -> &[u32] {
        &self.lit_counts
    }
}

/// Images that one task lists.
const PART: usize = 1024;

/// Lists the non-zero pixels of images; returns how often each pixel is not zero.
fn list(images: &[u8], width: usize, lit: &mut [Lit]) -> Vec<u32> {
    let (mut counts, mut lit) = (vec![0; width], lit.iter_mut());
    for image in images.chunks_exact(width) {
        counts.iter_mut().zip(image).for_each(|(count, v)| *count += u32::from(*v > 0));
        // Most pixels are dark, and most of them beside others.
        for (word, values) in image.chunks(8).enumerate().filter(|(_, values)| **values != [0; 8]) {
            for (place, &value) in values.iter().enumerate().filter(|(_, v)| **v > 0) {
                if let Some(lit) = lit.next() {
                    *lit = Lit { index: (8 * word + place) as u16, value };
                }
            }
        }
    }
    counts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_every_pixel_that_is_not_zero_and_no_other() {
        // More than two parts, and a width that is no multiple of eight.
        let (width, count) = (13, 2 * PART + 5);
        let pixel = |i: usize| if i * i % 7 < 4 { 0 } else { (i % 255 + 1) as u8 };
        let pixels: Vec<u8> = (0..width * count).map(pixel).collect();
        let images = Images::new(&pixels, width, &vec![0; count], 1).expect("valid");
        let mut counts = vec![0; width];
        for (index, expected) in pixels.chunks_exact(width).enumerate() {
            let mut found = vec![0; width];
            for lit in images.image(index) {
                found[usize::from(lit.index)] = lit.value;
                counts[usize::from(lit.index)] += 1;
            }
            assert_eq!(found, expected);
        }
        assert_eq!(images.lit_counts(), counts);
        assert_eq!(images.lit.len(), pixels.iter().filter(|v| **v > 0).count());
    }
}
