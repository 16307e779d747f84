//! What claims measure beyond the growth of one input's signal: pairs of inputs, shares, spreads.

use gainstage_simulate::{InputSource, Measured, Setup, choose, measure};
use gainstage_spec::{
    Activation, Dense, FanMode, Initializer, InputStatistics, Inputs, Layer, Network,
    ScalingDistribution,
};
use gainstage_stats::{Moments, Probability, clopper_pearson_interval, variance_interval};
use gainstage_theory::{MeanField, Options, moments, predict};

use crate::claim::{Conclusion, Finding};
use crate::signal::{Side, Signal, equality};
use crate::{ClaimError, Lab};

impl Lab {
    /// Measures a network, with the planted error if there is one, by the cheaper of the methods that
    /// are exact for it. A label has a stream of its own: two experiments of a claim are independent.
    pub(crate) fn measure(
        &self,
        label: &str,
        network: &Network,
        setup: Setup,
    ) -> Result<Measured, ClaimError> {
        let network = self.planted(network);
        let setup = Setup { seed: self.seed_for(label), ..setup };
        let method = choose(&network, &setup)?.method;
        Ok(measure(&network, &Setup { method, ..setup })?)
    }

    /// Coverage of the interval that a two one-sided test at [`Lab::alpha`] corresponds to.
    pub(crate) fn level(&self) -> Result<Probability, ClaimError> {
        Ok(Probability::new(1.0 - 2.0 * self.alpha().get())?)
    }
}

/// One input of mean square 1 per draw.
pub(crate) fn one_input(trials: usize) -> Setup {
    Setup { trials, batch: 1, inputs: InputSource::Random(Inputs::Sphere), ..Setup::default() }
}

/// One pair of inputs of this cosine per draw.
pub(crate) fn one_pair(trials: usize, correlation: f64) -> Setup {
    let inputs = InputSource::Random(Inputs::CorrelatedPairs { correlation });
    Setup { trials, batch: 2, inputs, ..Setup::default() }
}

/// Equal Gaussian layers, of which the first may have a weight variance (times fan-in) of its own to
/// set the variance that the others start from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack<'a> {
    pub(crate) phi: &'a Activation,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) first: f64,
    pub(crate) weights: f64,
    pub(crate) biases: f64,
}

impl Stack<'_> {
    pub(crate) fn network(&self) -> Result<Network, ClaimError> {
        let bias = if self.biases == 0.0 {
            Initializer::zeros()
        } else {
            Initializer::normal(self.biases.sqrt())
        };
        let layer = |variance: f64| {
            let init = Initializer::scaling(variance, FanMode::FanIn, ScalingDistribution::Normal);
            Layer::Dense(Dense::new(self.width, init, self.phi.clone()).with_bias(bias.clone()))
        };
        let mut layers = vec![layer(self.first)];
        layers.extend(vec![layer(self.weights); self.depth - 1]);
        Ok(Network::new(self.width, layers)?)
    }

    /// Variance q of the pre-activations in every layer at infinite width, for inputs of mean square 1.
    pub(crate) fn variances(&self) -> Result<Vec<f64>, ClaimError> {
        let mut found = vec![self.first + self.biases];
        for layer in 1..self.depth {
            let second = moments(self.phi, found[layer - 1])?.second_moment;
            found.push(self.weights * second + self.biases);
        }
        Ok(found)
    }

    /// Variance q and gap 1 - c of the pre-activations in every layer at infinite width, for two inputs
    /// of mean square 1 and this gap.
    pub(crate) fn trajectory(&self, gap: f64) -> Result<Vec<(f64, f64)>, ClaimError> {
        let map = MeanField::new(self.phi, self.weights, self.biases)?;
        let q = self.first + self.biases;
        let mut at = (q, self.first * gap / q);
        let mut found = vec![at];
        for _ in 1..self.depth {
            at = map.step(at.0, at.1)?;
            found.push(at);
        }
        Ok(found)
    }
}

