//! Which destinations are reached: N (names), I (addresses), D (what DNS hears), P11 (one matcher for every way).

use hickory_proto::rr::RecordType;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::hello::hello;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

struct World {
    dns: Dns,
    origin: Origin,
    proxy: Proxy,
}

fn world() -> World {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let proxy = Proxy::start(
        &format!(
            "http-domain-whitelist:\n  - ok.test:{port}\n  - .w.test:{port}\n  - ok.test\n  - .w.test\n\
             http-domain-denylist:\n  - bad.w.test\n  - evil.test\n"
        ),
        &dns,
    );
    World { dns, origin, proxy }
}

fn get(proxy: &Proxy, url: &str) -> crate::support::client::Answer {
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    client.last_answer()
}

fn connect(proxy: &Proxy, authority: &[u8]) -> crate::support::client::Answer {
    let mut client = Client::connect(proxy.address);
    client.send([b"CONNECT ", authority, b" HTTP/1.1\r\n\r\n"].concat());
    client.last_answer()
}

fn requests(events: &[Value]) -> Vec<&Value> {
    events
        .iter()
        .filter(|event| event["event"] == "request")
        .collect()
}

#[test]
fn n01_n05_n07_n08_n17_spellings_of_an_allowed_name_reach_it_and_are_logged_canonical() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    let spellings = [
        ("ok.test.", "ok.test"),
        ("OK.TeSt", "ok.test"),
        ("w.test", "w.test"),
        ("a.w.test", "a.w.test"),
        ("b.c.d.w.test", "b.c.d.w.test"),
        ("_dmarc.w.test", "_dmarc.w.test"),
    ];
    dns.set("b.c.d.w.test", &["127.0.0.1"]);
    dns.set("_dmarc.w.test", &["127.0.0.1"]);
    for (spelling, _) in spellings {
        let answer = get(&proxy, &format!("http://{spelling}:{port}/"));
        assert_eq!(answer.status, 200, "{spelling}: {answer:?}");
    }
    let events = proxy.settled(spellings.len());
    let hosts: Vec<&str> = requests(&events)
        .iter()
        .map(|it| it["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, spellings.map(|(_, host)| host));
    for (heard, (_, host)) in origin.heard().iter().zip(spellings) {
        assert!(
            heard.contains(&format!("\r\nHost: {host}:{port}\r\n")),
            "{heard}"
        );
    }
    proxy.stop();
}

#[test]
fn destinations_that_are_not_allowed_are_refused_before_any_query_or_packet() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    let refused = [
        ("evil.test", "denylisted"),                     // N02
        ("evil.test.", "denylisted"),                    // N02
        ("bad.w.test", "denylisted"),                    // N21
        ("bad.w.test.", "denylisted"),                   // N02
        ("evilw.test", "not-whitelisted"),               // N06
        ("w.test.evil.example", "not-whitelisted"),      // N06
        ("x.ok.test", "not-whitelisted"),                // N07
        ("localhost", "private-address"),                // N19
        ("localhost.localdomain", "private-address"),    // N19
        ("metadata.google.internal", "not-whitelisted"), // I05
        ("onsxg4tfoq.evil.example", "not-whitelisted"),  // D07
        ("127.0.0.1", "ip-literal"),                     // I02
        ("0.0.0.0", "ip-literal"),                       // I04
        ("[::]", "ip-literal"),                          // I04
        ("[::1]", "ip-literal"),                         // I02
        ("1.1.1.1", "ip-literal"),                       // I01
        ("169.254.169.254", "ip-literal"),               // I05
        ("168.63.129.16", "ip-literal"),                 // I05
        ("100.100.100.200", "ip-literal"),               // I05
        ("[::ffff:127.0.0.1]", "ip-literal"),            // I07
        ("[64:ff9b::a9fe:a9fe]", "ip-literal"),          // I09
        ("[fd00::1]", "ip-literal"),                     // I12
        ("224.0.0.1", "ip-literal"),                     // I12
        ("docker.host", "not-whitelisted"),              // I18: no host port is listed
    ];
    for (host, reason) in refused {
        for target in [443, port] {
            let answer = connect(&proxy, format!("{host}:{target}").as_bytes());
            assert_eq!(
                (answer.status, answer.reason().as_deref()),
                (403, Some(reason)),
                "{host}"
            );
        }
        let answer = get(&proxy, &format!("http://{host}/"));
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (403, Some(reason)),
            "{host}"
        );
    }
    let events = proxy.settled(refused.len() * 3);
    for (request, (_, reason)) in events
        .chunks(3)
        .flatten()
        .zip(refused.iter().flat_map(|it| [it; 3]))
    {
        assert_eq!(
            (&request["decision"], &request["reason"]),
            (&"deny".into(), &(*reason).into())
        );
    }
    assert_eq!(events.len(), refused.len() * 3);
    assert_eq!(dns.asked(), Vec::<String>::new());
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn c01_h26_a_port_that_is_not_listed_is_refused_with_its_reason() {
    let World { dns, origin, proxy } = world();
    for authority in [
        "ok.test:22",
        "ok.test:25",
        "ok.test:8443",
        "ok.test:80",
        "a.w.test:1",
    ] {
        let answer = connect(&proxy, authority.as_bytes());
        assert_eq!(
            (answer.status, answer.reason().as_deref()),
            (403, Some("port")),
            "{authority}"
        );
    }
    let answer = get(&proxy, "http://ok.test:443/");
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("port"))
    );
    assert_eq!(dns.asked(), Vec::<String>::new());
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn destinations_that_are_no_host_and_port_are_malformed_and_closed() {
    let World { dns, origin, proxy } = world();
    let long_label = format!("{}.w.test:443", "a".repeat(64)); // N16
    let long_name = format!("{}w.test:443", "aaaaaaa.".repeat(32)); // N16
    let authorities: Vec<&[u8]> = vec![
        b"ok.test..:443",                       // N03
        b".ok.test:443",                        // N03
        b"a..w.test:443",                       // N03
        b"[evil.test]:443",                     // N04
        b"[ok.test]:443",                       // N04
        b"evil.test\0.w.test:443",              // N09
        b"evil.test\r\n.w.test:443",            // N10
        b"evil.test\t.w.test:443",              // N10
        b"evil.test .w.test:443",               // N10
        b"ok%2etest:443",                       // N11
        b"ok.test%0d%0a.w.test:443",            // N10
        b"ok.test@evil.test:443",               // N12
        b"ok.test:443@evil.test:443",           // N12
        "o\u{ad}k.test:443".as_bytes(),         // N14
        "ok\u{3002}test:443".as_bytes(),        // N14
        "\u{ff4f}\u{ff4b}.test:443".as_bytes(), // N14
        long_label.as_bytes(),
        long_name.as_bytes(),
        b"2130706433:443", // I03
        b"0177.0.0.1:443", // I03
        b"0x7f.1:443",     // I03
        b"127.1:443",      // I03
        b"0:443",          // I03
        b"127.0.0.1.:443", // I03
        b"[fe80::1%25lo]:443",
        b"::1:443",
        b"ok.test", // no port
        b"ok.test:",
        b"ok.test:0",     // H26
        b"ok.test:65536", // H26
        b"ok.test:+80",   // H26
        b"ok.test:0x50",  // H26
        b"http://ok.test:443",
        b"/",
        b"*",
    ];
    for authority in &authorities {
        let answer = connect(&proxy, authority);
        let seen = (
            answer.status,
            answer.reason().as_deref() == Some("malformed"),
        );
        assert_eq!(
            seen,
            (400, true),
            "{}: {answer:?}",
            authority.escape_ascii()
        );
    }
    for url in [
        "http://%65vil.test/",
        "http://ok.test@evil.test/",
        "http://ok.test:80@evil.test",
    ] {
        assert_eq!(get(&proxy, url).status, 400, "{url}"); // N11, N12
    }
    let events = proxy.settled(authorities.len() + 3);
    assert!(
        events.iter().all(|event| event["reason"] == "malformed"),
        "{events:#?}"
    );
    assert_eq!(events.len(), authorities.len() + 3);
    assert_eq!(dns.asked(), Vec::<String>::new());
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn i13_i17_a_name_that_leads_to_private_addresses_alone_is_refused() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['.w.test:{port}', .w.test]\n"),
        &dns,
    );
    let cases: [(&str, &[&str]); 8] = [
        ("a.w.test", &["10.0.0.5"]),
        ("b.w.test", &["fd00::1"]),
        ("c.w.test", &["169.254.169.254"]),
        ("d.w.test", &["127.0.0.2", "::1"]),
        ("e.w.test", &["::ffff:10.0.0.5"]),
        ("f.w.test", &["64:ff9b::a9fe:a9fe"]),
        ("g.w.test", &["0.0.0.0"]),
        ("h.w.test", &["100.64.0.1"]),
    ];
    for (name, addresses) in cases {
        dns.set(name, addresses);
        let answer = get(&proxy, &format!("http://{name}:{port}/"));
        let seen = (answer.status, answer.reason());
        assert_eq!(seen, (403, Some("private-address".to_owned())), "{name}");
        for address in addresses {
            assert!(!answer.body.contains(address), "W7: {}", answer.body);
        }
        let answer = connect(&proxy, format!("{name}:443").as_bytes());
        assert_eq!(
            answer.reason().as_deref(),
            Some("private-address"),
            "{name}"
        );
    }
    let events = proxy.settled(cases.len() * 2);
    for (event, (name, addresses)) in events
        .iter()
        .zip(cases.iter().flat_map(|case| [case, case]))
    {
        assert_eq!(event["host"], *name);
        let dropped: Vec<&str> = event["dropped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        assert_eq!(dropped, *addresses, "{event}");
    }
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
    proxy.stop();
}

