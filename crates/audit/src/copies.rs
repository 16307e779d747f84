//! Tensors that share their random numbers.

use gainstage_stats::Moments;
use rayon::prelude::*;

use crate::checkpoint::Tensor;
use crate::facts::Facts;
use crate::tail::two_sided;

/// Correlation below which two tensors are called independent, however many values say otherwise.
const BAND: f64 = 0.1;
/// Fewest values that are compared.
const FEWEST: usize = 64;
/// Multiplications that all comparisons may take.
const OPERATIONS: usize = 2_000_000_000;

/// Two tensors that are not independent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) kind: Kind,
    /// Of the values compared.
    pub(crate) correlation: f64,
    pub(crate) compared: usize,
    pub(crate) p_value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every value is the same.
    Identical,
    /// The values are the same up to a factor.
    Scaled,
    /// Correlated.
    Correlated,
}

/// Compares all pairs of tensors by their first values; indices are those of `list`.
pub(crate) fn copies(list: &[(&Tensor, &Facts)], level: f64) -> Vec<Copy> {
    let usable: Vec<usize> = (0..list.len())
        .filter(|&i| {
            let facts = list[i].1;
            facts.head.len() >= FEWEST
                && !facts.is_constant()
                && facts.scan.moments.non_finite() == 0
        })
        .collect();
    let pairs = usable.len() * usable.len().saturating_sub(1) / 2;
    let most = (OPERATIONS / pairs.max(1)).clamp(256, crate::facts::HEAD);
    let centred: Vec<Vec<f32>> = usable
        .par_iter()
        .map(|&i| {
            let head = &list[i].1.head;
            let head = &head[..head.len().min(most)];
            let mean = Moments::from(head).mean() as f32;
            head.iter().map(|x| x - mean).collect()
        })
        .collect();
    let found: Vec<Vec<Copy>> = (0..usable.len())
        .into_par_iter()
        .map(|b| {
            (0..b)
                .filter_map(|a| {
                    let (first, second) = (usable[a], usable[b]);
                    let n = centred[a].len().min(centred[b].len());
                    let correlation = correlation(&centred[a][..n], &centred[b][..n]);
                    let p_value = two_sided(correlation * (n as f64).sqrt());
                    let seen = correlation.abs() > BAND && p_value * (pairs as f64) < level;
                    seen.then(|| Copy {
                        first,
                        second,
                        kind: kind(list[first], list[second], correlation),
                        correlation,
                        compared: n,
                        p_value,
                    })
                })
                .collect()
        })
        .collect();
    found.into_iter().flatten().collect()
}

fn kind(a: (&Tensor, &Facts), b: (&Tensor, &Facts), correlation: f64) -> Kind {
    // All four moments and both extremes agree to the last bit only where all values do.
    let same = a.0.elements() == b.0.elements() && a.1.scan.moments == b.1.scan.moments;
    if same && correlation > 0.999_99 {
        Kind::Identical
    } else if correlation.abs() > 0.999 {
        Kind::Scaled
    } else {
        Kind::Correlated
    }
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let (mut ab, mut aa, mut bb) = ([0.0f32; 16], [0.0f32; 16], [0.0f32; 16]);
    let (x, rest_x) = a.as_chunks::<16>();
    let (y, rest_y) = b.as_chunks::<16>();
    for (x, y) in x.iter().zip(y) {
        for lane in 0..16 {
            ab[lane] += x[lane] * y[lane];
            aa[lane] += x[lane] * x[lane];
            bb[lane] += y[lane] * y[lane];
        }
    }
    for (lane, (x, y)) in rest_x.iter().zip(rest_y).enumerate() {
        ab[lane] += x * y;
        aa[lane] += x * x;
        bb[lane] += y * y;
    }
    let sum = |lanes: [f32; 16]| lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
    let scale = (sum(aa) * sum(bb)).sqrt();
    if scale > 0.0 { (sum(ab) / scale).clamp(-1.0, 1.0) } else { 0.0 }
}
