//! The dependency invariants of ARCHITECTURE.md, read from the manifests.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .exec()
        .expect("cargo metadata runs where cargo test runs")
}

/// Names of everything that a crate links, directly or not, test dependencies aside.
fn reach(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let start = metadata.packages.iter().find(|p| p.name == name).expect(name);
    let mut open = vec![&start.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|n| &n.id == id).expect("every package has a node");
        for dependency in &node.deps {
            let links = dependency.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal);
            if links && seen.insert(metadata[&dependency.pkg].name.to_string()) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen
}

fn ours(names: &BTreeSet<String>) -> Vec<&str> {
    names.iter().map(String::as_str).filter(|n| n.starts_with("gainstage")).collect()
}

#[test]
fn theory_and_simulate_share_nothing_but_the_description() {
    let metadata = metadata();
    assert_eq!(ours(&reach(&metadata, "gainstage-theory")), ["gainstage-spec"]);
    assert!(!reach(&metadata, "gainstage-simulate").contains("gainstage-theory"));
    // The check can fail: claims does join the two.
    let claims = reach(&metadata, "gainstage-claims");
    assert!(claims.contains("gainstage-theory") && claims.contains("gainstage-simulate"));
}

#[test]
fn leaves_depend_on_none_of_ours() {
    let metadata = metadata();
    for name in ["gainstage-spec", "gainstage-stats", "gainstage-data", "gainstage-report"] {
        assert!(ours(&reach(&metadata, name)).is_empty(), "{name}");
    }
}

#[test]
fn report_knows_no_randomness_and_no_matrices() {
    let reach = reach(&metadata(), "gainstage-report");
    assert!(!reach.contains("rand") && !reach.contains("nalgebra"), "{reach:?}");
    assert!(reach.contains("plotters"));
}

#[test]
fn only_report_knows_plotters() {
    let metadata = metadata();
    let root = metadata.packages.iter().filter(|p| p.name.starts_with("gainstage"));
    for package in root {
        let direct = package.dependencies.iter().any(|d| d.name == "plotters");
        assert_eq!(direct, package.name == "gainstage-report", "{}", package.name);
    }
}

#[test]
fn there_is_one_version_of_rand() {
    let metadata = metadata();
    let versions: Vec<_> =
        metadata.packages.iter().filter(|p| p.name == "rand").map(|p| &p.version).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
}
