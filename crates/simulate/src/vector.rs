//! Eight f64 side by side, in the registers of each instruction set.
//!
//! Compilers vectorise plain loops over small tiles erratically: the same source was 3 to 10 times
//! slower in one tile size than in the next. Sums of products are fused multiply-adds, rounded once by
//! IEEE 754, so that all of them give the same bits; a processor without the instruction (x86 before
//! 2013) calculates them in software, many times slower.
#![allow(unsafe_code)] // intrinsics, on processors that were found to have them

pub(crate) const LANES: usize = 8;

/// Work that is compiled for the widest instructions of the processor.
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, as everything hot that it calls.
    fn run<V: Vector>(self) -> Self::Output;
}

/// Runs the compilation of `kernel` that fits the processor.
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx512() {
            // SAFETY: the processor has the features that the function is compiled for.
            return unsafe { x86::run_avx512(kernel) };
        }
        if x86::has_avx2() {
            // SAFETY: as above.
            return unsafe { x86::run_avx2(kernel) };
        }
    }
    kernel.run::<Plain>()
}

/// Eight numbers.
pub(crate) trait Vector: Copy {
    /// Whether there are registers for twenty of them.
    const MANY: bool;
    /// Runs work of its own compilation, once for all who call it.
    fn call<K: Kernel>(kernel: K) -> K::Output;
    fn splat(value: f64) -> Self;
    fn load(from: &[f64; LANES]) -> Self;
    fn widen(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f64; LANES]);
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// `self * other + sum`, rounded once.
    fn times_plus(self, other: Self, sum: Self) -> Self;
    /// Bit i tells whether number i is above zero.
    fn above_zero(self) -> u8;
    /// The numbers whose bit is set, and those of `other` where it is not.
    fn or_where_not(self, bits: u8, other: Self) -> Self;
    /// Asks for the line of the cache that holds the first value, which changes nothing but time.
    fn prefetch(values: &[f32]);
}

/// On any processor.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f64; LANES]);

