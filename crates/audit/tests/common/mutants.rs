//! Small right files of every format, and changes to them: for the tests of damaged files, of the library and of
//! the program.

use std::io::Write as _;

use gainstage_init::{Key, Purpose};
use rand::RngExt;

/// A right file.
pub(crate) struct Original {
    pub(crate) extension: &'static str,
    pub(crate) bytes: Vec<u8>,
}

fn floats(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (i as f32 * 0.37).sin().to_le_bytes()).collect()
}

/// The upper half of a binary32 is a bfloat16.
fn bfloats(n: usize) -> Vec<u8> {
    floats(n).chunks_exact(4).flat_map(|x| [x[2], x[3]]).collect()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 37 % 120) as u8).collect()
}

fn safetensors(arrays: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut entries = vec!["\"__metadata__\":{\"format\":\"pt\"}".to_owned()];
    for (name, dtype, shape, values) in arrays {
        let start = data.len();
        data.extend_from_slice(values);
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{}]}}",
            data.len()
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn npy(version: u8, descriptor: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text =
        format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY".to_vec();
    file.extend([version, 0]);
    let length = (text.len() as u32).to_le_bytes();
    file.extend(if version == 1 { &length[..2] } else { &length });
    file.extend(text.as_bytes());
    file.extend(data);
    file
}

/// An archive as numpy writes it, stored or deflated.
fn npz(arrays: &[(&str, Vec<u8>)], deflate: bool) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, array) in arrays {
        let mut crc = flate2::Crc::new();
        crc.update(array);
        let stored = if deflate {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(array).expect("memory does not fail");
            encoder.finish().expect("memory does not fail")
        } else {
            array.clone()
        };
        let start = file.len() as u32;
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(0u16.to_le_bytes());
        common.extend(if deflate { 8u16 } else { 0 }.to_le_bytes());
        common.extend([0; 4]);
        common.extend(crc.sum().to_le_bytes());
        common.extend((stored.len() as u32).to_le_bytes());
        common.extend((array.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(&stored);
        directory.extend(b"PK\x01\x02");
        directory.extend(20u16.to_le_bytes());
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06");
    file.extend([0; 4]);
    file.extend((arrays.len() as u16).to_le_bytes());
    file.extend((arrays.len() as u16).to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// Right files: weights of several types and shapes, labels beside them, every order of bytes and axes.
pub(crate) fn originals() -> Vec<Original> {
    let model = |dtype, of: fn(usize) -> Vec<u8>| {
        safetensors(&[
            ("model.layers.0.weight", dtype, &[12, 10], of(120)),
            ("model.layers.0.bias", dtype, &[12], of(12)),
            ("model.layers.1.weight", dtype, &[3, 4, 2, 2], of(48)),
            ("steps", "I64", &[], vec![0; 8]),
            ("scalar", dtype, &[], of(1)),
        ])
    };
    let plain = npy(1, "<f4", "False", "(6, 10)", &floats(60));
    let fortran = npy(2, "<f4", "True", "(10, 6)", &floats(60));
    let big = npy(3, ">f2", "False", "(4, 5)", &bytes(40));
    let labels = npy(1, "<i8", "False", "(6,)", &[0; 48]);
    let names = npy(1, "|S3", "False", "(6,)", &[b'a'; 18]);
    let members = [
        ("a/kernel.npy", plain.clone()),
        ("b/kernel.npy", fortran.clone()),
        ("y.npy", labels.clone()),
        ("names.npy", names),
    ];
    let of = |extension, bytes| Original { extension, bytes };
    vec![
        of("safetensors", model("F32", floats)),
        of("safetensors", model("BF16", bfloats)),
        of("safetensors", model("F8_E4M3", bytes)),
        of("npy", plain),
        of("npy", fortran),
        of("npy", big),
        of("npy", labels),
        of("npz", npz(&members, false)),
        of("npz", npz(&members, true)),
    ]
}

/// Mutants of all originals in turn.
pub(crate) fn mutants(
    originals: &[Original],
    count: usize,
    seed: u64,
) -> impl Iterator<Item = (&Original, Vec<u8>)> {
    let mut rng = Key::new(seed, Purpose::Application, 0, 0).stream();
    (0..count).map(move |index| {
        let original = &originals[index % originals.len()];
        let mut file = original.bytes.clone();
        mutate(&mut file, &mut rng);
        (original, file)
    })
}

/// One to three of: a bit, a byte, a digit, a cut, a copy of a part, or a number that claims too much.
fn mutate(file: &mut Vec<u8>, rng: &mut impl rand::Rng) {
    for _ in 0..rng.random_range(1..4) {
        let header = file.len().min(400);
        // Headers lie at the front, an archive's directory at the end.
        let within = rng.random_range(0..header.max(1)).min(file.len().saturating_sub(1));
        let from_end = rng.random_range(0..4) == 0;
        let at = if from_end { (file.len() - within).saturating_sub(1) } else { within };
        match rng.random_range(0..9) {
            _ if file.is_empty() => return,
            0 => file[at] ^= 1 << rng.random_range(0..8),
            1 => file[at] = rng.random(),
            2 => file.truncate(at),
            3 => {
                let length = rng.random_range(0..64).min(file.len() - at);
                let part = file[at..at + length].to_vec();
                let to = rng.random_range(0..file.len());
                file.splice(to..to, part);
            }
            4 => {
                let length = rng.random_range(0..64).min(file.len() - at);
                file.drain(at..at + length);
            }
            5 => {
                let to = if rng.random() { at } else { rng.random_range(0..file.len()) };
                let claim: u64 =
                    [u64::MAX, 1 << 62, 1 << 40, 0xffff_ffff, 0][rng.random_range(0..5)];
                file.iter_mut().skip(to).zip(claim.to_le_bytes()).for_each(|(b, c)| *b = c);
            }
            6 | 7 => {
                let digits: Vec<usize> =
                    (0..header).filter(|i| file.get(*i).is_some_and(u8::is_ascii_digit)).collect();
                if let Some(&digit) = digits.get(rng.random_range(0..digits.len().max(1))) {
                    let text: &[u8] = [
                        &b"99999999999999"[..],
                        b"0",
                        b"-1",
                        b"1e9",
                        b"18446744073709551615",
                        b"7",
                    ][rng.random_range(0..6)];
                    file.splice(digit..=digit, text.iter().copied());
                }
            }
            _ => {
                let text: &[u8] = [&b"\""[..], b"{", b"[", b"}", b"\\u0000", b"\xff", b"NaN", b","]
                    [rng.random_range(0..8)];
                file.splice(at..at, text.iter().copied());
            }
        }
    }
}
