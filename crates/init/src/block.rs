//! Draws by index: whole blocks of a stream, through the widest instructions of the processor.
//!
//! A block is what sixteen consecutive counters give. Kernels use only operations that IEEE 754 rounds
//! exactly and never fuse a multiplication with an addition, so compiling one source for several
//! instruction sets changes the speed and not a bit.
#![allow(unsafe_code)] // calls of functions compiled for a processor feature, after its detection

use crate::key::{Key, Kind};
use crate::philox::{self, LANES};

/// What turns the words of sixteen counters into `N` values.
pub(crate) trait Kernel<const N: usize>: Copy {
    type Value: Copy + Default;
    /// The words' stream under a key.
    const KIND: Kind;

    fn block(self, words: &[[u32; LANES]; 4], out: &mut [Self::Value; N]);
}

/// Fills `out` with values number `offset`, `offset + 1`, ... of the key's stream.
pub(crate) fn fill<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    offset: u64,
    out: &mut [K::Value],
) {
    let mut block = offset / N as u64;
    let skip = (offset % N as u64) as usize;
    let mut whole = [K::Value::default(); N];
    let mut out = out;
    if skip > 0 {
        let count = out.len().min(N - skip);
        blocks(kernel, key, block, &mut whole);
        let (head, rest) = out.split_at_mut(count);
        head.copy_from_slice(&whole[skip..skip + count]);
        out = rest;
        block += 1;
    }
    let aligned = out.len() - out.len() % N;
    let (body, tail) = out.split_at_mut(aligned);
    blocks(kernel, key, block, body);
    if !tail.is_empty() {
        blocks(kernel, key, block + (aligned / N) as u64, &mut whole);
        tail.copy_from_slice(&whole[..tail.len()]);
    }
}

fn blocks<K: Kernel<N>, const N: usize>(kernel: K, key: Key, first: u64, out: &mut [K::Value]) {
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
    out: &mut [K::Value],
) {
    blocks_portable(kernel, key, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_avx2<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    first: u64,
    out: &mut [K::Value],
) {
    blocks_portable(kernel, key, first, out);
}

#[inline(always)]
fn blocks_portable<K: Kernel<N>, const N: usize>(
    kernel: K,
    key: Key,
    first: u64,
    out: &mut [K::Value],
) {
    let philox = key.philox();
    let (chunks, _) = out.as_chunks_mut::<N>();
    for (i, chunk) in chunks.iter_mut().enumerate() {
        let counter = key.counter((first + i as u64) * LANES as u64, K::KIND);
        let words = philox::words(philox, counter[0], [counter[1], counter[2], counter[3]]);
        kernel.block(&words, chunk);
    }
}

/// Asserts that every compilation of a kernel that this processor can run gives the same bits.
#[cfg(test)]
pub(crate) fn assert_same_bits_everywhere<K: Kernel<N>, const N: usize>(
    kernel: K,
    bits: impl Fn(K::Value) -> u64,
) {
    let key = Key::new(0x5eed, crate::Purpose::Weights, 3, 0);
    let run = |blocks: &dyn Fn(&mut [K::Value])| -> Vec<u64> {
        let mut out = vec![K::Value::default(); 2000 * N];
        blocks(&mut out);
        out.into_iter().map(&bits).collect()
    };
    let portable = run(&|out| blocks_portable(kernel, key, 5, out));
    assert_eq!(run(&|out| blocks(kernel, key, 5, out)), portable);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: detected just now.
            assert_eq!(run(&|out| unsafe { blocks_avx2(kernel, key, 5, out) }), portable);
        }
        if has_avx512() {
            // SAFETY: detected just now.
            assert_eq!(run(&|out| unsafe { blocks_avx512(kernel, key, 5, out) }), portable);
        }
    }
}
