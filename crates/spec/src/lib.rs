//! The vocabulary of gainstage as data: activations, fans, layouts, initializers with their laws, networks.
