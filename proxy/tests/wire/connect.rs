//! CONNECT tunnels (C) and what is inside them (T).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use serde_json::json;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::hello::{handshake, hello, record};
use crate::support::origin::Origin;
use crate::support::pattern;
use crate::support::proxy::Proxy;

struct World {
    _dns: Dns,
    origin: Origin,
    proxy: Proxy,
    to: String,
}

fn world(origin: Origin, more: &str) -> World {
    let dns = Dns::start();
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}', '.w.test:{port}']\n{more}");
    let proxy = Proxy::start(&lines, &dns);
    World {
        _dns: dns,
        origin,
        proxy,
        to: format!("ok.test:{port}"),
    }
}

/// A tunnel to anything: no TLS is asked for.
fn raw(origin: Origin, more: &str) -> World {
    let dns = Dns::start();
    let port = origin.port();
    let proxy = Proxy::start(&format!("tcp-endpoints: ['ok.test:{port}']\n{more}"), &dns);
    World {
        _dns: dns,
        origin,
        proxy,
        to: format!("ok.test:{port}"),
    }
}

const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 49];

#[test]
fn a_tunnel_whose_sni_is_the_destination_carries_both_ways_and_is_recorded_whole() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::echo(), "");
    let mut client = Client::tunnel(proxy.address, &to);
    let flight = hello(Some("OK.test"));
    client.send(&flight);
    assert_eq!(client.exactly(flight.len()), flight);
    client.send(b"more").finish();
    assert_eq!(client.rest(), b"more");
    assert_eq!(origin.seen(), [[&flight[..], b"more"].concat()]);
    let events = proxy.settled(1);
    let carried = flight.len() + 4;
    let id = events[0]["id"].clone();
    for (event, wanted) in events.iter().zip([
        json!({
            "event": "request", "decision": "allow", "reason": null, "via": "connect", "method": "CONNECT",
            "host": "ok.test", "port": origin.port(), "sni": "ok.test", "address": "127.0.0.1",
            "generation": 1, "process": {"pid": null, "exe": null}, "dropped": [],
        }),
        json!({
            "event": "close", "id": id, "outcome": "done", "bytes_up": carried, "bytes_down": carried,
        }),
    ]) {
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&event[key], value, "{key} of {event}");
        }
    }
    assert!(
        events[0]["rule"]["text"]
            .as_str()
            .unwrap()
            .starts_with("ok.test:"),
        "{}",
        events[0]
    );
    proxy.stop();
}

#[test]
fn c03_a_first_flight_sent_with_the_connect_is_kept_and_sent_after_the_200() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::echo(), "");
    let flight = hello(Some("ok.test"));
    let mut client = Client::connect(proxy.address);
    let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    client.send([head.as_bytes(), &flight].concat());
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.exactly(flight.len()), flight);
    assert_eq!(origin.seen(), [flight]);
    drop(client);
    proxy.stop();
}

#[test]
fn c04_what_comes_with_a_refused_connect_is_discarded_and_never_a_request() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::http(), "");
    let mut client = Client::connect(proxy.address);
    let inner = format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n");
    client.send(format!(
        "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n{inner}"
    ));
    client.send(inner).finish();
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("not-whitelisted"))
    );
    assert!(
        answer.head.contains("\r\nConnection: close\r\n"),
        "{answer:?}"
    );
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    assert_eq!(proxy.settled(1).len(), 1);
    proxy.stop();
}

#[test]
fn t01_t03_c02_openings_that_are_not_a_hello_for_the_destination_reach_no_origin() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::echo(), "");
    let cases: Vec<(Vec<u8>, &str, Option<&str>, bool)> = vec![
        (
            hello(Some("evil.test")),
            "sni-mismatch",
            Some("evil.test"),
            true,
        ), // T01
        (
            hello(Some("x.ok.test")),
            "sni-mismatch",
            Some("x.ok.test"),
            true,
        ),
        (
            hello(Some("a.w.test")),
            "sni-mismatch",
            Some("a.w.test"),
            true,
        ),
        (hello(None), "no-sni", None, true), // T03
        (
            b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
            "not-tls",
            None,
            false,
        ), // C02
        (b"EHLO evil.test\r\n".to_vec(), "not-tls", None, false), // C02
        (
            b"GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n".to_vec(),
            "not-tls",
            None,
            false,
        ), // W10
        (
            b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n".to_vec(),
            "not-tls",
            None,
            false,
        ), // C07
        (record(&[2; 64]), "not-tls", None, false),
        (
            [&hello(Some("ok.test"))[..20], &[0xff; 400]].concat(),
            "not-tls",
            None,
            false,
        ),
    ];
    for (flight, reason, sni, told) in &cases {
        let mut client = Client::tunnel(proxy.address, &to);
        client.send(flight);
        let expected = if *told { &ALERT[..] } else { b"" };
        assert_eq!(client.rest(), expected, "{}", flight.escape_ascii());
        let events =
            proxy.wait_events(|events| events.last().is_some_and(|it| it["reason"] == *reason));
        let last = events.last().unwrap();
        assert_eq!(
            (&last["decision"], &last["sni"]),
            (&json!("deny"), &json!(sni)),
            "{last}"
        );
        assert_eq!(
            (&last["host"], &last["via"]),
            (&json!("ok.test"), &json!("connect"))
        );
    }
    // Not one packet: the origin was not even dialled.
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    assert_eq!(proxy.events().len(), cases.len());
    proxy.stop();
}

