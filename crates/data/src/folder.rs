//! The four IDX files of a data set, of any image size and number of classes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{DataError, Dataset, Split, idx};

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Reads the four files of a data set. Each may be plain or gzipped, `test` may stand for `t10k`,
/// `.idx` for `-idx`, and a variant's name may stand before (`emnist-letters-train-images-idx3-ubyte.gz`).
///
/// # Errors
/// [`DataError`] naming the file or folder and what is wrong with it.
pub fn read_folder(folder: &Path, name: &str, source: &str) -> Result<Dataset, DataError> {
    let [train_images, train_labels, test_images, test_labels] = find(folder)?;
    let train = split(&train_images, &train_labels)?;
    let test = split(&test_images, &test_labels)?;
    if (train.width, train.height) != (test.width, test.height) {
        return Err(DataError::Mismatch {
            folder: folder.to_owned(),
            why: format!(
                "training images are {} x {} pixels and test images {} x {}; put files of one data set together",
                train.width, train.height, test.width, test.height
            ),
        });
    }
    let classes = classes(&train, &test)
        .map_err(|why| DataError::Mismatch { folder: folder.to_owned(), why })?;
    Ok(Dataset { name: name.to_owned(), source: source.to_owned(), classes, train, test })
}

/// Writes a data set as four gzipped IDX files, each whole or not at all.
///
/// # Errors
/// [`DataError::Io`] if the folder cannot be made or written.
pub fn write_folder(data: &Dataset, folder: &Path) -> Result<(), DataError> {
    std::fs::create_dir_all(folder).map_err(|e| DataError::io("create", folder, &e))?;
    for (split, images, labels) in
        [(&data.train, NAMES[0], NAMES[1]), (&data.test, NAMES[2], NAMES[3])]
    {
        let sizes = [split.len() as u32, split.height as u32, split.width as u32];
        idx::write(&folder.join(format!("{images}.gz")), &sizes, &split.pixels)?;
        idx::write(&folder.join(format!("{labels}.gz")), &sizes[..1], &split.labels)?;
    }
    Ok(())
}

fn find(folder: &Path) -> Result<[PathBuf; 4], DataError> {
    let failed = |e: std::io::Error| DataError::Io {
        action: "read the data folder",
        path: folder.to_owned(),
        reason: format!("{e}; give a readable folder that holds the four IDX files"),
    };
    if !std::fs::metadata(folder).map_err(failed)?.is_dir() {
        return Err(DataError::Io {
            action: "read the data folder",
            path: folder.to_owned(),
            reason: "it is a file; give the folder that holds the four IDX files".to_owned(),
        });
    }
    // Per file of `NAMES`: what stands before its name, and its path. Sorted, so that the plain file
    // is taken where the gzipped one lies beside it.
    let mut found: [Vec<(String, PathBuf)>; 4] = Default::default();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(file) = path.file_name().and_then(|n| n.to_str()) else { continue };
        let usual = file
            .strip_suffix(".gz")
            .unwrap_or(file)
            .replace(".idx", "-idx")
            .replace("test-images-", "t10k-images-")
            .replace("test-labels-", "t10k-labels-");
        for (name, found) in NAMES.iter().zip(&mut found) {
            // Unpackers leave folders of the files' names.
            if let Some(before) = usual.strip_suffix(name).filter(|_| !path.is_dir()) {
                found.push((before.to_owned(), path.clone()));
            }
        }
    }
    let sets: BTreeSet<&str> = found.iter().flatten().map(|(before, _)| before.as_str()).collect();
    // The usual names win over those of variants beside them.
    let set = match sets.into_iter().collect::<Vec<&str>>()[..] {
        [only] => only.to_owned(),
        [] | ["", ..] => String::new(),
        [first, second, ..] => {
            let why = format!(
                "it holds several data sets ({first}... and {second}...); put each into a folder of its own"
            );
            return Err(DataError::Mismatch { folder: folder.to_owned(), why });
        }
    };
    let mut paths: [PathBuf; 4] = Default::default();
    for ((path, mut found), missing) in paths.iter_mut().zip(found).zip(NAMES) {
        found.sort();
        *path = found
            .into_iter()
            .find_map(|(before, path)| (before == set).then_some(path))
            .ok_or(DataError::Missing { folder: folder.to_owned(), missing })?;
    }
    Ok(paths)
}

