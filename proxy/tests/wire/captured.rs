//! Redirected connections, past the redirect itself: what they open with, and where that leads (L, H03, T01).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use policies::audit::Header;
use policies::{Config, Host, Source, Surroundings};
use proxy::app::App;
use proxy::capture::CapturedDestination;
use proxy::flood::Flood;
use proxy::limits::Limits;
use proxy::live::Live;
use proxy::process::Processes;
use proxy::questions::Questions;
use proxy::resolve::{Files, Resolver, Servers};
use proxy::session;
use proxy::sink::Sink;
use proxy::slots::Slots;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::hello::hello;
use crate::support::origin::Origin;

/// A capture listener whose connections all went to one place.
struct Captured {
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Captured {
    /// `host` is the name of a synthetic address, or none for an address that was never issued.
    fn start(lines: &str, dns: &Dns, host: Option<&str>, original: &str, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("sandbox-name: test\nprivate-addresses: [127.0.0.1]\n{lines}");
        let source = Source {
            name: "p.yaml",
            text: &text,
        };
        let (config, _) = Config::parse(&source).unwrap();
        let surroundings = Surroundings {
            host_addresses: vec!["127.0.0.1".parse().unwrap()],
            own_addresses: Vec::new(),
        };
        let header = Header {
            sandbox: "test".into(),
            run: "run".into(),
        };
        let app = App {
            live: Live::new(config.policy(None, surroundings)),
            sink: Sink::open(
                &directory.path().join("audit.jsonl"),
                &header,
                proxy::record_writer::Rotation::NEVER,
            )
            .unwrap(),
            resolver: Resolver::new(
                Servers::Given(vec![dns.address]),
                Files::default(),
                PATIENCE,
            ),
            processes: Processes::default(),
            flood: Flood::past(u64::MAX),
            questions: Questions::new(None),
            slots: Slots::new(10),
            refused: Slots::new(10),
            limits,
        };
        let captured = CapturedDestination {
            host: host.map(|host| Host::parse(host).unwrap()),
            original: original.parse().unwrap(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, captured, Arc::new(app)));
        });
        Self { address, directory }
    }

    /// Waits until the record has `count` events.
    fn events(&self, count: usize) -> Vec<Value> {
        let since = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            let events: Vec<Value> = whole
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            if events.len() >= count {
                assert_eq!(events.len(), count, "{events:#?}");
                return events;
            }
            assert!(since.elapsed() < PATIENCE, "{events:#?}");
            std::thread::yield_now();
        }
    }
}

async fn serve(listener: TcpListener, captured: CapturedDestination, app: Arc<App>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let ends = Arc::clone(&app);
    drop(tokio::spawn(async move { ends.sink.serve().await }));
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        drop(tokio::spawn(session::run_captured(
            stream,
            peer,
            captured.clone(),
            Arc::clone(&app),
        )));
    }
}

/// Limits under which a test never fails for being slow.
fn patient() -> Limits {
    Limits {
        hopeless_timeout: PATIENCE,
        ..Limits::default()
    }
}

const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 49];

#[test]
fn a_name_of_ours_is_the_destination_and_the_sni_must_agree() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let captured = Captured::start(
        &lines,
        &dns,
        Some("ok.test"),
        &format!("198.18.1.0:{port}"),
        patient(),
    );
    let mut client = Client::connect(captured.address);
    let flight = hello(Some("ok.test"));
    client.send(&flight);
    assert_eq!(client.exactly(flight.len()), flight);
    client.finish();
    assert_eq!(client.rest(), b"");
    for (sni, reason) in [(Some("evil.test"), "sni-mismatch"), (None, "no-sni")] {
        let mut client = Client::connect(captured.address);
        client.send(hello(sni));
        assert_eq!(client.rest(), ALERT, "{reason}");
    }
    assert_eq!(origin.seen(), [flight]);
    let events = captured.events(4);
    let shown: Vec<Value> = events
        .iter()
        .map(|it| {
            json!([
                it["event"],
                it["via"],
                it["host"],
                it["sni"],
                it["reason"],
                it["address"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!([
                "request",
                "captured-tls",
                "ok.test",
                "ok.test",
                null,
                "127.0.0.1"
            ]),
            json!(["close", null, null, null, null, null]),
            json!([
                "request",
                "captured-tls",
                "ok.test",
                "evil.test",
                "sni-mismatch",
                null
            ]),
            json!(["request", "captured-tls", "ok.test", null, "no-sni", null]),
        ]
    );
}

#[test]
fn an_sni_in_another_spelling_is_no_name_of_ours_whether_the_address_was_issued_or_not() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}', xn--k-eha.test]\n");
    for (host, spelled, unread) in [
        (Some("ok.test"), "sni-mismatch", "not-tls"),
        (None, "sni-mismatch", "ip-literal"),
    ] {
        let place = format!("198.18.1.0:{port}");
        let captured = Captured::start(&lines, &dns, host, &place, patient());
        let cases = [
            ("ok.test.", spelled),
            ("\u{f6}k.test", unread),
            ("ok.test\0", unread),
            ("ok.test..", unread),
            ("*.test", unread),
        ];
        for (sni, _) in cases {
            let mut client = Client::connect(captured.address);
            client.send(hello(Some(sni)));
            let mut answer = Vec::new();
            drop(std::io::Read::read_to_end(&mut client.stream, &mut answer));
            assert!(answer.is_empty() || answer == ALERT, "{sni:?}: {answer:?}");
        }
        let events = captured.events(cases.len());
        let reasons: Vec<&Value> = events.iter().map(|it| &it["reason"]).collect();
        assert_eq!(reasons, cases.map(|(_, reason)| reason), "{host:?}");
    }
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
}

