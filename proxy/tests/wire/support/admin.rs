//! Whoever watches a proxy, over its socket.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::PATIENCE;
use super::dns::Dns;
use super::proxy::{Proxy, Start};

/// The socket that a proxy is watched by.
pub struct Socket {
    path: PathBuf,
    _keep: tempfile::TempDir,
}

impl std::ops::Deref for Socket {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// A proxy that can be watched, by a socket whose path is longer than a socket's may be.
pub fn watched(policy: &str, dns: &Dns, more: &[&str]) -> (Proxy, Socket) {
    let keep = tempfile::tempdir().unwrap();
    let directory = keep.path().join("d".repeat(120));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("admin.sock");
    let admin = path.display().to_string();
    let proxy = Proxy::start_with(&Start {
        policy,
        dns,
        arguments: &[&["--admin", &admin], more].concat(),
        through: &[],
    });
    (proxy, Socket { path, _keep: keep })
}

/// The whole answer to a request, given without its last line end.
fn exchanged(socket: &Path, request: &str) -> String {
    let directory = std::fs::File::open(socket.parent().unwrap()).unwrap();
    let short = format!("/proc/self/fd/{}/admin.sock", directory.as_raw_fd());
    let mut stream = UnixStream::connect(short).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{request}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub fn asked(socket: &Path, path: &str) -> String {
    exchanged(socket, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// Posts a body, and gives the status.
pub fn posted(socket: &Path, path: &str, body: &str) -> u16 {
    let length = body.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = exchanged(socket, &request);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

pub fn document(socket: &Path, path: &str) -> Value {
    let answer = asked(socket, path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(body).unwrap()
}

/// Waits until the document says so.
pub fn until(socket: &Path, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = std::time::Instant::now();
    loop {
        let document = document(socket, path);
        if wanted(&document) {
            return document;
        }
        assert!(since.elapsed() < PATIENCE, "{document:#}");
        std::thread::yield_now();
    }
}
