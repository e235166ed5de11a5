//! The battery, exhaustion (R): whoever is slow or many costs the others nothing, and pushes nothing out of the record.
//! The limits themselves, the full disk and the lack of descriptors are tried by the proxy's own suite (`proxy/tests/wire`).
//! Clauses: W8, R1, R3.

use anyhow::Context;
use harness::project::Decided;
use harness::{open_cases, product_cases};

/// 60 uploads that never end and 60 downloads that nobody reads; then a good client.
const SLOW: &str = r#"
import socket, subprocess
held = []
for i in range(60):
    s = socket.create_connection(("127.0.0.1", 3128), 8)
    s.sendall(b"POST http://ok.test/sink HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 1000000\r\n\r\nx")
    held.append(s)
for i in range(60):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.connect(("127.0.0.1", 3128))
    s.sendall(b"GET http://ok.test/bytes/3000000 HTTP/1.1\r\nHost: ok.test\r\n\r\n")
    held.append(s)
print(subprocess.run(["curl", "-sS", "-m", "10", "https://w.test/"], capture_output=True, text=True).stdout, end="")
"#;

/// 200 beginnings of a ClientHello, of every length, and 50 of the longest record; then a good client.
const HELLOS: &str = r#"
import socket, subprocess
held = []
for i in range(250):
    s = socket.create_connection(("127.0.0.1", 3128), 8)
    s.sendall(b"CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n\r\n")
    record = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 507
    s.sendall(record[: 1 + i % 200] if i < 200 else b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03" + b"\0" * 16373)
    held.append(s)
print(subprocess.run(["curl", "-sS", "-m", "10", "https://w.test/"], capture_output=True, text=True).stdout, end="")
"#;

/// One name of interest, then 3,000 others.
const FLOOD: &str = r#"
import socket
def ask(name):
    s = socket.create_connection(("127.0.0.1", 3128), 8)
    s.sendall(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
    while s.recv(4096): pass
ask("first.evil.test")
for i in range(3000): ask(f"n{i}.evil.test")
print("end")
"#;

product_cases! {
    needs "a record"
    fn r02_slow_senders_and_slow_readers_keep_nobody_else_waiting(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["python3", "-c", SLOW])?;
        assert_eq!(evidence.client.stdout, "hello from w.test\n", "{}", evidence.client);
        let requests = evidence.requests()?;
        assert_eq!(requests.iter().filter(|it| it.verdict == "allow").count(), 121);
    }

    needs "a record"
    fn r09_a_flood_of_refusals_pushes_none_out_of_the_record(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["python3", "-c", FLOOD])?;
        assert_eq!(evidence.client.stdout, "end\n", "{}", evidence.client);
        evidence.nothing_left(&[])?;
        let requests = evidence.requests()?;
        let record = evidence.record.as_ref().context("no record")?;
        assert_eq!(record.told("request"), 3001);
        assert_eq!(requests.first(), Some(&Decided::request("first.evil.test", 443, "not-whitelisted")));
        project.ocs(&["audit", "verify"])?.succeeded()?;
    }

    needs "a record"
    fn r11_a_flood_of_hellos_that_never_end_keeps_nobody_else_waiting(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["python3", "-c", HELLOS])?;
        assert_eq!(evidence.client.stdout, "hello from w.test\n", "{}", evidence.client);
        let reached = evidence.readings.connections.iter().filter(|seen| seen.sni.as_deref() != Some("w.test")).count();
        assert_eq!(reached, 0, "{}", evidence.client);
    }
}

open_cases! {
    r13_memory_stays_flat_over_a_million_requests: "an hour of work: `make soak`; twenty thousand requests are tried by proxy/tests/wire/soak.rs";
    r15_a_body_that_unpacks_to_much_more_is_bounded: "no body is unpacked or inspected";
}
