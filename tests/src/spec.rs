//! What a test says to its world and what it reads from it: plain data, one JSON object per line.
//!
//! Responsible for: the words that the test process (`world.rs`) and the world process (`inside/`) share.
//! Not for: making or serving anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The world as ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Names and what the world's resolver says about them; keys may be `*.name`.
    pub zone: BTreeMap<String, Answers>,
    /// Listeners of the world's internet, on every address of it.
    pub origins: Vec<Listener>,
    /// Listeners of the world's host, each on its own address.
    pub host: Vec<HostListener>,
    /// The certificate that `Https` listeners show, as PEM.
    pub certificate: String,
    /// Its key, as PEM.
    pub key: String,
    /// A directory, as the world sees it, whose files are served below `/static/`.
    pub files: PathBuf,
    /// Mounts made before anything runs in the world.
    pub binds: Vec<Bind>,
}

/// What stands on one TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Says `SSH-2.0-world` first, then only listens.
    Banner,
    /// Sends back what it gets.
    Echo,
    /// HTTP/1.
    Http,
    /// HTTP/1 inside TLS.
    Https,
}

/// A port of the internet's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// TCP port.
    pub port: u16,
    /// What answers there.
    pub service: Service,
}

/// A port of the host's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostListener {
    /// Where it is bound; the unspecified address binds every one.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// What answers there.
    pub service: Service,
}

/// One bind mount; the target is created over what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// A path outside.
    pub from: PathBuf,
    /// Where it appears.
    pub to: PathBuf,
}

/// What the resolver says about one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Address sets: query n of a type gets set n, later ones the last.
    pub sets: Vec<Vec<IpAddr>>,
    /// Seconds.
    pub ttl: u32,
    /// An alias put before the addresses.
    pub cname: Option<String>,
    /// Held back for so long.
    pub delay_ms: u64,
    /// How it answers.
    pub manner: Manner,
}

impl Answers {
    /// Always the same addresses.
    #[must_use]
    pub fn always(addresses: &[IpAddr]) -> Self {
        Self {
            sets: vec![addresses.to_vec()],
            ttl: 60,
            cname: None,
            delay_ms: 0,
            manner: Manner::Truthful,
        }
    }

    /// A new set for each query, never to be cached.
    #[must_use]
    pub fn flipping(sets: &[&[IpAddr]]) -> Self {
        let sets = sets.iter().map(|set| set.to_vec()).collect();
        Self {
            sets,
            ttl: 0,
            cname: None,
            delay_ms: 0,
            manner: Manner::Truthful,
        }
    }
}

/// How a resolver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// As the zone says.
    Truthful,
    /// SERVFAIL.
    Failing,
    /// Never answers.
    Silent,
    /// First an answer under a wrong id that names an address of the attacker, then the right one.
    Spoofed,
}

/// One line to the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Change what the resolver says about a name.
    Answer(String, Answers),
    /// Say which processes and mounts there are.
    Census,
    /// Forget what was read so far.
    Forget,
    /// Say what was seen.
    Readings,
    /// Start a program on the internet's side, and wait until it listens.
    Serve(Program),
}

/// An origin that is a program of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What to run, in the foreground.
    pub words: Vec<String>,
    /// The TCP port that it listens on.
    pub port: u16,
}

/// One line from the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Which processes and mounts there are.
    Census(Census),
    /// Done.
    Done,
    /// It could not be done.
    Failed(String),
    /// What was seen.
    Readings(Readings),
}

/// All that left the world's host, as seen at the far end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// Queries that reached a DNS server, any of them.
    pub queries: Vec<Query>,
    /// Connections that a listener accepted.
    pub connections: Vec<Connection>,
    /// Every flow that came over the wire, counted by the kernel: TCP, UDP and all else.
    pub flows: Vec<Flow>,
}

/// A question as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Query {
    /// Lower case, without the dot at the end.
    pub name: String,
    /// `A`, `AAAA`, ...
    pub kind: String,
}

/// A connection as a listener saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `internet` or `host`.
    pub side: String,
    /// The address that it was made to.
    pub address: IpAddr,
    /// The port that it was made to.
    pub port: u16,
    /// The server name of the ClientHello.
    pub sni: Option<String>,
    /// Every byte received, before TLS was taken off; non-ASCII escaped.
    pub wire: String,
    /// Heads of HTTP requests, after TLS was taken off.
    pub requests: Vec<HttpRequest>,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// GET, POST, ...
    pub method: String,
    /// The request target as sent.
    pub target: String,
    /// Names lower case, in order.
    pub headers: Vec<(String, String)>,
}

impl HttpRequest {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What the kernel of the internet's side counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// `tcp`, `udp`, `icmp`, `ipv6-icmp`, or a number.
    pub protocol: String,
    /// To whom.
    pub address: IpAddr,
    /// 0 where the protocol has none.
    pub port: u16,
}

/// What runs and is mounted in the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Every process but the world's own.
    pub processes: Vec<Process>,
    /// Lines of the world's mount table.
    pub mounts: usize,
    /// Namespaces that any process is in: `net:[4026531840]`.
    pub namespaces: Vec<String>,
    /// `nft list ruleset` of the world's host.
    pub ruleset: String,
    /// Names of the host's interfaces.
    pub interfaces: Vec<String>,
    /// Sockets of the host's network that somebody may speak to: `tcp 0100007F:1538`.
    pub sockets: Vec<String>,
}

/// A process of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the world's pid namespace.
    pub pid: i32,
    /// Its parent there.
    pub parent: i32,
    /// Its name.
    pub name: String,
    /// R, S, Z, ...
    pub state: char,
    /// Its command line, joined by spaces.
    pub command: String,
}
