//! The record (A): whole on every path, and nothing done without it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use policies::audit::Verifier;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::hello::hello;
use crate::support::origin::Origin;
use crate::support::proxy::{Proxy, Start};

fn lines(origin: &Origin) -> String {
    let port = origin.port();
    format!("http-domain-whitelist: ['ok.test:{port}']\ntcp-endpoints: ['w.test:{port}']\n")
}

#[test]
fn a_record_begins_with_start_and_policy_and_ends_with_stop() {
    let dns = Dns::start();
    let proxy = Proxy::start("", &dns);
    let mode = std::fs::metadata(proxy.record_file()).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let mut client = Client::connect(proxy.address);
    client.send("GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    drop(client);
    let policy = proxy.policy_file().display().to_string();
    let lines = proxy.stop();
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["start", "policy", "request", "stop"]);
    assert_eq!(
        (&lines[1]["source"], &lines[1]["generation"]),
        (&json!(policy), &json!(1))
    );
    assert_eq!(
        (&lines[3]["allowed"], &lines[3]["denied"]),
        (&json!(0), &json!(1))
    );
    assert!(
        lines
            .iter()
            .all(|line| line["sandbox"] == "test" && line["run"] == lines[0]["run"])
    );
}

#[test]
fn a04_a_client_that_breaks_off_at_any_byte_leaves_a_whole_record() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let proxy = Proxy::start(&lines(&origin), &dns);
    let to = format!("ok.test:{}", origin.port());
    let flight = [
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes(),
        &hello(Some("ok.test")),
    ]
    .concat();
    let get = format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes();
    let mut sent = 0;
    for bytes in [flight, get] {
        for end in (1..=bytes.len()).step_by(7) {
            let mut client = Client::connect(proxy.address);
            client.send(&bytes[..end]);
            // Half of them are reset, the others closed.
            if end % 2 == 0 {
                socket2::SockRef::from(&client.stream)
                    .set_linger(Some(std::time::Duration::ZERO))
                    .unwrap();
            }
            drop(client);
            sent += 1;
        }
    }
    let requests = |events: &[Value]| {
        events
            .iter()
            .filter(|event| event["event"] == "request")
            .count()
    };
    proxy.wait_events(|events| requests(events) == sent);
    proxy.settled(sent);
    let lines = proxy.stop();
    assert_eq!(requests(&lines), sent);
}

#[test]
fn a04_after_a_kill_the_record_goes_on_and_says_what_was_cut() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let policy = lines(&origin);
    let start = Start {
        policy: &policy,
        dns: &dns,
        arguments: &["--run", "one"],
        through: &[],
    };
    let proxy = Proxy::start_with(&start);
    let mut client = Client::tunnel(proxy.address, &format!("w.test:{}", origin.port()));
    client.send("hello");
    client.exactly(5);
    let directory = proxy.kill();
    // A line that was cut in the middle, as a crash of the machine may leave it.
    let file = directory.path().join("audit.jsonl");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"{\"v\":1,\"seq\":4,\"prev\":\"12");
    std::fs::write(&file, bytes).unwrap();
    let proxy = Proxy::start_in(directory, &start);
    proxy.signal("-TERM");
    let lines = wait_stop(&proxy);
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "start", "policy", "request", "gap", "start", "policy", "stop"
        ]
    );
    assert_eq!(lines[3]["lost"], "tail");
    let mut verifier = Verifier::new();
    verifier
        .feed(&std::fs::read(proxy.record_file()).unwrap(), |_| {})
        .unwrap();
    verifier.finish().unwrap();
}

fn wait_stop(proxy: &Proxy) -> Vec<Value> {
    loop {
        let lines = proxy.lines();
        if lines.last().is_some_and(|line| line["event"] == "stop") {
            return lines;
        }
        std::thread::yield_now();
    }
}

#[test]
fn r08_with_a_full_disk_every_request_is_a_503_and_nothing_is_dialled_until_there_is_room() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let (ok, raw) = (
        format!("ok.test:{}", origin.port()),
        format!("w.test:{}", origin.port()),
    );
    let policy = lines(&origin);
    let proxy = Proxy::start(&policy, &dns);
    let mut open = Client::tunnel(proxy.address, &raw);
    open.send("a");
    open.exactly(1);
    // RLIMIT_FSIZE cuts a write in the middle, as a full disk does.
    let full = std::fs::metadata(proxy.record_file()).unwrap().len() + 100;
    limit_files(&proxy, &full.to_string());
    for request in [
        format!("CONNECT {raw} HTTP/1.1\r\n\r\n"),
        format!("GET http://{ok}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "CONNECT evil.test:443 HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(&request);
        let answer = client.last_answer();
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (503, Some("limit")),
            "{request}"
        );
    }
    let mut client = Client::tunnel(proxy.address, &ok);
    client.send(hello(Some("ok.test")));
    client.rest();
    // What is open goes on, and its end is owed.
    open.send("b");
    assert_eq!(open.exactly(1), b"b");
    open.finish();
    assert_eq!(open.rest(), b"");
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(proxy.events().len(), 1);
    limit_files(&proxy, "unlimited");
    let mut client = Client::tunnel(proxy.address, &raw);
    client.send("c");
    assert_eq!(client.exactly(1), b"c");
    drop(client);
    proxy.settled(2);
    let lines = proxy.stop();
    let gaps: Vec<&Value> = lines.iter().filter(|line| line["event"] == "gap").collect();
    assert_eq!(gaps.len(), 1, "{lines:#?}");
    assert_eq!(
        (&gaps[0]["lost"], &gaps[0]["count"]),
        (&json!("requests"), &json!(4))
    );
}
fn limit_files(proxy: &Proxy, bytes: &str) {
    let (pid, soft) = (
        proxy.pid().to_string(),
        format!("--fsize={bytes}:unlimited"),
    );
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &pid, &soft])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_record_that_is_not_ours_starts_nothing() {
    let dns = Dns::start();
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("p.yaml");
    std::fs::write(&policy, "sandbox-name: test\n").unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("text"), "some text\n").unwrap();
    std::fs::write(at("open"), "").unwrap();
    std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::write(at("target"), "").unwrap();
    std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    for name in ["text", "open", "link", "directory", "no/such/place"] {
        let output = crate::support::proxy::program(&[])
            .arg("--policy")
            .arg(&policy)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--resolver",
                &dns.address.to_string(),
                "--audit",
            ])
            .arg(at(name))
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(70), "{name}: {told}");
        assert!(!told.contains("listening"), "{name}: {told}");
    }
    assert_eq!(std::fs::read_to_string(at("text")).unwrap(), "some text\n");
    let busy = Proxy::start("", &dns);
    let output = crate::support::proxy::program(&[])
        .arg("--policy")
        .arg(&policy)
        .args(["--listen", "127.0.0.1:0", "--audit"])
        .arg(busy.record_file())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70), "two writers");
    busy.stop();
}

#[test]
fn r4_untrusted_bytes_are_escaped_in_one_line() {
    let dns = Dns::start();
    let proxy = Proxy::start("", &dns);
    let mut client = Client::connect(proxy.address);
    client.send("M!#$%&'*+^`|~ http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    drop(client);
    let events = proxy.settled(1);
    assert_eq!(events[0]["method"], "M!#$%&'*+^`|~");
    proxy.stop();
}
