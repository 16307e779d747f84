//! Sixteen f32 side by side, in the registers of each instruction set.
//!
//! Compilers vectorise plain loops over small blocks erratically, and leave some of them scalar.

pub(crate) const LANES: usize = 16;

/// Work that is compiled for the widest instructions of the processor.
pub(crate) trait Kernel {
    /// Must be `#[inline(always)]`, as everything hot that it calls.
    fn run<V: Vector>(self);
}

/// Runs the compilation of `kernel` that fits the processor.
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
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
        kernel.run::<Plain<false>>();
    }
    #[cfg(not(target_arch = "x86_64"))]
    kernel.run::<Plain<true>>();
}

/// Sixteen numbers. All operations round as those of `f32` do.
pub(crate) trait Vector: Copy {
    /// Whether there are registers for eight sums and more.
    const MANY: bool;
    fn splat(value: f32) -> Self;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
    fn root(self) -> Self;
    /// `self * other + sum`, rounded once where the processor can, as [`super::product`].
    fn times_plus(self, other: Self, sum: Self) -> Self;
    /// Zero where the magnitude is below `small`.
    fn flushed(self, small: f32) -> Self;
}

/// On any processor; `FUSED` where `mul_add` is an instruction.
#[derive(Clone, Copy)]
pub(crate) struct Plain<const FUSED: bool>([f32; LANES]);

impl<const FUSED: bool> Plain<FUSED> {
    #[inline(always)]
    fn with(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| operation(self.0[i], other.0[i])))
    }
}

impl<const FUSED: bool> Vector for Plain<FUSED> {
    const MANY: bool = false;
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
    #[inline(always)]
    fn over(self, other: Self) -> Self {
        self.with(other, |a, b| a / b)
    }
    #[inline(always)]
    fn root(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    fn times_plus(self, other: Self, sum: Self) -> Self {
        let term = |i: usize| {
            if FUSED {
                self.0[i].mul_add(other.0[i], sum.0[i])
            } else {
                self.0[i] * other.0[i] + sum.0[i]
            }
        };
        Self(std::array::from_fn(term))
    }
    #[inline(always)]
    fn flushed(self, small: f32) -> Self {
        Self(self.0.map(|value| crate::step::flush(value, small)))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _CMP_NLT_UQ, _mm256_add_ps, _mm256_and_ps, _mm256_andnot_ps, _mm256_cmp_ps,
        _mm256_div_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
        _mm256_sqrt_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm512_abs_ps, _mm512_add_ps,
        _mm512_cmp_ps_mask, _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_mov_ps,
        _mm512_mul_ps, _mm512_set1_ps, _mm512_sqrt_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };

    use super::{Kernel, LANES, Vector};

    pub(super) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
    }

    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn run_avx512<K: Kernel>(kernel: K) {
        kernel.run::<Avx512>();
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_avx2<K: Kernel>(kernel: K) {
        kernel.run::<Avx2>();
    }

    /// One register. A value exists only in code that was reached after detecting AVX-512.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    // SAFETY of every block: the arrays hold what is read or written, unaligned access is allowed, and only
    // `run_avx512`, reached after detection, makes values of this type.
    impl Vector for Avx512 {
        const MANY: bool = true;
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            Self(unsafe { _mm512_loadu_ps(from.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn over(self, other: Self) -> Self {
            Self(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn root(self) -> Self {
            Self(unsafe { _mm512_sqrt_ps(self.0) })
        }
        #[inline(always)]
        fn times_plus(self, other: Self, sum: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, other.0, sum.0) })
        }
        #[inline(always)]
        fn flushed(self, small: f32) -> Self {
            unsafe {
                let kept =
                    _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(self.0), _mm512_set1_ps(small));
                Self(_mm512_maskz_mov_ps(kept, self.0))
            }
        }
    }

    /// Two registers. A value exists only in code that was reached after detecting AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2([__m256; 2]);

    /// An instruction on both registers. No closures: what they call might not be compiled into the caller.
    macro_rules! both {
        ($operation:ident, $($value:expr),+) => {
            Self(unsafe { [$operation($($value.0[0]),+), $operation($($value.0[1]),+)] })
        };
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn not_below(a: __m256, b: __m256) -> __m256 {
        _mm256_cmp_ps::<_CMP_NLT_UQ>(a, b)
    }

    // SAFETY of every block: as for `Avx512`, by way of `run_avx2`.
    impl Vector for Avx2 {
        const MANY: bool = false;
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self([unsafe { _mm256_set1_ps(value) }; 2])
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            let [low, high] = from.as_chunks::<8>().0 else { unreachable!("two halves") };
            Self(unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] })
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            for (to, half) in to.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
                unsafe { _mm256_storeu_ps(to.as_mut_ptr(), half) };
            }
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            both!(_mm256_add_ps, self, other)
        }
        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            both!(_mm256_sub_ps, self, other)
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            both!(_mm256_mul_ps, self, other)
        }
        #[inline(always)]
        fn over(self, other: Self) -> Self {
            both!(_mm256_div_ps, self, other)
        }
        #[inline(always)]
        fn root(self) -> Self {
            both!(_mm256_sqrt_ps, self)
        }
        #[inline(always)]
        fn times_plus(self, other: Self, sum: Self) -> Self {
            both!(_mm256_fmadd_ps, self, other, sum)
        }
        #[inline(always)]
        fn flushed(self, small: f32) -> Self {
            let small = Self::splat(small);
            let sign = Self::splat(-0.0);
            let magnitude: Self = both!(_mm256_andnot_ps, sign, self);
            let kept: Self = both!(not_below, magnitude, small);
            both!(_mm256_and_ps, kept, self)
        }
    }
}

/// Compilations that this processor can run, to be compared with `Plain<true>`.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Compilation {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

#[cfg(test)]
impl Compilation {
    #[cfg(target_arch = "x86_64")]
    pub(super) fn all() -> Vec<Self> {
        let avx2 = x86::has_avx2().then_some(Self::Avx2);
        avx2.into_iter().chain(x86::has_avx512().then_some(Self::Avx512)).collect()
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn all() -> Vec<Self> {
        Vec::new()
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) {
        match self {
            // SAFETY: `all`, which makes these values, detected the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::run_avx512(kernel) },
        }
    }
}
