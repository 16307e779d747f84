//! Philox4x32-10 (Salmon et al. 2011): ten rounds that turn a counter into four random words.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Counters processed side by side, so that every step is one vector instruction or two.
pub(crate) const LANES: usize = 16;

/// Four words for each of [`LANES`] consecutive values of the counter's first word.
#[inline(always)]
pub(crate) fn words(key: [u32; 2], first: u32, rest: [u32; 3]) -> [[u32; LANES]; 4] {
    let mut x = [[0u32; LANES]; 4];
    for lane in 0..LANES {
        x[0][lane] = first.wrapping_add(lane as u32);
        x[1][lane] = rest[0];
        x[2][lane] = rest[1];
        x[3][lane] = rest[2];
    }
    let mut key = key;
    for _ in 0..10 {
        for lane in 0..LANES {
            let a = u64::from(MULTIPLIERS[0]) * u64::from(x[0][lane]);
            let b = u64::from(MULTIPLIERS[1]) * u64::from(x[2][lane]);
            let (a_high, b_high) = ((a >> 32) as u32, (b >> 32) as u32);
            x[0][lane] = b_high ^ x[1][lane] ^ key[0];
            x[1][lane] = b as u32;
            x[2][lane] = a_high ^ x[3][lane] ^ key[1];
            x[3][lane] = a as u32;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

/// The four words of one counter.
pub(crate) fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut x0, mut x1, mut x2, mut x3] = counter;
    let mut key = key;
    for _ in 0..10 {
        let a = u64::from(MULTIPLIERS[0]) * u64::from(x0);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(x2);
        (x0, x2) = ((b >> 32) as u32 ^ x1 ^ key[0], (a >> 32) as u32 ^ x3 ^ key[1]);
        (x1, x3) = (b as u32, a as u32);
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [x0, x1, x2, x3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_the_published_generator() {
        // Vectors distributed with Random123 for philox4x32, 10 rounds.
        assert_eq!(block([0, 0], [0; 4]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            block([0xffffffff; 2], [0xffffffff; 4]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            block([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn lanes_are_consecutive_counters() {
        let wide = words([1, 2], u32::MAX - 3, [4, 5, 6]);
        for lane in 0..LANES {
            let first = (u32::MAX - 3).wrapping_add(lane as u32);
            let one = block([1, 2], [first, 4, 5, 6]);
            assert_eq!(one, [wide[0][lane], wide[1][lane], wide[2][lane], wide[3][lane]]);
        }
    }
}
