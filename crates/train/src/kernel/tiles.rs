//! Tiles of sums in registers, for each instruction set of x86.

/// Tiles for one instruction set, whose vectors stand beside the macro's call.
macro_rules! tiles {
    ($features:literal, $rows:literal) => {
        use crate::kernel::product::{Left, Start};

        /// # Safety
        /// The processor must have the features, and the sizes must fit as `kernel::product` asserts.
        #[target_feature(enable = $features)]
        pub(in crate::kernel) unsafe fn product(
            start: Start<'_>,
            left: Left<'_>,
            right: &[f32],
            out: &mut [f32],
            columns: usize,
        ) {
            for first in (0..columns).step_by(2 * LANES) {
                // SAFETY: passed on; the panel begins inside the columns.
                unsafe {
                    match columns - first {
                        rest if rest >= 2 * LANES => {
                            panel::<2, false>(start, left, right, out, columns, first);
                        }
                        rest if rest > LANES => {
                            panel::<1, false>(start, left, right, out, columns, first);
                            panel::<1, true>(start, left, right, out, columns, first + LANES);
                        }
                        _ => panel::<1, true>(start, left, right, out, columns, first),
                    }
                }
            }
        }

        /// Some vectors of columns, or the last columns that need not fill one.
        #[target_feature(enable = $features)]
        unsafe fn panel<const VECTORS: usize, const PART: bool>(
            start: Start<'_>,
            left: Left<'_>,
            right: &[f32],
            out: &mut [f32],
            columns: usize,
            first: usize,
        ) {
            let mut i = 0;
            while i < left.rows {
                // SAFETY: passed on; a tile's rows lie within `left.rows`.
                unsafe {
                    match left.rows - i {
                        rest if rest >= $rows => {
                            tile::<$rows, VECTORS, PART>(
                                start, left, right, out, columns, first, i,
                            );
                            i += $rows;
                        }
                        rest if rest >= 2 => {
                            tile::<2, VECTORS, PART>(start, left, right, out, columns, first, i);
                            i += 2;
                        }
                        _ => {
                            tile::<1, VECTORS, PART>(start, left, right, out, columns, first, i);
                            i += 1;
                        }
                    }
                }
            }
        }

        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn tile<const ROWS: usize, const VECTORS: usize, const PART: bool>(
            start: Start<'_>,
            left: Left<'_>,
            right: &[f32],
            out: &mut [f32],
            columns: usize,
            first: usize,
            i: usize,
        ) {
            // SAFETY: rows i to i + ROWS and columns first to first + VECTORS * LANES, or to the last
            // where only a part is loaded and stored, lie inside matrices whose sizes are checked.
            unsafe {
                let rest = columns - first;
                let out = out.as_mut_ptr().add(i * columns + first);
                let mut sums = [[zero(); VECTORS]; ROWS];
                for r in 0..ROWS {
                    for j in 0..VECTORS {
                        sums[r][j] = match start {
                            Start::Zero => zero(),
                            Start::Row(row) => {
                                load::<PART>(row.as_ptr().add(first + j * LANES), rest)
                            }
                            Start::Kept => load::<PART>(out.add(r * columns + j * LANES), rest),
                        };
                    }
                }
                let left_values = left.values.as_ptr().add(i * left.row);
                let right = right.as_ptr().add(first);
                for k in 0..left.inner {
                    let mut b = [zero(); VECTORS];
                    for j in 0..VECTORS {
                        b[j] = load::<PART>(right.add(k * columns + j * LANES), rest);
                    }
                    for r in 0..ROWS {
                        let a = splat(*left_values.add(r * left.row + k * left.column));
                        for j in 0..VECTORS {
                            sums[r][j] = fused(a, b[j], sums[r][j]);
                        }
                    }
                }
                for r in 0..ROWS {
                    for j in 0..VECTORS {
                        store::<PART>(out.add(r * columns + j * LANES), rest, sums[r][j]);
                    }
                }
            }
        }
    };
}

pub(in crate::kernel) mod avx512 {
    use std::arch::x86_64::{
        __m512, _mm512_fmadd_ps as fused, _mm512_loadu_ps, _mm512_mask_storeu_ps,
        _mm512_maskz_loadu_ps, _mm512_set1_ps as splat, _mm512_setzero_ps as zero,
        _mm512_storeu_ps,
    };

    const LANES: usize = 16;

    fn first(rest: usize) -> u16 {
        u16::MAX >> LANES.saturating_sub(rest)
    }

    /// # Safety
    /// A vector's numbers, or of a part the first `rest`, must be readable.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load<const PART: bool>(place: *const f32, rest: usize) -> __m512 {
        // SAFETY: the caller's.
        unsafe {
            if PART { _mm512_maskz_loadu_ps(first(rest), place) } else { _mm512_loadu_ps(place) }
        }
    }

    /// # Safety
    /// As [`load`], to be written.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn store<const PART: bool>(place: *mut f32, rest: usize, values: __m512) {
        // SAFETY: the caller's.
        unsafe {
            if PART {
                _mm512_mask_storeu_ps(place, first(rest), values);
            } else {
                _mm512_storeu_ps(place, values);
            }
        }
    }

    tiles!("avx512f", 8);
}

pub(in crate::kernel) mod avx2 {
    use std::arch::x86_64::{
        __m256, __m256i, _mm256_cmpgt_epi32, _mm256_fmadd_ps as fused, _mm256_loadu_ps,
        _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_set1_epi32, _mm256_set1_ps as splat,
        _mm256_setr_epi32, _mm256_setzero_ps as zero, _mm256_storeu_ps,
    };

    const LANES: usize = 8;

    #[target_feature(enable = "avx2")]
    #[inline]
    fn first(rest: usize) -> __m256i {
        let rest = _mm256_set1_epi32(rest.min(LANES) as i32);
        _mm256_cmpgt_epi32(rest, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// # Safety
    /// A vector's numbers, or of a part the first `rest`, must be readable.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn load<const PART: bool>(place: *const f32, rest: usize) -> __m256 {
        // SAFETY: the caller's.
        unsafe {
            if PART { _mm256_maskload_ps(place, first(rest)) } else { _mm256_loadu_ps(place) }
        }
    }

    /// # Safety
    /// As [`load`], to be written.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn store<const PART: bool>(place: *mut f32, rest: usize, values: __m256) {
        // SAFETY: the caller's.
        unsafe {
            if PART {
                _mm256_maskstore_ps(place, first(rest), values);
            } else {
                _mm256_storeu_ps(place, values);
            }
        }
    }

    tiles!("avx2,fma", 4);
}
