use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::fetch::{Published, fetch_from};
use crate::folder::read_folder;
use crate::{DataError, Dataset, synthetic};

/// Which images to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The folder in `GAINSTAGE_DATA`, else the user's cache, else a download, else synthetic digits.
    Auto,
    /// MNIST, from `GAINSTAGE_DATA`, the cache or a download.
    Mnist,
    /// Fashion-MNIST, from the cache or a download.
    FashionMnist,
    /// Digits drawn by the program.
    Synthetic,
    /// A folder of IDX files.
    Folder(PathBuf),
}

impl FromStr for Source {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "auto" => Ok(Self::Auto),
            "mnist" => Ok(Self::Mnist),
            "fashion-mnist" => Ok(Self::FashionMnist),
            "synthetic" => Ok(Self::Synthetic),
            _ if text.contains(['/', '\\', '.']) || Path::new(text).exists() => {
                Ok(Self::Folder(text.into()))
            }
            _ => Err(DataError::UnknownSource(text.to_owned())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Mnist => f.write_str("mnist"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Synthetic => f.write_str("synthetic"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}

/// What the environment says; a value, so that tests can say it too.
struct Environment {
    data: Option<OsString>,
    cache: Option<PathBuf>,
    mirrors: fn(Published) -> [&'static str; 2],
}

impl Environment {
    fn current() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let home = |below: &str| variable("HOME").map(|h| PathBuf::from(h).join(below));
        let cache = if cfg!(target_os = "macos") {
            home("Library/Caches")
        } else if cfg!(windows) {
            variable("LOCALAPPDATA").map(PathBuf::from)
        } else {
            variable("XDG_CACHE_HOME")
                .map(PathBuf::from)
                // The XDG base directory specification has relative paths ignored.
                .filter(|path| path.is_absolute())
                .or_else(|| home(".cache"))
        };
        Self {
            data: variable("GAINSTAGE_DATA"),
            cache: cache.map(|c| c.join("gainstage")),
            mirrors: Published::mirrors,
        }
    }

    fn cached(&self, set: Published) -> Result<PathBuf, DataError> {
        Ok(self.cache.as_ref().ok_or(DataError::NoCache)?.join(set.name()))
    }
}

/// Loads images. `progress` is called with a few words when something takes time.
///
/// # Errors
/// [`DataError`] if the source cannot be read. Only [`Source::Auto`] goes on to the next place, and
/// never past a `GAINSTAGE_DATA` that is set: a folder the user named and that cannot be read is an
/// error.
pub fn load(source: &Source, progress: &mut dyn FnMut(&str)) -> Result<Dataset, DataError> {
    load_in(source, &Environment::current(), progress)
}

fn load_in(
    source: &Source,
    environment: &Environment,
    progress: &mut dyn FnMut(&str),
) -> Result<Dataset, DataError> {
    match (source, &environment.data) {
        (Source::Synthetic, _) => Ok(synthetic::digits("synthetic digits drawn by the program")),
        (Source::Folder(folder), _) => {
            read_folder(folder, &name_of(folder), &format!("folder {}", folder.display()))
        }
        (Source::Auto | Source::Mnist, Some(data)) => named(data),
        (Source::Mnist, None) => published(Published::Mnist, environment, progress),
        (Source::FashionMnist, _) => published(Published::FashionMnist, environment, progress),
        (Source::Auto, None) => {
            let because = match published(Published::Mnist, environment, progress) {
                Ok(data) => return Ok(data),
                Err(DataError::NoCache) => "there is no cache folder to keep MNIST in".to_owned(),
                Err(DataError::Download { tried, .. }) => {
                    format!("MNIST is neither in the cache nor could it be downloaded ({tried})")
                }
                Err(DataError::Io { action: "create", path, reason }) => format!(
                    "MNIST is not in the cache, whose folder {} cannot be made ({reason})",
                    path.display()
                ),
                Err(broken) => return Err(broken),
            };
            Ok(synthetic::digits(&format!(
                "synthetic digits drawn by the program, because {because}"
            )))
        }
    }
}

/// From the folder in `GAINSTAGE_DATA`.
fn named(data: &OsString) -> Result<Dataset, DataError> {
    let folder = Path::new(data);
    read_folder(folder, &name_of(folder), &format!("GAINSTAGE_DATA = {}", folder.display()))
}

/// From the cache, downloaded into it where it is not there or damaged.
fn published(
    set: Published,
    environment: &Environment,
    progress: &mut dyn FnMut(&str),
) -> Result<Dataset, DataError> {
    let folder = environment.cached(set)?;
    let cached = read_folder(&folder, set.title(), &format!("cache {}", folder.display()));
    let damaged = match cached {
        Ok(data) => return Ok(data),
        Err(DataError::Missing { .. }) => None,
        Err(DataError::Io { .. }) if !folder.exists() => None,
        Err(damaged) => Some(damaged),
    };
    match fetch_from(&(environment.mirrors)(set), set, &folder, progress) {
        Ok(()) => {
            read_folder(&folder, set.title(), &format!("downloaded into {}", folder.display()))
        }
        Err(error) => Err(damaged.unwrap_or(error)),
    }
}

fn name_of(folder: &Path) -> String {
    // `.` and `..` have no name of their own.
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match full.file_name().and_then(|n| n.to_str()) {
        Some("mnist" | "MNIST") => "MNIST".to_owned(),
        Some("fashion-mnist") => "Fashion-MNIST".to_owned(),
        Some(name) => name.to_owned(),
        None => folder.display().to_string(),
    }
}

/// A line of [`list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Where it was found, or how to get it.
    pub place: String,
}

/// The data sets and where they are.
pub fn list() -> Vec<Entry> {
    list_in(&Environment::current())
}

fn list_in(environment: &Environment) -> Vec<Entry> {
    let place = |set: Published| match environment.cached(set) {
        Ok(folder) => match read_folder(&folder, "", "") {
            Ok(_) => folder.display().to_string(),
            Err(DataError::Missing { .. } | DataError::Io { .. }) => {
                format!("not yet in {}; gainstage data fetch {}", folder.display(), set.name())
            }
            Err(broken) => broken.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let mnist = match &environment.data {
        // The folder may hold other images than MNIST's.
        Some(data) => match named(data) {
            Ok(d) => format!(
                "{}: {} + {} images of {} x {}, {} classes",
                d.source,
                d.train.len(),
                d.test.len(),
                d.train.width,
                d.train.height,
                d.classes
            ),
            Err(error) => format!("GAINSTAGE_DATA: {error}"),
        },
        None => place(Published::Mnist),
    };
    vec![
        Entry {
            name: "mnist",
            what: "60,000 + 10,000 handwritten digits, 28 x 28, 10 classes",
            place: mnist,
        },
        Entry {
            name: "fashion-mnist",
            what: "60,000 + 10,000 pieces of clothing, 28 x 28, 10 classes",
            place: place(Published::FashionMnist),
        },
        Entry {
            name: "synthetic",
            what: "60,000 + 10,000 drawn digits, 28 x 28, 10 classes in MNIST's shares",
            place: "built in".to_owned(),
        },
    ]
}

/// Where [`fetch`] keeps a data set.
pub(crate) fn cache_folder(set: Published) -> Result<PathBuf, DataError> {
    Environment::current().cached(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Port 1 refuses every connection at once.
    fn offline(data: Option<&Path>, cache: Option<&Path>) -> Environment {
        Environment {
            data: data.map(|d| d.as_os_str().to_owned()),
            cache: cache.map(Path::to_owned),
            mirrors: |_| ["http://127.0.0.1:1/a/", "http://127.0.0.1:1/b/"],
        }
    }

    fn loaded(source: &Source, environment: &Environment) -> Result<Dataset, DataError> {
        load_in(source, environment, &mut |_| ())
    }

    /// A small data set in a folder of that name.
    fn small(parent: &Path, name: &str) -> PathBuf {
        let all = synthetic::digits("test");
        let few = Dataset { train: all.train.slice(0..50), test: all.test.slice(0..20), ..all };
        crate::write_folder(&few, &parent.join(name)).expect("writes");
        parent.join(name)
    }

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn names_and_folders_are_told_apart_and_shown_as_written() {
        let folder = Source::Folder("./here".into());
        let known = [Source::Auto, Source::Mnist, Source::FashionMnist, Source::Synthetic, folder];
        let names = ["auto", "mnist", "fashion-mnist", "synthetic", "./here"];
        for (source, name) in known.into_iter().zip(names) {
            assert_eq!(source.to_string(), name);
            assert_eq!(name.parse::<Source>().expect(name), source);
        }
        assert!("minst".parse::<Source>().expect_err("unknown").to_string().contains("minst"));
    }

    #[test]
    fn a_named_folder_that_cannot_be_read_is_an_error_and_no_fall_through() {
        let dir = temporary();
        small(dir.path(), "mnist");
        let environment = offline(Some(Path::new("/no/such/folder")), Some(dir.path()));
        for source in [Source::Auto, Source::Mnist] {
            let said = loaded(&source, &environment).expect_err("no folder").to_string();
            assert!(said.contains("/no/such/folder"), "{said}");
        }
    }

    #[test]
    fn the_named_folder_serves_auto_and_mnist_and_no_other() {
        let dir = temporary();
        let folder = small(dir.path(), "mine");
        let environment = offline(Some(&folder), None);
        for source in [Source::Auto, Source::Mnist] {
            let data = loaded(&source, &environment).expect("reads");
            assert!(data.source.starts_with("GAINSTAGE_DATA = "), "{}", data.source);
            assert_eq!((data.name.as_str(), data.train.len()), ("mine", 50));
        }
        assert!(matches!(loaded(&Source::FashionMnist, &environment), Err(DataError::NoCache)));
        assert_eq!(loaded(&Source::Synthetic, &environment).expect("draws").train.len(), 60_000);
    }

    #[test]
    fn auto_reads_the_cache_and_says_so() {
        let dir = temporary();
        small(dir.path(), "mnist");
        let data = loaded(&Source::Auto, &offline(None, Some(dir.path()))).expect("reads");
        assert!(data.source.starts_with("cache ") && data.name == "MNIST", "{}", data.source);
    }

    #[test]
    fn a_damaged_cache_that_cannot_be_mended_is_an_error() {
        let dir = temporary();
        let folder = small(dir.path(), "mnist");
        std::fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), "damaged").expect("writes");
        let said = loaded(&Source::Auto, &offline(None, Some(dir.path())));
        let said = said.expect_err("damaged").to_string();
        assert!(said.contains("t10k-labels") && said.contains("6461"), "{said}");
    }

    #[test]
    fn without_anything_auto_draws_digits_and_says_why() {
        let dir = temporary();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").expect("writes");
        let cases = [
            (None, "because there is no cache folder"),
            (Some(dir.path()), "nor could it be downloaded (http://127.0.0.1:1/a/ said: "),
            (Some(&*file), "cannot be made"),
        ];
        for (cache, why) in cases {
            let environment = offline(None, cache);
            let data = loaded(&Source::Auto, &environment).expect("draws");
            assert!(data.source.contains(why), "{}", data.source);
            assert_eq!(data.name, "synthetic digits");
            assert!(loaded(&Source::Mnist, &environment).is_err(), "only auto draws instead");
        }
    }

    #[test]
    fn the_list_says_what_is_in_the_named_folder_or_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = small(dir.path(), "mine");
        let place = |data: &Path| list_in(&offline(Some(data), None)).remove(0).place;
        assert!(place(&folder).ends_with(": 50 + 20 images of 28 x 28, 10 classes"));
        assert!(place(dir.path()).contains("has no train-images"), "{}", place(dir.path()));
        let nowhere = list_in(&offline(None, None));
        assert!(nowhere[1].place.contains("no cache folder") && nowhere[2].place == "built in");
    }
}
