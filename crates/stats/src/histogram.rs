use serde::{Deserialize, Serialize};

use crate::StatsError;

/// Counts over fixed edges, mergeable; values outside the edges and values that are not finite are
/// counted apart.
///
/// Bin `i` holds `edges[i] <= x < edges[i + 1]`; the last bin holds its upper edge too.
///
/// # Example
/// ```
/// use gainstage_stats::Histogram;
/// let mut h = Histogram::uniform(-1.0, 1.0, 4)?;
/// h.extend([-2.0, -1.0, 0.1, 1.0, f64::NAN]);
/// assert_eq!(h.counts(), &[1, 0, 1, 1]);
/// assert_eq!((h.underflow(), h.overflow(), h.non_finite(), h.total()), (1, 0, 1, 5));
/// // Densities integrate to the share of all values that lies inside: 3 of 5.
/// assert!((h.density().iter().sum::<f64>() * 0.5 - 0.6).abs() < 1e-15);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Histogram {
    parts: Parts,
    /// Bins per unit for equal bins, where the bin is found by a product.
    scale: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parts {
    edges: Vec<f64>,
    counts: Vec<u64>,
    underflow: u64,
    overflow: u64,
    non_finite: u64,
}

impl Histogram {
    /// Empty, over the given edges.
    ///
    /// # Errors
    /// [`StatsError`] for fewer than two edges, or edges that are not finite and increasing.
    pub fn new(edges: Vec<f64>) -> Result<Self, StatsError> {
        crate::error::sample("edges", &edges, 2)?;
        if let Some(pair) = edges.windows(2).find(|pair| !(pair[0] < pair[1])) {
            let bound = "above the edge before it";
            return Err(StatsError::Domain { what: "edge", value: pair[1], bound });
        }
        let counts = vec![0; edges.len() - 1];
        let bins = counts.len() as f64;
        let (low, high) = (edges[0], edges[edges.len() - 1]);
        let scale = bins / (high - low);
        let equal = edges.iter().enumerate().all(|(i, &e)| e == edge(low, high, i, counts.len()));
        Ok(Self {
            parts: Parts { edges, counts, underflow: 0, overflow: 0, non_finite: 0 },
            scale: (equal && scale.is_finite()).then_some(scale),
        })
    }

    /// Empty, with `bins` equal bins from `low` to `high`.
    ///
    /// # Errors
    /// [`StatsError`] for no bins, or ends that are not finite and increasing.
    pub fn uniform(low: f64, high: f64, bins: usize) -> Result<Self, StatsError> {
        crate::error::finite("lower end", low)?;
        crate::error::finite("upper end", high)?;
        Self::new((0..=bins).map(|i| edge(low, high, i, bins)).collect())
    }

    /// Counts one value.
    pub fn push(&mut self, x: f64) {
        let Parts { edges, counts, underflow, overflow, non_finite } = &mut self.parts;
        let last = counts.len() - 1;
        if !x.is_finite() {
            *non_finite += 1;
        } else if x < edges[0] {
            *underflow += 1;
        } else if x > edges[last + 1] {
            *overflow += 1;
        } else {
            let bin = match self.scale {
                Some(scale) => {
                    // The product may round across an edge; the edges decide.
                    let guess = (((x - edges[0]) * scale) as usize).min(last);
                    if x < edges[guess] {
                        guess - 1
                    } else if guess < last && x >= edges[guess + 1] {
                        guess + 1
                    } else {
                        guess
                    }
                }
                None => (edges.partition_point(|&e| e <= x) - 1).min(last),
            };
            counts[bin] += 1;
        }
    }

