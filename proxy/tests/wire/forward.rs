//! Plain HTTP, as it should be: requests, answers, bodies, kept connections, upgrades.

use std::io::Read;

use serde_json::json;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

pub struct World {
    pub dns: Dns,
    pub origin: Origin,
    pub proxy: Proxy,
    pub to: String,
}

pub fn world(origin: Origin) -> World {
    let dns = Dns::start();
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}', '.w.test:{port}']\n");
    let proxy = Proxy::start(&lines, &dns);
    World {
        dns,
        origin,
        proxy,
        to: format!("ok.test:{port}"),
    }
}

#[test]
fn a_request_reaches_its_origin_rewritten_and_is_recorded_whole() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::http());
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "GET http://ok.test:{}/a?token=secret HTTP/1.1\r\nHost: evil.test\r\n\
         Authorization: Bearer secret\r\nProxy-Authorization: Basic secret\r\n\
         Proxy-Connection: keep-alive\r\nX-Smokescreen-Role: admin\r\nConnection: close, X-Hop\r\n\
         X-Hop: 1\r\nForwarded: for=1.2.3.4\r\n\r\n",
        origin.port(),
    ));
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "GET /a?token=secret HTTP/1.1")
    );
    let expected = format!(
        "GET /a?token=secret HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer secret\r\n\
         X-Smokescreen-Role: admin\r\nVia: 1.1 ocs\r\n\r\n"
    );
    assert_eq!(origin.heard(), [expected.as_str()]);
    let events = proxy.settled(1);
    let down = answer.head.len() + answer.body.len();
    for (event, wanted) in events.iter().zip([
        json!({
            "event": "request", "decision": "allow", "reason": null, "via": "http", "method": "GET",
            "host": "ok.test", "port": origin.port(), "sni": null, "address": "127.0.0.1", "generation": 1,
        }),
        json!({
            "event": "close", "id": events[0]["id"], "outcome": "done",
            "bytes_up": expected.len(), "bytes_down": down,
        }),
    ]) {
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&event[key], value, "{key} of {event}");
        }
    }
    // A02: neither query strings nor header values.
    let text = std::fs::read_to_string(proxy.record_file()).unwrap();
    assert!(
        !text.contains("secret") && !text.contains("token"),
        "{text}"
    );
    proxy.stop();
}

#[test]
fn h12_h13_each_request_of_a_kept_connection_is_judged_and_recorded_by_itself() {
    let World {
        dns,
        origin,
        proxy,
        to,
    } = world(Origin::http());
    let port = origin.port();
    let mut client = Client::connect(proxy.address);
    // Pipelined: an allowed one, a refused one, another allowed host, the first again.
    client.send(
        [&to, "evil.test", &format!("a.w.test:{port}"), &to]
            .map(|host| format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .concat(),
    );
    let statuses = [(); 4].map(|()| client.answer().status);
    assert_eq!(statuses, [200, 403, 200, 200]);
    drop(client);
    let events = proxy.settled(4);
    let hosts: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "request")
        .map(|event| event["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, ["ok.test", "evil.test", "a.w.test", "ok.test"]);
    assert_eq!(dns.asked(), ["ok.test", "a.w.test"]);
    // A connection of one host never serves another.
    for heard in origin.heard() {
        assert_eq!(
            heard.matches("Host: ").count(),
            heard.matches(heard_host(&heard)).count()
        );
    }
    proxy.stop();
}

fn heard_host(heard: &str) -> &str {
    heard
        .split("\r\n")
        .find(|line| line.starts_with("Host: "))
        .unwrap()
}

#[test]
fn one_origin_connection_serves_the_requests_of_one_client_connection_and_no_others() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::http());
    for _ in 0..2 {
        let mut client = Client::connect(proxy.address);
        for _ in 0..3 {
            client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n"));
            assert_eq!(client.answer().status, 200);
        }
    }
    assert_eq!(origin.seen().len(), 2);
    proxy.stop();
}

#[test]
fn an_origin_that_closes_between_requests_is_dialled_again() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::start(|guest| {
        guest.head();
        guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }));
    let mut client = Client::connect(proxy.address);
    for _ in 0..5 {
        client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(origin.seen().len(), 5);
    drop(client);
    proxy.stop();
}

#[test]
fn bodies_of_known_length_and_in_chunks_arrive_whole() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::start(|guest| {
        guest.head();
        guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let mut buffer = [0; 4096];
        while guest.read(&mut buffer).is_some() {}
    }));
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "POST http://{to}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"
    ));
    client.send("llo");
    assert_eq!(client.answer().status, 200);
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "POST http://{to}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    client
        .send("5;ext=1\r\nhel")
        .send("lo\r\n6\r\n wor")
        .send("ld\r\n0\r\nHost: evil.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    drop(client);
    origin.wait(|seen| seen.iter().any(|it| it.ends_with(b"0\r\n\r\n")));
    let heard = origin.heard();
    let bodies: Vec<&str> = heard
        .iter()
        .map(|it| it.split_once("\r\n\r\n").unwrap().1)
        .collect();
    assert_eq!(bodies[0], "hello");
    // H10: no extension, no trailer.
    assert!(
        !bodies[1].contains("ext") && !bodies[1].contains("evil"),
        "{}",
        bodies[1]
    );
    let data: String = bodies[1].split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(data, "hello world");
    proxy.stop();
}

