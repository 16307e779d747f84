//! Image data: IDX files, MNIST by download, and synthetic digits drawn by the program.
//!
//! ```
//! use gainstage_data::{Source, load};
//! let data = load(&Source::Synthetic, &mut |_| ())?;
//! assert_eq!((data.train.len(), data.test.len(), data.classes), (60_000, 10_000, 10));
//! // As in MNIST, the commonest digit of the test images is 1: 1135 of 10,000.
//! assert_eq!(data.test.class_counts(10)[1], 1135);
//! # Ok::<(), gainstage_data::DataError>(())
//! ```

mod dataset;
mod error;
mod fetch;
mod folder;
mod idx;
mod source;
mod strokes;
mod synthetic;

pub use dataset::{Dataset, Scaling, Split};
pub use error::DataError;
pub use fetch::{Published, cache_folder, fetch, fetch_from};
pub use folder::{read_folder, write_folder};
pub use source::{Entry, Source, list, load};
