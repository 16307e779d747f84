//! Damaged files: no panic, no allocation beyond the file, one sentence. Two thousand of them always, a hundred
//! thousand by `cargo test --release -p gainstage-audit --test damaged -- --ignored`.
//!
//! The allocator of this test refuses nothing; it counts what is held and remembers the most, which a header's
//! claims must not set. It counts the whole program, so that one test runs at a time.
#![allow(unsafe_code)] // an allocator cannot be written without
#![allow(clippy::print_stdout)] // the long test says what was held

#[path = "common/mutants.rs"]
mod mutants;

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use gainstage_audit::{Checkpoint, Options, audit};
use mutants::{Original, mutants, originals};

struct Counting;

/// Bytes that are held, and the most that were since [`most_held`] last began.
static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(held, Relaxed);
}

// SAFETY: every request is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        count(memory.size() as isize);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        count(-(memory.size() as isize));
        // SAFETY: the pointer came from `alloc`, and so from the system.
        unsafe { System.dealloc(pointer, memory) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        // While it moves, both may be there.
        count(size as isize);
        count(-(memory.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a call gives, and the most bytes that it held beyond those that were held before.
fn most_held<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let given = call();
    (given, (MOST.load(Relaxed) - before).max(0) as usize)
}

/// A file of this size may hold, opened, itself and as much again for its list of tensors. Beside it lie lists
/// with room for a few entries, sentences that quote names, and, of an archive, a window and buffers of fixed
/// size for inflating.
fn opened_bound(original: &Original, size: usize) -> usize {
    let fixed = if original.extension == "npz" { 128 << 10 } else { 24 << 10 };
    fixed + 2 * size
}

/// Measuring holds blocks of fixed size for each of its threads, and inflated arrays, which are bounded by the
/// file's size and deflate's ratio.
fn audit_bound(size: usize) -> usize {
    (4 << 20) + 16 * size
}

#[test]
fn the_allocator_counts() {
    let _alone = ONE_AT_A_TIME.lock();
    let (held, most) = most_held(|| vec![0u8; 1 << 20]);
    assert!(most >= held.len());
    let ((), most) = most_held(|| drop(vec![0u8; 1 << 22]));
    assert!(most >= 1 << 22, "{most}");
}

#[test]
fn damaged_files_are_told_in_one_sentence() {
    damage(2_000, 3);
}

#[test]
#[ignore = "half a minute in a release build"]
fn a_hundred_thousand_damaged_files_are_told_in_one_sentence() {
    damage(100_000, 4);
}

fn damage(count: usize, seed: u64) {
    let _alone = ONE_AT_A_TIME.lock();
    let originals = originals();
    for Original { bytes, .. } in &originals {
        let checkpoint =
            Checkpoint::from_bytes(Path::new("right"), bytes.clone()).expect("a right file");
        audit(&checkpoint, &Options::default()).expect("an audit");
    }
    let (mut refused, mut read) = (0, 0);
    let (mut most_opened, mut most_audited) = (0, 0);
    for (original, file) in mutants(&originals, count, seed) {
        let size = file.len();
        let (opened, held) =
            most_held(|| Checkpoint::from_bytes(Path::new("mutant"), file.clone()));
        assert!(
            held <= opened_bound(original, size),
            "{held} bytes for a file of {size}: {file:?}"
        );
        most_opened = most_opened.max(held);
        let checkpoint = match opened {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                sentence(&error.to_string());
                refused += 1;
                continue;
            }
        };
        let (ending, held) = most_held(|| {
            for name in checkpoint.others().iter().map(|o| &o.name) {
                checkpoint.integers(name)?;
            }
            audit(&checkpoint, &Options::default())
        });
        assert!(held <= audit_bound(size), "{held} bytes for a file of {size}: {file:?}");
        most_audited = most_audited.max(held);
        match ending {
            Ok(_) => read += 1,
            Err(error) => {
                sentence(&error.to_string());
                assert!(error.to_string().contains("damaged"), "{error}");
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {read} read; held at most {most_opened} and {most_audited} bytes");
    // The twin: damage that is refused, and changes that leave a right file.
    assert!(refused > count / 4 && read > count / 20, "{refused} refused, {read} read");
}

/// One line of some length, which names the file.
fn sentence(said: &str) {
    assert!(!said.contains('\n') && said.len() < 600, "{said:?}");
    assert!(said.contains("mutant"), "{said}");
}
