//! Errors planted in what is measured: a verdict that survives one proves nothing.

use std::sync::Arc;

use gainstage_claims::{
    Budget, Claim, Lab, Plant, Verdict, find, ledger, run, run_all, run_planted,
};
use gainstage_data::{Dataset, Source, load};

/// Claims whose experiment takes a second or two without optimisation. The others are tried by
/// `gainstage verify --planted` and by the ignored test below.
const CHEAP: [&str; 26] = [
    "SYM01", "SYM02", "SYM06", "VAN01", "VAN02", "SAT01", "SAT02", "SAT03", "XAV03", "XAV04",
    "XAV06", "XAV07", "FOL01", "HE02", "HE04", "HE08", "FOL02", "FOL03", "FOL04", "MFT01", "MFT02",
    "MFT03", "MFT06", "FIN01", "RES01", "NRM01",
];

/// Of these the verdict without an error is looked at too: one a family.
const CLEAN: [&str; 10] =
    ["SYM01", "VAN01", "SAT01", "XAV07", "HE08", "FOL02", "MFT06", "FIN01", "NRM01", "SYM06"];

/// Few images are enough for what the cheap claims train.
fn lab() -> Lab {
    let data = load(&Source::Synthetic, &mut |_| ()).expect("draws");
    let small =
        Dataset { train: data.train.slice(0..9000), test: data.test.slice(0..1000), ..data };
    Lab::new(1, Budget::Quick, Arc::new(small), Arc::new(|_: &str| ()))
}

fn claims(codes: &[&str]) -> Vec<&'static Claim> {
    codes.iter().map(|code| find(code).expect(code)).collect()
}

fn assert_noticed(claims: &[&'static Claim], lab: &Lab) {
    let tried = run_planted(claims, lab, 2, &|_| (), &|_| ()).expect("runs");
    assert!(tried.len() >= claims.len(), "every claim has an error to plant");
    let survivors: Vec<_> = tried.iter().filter(|p| !p.noticed).collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[test]
fn verdicts_without_an_error_are_the_expected_ones() {
    for run in run_all(&claims(&CLEAN), &lab(), 2, &|_| (), &|_| ()).expect("runs") {
        let (found, expected) = (run.record.verdict, run.record.expected);
        assert_eq!(found, expected, "{}: {}", run.record.code, run.record.sentence);
    }
}

#[test]
fn verdicts_do_not_survive_planted_errors() {
    assert_noticed(&claims(&CHEAP), &lab());
}

/// Minutes; the quick budget's own images.
#[test]
#[ignore = "minutes: cargo test --release -p gainstage-claims -- --ignored"]
fn no_verdict_of_the_ledger_survives_a_planted_error() {
    let data = load(&Source::Auto, &mut |_| ()).expect("images");
    let lab = Lab::new(1, Budget::Quick, Arc::new(data), Arc::new(|_: &str| ()));
    assert_noticed(&ledger(), &lab);
}

#[test]
fn some_errors_are_unseen_by_nature_and_contradictions_refute() {
    let lab = lab().with_plant(Plant::Gain(1.05));
    let verdict = |code: &str| run(find(code).expect(code), &lab).expect(code).0.verdict;
    // Normalization takes the scale away: a gain is no error there.
    assert_eq!(verdict("NRM01"), Verdict::Supported);
    // A contradicted equality is refuted, not merely unsupported.
    assert_eq!(verdict("XAV07"), Verdict::Refuted);
}

#[test]
fn codes_are_unique_and_every_claim_says_what_it_is() {
    let claims = ledger();
    let mut codes: Vec<&str> = claims.iter().map(|c| c.code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), claims.len());
    for claim in claims {
        for text in [claim.statement, claim.source, claim.prediction, claim.rule] {
            assert!(text.len() > 10, "{}", claim.code);
        }
        // A rule that cannot decide against the statement is none.
        assert!(claim.rule.contains("if"), "{}", claim.code);
        assert!(!claim.planted.is_empty(), "{} has no negative control", claim.code);
    }
}
