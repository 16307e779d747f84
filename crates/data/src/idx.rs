//! IDX files, plain or gzipped, of any image size and number of classes.
//!
//! The header promises sizes; nothing is allocated from the promise. A file's content is read up to
//! one byte more than the header announces, so that a short file, a long one and a decompression bomb
//! are all told by their length.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::{DataError, Dataset, Split};

const NAMES: [[&str; 2]; 4] = [
    ["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
    ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"],
    ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"],
    ["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"],
];

/// No image set in use comes near; a header that promises more is not believed.
const MOST_BYTES: u64 = 8 << 30;

/// Reads the four files of a data set.
///
/// # Errors
/// [`DataError`] naming the file and what is wrong with it.
pub fn read_folder(folder: &Path, name: &str, source: &str) -> Result<Dataset, DataError> {
    let meta =
        std::fs::metadata(folder).map_err(|e| DataError::io("read the data folder", folder, &e))?;
    if !meta.is_dir() {
        let reason = "it is a file; give the folder that holds the four IDX files".to_owned();
        return Err(DataError::Io {
            action: "read the data folder",
            path: folder.to_owned(),
            reason,
        });
    }
    let mut paths = Vec::new();
    for names in NAMES {
        paths.push(
            find(folder, &names)
                .ok_or(DataError::Missing { folder: folder.to_owned(), missing: names[0] })?,
        );
    }
    let train = split(&paths[0], &paths[1])?;
    let test = split(&paths[2], &paths[3])?;
    let mismatch = |why: String| DataError::Mismatch { folder: folder.to_owned(), why };
    if (train.width, train.height) != (test.width, test.height) {
        return Err(mismatch(format!(
            "training images are {} x {} pixels, test images {} x {}; they must agree",
            train.width, train.height, test.width, test.height
        )));
    }
    let classes = usize::from(train.labels.iter().copied().max().unwrap_or(0)) + 1;
    if let Some(label) = test.labels.iter().find(|&&l| usize::from(l) >= classes) {
        return Err(mismatch(format!(
            "a test image has label {label}, out of range: the training labels go up to {}",
            classes - 1
        )));
    }
    if classes < 2 {
        return Err(mismatch(
            "all training labels are the same; two classes are the least".to_owned(),
        ));
    }
    Ok(Dataset { name: name.to_owned(), source: source.to_owned(), classes, train, test })
}

fn find(folder: &Path, names: &[&str; 2]) -> Option<PathBuf> {
    let candidates = names.iter().flat_map(|n| [(*n).to_owned(), format!("{n}.gz")]);
    candidates.map(|n| folder.join(n)).find(|p| p.exists())
}

fn split(images: &Path, labels: &Path) -> Result<Split, DataError> {
    let (sizes, pixels) = read(images, 3)?;
    let (_, labels_read) = read(labels, 1)?;
    if sizes[0] as usize != labels_read.len() {
        return Err(DataError::format(
            labels,
            format!("it holds {} labels for {} images", labels_read.len(), sizes[0]),
        ));
    }
    Ok(Split { width: sizes[2] as usize, height: sizes[1] as usize, pixels, labels: labels_read })
}

/// The sizes and bytes of one file with the given number of dimensions.
fn read(path: &Path, dimensions: u8) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let file = File::open(path).map_err(|e| DataError::io("open", path, &e))?;
    let mut reader = BufReader::new(file);
    let gzip = path.extension().is_some_and(|e| e == "gz");
    if gzip {
        parse(path, &mut MultiGzDecoder::new(reader), dimensions)
    } else {
        parse(path, &mut reader, dimensions)
    }
}

