//! The battery, tunnels (C): what a CONNECT gives is one host, one port, TLS.
//! Clauses: P5, W2, W4, W6, W9, R1.

use harness::escape::row::{connect, inside, raw, tunnel};
use harness::order::EVIL_ADDRESS;
use harness::project::{Decided, Project};
use harness::{cases, product_cases};

const SMUGGLED: &str = "GET http://ok.test/smuggled HTTP/1.1\r\nHost: ok.test\r\n\r\n";

cases! {
    c01_a_port_that_is_not_listed_is_refused: [22, 25, 80, 8443, 1].map(|port| connect(&format!("ok.test:{port}")).refused("ok.test", port, "port"));
    c02_what_is_not_tls_reaches_no_origin: [
        inside("ok.test:443", "SSH-2.0-OpenSSH_9.2\r\n").refused_after_a_lookup("ok.test", 443, "not-tls"),
        inside("ok.test:443", "EHLO evil.test\r\n").refused_after_a_lookup("ok.test", 443, "not-tls"),
        inside("ok.test:443", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n").refused_after_a_lookup("ok.test", 443, "not-tls"),
        inside("ok.test:443", &[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]).refused_after_a_lookup("ok.test", 443, "not-tls"),
    ];
    c04_bytes_behind_a_refused_connect_are_no_request: [
        raw(&format!("CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n{SMUGGLED}")).refused("evil.test", 443, "not-whitelisted"),
        raw(&format!("CONNECT ok.test:22 HTTP/1.1\r\nHost: ok.test:22\r\n\r\n{SMUGGLED}")).refused("ok.test", 22, "port"),
    ];
    c07_another_proxy_behind_the_tunnel_must_be_listed_too: [
        inside("ok.test:443", "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n").refused_after_a_lookup("ok.test", 443, "not-tls"),
        connect("127.0.0.1:3128").refused("127.0.0.1", 3128, "ip-literal"),
        connect("localhost:3128").refused("localhost", 3128, "private-address"),
        connect("docker.host:3128").refused("docker.host", 3128, "port"),
    ];
    c14_socks_is_not_served: [
        raw(&[5, 1, 0]).malformed(),
        raw(b"\x05\x01\x00\x05\x01\x00\x03\x09evil.test\x01\xbb").malformed(),
        raw(b"\x04\x01\x01\xbb\x0b\x16\x21\x42\x00").malformed(),
    ];
    c15_a_header_of_the_proxy_protocol_is_no_request: [
        raw(&format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{SMUGGLED}")).malformed(),
        raw(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02").malformed(),
    ];
    c00_the_tunnel_itself_passes: [tunnel("ok.test:443").passes("ok.test", 443)];
}

/// A CONNECT and the ClientHello in one write; prints what came first.
const EARLY: &str = r"
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname='ok.test')
try: tls.do_handshake()
except ssl.SSLWantReadError: pass
s = socket.create_connection(('127.0.0.1', 3128), 8)
s.sendall(b'CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n\r\n' + outgoing.read())
head = b''
while b'\r\n\r\n' not in head: head += s.recv(1)
print(head.split()[1].decode())
while True:
    try: tls.do_handshake(); break
    except ssl.SSLWantReadError:
        if outgoing.pending: s.sendall(outgoing.read())
        incoming.write(s.recv(65536))
s.sendall(outgoing.read())
tls.write(b'GET / HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\n\r\n')
s.sendall(outgoing.read())
data = b''
while True:
    piece = s.recv(65536)
    if not piece: break
    incoming.write(piece)
    try: data += tls.read()
    except ssl.SSLError: pass
print(data.decode().splitlines()[-1])
";

product_cases! {
    needs "a record"
    fn c03_a_hello_sent_with_the_connect_is_kept_and_sent_after_the_200(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["python3", "-c", EARLY])?;
        assert_eq!(evidence.client.stdout, "200\nhello from ok.test\n", "{evidence}");
        evidence.reached_only("ok.test")?;
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "allow")]);
    }

    needs "a record"
    fn c08_a_relay_in_the_sandbox_gets_no_other_verdict(turn, who) {
        let project = turn.project(who)?;
        let line = "socat TCP-LISTEN:8888,bind=127.0.0.1,fork,reuseaddr TCP:127.0.0.1:3128 & \
                    for i in $(seq 100); do nc -z 127.0.0.1 8888 && break; sleep 0.05; done; \
                    curl -sS -x http://127.0.0.1:8888 https://evil.test/; curl -sS -x http://127.0.0.1:8888 https://bad.w.test/; true";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        evidence.nothing_left(&[])?;
        let wanted = [Decided::request("evil.test", 443, "not-whitelisted"), Decided::request("bad.w.test", 443, "denylisted")];
        assert_eq!(evidence.requests()?, wanted, "{evidence}");
    }

    needs "a policy that changes while it serves"
    fn c13_a_tunnel_is_cut_when_a_new_policy_refuses_it(turn, who) {
        let config = "sandbox-name: tighten\nhttp-domain-whitelist:\n  - ok.test\nhost-ports:\n  - 5432\n";
        let project = Project::named(turn.world, who, "tighten", config)?;
        let script = "import socket\ns=socket.create_connection(('127.0.0.1',3128),20)\n\
                      s.sendall(b'CONNECT docker.host:5432 HTTP/1.1\\r\\nHost: docker.host:5432\\r\\n\\r\\n')\n\
                      print(s.recv(4096).decode().split()[1],flush=True)\n\
                      try:\n  \
                      while s.recv(4096): pass\n\
                      except ConnectionResetError: pass\n\
                      except TimeoutError: raise SystemExit('left open')\n\
                      print('cut')\n";
        let mut running = project.start(&["python3", "-c", script])?;
        running.until(|written| written.contains("200"))?;
        // In place: a config that is replaced by another file wants approval first.
        let path = turn.world.outside(&project.directory().join("opencode-sandbox-config.yaml"));
        std::fs::write(path, "sandbox-name: tighten\nhttp-domain-whitelist:\n  - ok.test\n")?;
        let finished = running.wait()?;
        assert_eq!(finished.stdout, "200\ncut\n", "{finished}");
        let record = project.newest_record()?;
        let outcomes: Vec<_> = record.of_kind("close").iter().map(|close| close["outcome"].clone()).collect();
        assert_eq!(outcomes, ["revoked"], "{}", record.lines.join("\n"));
    }

    needs "capture: what goes round the proxy"
    fn c02_the_same_bytes_round_the_proxy_reach_no_origin_either(turn, who) {
        let project = turn.project(who)?;
        for (host, port, reason) in [("ok.test", 443, "not-tls"), ("ok.test", 22, "port")] {
            let line = format!("exec 3<>/dev/tcp/{host}/{port}; printf 'SSH-2.0-x\\r\\n' >&3; timeout 5 cat <&3");
            let evidence = turn.inside(&project, &["bash", "-c", &line])?;
            evidence.nothing_left(&[host])?;
            assert_eq!(evidence.requests()?, [Decided::request(host, port, reason)], "{evidence}");
        }
        let line = format!("exec 3<>/dev/tcp/{EVIL_ADDRESS}/443; printf 'SSH-2.0-x\\r\\n' >&3; timeout 5 cat <&3");
        let evidence = turn.inside(&project, &["bash", "-c", &line])?;
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?, [Decided::request(EVIL_ADDRESS, 443, "ip-literal")]);
    }
}