#[test]
fn i14_of_a_mixed_answer_only_the_listed_address_is_dialled() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    dns.set("ok.test", &["10.0.0.5", "127.0.0.1", "169.254.169.254"]);
    assert_eq!(get(&proxy, &format!("http://ok.test:{port}/")).status, 200);
    let events = proxy.settled(1);
    assert_eq!(events[0]["address"], "127.0.0.1");
    let dropped: Vec<&Value> = events[0]["dropped"].as_array().unwrap().iter().collect();
    assert_eq!(dropped, ["10.0.0.5", "169.254.169.254"]);
    proxy.stop();
}

#[test]
fn i15_a_name_that_is_rebound_is_judged_by_what_it_says_now() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    dns.set_in_turn("ok.test", &[&["127.0.0.1"], &["169.254.169.254"]]);
    assert_eq!(get(&proxy, &format!("http://ok.test:{port}/")).status, 200);
    let answer = get(&proxy, &format!("http://ok.test:{port}/"));
    assert_eq!(answer.reason().as_deref(), Some("private-address"));
    assert_eq!(origin.seen().len(), 1);
    proxy.stop();
}

#[test]
fn i16_a_kept_connection_stays_with_the_address_that_was_judged() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    dns.set_in_turn("ok.test", &[&["127.0.0.1"], &["169.254.169.254"]]);
    let mut client = Client::connect(proxy.address);
    for path in ["a", "b"] {
        client.send(format!(
            "GET http://ok.test:{port}/{path} HTTP/1.1\r\nHost: x\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(origin.seen().len(), 1);
    drop(client);
    let events = proxy.settled(2);
    let addresses: Vec<&Value> = requests(&events).iter().map(|it| &it["address"]).collect();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.1"]);
    proxy.stop();
}

#[test]
fn w1_only_allowed_names_are_asked_for_absolutely_and_only_their_addresses() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    assert_eq!(get(&proxy, &format!("http://ok.test:{port}/")).status, 200);
    assert_eq!(get(&proxy, "http://evil.test/").status, 403);
    assert_eq!(get(&proxy, "http://203.0.113.7/").status, 403); // N24: no PTR
    assert_eq!(dns.asked(), ["ok.test"]);
    let usual = |kind: &RecordType| matches!(kind, RecordType::A | RecordType::AAAA);
    assert!(dns.types().iter().all(usual), "{:?}", dns.types());
    proxy.stop();
}

#[test]
fn d16_a_name_that_does_not_exist_is_a_502_and_a_refused_one_a_403() {
    let World {
        dns,
        origin: _origin,
        proxy,
    } = world();
    let answer = get(&proxy, "http://gone.w.test/");
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (502, Some("dns-failed"))
    );
    let answer = connect(&proxy, b"gone.w.test:443");
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (502, Some("dns-failed"))
    );
    assert_eq!(dns.asked(), ["gone.w.test"]);
    let events = proxy.settled(2);
    for event in events {
        assert_eq!(
            (&event["decision"], &event["reason"]),
            (&"deny".into(), &"dns-failed".into())
        );
    }
    proxy.stop();
}

