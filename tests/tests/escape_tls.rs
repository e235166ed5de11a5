//! The battery, TLS (T): the name in the ClientHello is the destination, or nothing goes out.
//! Clauses: W4, W5, P3, B1.

use harness::escape::row::{tunnel, tunnel_as};
use harness::order::EVIL_ADDRESS;
use harness::project::Decided;
use harness::{cases, open_cases, product_cases};

cases! {
    t01_another_name_in_the_hello_is_refused: [
        tunnel_as("ok.test:443", "evil.test").refused_after_a_lookup("ok.test", 443, "sni-mismatch"),
        tunnel_as("ok.test:443", "w.test").refused_after_a_lookup("ok.test", 443, "sni-mismatch"),
        tunnel_as("a.w.test:443", "b.w.test").refused_after_a_lookup("a.w.test", 443, "sni-mismatch"),
        tunnel_as("evil.test:443", "ok.test").refused("evil.test", 443, "not-whitelisted"),
    ];
    t03_a_hello_without_a_name_is_refused: [tunnel_as("ok.test:443", "-").refused_after_a_lookup("ok.test", 443, "no-sni")];
    t00_the_name_of_the_destination_passes: [tunnel("ok.test:443").passes("ok.test", 443)];
}

/// A hello of this host with an `encrypted_client_hello` extension (RFC 9849: 0xfe0d) of random bytes, as Chrome sends one
/// to every server; prints whether an answer of TLS came.
const ECH: &str = r"
import os, socket, ssl, struct, sys
authority, outer = sys.argv[1:3]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.maximum_version = ssl.TLSVersion.TLSv1_2 if sys.argv[3:] else ssl.TLSVersion.MAXIMUM_SUPPORTED
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=outer)
try: tls.do_handshake()
except ssl.SSLWantReadError: pass
hello = outgoing.read()
body = bytearray(hello[9:])                       # after the record's and the handshake's heads
at = 34 + 1 + body[34]                            # version and random, session id
at += 2 + struct.unpack_from('>H', body, at)[0]   # cipher suites
at += 1 + body[at]                                # compressions
payload = b'\x00\x00\x01\x00\x01\x07' + struct.pack('>H', 32) + os.urandom(32) + struct.pack('>H', 144) + os.urandom(144)
extension = struct.pack('>HH', 0xfe0d, len(payload)) + payload
struct.pack_into('>H', body, at, struct.unpack_from('>H', body, at)[0] + len(extension))
body[at + 2:at + 2] = extension
handshake = b'\x01' + struct.pack('>I', len(body))[1:] + bytes(body)
record = hello[:3] + struct.pack('>H', len(handshake)) + handshake
s = socket.create_connection(('127.0.0.1', 3128), 8)
s.sendall(f'CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n'.encode())
head = b''
while b'\r\n\r\n' not in head: head += s.recv(1)
s.sendall(record)
answer = s.recv(5)
print(head.split()[1].decode(), 'served' if answer[:1] == b'\x16' else 'refused')
";