/// A mean share over draws, tested for equality within `margin`; where no draw differs from another the
/// interval is that of the probability that one would (Clopper & Pearson 1934).
pub(crate) fn share_finding(
    lab: &Lab,
    what: String,
    values: &[f64],
    predicted: f64,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let moments = Moments::from(values);
    if moments.sample_variance() > 0.0 {
        return equality(lab, what, values, predicted, margin);
    }
    let level = lab.level()?;
    let differ = clopper_pearson_interval(0, values.len() as u64, level)?.high;
    let (low, high) = ((values[0] - differ).max(0.0), (values[0] + differ).min(1.0));
    let conclusion = if low > predicted - margin && high < predicted + margin {
        Conclusion::Holds
    } else if low > predicted + margin || high < predicted - margin {
        Conclusion::Contradicted
    } else {
        Conclusion::Undecided
    };
    Ok(Finding {
        what,
        predicted: Some(predicted),
        measured: values[0],
        low,
        high,
        level: level.get(),
        n: values.len(),
        test: format!("no draw differs; Clopper-Pearson interval of that, margin {margin:.3}"),
        p_value: None,
        conclusion,
    })
}

/// A share of draws out of `n` against a predicted one: its Clopper-Pearson interval lies within the
/// margin, or beyond.
pub(crate) fn count_finding(
    lab: &Lab,
    what: String,
    hits: usize,
    n: usize,
    predicted: f64,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let level = lab.level()?;
    let interval = clopper_pearson_interval(hits as u64, n as u64, level)?;
    let conclusion = within(interval.low, interval.high, predicted - margin, predicted + margin);
    Ok(Finding {
        what,
        predicted: Some(predicted),
        measured: hits as f64 / n as f64,
        low: interval.low,
        high: interval.high,
        level: level.get(),
        n,
        test: format!("Clopper-Pearson interval within {margin:.3}"),
        p_value: None,
        conclusion,
    })
}

/// Variance of values over draws against the exact one, within a relative margin.
pub(crate) fn variance_finding(
    lab: &Lab,
    what: String,
    values: &[f64],
    kurtosis: f64,
    predicted: f64,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let moments = Moments::from(values);
    let level = lab.level()?;
    let interval = variance_interval(&moments, kurtosis, level)?;
    let (low, high) = (predicted / (1.0 + margin), predicted * (1.0 + margin));
    Ok(Finding {
        what,
        predicted: Some(predicted),
        measured: moments.sample_variance(),
        low: interval.low,
        high: interval.high,
        level: level.get(),
        n: values.len(),
        test: format!("interval of the variance within {:.0}% of the exact value", 100.0 * margin),
        p_value: None,
        conclusion: within(interval.low, interval.high, low, high),
    })
}

/// Variance over draws of ln q in the last layer against the exact law.
pub(crate) fn spread_finding(
    lab: &Lab,
    signal: &Signal,
    margin: f64,
) -> Result<Finding, ClaimError> {
    let depth = signal.depth();
    let logs = signal.logs(Side::Forward, depth);
    let predicted = signal.prediction.layers[depth - 1].forward.log_variance;
    let what = format!("{}: variance of ln q in layer {depth} over draws", signal.label);
    variance_finding(lab, what, &logs, 3.0, predicted, margin)
}

/// A number that is computed, not drawn, within a margin of what it should be.
pub(crate) fn computed(
    what: impl Into<String>,
    predicted: f64,
    value: f64,
    margin: f64,
) -> Finding {
    Finding {
        what: what.into(),
        predicted: Some(predicted),
        measured: value,
        low: value,
        high: value,
        level: 1.0,
        n: 1,
        test: format!("computed, within {margin:.0e}"),
        p_value: None,
        conclusion: within(value, value, predicted - margin, predicted + margin),
    }
}

/// What an interval says of another that it may lie in or beyond.
fn within(low: f64, high: f64, from: f64, to: f64) -> Conclusion {
    if low >= from && high <= to {
        Conclusion::Holds
    } else if high < from || low > to {
        Conclusion::Contradicted
    } else {
        Conclusion::Undecided
    }
}

