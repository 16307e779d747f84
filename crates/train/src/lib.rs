//! Training of multi-layer perceptrons at the speed of the processor.
