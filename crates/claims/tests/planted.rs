//! Errors planted in the measured networks: a verdict that survives one proves nothing.

use std::sync::Arc;

use gainstage_claims::{Budget, Lab, Plant, Verdict, find, ledger, run};
use gainstage_data::{Dataset, Source, load};

/// These claims draw networks and look at no image.
fn lab() -> Lab {
    let data = load(&Source::Synthetic, &mut |_| ()).expect("draws");
    let small = Dataset { train: data.train.slice(0..60), test: data.test.slice(0..20), ..data };
    Lab::new(1, Budget::Quick, Arc::new(small), Arc::new(|_: &str| ()))
}

fn verdict(code: &str, lab: &Lab) -> (Verdict, String) {
    let (record, _) = run(find(code).expect(code), lab).expect(code);
    (record.verdict, record.sentence)
}

/// The verdict with the error is another than the one without.
fn assert_noticed(cases: &[(&str, Plant)]) {
    let lab = lab();
    for &(code, plant) in cases {
        let expected = find(code).expect(code).expected;
        let (planted, sentence) = verdict(code, &lab.clone().with_plant(plant));
        assert_ne!(planted, expected, "{code} survives {plant:?}: {sentence}");
    }
}

const GAIN: Plant = Plant::Gain(1.05);

#[test]
fn without_an_error_the_cheapest_claim_of_every_family_has_its_verdict() {
    let lab = lab();
    for code in ["MFT06", "HE08", "FOL02", "SAT01", "FIN01", "NRM01", "JAC01"] {
        let (found, sentence) = verdict(code, &lab);
        assert_eq!(found, find(code).expect(code).expected, "{code}: {sentence}");
    }
}

#[test]
fn a_gain_wrong_by_five_percent_is_noticed_by_the_maps_and_scales() {
    assert_noticed(&[("MFT01", GAIN), ("MFT02", GAIN), ("MFT03", GAIN)]);
}

#[test]
fn a_gain_wrong_by_five_percent_is_noticed_by_the_gains() {
    assert_noticed(&[("XAV06", GAIN), ("SLU01", GAIN), ("FOL02", GAIN), ("FOL03", GAIN)]);
}

#[test]
fn a_gain_wrong_by_five_percent_is_noticed_by_laws_and_spectra() {
    assert_noticed(&[
        ("XAV04", GAIN),
        ("HE04", GAIN),
        ("FIN01", GAIN),
        ("FIN02", GAIN),
        ("COV01", GAIN),
        ("RES01", GAIN),
        ("JAC01", GAIN),
        ("JAC02", GAIN),
    ]);
}

/// A tenth more variance moves a saturated share by a percent or two, inside SAT01's and SAT02's margins.
#[test]
fn wrong_gains_are_noticed_by_saturation() {
    assert_noticed(&[("SAT01", Plant::Gain(1.2)), ("SAT02", Plant::Gain(1.2)), ("SAT03", GAIN)]);
}

/// Where only directions count a gain goes unseen; a wrong activation and its derivative do not.
#[test]
fn a_leak_in_the_activation_is_noticed_where_scale_does_not_count() {
    assert_noticed(&[("MFT06", Plant::Leak(0.25)), ("NRM01", Plant::Leak(0.25))]);
    // The twin: these two are blind to the scale, by nature and not by luck.
    let lab = lab().with_plant(GAIN);
    assert_eq!(verdict("NRM01", &lab).0, Verdict::Supported);
}

#[test]
fn swapped_fans_are_noticed() {
    assert_noticed(&[("HE08", Plant::SwappedFans)]);
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
    }
}
