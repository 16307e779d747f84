//! Training of multi-layer perceptrons on images.
//!
//! [`fit`] reads a [`gainstage_spec::Network`], draws its weights from keyed streams and trains it by
//! mini-batches. The first layer uses that most pixels of such images are zero, which changes no
//! result; the others are matrix products. One model trains on one thread, and [`fit_many`] trains
//! many at once, so results do not depend on the number of threads.
//!
//! ```
//! use gainstage_spec::{Activation, Initializer, Network};
//! use gainstage_train::{Images, Protocol, fit};
//!
//! // Four images of two pixels, two classes.
//! let images = Images::new(&[255, 0, 250, 10, 0, 255, 5, 240], 2, &[0, 0, 1, 1], 2)?;
//! let network = Network::perceptron(&[2, 8, 2], &Initializer::he_normal(), &Activation::Relu)?;
//! let protocol = Protocol { epochs: 200, batch: 2, ..Protocol::notebook() };
//! let trained = fit(&network, &images, None, &protocol, 1, &|_| ())?;
//! assert_eq!(trained.model.evaluate(&images, 1.0 / 255.0).accuracy, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod checkpoint;
mod elementary;
mod error;
mod fit;
mod images;
mod kernel;
mod lines;
mod lists;
mod loss;
mod many;
mod model;
mod norm;
mod optimizer;
mod program;
mod protocol;
mod schedule;
mod step;
mod sweep;
mod tape;
#[cfg(test)]
mod tests;
mod training;
mod update;
mod vectors;
mod watch;

pub use error::TrainError;
pub use fit::{Diverged, Epoch, Fit, fit, fit_data, fit_from};
pub use images::Images;
pub use loss::{Evaluation, Loss};
pub use many::{Job, fit_many, fit_many_then};
pub use model::Model;
pub use optimizer::Optimizer;
pub use protocol::{Clip, Protocol, RateSchedule};
pub use sweep::{Sweep, SweepCell};
pub use training::Training;
pub use vectors::{Data, Vectors};
pub use watch::LayerTrace;
