use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::fetch::{Published, fetch};
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
            variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home(".cache"))
        };
        Self { data: variable("GAINSTAGE_DATA"), cache: cache.map(|c| c.join("gainstage")) }
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
    let named = |data: &OsString| {
        let folder = Path::new(data);
        read_folder(folder, &name_of(folder), &format!("GAINSTAGE_DATA = {}", folder.display()))
    };
    match (source, &environment.data) {
        (Source::Synthetic, _) => Ok(synthetic::digits("synthetic digits drawn by the program")),
        (Source::Folder(folder), _) => {
            read_folder(folder, &name_of(folder), &format!("folder {}", folder.display()))
        }
        (Source::Auto | Source::Mnist, Some(data)) => named(data),
        (Source::Mnist, None) => published(Published::Mnist, environment, progress),
        (Source::FashionMnist, _) => published(Published::FashionMnist, environment, progress),
        (Source::Auto, None) => match published(Published::Mnist, environment, progress) {
            Ok(data) => Ok(data),
            Err(DataError::Download { .. } | DataError::NoCache) => Ok(synthetic::digits(
                "synthetic digits drawn by the program, because MNIST is neither in the cache nor could it be downloaded",
            )),
            Err(broken) => Err(broken),
        },
    }
}

/// From the cache, downloaded into it first where it is not there.
fn published(
    set: Published,
    environment: &Environment,
    progress: &mut dyn FnMut(&str),
) -> Result<Dataset, DataError> {
    let folder = environment.cached(set)?;
    match read_folder(&folder, set.title(), &format!("cache {}", folder.display())) {
        Err(DataError::Missing { .. } | DataError::Io { .. }) => {}
        found => return found,
    }
    fetch(set, &folder, &mut |said| progress(said))?;
    read_folder(&folder, set.title(), &format!("downloaded into {}", folder.display()))
}

fn name_of(folder: &Path) -> String {
    match folder.file_name().and_then(|n| n.to_str()) {
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
    let environment = Environment::current();
    let place = |set: Published| match environment.cached(set) {
        Ok(folder) if read_folder(&folder, "", "").is_ok() => folder.display().to_string(),
        Ok(folder) => {
            format!("not yet in {}; gainstage data fetch {}", folder.display(), set.name())
        }
        Err(error) => error.to_string(),
    };
    let mnist = match &environment.data {
        Some(data) => format!("GAINSTAGE_DATA = {}", Path::new(data).display()),
        None => place(Published::Mnist),
    };
    vec![
        Entry { name: "mnist", what: "60,000 + 10,000 handwritten digits, 28 x 28", place: mnist },
        Entry {
            name: "fashion-mnist",
            what: "60,000 + 10,000 pieces of clothing, 28 x 28",
            place: place(Published::FashionMnist),
        },
        Entry {
            name: "synthetic",
            what: "60,000 + 10,000 drawn digits, 28 x 28, in MNIST's class shares",
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

    #[test]
    fn names_and_folders_are_told_apart() {
        assert_eq!("auto".parse::<Source>().expect("known"), Source::Auto);
        assert_eq!("./here".parse::<Source>().expect("a path"), Source::Folder("./here".into()));
        assert!("minst".parse::<Source>().expect_err("unknown").to_string().contains("minst"));
    }

    #[test]
    fn a_named_folder_that_cannot_be_read_is_an_error_and_no_fall_through() {
        let environment = Environment { data: Some("/no/such/folder".into()), cache: None };
        assert!(matches!(
            load_in(&Source::Auto, &environment, &mut |_| ()),
            Err(DataError::Io { .. })
        ));
    }

    #[test]
    fn auto_reads_the_cache_and_says_so() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let small = synthetic::digits("test");
        let folder = dir.path().join("mnist");
        crate::write_folder(
            &Dataset { train: small.train.slice(0..50), test: small.test.slice(0..20), ..small },
            &folder,
        )
        .expect("writes");
        let environment = Environment { data: None, cache: Some(dir.path().to_owned()) };
        let data = load_in(&Source::Auto, &environment, &mut |_| ()).expect("reads");
        assert!(data.source.starts_with("cache ") && data.name == "MNIST", "{}", data.source);
    }

    #[test]
    fn without_anything_auto_draws_digits_and_says_why() {
        let environment = Environment { data: None, cache: None };
        let data = load_in(&Source::Auto, &environment, &mut |_| ()).expect("draws");
        assert!(data.source.contains("because MNIST"), "{}", data.source);
        assert!(matches!(
            load_in(&Source::Mnist, &environment, &mut |_| ()),
            Err(DataError::NoCache)
        ));
    }
}
