//! One IDX file, plain or gzipped.
//!
//! The header promises sizes; nothing is allocated from the promise. Content is read up to one byte
//! more than the header announces, so that a short file, a long one and a decompression bomb are all
//! told by their length.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::DataError;

/// 2.7 million images of 28 x 28; a header that promises more is not believed.
const MOST_BYTES: u64 = 2 << 30;

/// Deflate codes at most 258 bytes in two bits (RFC 1951, 3.2.5), so no file expands further.
const MOST_EXPANSION: u64 = 1032;

/// The sizes and bytes of one file with the given number of dimensions.
///
/// Whether it is gzipped is told by its first two bytes, because browsers unpack files and keep the
/// `.gz` in their names.
pub(crate) fn read(path: &Path, dimensions: u8) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let failed = |e: std::io::Error| DataError::Io {
        action: "open",
        path: path.to_owned(),
        reason: format!("{e}; make it readable or point to another folder"),
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    parse(path, BufReader::new(file), length, dimensions)
}

fn parse(
    path: &Path,
    mut file: impl BufRead,
    length: u64,
    dimensions: u8,
) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let start = file.fill_buf().map_err(|e| broken_off(path, &e))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        let room = length.saturating_mul(MOST_EXPANSION);
        content(path, &mut MultiGzDecoder::new(file), room, dimensions)
    } else {
        content(path, &mut file, length, dimensions)
    }
}

/// `room` bounds what the file can hold, whatever its header promises.
fn content(
    path: &Path,
    reader: &mut impl Read,
    room: u64,
    dimensions: u8,
) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let wrong = |why: String| Err(DataError::format(path, why));
    let mut word = || -> Result<[u8; 4], DataError> {
        let mut bytes = [0u8; 4];
        reader.read_exact(&mut bytes).map_err(|e| broken_off(path, &e))?;
        Ok(bytes)
    };
    let magic = word()?;
    if magic[..2] != [0, 0] {
        return wrong(format!("it begins with {:02x}{:02x}, not 0000", magic[0], magic[1]));
    }
    if magic[2] != 8 {
        return wrong(format!("its values have type {:#04x}; unsigned bytes are 0x08", magic[2]));
    }
    if magic[3] != dimensions {
        let expected = if dimensions == 3 { "images have 3" } else { "labels have 1" };
        return wrong(format!("it has {} dimensions; {expected}", magic[3]));
    }
    let sizes = (0..dimensions)
        .map(|_| word().map(u32::from_be_bytes))
        .collect::<Result<Vec<u32>, DataError>>()?;
    if sizes.contains(&0) {
        return wrong(format!("one of its sizes {sizes:?} is zero"));
    }
    let product =
        sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::from(size)));
    let Some(promised) = product.filter(|&p| p <= MOST_BYTES) else {
        return wrong(format!("its header promises {sizes:?} values, more than 2 GiB"));
    };
    if promised > room {
        return wrong(format!(
            "its header promises {promised} values, more than a file of its length can hold"
        ));
    }
    let mut bytes = Vec::new();
    reader.take(promised + 1).read_to_end(&mut bytes).map_err(|e| broken_off(path, &e))?;
    if (bytes.len() as u64) < promised {
        return wrong(format!("it ends after {} of {promised} values", bytes.len()));
    }
    if bytes.len() as u64 > promised {
        return wrong(format!("it goes on behind the {promised} values its header announces"));
    }
    Ok((sizes, bytes))
}

fn broken_off(path: &Path, error: &std::io::Error) -> DataError {
    let why = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => format!("reading it failed ({error})"),
    };
    DataError::format(path, why)
}