#[test]
fn a_hello_in_pieces_of_any_size_is_read_and_passed_on_unchanged() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::echo(), "");
    let message = handshake(Some("ok.test"));
    // One record a byte at a time; then records of 50 bytes each.
    let flights = [
        hello(Some("ok.test")),
        message.chunks(50).flat_map(record).collect::<Vec<u8>>(),
    ];
    for (index, flight) in flights.iter().enumerate() {
        let mut client = Client::tunnel(proxy.address, &to);
        let size = if index == 0 { 1 } else { 55 };
        for piece in flight.chunks(size) {
            client.send(piece);
        }
        assert_eq!(&client.exactly(flight.len()), flight);
        assert_eq!(&origin.seen()[index], flight);
    }
    proxy.stop();
}

#[test]
fn c11_a_client_that_waits_for_the_server_to_speak_is_closed_at_the_timeout() {
    let greeting = Origin::start(|guest| guest.write(b"220 mail.test ESMTP\r\n"));
    let World {
        origin, proxy, to, ..
    } = world(greeting, "limits: {head-timeout: 1s}\n");
    let mut client = Client::tunnel(proxy.address, &to);
    assert_eq!(client.rest(), b"");
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    let events = proxy.settled(1);
    assert_eq!(
        (&events[0]["decision"], &events[0]["reason"]),
        (&json!("deny"), &json!("not-tls"))
    );
    proxy.stop();
}

#[test]
fn a_client_that_leaves_after_its_200_is_allowed_and_closed_without_a_dial() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::echo(), "");
    let mut client = Client::tunnel(proxy.address, &to);
    client.finish();
    assert_eq!(client.rest(), b"");
    let events = proxy.settled(1);
    assert_eq!(
        (&events[0]["decision"], &events[1]["outcome"]),
        (&json!("allow"), &json!("client-error"))
    );
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn c09_each_side_may_close_its_own_direction() {
    let late = Origin::start(|guest| {
        let mut all = Vec::new();
        guest.stream.read_to_end(&mut all).unwrap();
        guest.write(format!("got {}", all.len()).as_bytes());
    });
    let World { proxy, to, .. } = raw(late, "");
    let mut client = Client::tunnel(proxy.address, &to);
    client.send(b"12345").finish();
    assert_eq!(client.rest(), b"got 5");

    let early = Origin::start(|guest| {
        guest.write(b"bye");
        guest.stream.shutdown(Shutdown::Write).unwrap();
        let mut buffer = [0; 16];
        while guest.read(&mut buffer).is_some() {}
    });
    let World {
        origin, proxy, to, ..
    } = raw(early, "");
    let mut client = Client::tunnel(proxy.address, &to);
    assert_eq!(client.rest(), b"bye");
    client.send(b"still here").finish();
    origin.wait(|seen| seen == [b"still here".to_vec()]);
    let events = proxy.settled(1);
    assert_eq!(events[1]["outcome"], "done");
    proxy.stop();
}

#[test]
fn an_answer_to_half_of_an_upload_reaches_the_client() {
    let World { proxy, to, .. } = raw(
        Origin::start(|guest| {
            let mut buffer = [0; 10];
            guest.stream.read_exact(&mut buffer).unwrap();
            guest.write(b"too much");
            guest.stream.shutdown(Shutdown::Write).unwrap();
            // Nothing more is read: what still comes resets the connection.
        }),
        "",
    );
    let mut client = Client::tunnel(proxy.address, &to);
    client.send([b'x'; 10]);
    assert_eq!(client.exactly(8), b"too much");
    for _ in 0..100 {
        client.send([b'x'; 10_000]);
    }
    drop(client);
    let close = &proxy.settled(1)[1];
    assert_eq!(close["bytes_down"], 8);
    proxy.stop();
}

