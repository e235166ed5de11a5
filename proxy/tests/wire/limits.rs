//! Slow, many, too large (R), with limits low enough to be met.

use serde_json::json;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::hello::hello;
use crate::support::origin::{Origin, black_hole};
use crate::support::proxy::{Proxy, Start};

#[test]
fn r01_a_slow_head_is_a_408_and_others_are_served_meanwhile() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let to = format!("ok.test:{}", origin.port());
    let lines = format!("http-domain-whitelist: ['{to}']\nlimits: {{head-timeout: 1s}}\n");
    let proxy = Proxy::start(&lines, &dns);
    let openings = [
        "G",
        "GET http://ok.test/",
        "CONNECT ok.test:443 HTTP/1.1\r\nHost:",
    ];
    let mut slow: Vec<Client> = Vec::new();
    for opening in openings.iter().cycle().take(60) {
        let mut client = Client::connect(proxy.address);
        client.send(opening);
        slow.push(client);
    }
    let mut quick = Client::connect(proxy.address);
    quick.send(format!(
        "GET http://{to}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(quick.last_answer().status, 200);
    for client in &mut slow {
        let answer = client.last_answer();
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (408, Some("limit"))
        );
    }
    let events = proxy.settled(61);
    let limited = events
        .iter()
        .filter(|event| event["reason"] == "limit")
        .count();
    assert_eq!(limited, 60);
    proxy.stop();
}

#[test]
fn a_client_that_says_nothing_is_closed_without_a_word_and_without_a_record() {
    let dns = Dns::start();
    let proxy = Proxy::start("limits: {head-timeout: 1s}\n", &dns);
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.rest(), b"");
    assert_eq!(proxy.events().len(), 0);
    proxy.stop();
}

#[test]
fn a_head_that_is_too_large_is_a_431() {
    let dns = Dns::start();
    let proxy = Proxy::start("", &dns);
    let long = format!(
        "GET http://ok.test/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(70_000)
    );
    let many = format!(
        "GET http://ok.test/ HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: a\r\n".repeat(200)
    );
    for head in [long, many] {
        let mut client = Client::connect(proxy.address);
        client.send(head);
        let answer = client.last_answer();
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (431, Some("limit"))
        );
    }
    proxy.stop();
}

#[test]
fn r03_connections_past_the_limit_are_a_503_and_room_comes_back() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let to = format!("ok.test:{}", origin.port());
    let lines = format!("http-domain-whitelist: ['{to}']\nlimits: {{connections: 3}}\n");
    let proxy = Proxy::start(&lines, &dns);
    let get = format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut held: Vec<Client> = (0..3).map(|_| Client::connect(proxy.address)).collect();
    for client in &mut held {
        client.send(&get);
        assert_eq!(client.answer().status, 200);
    }
    for _ in 0..20 {
        let mut client = Client::connect(proxy.address);
        client.send(&get);
        let answer = client.last_answer();
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (503, Some("limit"))
        );
    }
    // Those that are served are not disturbed.
    held[0].send(&get);
    assert_eq!(held[0].answer().status, 200);
    drop(held);
    proxy.settled(24);
    let mut client = Client::connect(proxy.address);
    client.send(&get);
    assert_eq!(client.answer().status, 200);
    drop(client);
    proxy.stop();
}

#[test]
fn r06_out_of_descriptors_the_proxy_refuses_and_recovers() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let to = format!("ok.test:{}", origin.port());
    let lines = format!("http-domain-whitelist: ['{to}']\n");
    let through = ["prlimit", "--nofile=40:40"];
    let proxy = Proxy::start_with(&Start {
        policy: &lines,
        dns: &dns,
        arguments: &[],
        through: &through,
    });
    let get = format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let flood: Vec<Client> = (0..60).map(|_| Client::connect(proxy.address)).collect();
    drop(flood);
    let mut client = Client::connect(proxy.address);
    client.send(&get);
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(client);
    proxy.stop();
}

#[test]
fn r04_an_origin_that_does_not_accept_is_a_504_and_its_slot_comes_back() {
    let dns = Dns::start();
    let (hole, _full) = black_hole();
    let address = hole.local_addr().unwrap();
    let port = address.port();
    let lines = format!(
        "http-domain-whitelist: ['ok.test:{port}']\ntcp-endpoints: ['w.test:{port}']\n\
         limits: {{connect-timeout: 1s, connections: 1}}\n"
    );
    let proxy = Proxy::start(&lines, &dns);
    for request in [
        format!("GET http://ok.test:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!("CONNECT w.test:{port} HTTP/1.1\r\n\r\n"),
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(request);
        let answer = client.last_answer();
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (504, Some("dial-failed"))
        );
    }
    let mut client = Client::tunnel(proxy.address, &format!("ok.test:{port}"));
    client.send(hello(Some("ok.test")));
    assert_eq!(client.rest(), [21, 3, 1, 0, 2, 2, 80]);
    let events = proxy.settled(3);
    for close in events.iter().filter(|event| event["event"] == "close") {
        assert_eq!(close["outcome"], "dial-failed");
    }
    proxy.stop();
}

#[test]
fn an_answer_that_never_comes_is_a_504() {
    let (dns, origin) = (Dns::start(), Origin::silent());
    let to = format!("ok.test:{}", origin.port());
    let lines = format!("http-domain-whitelist: ['{to}']\nlimits: {{idle-timeout: 1s}}\n");
    let proxy = Proxy::start(&lines, &dns);
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(client.last_answer().status, 504);
    assert_eq!(proxy.settled(1)[1]["outcome"], json!("idle"));
    proxy.stop();
}
