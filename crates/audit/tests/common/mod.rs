//! Checkpoints written by hand, for tests.
#![allow(dead_code)] // every test file uses its part

use std::path::Path;

use gainstage_audit::{Audit, Checkpoint, Options, audit};
use gainstage_init::{Key, Purpose, fill};
use gainstage_spec::{Initializer, Layout, WeightShape};

/// A tensor to be written.
pub(crate) struct Array {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Array {
    pub(crate) fn new(name: &str, shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { name: name.to_owned(), shape: shape.to_vec(), values }
    }

    /// Drawn by the project's own sampler; `layer` keeps streams apart.
    pub(crate) fn draw(
        name: &str,
        law: &str,
        shape: &WeightShape,
        layout: Layout,
        seed: u64,
        layer: u32,
    ) -> Self {
        let initializer: Initializer = law.parse().expect("a known initializer");
        let mut values = vec![0.0; shape.elements()];
        let key = Key::new(seed, Purpose::Weights, 0, layer);
        fill(&initializer, shape, layout, key, &mut values).expect("a shape of the initializer");
        Self::new(name, &shape.axes(layout), values)
    }
}

/// The file of a list of tensors in one type.
pub(crate) fn safetensors(arrays: &[Array], dtype: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let mut entries = Vec::new();
    for array in arrays {
        let start = data.len();
        for &x in &array.values {
            encode(dtype, x, &mut data);
        }
        entries.push(format!(
            "{:?}:{{\"dtype\":\"{dtype}\",\"shape\":{:?},\"data_offsets\":[{start},{}]}}",
            array.name,
            array.shape,
            data.len()
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn encode(dtype: &str, x: f32, out: &mut Vec<u8>) {
    match dtype {
        "F64" => out.extend(f64::from(x).to_le_bytes()),
        "F32" => out.extend(x.to_le_bytes()),
        "F16" => out.extend(half::f16::from_f32(x).to_le_bytes()),
        "BF16" => out.extend(half::bf16::from_f32(x).to_le_bytes()),
        "F8_E4M3" => out.push(small(x, 4, 3)),
        "F8_E5M2" => out.push(small(x, 5, 2)),
        other => panic!("no encoder for {other}"),
    }
}

/// Rounds to nearest, ties to even, in a format without the need for infinities here.
fn small(x: f32, exponent: i32, fraction: i32) -> u8 {
    let bias = (1 << (exponent - 1)) - 1;
    let sign = if x < 0.0 { 0x80 } else { 0 };
    let magnitude = f64::from(x.abs());
    if magnitude == 0.0 {
        return sign;
    }
    let e = (magnitude.log2().floor() as i32).max(1 - bias);
    let steps = (magnitude / f64::from(e - fraction).exp2()).round_ties_even() as i32;
    // One code after another: a carry out of the fraction enters the exponent by itself.
    let code = ((e + bias - 1) << fraction) + steps;
    sign | code as u8
}

pub(crate) fn open(file: Vec<u8>) -> Checkpoint {
    Checkpoint::from_bytes(Path::new("test.safetensors"), file).expect("a right file")
}

pub(crate) fn report(arrays: &[Array], dtype: &str) -> Audit {
    audit(&open(safetensors(arrays, dtype)), &Options::default()).expect("an audit")
}
