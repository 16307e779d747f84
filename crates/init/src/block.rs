//! Draws by index: whole blocks of a stream, through the widest instructions of the processor.
//!
//! A block is what sixteen consecutive counters give. Kernels use only operations that IEEE 754 rounds
//! exactly and never fuse a multiplication with an addition, so compiling one source for several
//! instruction sets changes the speed and not a bit.
#![allow(unsafe_code)] // calls of functions compiled for a processor feature, after its detection

use crate::key::{Key, Kind};
use crate::philox;

/// Counters processed side by side.
const LANES: usize = 16;

/// What turns the four words of a counter into `N` values.
pub(crate) trait Kernel<const N: usize>: Copy {
    type Value: Copy + Default;
    /// The words' stream under a key.
    const KIND: Kind;

    fn values(self, words: [u32; 4]) -> [Self::Value; N];
}

/// `N` values of each of sixteen counters; value n of counter c has position 16 n + c.
type Block<V, const N: usize> = [[V; LANES]; N];

/// Fills `out` with values number `offset`, `offset + 1`, ... of the key's stream.
pub(crate) fn fill<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    offset: u64,
    out: &mut [K::Value],
) {
    let size = N * LANES;
    let mut block = offset / size as u64;
    let skip = (offset % size as u64) as usize;
    let mut one: [Block<K::Value, N>; 1] = [[[K::Value::default(); LANES]; N]];
    let mut out = out;
    if skip > 0 {
        let count = out.len().min(size - skip);
        blocks(kernel, key, block, &mut one);
        let (head, rest) = out.split_at_mut(count);
        head.copy_from_slice(&one.as_flattened().as_flattened()[skip..skip + count]);
        out = rest;
        block += 1;
    }
    let aligned = out.len() - out.len() % size;
    let (body, tail) = out.split_at_mut(aligned);
    blocks(kernel, key, block, body.as_chunks_mut().0.as_chunks_mut().0);
    if !tail.is_empty() {
        blocks(kernel, key, block + (aligned / size) as u64, &mut one);
        tail.copy_from_slice(&one.as_flattened().as_flattened()[..tail.len()]);
    }
}

fn blocks<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    first: u64,
    out: &mut [Block<K::Value, N>],
) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the processor has the features that the function is compiled for.
            return unsafe { blocks_avx512(kernel, key, first, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { blocks_avx2(kernel, key, first, out) };
        }
    }
    blocks_portable(kernel, key, first, out);
}

/// Every feature named on [`blocks_avx512`]: a virtual machine may hide any one of them.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn blocks_avx512<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    first: u64,
    out: &mut [Block<K::Value, N>],
) {
    blocks_portable(kernel, key, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_avx2<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    first: u64,
    out: &mut [Block<K::Value, N>],
) {
    blocks_portable(kernel, key, first, out);
}

#[inline(always)]
fn blocks_portable<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    first: u64,
    out: &mut [Block<K::Value, N>],
) {
    let philox = key.philox();
    for (i, block) in out.iter_mut().enumerate() {
        let counter = key.counter((first + i as u64) * LANES as u64, K::KIND);
        // One loop with everything in it, which compilers turn into one vector a value.
        for lane in 0..LANES {
            let lowest = counter[0] + lane as u32;
            let words = philox::block(philox, [lowest, counter[1], counter[2], counter[3]]);
            for (n, value) in kernel.values(words).into_iter().enumerate() {
                block[n][lane] = value;
            }
        }
    }
}

/// Asserts that every compilation of a kernel that this processor can run gives the same bits.
#[cfg(test)]
pub(crate) fn assert_same_bits_everywhere<K: Kernel<N>, const N: usize>(
    kernel: K,
    bits: impl Fn(K::Value) -> u64,
) {
    let key = Key::new(0x5eed, crate::Purpose::Weights, 3, 0);
    let fresh = || vec![[[K::Value::default(); LANES]; N]; 2000];
    let flat = |out: Vec<Block<K::Value, N>>| -> Vec<u64> {
        out.as_flattened().as_flattened().iter().map(|&v| bits(v)).collect()
    };
    let (mut portable, mut dispatched) = (fresh(), fresh());
    blocks_portable(kernel, key, 5, &mut portable);
    blocks(kernel, key, 5, &mut dispatched);
    let portable = flat(portable);
    assert_eq!(flat(dispatched), portable);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            let mut out = fresh();
            // SAFETY: detected just now.
            unsafe { blocks_avx2(kernel, key, 5, &mut out) };
            assert_eq!(flat(out), portable);
        }
        if has_avx512() {
            let mut out = fresh();
            // SAFETY: detected just now.
            unsafe { blocks_avx512(kernel, key, 5, &mut out) };
            assert_eq!(flat(out), portable);
        }
    }
}
