use std::convert::Infallible;

use rand::TryRng;

use crate::philox;

/// What a stream is for. Streams of different purposes never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Purpose {
    /// Weights of a layer.
    Weights = 1,
    /// Biases of a layer.
    Biases = 2,
    /// Inputs of a network.
    Inputs = 3,
    /// Error signals injected at the output.
    ErrorSignal = 4,
    /// The order in which training samples are seen.
    DataOrder = 5,
    /// Dropout masks.
    Dropout = 6,
    /// Resampling and permutation in statistics.
    Resampling = 7,
    /// Whatever an application keeps apart from all of these.
    Application = 8,
}

/// The coordinate of a stream: what the numbers are for, never how many were drawn before.
///
/// # Definition
/// The seed is Philox's key, its low word first. The four words of the counter are
/// ```text
/// block mod 2^32,   layer,   trial,   purpose 2^24 + kind 2^16 + floor(block / 2^32)
/// ```
/// with the number of the block within the stream below 2^48. The kind keeps apart, under one key,
/// f32 draws by index (0), the words of [`Key::stream`] (1), the further draws of a truncated normal's
/// index (2, 3), the generators of laws that take many words a value (4), and f64 draws by index (5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    purpose: Purpose,
    trial: u32,
    layer: u32,
}

/// The kinds of stream under one key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Values addressed by index.
    Bulk = 0,
    /// Values drawn one after another.
    Sequential = 1,
    /// Four more words for an index whose first draw was rejected.
    Redraw = 2,
    /// The seed of as many as it takes, for an index that was rejected again.
    RedrawStream = 3,
    /// The seed of a generator for one index, for laws that take many words a value.
    Element = 4,
    /// f64 values addressed by index.
    Bulk64 = 5,
}

impl Key {
    /// The stream of `purpose` in this trial and layer, under this root seed.
    pub fn new(seed: u64, purpose: Purpose, trial: u32, layer: u32) -> Self {
        Self { seed, purpose, trial, layer }
    }

    /// The same coordinate for another layer.
    #[must_use]
    pub fn layer(self, layer: u32) -> Self {
        Self { layer, ..self }
    }

    /// A generator for rand's traits that starts at the stream's beginning.
    ///
    /// It shares no block with what [`crate::fill`] draws in bulk under the same key.
    ///
    /// ```
    /// use gainstage_init::{Key, Purpose};
    /// use rand::RngExt;
    /// let mut stream = Key::new(1, Purpose::DataOrder, 0, 3).stream();
    /// assert_eq!(stream.random::<u32>(), 3_834_775_222);
    /// ```
    pub fn stream(self) -> Stream {
        Stream {
            key: self.philox(),
            counter: self.counter(0, Kind::Sequential),
            words: [0; 4],
            used: 4,
        }
    }

    /// Words for two more pairs of draws for one index.
    pub(crate) fn redraw(self, index: u64) -> [u32; 4] {
        philox::block(self.philox(), self.counter(index, Kind::Redraw))
    }

    /// A generator that belongs to one index. Its key and half its counter are random words, so that
    /// it meets another stream by a coincidence of 128 bits only.
    pub(crate) fn derived(self, kind: Kind, index: u64) -> Stream {
        let seeds = philox::block(self.philox(), self.counter(index, kind));
        Stream {
            key: [seeds[0], seeds[1]],
            counter: [0, 0, seeds[2], seeds[3]],
            words: [0; 4],
            used: 4,
        }
    }

    pub(crate) fn philox(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    pub(crate) fn counter(self, block: u64, kind: Kind) -> [u32; 4] {
        let last =
            (self.purpose as u32) << 24 | (kind as u32) << 16 | ((block >> 32) as u32 & 0xffff);
        [block as u32, self.layer, self.trial, last]
    }
}

/// A keyed random stream: rand's generator traits over a counter.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// The four words of the next counter.
    pub(crate) fn block(&mut self) -> [u32; 4] {
        let words = philox::block(self.key, self.counter);
        let (low, carry) = self.counter[0].overflowing_add(1);
        self.counter[0] = low;
        // The 16 high bits of the counter's number; a stream repeats after 2^48 counters.
        let high = (self.counter[3] as u16).wrapping_add(u16::from(carry));
        self.counter[3] = self.counter[3] & 0xffff_0000 | u32::from(high);
        words
    }

    fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = self.block();
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.word());
        Ok(low | u64::from(self.word()) << 32)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(4) {
            chunk.copy_from_slice(&self.word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::RngExt;

    use super::*;

    #[test]
    fn no_two_coordinates_share_a_first_word_pair() {
        let mut seen = HashSet::new();
        let purposes = [
            Purpose::Weights,
            Purpose::Biases,
            Purpose::Inputs,
            Purpose::ErrorSignal,
            Purpose::Dropout,
        ];
        for seed in [0, 1, u64::MAX] {
            for purpose in purposes {
                for trial in 0..20 {
                    for layer in 0..20 {
                        let mut stream = Key::new(seed, purpose, trial, layer).stream();
                        // 6,000 draws of 64 bits collide with probability 1e-12.
                        assert!(seen.insert(stream.random::<u64>()));
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_words_and_pairs_read_the_same_stream() {
        let key = Key::new(9, Purpose::Application, 1, 2);
        let mut bytes = [0u8; 10];
        key.stream().fill(&mut bytes);
        let mut words = key.stream();
        let (first, second) = (words.random::<u32>(), words.random::<u32>());
        assert_eq!(bytes[..4], first.to_le_bytes());
        assert_eq!(bytes[4..8], second.to_le_bytes());
        assert_eq!(key.stream().random::<u64>(), u64::from(first) | u64::from(second) << 32);
    }
}
