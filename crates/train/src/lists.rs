use crate::Images;

/// The lit pixels of one batch, pixel by pixel: who has it lit, and how bright.
///
/// Room is taken once, for the most images of any batch that can have a pixel lit.
pub(crate) struct Lists {
    starts: Vec<usize>,
    counts: Vec<u16>,
    samples: Vec<u16>,
    values: Vec<u8>,
    lit: Vec<u16>,
}

impl Lists {
    pub(crate) fn new(images: &Images, batch: usize) -> Self {
        let mut starts = Vec::with_capacity(images.width());
        let mut room = 0;
        for &images_lit in images.lit_counts() {
            starts.push(room);
            room += batch.min(images_lit as usize);
        }
        Self {
            starts,
            counts: vec![0; images.width()],
            samples: vec![0; room],
            values: vec![0; room],
            lit: Vec::with_capacity(images.width()),
        }
    }

    pub(crate) fn fill(&mut self, images: &Images, batch: &[u32]) {
        images.touch(batch);
        self.counts.fill(0);
        for (sample, &image) in batch.iter().enumerate() {
            let (places, values) = images.image(image as usize);
            for (&place, &value) in places.iter().zip(values) {
                let count = &mut self.counts[usize::from(place)];
                let slot = self.starts[usize::from(place)] + usize::from(*count);
                *count += 1;
                self.samples[slot] = sample as u16;
                self.values[slot] = value;
            }
        }
        self.lit.clear();
        let pixels = (0u16..=u16::MAX).zip(&self.counts);
        self.lit.extend(pixels.filter(|(_, count)| **count > 0).map(|(pixel, _)| pixel));
    }

    /// The pixels that are lit in some image of the batch, ascending.
    pub(crate) fn lit(&self) -> &[u16] {
        &self.lit
    }

    /// Samples of the batch in which the pixel is lit, and its grey values there.
    pub(crate) fn of(&self, pixel: u16) -> (&[u16], &[u8]) {
        let start = self.starts[usize::from(pixel)];
        let range = start..start + usize::from(self.counts[usize::from(pixel)]);
        (&self.samples[range.clone()], &self.values[range])
    }
}
