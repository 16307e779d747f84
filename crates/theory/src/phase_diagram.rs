use gainstage_spec::Activation;
use rayon::prelude::*;

use crate::depth_limit::{DepthLimit, Exact, Kernel, KernelAt};
use crate::error::TheoryError;
use crate::kernel::parting;
use crate::mean_field::{MeanField, VarianceLimit, scan};
use crate::moments::{Moments, map_at, within_reach};

/// The limit of great depth over a grid: for each bias variance a row over the weight variances, in
/// the order given, from pre-activations of variance `q` in the first layer.
///
/// Quantities are those of [`MeanField::depth_limit`]. Where the kernel has no closed form it is
/// interpolated over the variances that occur, to about 1e-9; the result does not depend on the number
/// of threads.
///
/// # Errors
/// [`TheoryError::Domain`] for a variance that is negative or not finite.
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// use gainstage_theory::{Phase, phase_diagram};
/// let rows = phase_diagram(&Activation::Tanh, &[1.0, 2.5], &[0.05], 1.0)?;
/// assert_eq!(rows[0][0].phase, Phase::Ordered);
/// assert!((rows[0][1].c - 0.4468042323).abs() < 1e-9);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn phase_diagram(
    activation: &Activation,
    weight_variances: &[f64],
    bias_variances: &[f64],
    q: f64,
) -> Result<Vec<Vec<DepthLimit>>, TheoryError> {
    within_reach(activation, q)?;
    let cells: Vec<MeanField> = bias_variances
        .iter()
        .flat_map(|&b| weight_variances.iter().map(move |&w| MeanField::new(activation, w, b)))
        .collect::<Result<_, _>>()?;
    let seconds = scan(activation);
    let variances: Vec<VarianceLimit> =
        cells.par_iter().map(|cell| cell.limit_among(&cell.fixed_points_on(&seconds), q)).collect();
    let closed =
        activation.slopes().is_some() || matches!(activation, Activation::Erf | Activation::Sin);
    let table = if closed { None } else { Table::covering(activation, &cells, &variances) };
    let limits: Vec<DepthLimit> = cells
        .par_iter()
        .zip(&variances)
        .map(|(cell, &variance)| match &table {
            Some(table) if variance != VarianceLimit::Diverges => cell.limit_at(variance, table),
            _ => cell.limit_at(variance, &Exact(activation)),
        })
        .collect();
    Ok(limits.chunks(weight_variances.len().max(1)).map(<[_]>::to_vec).collect())
}

/// E (phi(u) - phi(v))^2 / 2 over q gap E phi'^2 by Chebyshev interpolation in ln q and sqrt(gap): it
/// tends to 1 as the gap closes, and is smooth in the root of the gap even where phi has a kink.
struct Table {
    middle: f64,
    half: f64,
    /// Row by row of ln q: Chebyshev coefficients in both directions.
    coefficients: Vec<Vec<f64>>,
}

const ROOTS: usize = 44;

impl Table {
    /// Over the variances of the cells where the correlation has to be found.
    fn covering(
        activation: &Activation,
        cells: &[MeanField],
        variances: &[VarianceLimit],
    ) -> Option<Self> {
        let chaotic = cells.iter().zip(variances).filter_map(|(cell, variance)| match variance {
            VarianceLimit::Fixed { point } if point.q > 0.0 => {
                let chi =
                    cell.weight_variance * map_at(activation, point.q).derivative_second_moment;
                (chi > 1.0).then(|| point.q.ln())
            }
            _ => None,
        });
        let (low, high) = chaotic
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return None;
        }
        let (middle, half) = (0.5 * (low + high), (0.5 * (high - low)).max(1e-3));
        // The nearest singularities in ln q are at imaginary distance pi.
        let count = 14 + (10.0 * half).ceil() as usize;
        let rows: Vec<Vec<f64>> = nodes(count)
            .into_par_iter()
            .map(|node| {
                let q = (middle + half * node).exp();
                let slope = map_at(activation, q).derivative_second_moment;
                let values: Vec<f64> = nodes(ROOTS)
                    .into_iter()
                    .map(|node| {
                        let gap = (0.5 + 0.5 * node).powi(2);
                        parting(activation, q, gap) / (q * gap * slope)
                    })
                    .collect();
                coefficients(&values)
            })
            .collect();
        let columns: Vec<Vec<f64>> = (0..ROOTS)
            .map(|j| coefficients(&rows.iter().map(|row| row[j]).collect::<Vec<_>>()))
            .collect();
        let coefficients =
            (0..count).map(|i| columns.iter().map(|column| column[i]).collect()).collect();
        Some(Self { middle, half, coefficients })
    }
}

impl Kernel for Table {
    fn at(&self, m: &Moments) -> impl KernelAt {
        let q = m.q;
        let node = ((q.max(f64::MIN_POSITIVE).ln() - self.middle) / self.half).clamp(-1.0, 1.0);
        let polynomials = chebyshev(node, self.coefficients.len());
        let series = (0..ROOTS)
            .map(|j| self.coefficients.iter().zip(&polynomials).map(|(row, p)| row[j] * p).sum())
            .collect();
        Slice { series, q, slope: m.derivative_second_moment }
    }
}

/// The table at one variance.
struct Slice {
    series: Vec<f64>,
    q: f64,
    slope: f64,
}

impl Slice {
    fn value(&self, node: f64) -> f64 {
        chebyshev(node, ROOTS).iter().zip(&self.series).map(|(p, c)| p * c).sum()
    }
}

impl KernelAt for Slice {
    fn parting(&self, gap: f64) -> f64 {
        self.q * gap * self.slope * self.value(2.0 * gap.sqrt() - 1.0)
    }

    fn slope(&self, gap: f64) -> f64 {
        // d/d gap of gap G(sqrt gap), with T_k' = k U_(k-1).
        let root = gap.sqrt();
        let node = 2.0 * root - 1.0;
        let (mut derivative, mut u, mut before) = (0.0, 1.0, 0.0);
        for (k, c) in self.series.iter().enumerate().skip(1) {
            derivative += c * k as f64 * u;
            (u, before) = (2.0 * node * u - before, u);
        }
        // d node / d root = 2.
        self.slope * (self.value(node) + root * derivative)
    }
}

/// Chebyshev nodes of the first kind.
fn nodes(count: usize) -> Vec<f64> {
    let n = count as f64;
    (0..count).map(|i| (std::f64::consts::PI * (i as f64 + 0.5) / n).cos()).collect()
}

/// T_0 to T_(count - 1) at x.
fn chebyshev(x: f64, count: usize) -> Vec<f64> {
    let mut values = vec![1.0, x];
    for k in 2..count {
        values.push(2.0 * x * values[k - 1] - values[k - 2]);
    }
    values.truncate(count);
    values
}

/// Coefficients of the interpolant through these values at the nodes.
fn coefficients(values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let mut found = vec![0.0; n];
    for (node, value) in nodes(n).into_iter().zip(values) {
        for (c, t) in found.iter_mut().zip(chebyshev(node, n)) {
            *c += 2.0 / n as f64 * value * t;
        }
    }
    found[0] *= 0.5;
    found
}