#[test]
fn i18_i20_a_host_port_is_reached_by_every_alias_and_in_every_way_but_its_address() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let proxy = Proxy::start(&format!("host-ports: [{port}]\n"), &dns);
    for alias in [
        "docker.host",
        "host.docker.internal",
        "host.containers.internal",
        "DOCKER.HOST.",
    ] {
        assert_eq!(
            get(&proxy, &format!("http://{alias}:{port}/")).status,
            200,
            "{alias}"
        );
        let mut client = Client::tunnel(proxy.address, &format!("{alias}:{port}"));
        client.send(format!("GET /raw HTTP/1.1\r\nHost: {alias}\r\n\r\n"));
        assert_eq!(client.answer().body, "GET /raw HTTP/1.1");
        assert_eq!(
            get(&proxy, &format!("http://{alias}:{}/", port ^ 1)).status,
            403,
            "{alias}"
        );
    }
    let answer = connect(&proxy, format!("127.0.0.1:{port}").as_bytes());
    assert_eq!(answer.reason().as_deref(), Some("ip-literal"));
    assert_eq!(dns.asked(), Vec::<String>::new());
    proxy.stop();
}

#[test]
fn i22_a_redirect_to_the_metadata_service_is_refused_when_it_is_followed() {
    let dns = Dns::start();
    let origin = Origin::saying(
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n",
    );
    let port = origin.port();
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['ok.test:{port}']\n"),
        &dns,
    );
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "GET http://ok.test:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 302);
    client.send("GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("ip-literal"))
    );
    drop(client);
    proxy.stop();
}

#[test]
fn c07_the_proxy_does_not_lead_to_itself() {
    let World {
        dns: _dns,
        origin: _origin,
        proxy,
    } = world();
    let own = proxy.address.port();
    for authority in [
        format!("127.0.0.1:{own}"),
        format!("ok.test:{own}"),
        format!("docker.host:{own}"),
    ] {
        assert_eq!(
            connect(&proxy, authority.as_bytes()).status,
            403,
            "{authority}"
        );
    }
    proxy.stop();
}

#[test]
fn p11_one_matcher_judges_a_destination_whichever_way_it_is_asked_for() {
    let World { dns, origin, proxy } = world();
    let port = origin.port();
    // An entry with a port is for plain HTTP and for TLS alike.
    assert_eq!(get(&proxy, &format!("http://ok.test:{port}/")).status, 200);
    let mut client = Client::tunnel(proxy.address, &format!("ok.test:{port}"));
    client.send(hello(Some("ok.test")));
    origin.wait(|seen| seen.len() == 2 && seen[1] == hello(Some("ok.test")));
    drop(client);
    assert_eq!(dns.asked(), ["ok.test"]);
    proxy.stop();
}
