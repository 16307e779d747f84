//! Integration tests of gainstage, one binary.

mod agreement; // theory against simulation, for what no claim asks
mod architecture; // the dependency invariants
mod audit; // weight files that frameworks wrote, right and wrong
mod cli; // the commands of the README, and wrong input
mod damaged; // damaged files, one sentence each
mod determinism; // the same bits on 1, 2 and 7 threads
mod methods; // which draws propagate makes, and what it says about it
mod propagation; // variance preserved, forward and backward, with twins that must fail
mod report; // the written report, whole or not at all
mod sweeps; // shards, kills and one run end with the same bytes
mod training; // the notebook's protocol on images
mod weights; // the weights of a file, forward and backward as in PyTorch
