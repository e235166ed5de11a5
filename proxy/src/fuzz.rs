//! The readers of what the network sends, for the targets in `fuzz/`: the very functions of the wire, with owned results.
//!
//! Built only with feature `fuzz`, which no part of the product asks for. Not here: what must hold (`fuzz/src`).
//! Clauses: W2, W3, W4

use policies::{Destination, Host, Port};

use crate::ask::{self, Ask};
use crate::classify::{BadRequest, Place};
use crate::client_hello::{Hello, Opening};
use crate::framing::Framing;
use crate::head::{Progress, RequestHead, Scan};
use crate::respond::{self, Refusal, Then};

/// Where a request is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At the proxy, which the client knows of.
    Explicit,
    /// Inside a connection to this port, and to this host where it is known.
    Inside(Option<Host>, Port),
}

/// What a request was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A tunnel.
    Tunnel(Destination),
    /// A request to be made for the client.
    Forward {
        /// Where.
        destination: Destination,
        /// The head for the origin.
        sent: Vec<u8>,
        /// Where the body ends.
        body: Body,
    },
    /// A refusal.
    Refused(Refused),
}

/// A refusal of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What the client gets.
    pub answer: Vec<u8>,
    /// What our reader says of it to itself.
    pub why: String,
}

impl Refused {
    fn new(refusal: &Refusal, destination: Option<&Destination>, why: String) -> Self {
        let answer = respond::refused(refusal, destination, Then::Discard);
        Self { answer, why }
    }
}

/// Where a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Where its last chunk says so.
    Chunked,
    /// After that many bytes.
    Length(u64),
}

/// The length of the head that `bytes` begin with, fed in two pieces; `None` if its end is not there yet.
///
/// # Errors
/// The refusal of bytes that no head may hold.
pub fn head_length(bytes: &[u8], cut: usize) -> Result<Option<usize>, Refused> {
    let mut scan = Scan::new();
    let first = bytes.get(..cut).unwrap_or(bytes);
    for piece in [first, bytes] {
        match scan.feed(piece) {
            Ok(Progress::End(length)) => return Ok(Some(length)),
            Ok(Progress::More) => {}
            Err(error) => return Err(Refused::new(&Refusal::BadHead, None, error.to_string())),
        }
    }
    Ok(None)
}

/// Reads exactly one head, which [`head_length`] measured.
#[must_use]
pub fn request(head: &[u8], at: &At) -> Read {
    let place = match at {
        At::Explicit => Place::Explicit,
        At::Inside(host, port) => Place::Inside {
            host: host.clone(),
            port: *port,
        },
    };
    match ask::read(head, &place) {
        Ok((Ask::Tunnel(destination), _)) => Read::Tunnel(destination),
        Ok((Ask::Forward(forward), _)) => Read::Forward {
            destination: forward.destination,
            sent: forward.head,
            body: match forward.framing {
                Framing::Chunked => Body::Chunked,
                Framing::Length(length) => Body::Length(length),
                Framing::Close | Framing::None => Body::Length(0),
            },
        },
        Err(unreadable) => {
            let why = match &unreadable.refusal {
                Refusal::BadRequest(BadRequest::Authority(error)) => error.to_string(),
                Refusal::BadRequest(bad) => bad.to_string(),
                _ => match RequestHead::parse(head) {
                    Err(error) => error.to_string(),
                    Ok(_) => "the body's framing is ambiguous".to_owned(),
                },
            };
            Read::Refused(Refused::new(
                &unreadable.refusal,
                unreadable.destination.as_ref(),
                why,
            ))
        }
    }
}

/// What a first flight was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flight {
    /// A ClientHello, with the name that it gives.
    Hello(Option<String>),
    /// The beginning of one, perhaps.
    More,
    /// It began as TLS, and is no ClientHello that we can read.
    NotHello,
    /// Something else than TLS.
    Other,
}

/// Reads a first flight that comes in two pieces.
#[must_use]
pub fn first_flight(bytes: &[u8], cut: usize) -> Flight {
    let mut hello = Hello::new();
    let first = bytes.get(..cut).unwrap_or(bytes);
    for piece in [first, bytes] {
        match hello.feed(piece) {
            Ok(Some(Opening::Hello { sni })) => return Flight::Hello(sni),
            Ok(Some(Opening::Other)) => return Flight::Other,
            Ok(None) => {}
            Err(_) => return Flight::NotHello,
        }
    }
    Flight::More
}
