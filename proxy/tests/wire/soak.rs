//! Requests without end: nothing that they cost stays.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::rotation::{LINE_BY_LINE, finish, read};
use crate::support::dns::Dns;
use crate::support::origin::Origin;
use crate::support::proxy::{Proxy, Start};

/// What a proxy holds at one moment.
#[derive(Debug, Clone, Copy)]
struct Held {
    kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn by(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let count = |of: &str| {
            std::fs::read_dir(format!("/proc/{pid}/{of}"))
                .unwrap()
                .count()
        };
        Self {
            kib: line.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: count("fd"),
            threads: count("task"),
        }
    }
}

/// A warm-up of a tenth, and then `requests`; what is held before and after.
fn soak(requests: usize) -> (Held, Held) {
    const CLIENTS: usize = 16;
    let (dns, origin) = (Dns::start(), Origin::http());
    let to = format!("ok.test:{}", origin.port());
    let policy = format!(
        "http-domain-whitelist: ['{to}']\ntcp-endpoints: ['w.test:{}']\n",
        origin.port()
    );
    let proxy = Proxy::start_with(&Start {
        policy: &policy,
        dns: &dns,
        arguments: LINE_BY_LINE,
        through: &[],
    });
    let (address, to) = (proxy.address, Arc::new(to));
    let round = |count: usize| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let to = Arc::clone(&to);
                std::thread::spawn(move || visits(address, &to, count / CLIENTS))
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        Held::by(proxy.pid())
    };
    let since = Instant::now();
    let before = round(requests / 10);
    let after = round(requests);
    println!(
        "{requests} requests after {} of warm-up, {:?} in all: {before:?}, then {after:?}",
        requests / 10,
        since.elapsed()
    );
    let kept = finish(proxy);
    let record = read(kept.path()).verified;
    assert!(record.ended && record.lines >= record.seq, "{record:?}");
    (before, after)
}

/// Kept-alive requests, new connections, tunnels, refusals by name and by grammar, and clients that break off.
fn visits(address: SocketAddr, to: &str, count: usize) {
    use std::io::{Read, Write};
    let port = to.rsplit(':').next().unwrap();
    let get =
        |host: &str, more: &str| format!("GET http://{host}/ HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let mut left = count;
    while left > 0 {
        let mut kept = TcpStream::connect(address).unwrap();
        kept.set_nodelay(true).unwrap();
        let mut buffer = [0; 4096];
        for _ in 0..left.min(32) {
            kept.write_all(get(to, "").as_bytes()).unwrap();
            assert!(kept.read(&mut buffer).unwrap() > 0);
            left -= 1;
        }
        let openings = [
            (get(to, "Connection: close\r\n"), true),
            (
                get(&format!("n{left}.evil.test"), "Connection: close\r\n"),
                true,
            ),
            (format!("CONNECT w.test:{port} HTTP/1.1\r\n\r\n"), false),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), true),
            ("CONNECT ok.test:443 HTTP/1.1\r\n".to_owned(), false),
        ];
        for (opening, wait) in openings.into_iter().take(left) {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(opening.as_bytes()).unwrap();
            if wait {
                stream.read_to_end(&mut Vec::new()).ok();
            }
            left -= 1;
        }
    }
}

#[test]
fn twenty_thousand_requests_leave_no_descriptor_no_thread_and_no_memory_behind() {
    assert_flat(soak(20_000));
}

#[test]
#[ignore = "a million requests take minutes: `make soak` runs it against the released program"]
fn a_million_requests_leave_no_descriptor_no_thread_and_no_memory_behind() {
    assert_flat(soak(1_000_000));
}

/// Neither grows with the number of requests; what an allocator keeps for itself may.
fn assert_flat((before, after): (Held, Held)) {
    assert!(
        after.descriptors <= before.descriptors + 2,
        "{before:?}, then {after:?}"
    );
    // One more may be there for a moment, which puts the record on the disk.
    assert!(
        after.threads <= before.threads + 1,
        "{before:?}, then {after:?}"
    );
    assert!(after.kib <= before.kib + 4096, "{before:?}, then {after:?}");
}