fn parse(
    path: &Path,
    reader: &mut impl Read,
    dimensions: u8,
) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let mut word = || -> Result<[u8; 4], DataError> {
        let mut bytes = [0u8; 4];
        reader.read_exact(&mut bytes).map_err(|e| short(path, &e))?;
        Ok(bytes)
    };
    let magic = word()?;
    if magic[..2] != [0, 0] {
        return Err(DataError::format(
            path,
            format!("it begins with {:02x}{:02x}, not 0000", magic[0], magic[1]),
        ));
    }
    if magic[2] != 8 {
        return Err(DataError::format(
            path,
            format!("its values have type {:#04x}; unsigned bytes are 0x08", magic[2]),
        ));
    }
    if magic[3] != dimensions {
        let what = if dimensions == 3 { "images have 3" } else { "labels have 1" };
        return Err(DataError::format(path, format!("it has {} dimensions; {what}", magic[3])));
    }
    let sizes = (0..dimensions)
        .map(|_| word().map(u32::from_be_bytes))
        .collect::<Result<Vec<u32>, DataError>>()?;
    if sizes.contains(&0) {
        return Err(DataError::format(path, format!("one of its sizes {sizes:?} is zero")));
    }
    let promised =
        sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::from(size)));
    let Some(promised) = promised.filter(|&p| p <= MOST_BYTES) else {
        return Err(DataError::format(
            path,
            format!("its header promises {sizes:?} values, more than 8 GiB"),
        ));
    };
    let mut bytes = Vec::new();
    reader.take(promised + 1).read_to_end(&mut bytes).map_err(|e| short(path, &e))?;
    if (bytes.len() as u64) < promised {
        let found = bytes.len();
        return Err(DataError::format(path, format!("it ends after {found} of {promised} values")));
    }
    if bytes.len() as u64 > promised {
        return Err(DataError::format(
            path,
            format!("it goes on behind the {promised} values its header announces"),
        ));
    }
    Ok((sizes, bytes))
}

fn short(path: &Path, error: &std::io::Error) -> DataError {
    let why = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => format!("reading it failed ({error})"),
    };
    DataError::format(path, why)
}

/// Writes a data set as four gzipped IDX files, each whole or not at all.
///
/// # Errors
/// [`DataError::Io`] if the folder cannot be made or written.
pub fn write_folder(data: &Dataset, folder: &Path) -> Result<(), DataError> {
    std::fs::create_dir_all(folder).map_err(|e| DataError::io("create", folder, &e))?;
    for (split, images, labels) in
        [(&data.train, NAMES[0][0], NAMES[1][0]), (&data.test, NAMES[2][0], NAMES[3][0])]
    {
        let sizes = [split.len() as u32, split.height as u32, split.width as u32];
        write(&folder.join(format!("{images}.gz")), &sizes, &split.pixels)?;
        write(&folder.join(format!("{labels}.gz")), &sizes[..1], &split.labels)?;
    }
    Ok(())
}

