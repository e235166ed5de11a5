//! The record under load, through rotation and a kill in the middle: no line lost that somebody was answered for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use policies::audit::{Decision, Event, Lost, Part, Verified, Verifier};

use crate::support::PATIENCE;
use crate::support::dns::Dns;
use crate::support::proxy::{Proxy, Start};

/// Refused requests that clients send in one go.
const BATCH: usize = 50;
const CLIENTS: usize = 4;

#[test]
fn a_record_that_is_rotated_and_killed_under_load_is_one_chain_without_gaps() {
    loaded_and_killed(10_000, "500000");
}

#[test]
#[ignore = "a million events take minutes in a debug build; make record-load"]
fn a_million_events_through_a_kill_are_one_chain_without_gaps() {
    loaded_and_killed(1_000_000, "50000000");
}

/// Every refusal is a line, however many come.
pub(crate) const LINE_BY_LINE: &[&str] = &["--flood-after", "18446744073709551615"];

fn loaded_and_killed(events: u64, rotate_bytes: &str) {
    let dns = Dns::start();
    let start = Start {
        policy: "",
        dns: &dns,
        arguments: &[
            &["--rotate-bytes", rotate_bytes, "--run", "one"],
            LINE_BY_LINE,
        ]
        .concat(),
        through: &[],
    };
    let answered = Arc::new(AtomicU64::new(0));
    let proxy = Proxy::start_with(&start);
    let clients = load(proxy.address, &answered, events);
    while answered.load(Relaxed) < events / 2 {
        std::thread::yield_now();
    }
    let directory = proxy.kill();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let before = answered.load(Relaxed);
    assert!(before < events, "all were answered before the kill");
    let proxy = Proxy::start_in(directory, &start);
    let clients = load(proxy.address, &answered, events);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let record = proxy.record_file();
    let kept = finish(proxy);
    let read = read(record.parent().unwrap());
    assert!(read.verified.ended);
    assert_eq!(read.verified.lines, read.verified.seq);
    assert_eq!(read.starts, 2);
    assert!(read.files > 2, "{} files", read.files);
    // What was answered is on record; what was recorded and then killed was not answered.
    let answered = answered.load(Relaxed);
    let unanswered = u64::try_from(CLIENTS * BATCH).unwrap();
    assert!(
        (answered..=answered + unanswered).contains(&read.refused),
        "{answered} answered, {} on record",
        read.refused
    );
    assert!(read.tails <= 1);
    println!(
        "{} lines in {} files, {before} answered before the kill",
        read.verified.lines, read.files
    );
    drop(kept);
}

/// Ends the proxy in order; what keeps its directory.
pub(crate) fn finish(proxy: Proxy) -> tempfile::TempDir {
    proxy.signal("-TERM");
    let file = proxy.record_file();
    let ends = || {
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("\"event\":\"stop\"")
    };
    let since = std::time::Instant::now();
    while !ends() {
        assert!(since.elapsed() < PATIENCE, "no stop");
        std::thread::yield_now();
    }
    proxy.kill()
}

/// Clients that send refused requests until so many were answered, or the proxy is gone.
fn load(
    address: SocketAddr,
    answered: &Arc<AtomicU64>,
    until: u64,
) -> Vec<std::thread::JoinHandle<()>> {
    let client = |_| {
        let answered = Arc::clone(answered);
        std::thread::spawn(move || drop(refused(address, &answered, until)))
    };
    (0..CLIENTS).map(client).collect()
}

fn refused(address: SocketAddr, answered: &AtomicU64, until: u64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let batch = "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n".repeat(BATCH);
    let mut buffer = vec![0; 1 << 18];
    while answered.load(Relaxed) < until {
        stream.write_all(batch.as_bytes())?;
        let (mut have, mut counted) = (0, 0);
        while counted < BATCH {
            let count = stream.read(&mut buffer[have..])?;
            if count == 0 {
                return Ok(());
            }
            have += count;
            let status = buffer[..have]
                .windows(13)
                .filter(|it| it == b"HTTP/1.1 403 ");
            let now = status.count();
            answered.fetch_add(u64::try_from(now - counted).unwrap(), Relaxed);
            counted = now;
        }
    }
    Ok(())
}

/// What a whole record came to.
pub(crate) struct Whole {
    pub(crate) verified: Verified,
    files: usize,
    refused: u64,
    starts: u64,
    tails: u64,
}

/// The whole record, file by file, as one chain.
pub(crate) fn read(directory: &Path) -> Whole {
    let paths = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<PathBuf> = paths
        .filter(|path| Part::parse(&name(path)).open == "audit.jsonl")
        .collect();
    files.sort();
    let (mut refused, mut starts, mut tails) = (0, 0, 0);
    let mut verifier = Verifier::new();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let count = |record: policies::audit::Record| match record.event {
            Event::Request(request) if request.decision == Decision::Deny => refused += 1,
            Event::Gap(gap) => tails += u64::from(gap.lost == Lost::Tail),
            Event::Start(_) => starts += 1,
            _ => {}
        };
        verifier.feed(&bytes, count).unwrap();
        verifier.next_file().unwrap();
    }
    Whole {
        verified: verifier.finish().unwrap(),
        files: files.len(),
        refused,
        starts,
        tails,
    }
}