impl Vector for Plain {
    const MANY: bool = false;
    fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }
    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(from: &[f64; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn widen(from: &[f32; LANES]) -> Self {
        Self(from.map(f64::from))
    }
    #[inline(always)]
    fn store(self, to: &mut [f64; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn plus(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += b;
        }
        self
    }
    #[inline(always)]
    fn times_plus(self, other: Self, mut sum: Self) -> Self {
        for (s, (a, b)) in sum.0.iter_mut().zip(self.0.into_iter().zip(other.0)) {
            *s = a.mul_add(b, *s);
        }
        sum
    }
    #[inline(always)]
    fn times(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a *= b;
        }
        self
    }
    #[inline(always)]
    fn above_zero(self) -> u8 {
        (0..LANES).map(|i| u8::from(self.0[i] > 0.0) << i).sum()
    }
    #[inline(always)]
    fn or_where_not(self, bits: u8, other: Self) -> Self {
        Self(std::array::from_fn(|i| if bits >> i & 1 == 1 { self.0[i] } else { other.0[i] }))
    }
    #[inline(always)]
    fn prefetch(_: &[f32]) {}
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256d, __m512d, _CMP_GT_OQ, _MM_HINT_T0, _mm_loadu_ps, _mm_prefetch, _mm256_add_pd,
        _mm256_blendv_pd, _mm256_castsi256_pd, _mm256_cmp_pd, _mm256_cvtps_pd, _mm256_fmadd_pd,
        _mm256_loadu_pd, _mm256_loadu_ps, _mm256_movemask_pd, _mm256_mul_pd, _mm256_set_epi64x,
        _mm256_set1_pd, _mm256_setzero_pd, _mm256_storeu_pd, _mm512_add_pd, _mm512_cmp_pd_mask,
        _mm512_cvtps_pd, _mm512_fmadd_pd, _mm512_loadu_pd, _mm512_mask_blend_pd, _mm512_mul_pd,
        _mm512_set1_pd, _mm512_setzero_pd, _mm512_storeu_pd,
    };

    use super::{Kernel, LANES, Vector};

    /// Every feature named on [`run_avx512`]: a virtual machine may hide any one of them.
    pub(super) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("popcnt")
    }

    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("popcnt")
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
    pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    /// One register. A value exists only in code that was reached after detecting AVX-512.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512d);

    // SAFETY of every block: the arrays hold what is read or written, unaligned access is allowed, a
    // prefetch of any address is, and only `run_avx512`, reached after detection, makes values of this type.
    impl Vector for Avx512 {
        const MANY: bool = true;
        #[inline(always)]
        fn call<K: Kernel>(kernel: K) -> K::Output {
            unsafe { run_avx512(kernel) }
        }
        #[inline(always)]
        fn splat(value: f64) -> Self {
            Self(unsafe { _mm512_set1_pd(value) })
        }
        #[inline(always)]
        fn load(from: &[f64; LANES]) -> Self {
            Self(unsafe { _mm512_loadu_pd(from.as_ptr()) })
        }
        #[inline(always)]
        fn widen(from: &[f32; LANES]) -> Self {
            Self(unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from.as_ptr())) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f64; LANES]) {
            unsafe { _mm512_storeu_pd(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_pd(self.0, other.0) })
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_pd(self.0, other.0) })
        }
        #[inline(always)]
        fn above_zero(self) -> u8 {
            unsafe { _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_pd()) }
        }
        #[inline(always)]
        fn or_where_not(self, bits: u8, other: Self) -> Self {
            Self(unsafe { _mm512_mask_blend_pd(bits, other.0, self.0) })
        }
        #[inline(always)]
        fn times_plus(self, other: Self, sum: Self) -> Self {
            Self(unsafe { _mm512_fmadd_pd(self.0, other.0, sum.0) })
        }
        #[inline(always)]
        fn prefetch(values: &[f32]) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast()) }
        }
    }

    /// Two registers, on the same terms for AVX2.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256d, __m256d);

    // SAFETY of every block: as above; halves of an array of eight lie four apart.
    impl Vector for Avx2 {
        const MANY: bool = false;
        #[inline(always)]
        fn call<K: Kernel>(kernel: K) -> K::Output {
            unsafe { run_avx2(kernel) }
        }
        #[inline(always)]
        fn splat(value: f64) -> Self {
            let half = unsafe { _mm256_set1_pd(value) };
            Self(half, half)
        }
        #[inline(always)]
        fn load(from: &[f64; LANES]) -> Self {
            let at = from.as_ptr();
            unsafe { Self(_mm256_loadu_pd(at), _mm256_loadu_pd(at.add(4))) }
        }
        #[inline(always)]
        fn widen(from: &[f32; LANES]) -> Self {
            let at = from.as_ptr();
            unsafe {
                Self(_mm256_cvtps_pd(_mm_loadu_ps(at)), _mm256_cvtps_pd(_mm_loadu_ps(at.add(4))))
            }
        }
        #[inline(always)]
        fn store(self, to: &mut [f64; LANES]) {
            let at = to.as_mut_ptr();
            unsafe {
                _mm256_storeu_pd(at, self.0);
                _mm256_storeu_pd(at.add(4), self.1);
            }
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            unsafe { Self(_mm256_add_pd(self.0, other.0), _mm256_add_pd(self.1, other.1)) }
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            unsafe { Self(_mm256_mul_pd(self.0, other.0), _mm256_mul_pd(self.1, other.1)) }
        }
        #[inline(always)]
        fn above_zero(self) -> u8 {
            let half = |values| unsafe {
                _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(values, _mm256_setzero_pd())) as u8
            };
            half(self.0) | half(self.1) << 4
        }
        #[inline(always)]
        fn or_where_not(self, bits: u8, other: Self) -> Self {
            // All bits of a number whose bit is set.
            let mask = |first: u8| unsafe {
                let one = |i: u8| -i64::from(bits >> (first + i) & 1);
                _mm256_castsi256_pd(_mm256_set_epi64x(one(3), one(2), one(1), one(0)))
            };
            unsafe {
                Self(
                    _mm256_blendv_pd(other.0, self.0, mask(0)),
                    _mm256_blendv_pd(other.1, self.1, mask(4)),
                )
            }
        }
        #[inline(always)]
        fn times_plus(self, other: Self, sum: Self) -> Self {
            unsafe {
                Self(
                    _mm256_fmadd_pd(self.0, other.0, sum.0),
                    _mm256_fmadd_pd(self.1, other.1, sum.1),
                )
            }
        }
        #[inline(always)]
        fn prefetch(values: &[f32]) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast()) }
        }
    }
}

/// Asserts that every compilation that this processor can run gives the same result.
#[cfg(test)]
pub(crate) fn assert_same_everywhere<K: Kernel<Output: PartialEq + std::fmt::Debug>>(
    kernel: impl Fn() -> K,
) {
    let plain = kernel().run::<Plain>();
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            // SAFETY: detected just now.
            assert_eq!(unsafe { x86::run_avx2(kernel()) }, plain);
        }
        if x86::has_avx512() {
            // SAFETY: detected just now.
            assert_eq!(unsafe { x86::run_avx512(kernel()) }, plain);
        }
    }
}
