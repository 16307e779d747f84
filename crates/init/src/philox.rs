//! Philox4x32-10 (Salmon et al. 2011): ten rounds that turn a counter into four random words.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four words of one counter.
#[inline(always)]
pub(crate) fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    // 64-bit lanes whose upper halves do not count: one wide multiplication gives both halves.
    let [mut x0, mut x1, mut x2, mut x3] = counter.map(u64::from);
    let mut key = key;
    let low = |x: u64| x & 0xffff_ffff;
    for _ in 0..10 {
        let (a, b) = (low(x0) * u64::from(MULTIPLIERS[0]), low(x2) * u64::from(MULTIPLIERS[1]));
        (x0, x2) = (b >> 32 ^ x1 ^ u64::from(key[0]), a >> 32 ^ x3 ^ u64::from(key[1]));
        (x1, x3) = (b, a);
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [x0 as u32, x1 as u32, x2 as u32, x3 as u32]
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
}
