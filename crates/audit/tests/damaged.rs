//! Damaged files: no panic, no allocation beyond the file, one sentence. Two thousand of them always, a hundred
//! thousand by `cargo test --release -p gainstage-audit --test damaged -- --ignored`.
//!
//! The allocator of this test refuses nothing; it remembers the largest request of a thread, which a header's
//! claims must not set. It lies alone in its file because it counts for the whole program.
#![allow(unsafe_code)] // an allocator cannot be written without

mod common;

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;
use std::io::Write as _;
use std::path::Path;

use common::{Array, safetensors};
use gainstage_audit::{Checkpoint, Options, audit};
use gainstage_init::{Key, Purpose};
use rand::RngExt;

struct Largest;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every request is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        let _ = LARGEST.try_with(|l| l.set(l.get().max(memory.size())));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        // SAFETY: the pointer came from `alloc`, and so from the system.
        unsafe { System.dealloc(pointer, memory) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        let _ = LARGEST.try_with(|l| l.set(l.get().max(size)));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Largest = Largest;

/// Of the originals, those that are no archives.
const PLAIN: usize = 5;

fn npy(descriptor: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text =
        format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
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

fn originals() -> Vec<Vec<u8>> {
    let values = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
    let arrays = [
        Array::new("model.layers.0.weight", &[12, 10], values(120)),
        Array::new("model.layers.0.bias", &[12], values(12)),
        Array::new("model.layers.1.weight", &[3, 4, 2, 2], values(48)),
        Array::new("scalar", &[], values(1)),
    ];
    let bytes: Vec<u8> = values(60).iter().flat_map(|x| x.to_le_bytes()).collect();
    let plain = npy("<f4", "False", "(6, 10)", &bytes);
    let fortran = npy("<f4", "True", "(10, 6)", &bytes);
    let members = [("a/kernel.npy", plain.clone()), ("b/kernel.npy", fortran.clone())];
    vec![
        safetensors(&arrays, "F32"),
        safetensors(&arrays, "BF16"),
        safetensors(&arrays, "F8_E4M3"),
        plain,
        fortran,
        npz(&members, false),
        npz(&members, true),
    ]
}

/// A bit, a byte, a digit, a cut, a copy of a part, or a number that claims too much.
fn mutate(file: &mut Vec<u8>, rng: &mut impl rand::Rng) {
    for _ in 0..rng.random_range(1..4) {
        let header = file.len().min(400);
        let at = rng.random_range(0..header.max(1)).min(file.len().saturating_sub(1));
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
                // Little-endian lengths live at the front and, of an archive, at the end.
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

#[test]
fn damaged_files_are_told_in_one_sentence() {
    damage(2_000, 3);
}

#[test]
#[ignore = "two minutes in a release build"]
fn a_hundred_thousand_damaged_files_are_told_in_one_sentence() {
    damage(100_000, 4);
}

fn damage(mutants: usize, seed: u64) {
    let originals = originals();
    for original in &originals {
        let checkpoint =
            Checkpoint::from_bytes(Path::new("right"), original.clone()).expect("a right file");
        audit(&checkpoint, &Options::default()).expect("an audit");
    }
    let mut rng = Key::new(seed, Purpose::Application, 0, 0).stream();
    let (mut refused, mut read) = (0, 0);
    for index in 0..mutants {
        let mut file = originals[index % originals.len()].clone();
        mutate(&mut file, &mut rng);
        let size = file.len();
        LARGEST.set(0);
        let opened = Checkpoint::from_bytes(Path::new("mutant"), file.clone());
        let largest = LARGEST.get();
        // Lists start with room for a few entries, sentences quote names, and an inflater's window and
        // buffers are of fixed size.
        let fixed = if index % originals.len() < PLAIN { 4 << 10 } else { 128 << 10 };
        assert!(largest <= size.max(fixed), "{largest} bytes for a file of {size}: {file:?}");
        match opened {
            Err(error) => {
                let said = error.to_string();
                assert!(!said.contains('\n') && said.len() < 600, "{said:?}");
                assert!(said.contains("mutant"), "{said}");
                refused += 1;
            }
            Ok(checkpoint) => {
                let ending = audit(&checkpoint, &Options::default());
                if let Err(error) = ending {
                    assert!(error.to_string().contains("damaged"), "{error}");
                    refused += 1;
                } else {
                    read += 1;
                }
            }
        }
    }
    // The twin: damage that is refused, and changes that leave a right file.
    assert!(refused > mutants / 4 && read > mutants / 20, "{refused} refused, {read} read");
}