#[test]
fn answers_are_framed_as_their_origin_framed_them() {
    let cases: [(&[u8], &str, bool); 5] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nSet-Cookie: a\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            true,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "", true),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", true),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "hello", false),
    ];
    for (answer, body, kept) in cases {
        let World { proxy, to, .. } = world(Origin::start(move |guest| {
            guest.head();
            guest.write(answer);
        }));
        let mut client = Client::connect(proxy.address);
        client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        if kept {
            // The connection is still good: what is refused next shows it.
            client
                .send("GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
                .finish();
        }
        let text = client.rest_text();
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(rest.starts_with(body), "{text:?}");
        assert_eq!(head.contains("Connection: close"), !kept, "{text:?}");
        assert_eq!(
            rest[body.len()..].starts_with("HTTP/1.1 403 "),
            kept,
            "{text:?}"
        );
        proxy.stop();
    }
}

#[test]
fn a_head_request_has_no_body_and_keeps_the_length_that_was_told() {
    let World { proxy, to, .. } = world(Origin::saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    ));
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "HEAD http://{to}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    let text = client.rest_text();
    assert!(
        text.contains("\r\nContent-Length: 5\r\n") && text.ends_with("\r\n\r\n"),
        "{text:?}"
    );
    proxy.stop();
}

#[test]
fn an_http_1_0_client_gets_a_bare_body_and_a_close() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::start(|guest| {
        guest.head();
        guest
            .write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    }));
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET http://{to}/ HTTP/1.0\r\n\r\n"));
    let text = client.rest_text();
    assert!(
        text.ends_with("\r\nConnection: close\r\n\r\nhello"),
        "{text:?}"
    );
    assert!(
        origin.heard()[0].starts_with("GET / HTTP/1.1\r\nHost: ok.test"),
        "{:?}",
        origin.heard()
    );
    proxy.stop();
}

#[test]
fn interim_answers_are_passed_on_and_a_body_waits_for_its_100() {
    let World { proxy, to, .. } = world(Origin::start(|guest| {
        // Only the head: the body comes once it was asked for.
        let mut head = vec![0; 4096];
        let count = guest.stream.read(&mut head).unwrap();
        assert!(String::from_utf8_lossy(&head[..count]).contains("\r\nExpect: 100-continue\r\n"));
        guest.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        let mut body = [0; 5];
        guest.stream.read_exact(&mut body).unwrap();
        guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        guest.write(&body);
    }));
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "PUT http://{to}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 100);
    client.send("hello");
    assert_eq!(client.answer().status, 103);
    assert_eq!(client.answer().body, "hello");
    drop(client);
    proxy.stop();
}

#[test]
fn w07_h18_a_websocket_is_a_tunnel_after_its_101_and_not_one_byte_before() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::start(|guest| {
        let head = guest.head().unwrap();
        assert!(
            head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
            "{head}"
        );
        guest.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi");
        let mut buffer = [0; 64];
        while let Some(count) = guest.read(&mut buffer) {
            guest.write(&buffer[..count]);
        }
    }));
    let mut client = Client::connect(proxy.address);
    let head = format!(
        "GET http://{to}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    client.send([head.as_bytes(), b"early"].concat());
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.exactly(7), b"hiearly");
    client.send("more").finish();
    assert_eq!(client.rest(), b"more");
    let heard = &origin.heard()[0];
    assert!(heard.ends_with("\r\n\r\nearlymore"), "{heard:?}");
    let events = proxy.settled(1);
    assert_eq!(
        (&events[1]["outcome"], events[1]["bytes_up"].as_u64()),
        (&json!("done"), Some(heard.len() as u64),)
    );
    proxy.stop();
}

#[test]
fn w07_a_websocket_to_a_refused_host_is_refused_and_its_bytes_are_discarded() {
    let World { origin, proxy, .. } = world(Origin::http());
    let mut client = Client::connect(proxy.address);
    client.send(
        "GET http://evil.test/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly",
    );
    assert_eq!(client.last_answer().status, 403);
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    assert_eq!(proxy.settled(1).len(), 1);
    proxy.stop();
}

#[test]
fn h17_h18_no_other_upgrade_is_asked_for_and_what_follows_is_a_request_of_its_own() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::http());
    for upgrade in ["h2c", "foo"] {
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "GET http://{to}/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n\
             GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.answer().status, 403);
    }
    for heard in origin.heard() {
        assert!(
            !heard.to_lowercase().contains("upgrade") && !heard.contains("AAMA"),
            "{heard}"
        );
        assert_eq!(heard.matches("GET ").count(), 1, "{heard}");
    }
    proxy.stop();
}

#[test]
fn h19_a_refused_request_with_a_body_is_answered_before_the_body_and_closed() {
    let World { origin, proxy, .. } = world(Origin::http());
    let mut client = Client::connect(proxy.address);
    client.send("PUT http://evil.test/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n");
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
    proxy.stop();
}

#[test]
fn an_answer_before_the_end_of_the_body_is_passed_on_and_ends_the_connection() {
    let World { proxy, to, .. } = world(Origin::start(|guest| {
        let mut buffer = [0; 64];
        guest.read(&mut buffer);
        guest.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    }));
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "PUT http://{to}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    ));
    client.send([b'x'; 1000]);
    let answer = client.last_answer();
    assert_eq!((answer.status, answer.body.as_str()), (413, "big"));
    proxy.stop();
}
