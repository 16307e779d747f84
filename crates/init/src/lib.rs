//! Every standard weight initializer: a declared law, and a sampler that fills a slice from a keyed
//! stream.
//!
//! The crate knows no framework. An initializer is data ([`gainstage_spec::Initializer`]), its law
//! (mean, variance, kurtosis, support, cdf) is declared there, and [`fill`] draws from it. Streams are
//! counter-based (Philox, Salmon et al. 2011) and keyed by meaning: a [`Key`] is (seed, purpose, trial,
//! layer), so weights, biases and inputs never share a stream, any layer can be drawn again without
//! the others, and nothing depends on threads or on the order of calls. The f32 draws use no operation
//! that differs between processors: the same key gives the same bits everywhere.
//!
//! ```
//! use gainstage_init::{Key, Purpose, fill};
//! use gainstage_spec::{Initializer, Layout, WeightShape};
//!
//! let shape = WeightShape::dense(784, 128)?;
//! let key = Key::new(42, Purpose::Weights, 0, 0);
//! let mut torch = vec![0.0f32; shape.elements()];
//! fill(&Initializer::he_normal(), &shape, Layout::OutIn, key, &mut torch)?;
//! let second_moment = torch.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / torch.len() as f64;
//! // 100,352 draws know their second moment to 0.45% (one standard error).
//! assert!((second_moment * 784.0 / 2.0 - 1.0).abs() < 5.0 * 0.0045);
//!
//! // Keras stores the transposed array; the matrix is the same.
//! let mut keras = vec![0.0f32; shape.elements()];
//! fill(&Initializer::he_normal(), &shape, Layout::InOut, key, &mut keras)?;
//! assert_eq!(torch[5 * 784 + 7], keras[7 * 128 + 5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod bulk;
mod bulk64;
#[cfg(test)]
mod conformance;
mod draw;
mod error;
mod fill;
mod key;
mod orthogonal;
mod philox;
mod sampler;
mod structured;

pub use bulk::{fill_normal, fill_uniform};
pub use bulk64::{fill_normal_f64, fill_uniform_f64};
pub use draw::{fill_block, fill_block_f64};
pub use error::InitError;
pub use fill::{fill, fill_bias, fill_bias_f64, fill_f64};
pub use key::{Key, Purpose, Stream};
pub use sampler::Sampler;
