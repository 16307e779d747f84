//! The ledger: statements about initialization, each with its prediction, experiment, test and verdict.
