//! Random networks, forward and backward: what initialization does to signal and gradient.
