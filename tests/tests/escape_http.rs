//! The battery, plain HTTP (H): what two readers could read differently is nobody's request.
//! Clauses: W2, W3, W5, W6, W7, P5.

use harness::escape::judge::Evidence;
use harness::escape::row::{Row, connect, get, raw};
use harness::order::EVIL_ADDRESS;
use harness::project::Decided;
use harness::{cases, open_cases, product_cases};

/// A POST to an allowed name with these header lines, and a second request smuggled behind.
fn post(lines: &str, rest: &str) -> Row {
    let head = format!("POST http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n{lines}\r\n{rest}");
    raw(&(head + SMUGGLED)).malformed()
}

const SMUGGLED: &str =
    "GET http://evil.test/smuggled HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
const CHUNKED: &str = "0\r\n\r\n";

fn line(request: &str) -> Row {
    raw(&format!("{request}\r\nHost: ok.test\r\n\r\n{SMUGGLED}")).malformed()
}

cases! {
    h01_the_absolute_form_decides_and_host_is_made_to_agree: [
        raw("GET http://ok.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n").passes("ok.test", 80),
    ];
    h02_a_denied_absolute_form_is_refused_whatever_host_says: [
        raw("GET http://evil.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\n\r\n").refused("evil.test", 80, "not-whitelisted"),
    ];
    h04_two_hosts_are_malformed: [
        raw("GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nHost: evil.test\r\n\r\n").malformed(),
        raw("GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nHost: ok.test\r\n\r\n").malformed(),
    ];
    h05_a_request_without_a_host_is_malformed: [
        raw("GET http://ok.test/ HTTP/1.1\r\n\r\n").malformed(),
        raw("GET / HTTP/1.1\r\n\r\n").malformed(),
        raw("GET / HTTP/1.0\r\n\r\n").malformed(),
    ];
    h06_a_length_beside_a_coding_is_malformed: [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKED),
    ];
    h07_any_coding_but_one_plain_chunked_is_malformed: [
        "xchunked", "\u{b}chunked", "identity", "gzip, chunked", "chunked, chunked", "chunked;a=b", "\"chunked\"",
        "chunked\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: identity",
    ].map(|coding| post(&format!("Transfer-Encoding: {coding}\r\n"), CHUNKED)).into_iter().chain([
        post("Transfer-Encoding : chunked\r\n", CHUNKED), post(" Transfer-Encoding: chunked\r\n", CHUNKED),
    ]).collect::<Vec<_>>();
    h08_a_length_that_is_not_one_plain_number_is_malformed: [
        "+5", "-5", "5, 5", "5, 6", "0x5", "18446744073709551616", "5 5", "", "5\r\nContent-Length: 6",
    ].map(|length| post(&format!("Content-Length: {length}\r\n"), "hello"));
    h12_a_pipelined_request_to_a_denied_host_is_refused_by_itself: [
        raw("GET http://bad.w.test/a HTTP/1.1\r\nHost: bad.w.test\r\nConnection: close\r\n\r\n").refused("bad.w.test", 80, "denylisted"),
    ];
    h20_odd_methods_are_refused: [
        line("get http://ok.test/ HTTP/1.1"),
        line("connect ok.test:443 HTTP/1.1"),
        raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").malformed(),
        line(&format!("{} http://ok.test/ HTTP/1.1", "A".repeat(8192))),
        line("G\0T http://ok.test/ HTTP/1.1"),
    ];
    h21_other_schemes_are_malformed: [
        "ftp://ok.test/", "file:///etc/passwd", "gopher://ok.test/", "ws://ok.test/", "wss://ok.test/", "/", "ok.test:80", "*",
    ].map(|target| line(&format!("GET {target} HTTP/1.1")));
    h26_a_port_is_a_plain_number_and_listed: [
        get("http://ok.test:443/").refused("ok.test", 443, "port"),
        get("http://ok.test:8080/").refused("ok.test", 8080, "port"),
        get("http://ok.test:0/").malformed(),
        get("http://ok.test:65536/").malformed(),
        get("http://ok.test:+80/").malformed(),
        get("http://ok.test:0x50/").malformed(),
        get("http://ok.test:/").malformed(),
    ];
    h27_markup_in_a_host_is_malformed: [connect("<svg>.evil.test:443").malformed(), get("http://<svg>.evil.test/").malformed()];
}

