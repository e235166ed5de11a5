//! Reads from a head what is asked for: a tunnel or a request, and its destination.
//!
//! Refuses all that is not plainly one of the two; decides nothing. Not here: the head's grammar
//! (`head.rs`) and its framing (`framing.rs`).
//! Clauses: W2, W3, W5

use policies::{Destination, Host, HostError, Port};
use thiserror::Error;

use crate::head::{Field, RequestHead, Version};

/// The longest method: IANA's registry ends at 17 characters (UPDATEREDIRECTREF).
const LONGEST_METHOD: usize = 32;

/// Where a request arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the proxy, which the client knows of.
    Explicit,
    /// Inside a connection whose destination is known already.
    Inside {
        /// The host; `None` where only the request itself names it.
        host: Option<Host>,
        /// The port.
        port: Port,
    },
}

/// What a head asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A request to be made for the client.
    Forward {
        /// Where.
        destination: Destination,
        /// What the origin is asked for, in origin form.
        path: String,
    },
    /// A tunnel.
    Tunnel {
        /// Where.
        destination: Destination,
    },
}

/// Why a head is not answered as asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// The authority is none.
    #[error("the destination is not a host and a port")]
    Authority(#[from] HostError),
    /// The host inside is not the one that the connection was opened for.
    #[error("the Host is not the destination of this connection")]
    Elsewhere(Destination),
    /// None, several, or one that contradicts the destination.
    #[error("there is not exactly one Host that fits the destination")]
    Host,
    /// A method that no proxy forwards.
    #[error("the method is not forwarded")]
    Method,
    /// A body where none can be.
    #[error("a CONNECT has no body")]
    Body,
    /// Something else than `100-continue` is expected.
    #[error("the expectation is not known")]
    Expect,
    /// Neither `http://` nor what the place wants.
    #[error("the request target is not one for this place")]
    Target,
    /// `https://` in a request that is not encrypted.
    #[error("https is only carried in a tunnel")]
    Tls(Destination),
    /// TRACE: it would show the client what was added on the way.
    #[error("TRACE is not forwarded")]
    Trace,
}

/// What `head` asks for at `place`.
pub(crate) fn request(head: &RequestHead<'_>, place: &Place) -> Result<Asked, BadRequest> {
    let upper = head.method.bytes().all(|byte| !byte.is_ascii_lowercase());
    if !upper || head.method.len() > LONGEST_METHOD || head.method == "PRI" {
        return Err(BadRequest::Method);
    }
    if head.method == "TRACE" {
        return Err(BadRequest::Trace);
    }
    if head
        .fields
        .members("expect")
        .any(|it| !it.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(BadRequest::Expect);
    }
    match (place, head.method) {
        (Place::Explicit, "CONNECT") => tunnel(head),
        (Place::Explicit, _) => absolute(head),
        (Place::Inside { .. }, "CONNECT") => Err(BadRequest::Method),
        (Place::Inside { host, port }, _) => inside(head, host.as_ref(), *port),
    }
}

fn tunnel(head: &RequestHead<'_>) -> Result<Asked, BadRequest> {
    let destination = Destination::parse_authority(head.target, None)?;
    let bodiless = |field: Field<'_>| {
        !field.name.eq_ignore_ascii_case("transfer-encoding")
            && (!field.name.eq_ignore_ascii_case("content-length") || field.value == b"0")
    };
    if !head.fields.iter().all(bodiless) {
        return Err(BadRequest::Body);
    }
    // A tunnel needs no Host, but one that names another host is a second reading.
    match host_field(head)? {
        Some(host) if same_host(&destination.host, &host) => Ok(Asked::Tunnel { destination }),
        None => Ok(Asked::Tunnel { destination }),
        Some(_) => Err(BadRequest::Host),
    }
}

fn absolute(head: &RequestHead<'_>) -> Result<Asked, BadRequest> {
    let (scheme, rest) = head.target.split_once("://").ok_or(BadRequest::Target)?;
    let plain = scheme.eq_ignore_ascii_case("http");
    if !plain && !scheme.eq_ignore_ascii_case("https") {
        return Err(BadRequest::Target);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(BadRequest::Target)?;
    let default = if plain { Port::HTTP } else { Port::HTTPS };
    let destination = Destination::parse_authority(authority, Some(default))?;
    if !plain {
        return Err(BadRequest::Tls(destination));
    }
    // What it says does not count: the absolute form decides, and Host is written anew.
    if host_field(head)?.is_none() && head.version == Version::Http11 {
        return Err(BadRequest::Host);
    }
    Ok(Asked::Forward {
        destination,
        path: origin_form(head.method, path)?,
    })
}

fn inside(head: &RequestHead<'_>, host: Option<&Host>, port: Port) -> Result<Asked, BadRequest> {
    if !head.target.starts_with('/') && (head.target, head.method) != ("*", "OPTIONS") {
        return Err(BadRequest::Target);
    }
    let named = match host_field(head)? {
        Some(text) => Some(Destination::parse_authority(&text, Some(port))?),
        None if head.version == Version::Http11 => return Err(BadRequest::Host),
        None => None,
    };
    let destination = match (named, host) {
        (Some(named), Some(host)) if named.host != *host || named.port != port => {
            return Err(BadRequest::Elsewhere(named));
        }
        (Some(named), None) if named.port != port => return Err(BadRequest::Elsewhere(named)),
        (Some(named), _) => named,
        (None, Some(host)) => Destination {
            host: host.clone(),
            port,
        },
        (None, None) => return Err(BadRequest::Host),
    };
    let path = origin_form(head.method, head.target)?;
    Ok(Asked::Forward { destination, path })
}

/// The one Host line, if there is one.
fn host_field(head: &RequestHead<'_>) -> Result<Option<String>, BadRequest> {
    let mut lines = head.fields.all("host");
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(BadRequest::Host),
        },
        (Some(_), Some(_)) => Err(BadRequest::Host),
    }
}

/// Whether a Host line names `host`, whatever its port.
fn same_host(host: &Host, line: &str) -> bool {
    Destination::parse_authority(line, Some(Port::HTTPS)).is_ok_and(|named| named.host == *host)
}

fn origin_form(method: &str, path: &str) -> Result<String, BadRequest> {
    match path.chars().next() {
        _ if path.contains('#') => Err(BadRequest::Target),
        None if method == "OPTIONS" => Ok("*".to_owned()),
        None => Ok("/".to_owned()),
        Some('?') => Ok(format!("/{path}")),
        Some(_) => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests;
