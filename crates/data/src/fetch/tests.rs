//! Against servers on loopback that behave as mirrors do, well and badly.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

const BODY: &[u8] = b"hello, world";
/// Of `BODY`.
const SUM: &str = "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b";
const FILE: (&str, Checksum) = ("file", SUM);

/// Where the ranges begin that a server was asked for; 0 for a whole file.
type Asked = Arc<Mutex<Vec<u64>>>;

/// A server that answers for as long as the test runs, and is told the request's number and range.
fn serve(answer: fn(&mut TcpStream, usize, u64)) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}/", listener.local_addr().expect("bound"));
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("connects");
            let mut from = 0;
            for line in BufReader::new(stream.try_clone().expect("clones")).lines() {
                let line = line.expect("a request").to_ascii_lowercase();
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    from = range.trim_end_matches('-').parse().expect("a number");
                }
                if line.is_empty() {
                    break;
                }
            }
            seen.lock().expect("unpoisoned").push(from);
            answer(&mut stream, number, from);
        }
    });
    (address, asked)
}

/// Promises `body` and sends its first bytes.
fn send(stream: &mut TcpStream, status: &str, body: &[u8], sent: usize) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // A client that gave up is no failure of the server.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
}

fn good(stream: &mut TcpStream, _: usize, from: u64) {
    match from as usize {
        0 => send(stream, "200 OK", BODY, BODY.len()),
        from if from >= BODY.len() => send(stream, "416 Range Not Satisfiable", b"", 0),
        from => send(stream, "206 Partial Content", &BODY[from..], BODY.len() - from),
    }
}

fn ignores_ranges(stream: &mut TcpStream, _: usize, _: u64) {
    send(stream, "200 OK", BODY, BODY.len());
}

/// Three bytes more every time.
fn breaks_off(stream: &mut TcpStream, _: usize, from: u64) {
    let rest = &BODY[from as usize..];
    let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
    send(stream, status, rest, rest.len().min(3));
}

fn always_the_beginning(stream: &mut TcpStream, _: usize, _: u64) {
    send(stream, "200 OK", BODY, 3);
}

fn other(stream: &mut TcpStream, _: usize, _: u64) {
    send(stream, "200 OK", b"an error page with status 200", 29);
}

fn missing(stream: &mut TcpStream, _: usize, _: u64) {
    send(stream, "404 Not Found", b"", 0);
}

fn silent(stream: &mut TcpStream, _: usize, _: u64) {
    let _ = stream.read(&mut [0]);
}

fn silent_midway(stream: &mut TcpStream, _: usize, _: u64) {
    send(stream, "200 OK", BODY, 5);
    let _ = stream.read(&mut [0]);
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn with_part(bytes: &[u8]) -> Self {
        let place = Self::new();
        std::fs::write(place.0.path().join("file.part"), bytes).expect("writes");
        place
    }

    fn fetch(&self, mirrors: &[&str]) -> Result<Vec<String>, DataError> {
        self.fetch_within(SILENCE, mirrors)
    }

    fn fetch_within(&self, silence: Duration, mirrors: &[&str]) -> Result<Vec<String>, DataError> {
        let mut told = Vec::new();
        let agent = agent(silence);
        fetch_files(&agent, mirrors, &[FILE], self.0.path(), &mut |s| told.push(s.to_owned()))?;
        assert!(!self.0.path().join("file.part").exists(), "the part is renamed");
        assert_eq!(std::fs::read(self.0.path().join("file")).expect("reads"), BODY);
        Ok(told)
    }

    fn part(&self) -> Option<Vec<u8>> {
        assert!(!self.0.path().join("file").exists(), "only whole files get their names");
        std::fs::read(self.0.path().join("file.part")).ok()
    }
}

fn asked(asked: &Asked) -> Vec<u64> {
    asked.lock().expect("unpoisoned").clone()
}

