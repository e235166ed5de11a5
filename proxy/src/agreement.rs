//! Whichever way a client takes, the wire's verdict on a destination is the one that `ocs policy explain` gives: over
//! all destinations of the corpus, by CONNECT, in absolute form, and captured with TLS, HTTP or something else inside:
//! names, listed endpoints of raw TCP, and ports of the host under each of its names. And the ways agree with each other:
//! CONNECT with captured TLS, a request to the proxy with a captured one.
//!
//! No name resolves here, so that what is allowed by name ends with `dns-failed`. A port of the host is dialled, on an
//! address of the loopback that nobody has. Addresses that are listed would be dialled for real, and are left out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policies::audit::{Event, Header};
use policies::{
    Carries, Config, Destination, DnsName, Host, Policy, Port, Reason, Request, Source,
    Surroundings, Target, Verdict, Via,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::App;
use crate::capture::CapturedDestination;
use crate::flood::Flood;
use crate::limits::Limits;
use crate::live::Live;
use crate::process::Processes;
use crate::questions::Questions;
use crate::resolve::{Files, Resolver, Servers};
use crate::session;
use crate::sink::Sink;
use crate::slots::Slots;

const WAYS: [Via; 5] = [
    Via::Connect,
    Via::Http,
    Via::CapturedTls,
    Via::CapturedHttp,
    Via::CapturedTcp,
];

/// How a destination ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is allowed, and the host was dialled.
    Dialled,
    Refused(Reason),
}

#[tokio::test]
async fn every_way_to_every_destination_of_the_corpus_is_judged_as_explain_says() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/corpus/decisions");
    let (mut judged, mut compared) = ([0, 0, 0], 0);
    for file in std::fs::read_dir(corpus).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let Some(config) = config(&text) else {
            continue;
        };
        let world = World::new(&config);
        for destination in destinations(&text) {
            let mut ways = Vec::new();
            for via in WAYS {
                if let Some(expected) = world.expected(&destination, via) {
                    let seen = world.seen(&destination, via).await;
                    assert_eq!(seen, expected, "{destination} by {via:?} under\n{config}");
                    ways.push((via, seen));
                    judged[match expected {
                        Ended::Refused(Reason::DnsFailed) => 1,
                        Ended::Refused(_) => 0,
                        Ended::Dialled => 2,
                    }] += 1;
                }
            }
            compared += agreed(&world, &destination, &ways);
        }
    }
    assert!(compared > 400, "{compared} pairs of ways");
    assert!(
        judged[0] > 600 && judged[1] > 120 && judged[2] > 20,
        "refused, allowed by name, ports of the host: {judged:?}"
    );
}

/// Compares the ways to one destination with each other: the explicit one of what a client wants to speak with the
/// captured one. Says how many pairs there were.
fn agreed(world: &World, destination: &Destination, ways: &[(Via, Ended)]) -> usize {
    // Of rustls' SNI no label begins or ends with a hyphen: no hello can ask for such a name.
    // And a socket that connects to a mapped address sends IPv4: the spelling is lost.
    let one_way = match &destination.host {
        Host::Address(address) => address.to_canonical() != *address,
        Host::Name(name) => hyphened(name),
    };
    if one_way {
        return 0;
    }
    let of = |via| {
        let found = ways.iter().find(|(way, _)| *way == via);
        found.map(|(_, ended)| *ended)
    };
    // Inside of CONNECT to a model server of plain HTTP is plain HTTP.
    let tunnelled = match world.carries(destination, Via::Connect) {
        Some(Carries::Http) => Via::CapturedHttp,
        Some(Carries::Raw | Carries::Tls | Carries::TlsOrHttp) | None => Via::CapturedTls,
    };
    let pairs = [(Via::Connect, tunnelled), (Via::Http, Via::CapturedHttp)];
    let mut compared = 0;
    for (explicit, captured) in pairs {
        let (Some(explicit), Some(captured)) = (of(explicit), of(captured)) else {
            continue;
        };
        // Plain HTTP to what is listed for TLS: who asks a proxy has the wrong port, who is captured there the wrong protocol.
        let captured = match (explicit, captured) {
            (Ended::Refused(Reason::Port), Ended::Refused(Reason::NotTls))
                if destination.port == Port::HTTPS =>
            {
                explicit
            }
            (_, captured) => captured,
        };
        assert_eq!(explicit, captured, "{destination}");
        compared += 1;
    }
    compared
}

