//! Training in f64 by plain loops: dense, every weight at every step, the optimisers as their papers and
//! Keras write them. It shares no code with the trainer but the activations' formulas.

use gainstage_spec::Activation;

use crate::{Images, Loss, Model, Optimizer};

/// Weights `[input][unit]` and biases of each layer, and the optimiser's two slots for each.
pub(crate) struct Reference {
    pub(crate) layers: Vec<(Vec<f64>, Vec<f64>, Activation)>,
    first: Vec<(Vec<f64>, Vec<f64>)>,
    second: Vec<(Vec<f64>, Vec<f64>)>,
    loss: Loss,
    steps: i32,
    /// Whether parameters and slots are rounded to f32 after every step.
    pub(crate) rounded: bool,
}

impl Reference {
    pub(crate) fn of(model: &Model) -> Self {
        let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let layers: Vec<_> = model
            .layers
            .iter()
            .map(|l| (wide(&l.weights), wide(&l.bias), l.activation.clone()))
            .collect();
        let slots: Vec<_> =
            layers.iter().map(|(w, b, _)| (vec![0.0; w.len()], vec![0.0; b.len()])).collect();
        Self {
            layers,
            first: slots.clone(),
            second: slots,
            loss: model.loss,
            steps: 0,
            rounded: false,
        }
    }

    /// Largest difference of a parameter.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        let layers = self.layers.iter().zip(&other.layers);
        let pairs = layers.flat_map(|(a, b)| a.0.iter().zip(&b.0).chain(a.1.iter().zip(&b.1)));
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    fn input(images: &Images, index: u32, scale: f64) -> Vec<f64> {
        let mut x = vec![0.0; images.width()];
        for lit in images.image(index as usize) {
            x[usize::from(lit.index)] = f64::from(lit.value) * scale;
        }
        x
    }

    /// Pre-activations and activations of every layer.
    fn forward(&self, x: &[f64]) -> Vec<(Vec<f64>, Vec<f64>)> {
        let mut passed: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for (w, b, phi) in &self.layers {
            let h = passed.last().map_or(x, |(_, h)| h);
            let units = b.len();
            let z: Vec<f64> = (0..units)
                .map(|u| {
                    b[u] + h.iter().enumerate().map(|(i, h)| h * w[i * units + u]).sum::<f64>()
                })
                .collect();
            let h = z.iter().map(|z| phi.value(*z)).collect();
            passed.push((z, h));
        }
        passed
    }

    fn loss_of(&self, out: &[f64], label: usize) -> f64 {
        match self.loss {
            Loss::CrossEntropy => out.iter().map(|z| z.exp()).sum::<f64>().ln() - out[label],
            Loss::SquaredError => {
                let target = |k| f64::from(u8::from(k == label));
                out.iter().enumerate().map(|(k, z)| (z - target(k)).powi(2)).sum::<f64>() / 2.0
            }
        }
    }

    /// Mean loss over all the images.
    pub(crate) fn mean_loss(&self, images: &Images, scale: f64) -> f64 {
        let total: f64 = (0..images.len() as u32)
            .map(|i| {
                let passed = self.forward(&Self::input(images, i, scale));
                let out = &passed[passed.len() - 1].1;
                self.loss_of(out, usize::from(images.labels()[i as usize]))
            })
            .sum();
        total / images.len() as f64
    }

    /// Gradients of the batch's mean loss, layer by layer: weights, biases.
    pub(crate) fn gradients(
        &self,
        images: &Images,
        batch: &[u32],
        scale: f64,
    ) -> Vec<(Vec<f64>, Vec<f64>)> {
        let mut sums: Vec<_> =
            self.layers.iter().map(|(w, b, _)| (vec![0.0; w.len()], vec![0.0; b.len()])).collect();
        for &index in batch {
            let x = Self::input(images, index, scale);
            let label = usize::from(images.labels()[index as usize]);
            let passed = self.forward(&x);
            let out = &passed[passed.len() - 1].1;
            let mut upper: Vec<f64> = match self.loss {
                Loss::CrossEntropy => {
                    let total: f64 = out.iter().map(|z| z.exp()).sum();
                    out.iter().map(|z| z.exp() / total).collect()
                }
                Loss::SquaredError => out.clone(),
            };
            upper[label] -= 1.0;
            for layer in (0..self.layers.len()).rev() {
                let (w, b, phi) = &self.layers[layer];
                let units = b.len();
                let delta: Vec<f64> = upper
                    .iter()
                    .zip(&passed[layer].0)
                    .map(|(g, z)| g * phi.derivative(*z))
                    .collect();
                let below = if layer == 0 { &x } else { &passed[layer - 1].1 };
                for (i, h) in below.iter().enumerate() {
                    for u in 0..units {
                        sums[layer].0[i * units + u] += h * delta[u] / batch.len() as f64;
                    }
                }
                for u in 0..units {
                    sums[layer].1[u] += delta[u] / batch.len() as f64;
                }
                upper = (0..below.len())
                    .map(|i| (0..units).map(|u| w[i * units + u] * delta[u]).sum())
                    .collect();
            }
        }
        sums
    }

    pub(crate) fn step(
        &mut self,
        images: &Images,
        batch: &[u32],
        scale: f64,
        optimizer: Optimizer,
    ) {
        let gradients = self.gradients(images, batch, scale);
        self.steps += 1;
        let (t, rounded) = (self.steps, self.rounded);
        let round = |x: f64| if rounded { f64::from(x as f32) } else { x };
        let one = |w: &mut f64, m: &mut f64, v: &mut f64, g: f64| {
            update(optimizer, t, w, m, v, g);
            (*w, *m, *v) = (round(*w), round(*m), round(*v));
        };
        for (layer, (grad_w, grad_b)) in gradients.iter().enumerate() {
            let (w, b, _) = &mut self.layers[layer];
            let ((first_w, first_b), (second_w, second_b)) =
                (&mut self.first[layer], &mut self.second[layer]);
            for i in 0..w.len() {
                one(&mut w[i], &mut first_w[i], &mut second_w[i], grad_w[i]);
            }
            for i in 0..b.len() {
                one(&mut b[i], &mut first_b[i], &mut second_b[i], grad_b[i]);
            }
        }
    }
}

/// One parameter's step `t`.
pub(crate) fn update(optimizer: Optimizer, t: i32, w: &mut f64, m: &mut f64, v: &mut f64, g: f64) {
    match optimizer {
        Optimizer::Sgd { rate } => *w -= rate * g,
        Optimizer::Momentum { rate, momentum, nesterov } => {
            *m = momentum * *m - rate * g;
            *w += if nesterov { momentum * *m - rate * g } else { *m };
        }
        Optimizer::RmsProp { rate, decay, epsilon } => {
            *v = decay * *v + (1.0 - decay) * g * g;
            *w -= rate * g / (*v + epsilon).sqrt();
        }
        Optimizer::Adam { rate, beta1, beta2, epsilon, weight_decay } => {
            *w -= rate * weight_decay * *w;
            *m += (g - *m) * (1.0 - beta1);
            *v += (g * g - *v) * (1.0 - beta2);
            let alpha = rate * (1.0 - beta2.powi(t)).sqrt() / (1.0 - beta1.powi(t));
            *w -= *m * alpha / (v.sqrt() + epsilon);
        }
    }
}