#[test]
fn a_download_says_what_it_waits_for_and_is_not_repeated() {
    let (address, ranges) = serve(good);
    let place = Place::new();
    let told = place.fetch(&[&address]).expect("downloads");
    assert_eq!(told[0], format!("asking {address} for file"));
    assert_eq!(told[1], format!("0.0 of 0.0 MB of {address}file"));
    place.fetch(&[&address]).expect("nothing to do");
    assert_eq!(asked(&ranges), [0]);
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let (address, ranges) = serve(good);
    Place::with_part(b"hello").fetch(&[&address]).expect("downloads");
    assert_eq!(asked(&ranges), [5]);
    let (address, ranges) = serve(breaks_off);
    Place::new().fetch(&[&address]).expect("downloads in four pieces");
    assert_eq!(asked(&ranges), [0, 3, 6, 9]);
    let (address, ranges) = serve(ignores_ranges);
    Place::with_part(b"hello").fetch(&[&address]).expect("downloads anew");
    assert_eq!(asked(&ranges), [5]);
}

#[test]
fn what_one_mirror_began_the_next_one_ends() {
    let (first, _) = serve(silent_midway);
    let (second, ranges) = serve(good);
    let start = std::time::Instant::now();
    let silence = Duration::from_secs(1);
    Place::new().fetch_within(silence, &[&first, &second]).expect("downloads");
    // Given up for its silence, long before the ten minutes that a whole file may take.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(asked(&ranges), [5]);
}

#[test]
fn a_part_that_is_whole_wrong_or_too_long_is_no_dead_end() {
    let (address, ranges) = serve(good);
    Place::with_part(BODY).fetch(&[&address]).expect("renames");
    assert!(asked(&ranges).is_empty());
    Place::with_part(b"jello").fetch(&[&address]).expect("downloads anew");
    assert_eq!(asked(&ranges), [5, 0]);
    Place::with_part(b"hello, world!!").fetch(&[&address]).expect("downloads anew");
    assert_eq!(asked(&ranges), [5, 0, 14, 0]);
}

#[test]
fn a_file_with_another_checksum_is_thrown_away_and_the_next_mirror_asked() {
    let (first, _) = serve(other);
    let (second, ranges) = serve(good);
    Place::new().fetch(&[&first, &second]).expect("downloads from the second");
    assert_eq!(asked(&ranges), [0], "the wrong part must not be resumed");
    let place = Place::new();
    let said = place.fetch(&[&first]).expect_err("wrong").to_string();
    assert!(said.contains("another checksum"), "{said}");
    assert_eq!(place.part(), None);
}

#[test]
fn the_error_lists_what_each_mirror_said_and_the_remedy() {
    let mirrors = [missing, always_the_beginning, silent].map(|answer| serve(answer).0);
    let mirrors = [&*mirrors[0], &*mirrors[1], &*mirrors[2], "http://127.0.0.1:1/"];
    let place = Place::new();
    let silence = Duration::from_millis(300);
    let said = place.fetch_within(silence, &mirrors).expect_err("fails").to_string();
    let reasons = ["http status: 404", "disconnected", "timeout", "refused"];
    for (mirror, reason) in mirrors.iter().zip(reasons) {
        let after = said.split_once(&format!("{mirror} said: ")).expect(mirror).1;
        let sentence = after.split(';').next().unwrap_or_default().to_lowercase();
        assert!(sentence.contains(reason), "{mirror} {reason}: {said}");
    }
    let folder = place.0.path().display().to_string();
    assert!(said.contains(&folder) && said.contains("--data synthetic"), "{said}");
    assert_eq!(place.part().as_deref(), Some(&BODY[..3]), "kept for the next time");
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let place = Place::with_part(b"");
    let below = place.0.path().join("file.part");
    let error = fetch(Published::Mnist, &below, &mut |_| ()).expect_err("a file, no folder");
    assert!(error.to_string().contains("cannot create"), "{error}");
}

#[test]
fn published_checksums_are_those_of_the_real_files() {
    let Some(folder) = std::env::var_os("GAINSTAGE_DATA") else { return };
    let files = Published::Mnist.files();
    let path = |file: &str| Path::new(&folder).join(file);
    // Other data than MNIST's own files may be under test.
    if path(files[3].0).exists() && matches(&path(files[3].0), files[3].1).expect("reads") {
        for (file, checksum) in files {
            assert!(matches(&path(file), checksum).expect("reads"), "{file}");
        }
    }
}
