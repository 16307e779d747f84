//! The written report: complete, self-contained, drawn again from what is stored.

use std::sync::Arc;

use gainstage_claims::{Budget, Lab, Run, document, find, run};
use gainstage_data::{Dataset, Source, load};
use gainstage_report::Document;

#[test]
fn a_report_holds_every_claim_and_can_be_drawn_again() {
    let data = load(&Source::Synthetic, &mut |_| ()).expect("draws");
    let small = Dataset { train: data.train.slice(0..6000), test: data.test.slice(0..500), ..data };
    let lab = Lab::new(1, Budget::Quick, Arc::new(small), Arc::new(|_: &str| ()));
    let runs: Vec<Run> = ["SYM01", "XAV03"]
        .into_iter()
        .map(|code| {
            let claim = find(code).expect(code);
            let (record, outcome) = run(claim, &lab).expect(code);
            Run { claim, record, outcome }
        })
        .collect();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = document(&runs, None, vec![("seed".to_owned(), "1".to_owned())]);
    report.write_bundle(dir.path()).expect("writes");
    let page = std::fs::read_to_string(dir.path().join("index.html")).expect("reads");
    for wanted in [
        "SYM01",
        "XAV03",
        "What this does not show",
        "How to make this again",
        "<svg",
        "prefers-color-scheme",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for forbidden in ["src=\"http", "href=\"http", "@import", "NaN"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let again = Document::read(dir.path()).expect("reads");
    assert_eq!(again.to_html(), page);
    let svg = std::fs::read_to_string(dir.path().join("figures/XAV03-signal.svg")).expect("reads");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}
