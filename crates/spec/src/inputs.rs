use serde::{Deserialize, Serialize};

/// Random inputs for a measurement; real ones are given as arrays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Inputs {
    /// Independent normal(std = 1) coordinates.
    Gaussian,
    /// Uniform on the sphere of radius sqrt(width): the second moment is exactly 1.
    Sphere,
    /// On that sphere, consecutive inputs 2k and 2k + 1 with exactly this cosine.
    CorrelatedPairs {
        /// Cosine of each pair, in [-1, 1].
        correlation: f64,
    },
}

/// What a prediction needs to know of a batch of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputStatistics {
    /// Mean over inputs and coordinates of x^2 (not the variance: a mean counts).
    pub second_moment: f64,
    /// Mean cosine between two different inputs; 0 where there is one input.
    pub correlation: f64,
    /// Mean over inputs of sum x^4 / (sum x^2)^2, between 1/width and 1: how far the first layer
    /// feels the kurtosis of its weights.
    pub concentration: f64,
}

impl InputStatistics {
    /// The statistics of Gaussian inputs of this width, in expectation.
    ///
    /// E sum x^4 / (sum x^2)^2 = 3/(n + 2), exactly, since the direction is uniform on the sphere.
    pub fn gaussian(width: usize) -> Self {
        Self { second_moment: 1.0, correlation: 0.0, concentration: 3.0 / (width as f64 + 2.0) }
    }

    /// Measured on rows of `width` values each; rows that are entirely zero count as they are.
    ///
    /// # Example
    /// ```
    /// use gainstage_spec::InputStatistics;
    /// let s = InputStatistics::measure(&[3.0, 4.0, 4.0, 3.0], 2);
    /// assert_eq!(s.second_moment, 12.5);
    /// assert!((s.correlation - 24.0 / 25.0).abs() < 1e-15);
    /// ```
    pub fn measure(rows: &[f32], width: usize) -> Self {
        let rows: Vec<&[f32]> = rows.chunks_exact(width.max(1)).collect();
        let squares: Vec<f64> =
            rows.iter().map(|r| r.iter().map(|&x| f64::from(x).powi(2)).sum()).collect();
        let fourths = rows.iter().map(|r| r.iter().map(|&x| f64::from(x).powi(4)).sum::<f64>());
        let alive: Vec<f64> =
            fourths.zip(&squares).filter(|(_, s)| **s > 0.0).map(|(f, s)| f / (s * s)).collect();
        // The mean cosine over all pairs from the sum of unit vectors: |sum u|^2 = n + 2 sum cos.
        let mut total = vec![0.0f64; width];
        for (row, square) in rows.iter().zip(&squares).filter(|(_, s)| **s > 0.0) {
            for (t, &x) in total.iter_mut().zip(*row) {
                *t += f64::from(x) / square.sqrt();
            }
        }
        let n = alive.len() as f64;
        let correlation = if n > 1.0 {
            (total.iter().map(|t| t * t).sum::<f64>() - n) / (n * (n - 1.0))
        } else {
            0.0
        };
        let mean = |values: &[f64], count: f64| {
            if count > 0.0 { values.iter().sum::<f64>() / count } else { 0.0 }
        };
        Self {
            second_moment: mean(&squares, (rows.len() * width) as f64),
            correlation,
            concentration: mean(&alive, n),
        }
    }
}
