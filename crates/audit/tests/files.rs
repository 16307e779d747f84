//! One checkpoint in all its forms: one file, shards under an index, a folder, numpy.

mod common;

use std::fs;
use std::path::Path;

use common::{Array, safetensors};
use gainstage_audit::{AuditError, Checkpoint, Options, audit};
use gainstage_spec::{Layout, WeightShape};

fn arrays() -> Vec<Array> {
    (0..4)
        .map(|l| {
            let shape = WeightShape::dense(80, 60).expect("a shape");
            Array::draw(&format!("layers.{l}.weight"), "he_normal", &shape, Layout::OutIn, 2, l)
        })
        .collect()
}

fn npy(array: &Array, fortran: bool) -> Vec<u8> {
    let [rows, columns] = array.shape[..] else { panic!("a matrix") };
    let order = if fortran { "True" } else { "False" };
    let text =
        format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({rows}, {columns}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    let at = |i: usize| if fortran { (i % rows) * columns + i / rows } else { i };
    (0..rows * columns).for_each(|i| file.extend(array.values[at(i)].to_le_bytes()));
    file
}

/// Standard deviation and verdict of every tensor, which no form of storage may change.
fn seen(path: &Path) -> Vec<(String, String, Option<usize>)> {
    let report =
        audit(&Checkpoint::open(path).expect("opens"), &Options::default()).expect("an audit");
    assert!(!report.has_findings(), "{}", report.summary());
    report
        .tensors
        .iter()
        .map(|t| (t.name.clone(), format!("{:.12e}", t.std_measured.expect("a std")), t.fan_in))
        .collect()
}

#[test]
fn every_form_of_storage_holds_the_same_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, bytes).expect("writes");
        path
    };
    let one = write("one.safetensors", &safetensors(&arrays(), "F32"));
    let expected = seen(&one);
    assert_eq!(expected.len(), 4);

    write("shards/a.safetensors", &safetensors(&arrays()[..1], "F32"));
    write("shards/b.safetensors", &safetensors(&arrays()[1..], "F32"));
    let map: Vec<String> = (0..4)
        .map(|l| {
            format!("\"layers.{l}.weight\":\"{}.safetensors\"", if l == 0 { "a" } else { "b" })
        })
        .collect();
    let index = format!("{{\"metadata\":{{}},\"weight_map\":{{{}}}}}", map.join(","));
    let index = write("shards/model.safetensors.index.json", index.as_bytes());
    assert_eq!(seen(&index), expected);
    assert_eq!(seen(&dir.path().join("shards")), expected);

    for (form, fortran) in [("c", false), ("f", true)] {
        for array in arrays() {
            write(&format!("{form}/{}.npy", array.name), &npy(&array, fortran));
        }
        assert_eq!(seen(&dir.path().join(form)), expected, "{form}");
    }
}

#[test]
fn an_index_that_does_not_tell_the_truth_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("a.safetensors"), safetensors(&arrays()[..2], "F32"))
        .expect("writes");
    let index = dir.path().join("model.safetensors.index.json");
    for (map, said) in [
        (r#""layers.0.weight":"a.safetensors""#, "which it does not list"),
        (
            r#""layers.0.weight":"a.safetensors","layers.1.weight":"a.safetensors","x":"a.safetensors""#,
            "which is not there",
        ),
        (r#""layers.0.weight":"../a.safetensors""#, "outside its folder"),
        (r#""layers.0.weight":"/etc/passwd""#, "outside its folder"),
        (r#""layers.0.weight":"b.safetensors""#, "b.safetensors"),
    ] {
        fs::write(&index, format!("{{\"weight_map\":{{{map}}}}}")).expect("writes");
        let error = Checkpoint::open(&index).expect_err(map).to_string();
        assert!(error.contains(said), "{map}: {error}");
    }
    fs::write(&index, "[]").expect("writes");
    assert!(matches!(Checkpoint::open(&index), Err(AuditError::Kind { .. })));
}

#[test]
fn files_of_other_kinds_are_told_what_to_do() {
    for (bytes, said) in [
        (&b"\x89HDF\r\n\x1a\n"[..], "numpy.savez"),
        (b"GGUF\x03\x00\x00\x00", "quantised"),
        (b"\x80\x02}q\x00(X\x01\x00\x00\x00", "save_file"),
        (b"", "0 bytes"),
    ] {
        let error = Checkpoint::from_bytes(Path::new("model.bin"), bytes.to_vec()).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_single_array_is_held_against_the_size_of_its_file_whatever_its_type() {
    let file = |kind: &str, shape: &str, bytes: usize| {
        let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        file.resize(file.len() + bytes, 0);
        Checkpoint::from_bytes(Path::new("labels.npy"), file)
    };
    for (kind, width) in [("<i8", 8), ("<i4", 4), ("|u1", 1), ("<f4", 4), (">f8", 8)] {
        assert!(file(kind, "(7, 2)", 14 * width).is_ok(), "{kind}");
        for wrong in [14 * width - 1, 14 * width + 1, 0] {
            let said = file(kind, "(7, 2)", wrong).expect_err(kind).to_string();
            let needs = format!("[7, 2] needs {} bytes and {wrong} are there", 14 * width);
            assert!(said.contains("labels.npy") && said.contains(&needs), "{kind}: {said}");
        }
        let said = file(kind, "(4294967296, 2147483648)", 0).expect_err(kind).to_string();
        assert!(width == 1 || said.contains("more than 2^64"), "{kind}: {said}");
    }
    let labels = file("<i8", "(3,)", 24).expect("whole numbers");
    assert_eq!(labels.integers("labels").expect("read"), Some(vec![0; 3]));
    // A type of unknown width is told and not measured.
    assert_eq!(file("|S3", "(7,)", 5).expect("text").others().len(), 1);
}
