//! The battery, other carriers (W): HTTP/2, QUIC and WebSocket are no way round the verdict.
//! Clauses: N6, W2, W3, W4, W8.

use harness::escape::row::{Row, raw};
use harness::order::{EVIL_ADDRESS, OK_ADDRESS};
use harness::project::Decided;
use harness::{cases, open_cases, product_cases};

fn websocket(host: &str) -> String {
    format!(
        "GET http://{host}/chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x01\x02smuggled"
    )
}

fn http2() -> [Row; 2] {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut with_headers = preface.to_vec();
    with_headers.extend_from_slice(b"\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09evil.test");
    [raw(preface).malformed(), raw(&with_headers).malformed()]
}

cases! {
    w01_http2_with_prior_knowledge_is_malformed: http2();
    w07_a_websocket_to_a_denied_host_is_refused: [raw(&websocket("evil.test")).refused("evil.test", 80, "not-whitelisted")];
}

product_cases! {
    needs "capture: what goes round the proxy"
    fn w03_quic_is_refused_at_once_and_on_record(turn, who) {
        let project = turn.project(who)?;
        for address in [EVIL_ADDRESS, OK_ADDRESS, "2a0f:ffff:11::66"] {
            // A long header of version 1 (RFC 9000 section 17.2), padded as a client's first packet is.
            let initial = format!("c30000000108{}", "00".repeat(1190));
            let evidence = turn.inside(&project, &["python3", "attack.py", "udp", address, "443", &initial])?;
            assert!(evidence.client.stdout.contains("\"closed\": true"), "not refused at once: {evidence}");
            evidence.nothing_left(&[])?;
            assert_eq!(evidence.decided()?, [Decided::packet("udp", address, 443)], "{evidence}");
        }
    }

    needs "an origin that advertises, and a record"
    fn w04_where_an_allowed_host_points_its_clients_is_judged_like_any_other(turn, who) {
        // What an Alt-Svc or a redirect names is a new destination: asked for by a client, it is refused.
        let project = turn.project(who)?;
        let url = "https://ok.test/redirect?to=https://evil.test/";
        let evidence = turn.inside(&project, &["curl", "-sSL", url])?;
        evidence.reached_only("ok.test")?;
        let wanted = [Decided::request("ok.test", 443, "allow"), Decided::request("evil.test", 443, "not-whitelisted")];
        assert_eq!(evidence.requests()?, wanted);
    }

    needs "a reading of what the origin got"
    fn w07_a_websocket_to_an_allowed_host_sends_nothing_before_it_is_granted(turn, who) {
        let project = turn.project(who)?;
        let request = websocket("ok.test");
        let hex: String = request.bytes().map(|byte| format!("{byte:02x}")).collect();
        let evidence = turn.inside(&project, &["python3", "attack.py", "raw", &hex])?;
        let sent: Vec<_> = evidence.readings.connections.iter().map(|seen| seen.wire.clone()).collect();
        let [wire] = sent.as_slice() else { panic!("{evidence}") };
        assert!(wire.contains("upgrade: websocket") || wire.contains("Upgrade: websocket"), "{wire}");
        assert!(!wire.contains("smuggled"), "bytes went ahead of the 101: {wire}");
    }

    needs "a reading of what the origin got"
    fn w10_whatever_a_tunnel_carries_arrives(turn, who) {
        // The origin of this world speaks HTTP/1.1; a client that offers h2 too is served all the same, unopened.
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["curl", "-sS", "--http2", "-X", "POST", "--data-binary", "aGVsbG8=", "https://ok.test/sink"])?;
        assert_eq!(evidence.client.stdout, "got 8 bytes\n", "{evidence}");
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "allow")]);
    }
}

open_cases! {
    w05_a_second_authority_in_one_h2_tunnel_is_refused: "TLS is not opened: docs/known-limits.md, `True domain fronting`";
    w06_floods_of_h2_frames_are_bounded: "no HTTP/2 is spoken by the proxy: inside a tunnel it is the origin's own";
    w09_a_stream_of_half_an_hour_is_not_cut: "needs half an hour of real time; the idle limit itself is held by c12_an_idle_tunnel_is_closed_and_recorded_once";
}