product_cases! {
    needs "a record"
    fn t06_a_hello_with_a_greased_ech_passes_under_its_outer_name(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["python3", "-c", ECH, "ok.test:443", "ok.test"])?;
        assert_eq!(evidence.client.stdout, "200 served\n", "{evidence}");
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "allow")]);
    }

    needs "a record"
    fn t07_an_ech_whose_outer_name_is_not_the_destination_is_refused(turn, who) {
        let project = turn.project(who)?;
        for outer in ["cloudflare-ech.test", "w.test"] {
            let evidence = turn.inside(&project, &["python3", "-c", ECH, "ok.test:443", outer])?;
            assert_eq!(evidence.client.stdout, "200 refused\n", "{evidence}");
            evidence.nothing_left(&["ok.test"])?;
            assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "sni-mismatch")]);
        }
    }

    needs "a reading of what the origin got"
    fn t09_what_follows_the_first_hello_stays_in_the_stream_to_the_one_origin(turn, who) {
        // A renegotiation is inside the encryption: nothing tells it from data, and nothing dials anew for it.
        let project = turn.project(who)?;
        let line = "printf 'R\\nGET / HTTP/1.0\\r\\nHost: ok.test\\r\\n\\r\\n' | timeout 10 openssl s_client -tls1_2 -proxy 127.0.0.1:3128 \
                    -connect ok.test:443 -servername ok.test 2>&1 | tail -n 3; true";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        assert!(evidence.readings.connections.iter().all(|seen| seen.sni.as_deref() == Some("ok.test")), "{evidence}");
        assert_eq!(evidence.readings.connections.len(), 1, "{evidence}");
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "allow")]);
    }

    needs "a record"
    fn t10_a_session_is_not_resumed_under_another_name(turn, who) {
        // Without interception the resuming hello bears its name in the clear, and is judged like any other.
        let project = turn.project(who)?;
        let resume = |authority: &str, name: &str, flag: &str| format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 10 openssl s_client -proxy 127.0.0.1:3128 -connect {authority} \
             -servername {name} {flag} session.pem -quiet -ign_eof >/dev/null 2>&1; ");
        let line = format!("{}{}true", resume("w.test:443", "w.test", "-sess_out"), resume("w.test:443", "evil.test", "-sess_in"));
        let evidence = turn.inside(&project, &["sh", "-c", &line])?;
        let wanted = [Decided::request("w.test", 443, "allow"), Decided::request("w.test", 443, "sni-mismatch")];
        assert_eq!(evidence.requests()?, wanted, "{evidence}");
        assert!(evidence.readings.connections.iter().all(|seen| seen.sni.as_deref() == Some("w.test")), "{evidence}");
    }

    needs "a sandbox"
    fn t12_no_key_of_an_authority_lies_in_the_box(turn, who) {
        // There is no interception, so there is no such key; what is looked for is any private key that is ours.
        let project = turn.project(who)?;
        let line = "grep -rlsE -- '-----BEGIN (RSA |EC )?PRIVATE KEY' /etc /home /root /project /run /tmp /var /proc/self/environ 2>/dev/null \
                    | grep -v '^/etc/ssl/private'; ls /etc/ssl/private 2>/dev/null | head -n 3; true";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "", "{evidence}");
    }

    needs "capture: what goes round the proxy"
    fn t14_a_client_with_its_own_certificate_meets_its_origin_and_nobody_between(turn, who) {
        // The certificate that the client sees is the origin's own: pinning and client certificates work.
        let project = turn.project(who)?;
        let print = "openssl s_client -connect ok.test:443 -servername ok.test </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256";
        let within = turn.inside(&project, &["sh", "-c", print])?;
        let without = turn.world.run(who, harness::world::Call::new(&["sh", "-c", print]))?;
        assert!(without.stdout.contains("Fingerprint="), "{without}");
        assert_eq!(within.client.stdout, without.stdout, "{within}");
    }

    needs "capture: what goes round the proxy"
    fn t01_captured_tls_to_an_address_is_judged_by_its_hello(turn, who) {
        let project = turn.project(who)?;
        let line = format!("timeout 10 openssl s_client -connect {EVIL_ADDRESS}:443 -servername evil.test </dev/null >/dev/null 2>&1");
        let evidence = turn.inside(&project, &["sh", "-c", &line])?;
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?, [Decided::request("evil.test", 443, "not-whitelisted")], "{evidence}");
    }
}

open_cases! {
    t02_a_host_inside_that_is_not_the_sni_is_refused: "TLS is not opened: docs/known-limits.md, `True domain fronting`";
    t11_a_bad_certificate_of_the_origin_is_a_502: "TLS is not opened: the client itself judges the certificate";
    t13_a_flood_of_names_mints_no_flood_of_certificates: "TLS is not opened: no certificate is minted";
}
