use std::time::Instant;

use crate::claim::{Claim, Outcome, Record};
use crate::{
    ClaimError, Lab, autoencoders, biases, blocks, breaking, choice, choosing, clipping,
    conformance, convergence, cost, coverage, data_scale, deep, depth_scales, dropout, exact,
    finite_width, frameworks, frozen, gains, generalization, glorot, glorot_table, he, heads,
    layer_jacobians, mean_field, mitigations, notebook, overfitting, regularizers, rust_frameworks,
    saddle, saturation, spectra, structure, symmetry, trainability, vanishing, variants,
    versus_xavier, xavier,
};

/// All claims, in the order in which the report tells them.
pub fn ledger() -> Vec<&'static Claim> {
    let families: [&'static [Claim]; 42] = [
        &symmetry::CLAIMS,
        &frozen::CLAIMS,
        &breaking::CLAIMS,
        &heads::CLAIMS,
        &blocks::CLAIMS,
        &autoencoders::CLAIMS,
        &vanishing::CLAIMS,
        &conformance::CLAIMS,
        &biases::CLAIMS,
        &saturation::CLAIMS,
        &xavier::CLAIMS,
        &glorot::CLAIMS,
        &layer_jacobians::CLAIMS,
        &glorot_table::CLAIMS,
        &he::CLAIMS,
        &versus_xavier::CLAIMS,
        &variants::CLAIMS,
        &gains::CLAIMS,
        &deep::CLAIMS,
        &mean_field::CLAIMS,
        &depth_scales::CLAIMS,
        &dropout::CLAIMS,
        &finite_width::CLAIMS,
        &coverage::CLAIMS,
        &exact::CLAIMS,
        &spectra::CLAIMS,
        &structure::CLAIMS,
        &trainability::CLAIMS,
        &convergence::CLAIMS,
        &saddle::CLAIMS,
        &generalization::CLAIMS,
        &overfitting::CLAIMS,
        &mitigations::CLAIMS,
        &clipping::CLAIMS,
        &regularizers::CLAIMS,
        &frameworks::CLAIMS,
        &rust_frameworks::CLAIMS,
        &notebook::CLAIMS,
        &choosing::CLAIMS,
        &choice::CLAIMS,
        &data_scale::CLAIMS,
        &cost::CLAIMS,
    ];
    families.into_iter().flatten().collect()
}

/// The claim with this code, in capitals or not.
///
/// # Errors
/// [`ClaimError::Unknown`] with the codes that exist.
pub fn find(code: &str) -> Result<&'static Claim, ClaimError> {
    ledger().into_iter().find(|c| c.code.eq_ignore_ascii_case(code.trim())).ok_or_else(|| {
        let known: Vec<&str> = ledger().iter().map(|c| c.code).collect();
        ClaimError::Unknown { code: code.trim().to_owned(), known: known.join(", ") }
    })
}

/// Runs one claim's experiment.
///
/// # Errors
/// [`ClaimError`] if the experiment cannot be made; a contradicted statement is a result.
pub fn run(claim: &'static Claim, lab: &Lab) -> Result<(Record, Outcome), ClaimError> {
    let started = Instant::now();
    let lab = Lab { code: claim.code, ..lab.clone() };
    let outcome = (claim.run)(&lab)?;
    let record = Record {
        code: claim.code.to_owned(),
        verdict: outcome.verdict,
        expected: claim.expected,
        statement: claim.statement.to_owned(),
        sentence: outcome.sentence.clone(),
        findings: outcome.findings.clone(),
        experiment: outcome.experiment.clone(),
        seed: lab.seed,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok((record, outcome))
}
