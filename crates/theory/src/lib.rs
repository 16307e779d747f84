//! Predictions without sampling: Gaussian moments, maps, fixed points, finite-width laws.
