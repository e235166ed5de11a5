//! One request as it was read: what it asks for, where its body ends, and its head for the origin.
//!
//! Clauses: W2, W3

use policies::audit::Text;
use policies::{Destination, Host};

use crate::classify::{self, Asked, BadRequest, Place};
use crate::framing::{self, Framing};
use crate::head::{HeadError, RequestHead, Version};
use crate::headers::{self, After};
use crate::respond::{Refusal, Then};

/// A request that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A request to be made for the client.
    Forward(Forward),
    /// A tunnel.
    Tunnel(Destination),
}

/// A request to be made for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// As sent.
    pub(crate) method: String,
    /// Where.
    pub(crate) destination: Destination,
    /// The head for the origin.
    pub(crate) head: Vec<u8>,
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// What the client speaks.
    pub(crate) version: Version,
    /// Whether the client may send another request after this one.
    pub(crate) then: Then,
    /// Whether the connection shall become a WebSocket.
    pub(crate) websocket: bool,
}

/// A request that is refused by its head alone, and what could be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Why.
    pub(crate) refusal: Refusal,
    /// The method, if the head is one.
    pub(crate) method: Option<Text>,
    /// The destination, if it is one.
    pub(crate) destination: Option<Destination>,
}

/// Reads exactly one head.
pub(crate) fn read(bytes: &[u8], place: &Place) -> Result<(Ask, Text), Box<Unreadable>> {
    let unreadable = |refusal, method, destination| {
        Box::new(Unreadable {
            refusal,
            method,
            destination,
        })
    };
    let head = match RequestHead::parse(bytes) {
        Ok(head) => head,
        Err(HeadError::Lines) => return Err(unreadable(Refusal::HeadTooLarge, None, known(place))),
        Err(_) => return Err(unreadable(Refusal::BadHead, None, known(place))),
    };
    let method = Text::new(head.method);
    let refused = |refusal, destination| unreadable(refusal, Some(method.clone()), destination);
    let ask = match classify::request(&head, place) {
        Ok(Asked::Tunnel { destination }) => Ask::Tunnel(destination),
        Ok(Asked::Forward { destination, path }) => match framing::request(&head) {
            Ok(framing) => Ask::Forward(forward(&head, destination, &path, framing)),
            Err(_) => return Err(refused(Refusal::BadHead, Some(destination))),
        },
        Err(bad) => {
            let destination = match &bad {
                BadRequest::Elsewhere(destination) | BadRequest::Tls(destination) => {
                    Some(destination.clone())
                }
                BadRequest::Authority(_)
                | BadRequest::Body
                | BadRequest::Expect
                | BadRequest::Host
                | BadRequest::Method
                | BadRequest::Target
                | BadRequest::Trace => known(place),
            };
            return Err(refused(Refusal::BadRequest(bad), destination));
        }
    };
    Ok((ask, method))
}

/// The destination of a connection that has one before any request.
pub(crate) fn known(place: &Place) -> Option<Destination> {
    match place {
        Place::Inside {
            host: Some(host),
            port,
        } => Some(Destination {
            host: Host::clone(host),
            port: *port,
        }),
        Place::Inside { host: None, .. } | Place::Explicit => None,
    }
}

fn forward(
    head: &RequestHead<'_>,
    destination: Destination,
    path: &str,
    framing: Framing,
) -> Forward {
    let modern = head.version == Version::Http11;
    let upgrades = head.fields.holds("connection", "upgrade");
    let websocket = modern
        && framing == Framing::None
        && head.method == "GET"
        && upgrades
        && head.fields.holds("upgrade", "websocket");
    let after = if websocket {
        After::WebSocket
    } else {
        After::Keep
    };
    let keeps = modern && !head.fields.holds("connection", "close");
    Forward {
        method: head.method.to_owned(),
        head: headers::request(head, &destination, path, framing, after),
        destination,
        framing,
        version: head.version,
        then: if keeps { Then::Keep } else { Then::Close },
        websocket,
    }
}

impl Forward {
    /// What follows a refusal: a body that was announced is discarded with the connection.
    pub(crate) fn then_if_refused(&self) -> Then {
        if self.framing.is_empty() && !self.websocket {
            self.then
        } else {
            Then::Discard
        }
    }
}
