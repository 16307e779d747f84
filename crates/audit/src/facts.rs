//! What is known of a tensor before any law is asked about.

use std::borrow::Cow;

use gainstage_spec::{Law, Layout};
use gainstage_stats::{ks_p_value, variance_test};

use crate::AuditError;
use crate::array::Tensor;
use crate::checkpoint::Checkpoint;
use crate::dtype::decode_f32;
use crate::family::Family;
use crate::grain::{even_zeros, precision, step, transposed_head};
use crate::part::Part;
use crate::scan::{Lines, Scan, scan};
use crate::sketch::{Coarse, Sketch};
use crate::structure::{Structure, structure};

/// Distance from the median, in standard deviations of the middle two thirds, beyond which no Gaussian
/// value lies: 10^-15 each.
pub(crate) const OUTLIER_SIGMAS: f64 = 8.0;
/// Bins of the likelihood, and edges of the Kolmogorov-Smirnov distance.
const BINS: usize = 96;
const EDGES: usize = 1024;
/// Values whose order is compared between tensors.
pub(crate) const HEAD: usize = 4096;

/// A tensor, measured.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) scan: Scan,
    /// Mean and standard deviation without outliers and without structural zeros.
    pub(crate) mean: f64,
    pub(crate) std: f64,
    /// Values beyond [`OUTLIER_SIGMAS`], and how many sigmas the largest lies out.
    pub(crate) outliers: u64,
    pub(crate) farthest: f64,
    /// Share of exact zeros, where they are more than the cells beside zero explain.
    pub(crate) zero_share: f64,
    pub(crate) bins: Coarse,
    pub(crate) edges: Coarse,
    pub(crate) structure: Structure,
    /// The first values in the order of memory, and in that of the transpose of a matrix.
    pub(crate) head: Vec<f32>,
    pub(crate) transposed: Vec<f32>,
    /// Rounding of the values, which may be coarser than their format's: bf16 that was widened to f32.
    pub(crate) epsilon: f64,
    /// Step of the grid on which all values lie.
    pub(crate) step: Option<f64>,
    /// Whether exact zeros are spread evenly over rows or columns.
    pub(crate) even_zeros: bool,
}

impl Facts {
    /// Reads a tensor once.
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        tensor: &Tensor,
        part: &Part,
    ) -> Result<Self, AuditError> {
        let bytes: Cow<'_, [u8]> = checkpoint.bytes(tensor)?;
        let columns = columns(tensor, part);
        let scan = scan(tensor.dtype(), tensor.endian(), &bytes, columns);
        let mut head = Vec::new();
        let first = (HEAD * tensor.dtype().bytes()).min(bytes.len());
        decode_f32(tensor.dtype(), tensor.endian(), &bytes[..first], &mut head);
        let (zero_share, kept) = without_zeros(&scan.sketch);
        let core = core(&scan, &kept);
        let (low, high) = core.range;
        let epsilon = precision(tensor.dtype(), &head);
        let structure = structure(tensor, &bytes, &scan, columns, &core, epsilon);
        Ok(Self {
            mean: core.mean,
            std: core.std,
            outliers: core.outliers,
            farthest: core.farthest,
            zero_share,
            bins: kept.within(low, high).coarse(BINS),
            edges: kept.within(low, high).coarse(EDGES),
            structure,
            transposed: transposed_head(tensor, &bytes, columns, HEAD),
            epsilon,
            step: step(tensor.dtype(), &head),
            even_zeros: zero_share > 0.0 && even_zeros(tensor, &bytes, columns),
            head,
            scan,
        })
    }

    /// Gives back what only the tensor's own judgement needs.
    pub(crate) fn release(&mut self) {
        self.scan.sketch = Sketch::new(self.scan.sketch.grid);
        self.scan.rows = Lines::default();
        self.scan.columns = Lines::default();
    }

    /// Values that are finite.
    pub(crate) fn count(&self) -> u64 {
        self.scan.moments.count()
    }

    pub(crate) fn is_constant(&self) -> bool {
        self.count() > 0 && self.scan.moments.min() == self.scan.moments.max()
    }

    /// Standard error of the logarithm of the standard deviation under a law of that kurtosis.
    pub(crate) fn log_std_error(&self, kurtosis: f64) -> f64 {
        ((kurtosis - 1.0).max(0.0) / (4.0 * self.count().max(1) as f64)).sqrt()
    }

    /// The scale that a law fixes: of an orthogonal matrix the root mean square, since its lines have their lengths about
    /// zero, whatever their mean; of all others the standard deviation.
    pub(crate) fn scale(&self, law: &Law) -> f64 {
        if matches!(law, Law::SphereCoordinate { .. }) {
            self.std.hypot(self.mean)
        } else {
            self.std
        }
    }

    /// Standard error of the logarithm of that scale; an orthogonal matrix has none but rounding's.
    pub(crate) fn scale_error(&self, law: &Law) -> f64 {
        if self.is_exact(law) {
            self.epsilon / (self.count().max(1) as f64).sqrt()
        } else {
            self.log_std_error(law.kurtosis().unwrap_or(3.0))
        }
    }

    /// Whether a law leaves nothing of the scale to chance. A matrix that is not orthogonal was drawn in another way.
    pub(crate) fn is_exact(&self, law: &Law) -> bool {
        matches!(law, Law::SphereCoordinate { .. })
            && self.structure.products.as_ref().is_none_or(|p| p.orthogonal)
    }

    /// Standard deviation of a law as rounded to the tensor's format; only 8 bits are coarse enough to
    /// matter.
    pub(crate) fn rounded_std(&self, law: &Law) -> f64 {
        let grid = self.scan.sketch.grid;
        let own = law.std();
        if grid.0.bytes() > 1 || !(own > 0.0) {
            return own;
        }
        let (mut mass, mut mean, mut second) = (0.0, 0.0, 0.0);
        for cell in (0..grid.cells()).filter(|c| grid.upper(*c) > grid.lower(*c)) {
            let p = law.cdf(grid.upper(cell)) - law.cdf(grid.lower(cell));
            let x = grid.middle(cell);
            if p > 0.0 && x.is_finite() {
                mass += p;
                mean += p * x;
                second += p * x * x;
            }
        }
        (second / mass - (mean / mass).powi(2)).max(0.0).sqrt()
    }

    /// The member of a family that fits best: at the standard deviation of the values, or at the bound
    /// that their extremes show, which know it far better; in 8 bits neither does, and it is searched.
    pub(crate) fn member(&self, family: Family) -> Law {
        let (m, mean, std) = (&self.scan.moments, self.mean, self.std);
        let own = family.law(mean, std);
        let mut scales = vec![1.0];
        if matches!(family, Family::Uniform | Family::Cut(_)) && self.outliers == 0 {
            let reach = (m.max() - mean).max(mean - m.min());
            scales.push(reach / (own.support().1 - mean));
        }
        if self.scan.sketch.grid.0.bytes() == 1 {
            scales.extend((0..=60).map(|i| 0.85 + 0.005 * f64::from(i)));
        }
        scales
            .into_iter()
            .filter(|scale| *scale > 0.0 && scale.is_finite())
            .map(|scale| family.law(mean, std * scale))
            .map(|law| (self.bins.log_likelihood(&law), law))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(own, |(_, law)| law)
    }

    /// p-value of the variance under a law; 1 where the law fixes it (a constant, an orthogonal matrix).
    pub(crate) fn scale_p(&self, law: &Law) -> f64 {
        match law {
            Law::Point { .. } | Law::SphereCoordinate { .. } => 1.0,
            _ => law
                .kurtosis()
                .and_then(|k| {
                    variance_test(&self.scan.moments, self.rounded_std(law).powi(2), k).ok()
                })
                .map_or(1.0, |test| test.p_value),
        }
    }

    /// Kolmogorov-Smirnov distance from a law, and its p-value.
    pub(crate) fn distance(&self, law: &Law) -> (f64, f64) {
        let distance = self.edges.distance(law).clamp(0.0, 1.0);
        (distance, ks_p_value(self.edges.total.max(1), distance).unwrap_or(1.0))
    }
}