fn split(images: &Path, labels: &Path) -> Result<Split, DataError> {
    let (sizes, pixels) = idx::read(images, 3)?;
    let (_, read) = idx::read(labels, 1)?;
    if sizes[0] as usize != read.len() {
        let why = format!("it holds {} labels for {} images", read.len(), sizes[0]);
        return Err(DataError::format(labels, why));
    }
    Ok(Split { width: sizes[2] as usize, height: sizes[1] as usize, pixels, labels: read })
}

/// IDX files do not say how many classes there are: it is the highest training label and one, unless
/// that label looks like a damaged byte.
fn classes(train: &Split, test: &Split) -> Result<usize, String> {
    let highest = usize::from(train.labels.iter().copied().max().unwrap_or(0));
    let classes = highest + 1;
    if let Some(label) = test.labels.iter().find(|&&l| usize::from(l) > highest) {
        return Err(format!(
            "a test image has label {label}, out of range: the training labels go up to {highest}; fetch the labels again"
        ));
    }
    let counts = train.class_counts(classes);
    if counts.iter().filter(|&&c| c > 0).count() < 2 {
        return Err(format!(
            "all training images have label {highest}; two classes are the least to learn from"
        ));
    }
    let gap = counts[highest - 1] == 0;
    let rare = counts[highest] * 1000 < train.len();
    if (gap || rare) && !test.labels.iter().any(|&l| usize::from(l) == highest) {
        return Err(format!(
            "label {highest} is out of range: {} of {} training images and no test image have it; fetch the labels again",
            counts[highest],
            train.len()
        ));
    }
    Ok(classes)
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

    type Change = fn(&mut Dataset);

    /// `small` in a folder of its own, after a change.
    fn folder(change: impl FnOnce(&mut Dataset)) -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut data = small();
        change(&mut data);
        write_folder(&data, dir.path()).expect("writes");
        (dir, data)
    }

    fn said(folder: &Path) -> String {
        let said = read_folder(folder, "x", "y").expect_err("broken").to_string();
        assert!(!said.contains('\n') && said.contains(&*folder.to_string_lossy()), "{said}");
        said
    }

    #[test]
    fn what_is_written_is_read_under_all_usual_names() {
        let renamings: [fn(&str) -> String; 5] = [
            str::to_owned,
            |n| n.replace("-idx", ".idx"),
            |n| n.replace("t10k", "test"),
            |n| format!("emnist-letters-{}", n.replace("t10k", "test")),
            |n| n.replace(".gz", ""),
        ];
        for rename in renamings {
            let (dir, data) = folder(|_| ());
            for name in NAMES {
                let name = format!("{name}.gz");
                std::fs::rename(dir.path().join(&name), dir.path().join(rename(&name)))
                    .expect("renames");
            }
            std::fs::create_dir(dir.path().join("train-images-idx3-ubyte")).ok();
            assert_eq!(read_folder(dir.path(), "small", "test").expect("reads"), data);
        }
    }

    #[test]
    fn two_data_sets_in_one_folder_are_told_apart_or_refused() {
        let (dir, data) = folder(|_| ());
        for name in NAMES {
            let from = dir.path().join(format!("{name}.gz"));
            std::fs::copy(&from, dir.path().join(format!("b-{name}.gz"))).expect("copies");
        }
        assert_eq!(read_folder(dir.path(), "small", "test").expect("reads"), data);
        for name in NAMES {
            let from = dir.path().join(format!("{name}.gz"));
            std::fs::rename(&from, dir.path().join(format!("a-{name}.gz"))).expect("renames");
        }
        assert!(said(dir.path()).contains("several data sets (a-... and b-...)"));
    }

    #[test]
    fn files_that_do_not_belong_together_are_told() {
        let (dir, _) = folder(|d| (d.test.width, d.test.height) = (2, 3));
        assert!(said(dir.path()).contains("3 x 2 pixels and test images 2 x 3"));
        let (dir, _) = folder(|d| {
            d.train.pixels.truncate(48);
            d.train.labels.truncate(8);
        });
        let labels = [vec![0, 0, 8, 1, 0, 0, 0, 9], vec![1; 9]].concat();
        std::fs::write(dir.path().join("train-labels-idx1-ubyte"), labels).expect("writes");
        assert!(said(dir.path()).contains("9 labels for 8 images"));
    }

    #[test]
    fn labels_out_of_range_are_told() {
        let cases: [(Change, &str); 4] = [
            (|d| d.test.labels[0] = 9, "a test image has label 9, out of range"),
            (|d| d.train.labels[0] = 200, "label 200 is out of range: 1 of 9 training images"),
            (|d| d.train.labels.fill(3), "all training images have label 3"),
            (
                |d| {
                    d.train.labels = (0..2000).map(|i| (i % 3) as u8).collect();
                    d.train.labels[5] = 3;
                    d.train.pixels = vec![0; 12_000];
                    d.test.labels = vec![0, 1, 2, 0, 1];
                },
                "label 3 is out of range: 1 of 2000",
            ),
        ];
        for (change, expected) in cases {
            let (dir, _) = folder(change);
            assert!(said(dir.path()).contains(expected), "{}", said(dir.path()));
        }
        // Two digits picked out of ten are no damage.
        let (dir, _) = folder(|d| {
            for label in d.train.labels.iter_mut().chain(&mut d.test.labels) {
                *label = if *label % 2 == 0 { 3 } else { 8 };
            }
        });
        assert_eq!(read_folder(dir.path(), "x", "y").expect("reads").classes, 9);
    }

    #[test]
    fn missing_and_unreadable_places_are_told() {
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert!(said(empty.path()).contains("has no train-images-idx3-ubyte"));
        let file = empty.path().join("file");
        std::fs::write(&file, "x").expect("writes");
        assert!(said(&file).contains("it is a file; give the folder"));
        assert!(said(&empty.path().join("none")).contains("; give a readable folder"));
        let (dir, _) = folder(|_| ());
        std::fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte.gz")).expect("there");
        assert!(said(dir.path()).contains("has no t10k-labels-idx1-ubyte"));
    }

    #[cfg(unix)]
    #[test]
    fn places_without_permission_are_told() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _) = folder(|_| ());
        let file = dir.path().join(format!("{}.gz", NAMES[0]));
        let forbid = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("owner");
        };
        forbid(&file, 0o000);
        // The superuser may read everything, and then there is nothing to tell.
        if std::fs::File::open(&file).is_err() {
            assert!(said(dir.path()).contains("make it readable"), "{}", said(dir.path()));
            forbid(dir.path(), 0o000);
            assert!(said(dir.path()).contains("cannot read the data folder"));
            forbid(dir.path(), 0o700);
        } else {
            assert!(read_folder(dir.path(), "x", "y").is_ok());
        }
    }

    #[test]
    fn real_mnist_has_its_published_statistics() {
        let Some(folder) = std::env::var_os("GAINSTAGE_DATA") else { return };
        let data = read_folder(Path::new(&folder), "MNIST", "GAINSTAGE_DATA").expect("reads");
        // Only MNIST itself begins with 5, 0, 4, 1, 9.
        if data.train.len() == 60_000 && data.train.labels.starts_with(&[5, 0, 4, 1, 9]) {
            let counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
            assert_eq!(data.train.class_counts(10), counts);
            let sum: u64 = data.train.pixels.iter().map(|&p| u64::from(p)).sum();
            let mean = sum as f64 / 255.0 / data.train.pixels.len() as f64;
            assert!((mean - 0.1306604763).abs() < 1e-9, "{mean}");
            assert!((data.train.second_moment() - 0.1120025789).abs() < 1e-9);
        }
    }
}
