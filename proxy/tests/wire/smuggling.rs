//! What two readers could read differently (H): requests from a hostile client, answers from a hostile origin.

use serde_json::json;

use crate::forward::{World, world};
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::origin::Origin;

#[test]
fn ambiguous_requests_are_400_close_and_reach_no_origin() {
    let World {
        dns,
        origin,
        proxy,
        to,
    } = world(Origin::http());
    let with = |lines: &str, rest: &str| {
        format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{lines}\r\n{rest}").into_bytes()
    };
    let smuggled = format!("GET http://{to}/smuggled HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let chunked = format!("0\r\n\r\n{smuggled}");
    let mut cases: Vec<Vec<u8>> = vec![
        with(
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            &chunked,
        ), // H06
        with(
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            &chunked,
        ), // H06
        with("Host: ok.test\r\n", &smuggled), // H04
        with("X: a\r\n b\r\n", &smuggled),    // obs-fold
        with(" X: a\r\n", &smuggled),
        with("X : a\r\n", &smuggled),
        with("X\r\n", &smuggled),
        with("X: a\nY: b\r\n", &smuggled), // bare LF
        with("X: a\rY: b\r\n", &smuggled), // bare CR
        with("X: a\0b\r\n", &smuggled),
        format!("POST http://{to}/ HTTP/1.1\nHost: {to}\n\n{smuggled}").into_bytes(),
        format!("POST http://{to}/ HTTP/1.1\r\n\r\n{smuggled}").into_bytes(), // H05
        format!("\r\nPOST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes(),
        format!("POST http://{to}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}")
            .into_bytes(),
        format!("POST http://{to}/ HTTP/1.2\r\nHost: {to}\r\n\r\n{smuggled}").into_bytes(),
        format!("POST http://{to}/ HTTP/1.1 \r\nHost: {to}\r\n\r\n{smuggled}").into_bytes(),
        format!("POST  http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n{smuggled}").into_bytes(),
        format!("POST\thttp://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n{smuggled}").into_bytes(),
        format!("post http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n{smuggled}").into_bytes(), // H20
        format!(
            "{} http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n",
            "A".repeat(8192)
        )
        .into_bytes(), // H20
        format!("POST http://{to}/#a HTTP/1.1\r\nHost: {to}\r\n\r\n{smuggled}").into_bytes(),
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 5\r\n\r\nhello")
            .into_bytes(),
        format!("CONNECT {to} HTTP/1.1\r\nHost: evil.test\r\n\r\n").into_bytes(),
    ];
    for coding in [
        "xchunked",
        "\u{b}chunked",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;a",
        "\"chunked\"",
    ] {
        cases.push(with(&format!("Transfer-Encoding: {coding}\r\n"), &chunked)); // H07
    }
    cases.push(with(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        &chunked,
    )); // H07
    cases.push(with("Transfer-Encoding : chunked\r\n", &chunked)); // H07
    for length in [
        "+5",
        "-5",
        "5, 5",
        "5, 6",
        "0x5",
        "18446744073709551616",
        "5 5",
        "",
        "5\r\nContent-Length: 5",
    ] {
        cases.push(with(&format!("Content-Length: {length}\r\n"), &smuggled)); // H08
    }
    for target in [
        "ftp://ok.test/",
        "file:///etc/passwd",
        "gopher://ok.test/",
        "ws://ok.test/",
        "/",
        "ok.test:80",
        "*",
    ] {
        cases.push(format!("GET {target} HTTP/1.1\r\nHost: {to}\r\n\r\n{smuggled}").into_bytes()); // H21
    }
    for case in &cases {
        let mut client = Client::connect(proxy.address);
        client.send(case);
        let answer = client.last_answer();
        let seen = (answer.status, answer.reason());
        assert_eq!(
            seen,
            (400, Some("malformed".to_owned())),
            "{}",
            case.escape_ascii()
        );
    }
    let events = proxy.settled(cases.len());
    assert_eq!(events.len(), cases.len());
    assert!(
        events.iter().all(|event| event["reason"] == "malformed"),
        "{events:#?}"
    );
    assert_eq!(dns.asked(), Vec::<String>::new());
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn h20_h21_trace_and_https_in_the_clear_are_refused() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::http());
    let mut client = Client::connect(proxy.address);
    client.send(format!("TRACE http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    assert_eq!(client.last_answer().status, 405);
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET https://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("not-tls"))
    );
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn chunks_that_are_malformed_end_both_connections() {
    let World {
        origin, proxy, to, ..
    } = world(Origin::silent());
    for chunks in [
        "5\nhello",
        "5\r\nhelloX",
        "+5\r\nhello",
        "0x5\r\nhello",
        "10000000000000000\r\n",
        "0\r\n\r\rX",
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "POST http://{to}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        client.send(chunks);
        assert_eq!(client.last_answer().status, 400, "{chunks:?}");
    }
    let events = proxy.settled(6);
    let outcomes: Vec<_> = events
        .iter()
        .filter_map(|event| event.get("outcome"))
        .collect();
    assert_eq!(outcomes, [&json!("client-error"); 6]);
    for heard in origin.heard() {
        assert!(
            !heard.ends_with("0\r\n\r\n"),
            "a malformed body was ended for its origin: {heard:?}"
        );
    }
    proxy.stop();
}

#[test]
fn h25_answers_that_are_not_plainly_one_answer_are_502_and_do_not_reach_the_next_request() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(10 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(200));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    let answers: Vec<&[u8]> = vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nevil",
        b"HTTP/1.1 304 Not Modified\r\n\r\nevil",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nevil",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"evil\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"220 mail.test ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        huge.as_bytes(),
        many.as_bytes(),
        interim.as_bytes(),
    ];
    for answer in &answers {
        let shown = answer[..answer.len().min(120)].escape_ascii().to_string();
        let bytes = answer.to_vec();
        let World {
            origin, proxy, to, ..
        } = world(Origin::start(move |guest| {
            guest.head();
            guest.write(&bytes);
        }));
        let mut client = Client::connect(proxy.address);
        client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.send("GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
        // Of an answer that began in order, what came before the fault may have passed.
        let text = client.rest_text();
        if shown.contains("100 Continue") {
            assert!(!text.contains("200"), "{shown}: {text}");
        } else {
            assert!(text.starts_with("HTTP/1.1 502 "), "{shown}: {text}");
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{shown}: {text}");
        }
        assert!(!text.contains("evil"), "{shown}: {text}");
        assert_eq!(origin.seen().len(), 1, "{shown}");
        let events = proxy.settled(1);
        assert_eq!(events[1]["outcome"], "upstream-error", "{shown}");
        drop(client);
        proxy.stop();
    }
}

#[test]
fn h25_bytes_after_an_answer_are_never_the_answer_to_the_next_request() {
    let (answered, go) = std::sync::mpsc::channel();
    let (sent, all_sent) = std::sync::mpsc::channel();
    let go = std::sync::Mutex::new(go);
    let World {
        origin, proxy, to, ..
    } = world(Origin::start(move |guest| {
        guest.head();
        guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        sent.send(()).unwrap();
        guest.head();
    }));
    let mut client = Client::connect(proxy.address);
    for _ in 0..3 {
        client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        // They are there before the next request: what comes after it is its answer, whatever the origin meant by it.
        answered.send(()).unwrap();
        all_sent.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(origin.seen().len(), 3);
    drop(client);
    proxy.stop();
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_on_as_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let World { proxy, to, .. } = world(Origin::start(move |guest| {
            guest.head();
            guest.write(answer);
        }));
        let mut client = Client::connect(proxy.address);
        client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        let text = client.rest_text();
        assert!(
            text.contains("hello") && !text.contains("0\r\n\r\n"),
            "{text}"
        );
        assert_eq!(proxy.settled(1)[1]["outcome"], "upstream-error");
        proxy.stop();
    }
}
