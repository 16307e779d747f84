//! Downloads: two mirrors, short time limits, a checksum, and going on where a broken one ended.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;

use crate::DataError;

/// A data set that is published for download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Handwritten digits (LeCun, Cortes & Burges 1998).
    Mnist,
    /// Pieces of clothing (Xiao, Rasul & Vollgraf 2017).
    FashionMnist,
}

/// The SHA-256 of a file, in hexadecimal.
type Checksum = &'static str;

impl Published {
    /// Name on the command line and in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
        }
    }

    /// Where it is published.
    pub fn mirrors(self) -> [&'static str; 2] {
        match self {
            Self::Mnist => [
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
            ],
            Self::FashionMnist => [
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ],
        }
    }

    fn files(self) -> [(&'static str, Checksum); 4] {
        let [a, b, c, d] = [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ];
        match self {
            Self::Mnist => [
                (a, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                (b, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                (c, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                (d, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            ],
            Self::FashionMnist => [
                (a, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                (b, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                (c, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                (d, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            ],
        }
    }
}

/// Downloads a data set into `folder`. Files that are there and whole are left alone; a download that
/// broke off goes on where it ended. `progress` is told what is being waited for.
///
/// # Errors
/// [`DataError::Download`] with what every mirror said, [`DataError::Io`] for the folder.
pub fn fetch(
    set: Published,
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), DataError> {
    fetch_from(&set.mirrors(), set, folder, progress)
}

/// As [`fetch`], from mirrors of your own: addresses to which a file's name is appended.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_from(
    mirrors: &[&str],
    set: Published,
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), DataError> {
    fetch_files(&agent(SILENCE), mirrors, &set.files(), folder, progress)
}

fn fetch_files(
    agent: &Agent,
    mirrors: &[&str],
    files: &[(&str, Checksum)],
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), DataError> {
    std::fs::create_dir_all(folder).map_err(|e| DataError::io("create", folder, &e))?;
    for &(file, checksum) in files {
        let target = folder.join(file);
        if target.exists() && matches(&target, checksum)? {
            continue;
        }
        let part = folder.join(format!("{file}.part"));
        let mut tried = Vec::new();
        for mirror in mirrors {
            // Whole already where an earlier run ended before the renaming.
            if part.exists() && matches(&part, checksum)? {
                break;
            }
            progress(&format!("asking {mirror} for {file}"));
            match from_mirror(agent, &format!("{mirror}{file}"), &part, checksum, progress)? {
                Ok(()) => break,
                Err(reason) => tried.push(format!("{mirror} said: {reason}")),
            }
        }
        if tried.len() == mirrors.len() {
            let (tried, folder) = (tried.join("; "), folder.to_owned());
            return Err(DataError::Download { file: file.to_owned(), tried, folder });
        }
        std::fs::rename(&part, &target).map_err(|e| DataError::io("write", &target, &e))?;
    }
    Ok(())
}

/// A server must answer and go on answering within this time.
const SILENCE: Duration = Duration::from_secs(10);

fn agent(silence: Duration) -> Agent {
    Agent::new_with_config(
        Agent::config_builder()
            .timeout_resolve(Some(Duration::from_secs(3)))
            .timeout_connect(Some(Duration::from_secs(4)))
            .timeout_per_read(Some(silence))
            .timeout_recv_response(Some(silence))
            .timeout_recv_body(Some(Duration::from_secs(600)))
            .build(),
    )
}

/// The user's cache folder for a data set.
///
/// # Errors
/// [`DataError::NoCache`] if the environment names none.
pub fn cache_folder(set: Published) -> Result<PathBuf, DataError> {
    crate::source::cache_folder(set)
}

/// Asks one mirror until `part` is whole or asking again is of no use; the inner error is what the mirror said.
fn from_mirror(
    agent: &Agent,
    url: &str,
    part: &Path,
    checksum: Checksum,
    progress: &mut dyn FnMut(&str),
) -> Result<Result<(), String>, DataError> {
    let length = || std::fs::metadata(part).map_or(0, |m| m.len());
    let remove = || std::fs::remove_file(part).map_err(|e| DataError::io("remove", part, &e));
    let mut said = String::new();
    for _attempt in 0..4 {
        let had = length();
        match download(agent, url, part, had, progress)? {
            Answer::Whole if matches(part, checksum)? => return Ok(Ok(())),
            Answer::Whole => {
                remove()?;
                "it sent a file with another checksum".clone_into(&mut said);
                // What lay there from before may be what was wrong.
                if had == 0 {
                    break;
                }
            }
            Answer::NothingBehind => {
                remove()?;
                "it has nothing behind what was there".clone_into(&mut said);
            }
            Answer::Broken(reason) => {
                said = reason;
                if length() <= had {
                    break;
                }
            }
        }
    }
    Ok(Err(said))
}

enum Answer {
    /// To its end.
    Whole,
    /// Not to its end, for this reason.
    Broken(String),
    /// The range asked for begins at or behind the end of the file.
    NothingBehind,
}

/// Appends to `part`, which has `had` bytes.
fn download(
    agent: &Agent,
    url: &str,
    part: &Path,
    had: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Answer, DataError> {
    let mut request = agent.get(url);
    if had > 0 {
        request = request.header("Range", format!("bytes={had}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::StatusCode(416)) if had > 0 => return Ok(Answer::NothingBehind),
        Err(error) => return Ok(Answer::Broken(error.to_string())),
    };
    // A server that ignores the range sends the whole file again.
    let resumed = had > 0 && response.status() == 206;
    let mut have = if resumed { had } else { 0 };
    let failed = |e: std::io::Error| DataError::io("write", part, &e);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(part)
        .map_err(failed)?;
    let total = response.body().content_length().map(|rest| have + rest);
    // The largest file has 26 MB; a hundred is a server gone wrong.
    let mut body = response.into_body().into_reader().take(100 << 20);
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(Answer::Whole),
            Ok(n) => file.write_all(&buffer[..n]).map_err(failed)?,
            Err(error) => return Ok(Answer::Broken(error.to_string())),
        }
        have = file.metadata().map_err(failed)?.len();
        let mega = |bytes: u64| bytes as f64 / 1e6;
        progress(&match total {
            Some(total) => format!("{:.1} of {:.1} MB of {url}", mega(have), mega(total)),
            None => format!("{:.1} MB of {url}", mega(have)),
        });
    }
}

fn matches(path: &Path, checksum: Checksum) -> Result<bool, DataError> {
    let failed = |e: std::io::Error| DataError::io("read", path, &e);
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(failed)?;
    Ok(hex(&Sha256::digest(&bytes)) == checksum)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