#[test]
fn c10_a08_64_mib_each_way_arrive_whole_under_back_pressure_and_are_counted() {
    const SIZE: usize = 64 << 20;
    let all: Arc<[u8]> = pattern(SIZE).into();
    let sent = Arc::clone(&all);
    let slow = Origin::start(move |guest| {
        let mut stream = guest.stream.try_clone().unwrap();
        let mut buffer = vec![0; 1 << 16];
        let (mut at, mut right) = (0, 0_u64);
        while at < SIZE {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{at} bytes came");
            right += u64::from(buffer[..count] == sent[at..at + count]) * count as u64;
            at += count;
        }
        guest.write(&right.to_be_bytes());
        guest.write(&sent);
    });
    let World { proxy, to, .. } = raw(slow, "");
    let mut client = Client::tunnel(proxy.address, &to);
    client.stream.write_all(&all).unwrap();
    let right = u64::from_be_bytes(client.exactly(8).try_into().unwrap());
    assert_eq!(right, SIZE as u64);
    assert!(
        client.exactly(SIZE)[..] == all[..],
        "what came back is not what was sent"
    );
    drop(client);
    let close = &proxy.settled(1)[1];
    assert_eq!(
        (close["bytes_up"].as_u64(), close["bytes_down"].as_u64()),
        (Some(SIZE as u64), Some(SIZE as u64 + 8),)
    );
    proxy.stop();
}

#[test]
fn c12_an_idle_tunnel_is_closed_and_recorded_once() {
    let World { proxy, to, .. } = raw(Origin::echo(), "limits: {idle-timeout: 1s}\n");
    let mut client = Client::tunnel(proxy.address, &to);
    client.send(b"hello");
    assert_eq!(client.rest(), b"hello");
    let events = proxy.settled(1);
    assert_eq!(events[1]["outcome"], "idle");
    assert_eq!(events.len(), 2);
    proxy.stop();
}

#[test]
fn c15_a_proxy_protocol_header_is_no_request() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::http(), "");
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n"
    ));
    assert_eq!(client.last_answer().status, 400);
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn w01_other_protocols_on_the_proxys_port_are_refused_at_once() {
    let World { proxy, .. } = world(Origin::http(), "");
    let openings: [&[u8]; 5] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",   // h2 with prior knowledge
        b"\x05\x01\x00",                       // C14: SOCKS5
        b"\x04\x01\x01\xbb\x01\x01\x01\x01\0", // SOCKS4
        &hello(Some("ok.test")),               // TLS to the proxy
        b"\n",
    ];
    for opening in openings {
        let mut client = Client::connect(proxy.address);
        client.send(opening);
        assert_eq!(
            client.last_answer().status,
            400,
            "{}",
            opening.escape_ascii()
        );
    }
    let events = proxy.settled(openings.len());
    assert!(
        events.iter().all(|event| event["reason"] == "malformed"),
        "{events:#?}"
    );
    proxy.stop();
}

#[test]
fn a07_an_origin_that_refuses_is_a_502_before_the_200_and_an_alert_after_it() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let dns = Dns::start();
    let lines =
        format!("http-domain-whitelist: ['ok.test:{gone}']\ntcp-endpoints: ['w.test:{gone}']\n");
    let proxy = Proxy::start(&lines, &dns);
    let mut client = Client::connect(proxy.address);
    client.send(format!("CONNECT w.test:{gone} HTTP/1.1\r\n\r\n"));
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (502, Some("dial-failed"))
    );
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "GET http://ok.test:{gone}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(client.last_answer().status, 502);
    let mut client = Client::tunnel(proxy.address, &format!("ok.test:{gone}"));
    client.send(hello(Some("ok.test")));
    assert_eq!(client.rest(), [21, 3, 1, 0, 2, 2, 80]);
    let events = proxy.settled(3);
    for pair in events.chunks(2) {
        assert_eq!(
            (&pair[0]["decision"], &pair[1]["outcome"]),
            (&json!("allow"), &json!("dial-failed"))
        );
    }
    proxy.stop();
}

#[test]
fn a_model_server_on_plain_http_is_served_inside_a_connect_request_by_request() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let proxy = Proxy::start(
        &format!("llm-endpoints: ['http://docker.host:{port}/v1']\n"),
        &dns,
    );
    let to = format!("docker.host:{port}");
    let mut client = Client::tunnel(proxy.address, &to);
    for path in ["/v1/models", "/v1/chat"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!(client.answer().body, format!("GET {path} HTTP/1.1"));
    }
    client.send("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("sni-mismatch"))
    );
    for opening in [hello(Some("docker.host")), b"SSH-2.0-x\r\n\r\n".to_vec()] {
        let mut client = Client::tunnel(proxy.address, &to);
        client.send(opening);
        assert_eq!(client.last_answer().status, 400);
    }
    let requests: Vec<String> = origin
        .heard()
        .concat()
        .lines()
        .filter(|it| it.starts_with("GET"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        requests,
        ["GET /v1/models HTTP/1.1", "GET /v1/chat HTTP/1.1"]
    );
    let lines = proxy.stop();
    let ways: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| line["event"] == "request")
        .map(|line| {
            (
                line["via"].as_str().unwrap(),
                line["method"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    assert_eq!(
        ways[..4],
        [
            ("connect", "CONNECT"),
            ("connect", "GET"),
            ("connect", "GET"),
            ("connect", "GET")
        ]
    );
}
