use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Images, Protocol, TrainError, fit};

/// Networks of every depth with every weight variance, trained alike: the trainability map of
/// Schoenholz et al. 2017, figure 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// phi of the hidden layers.
    pub activation: Activation,
    /// Units of a hidden layer.
    pub width: usize,
    /// Numbers of hidden layers.
    pub depths: Vec<usize>,
    /// sigma_w^2: variances of the weights times fan-in.
    pub weight_variances: Vec<f64>,
    /// sigma_b^2 of the hidden layers.
    pub bias_variance: f64,
    /// How each network is trained.
    pub protocol: Protocol,
}

/// One network of a [`Sweep`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepCell {
    /// Hidden layers.
    pub depth: usize,
    /// sigma_w^2
    pub weight_variance: f64,
    /// Accuracy on the test images after the last step.
    pub accuracy: f64,
    /// Mean loss over the last tenth of the steps; infinite where it diverged.
    pub train_loss: f64,
    /// Whether the loss became infinite or NaN.
    pub diverged: bool,
}

impl Sweep {
    /// The network of one cell: Gaussian weights and biases, and an output layer of variance 1/fan_in.
    ///
    /// # Errors
    /// [`TrainError::Spec`] for sizes or variances out of their domain.
    pub fn network(
        &self,
        depth: usize,
        weight_variance: f64,
        images: &Images,
    ) -> Result<Network, TrainError> {
        let weights = Initializer::scaled_normal(weight_variance.sqrt());
        let bias = match self.bias_variance {
            0.0 => Initializer::zeros(),
            variance => Initializer::normal(variance.sqrt()),
        };
        let hidden = Dense::new(self.width, weights, self.activation.clone()).with_bias(bias);
        let mut layers = vec![Layer::Dense(hidden); depth];
        let output = Initializer::lecun_normal();
        layers.push(Layer::Dense(Dense::new(images.classes(), output, Activation::Linear)));
        Ok(Network::new(images.width(), layers)?)
    }

    /// Trains all of them, one a thread, and returns depth after depth. All start from the same seed.
    /// What `stored` has of a cell, by its place in that order, counts as trained; `finished` is called
    /// with every other cell as soon as it is.
    ///
    /// # Errors
    /// [`TrainError`] if a network cannot be trained; divergence is a result.
    pub fn run(
        &self,
        train: &Images,
        test: &Images,
        seed: u64,
        stored: &(dyn Fn(usize) -> Option<SweepCell> + Sync),
        finished: &(dyn Fn(usize, &SweepCell) + Sync),
    ) -> Result<Vec<SweepCell>, TrainError> {
        let grid: Vec<(usize, f64)> = self
            .depths
            .iter()
            .flat_map(|&depth| self.weight_variances.iter().map(move |&v| (depth, v)))
            .collect();
        // The deepest take longest and begin first, so that no thread is left with one at the end.
        let mut order: Vec<usize> = (0..grid.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(grid[i].0));
        let mut cells: Vec<(usize, SweepCell)> = order
            .par_iter()
            .with_max_len(1)
            .map(|&index| {
                if let Some(cell) = stored(index) {
                    return Ok((index, cell));
                }
                let (depth, weight_variance) = grid[index];
                let network = self.network(depth, weight_variance, train)?;
                let fit = fit(&network, train, None, &self.protocol, seed, &|_| ())?;
                let last = &fit.step_losses[fit.step_losses.len() * 9 / 10..];
                let mean =
                    last.iter().map(|l| f64::from(*l)).sum::<f64>() / last.len().max(1) as f64;
                let diverged = fit.diverged.is_some();
                let cell = SweepCell {
                    depth,
                    weight_variance,
                    accuracy: fit.model.evaluate(test, self.protocol.scale).accuracy,
                    train_loss: if diverged { f64::INFINITY } else { mean },
                    diverged,
                };
                finished(index, &cell);
                Ok((index, cell))
            })
            .collect::<Result<_, TrainError>>()?;
        cells.sort_by_key(|(index, _)| *index);
        Ok(cells.into_iter().map(|(_, cell)| cell).collect())
    }
}
