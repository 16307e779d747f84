//! Random networks, forward and backward: what initialization does to signal and gradient.

mod product;

pub use product::{Matrix, Real, add_product, product};
