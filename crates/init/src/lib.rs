//! Every standard weight initializer as a declared law and a keyed, reproducible sampler.