/// Writes one gzipped file, whole or not at all.
pub(crate) fn write(path: &Path, sizes: &[u32], bytes: &[u8]) -> Result<(), DataError> {
    let failed = |e: std::io::Error| DataError::io("write", path, &e);
    let mut builder = tempfile::Builder::new();
    // Data is for everybody whom the umask lets read; a temporary file alone would be private.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let beside = builder.tempfile_in(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let mut out = GzEncoder::new(BufWriter::new(&beside), Compression::fast());
    out.write_all(&[0, 0, 8, sizes.len() as u8]).map_err(failed)?;
    for size in sizes {
        out.write_all(&size.to_be_bytes()).map_err(failed)?;
    }
    out.write_all(bytes).map_err(failed)?;
    out.finish().and_then(|mut buffer| buffer.flush()).map_err(failed)?;
    beside.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, dims: u8, sizes: &[u32]) -> Vec<u8> {
        let mut out = vec![0, 0, kind, dims];
        sizes.iter().for_each(|s| out.extend(s.to_be_bytes()));
        out
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::best());
        out.write_all(bytes).expect("writes");
        out.finish().expect("finishes")
    }

    fn parsed(bytes: &[u8], dims: u8) -> Result<(Vec<u32>, Vec<u8>), DataError> {
        parse(Path::new("the-file"), bytes, bytes.len() as u64, dims)
    }

    #[test]
    fn gzip_is_told_by_content_and_not_by_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = [header(8, 1, &[3]), vec![2, 0, 1]].concat();
        for (name, bytes) in [("unpacked.gz", file.clone()), ("packed", gzip(&file))] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(read(&path, 1).expect(name), (vec![3], vec![2, 0, 1]));
        }
    }

    #[test]
    fn every_broken_file_is_told_in_one_sentence() {
        let good = [header(8, 3, &[9, 2, 3]), vec![1; 54]].concat();
        let packed = gzip(&good);
        let mut flipped = packed.clone();
        let checksum = flipped.len() - 8;
        flipped[checksum] ^= 1;
        let cases: [(Vec<u8>, u8, &str); 16] = [
            (vec![], 3, "ends too early"),
            (vec![0, 0], 3, "ends too early"),
            (header(8, 3, &[9, 2]), 3, "ends too early"),
            (good[..40].to_vec(), 3, "promises 54 values, more than a file of its length"),
            (good[..60].to_vec(), 3, "ends after 44 of 54"),
            ([good.clone(), vec![1]].concat(), 3, "goes on behind"),
            (gzip(&good[..60]), 3, "ends after 44 of 54"),
            (gzip(&[good.clone(), vec![1]].concat()), 3, "goes on behind"),
            (packed[..packed.len() - 9].to_vec(), 3, "ends too early"),
            (flipped, 3, "reading it failed"),
            (vec![1, 2, 3, 4, 5, 6], 3, "begins with 0102"),
            (header(13, 3, &[9, 2, 3]), 3, "type 0x0d"),
            (header(8, 2, &[9, 2]), 3, "2 dimensions; images have 3"),
            (good.clone(), 1, "3 dimensions; labels have 1"),
            (header(8, 3, &[9, 0, 3]), 3, "is zero"),
            (header(8, 3, &[u32::MAX; 3]), 3, "more than 2 GiB"),
        ];
        for (bytes, dims, expected) in cases {
            let said = parsed(&bytes, dims).expect_err(expected).to_string();
            assert!(said.contains(expected) && said.contains("the-file"), "{expected}: {said}");
            assert!(!said.contains('\n') && said.contains("fetch it again"), "{said}");
        }
        for whole in [good, packed] {
            assert_eq!(parsed(&whole, 3).expect("whole").1, [1; 54]);
        }
    }

    #[test]
    fn a_decompression_bomb_is_read_no_further_than_its_header() {
        let bomb = gzip(&[header(8, 3, &[9, 2, 3]), vec![0; 64 << 20]].concat());
        let mut read = 0;
        let mut counted = Counted { inner: MultiGzDecoder::new(bomb.as_slice()), read: &mut read };
        let said = content(Path::new("bomb"), &mut counted, 1 << 30, 3).expect_err("a bomb");
        assert!(said.to_string().contains("goes on behind"), "{said}");
        assert!(read < 1 << 10, "{read} bytes were unpacked");
        let promises = gzip(&header(8, 3, &[1 << 20, 28, 28]));
        let said = parsed(&promises, 3).expect_err("too small for its promise").to_string();
        assert!(said.contains("can hold"), "{said}");
    }

    struct Counted<'a, R> {
        inner: R,
        read: &'a mut usize,
    }

    impl<R: Read> Read for Counted<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.inner.read(buffer)?;
            *self.read += n;
            Ok(n)
        }
    }

    #[test]
    fn ten_thousand_mutated_files_never_panic_nor_allocate_their_promise() {
        let plain = [header(8, 3, &[9, 2, 3]), (0..54).collect()].concat();
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let (mut good, mut bad) = (0, 0);
        for i in 0..10_000 {
            let mut mutated = plain.clone();
            if i % 4 == 1 {
                mutated = gzip(&mutated);
            }
            // Half of the changes hit the header.
            let reach = if i % 2 == 0 { 16 } else { mutated.len() };
            for _ in 0..=next() % 3 {
                mutated[next() % reach] = next() as u8;
            }
            mutated.truncate(mutated.len() - (next() % 2) * (next() % mutated.len()));
            if i % 4 == 3 {
                mutated = gzip(&mutated);
            }
            match parsed(&mutated, 3) {
                Ok((_, read)) => {
                    assert!(read.len() <= 54 + 16 && read.capacity() <= 256, "{}", read.capacity());
                    good += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains("the-file"));
                    bad += 1;
                }
            }
        }
        assert!(good > 100 && bad > 100, "{good} read, {bad} refused");
    }
}
