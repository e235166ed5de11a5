//! Asks a run's proxy, and answers it, over the admin socket in the run's directory. Decides nothing, shows nothing.
//! Clauses: P10.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::state::{ADMIN, SOCKET};

/// How long a proxy may take; it answers from memory.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(2));
/// Bytes of an answer that are read: the longest is a list of questions.
const LONGEST: u64 = 1 << 20;

/// What a proxy answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

/// Asks for a page.
///
/// # Errors
/// The proxy is gone, or does not answer.
pub(crate) fn get(run: &Path, page: &str) -> io::Result<Answer> {
    exchange(run, &format!("GET {page} HTTP/1.1\r\nHost: ocs\r\n\r\n"))
}

/// Hands over a document.
///
/// # Errors
/// As for [`get`].
pub(crate) fn post(run: &Path, page: &str, body: &str) -> io::Result<Answer> {
    let length = body.len();
    exchange(
        run,
        &format!("POST {page} HTTP/1.1\r\nHost: ocs\r\nContent-Length: {length}\r\n\r\n{body}"),
    )
}

fn exchange(run: &Path, request: &str) -> io::Result<Answer> {
    // unix(7): 108 bytes, and state lies deep below a home; a directory's descriptor makes any path short.
    let directory = File::open(run.join(ADMIN))?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    let mut stream = UnixStream::connect(short)?;
    stream.set_read_timeout(PATIENCE)?;
    stream.set_write_timeout(PATIENCE)?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    parsed(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parsed(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_is_reached_however_long_its_path_is() {
        let keep = tempfile::tempdir().unwrap();
        let run = keep.path().join("d".repeat(150));
        std::fs::create_dir_all(run.join(ADMIN)).unwrap();
        assert!(get(&run, "/status").is_err());
        let directory = File::open(run.join(ADMIN)).unwrap();
        let short = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let listener = UnixListener::bind(short).unwrap();
        let proxy = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 256];
            let count = stream.read(&mut asked).unwrap();
            stream
                .write_all(b"HTTP/1.1 409 Conflict\r\nx: y\r\n\r\ntoo late\n")
                .unwrap();
            String::from_utf8_lossy(&asked[..count]).into_owned()
        });
        let answer = post(&run, "/questions/1", "{}").unwrap();
        let body = "too late\n".to_owned();
        assert_eq!(answer, Answer { status: 409, body });
        let asked = "POST /questions/1 HTTP/1.1\r\nHost: ocs\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(proxy.join().unwrap(), asked);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for text in ["", "HTTP/1.1 200", "HTTP/1.1 OK\r\n\r\n", "junk\r\n\r\n"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