/// Probability that a layer's signal (`read` from its prediction) is at most `x` in one draw: the
/// predicted quantile function, inverted.
pub(crate) fn probability_below(
    network: &Network,
    layer: usize,
    read: crate::figures::Reader,
    x: f64,
) -> Result<f64, ClaimError> {
    let inputs = InputStatistics::gaussian(network.input);
    let (mut low, mut high) = (0.0f64, 1.0f64);
    // Twelve halvings know the probability to 1/8192, far below any margin on a share.
    for _ in 0..12 {
        let p = 0.5 * (low + high);
        let level = (1.0 - 2.0 * p).abs().max(1e-9);
        let prediction = predict(network, &inputs, &Options { level, ..Options::default() })?;
        let law = read(&prediction.layers[layer - 1]);
        let quantile = if p < 0.5 { law.low } else { law.high };
        if quantile < x {
            low = p;
        } else {
            high = p;
        }
    }
    Ok(0.5 * (low + high))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use gainstage_data::{Source, load};

    use super::*;
    use crate::Budget;

    fn lab() -> Lab {
        let data = load(&Source::Synthetic, &mut |_| ()).unwrap();
        Lab::new(1, Budget::Quick, Arc::new(data), Arc::new(|_: &str| ()))
    }

    /// At the ledger's rate 293 draws bound an unseen share by 0.03, 292 do not.
    #[test]
    fn draws_that_do_not_differ_bound_a_share_by_their_number() {
        let lab = lab();
        let conclude = |n: usize, predicted: f64| {
            let values = vec![0.0; n];
            share_finding(&lab, String::new(), &values, predicted, 0.03).unwrap().conclusion
        };
        assert_eq!(conclude(320, 0.0), Conclusion::Holds);
        assert_eq!(conclude(200, 0.0), Conclusion::Undecided);
        assert_eq!(conclude(320, 0.2), Conclusion::Contradicted);
    }

    #[test]
    fn counts_hold_contradict_or_leave_open() {
        let lab = lab();
        let conclude = |hits: usize, n: usize| {
            count_finding(&lab, String::new(), hits, n, 0.5, 0.05).unwrap().conclusion
        };
        assert_eq!(conclude(5000, 10_000), Conclusion::Holds);
        assert_eq!(conclude(5700, 10_000), Conclusion::Contradicted);
        assert_eq!(conclude(50, 100), Conclusion::Undecided);
    }

    /// One layer's mean square is 2 chi^2_K / n: probabilities from the binomial sum over K, computed
    /// independently. The quantiles are expansions, and right to half a percent in a single layer.
    #[test]
    fn the_inverted_quantile_function_is_a_distribution_function() {
        let below = |width: usize, x: f64| {
            let network =
                Network::uniform(width, 1, &Initializer::he_normal(), &Activation::Relu).unwrap();
            probability_below(&network, 1, |l| &l.activation, x).unwrap()
        };
        for (x, exact) in [(0.7, 0.1356167), (1.0, 0.5327621), (1.3, 0.8578311)] {
            let found = below(64, x);
            assert!((found - exact).abs() < 0.005, "{x}: {found} is not {exact}");
        }
        // The twin: half the width has another law.
        assert!((below(32, 0.7) - 0.1356167).abs() > 0.05);
    }

    #[test]
    fn variances_are_those_of_the_trajectory() {
        let phi = Activation::Tanh;
        let stack = Stack { phi: &phi, width: 8, depth: 6, first: 2.0, weights: 1.5, biases: 0.05 };
        let both = stack.variances().unwrap().into_iter().zip(stack.trajectory(0.5).unwrap());
        for (q, (map, gap)) in both {
            assert!((q / map - 1.0).abs() < 1e-12 && gap < 1.0);
        }
        assert_eq!(stack.network().unwrap().dense().count(), 6);
    }
}