/// The `config: |` block of a corpus file, if it is a config on its own.
fn config(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("\nconfig: |\n")?;
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("  "));
    let config = lines
        .map(|line| line.get(2..).unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n");
    Config::parse(&Source {
        name: "config",
        text: &config,
    })
    .is_ok()
    .then_some(config)
}

/// The destinations that the cases of a corpus file name, by whichever way.
fn destinations(text: &str) -> BTreeSet<Destination> {
    let keys = [
        "connect: ",
        "http: ",
        "captured-http: ",
        "captured-tls: ",
        "captured-tcp: ",
    ];
    let values = text.lines().filter_map(|line| {
        let line = line.trim_start();
        keys.iter().find_map(|key| line.strip_prefix(key))
    });
    let parsed = values.map(|value| value.trim_matches(['"', '\'']));
    parsed
        .filter_map(|value| Destination::parse_authority(value, None).ok())
        .collect()
}

struct World {
    app: Arc<App>,
    policy: Arc<Policy>,
    directory: tempfile::TempDir,
}

impl World {
    fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, _) = Config::parse(&Source {
            name: "config",
            text: config,
        })
        .unwrap();
        let surroundings = Surroundings {
            host_addresses: vec!["127.66.66.66".parse().unwrap()],
            own_addresses: Vec::new(),
        };
        let header = Header {
            sandbox: "demo".into(),
            run: "run".into(),
        };
        let files = Files {
            hosts: directory.path().join("hosts"),
            resolv_conf: directory.path().join("resolv.conf"),
        };
        let app = Arc::new(App {
            live: Live::new(config.policy(None, surroundings)),
            sink: Sink::open(
                &directory.path().join("record.jsonl"),
                &header,
                crate::record_writer::Rotation::NEVER,
            )
            .unwrap(),
            resolver: Resolver::new(Servers::Given(Vec::new()), files, Duration::from_secs(1)),
            limits: Limits::default(),
            processes: Processes::default(),
            flood: Flood::past(u64::MAX),
            questions: Questions::new(None),
            slots: Slots::new(8),
            refused: Slots::new(8),
        });
        Self {
            policy: app.live.policy(),
            app,
            directory,
        }
    }

    /// What the wire must come to, if it can without dialling: an address that is listed is dialled, and not judged here.
    fn expected(&self, destination: &Destination, via: Via) -> Option<Ended> {
        let mut destination = destination.clone();
        // A socket that connects to a mapped address sends IPv4: that is what is captured.
        if let Host::Address(address) = &mut destination.host
            && !matches!(via, Via::Connect | Via::Http)
        {
            *address = address.to_canonical();
        }
        let request = Request { destination, via };
        match self.policy.explain(&request).verdict {
            Verdict::Deny(deny) => Some(Ended::Refused(deny.reason)),
            Verdict::Allow(permit) => match permit.target() {
                // Allowed for what the port is for, and this is not it.
                Target::Resolve(_)
                    if permit.carries() == Carries::Http && via == Via::CapturedTls =>
                {
                    None
                }
                // Of rustls' SNI no label begins or ends with a hyphen: such a hello is none.
                Target::Resolve(name) if via == Via::CapturedTls && hyphened(name) => {
                    Some(Ended::Refused(Reason::NotTls))
                }
                Target::Resolve(_) => Some(Ended::Refused(Reason::DnsFailed)),
                Target::SandboxHost if permit.carries() == Carries::Raw || via == Via::Http => {
                    Some(Ended::Dialled)
                }
                Target::Address(_) | Target::SandboxHost => None,
            },
        }
    }

    /// What may be inside, if it is allowed.
    fn carries(&self, destination: &Destination, via: Via) -> Option<Carries> {
        let destination = destination.clone();
        match self.policy.explain(&Request { destination, via }).verdict {
            Verdict::Allow(permit) => Some(permit.carries()),
            Verdict::Deny(_) => None,
        }
    }

    async fn seen(&self, destination: &Destination, via: Via) -> Ended {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test is the client")]
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let before = self.events().len();
        let app = Arc::clone(&self.app);
        let (host, original) = match &destination.host {
            Host::Name(_) => (
                Some(destination.host.clone()),
                "198.18.1.0".parse().unwrap(),
            ),
            Host::Address(address) => (None, *address),
        };
        let original = std::net::SocketAddr::new(original, destination.port.get());
        let served = async {
            match via {
                Via::Connect | Via::Http => session::run_explicit(stream, peer, app).await,
                Via::CapturedTls | Via::CapturedHttp | Via::CapturedTcp => {
                    session::run_captured(
                        stream,
                        peer,
                        CapturedDestination { host, original },
                        app,
                    )
                    .await;
                }
            }
        };
        let spoken = async {
            // What needs no opening to be refused may be reset before it.
            client.write_all(&opening(destination, via)).await.ok();
            // An answer, an alert or a reset: whichever it is, the verdict was recorded before it.
            drop(client.read(&mut [0; 1024]).await);
            drop(client);
        };
        tokio::join!(served, spoken);
        let events = self.events();
        match events.get(before..) {
            Some([Event::Request(request)]) => {
                let reason = request.reason.unwrap_or_else(|| panic!("{request:?}"));
                Ended::Refused(reason)
            }
            Some([Event::Request(request), Event::Close(close)]) if request.reason.is_none() => {
                assert_eq!(close.id, request.id);
                Ended::Dialled
            }
            other => panic!("{destination} by {via:?}: {other:?}"),
        }
    }

    fn events(&self) -> Vec<Event> {
        drop(self.app.sink.unsynced()); // nobody ends turns here
        let text = std::fs::read_to_string(self.directory.path().join("record.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn hyphened(name: &DnsName) -> bool {
    let mut labels = name.labels();
    labels.any(|label| label.starts_with('-') || label.ends_with('-'))
}

fn opening(destination: &Destination, via: Via) -> Vec<u8> {
    match via {
        Via::Connect => {
            format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n").into_bytes()
        }
        Via::Http => format!("GET http://{destination}/ HTTP/1.1\r\nHost: {destination}\r\n\r\n")
            .into_bytes(),
        Via::CapturedHttp => format!("GET / HTTP/1.1\r\nHost: {destination}\r\n\r\n").into_bytes(),
        Via::CapturedTcp => b"SSH-2.0-x\r\n".to_vec(),
        Via::CapturedTls => hello(match &destination.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Address(_) => None,
        }),
    }
}

/// The least ClientHello for a name: one cipher suite, one group, one algorithm. RFC 5246 section 7.4.1.2.
fn hello(name: Option<&str>) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let mut extensions = [
        &b"\x00\x0d"[..],
        &sized(&sized(b"\x04\x03")),
        b"\x00\x0a",
        &sized(&sized(b"\x00\x1d")),
    ]
    .concat();
    if let Some(name) = name {
        let entry = [&b"\x00"[..], &sized(name.as_bytes())].concat();
        extensions.extend([&b"\x00\x00"[..], &sized(&sized(&entry))].concat());
    }
    let body = [
        &b"\x03\x03"[..],
        &[7; 32],
        b"\x00\x00\x02\xc0\x2f\x01\x00",
        &sized(&extensions),
    ]
    .concat();
    let handshake = [&b"\x01\x00"[..], &sized(&body)].concat();
    [&b"\x16\x03\x01"[..], &sized(&handshake)].concat()
}