    /// Takes the counts of another histogram in.
    ///
    /// # Errors
    /// [`StatsError::Edges`] if the edges differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        let (ours, theirs) = (&mut self.parts, &other.parts);
        if ours.edges != theirs.edges {
            return Err(StatsError::Edges);
        }
        ours.counts.iter_mut().zip(&theirs.counts).for_each(|(a, b)| *a += b);
        ours.underflow += theirs.underflow;
        ours.overflow += theirs.overflow;
        ours.non_finite += theirs.non_finite;
        Ok(())
    }

    /// Edges of the bins, one more than bins.
    pub fn edges(&self) -> &[f64] {
        &self.parts.edges
    }

    /// Values per bin.
    pub fn counts(&self) -> &[u64] {
        &self.parts.counts
    }

    /// Values below the first edge.
    pub fn underflow(&self) -> u64 {
        self.parts.underflow
    }

    /// Values above the last edge.
    pub fn overflow(&self) -> u64 {
        self.parts.overflow
    }

    /// Values that were NaN or infinite.
    pub fn non_finite(&self) -> u64 {
        self.parts.non_finite
    }

    /// All values counted, wherever they fell.
    pub fn total(&self) -> u64 {
        let Parts { counts, underflow, overflow, non_finite, .. } = &self.parts;
        counts.iter().sum::<u64>() + underflow + overflow + non_finite
    }

    /// Share of all values per unit length in each bin, comparable with a probability density; zeros
    /// when empty.
    pub fn density(&self) -> Vec<f64> {
        let total = self.total().max(1) as f64;
        let widths = self.parts.edges.windows(2).map(|pair| pair[1] - pair[0]);
        self.parts.counts.iter().zip(widths).map(|(&c, width)| c as f64 / total / width).collect()
    }
}

fn edge(low: f64, high: f64, index: usize, bins: usize) -> f64 {
    let share = index as f64 / bins as f64;
    low * (1.0 - share) + high * share
}

impl Extend<f64> for Histogram {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|x| self.push(x));
    }
}

impl TryFrom<Parts> for Histogram {
    type Error = StatsError;

    fn try_from(parts: Parts) -> Result<Self, StatsError> {
        let empty = Self::new(parts.edges.clone())?;
        if parts.counts.len() != empty.parts.counts.len() {
            return Err(StatsError::Edges);
        }
        Ok(Self { parts, scale: empty.scale })
    }
}

impl From<Histogram> for Parts {
    fn from(histogram: Histogram) -> Self {
        histogram.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normal, rng};

    #[test]
    fn equal_bins_and_searched_bins_agree_on_every_value_and_every_edge() {
        let mut equal = Histogram::uniform(-1.0, 0.7, 30).unwrap();
        assert!(equal.scale.is_some());
        let mut searched = Histogram { scale: None, ..equal.clone() };
        let mut values = normal(&mut rng(1), 5000);
        for &e in equal.edges() {
            values.extend([e, e.next_down(), e.next_up()]);
        }
        equal.extend(values.iter().copied());
        searched.extend(values.iter().copied());
        assert_eq!(equal.counts(), searched.counts());
        assert_eq!(equal.total(), values.len() as u64);
        let third = equal.counts()[3];
        let (low, high) = (equal.edges()[3], equal.edges()[4]);
        assert_eq!(third, values.iter().filter(|&&x| low <= x && x < high).count() as u64);
    }

    #[test]
    fn merging_is_counting_together_and_needs_equal_edges() {
        let empty = Histogram::new(vec![0.0, 1.0, 10.0]).unwrap();
        assert!(empty.scale.is_none());
        let (mut a, mut b, mut both) = (empty.clone(), empty.clone(), empty);
        a.extend([0.5, -1.0, f64::INFINITY]);
        b.extend([5.0, 11.0]);
        both.extend([0.5, -1.0, f64::INFINITY, 5.0, 11.0]);
        a.merge(&b).unwrap();
        assert_eq!(a, both);
        let other = Histogram::uniform(0.0, 1.0, 2).unwrap();
        assert_eq!(a.merge(&other), Err(StatsError::Edges));
    }

    #[test]
    fn histograms_survive_json_and_refuse_broken_edges() {
        let mut h = Histogram::uniform(0.0, 1.0, 3).unwrap();
        h.extend([0.2, 0.9, f64::NAN]);
        let text = serde_json::to_string(&h).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), h);
        assert!(serde_json::from_str::<Histogram>(&text.replace("[0.0", "[2.0")).is_err());
        assert!(Histogram::uniform(0.0, 0.0, 3).is_err());
        assert!(Histogram::uniform(0.0, 1.0, 0).is_err());
        assert!(Histogram::uniform(0.0, f64::NAN, 2).is_err());
    }
}
