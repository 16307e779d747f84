//! Downloads: two mirrors, short time limits, a checksum, and going on where a broken one ended.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::DataError;

/// A data set that is published for download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Handwritten digits (LeCun, Cortes & Burges 1998).
    Mnist,
    /// Pieces of clothing (Xiao, Rasul & Vollgraf 2017).
    FashionMnist,
}

/// What a file must hash to, in hexadecimal.
#[derive(Clone, Copy, Debug)]
enum Checksum {
    Sha256(&'static str),
    Md5(&'static str),
}

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
        use Checksum::{Md5, Sha256};
        let [a, b, c, d] = [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ];
        match self {
            Self::Mnist => [
                (a, Sha256("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609")),
                (b, Sha256("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")),
                (c, Sha256("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6")),
                (d, Sha256("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")),
            ],
            Self::FashionMnist => [
                (a, Md5("8d4fb7e6c68d591d4c3dfef9ec88bf0d")),
                (b, Md5("25c81989df183df01b3e8a0aad5dffbe")),
                (c, Md5("bef4ecab320f06d8554ea6380940ec79")),
                (d, Md5("bb300cfdad3c16e7a12a480ee83cd310")),
            ],
        }
    }
}

/// Downloads a data set into `folder`. Files that are there and whole are left alone.
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

/// As [`fetch`], from mirrors of your own.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_from(
    mirrors: &[&str],
    set: Published,
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), DataError> {
    std::fs::create_dir_all(folder).map_err(|e| DataError::io("create", folder, &e))?;
    for (file, checksum) in set.files() {
        let target = folder.join(file);
        if target.exists() && matches(&target, checksum)? {
            continue;
        }
        let part = folder.join(format!("{file}.part"));
        let mut tried = Vec::new();
        let mut done = false;
        for mirror in mirrors {
            progress(&format!("downloading {file} from {mirror}"));
            match download(&format!("{mirror}{file}"), &part) {
                Err(reason) => tried.push(format!("{mirror} said: {reason}")),
                Ok(()) if matches(&part, checksum)? => {
                    std::fs::rename(&part, &target)
                        .map_err(|e| DataError::io("write", &target, &e))?;
                    done = true;
                    break;
                }
                Ok(()) => {
                    tried.push(format!("{mirror} sent a file with another checksum"));
                    std::fs::remove_file(&part).map_err(|e| DataError::io("remove", &part, &e))?;
                }
            }
        }
        if !done {
            let (tried, folder) = (tried.join("; "), folder.to_owned());
            return Err(DataError::Download { file: file.to_owned(), tried, folder });
        }
    }
    Ok(())
}

/// The user's cache folder for a data set.
///
/// # Errors
/// [`DataError::NoCache`] if the environment names none.
pub fn cache_folder(set: Published) -> Result<PathBuf, DataError> {
    crate::source::cache_folder(set)
}

/// Appends to `part` from where it ends; the reason of a failure is for the error's sentence.
fn download(url: &str, part: &Path) -> Result<(), String> {
    let have = std::fs::metadata(part).map_or(0, |m| m.len());
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(10)))
            .timeout_recv_body(Some(Duration::from_secs(120)))
            .build(),
    );
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|e| e.to_string())?;
    // A server that ignores the range sends the whole file again.
    let resumed = response.status() == 206;
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(part)
        .map_err(|e| e.to_string())?;
    // The largest file has 10 MB; a hundred is a server gone wrong.
    let mut body = response.into_body().into_reader().take(100 << 20);
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return file.flush().map_err(|e| e.to_string()),
            Ok(n) => file.write_all(&buffer[..n]).map_err(|e| e.to_string())?,
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn matches(path: &Path, checksum: Checksum) -> Result<bool, DataError> {
    let failed = |e: std::io::Error| DataError::io("read", path, &e);
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(failed)?;
    Ok(match checksum {
        Checksum::Sha256(expected) => hex(&Sha256::digest(&bytes)) == expected,
        Checksum::Md5(expected) => hex(&Md5::digest(&bytes)) == expected,
    })
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
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server on loopback that answers `requests` times; returns its address and the ranges asked for.
    fn serve(requests: usize, answer: fn(&mut TcpStream, u64)) -> (String, Arc<Mutex<Vec<u64>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}/", listener.local_addr().expect("bound"));
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(requests) {
                let mut stream = stream.expect("connects");
                let mut from = 0;
                let mut lines = BufReader::new(stream.try_clone().expect("clones")).lines();
                while let Some(Ok(line)) = lines.next() {
                    if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                        from = range.trim_end_matches('-').parse().expect("a number");
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                seen.lock().expect("unpoisoned").push(from);
                answer(&mut stream, from);
            }
        });
        (address, ranges)
    }

    fn ok(stream: &mut TcpStream, from: u64) {
        let body = &b"hello, world"[from as usize..];
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(body);
    }

    #[test]
    fn a_broken_download_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let part = dir.path().join("file.part");
        std::fs::write(&part, "hello").expect("writes");
        let (address, ranges) = serve(1, ok);
        download(&address, &part).expect("downloads");
        assert_eq!(std::fs::read_to_string(&part).expect("reads"), "hello, world");
        assert_eq!(*ranges.lock().expect("unpoisoned"), [5]);
        let sum =
            Checksum::Sha256("09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b");
        assert!(matches(&part, sum).expect("reads"));
        assert!(!matches(&part, Checksum::Md5("00")).expect("reads"));
    }

    #[test]
    fn a_truncated_answer_and_a_404_are_reasons_and_no_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (short, _) = serve(4, |stream, _| {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nonly this"
            );
        });
        let (missing, _) = serve(4, |stream, _| {
            let _ = write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        });
        let error = fetch_from(&[&missing, &short], Published::Mnist, dir.path(), &mut |_| ())
            .expect_err("fails");
        let said = error.to_string();
        assert!(
            said.contains("404") && said.contains(&short) && said.contains("--data synthetic"),
            "{said}"
        );
        assert!(!dir.path().join("train-images-idx3-ubyte.gz").exists());
    }

    #[test]
    fn a_file_with_another_checksum_is_thrown_away_and_the_next_mirror_asked() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (first, _) = serve(1, ok);
        let (second, asked) = serve(1, ok);
        let error = fetch_from(&[&first, &second], Published::Mnist, dir.path(), &mut |_| ())
            .expect_err("fails");
        assert!(error.to_string().contains("another checksum"));
        assert_eq!(*asked.lock().expect("unpoisoned"), [0], "the wrong part must not be resumed");
        assert!(!dir.path().join("train-images-idx3-ubyte.gz.part").exists());
    }

    #[test]
    fn whole_files_are_not_fetched_again() {
        let Some(folder) = std::env::var_os("GAINSTAGE_DATA") else { return };
        let nobody = ["http://127.0.0.1:9/"];
        let real = matches(
            &Path::new(&folder).join("t10k-labels-idx1-ubyte.gz"),
            Published::Mnist.files()[3].1,
        );
        if real.unwrap_or(false) {
            let dir = tempfile::tempdir().expect("a temporary folder");
            for (file, _) in Published::Mnist.files() {
                std::fs::copy(Path::new(&folder).join(file), dir.path().join(file))
                    .expect("copies");
            }
            fetch_from(&nobody, Published::Mnist, dir.path(), &mut |_| ())
                .expect("nothing to fetch");
        }
    }
}
