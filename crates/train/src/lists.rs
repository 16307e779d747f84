use crate::images::{Images, Lit};
use crate::kernel;

/// How many images ahead their lists are sent for, and where these lie: much earlier, and the optimiser's
/// slots drive them out of the caches again.
const LISTS_AHEAD: usize = 4;
const PLACES_AHEAD: usize = 12;

/// The lit pixels of one batch, pixel by pixel: in which samples, and how bright.
pub(crate) struct Lists {
    /// Where each pixel's samples begin and end.
    starts: Vec<u32>,
    ends: Vec<u32>,
    samples: Vec<Lit>,
    lit: Vec<u16>,
}

impl Lists {
    /// With room for any `batch` of the images.
    pub(crate) fn new(images: &Images, batch: usize) -> Self {
        let mut starts = Vec::with_capacity(images.width());
        let mut room = 0;
        for &count in images.lit_counts() {
            starts.push(room);
            room += count.min(batch as u32);
        }
        Self {
            ends: starts.clone(),
            starts,
            samples: vec![Lit::default(); room as usize],
            lit: Vec::with_capacity(images.width()),
        }
    }

    pub(crate) fn fill(&mut self, images: &Images, batch: &[u32]) {
        self.ends.copy_from_slice(&self.starts);
        let place = |image: &u32| kernel::prefetch(images.place(*image as usize));
        let list = |image: &u32| kernel::prefetch(images.image(*image as usize));
        batch.iter().take(PLACES_AHEAD).for_each(place);
        batch.iter().take(LISTS_AHEAD).for_each(list);
        for (sample, &image) in batch.iter().enumerate() {
            batch.get(sample + PLACES_AHEAD).into_iter().for_each(place);
            batch.get(sample + LISTS_AHEAD).into_iter().for_each(list);
            for lit in images.image(image as usize) {
                let end = &mut self.ends[usize::from(lit.index)];
                self.samples[*end as usize] = Lit { index: sample as u16, value: lit.value };
                *end += 1;
            }
        }
        self.lit.clear();
        let lengths = self.ends.iter().zip(&self.starts).map(|(end, start)| end - start);
        let lit = (0..=u16::MAX).zip(lengths).filter(|(_, length)| *length > 0);
        self.lit.extend(lit.map(|(pixel, _)| pixel));
    }

    /// The pixels that are lit in some image of the batch, ascending.
    pub(crate) fn lit(&self) -> &[u16] {
        &self.lit
    }

    /// Samples of the batch in which the pixel is lit, and its grey values there.
    pub(crate) fn of(&self, pixel: u16) -> &[Lit] {
        let pixel = usize::from(pixel);
        &self.samples[self.starts[pixel] as usize..self.ends[pixel] as usize]
    }
}
