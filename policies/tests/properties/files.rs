//! Policies and requests to try, and the oracle.

use std::fmt::Write as _;
use std::net::IpAddr;

use policies::{
    Carries, Config, Deny, Destination, Host, Mode, Policy, Request, Source, Surroundings, Verdict,
    Via,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// An entry of a list of domains, as an oracle sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) below: bool,
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl Entry {
    pub(crate) fn text(&self) -> String {
        let dot = if self.below { "." } else { "" };
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        format!("{dot}{}{port}", self.name)
    }

    /// Label by label from the right.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let mut mine = self.name.rsplit('.');
        let mut theirs = host.rsplit('.');
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (None, Some(_)) => return self.below,
                (Some(_), None) => return false,
                (Some(a), Some(b)) if a != b => return false,
                (Some(_), Some(_)) => {}
            }
        }
    }

    pub(crate) fn hits(&self, host: &str, port: u16) -> bool {
        self.covers(host) && self.port.is_none_or(|listed| listed == port)
    }
}

/// One entry of any list that allows.
#[derive(Debug, Clone)]
pub(crate) enum Allowing {
    HostPort(u16),
    Listed(Entry),
    Model(bool, String, u16),
    Raw(String, u16),
}

/// A file in parts.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) mode: Mode,
    pub(crate) allow: Vec<Entry>,
    pub(crate) deny: Vec<Entry>,
    pub(crate) host_ports: Vec<u16>,
    pub(crate) llm: Vec<(bool, String, u16)>,
    pub(crate) tcp: Vec<(String, u16)>,
}

impl File {
    pub(crate) fn text(&self) -> String {
        let mut out = format!("sandbox-name: demo\nnetwork-mode: {}\n", self.mode);
        let mut list = |key: &str, items: Vec<String>| {
            writeln!(out, "{key}:").unwrap();
            for item in items {
                writeln!(out, "  - \"{item}\"").unwrap();
            }
        };
        let domains = |entries: &[Entry]| entries.iter().map(Entry::text).collect();
        list("http-domain-whitelist", domains(&self.allow));
        list("http-domain-denylist", domains(&self.deny));
        list(
            "host-ports",
            self.host_ports.iter().map(u16::to_string).collect(),
        );
        let llm = self.llm.iter().map(|(tls, name, port)| {
            format!("http{}://{name}:{port}/v1", if *tls { "s" } else { "" })
        });
        list("llm-endpoints", llm.collect());
        let tcp = self.tcp.iter().map(|(name, port)| format!("{name}:{port}"));
        list("tcp-endpoints", tcp.collect());
        out
    }

    pub(crate) fn policy(&self) -> Policy {
        policy(&self.text())
    }

    pub(crate) fn in_mode(&self, mode: Mode) -> Self {
        Self {
            mode,
            ..self.clone()
        }
    }

    pub(crate) fn with(mut self, more: Allowing) -> Self {
        match more {
            Allowing::HostPort(port) => self.host_ports.push(port),
            Allowing::Listed(entry) => self.allow.push(entry),
            Allowing::Model(tls, host, port) => self.llm.push((tls, host, port)),
            Allowing::Raw(host, port) => self.tcp.push((host, port)),
        }
        self
    }

    /// The whole meaning of DESIGN's table for a name, without a single type of the crate's matcher. `true` is allow.
    pub(crate) fn allows(&self, host: &str, port: u16, via: Via) -> bool {
        if self.mode == Mode::None || self.deny.iter().any(|entry| entry.hits(host, port)) {
            return false;
        }
        let tunnel = matches!(via, Via::Connect | Via::CapturedTls);
        let plain = matches!(via, Via::Http | Via::CapturedHttp);
        let listed = self.mode != Mode::Restricted
            && self.allow.iter().any(|entry| {
                entry.covers(host)
                    && match entry.port {
                        None => (tunnel && port == 443) || (plain && port == 80),
                        Some(listed) => listed == port && (tunnel || plain),
                    }
            });
        let model = self.llm.iter().any(|(tls, name, listed)| {
            let way = if *tls {
                tunnel
            } else {
                plain || via == Via::Connect
            };
            name == host && *listed == port && way
        });
        let raw = self.mode != Mode::Restricted
            && self
                .tcp
                .iter()
                .any(|(name, listed)| name == host && *listed == port);
        listed || model || raw || self.mode == Mode::Observe
    }
}

pub(crate) fn policy(text: &str) -> Policy {
    let source = Source {
        name: "config",
        text,
    };
    let (config, _) = Config::parse(&source).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    config.policy(
        None,
        Surroundings {
            host_addresses: vec![IpAddr::from([127, 0, 0, 1])],
            own_addresses: Vec::new(),
        },
    )
}

