//! Normalization without learned scale or shift, forward and backward; sums in f64.

/// What a normalization over the units measures the spread about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Centre {
    /// The mean over the units (LayerNorm).
    Mean,
    /// Zero (RMSNorm).
    Zero,
}

/// Statistics of a batch, unit by unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchStatistics {
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
}

impl BatchStatistics {
    pub(crate) fn new(width: usize) -> Self {
        Self { mean: vec![0.0; width], variance: vec![0.0; width] }
    }

    /// Of rows of samples; the variance is the mean squared deviation.
    pub(crate) fn of(&mut self, x: &[f32]) {
        let width = self.mean.len();
        let n = (x.len() / width) as f64;
        self.mean.fill(0.0);
        self.variance.fill(0.0);
        for row in x.chunks_exact(width) {
            self.mean.iter_mut().zip(row).for_each(|(m, x)| *m += f64::from(*x));
        }
        self.mean.iter_mut().for_each(|m| *m /= n);
        for row in x.chunks_exact(width) {
            for ((v, m), x) in self.variance.iter_mut().zip(&self.mean).zip(row) {
                let d = f64::from(*x) - m;
                *v += d * d;
            }
        }
        self.variance.iter_mut().for_each(|v| *v /= n);
    }
}

/// `y = (x - mean) / sqrt(variance + epsilon)`, unit by unit.
pub(crate) fn normalize_batch(
    x: &[f32],
    y: &mut [f32],
    mean: impl Fn(usize) -> f64,
    variance: impl Fn(usize) -> f64,
    width: usize,
    epsilon: f64,
) {
    for unit in 0..width {
        let (mean, factor) = (mean(unit), 1.0 / (variance(unit) + epsilon).sqrt());
        for (y, x) in y[unit..].iter_mut().step_by(width).zip(x[unit..].iter().step_by(width)) {
            *y = ((f64::from(*x) - mean) * factor) as f32;
        }
    }
}

/// Transposed Jacobian of [`normalize_batch`] by the batch's own statistics: with y the output,
/// g -> (g - mean g - y mean(g y)) / sqrt(variance + epsilon).
pub(crate) fn normalize_batch_back(
    g: &mut [f32],
    y: &[f32],
    statistics: &BatchStatistics,
    epsilon: f64,
) {
    let width = statistics.mean.len();
    let n = (g.len() / width) as f64;
    for (unit, variance) in statistics.variance.iter().enumerate() {
        let factor = 1.0 / (variance + epsilon).sqrt();
        let (mut mean, mut along) = (0.0, 0.0);
        for (g, y) in g[unit..].iter().step_by(width).zip(y[unit..].iter().step_by(width)) {
            mean += f64::from(*g);
            along += f64::from(*g) * f64::from(*y);
        }
        (mean, along) = (mean / n, along / n);
        for (g, y) in g[unit..].iter_mut().step_by(width).zip(y[unit..].iter().step_by(width)) {
            *g = (factor * (f64::from(*g) - mean - f64::from(*y) * along)) as f32;
        }
    }
}

/// Normalizes each row over its units; `factors` keeps what each was multiplied by.
pub(crate) fn normalize_units(
    x: &[f32],
    y: &mut [f32],
    factors: &mut [f64],
    width: usize,
    epsilon: f64,
    centre: Centre,
) {
    let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(factors);
    for ((x, y), factor) in rows {
        let n = width as f64;
        let mean = match centre {
            Centre::Mean => x.iter().map(|x| f64::from(*x)).sum::<f64>() / n,
            Centre::Zero => 0.0,
        };
        let square = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        *factor = 1.0 / (square + epsilon).sqrt();
        y.iter_mut().zip(x).for_each(|(y, x)| *y = ((f64::from(*x) - mean) * *factor) as f32);
    }
}

/// Transposed Jacobian of [`normalize_units`].
pub(crate) fn normalize_units_back(
    g: &mut [f32],
    y: &[f32],
    factors: &[f64],
    width: usize,
    centre: Centre,
) {
    for ((g, y), factor) in g.chunks_exact_mut(width).zip(y.chunks_exact(width)).zip(factors) {
        let n = width as f64;
        let mean = match centre {
            Centre::Mean => g.iter().map(|g| f64::from(*g)).sum::<f64>() / n,
            Centre::Zero => 0.0,
        };
        let along = g.iter().zip(y).map(|(g, y)| f64::from(*g) * f64::from(*y)).sum::<f64>() / n;
        for (g, y) in g.iter_mut().zip(y) {
            *g = (factor * (f64::from(*g) - mean - f64::from(*y) * along)) as f32;
        }
    }
}