/// What the origin heard of the one request it got.
fn heard(evidence: &Evidence) -> anyhow::Result<Vec<(String, String)>> {
    let requests: Vec<_> = evidence
        .readings
        .connections
        .iter()
        .flat_map(|seen| &seen.requests)
        .collect();
    let [request] = requests.as_slice() else {
        anyhow::bail!("not one request: {evidence}")
    };
    Ok(request.headers.clone())
}

fn named<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Sends a text to the proxy, and prints what comes back.
const SEND: &str = "import socket,sys\n\
s=socket.create_connection(('127.0.0.1',3128),8)\n\
s.sendall(sys.argv[1].encode('latin1'))\n\
d=b''\n\
try:\n    \
while True:\n        \
p=s.recv(65536)\n        \
if not p: break\n        \
d+=p\n\
except OSError as e: d+=b'|'+str(e).encode()\n\
sys.stdout.write(d.decode('latin1'))\n";

product_cases! {
    needs "capture: what goes round the proxy"
    fn h03_a_host_that_lies_about_its_address_does_not_get_that_address(turn, who) {
        let project = turn.project(who)?;
        let url = format!("http://{EVIL_ADDRESS}/");
        let direct = ["env", "-i", "PATH=/usr/bin:/bin", "curl", "-sS", "-H", "Host: ok.test", &url];
        let evidence = turn.inside(&project, &direct)?;
        assert_eq!(evidence.client.stdout, "hello from ok.test\n", "{evidence}");
        evidence.reached_only("ok.test")?;
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 80, "allow")]);
        let denied = ["env", "-i", "PATH=/usr/bin:/bin", "curl", "-sS", "-f", "-H", "Host: evil.test", &url];
        let evidence = turn.inside(&project, &denied)?;
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?, [Decided::request("evil.test", 80, "not-whitelisted")]);
    }

    needs "a reading of what the origin got"
    fn h10_fields_after_the_last_chunk_go_no_further(turn, who) {
        let project = turn.project(who)?;
        let request = "POST http://ok.test/sink HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                       5\r\nhello\r\n0\r\nHost: evil.test\r\nAuthorization: Basic smuggled\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        evidence.reached_only("ok.test")?;
        assert!(evidence.client.stdout.contains("got 5 bytes"), "{evidence}");
        assert!(!format!("{:?}", evidence.readings.connections).contains("smuggled"), "{evidence}");
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 80, "allow")]);
    }

    needs "a record of each request"
    fn h12_behind_an_allowed_request_a_denied_one_is_refused_with_a_record_of_its_own(turn, who) {
        let project = turn.project(who)?;
        let requests = format!("GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n{SMUGGLED}");
        let evidence = turn.inside(&project, &["python3", "-c", SEND, &requests])?;
        evidence.reached_only("ok.test")?;
        assert!(evidence.client.stdout.contains(" 403 "), "{evidence}");
        let wanted = [Decided::request("ok.test", 80, "allow"), Decided::request("evil.test", 80, "not-whitelisted")];
        assert_eq!(evidence.requests()?, wanted);
    }

    needs "a record of each request"
    fn h13_a_second_allowed_host_on_one_connection_is_judged_and_dialled_anew(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["curl", "-sS", "http://ok.test/", "http://w.test/", "http://bad.w.test/", "-o", "/dev/null"])?;
        let told: Vec<_> = evidence.readings.connections.iter()
            .flat_map(|seen| seen.requests.iter().map(|request| (seen.address.to_string(), request.header("host").unwrap_or_default().to_owned())))
            .collect();
        let wanted = [("11.22.33.10", "ok.test"), ("11.22.33.11", "w.test")].map(|(address, name)| (address.to_owned(), name.to_owned()));
        assert_eq!(told, wanted, "{evidence}");
        let decided = [("ok.test", "allow"), ("w.test", "allow"), ("bad.w.test", "denylisted")];
        assert_eq!(evidence.requests()?, decided.map(|(host, verdict)| Decided::request(host, 80, verdict)));
    }

    needs "a reading of what the origin got"
    fn h14_a_nominated_header_is_removed_and_host_never_is(turn, who) {
        let project = turn.project(who)?;
        let request = "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: X-Secret, Host, close\r\nX-Secret: a\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        let headers = heard(&evidence)?;
        assert_eq!((named(&headers, "host"), named(&headers, "x-secret")), (Some("ok.test"), None), "{headers:?}");
    }

    needs "a reading of what the origin got"
    fn h15_what_is_meant_for_the_proxy_goes_no_further(turn, who) {
        let project = turn.project(who)?;
        let request = "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nProxy-Authorization: Basic secret\r\nProxy-Connection: close\r\n\
                       Connection: close\r\nKeep-Alive: 5\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        let headers = heard(&evidence)?;
        for name in ["proxy-authorization", "proxy-connection", "keep-alive"] {
            assert_eq!(named(&headers, name), None, "{headers:?}");
        }
        assert!(!evidence.record.expect("a record").lines.concat().contains("secret"));
    }

    needs "a reading of what the origin got"
    fn h16_headers_that_steer_other_proxies_steer_nothing(turn, who) {
        let project = turn.project(who)?;
        let lines = "X-Smokescreen-Role: admin\r\nX-Upstream-Https-Proxy: http://evil.test:80\r\nX-Unix-Socket: /run/docker.sock\r\n\
                     Forwarded: for=127.0.0.1;host=evil.test\r\nX-Forwarded-Host: evil.test\r\n";
        let ok = format!("GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\n{lines}\r\n");
        let evidence = turn.inside(&project, &["python3", "-c", SEND, &ok])?;
        evidence.reached_only("ok.test")?;
        let denied = format!("GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n{lines}\r\n");
        let evidence = turn.inside(&project, &["python3", "-c", SEND, &denied])?;
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?, [Decided::request("evil.test", 80, "not-whitelisted")]);
    }

    needs "a reading of what the origin got"
    fn h17_an_upgrade_to_http2_is_not_passed_on(turn, who) {
        let project = turn.project(who)?;
        let request = "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                       HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\nGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        let headers = heard(&evidence)?;
        assert_eq!((named(&headers, "upgrade"), named(&headers, "http2-settings")), (None, None));
        let decided = [("ok.test", "allow"), ("evil.test", "not-whitelisted")];
        assert_eq!(evidence.requests()?, decided.map(|(host, verdict)| Decided::request(host, 80, verdict)));
    }

    needs "a reading of what the origin got"
    fn h18_bytes_after_an_upgrade_that_nobody_granted_are_a_request_of_their_own(turn, who) {
        let project = turn.project(who)?;
        for upgrade in ["foo", "websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"] {
            let request = format!("GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n{SMUGGLED}");
            let evidence = turn.inside(&project, &["python3", "-c", SEND, &request])?;
            heard(&evidence)?;
            assert!(!format!("{:?}", evidence.readings.connections).contains("smuggled"), "{evidence}");
        }
    }

    needs "a record"
    fn h19_a_refused_request_is_answered_before_its_body(turn, who) {
        let project = turn.project(who)?;
        let request = "POST http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        assert!(evidence.client.stdout.starts_with("HTTP/1.1 403 "), "{evidence}");
        assert!(!evidence.client.stdout.contains(" 100 "), "{evidence}");
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?, [Decided::request("evil.test", 80, "not-whitelisted")]);
    }

    needs "a record"
    fn h20_trace_is_refused(turn, who) {
        let project = turn.project(who)?;
        let request = "TRACE http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        assert!(evidence.client.stdout.starts_with("HTTP/1.1 405 "), "{evidence}");
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?.len(), 1);
    }

    needs "a record"
    fn h21_an_https_url_in_the_clear_is_refused(turn, who) {
        let project = turn.project(who)?;
        let request = "GET https://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        assert!(evidence.client.stdout.starts_with("HTTP/1.1 403 "), "{evidence}");
        evidence.nothing_left(&[])?;
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "not-tls")]);
    }

    needs "a refusal with a body of its own"
    fn h27_a_refusal_is_no_page_and_repeats_nothing_raw(turn, who) {
        let project = turn.project(who)?;
        let request = "GET http://evil.test/<svg/onload=alert(1)> HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
        let evidence = turn.inside(&project, &["python3", "-c", SEND, request])?;
        let said = evidence.client.stdout.to_ascii_lowercase();
        assert!(said.contains("content-type: application/problem+json") && !said.contains("<svg"), "{evidence}");
        evidence.nothing_left(&[])?;
    }
}

open_cases! {
    h24_dot_segments_do_not_get_round_a_rule_for_paths: "no rule of a policy speaks of paths, so there is nothing to get round";
}
