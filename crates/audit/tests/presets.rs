//! The presets on models that the libraries themselves initialized (`fixtures/presets/write.py`): nothing to
//! find, and a planted change of depth or law is found.

use std::path::{Path, PathBuf};

use gainstage_audit::{Audit, Checkpoint, Options, Rules, audit};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/presets/{name}.safetensors"))
}

fn against(name: &str, rules: Rules, layers: Option<usize>) -> Audit {
    let checkpoint = Checkpoint::open(&fixture(name)).expect("a right file");
    let options = Options { rules: Some(rules), layers, ..Options::default() };
    audit(&checkpoint, &options).expect("an audit")
}

fn preset(name: &str) -> Rules {
    Rules::load(Path::new(name)).expect("a preset")
}

const MODELS: [&str; 7] = ["gpt2", "llama", "bert", "vit", "vit-timm", "vit-torchvision", "resnet"];

#[test]
fn models_of_the_libraries_start_as_the_presets_say() {
    for name in MODELS {
        let audit = against(name, preset(name), None);
        assert!(!audit.has_findings(), "{name}: {}", audit.summary());
        assert_eq!(audit.counts.warnings, 0, "{name}: {}", audit.summary());
        assert_eq!(audit.step_zero.likely, Some(true), "{name}");
    }
}

#[test]
fn without_rules_they_raise_no_alarm_either() {
    for name in MODELS {
        let checkpoint = Checkpoint::open(&fixture(name)).expect("a right file");
        let audit = audit(&checkpoint, &Options::default()).expect("an audit");
        assert!(!audit.has_findings(), "{name}: {}", audit.summary());
    }
}

#[test]
fn another_depth_is_told_by_its_factor() {
    // Four times the blocks: every residual projection is twice as large as it should be.
    let audit = against("gpt2", preset("gpt2"), Some(8));
    let wrong: Vec<_> = audit.tensors.iter().filter(|t| t.factor.is_some()).collect();
    assert_eq!(wrong.len(), 4, "{}", audit.summary());
    assert!(wrong.iter().all(|t| t.name.ends_with("c_proj.weight")));
    assert!(wrong.iter().all(|t| t.factor.as_deref() == Some("2")), "{}", audit.summary());
}

#[test]
fn what_a_library_does_beyond_its_paper_is_told() {
    // torchvision's attention goes out by nn.Linear's default, while everything around it is Xavier's.
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/vit-torchvision.toml"),
    )
    .expect("reads");
    let meant = text.replace("law = \"pytorch_linear\"", "law = \"glorot_uniform\"");
    let audit =
        against("vit-torchvision", Rules::parse("all Xavier", &meant).expect("rules"), None);
    let wrong: Vec<_> = audit.tensors.iter().filter(|t| !t.findings.is_empty()).collect();
    assert_eq!(wrong.len(), 2, "{}", audit.summary());
    assert!(wrong.iter().all(|t| t.name.ends_with("out_proj.weight")), "{}", audit.summary());
}