#[test]
fn l29_an_address_that_was_never_issued_is_judged_by_its_sni_and_never_dialled() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let captured = Captured::start(
        &lines,
        &dns,
        None,
        &format!("203.0.113.7:{port}"),
        patient(),
    );
    let mut client = Client::connect(captured.address);
    let flight = hello(Some("ok.test"));
    client.send(&flight);
    assert_eq!(client.exactly(flight.len()), flight);
    drop(client);
    for sni in [Some("evil.test"), None] {
        let mut client = Client::connect(captured.address);
        client.send(hello(sni));
        assert_eq!(client.rest(), ALERT);
    }
    let events = captured.events(4);
    assert_eq!(
        (&events[0]["host"], &events[0]["address"]),
        (&json!("ok.test"), &json!("127.0.0.1"))
    );
    let reasons: Vec<&Value> = events
        .iter()
        .filter(|it| it["decision"] == "deny")
        .map(|it| &it["reason"])
        .collect();
    assert_eq!(reasons, ["not-whitelisted", "ip-literal"]);
    assert_eq!(dns.asked(), ["ok.test"]);
    assert_eq!(origin.seen().len(), 1);
}

/// Reads to the end, and says whether that was a reset.
fn is_reset(client: &mut Client) -> bool {
    let read = std::io::Read::read(&mut client.stream, &mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[test]
fn l29_a_late_hello_to_an_address_that_was_never_issued_is_heard_on_every_open_port() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let limits = Limits {
        hopeless_timeout: Duration::from_millis(1),
        silence_timeout: PATIENCE,
        ..Limits::default()
    };
    let lines = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let place = format!("203.0.113.7:{port}");
    let captured = Captured::start(&lines, &dns, None, &place, limits);
    let mut client = Client::connect(captured.address);
    // Far longer than what is hopeless is listened to; and then in pieces, as a flight of several packets comes.
    std::thread::sleep(Duration::from_millis(200));
    let flight = hello(Some("ok.test"));
    let (first, second) = flight.split_at(7);
    client.send(first);
    std::thread::sleep(Duration::from_millis(50));
    client.send(second);
    assert_eq!(client.exactly(flight.len()), flight);
    client.finish();
    assert_eq!(client.rest(), b"");
    let events = captured.events(2);
    assert_eq!(
        (&events[0]["host"], &events[0]["decision"]),
        (&json!("ok.test"), &json!("allow"))
    );
}

#[test]
fn l01_silence_towards_an_address_that_was_never_issued_is_reset_before_the_head_s_limit() {
    let dns = Dns::start();
    let limits = Limits {
        silence_timeout: Duration::from_millis(50),
        hello_timeout: PATIENCE * 10,
        ..patient()
    };
    let lines = "http-domain-whitelist: ['ok.test']\n";
    for original in ["203.0.113.7:443", "203.0.113.7:80", "[2001:db8::7]:443"] {
        let captured = Captured::start(lines, &dns, None, original, limits.clone());
        let mut client = Client::connect(captured.address);
        assert!(is_reset(&mut client), "{original}");
        let events = captured.events(1);
        assert_eq!(
            (&events[0]["via"], &events[0]["reason"]),
            (&json!("captured-tcp"), &json!("ip-literal"))
        );
    }
}

#[test]
fn l01_an_address_that_was_never_issued_is_reset_unheard_where_its_port_is_open_to_nobody() {
    let dns = Dns::start();
    let limits = Limits {
        silence_timeout: PATIENCE * 10,
        hello_timeout: PATIENCE * 10,
        hopeless_timeout: PATIENCE * 10,
        ..Limits::default()
    };
    for (lines, original) in [
        ("http-domain-whitelist: ['ok.test']\n", "203.0.113.7:8443"),
        (
            "http-domain-whitelist: ['ok.test:8443']\n",
            "203.0.113.7:443",
        ),
        ("", "[2001:db8::7]:443"),
        (
            "http-domain-whitelist: ['ok.test']\nnetwork-mode: restricted\n",
            "203.0.113.7:443",
        ),
    ] {
        let captured = Captured::start(lines, &dns, None, original, limits.clone());
        let mut client = Client::connect(captured.address);
        assert!(is_reset(&mut client), "{original}");
        let events = captured.events(1);
        assert_eq!(
            (&events[0]["via"], &events[0]["reason"]),
            (&json!("captured-tcp"), &json!("ip-literal"))
        );
    }
    assert_eq!(dns.asked(), Vec::<String>::new());
}

#[test]
fn h03_plain_http_is_judged_by_host_and_each_request_by_itself() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let place = format!("203.0.113.7:{port}");
    let captured = Captured::start(&lines, &dns, None, &place, patient());
    let mut client = Client::connect(captured.address);
    let get = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let statuses = [
        format!("ok.test:{port}"),
        format!("evil.test:{port}"),
        place,
    ]
    .map(|host| client.send(get(&host)).answer().status);
    assert_eq!(statuses, [200, 403, 403]);
    drop(client);
    let events = captured.events(4);
    let shown: Vec<Value> = events
        .iter()
        .filter(|it| it["event"] == "request")
        .map(|it| json!([it["via"], it["host"], it["reason"]]))
        .collect();
    assert_eq!(
        shown,
        [
            json!(["captured-http", "ok.test", null]),
            json!(["captured-http", "evil.test", "not-whitelisted"]),
            json!(["captured-http", "203.0.113.7", "ip-literal"]),
        ]
    );
    assert_eq!(dns.asked(), ["ok.test"]);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn inside_a_connection_to_a_name_of_ours_no_other_host_is_served() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}', 'w.test:{port}']\n");
    let captured = Captured::start(
        &lines,
        &dns,
        Some("ok.test"),
        &format!("198.18.1.0:{port}"),
        patient(),
    );
    let mut client = Client::connect(captured.address);
    client.send(format!("GET / HTTP/1.1\r\nHost: ok.test:{port}\r\n\r\n"));
    assert_eq!(client.answer().status, 200);
    client.send(format!("GET / HTTP/1.1\r\nHost: w.test:{port}\r\n\r\n"));
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("sni-mismatch"))
    );
    let mut client = Client::connect(captured.address);
    client.send(format!("CONNECT ok.test:{port} HTTP/1.1\r\n\r\n"));
    assert_eq!(client.last_answer().status, 400);
    assert_eq!(dns.asked(), ["ok.test"]);
    captured.events(4);
}

