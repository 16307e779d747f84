//! Tensors that share their random numbers.

use gainstage_stats::Moments;
use rayon::prelude::*;

use crate::array::Tensor;
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
    /// In which order the second's values were compared.
    pub(crate) order: Order,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As both are stored.
    Stored,
    /// One of the two transposed.
    Transposed,
    /// Any: moments and extremes agree.
    Rearranged,
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
    let most = (OPERATIONS / (3 * pairs).max(1)).clamp(256, crate::facts::HEAD);
    let centre = |values: &[f32]| -> Vec<f32> {
        let values = &values[..values.len().min(most)];
        let mean = Moments::from(values).mean() as f32;
        values.iter().map(|x| x - mean).collect()
    };
    // As stored, and transposed.
    let centred: Vec<[Vec<f32>; 2]> = usable
        .par_iter()
        .map(|&i| [centre(&list[i].1.head), centre(&list[i].1.transposed)])
        .collect();
    let tests = 3.0 * pairs as f64;
    let found: Vec<Vec<Copy>> = (0..usable.len())
        .into_par_iter()
        .map(|b| {
            (0..b)
                .filter_map(|a| {
                    let (first, second) = (usable[a], usable[b]);
                    let compare = |x: &[f32], y: &[f32], order: Order| {
                        let n = x.len().min(y.len());
                        if n < FEWEST {
                            return None;
                        }
                        let correlation = correlation(&x[..n], &y[..n]);
                        let p_value = two_sided(correlation * (n as f64).sqrt());
                        let seen = correlation.abs() > BAND && p_value * tests < level;
                        seen.then(|| Copy {
                            first,
                            second,
                            kind: kind(list[first], list[second], correlation),
                            order,
                            correlation,
                            compared: n,
                            p_value,
                        })
                    };
                    let ([x, x_transposed], [y, y_transposed]) = (&centred[a], &centred[b]);
                    compare(x, y, Order::Stored)
                        .or_else(|| compare(x_transposed, y, Order::Transposed))
                        .or_else(|| compare(x, y_transposed, Order::Transposed))
                        .or_else(|| {
                            rearranged(list[first], list[second]).then(|| Copy {
                                first,
                                second,
                                kind: Kind::Scaled,
                                order: Order::Rearranged,
                                correlation: 1.0,
                                compared: list[second].0.elements(),
                                p_value: 0.0,
                            })
                        })
                })
                .collect()
        })
        .collect();
    found.into_iter().flatten().collect()
}

/// Whether two tensors hold the same values in another order, up to a factor where the format is fine enough
/// to tell: skewness, kurtosis and both extremes in standard deviations agree.
fn rearranged(a: (&Tensor, &Facts), b: (&Tensor, &Facts)) -> bool {
    if a.0.elements() != b.0.elements() || a.0.dtype() != b.0.dtype() {
        return false;
    }
    let (x, y) = (&a.1.scan.moments, &b.1.scan.moments);
    let (std_x, std_y) = (x.population_variance().sqrt(), y.population_variance().sqrt());
    let near = |p: f64, q: f64, tolerance: f64| (p - q).abs() <= tolerance;
    if x.min() == y.min() && x.max() == y.max() {
        // The order of summation alone moves them.
        return near(std_x / std_y, 1.0, 1e-10) && near(x.mean() / std_x, y.mean() / std_x, 1e-10);
    }
    let fine = a.1.epsilon.max(b.1.epsilon) <= f64::from(f32::EPSILON);
    let extreme = |m: &Moments, std: f64| [(m.min() - m.mean()) / std, (m.max() - m.mean()) / std];
    let (of_x, of_y) = (extreme(x, std_x), extreme(y, std_y));
    fine && near(x.skewness(), y.skewness(), 1e-6)
        && near(x.kurtosis(), y.kurtosis(), 1e-6)
        && near(of_x[0], of_y[0], 1e-5)
        && near(of_x[1], of_y[1], 1e-5)
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
