//! The program itself, started on a free port, with a record of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use policies::audit::Verifier;
use serde_json::Value;

use super::PATIENCE;
use super::dns::Dns;

pub struct Proxy {
    pub address: SocketAddr,
    pub directory: tempfile::TempDir,
    child: Child,
    told: Arc<(Mutex<Vec<String>>, Condvar)>,
}

/// How a proxy is started.
pub struct Start<'a> {
    pub policy: &'a str,
    pub dns: &'a Dns,
    pub arguments: &'a [&'a str],
    /// Put in front of the command, for limits.
    pub through: &'a [&'a str],
}

/// The program that was built for this test.
pub fn program(through: &[&str]) -> Command {
    let ours = env!("CARGO_BIN_EXE_ocs-proxy");
    match through {
        [] => Command::new(ours),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(ours);
            command
        }
    }
}

impl Proxy {
    /// With `lines` added to a file that names the sandbox and lets names lead to loopback.
    pub fn start(lines: &str, dns: &Dns) -> Self {
        Self::start_with(&Start {
            policy: lines,
            dns,
            arguments: &[],
            through: &[],
        })
    }

    pub fn start_with(start: &Start<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, start)
    }

    /// In a directory that may hold the record of an earlier run.
    pub fn start_in(directory: tempfile::TempDir, start: &Start<'_>) -> Self {
        let policy = directory.path().join("opencode-sandbox-config.yaml");
        std::fs::write(&policy, whole(start.policy)).unwrap();
        let mut child = program(start.through)
            .arg("--policy")
            .arg(&policy)
            .arg("--audit")
            .arg(directory.path().join("audit.jsonl"))
            .args(["--listen", "127.0.0.1:0", "--resolver", &start.dns.address.to_string()])
            .args(start.arguments)
            // S17: none of these means anything to the proxy.
            .env("http_proxy", "http://127.0.0.1:9")
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .env("ALL_PROXY", "http://127.0.0.1:9")
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = listen_to(child.stderr.take().unwrap());
        let mut proxy = Self {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            directory,
            child,
            told,
        };
        let line = proxy.wait_told("listening on ");
        proxy.address = line.split("listening on ").nth(1).unwrap().parse().unwrap();
        proxy
    }

    /// Waits until the proxy says something with `text` in it, and gives the line.
    pub fn wait_told(&self, text: &str) -> String {
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let told = self.told.0.lock().unwrap();
        let (told, late) = self
            .told
            .1
            .wait_timeout_while(told, PATIENCE, |lines| !has(lines))
            .unwrap();
        assert!(
            !late.timed_out(),
            "wanted {text:?}, the proxy said {told:#?}"
        );
        told.iter()
            .rev()
            .find(|line| line.contains(text))
            .unwrap()
            .clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn policy_file(&self) -> PathBuf {
        self.directory.path().join("opencode-sandbox-config.yaml")
    }

    pub fn record_file(&self) -> PathBuf {
        self.directory.path().join("audit.jsonl")
    }

    /// Replaces the policy as editors do: another file, renamed.
    pub fn write_policy(&self, lines: &str) {
        self.write_policy_text(&whole(lines));
    }

    pub fn write_policy_text(&self, text: &str) {
        let aside = self.directory.path().join("aside.yaml");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.policy_file()).unwrap();
    }
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success(), "kill {name} {pid}");
    }

    /// The record so far, without its newlines; a line that is being written is not there yet.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.record_file()).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The `request` and `close` events so far.
    pub fn events(&self) -> Vec<Value> {
        let ours = |line: &Value| matches!(line["event"].as_str(), Some("request" | "close"));
        self.lines().into_iter().filter(ours).collect()
    }

    /// Waits until `wanted` says that the record is there.
    pub fn wait_events(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let since = Instant::now();
        loop {
            let events = self.events();
            if wanted(&events) {
                return events;
            }
            assert!(since.elapsed() < PATIENCE, "the record has {events:#?}");
            std::thread::yield_now();
        }
    }

    /// Waits until every allowed request has its close, and there are `count` requests.
    pub fn settled(&self, count: usize) -> Vec<Value> {
        self.wait_events(|events| {
            let of = |kind: &str, decision: Option<&str>| {
                let is = |event: &&Value| {
                    event["event"] == kind && decision.is_none_or(|it| event["decision"] == it)
                };
                events.iter().filter(is).count()
            };
            of("request", None) >= count && of("request", Some("allow")) == of("close", None)
        })
    }

    /// Tells it to end, checks the whole record, and gives its lines.
    pub fn stop(self) -> Vec<Value> {
        self.signal("-TERM");
        self.stop_after_signal()
    }

    /// As [`Self::stop`], when it was told already.
    pub fn stop_after_signal(mut self) -> Vec<Value> {
        let status = self.child.wait().unwrap();
        assert!(
            status.success(),
            "{status}: {:#?}",
            self.told.0.lock().unwrap()
        );
        let lines = self.lines();
        check(&self);
        assert_eq!(lines.last().unwrap()["event"], "stop");
        lines
    }

    /// Ends it as a crash does, and gives the directory for the next run.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("the proxy said {:#?}", self.told.0.lock());
            eprintln!(
                "the record has {}",
                std::fs::read_to_string(self.record_file()).unwrap_or_default()
            );
        }
    }
}

/// Every line verifies, ids are unique, and every allowed request has exactly one close.
fn check(proxy: &Proxy) {
    let bytes = std::fs::read(proxy.record_file()).unwrap();
    let mut verifier = Verifier::new();
    verifier.feed(&bytes, |_| {}).unwrap();
    verifier.finish().unwrap();
    // By id: how many requests, how many of them allowed, how many ends.
    let mut seen: HashMap<u64, (usize, usize, usize)> = HashMap::new();
    for event in proxy.events() {
        let of = seen.entry(event["id"].as_u64().unwrap()).or_default();
        match event["event"].as_str() {
            Some("request") => (of.0, of.1) = (of.0 + 1, usize::from(event["decision"] == "allow")),
            _ => of.2 += 1,
        }
    }
    for (id, (requests, allowed, closes)) in seen {
        assert_eq!((requests, closes), (1, allowed), "request {id}");
    }
}

fn whole(lines: &str) -> String {
    format!("sandbox-name: test\nprivate-addresses:\n  - 127.0.0.1\n{lines}")
}

fn listen_to(stderr: impl std::io::Read + Send + 'static) -> Arc<(Mutex<Vec<String>>, Condvar)> {
    let told: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
    let ours = Arc::clone(&told);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            ours.0.lock().unwrap().push(line);
            ours.1.notify_all();
        }
    });
    told
}