#[test]
fn a_listed_endpoint_carries_anything_and_its_server_may_speak_first() {
    let dns = Dns::start();
    let origin = Origin::start(|guest| {
        guest.write(b"220 hello\r\n");
        let mut buffer = [0; 64];
        while guest.read(&mut buffer).is_some() {}
    });
    let port = origin.port();
    let lines = format!("tcp-endpoints: ['ok.test:{port}']\n");
    let captured = Captured::start(
        &lines,
        &dns,
        Some("ok.test"),
        &format!("198.18.1.0:{port}"),
        patient(),
    );
    let mut client = Client::connect(captured.address);
    assert_eq!(client.exactly(11), b"220 hello\r\n");
    client.send("QUIT\r\n").finish();
    assert_eq!(client.rest(), b"");
    let events = captured.events(2);
    assert_eq!(
        (&events[0]["via"], &events[1]["bytes_down"]),
        (&json!("captured-tcp"), &json!(11))
    );
}

#[test]
fn l01_what_nothing_allows_is_reset_at_once_whatever_it_says_or_does_not_say() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let lines = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let cases = [
        (
            None,
            "203.0.113.7:4444".to_owned(),
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            "ip-literal",
        ),
        (None, "203.0.113.7:4444".to_owned(), b"", "ip-literal"),
        (
            None,
            "[2001:db8::1]:22".to_owned(),
            b"*1\r\n$4\r\nPING\r\n",
            "ip-literal",
        ),
        (
            Some("ok.test"),
            format!("198.18.1.0:{port}"),
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "not-tls",
        ),
        (
            Some("ok.test"),
            "198.18.1.0:22".to_owned(),
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "port",
        ),
        (Some("ok.test"), "198.18.1.0:25".to_owned(), b"", "port"),
    ];
    for (host, original, opening, reason) in cases {
        let limits = Limits {
            hopeless_timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        let captured = Captured::start(&lines, &dns, host, &original, limits);
        let mut client = Client::connect(captured.address);
        // What is reset unheard may be so before it said anything: then its write tells.
        let sent = std::io::Write::write_all(&mut client.stream, opening);
        assert!(
            sent.is_err() || is_reset(&mut client),
            "{original} was not reset"
        );
        let events = captured.events(1);
        assert_eq!(
            (&events[0]["via"], &events[0]["reason"]),
            (&json!("captured-tcp"), &json!(reason)),
            "{original}"
        );
    }
    assert_eq!(dns.asked(), Vec::<String>::new());
    assert_eq!(origin.seen(), Vec::<Vec<u8>>::new());
}
