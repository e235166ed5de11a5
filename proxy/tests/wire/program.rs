//! The program: its flags, its exit codes, its end.

use std::process::Output;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::origin::Origin;
use crate::support::proxy::{Proxy, program};

fn run(arguments: &[&str]) -> Output {
    program(&[]).args(arguments).output().unwrap()
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    for arguments in [
        &[][..],
        &["--listen", "127.0.0.1:0"],
        &["--no-such-flag"],
        &["serve"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(64), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["-h"], &["--version"]] {
        assert_eq!(run(arguments).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_policy_that_is_missing_or_wrong_is_64_and_nothing_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let (policy, audit) = (
        directory.path().join("p.yaml"),
        directory.path().join("a.jsonl"),
    );
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--policy",
        policy.to_str().unwrap(),
        "--audit",
        audit.to_str().unwrap(),
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(64));
    std::fs::write(
        &policy,
        "sandbox-name: test\nhost-ports: [0, 99999]\nhttp-domain-whitelst: []\n",
    )
    .unwrap();
    let output = run(&arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(
        told.matches("p.yaml:").count() >= 3,
        "all mistakes at once: {told}"
    );
    assert!(!told.contains("listening"), "{told}");
    assert!(!audit.exists());
    std::fs::write(&policy, b"sandbox-name: \xff\n").unwrap();
    assert_eq!(run(&arguments).status.code(), Some(64));
}

#[test]
fn a_port_that_is_taken_is_70_and_leaves_no_record() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let (policy, audit) = (
        directory.path().join("p.yaml"),
        directory.path().join("a.jsonl"),
    );
    std::fs::write(&policy, "sandbox-name: test\n").unwrap();
    let output = run(&[
        "--listen",
        &address,
        "--policy",
        policy.to_str().unwrap(),
        "--audit",
        audit.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(70));
    assert!(!audit.exists());
}

#[test]
fn sigterm_lets_what_is_open_end_and_takes_nothing_new() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let proxy = Proxy::start(&format!("tcp-endpoints: ['ok.test:{port}']\n"), &dns);
    let address = proxy.address;
    let mut open = Client::tunnel(address, &format!("ok.test:{port}"));
    let mut kept = Client::connect(address);
    kept.send("GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(kept.answer().status, 403);
    proxy.signal("-TERM");
    // A connection that waits for its next request ends at once.
    assert_eq!(kept.rest(), b"");
    open.send("still here");
    assert_eq!(open.exactly(10), b"still here");
    while std::net::TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    drop(open);
    let lines = proxy.stop_after_signal();
    let close = lines.iter().find(|line| line["event"] == "close").unwrap();
    assert_eq!(close["outcome"], "done");
}

#[test]
fn a_second_signal_cuts_what_is_open_and_records_it() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let proxy = Proxy::start(&format!("tcp-endpoints: ['ok.test:{port}']\n"), &dns);
    let mut open = Client::tunnel(proxy.address, &format!("ok.test:{port}"));
    proxy.signal("-TERM");
    while std::net::TcpStream::connect(proxy.address).is_ok() {
        std::thread::yield_now();
    }
    proxy.signal("-INT");
    assert_eq!(open.rest(), b"");
    let lines = proxy.stop_after_signal();
    let close = lines.iter().find(|line| line["event"] == "close").unwrap();
    assert_eq!(close["outcome"], "shutdown");
}

#[test]
fn the_mode_on_the_command_line_can_only_narrow() {
    let dns = Dns::start();
    let (policy, arguments) = ("http-domain-whitelist: [ok.test]\n", ["--mode", "none"]);
    let start = crate::support::proxy::Start {
        policy,
        dns: &dns,
        arguments: &arguments,
        through: &[],
    };
    let proxy = Proxy::start_with(&start);
    let mut client = Client::connect(proxy.address);
    client.send("GET http://ok.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().reason().as_deref(), Some("mode"));
    assert_eq!(dns.asked(), Vec::<String>::new());
    drop(client);
    proxy.stop();
}

#[test]
fn a_connection_that_is_being_dialled_when_the_proxy_ends_is_closed_in_the_record() {
    let dns = Dns::start();
    // A full queue: the dial is still under way when the proxy has no more patience.
    let (hole, _full) = crate::support::origin::black_hole();
    let port = hole.local_addr().unwrap().port();
    let proxy = Proxy::start(
        &format!("tcp-endpoints: ['ok.test:{port}']\nlimits: {{connect-timeout: 60s}}\n"),
        &dns,
    );
    let mut client = Client::connect(proxy.address);
    client.send(format!("CONNECT ok.test:{port} HTTP/1.1\r\n\r\n"));
    proxy.wait_events(|events| events.len() == 1);
    proxy.signal("-TERM");
    while std::net::TcpStream::connect(proxy.address).is_ok() {
        std::thread::yield_now();
    }
    proxy.signal("-TERM");
    let lines = proxy.stop_after_signal();
    let last: Vec<&str> = lines
        .iter()
        .rev()
        .take(2)
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    assert_eq!(last, ["stop", "close"]);
}