/// Values a row of the matrix in memory whose rows, or whose columns, are the layer's outputs.
fn columns(tensor: &Tensor, part: &Part) -> usize {
    let mut memory = tensor.shape().to_vec();
    let mut layout = part.layout.unwrap_or(Layout::OutIn);
    if tensor.is_fortran() {
        memory.reverse();
        layout = match layout {
            Layout::OutIn => Layout::InOut,
            Layout::InOut => Layout::OutIn,
        };
    }
    match (memory.len(), layout) {
        (0 | 1, _) => 0,
        (_, Layout::OutIn) => memory[1..].iter().product(),
        (_, Layout::InOut) => memory[memory.len() - 1],
    }
}

/// Zeros are set apart where their cell holds more than five times what the fuller cell beside it does.
fn without_zeros(sketch: &Sketch) -> (f64, Sketch) {
    let zeros = sketch.zeros();
    let share = zeros as f64 / sketch.total().max(1) as f64;
    let beside = sketch.beside_zero();
    if share > 0.002 && zeros > 5 * beside && zeros < sketch.total() {
        (share, sketch.without_zero())
    } else {
        (0.0, sketch.clone())
    }
}

/// The tensor without its outliers.
pub(crate) struct Core {
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) outliers: u64,
    pub(crate) farthest: f64,
    /// Within which values are no outliers.
    pub(crate) range: (f64, f64),
}

fn core(scan: &Scan, kept: &Sketch) -> Core {
    let all = (f64::NEG_INFINITY, f64::INFINITY);
    let m = &scan.moments;
    // Of the standard deviation of a Gaussian; of a uniform law it is 1.18.
    let spread = 0.5 * (kept.quantile(0.8413) - kept.quantile(0.1587));
    let middle = kept.quantile(0.5);
    let far = (m.max() - middle).max(middle - m.min()) / spread;
    let whole = kept.total() == scan.sketch.total();
    if !(spread > 0.0) || !(far > OUTLIER_SIGMAS) {
        let (mean, std) = if whole {
            (m.mean(), m.population_variance().sqrt())
        } else {
            let (mean, variance) = kept.moments_within(all.0, all.1);
            (mean, variance.sqrt())
        };
        return Core { mean, std, outliers: 0, farthest: far, range: all };
    }
    let (low, high) = (middle - OUTLIER_SIGMAS * spread, middle + OUTLIER_SIGMAS * spread);
    let (mean, variance) = kept.moments_within(low, high);
    Core {
        mean,
        std: variance.sqrt(),
        outliers: kept.outside(low, high),
        farthest: far,
        range: (low, high),
    }
}