pub(crate) fn request(host: &str, port: u16, via: Via) -> Request {
    Request {
        destination: Destination {
            host: Host::parse(host).unwrap(),
            port: policies::Port::new(port).unwrap(),
        },
        via,
    }
}

/// What a verdict lets through: nothing, or what may be inside.
pub(crate) fn lets(verdict: &Verdict) -> Option<Carries> {
    match verdict {
        Verdict::Allow(permit) => Some(permit.carries()),
        Verdict::Deny(_) => None,
    }
}

/// Whether all that `small` lets through `large` lets through as well.
pub(crate) fn within(small: Option<Carries>, large: Option<Carries>) -> bool {
    use Carries::{Http, Raw, Tls, TlsOrHttp};
    match (small, large) {
        (None, _) | (Some(_), Some(Raw)) => true,
        (Some(_), None) | (Some(Raw), Some(_)) => false,
        (Some(Http), Some(large)) => matches!(large, Http | TlsOrHttp),
        (Some(Tls), Some(large)) => matches!(large, Tls | TlsOrHttp),
        (Some(TlsOrHttp), Some(large)) => large == TlsOrHttp,
    }
}

pub(crate) fn verdict_of(policy: &Policy, request: &Request) -> Result<String, Deny> {
    match policy.decide(request) {
        Verdict::Allow(permit) => Ok(format!("{:?} {:?}", permit.rule(), permit.carries())),
        Verdict::Deny(deny) => Err(deny),
    }
}

/// Names of two to five labels over three labels, so that they lie above, below and beside each other.
pub(crate) fn name() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(select(vec!["a", "b", "ab"]), 0..3),
        select(vec!["x.test", "a.test", "ax.test"]),
    )
        .prop_map(|(labels, zone)| {
            labels
                .iter()
                .fold(zone.to_owned(), |below, label| format!("{label}.{below}"))
        })
}

/// Hosts to ask for: names above all.
pub(crate) fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => name(),
        1 => select(vec!["docker.host", "host.docker.internal", "93.184.215.14", "10.0.0.13", "localhost"])
            .prop_map(str::to_owned),
    ]
}

/// Hosts of a model server: addresses, and the host itself, too.
fn model_host() -> impl Strategy<Value = String> {
    host().prop_filter("the sandbox itself", |host| host != "localhost")
}

/// Hosts of a raw endpoint: addresses, too.
fn raw_host() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => name(),
        1 => select(vec!["93.184.215.14", "10.0.0.13"]).prop_map(str::to_owned),
    ]
}

pub(crate) fn port() -> impl Strategy<Value = u16> {
    select(vec![80, 443, 8080, 22, 1, 65535])
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    (any::<bool>(), name(), prop::option::of(port())).prop_map(|(below, name, port)| Entry {
        below,
        name,
        port,
    })
}

pub(crate) fn allowing() -> impl Strategy<Value = Allowing> {
    prop_oneof![
        entry().prop_map(Allowing::Listed),
        port().prop_map(Allowing::HostPort),
        (any::<bool>(), model_host(), port())
            .prop_map(|(tls, host, port)| Allowing::Model(tls, host, port)),
        (raw_host(), port()).prop_map(|(host, port)| Allowing::Raw(host, port)),
    ]
}

pub(crate) fn file() -> impl Strategy<Value = File> {
    (
        prop_oneof![
            1 => Just(Mode::None),
            2 => Just(Mode::Restricted),
            6 => Just(Mode::Filtered),
            2 => Just(Mode::Observe),
        ],
        prop::collection::vec(entry(), 0..6),
        prop::collection::vec(entry(), 0..3),
        prop::collection::vec(port(), 0..2),
        prop::collection::vec((any::<bool>(), model_host(), port()), 0..3),
        prop::collection::vec((raw_host(), port()), 0..3),
    )
        .prop_map(|(mode, allow, deny, host_ports, llm, tcp)| File {
            mode,
            allow,
            deny,
            host_ports,
            llm,
            tcp,
        })
}

pub(crate) fn via() -> impl Strategy<Value = Via> {
    select(Via::ALL.to_vec())
}

/// Any request, for a name or not.
pub(crate) fn asked() -> impl Strategy<Value = Request> {
    (host(), port(), via()).prop_map(|(host, port, via)| request(&host, port, via))
}

/// The same cases every time; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` find others.
pub(crate) fn cases() -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    match config.rng_seed {
        RngSeed::Random => ProptestConfig {
            rng_seed: RngSeed::Fixed(20_261_121),
            ..config
        },
        RngSeed::Fixed(_) => config,
    }
}
