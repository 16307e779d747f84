//! Loss curves from identical weights, data and order against those of PyTorch (fixtures/make.py).
//!
//! The curve in double precision is the truth; PyTorch's own curve in single precision shows how far
//! rounding leads from it. The trainer's curve rounds at other places, so it may lie sixteen times as
//! far, and never has to be closer than four units in the last place of the loss.

use gainstage_spec::Network;
use gainstage_train::{Data, Images, Loss, Model, Optimizer, Protocol, Training, Vectors};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    weights: Vec<Vec<Vec<f32>>>,
    biases: Vec<Vec<f32>>,
    pixels: Vec<Vec<u8>>,
    labels: Vec<u8>,
    vectors: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    order: Vec<Vec<u32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    activation: String,
    data: String,
    loss: Loss,
    optimizer: Optimizer,
    layers: serde_json::Value,
    curve64: Vec<f64>,
    curve32: Vec<f64>,
    evaluation64: f64,
    evaluation32: f64,
}

impl Case {
    fn name(&self) -> String {
        let Self { kind, activation, data, loss, optimizer, .. } = self;
        format!("{kind} {activation} {data} {loss:?} {optimizer:?}")
    }

    fn network(&self, inputs: usize) -> Network {
        let text = serde_json::json!({ "input": inputs, "layers": self.layers });
        serde_json::from_value(text).expect("a network")
    }
}

struct Prepared {
    fixture: Fixture,
    images: Images,
    vectors: Vectors,
}

impl Prepared {
    fn new() -> Self {
        let fixture: Fixture =
            serde_json::from_str(include_str!("fixtures/torch.json")).expect("the fixture");
        let width = fixture.pixels[0].len();
        let images = Images::new(&fixture.pixels.concat(), width, &fixture.labels, 3);
        let (vectors, values) = (fixture.vectors.concat(), fixture.values.concat());
        let vectors = Vectors::with_values(vectors, width, values, fixture.values[0].len());
        Self { images: images.expect("valid"), vectors: vectors.expect("valid"), fixture }
    }

    /// The loss of every step and the loss of the trained model on all data.
    fn train(&self, case: &Case, optimizer: Optimizer) -> (Vec<f64>, f64) {
        let network = case.network(self.images.width());
        let mut model = Model::new(&network, case.loss, 0).expect("draws zeros");
        for (layer, (w, b)) in self.fixture.weights.iter().zip(&self.fixture.biases).enumerate() {
            model.weights_mut(layer).copy_from_slice(&w.concat());
            model.bias_mut(layer).copy_from_slice(b);
        }
        let data: Data<'_> =
            if case.data == "images" { (&self.images).into() } else { (&self.vectors).into() };
        let protocol = Protocol { optimizer, loss: case.loss, ..Protocol::notebook() };
        let mut training = Training::new(model, data, &protocol, 0).expect("fits");
        let curve = self.fixture.order.iter().map(|batch| training.step(batch).0).collect();
        (curve, training.model().evaluate_on(data, protocol.scale).loss)
    }
}

/// Largest ratio of an error to what rounding explains.
fn excess(curve: &[f64], end: f64, case: &Case) -> f64 {
    let ulps = |loss: f64| 4.0 * f64::from(f32::EPSILON) * loss;
    let mut drift = 0.0f64;
    let mut worst = 0.0f64;
    for ((ours, exact), single) in curve.iter().zip(&case.curve64).zip(&case.curve32) {
        drift = drift.max((single - exact).abs());
        worst = worst.max((ours - exact).abs() / (16.0 * drift).max(ulps(*exact)));
    }
    let drift = drift.max((case.evaluation32 - case.evaluation64).abs());
    let exact = case.evaluation64;
    worst.max((end - exact).abs() / (16.0 * drift).max(ulps(exact)))
}

#[test]
fn loss_curves_are_those_of_pytorch_up_to_rounding() {
    let prepared = Prepared::new();
    assert_eq!(prepared.fixture.cases.len(), 104);
    for case in &prepared.fixture.cases {
        let (curve, end) = prepared.train(case, case.optimizer);
        let excess = excess(&curve, end, case);
        assert!(excess <= 1.0, "{}: {excess}", case.name());
    }
}

#[test]
fn a_learning_rate_off_by_a_thousandth_is_told_apart() {
    let prepared = Prepared::new();
    for case in &prepared.fixture.cases {
        let mut wrong = case.optimizer;
        *wrong.rate_mut() *= 1.001;
        let (curve, end) = prepared.train(case, wrong);
        let excess = excess(&curve, end, case);
        assert!(excess > 1.0, "{}: {excess}", case.name());
    }
}
