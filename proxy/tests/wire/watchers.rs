//! `/status` and its neighbours, as whoever watches the proxy sees them.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::proxy::{Proxy, Start};

/// The socket that a proxy is watched by.
struct Socket {
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
fn watched() -> (Proxy, Socket) {
    let keep = tempfile::tempdir().unwrap();
    let directory = keep.path().join("d".repeat(120));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("admin.sock");
    let proxy = Proxy::start_with(&Start {
        policy: "",
        dns: &Dns::start(),
        arguments: &["--admin", &path.display().to_string()],
        through: &[],
    });
    (proxy, Socket { path, _keep: keep })
}

fn asked(socket: &Path, path: &str) -> String {
    let directory = std::fs::File::open(socket.parent().unwrap()).unwrap();
    let short = format!("/proc/self/fd/{}/admin.sock", directory.as_raw_fd());
    let mut stream = UnixStream::connect(short).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(socket: &Path) -> Value {
    let answer = asked(socket, "/status");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(body).unwrap()
}

/// Waits until the status says so.
fn until(socket: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = std::time::Instant::now();
    loop {
        let status = status(socket);
        if wanted(&status) {
            return status;
        }
        assert!(since.elapsed() < PATIENCE, "{status:#}");
        std::thread::yield_now();
    }
}

fn limit_files(proxy: &Proxy, soft: &str) {
    let pid = proxy.pid().to_string();
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={soft}:unlimited")])
        .status();
    assert!(status.unwrap().success());
}

fn refused(proxy: &Proxy) -> u16 {
    let mut client = Client::connect(proxy.address);
    client.send("CONNECT evil.test:443 HTTP/1.1\r\n\r\n");
    client.answer().status
}

#[test]
fn status_says_how_the_record_the_policy_and_the_requests_stand() {
    let (proxy, socket) = watched();
    let mode = std::fs::metadata(&*socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(refused(&proxy), 403);
    let now = status(&socket);
    let lines = proxy.lines();
    assert_eq!(now["phase"], "running");
    assert_eq!(
        (&now["record"]["ok"], &now["record"]["lines"]),
        (&true.into(), &3.into())
    );
    assert_eq!(
        (&now["policy"]["ok"], &now["policy"]["error"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(now["policy"]["hash"], lines[1]["hash"]);
    assert_eq!(
        now["requests"],
        serde_json::json!({"allowed": 0, "denied": 1, "open": 0})
    );
    assert!(asked(&socket, "/elsewhere").starts_with("HTTP/1.1 404 "));
    proxy.stop();
}

#[test]
fn status_says_that_a_full_disk_refuses_requests_until_there_is_room() {
    let (proxy, socket) = watched();
    let length = std::fs::metadata(proxy.record_file()).unwrap().len();
    limit_files(&proxy, &(length + 100).to_string());
    assert_eq!((refused(&proxy), refused(&proxy)), (503, 503));
    let full = &status(&socket)["record"];
    assert_eq!((&full["ok"], &full["lost"]), (&false.into(), &2.into()));
    limit_files(&proxy, "unlimited");
    // Nobody has to ask for anything: what is owed is tried again by itself.
    let room = until(&socket, |status| status["record"]["ok"] == true);
    assert_eq!(room["record"]["lost"], 0);
    assert_eq!(refused(&proxy), 403);
    proxy.stop();
}

#[test]
fn status_says_what_is_wrong_with_a_changed_policy_until_it_is_mended() {
    let (proxy, socket) = watched();
    proxy.write_policy("http-domain-whitelist: ['*']\n");
    let broken = until(&socket, |status| status["policy"]["ok"] == false);
    let error = broken["policy"]["error"].as_str().unwrap();
    assert!(error.contains("opencode-sandbox-config.yaml:4:"), "{error}");
    assert_eq!(broken["policy"]["generation"], 1);
    proxy.write_policy("http-domain-whitelist: [a.test]\n");
    let mended = until(&socket, |status| status["policy"]["ok"] == true);
    assert_eq!(
        (&mended["policy"]["generation"], &mended["policy"]["error"]),
        (&2.into(), &Value::Null)
    );
    proxy.stop();
}
