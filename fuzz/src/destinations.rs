//! Who is the destination? Our reader beside hyper's and beside Node's (its C parser, with a browser's reading of URLs):
//! whatever ours accepts, each of the others refuses or reads as meant for the same host and port; and what we send on
//! has one meaning for them, down to where its body ends.
//!
//! Not here: what our reader refuses and others accept. That is allowed, and `disagreements` counts it.

use std::net::IpAddr;

use policies::{Destination, Host, Port};
use proxy::fuzz::{At, Body, Read, head_length, request};

use crate::request_head::input;

mod hyper_reading;
mod node_reading;

/// How another parser reads a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It waits for more.
    More,
    /// It reads a request.
    Request(Theirs),
    /// It refuses.
    Refused,
}

/// A request as another parser reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Theirs {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The destination that it names in its target or, there being none, in its one Host line.
    pub(crate) names: Option<(String, u16)>,
    pub(crate) hosts: usize,
    pub(crate) body: Option<Body>,
}

/// A head of any bytes, read three times; the first byte says where.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let Some((at, head)) = head_of(data) else {
        return;
    };
    let (destination, sent) = match request(head, &at) {
        Read::Refused(_) => return,
        Read::Tunnel(destination) => (destination, None),
        Read::Forward {
            destination,
            sent,
            body,
        } => (destination, Some((sent, body))),
    };
    let default = default_port(&at);
    for (who, reading) in [
        ("hyper", hyper_reading::read(head, default)),
        ("node", node_reading::read(head, default)),
    ] {
        match reading {
            Reading::Refused => {}
            Reading::More => panic!("{who} reads on behind our end of {}", shown(head)),
            Reading::Request(theirs) => {
                agrees(who, theirs.names.as_ref(), &destination, &at, head);
            }
        }
    }
    if let Some((sent, body)) = sent {
        sent_on(&sent, &destination, body);
    }
}

/// Where, and the head, if the input holds a whole one.
fn head_of(data: &[u8]) -> Option<(At, &[u8])> {
    let (at, _, bytes) = input(data)?;
    let length = head_length(bytes, 0).ok()??;
    Some((at, bytes.get(..length)?))
}

/// The port of a Host line without one: that of the connection.
fn default_port(at: &At) -> u16 {
    match at {
        At::Inside(_, port) => port.get(),
        At::Explicit => 80,
    }
}

fn agrees(who: &str, named: Option<&(String, u16)>, ours: &Destination, at: &At, head: &[u8]) {
    match named {
        Some((host, port)) => {
            let same = same_host(host, &ours.host) && *port == ours.port.get();
            assert!(
                same,
                "{who} reads {host}:{port}, we {ours}: {}",
                shown(head)
            );
        }
        // A head without any name is for whom the connection was opened: HTTP/1.0 inside.
        None => assert!(
            matches!(at, At::Inside(Some(_), _)),
            "{who} reads no host, we {ours}: {}",
            shown(head)
        ),
    }
}

/// The same name, whatever its case and its trailing dot; the same address, however it is spelt.
fn same_host(theirs: &str, ours: &Host) -> bool {
    let bare = theirs.trim_start_matches('[').trim_end_matches(']');
    match ours {
        Host::Address(address) => bare.parse::<IpAddr>().as_ref() == Ok(address),
        Host::Name(name) => theirs
            .strip_suffix('.')
            .unwrap_or(theirs)
            .eq_ignore_ascii_case(name.as_str()),
    }
}

/// The head for the origin: each of the others refuses it or reads our destination, our path and our framing in it.
fn sent_on(sent: &[u8], destination: &Destination, body: Body) {
    let default = Port::HTTP.get();
    let start =
        String::from_utf8_lossy(sent.split(|byte| *byte == b'\r').next().unwrap_or_default());
    let mut words = start.split(' ');
    let (method, path) = (words.next(), words.next());
    for (who, reading) in [
        ("hyper", hyper_reading::read(sent, default)),
        ("node", node_reading::read(sent, default)),
    ] {
        let theirs = match reading {
            Reading::Refused => continue,
            Reading::More => panic!("{who} reads on behind what we send: {}", shown(sent)),
            Reading::Request(theirs) => theirs,
        };
        agrees(who, theirs.names.as_ref(), destination, &At::Explicit, sent);
        assert_eq!(
            (Some(theirs.method.as_str()), theirs.hosts),
            (method, 1),
            "{who}: {}",
            shown(sent)
        );
        assert_eq!(Some(theirs.target.as_str()), path, "{who}: {}", shown(sent));
        assert!(
            theirs.body.is_none_or(|theirs| theirs == body),
            "{who} ends the body elsewhere: {}",
            shown(sent)
        );
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// How the three read an input, as a class: what ours says, whether the others accept, and whether those who do agree.
#[must_use]
pub fn class(data: &[u8]) -> Option<String> {
    let (at, _, bytes) = input(data)?;
    let default = default_port(&at);
    let ours = match head_length(bytes, 0) {
        Err(refusal) => Err(refusal.why),
        Ok(None) => return None,
        Ok(Some(length)) => match request(&bytes[..length], &at) {
            Read::Refused(refusal) => Err(refusal.why),
            Read::Tunnel(destination) | Read::Forward { destination, .. } => Ok(destination),
        },
    };
    let readings = [
        hyper_reading::read(bytes, default),
        node_reading::read(bytes, default),
    ];
    let word = |reading: &Reading| match (reading, &ours) {
        (Reading::Refused, _) => "refuses",
        (Reading::More, _) => "waits",
        (Reading::Request(theirs), Ok(ours)) => match &theirs.names {
            Some((host, port)) if same_host(host, &ours.host) && *port == ours.port.get() => {
                "agrees"
            }
            Some(_) => "DISAGREES",
            None => "names nobody",
        },
        (Reading::Request(theirs), Err(_)) if theirs.names.is_none() => "names nobody",
        (Reading::Request(_), Err(_)) => "accepts",
    };
    let [hyper, node] = &readings;
    let differ = match (hyper, node) {
        (Reading::Request(one), Reading::Request(other)) => {
            plain(&one.names) != plain(&other.names)
        }
        _ => false,
    };
    let among = if differ { ", for another host" } else { "" };
    let we = match &ours {
        Ok(_) => "accepts".to_owned(),
        Err(why) => format!("refuses: {why}"),
    };
    Some(format!("{we}\t{}\t{}{among}", word(hyper), word(node)))
}

/// A destination without what changes no meaning: case, a name's trailing dot, how an address is spelt.
fn plain(names: &Option<(String, u16)>) -> Option<(String, u16)> {
    let (host, port) = names.as_ref()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
    };
    Some((host, *port))
}