fn write(path: &Path, sizes: &[u32], bytes: &[u8]) -> Result<(), DataError> {
    let failed = |e: std::io::Error| DataError::io("write", path, &e);
    let folder = path.parent().unwrap_or(Path::new("."));
    let beside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
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

    fn small() -> Dataset {
        let split = |n: usize| Split {
            width: 3,
            height: 2,
            pixels: (0..6 * n).map(|i| (i * 7 % 256) as u8).collect(),
            labels: (0..n).map(|i| (i % 4) as u8).collect(),
        };
        Dataset {
            name: "small".into(),
            source: "test".into(),
            classes: 4,
            train: split(9),
            test: split(5),
        }
    }

    fn folder() -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_folder(&small(), dir.path()).expect("writes");
        (dir, small())
    }

    fn header(kind: u8, dims: u8, sizes: &[u32]) -> Vec<u8> {
        let mut out = vec![0, 0, kind, dims];
        sizes.iter().for_each(|s| out.extend(s.to_be_bytes()));
        out
    }

    #[test]
    fn what_is_written_is_read_and_plain_files_too() {
        let (dir, data) = folder();
        assert_eq!(read_folder(dir.path(), "small", "test").expect("reads"), data);
        let plain = dir.path().join("train-images.idx3-ubyte");
        let mut bytes = header(8, 3, &[9, 2, 3]);
        bytes.extend(&data.train.pixels);
        std::fs::remove_file(dir.path().join("train-images-idx3-ubyte.gz")).expect("there");
        std::fs::write(plain, bytes).expect("writes");
        assert_eq!(read_folder(dir.path(), "small", "test").expect("reads"), data);
    }

    #[test]
    fn every_broken_file_is_told_in_one_sentence() {
        let cases: [(&str, Vec<u8>, &str); 9] = [
            ("train-images-idx3-ubyte", vec![0, 0], "ends too early"),
            ("train-images-idx3-ubyte", header(8, 3, &[9, 2, 3]), "ends after 0 of 54"),
            (
                "train-images-idx3-ubyte",
                [header(8, 3, &[9, 2, 3]), vec![1; 55]].concat(),
                "goes on behind",
            ),
            ("train-images-idx3-ubyte", vec![1, 2, 3, 4, 5, 6], "begins with 0102"),
            ("train-images-idx3-ubyte", header(13, 3, &[9, 2, 3]), "type 0x0d"),
            ("train-images-idx3-ubyte", header(8, 2, &[9, 2]), "2 dimensions"),
            ("train-images-idx3-ubyte", header(8, 3, &[9, 0, 3]), "is zero"),
            ("train-images-idx3-ubyte", header(8, 3, &[u32::MAX; 3]), "more than 8 GiB"),
            (
                "train-labels-idx1-ubyte",
                [header(8, 1, &[8]), vec![1; 8]].concat(),
                "8 labels for 9 images",
            ),
        ];
        for (name, bytes, expected) in cases {
            let (dir, _) = folder();
            std::fs::remove_file(dir.path().join(format!("{name}.gz"))).expect("there");
            std::fs::write(dir.path().join(name), bytes).expect("writes");
            let said = read_folder(dir.path(), "x", "y").expect_err(expected).to_string();
            assert!(said.contains(expected) && said.contains(name), "{said}");
            assert!(!said.contains('\n'));
        }
    }

    #[test]
    fn labels_folders_and_sizes_that_do_not_fit_are_told() {
        let (dir, mut data) = folder();
        data.test.labels[0] = 9;
        write_folder(&data, dir.path()).expect("writes");
        assert!(
            read_folder(dir.path(), "x", "y").expect_err("label").to_string().contains("label 9")
        );
        data.test = Split { width: 2, height: 3, ..small().test };
        write_folder(&data, dir.path()).expect("writes");
        assert!(read_folder(dir.path(), "x", "y").expect_err("size").to_string().contains("3 x 2"));
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert!(
            read_folder(empty.path(), "x", "y")
                .expect_err("empty")
                .to_string()
                .contains("has no train-images")
        );
        let file = empty.path().join("file");
        std::fs::write(&file, "x").expect("writes");
        assert!(
            read_folder(&file, "x", "y").expect_err("file").to_string().contains("it is a file")
        );
        assert!(read_folder(&empty.path().join("none"), "x", "y").is_err());
    }

    #[test]
    fn a_decompression_bomb_is_read_no_further_than_its_header() {
        let (dir, _) = folder();
        let path = dir.path().join("train-images-idx3-ubyte.gz");
        let mut out = GzEncoder::new(File::create(&path).expect("creates"), Compression::best());
        out.write_all(&header(8, 3, &[9, 2, 3])).expect("writes");
        let zeros = vec![0u8; 1 << 20];
        (0..64).for_each(|_| out.write_all(&zeros).expect("writes"));
        out.finish().expect("finishes");
        assert!(
            read_folder(dir.path(), "x", "y")
                .expect_err("bomb")
                .to_string()
                .contains("goes on behind")
        );
    }

    #[test]
    fn ten_thousand_mutated_files_never_panic_nor_allocate_their_promise() {
        let mut bytes = header(8, 3, &[9, 2, 3]);
        bytes.extend((0..54).map(|i| i as u8));
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..10_000 {
            let mut mutated = bytes.clone();
            for _ in 0..=next() % 3 {
                let place = next() % mutated.len();
                mutated[place] = next() as u8;
            }
            mutated.truncate(mutated.len() - (next() % 2) * (next() % mutated.len()));
            match parse(Path::new("mutated"), &mut mutated.as_slice(), 3) {
                Ok((_, read)) => {
                    assert!(
                        read.len() <= mutated.len() && read.capacity() <= 2 * mutated.len() + 64
                    );
                    good += 1;
                }
                Err(_) => bad += 1,
            }
        }
        assert!(good > 100 && bad > 100, "{good} read, {bad} refused");
    }

    #[test]
    fn real_mnist_has_its_published_statistics() {
        let Some(folder) = std::env::var_os("GAINSTAGE_DATA") else { return };
        let data = read_folder(Path::new(&folder), "MNIST", "GAINSTAGE_DATA").expect("reads");
        if data.train.len() == 60_000 && data.train.pixels[..28 * 5].iter().all(|&p| p == 0) {
            assert_eq!(
                data.train.class_counts(10),
                [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
            );
            assert!((data.train.second_moment() - 0.1120025789).abs() < 1e-9);
        }
    }
}
