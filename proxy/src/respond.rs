//! Words every answer of the proxy's own: the only place that knows status codes and wording.
//!
//! A refusal speaks twice, to programs (RFC 9209, RFC 9457) and to people, and tells nothing that the
//! client did not say itself but the reason and the line that would allow it.
//! Clauses: W7

use policies::{Deny, Destination, Host, Reason};
use serde::Serialize;

use crate::classify::BadRequest;

/// The answer to a CONNECT that is allowed.
pub(crate) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A fatal TLS alert in the clear, before any handshake (RFC 8446 section 6): a client that has its 200
/// and sends TLS can still be told. 49 is `access_denied`.
const ALERT_DENIED: &[u8] = &[21, 3, 1, 0, 2, 2, 49];

/// As [`ALERT_DENIED`]; 80 is `internal_error`, for an origin that cannot be reached.
const ALERT_UNREACHABLE: &[u8] = &[21, 3, 1, 0, 2, 2, 80];

/// Whether the client may send another request after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The connection is closed.
    Close,
    /// The connection is closed, once what the client is still sending was discarded.
    Discard,
    /// The connection is kept.
    Keep,
}

/// Why a request is not answered by an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A head that is not plainly one.
    BadHead,
    /// A head that is larger than we read.
    HeadTooLarge,
    /// A head that did not come in time.
    HeadTooSlow,
    /// A head that asks for something no proxy does.
    BadRequest(BadRequest),
    /// The policy refuses.
    Denied(Deny),
    /// A limit was reached, or the record cannot be written.
    Limit,
    /// The name has no address, or none that could be found.
    NoAddress,
    /// The resolvers did not answer in time.
    NoAnswer,
    /// The origin refused the connection.
    Unreachable,
    /// The origin did not answer in time.
    TimedOut,
    /// The origin broke off, or its answer is not plainly one.
    BadResponse,
}

impl Refusal {
    /// What the record says: the reason, and the rule where there is one.
    pub(crate) fn deny(&self) -> Deny {
        match self {
            Self::Denied(deny) => deny.clone(),
            Self::BadRequest(bad) => Deny::new(bad.reason()),
            Self::BadHead => Deny::new(Reason::Malformed),
            Self::HeadTooLarge | Self::HeadTooSlow | Self::Limit => Deny::new(Reason::Limit),
            Self::NoAddress | Self::NoAnswer => Deny::new(Reason::DnsFailed),
            Self::Unreachable | Self::TimedOut | Self::BadResponse => Deny::new(Reason::DialFailed),
        }
    }

    /// What a client is told that opened with TLS.
    pub(crate) fn alert(&self) -> &'static [u8] {
        if self.words().status == DENIED.status {
            ALERT_DENIED
        } else {
            ALERT_UNREACHABLE
        }
    }

    fn words(&self) -> Words {
        match self {
            Self::HeadTooLarge => Words {
                status: "431 Request Header Fields Too Large",
                ..TOO_MUCH
            },
            Self::HeadTooSlow => Words {
                status: "408 Request Timeout",
                ..TOO_MUCH
            },
            Self::BadRequest(BadRequest::Trace) => Words {
                status: "405 Method Not Allowed",
                ..BAD_REQUEST
            },
            Self::BadRequest(BadRequest::Elsewhere(_) | BadRequest::Tls(_)) => DENIED,
            Self::BadHead | Self::BadRequest(_) => BAD_REQUEST,
            Self::Denied(deny) => match deny.reason {
                Reason::Malformed => BAD_REQUEST,
                Reason::Limit => TOO_MUCH,
                Reason::DnsFailed => NO_ADDRESS,
                Reason::DialFailed => UNREACHABLE,
                Reason::Denylisted
                | Reason::Direct
                | Reason::Dns
                | Reason::IpLiteral
                | Reason::Mode
                | Reason::NoSni
                | Reason::NotTls
                | Reason::NotWhitelisted
                | Reason::Port
                | Reason::PrivateAddress
                | Reason::Revoked
                | Reason::SniMismatch => DENIED,
            },
            Self::Limit => TOO_MUCH,
            Self::NoAddress => NO_ADDRESS,
            Self::NoAnswer => Words {
                status: "504 Gateway Timeout",
                error: "dns_timeout",
                ..NO_ADDRESS
            },
            Self::Unreachable => UNREACHABLE,
            Self::TimedOut => Words {
                status: "504 Gateway Timeout",
                error: "connection_timeout",
                ..UNREACHABLE
            },
            Self::BadResponse => BAD_RESPONSE,
        }
    }
}

impl BadRequest {
    /// The reason that the record shows.
    fn reason(&self) -> Reason {
        match self {
            Self::Elsewhere(_) => Reason::SniMismatch,
            Self::Tls(_) => Reason::NotTls,
            Self::Authority(_)
            | Self::Body
            | Self::Expect
            | Self::Host
            | Self::Method
            | Self::Target
            | Self::Trace => Reason::Malformed,
        }
    }
}

#[derive(Clone, Copy)]
struct Words {
    status: &'static str,
    /// Of the registry of RFC 9209 section 2.3.
    error: &'static str,
    title: &'static str,
}

const BAD_REQUEST: Words = Words {
    status: "400 Bad Request",
    error: "http_request_error",
    title: "The request is malformed",
};
const DENIED: Words = Words {
    status: "403 Forbidden",
    error: "http_request_denied",
    title: "The sandbox's policy refuses this destination",
};
const TOO_MUCH: Words = Words {
    status: "503 Service Unavailable",
    error: "http_request_denied",
    title: "A limit of the sandbox's proxy was reached",
};
const NO_ADDRESS: Words = Words {
    status: "502 Bad Gateway",
    error: "dns_error",
    title: "The destination's name has no address",
};
const UNREACHABLE: Words = Words {
    status: "502 Bad Gateway",
    error: "connection_refused",
    title: "The destination could not be reached",
};
const BAD_RESPONSE: Words = Words {
    status: "502 Bad Gateway",
    error: "http_protocol_error",
    title: "The destination's answer could not be read",
};

/// The body, RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
    host: Option<String>,
    port: Option<u16>,
    suggestion: Option<String>,
}

/// A refusal, as bytes for the wire. `destination` is what the client itself named.
pub(crate) fn refused(refusal: &Refusal, destination: Option<&Destination>, then: Then) -> Vec<u8> {
    let words = refusal.words();
    let deny = refusal.deny();
    let reason = deny.reason.code();
    let problem = Problem {
        r#type: format!("urn:ocs:refusal:{reason}"),
        title: words.title,
        status: words
            .status
            .get(..3)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_default(),
        detail: detail(deny.reason),
        reason,
        host: destination.map(|destination| plain(&destination.host)),
        port: destination.map(|destination| destination.port.get()),
        suggestion: deny.suggestion.map(|suggestion| suggestion.to_string()),
    };
    // Our own words, a checked host and numbers: writing them to memory cannot fail.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let close = if then != Then::Keep {
        "Connection: close\r\n"
    } else {
        ""
    };
    let mut out = format!(
        "HTTP/1.1 {}\r\nProxy-Status: ocs; error={}; details=\"{reason}\"\r\n\
         Content-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nContent-Length: {}\r\n{close}\r\n",
        words.status,
        words.error,
        body.len(),
    )
    .into_bytes();
    out.extend_from_slice(&body);
    out
}

fn plain(host: &Host) -> String {
    match host {
        Host::Name(name) => name.as_str().to_owned(),
        Host::Address(address) => address.to_string(),
    }
}

fn detail(reason: Reason) -> &'static str {
    match reason {
        Reason::Denylisted => {
            "An entry of the denylist covers this destination; it wins over every allow."
        }
        Reason::DialFailed => "The destination is allowed, but it did not answer as it should.",
        Reason::Direct => "The connection went round the proxy.",
        Reason::Dns => "The name is not allowed, so it is not resolved.",
        Reason::DnsFailed => "The destination is allowed, but its name has no address.",
        Reason::IpLiteral => {
            "An address stands where a name belongs; addresses are refused unless listed."
        }
        Reason::Limit => {
            "Too many connections, too large, or too slow; or the record cannot be written."
        }
        Reason::Malformed => {
            "The request could be read in two ways, or asks for what no proxy does."
        }
        Reason::Mode => "The network mode of this sandbox does not allow this destination.",
        Reason::NoSni => "The TLS handshake names no host (no SNI).",
        Reason::NotTls => "This destination is allowed for TLS in a tunnel, and this is not that.",
        Reason::NotWhitelisted => "No entry of the project's lists covers this destination.",
        Reason::Port => "The host is listed, but not with this port.",
        Reason::PrivateAddress => {
            "The name leads to an address that is not public, or to the host itself."
        }
        Reason::Revoked => "The policy changed, and no longer allows this destination.",
        Reason::SniMismatch => {
            "The name inside the connection is not the destination it was opened for."
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::wildcard_enum_match_arm,
        reason = "the table says which are not the usual one"
    )]
    use super::*;

    fn split(bytes: &[u8]) -> (String, serde_json::Value) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_refusal_speaks_to_programs_and_to_people() {
        let destination = Destination::parse_authority("[::1]:443", None).unwrap();
        let refusal = Refusal::Denied(Deny::new(Reason::IpLiteral));
        let (head, body) = split(&refused(&refusal, Some(&destination), Then::Close));
        let expected = serde_json::json!({
            "type": "urn:ocs:refusal:ip-literal",
            "title": "The sandbox's policy refuses this destination",
            "status": 403,
            "detail": "An address stands where a name belongs; addresses are refused unless listed.",
            "reason": "ip-literal",
            "host": "::1",
            "port": 443,
            "suggestion": null,
        });
        assert_eq!(body, expected);
        let length = serde_json::to_vec(&body).unwrap().len();
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 403 Forbidden\r\n\
                 Proxy-Status: ocs; error=http_request_denied; details=\"ip-literal\"\r\n\
                 Content-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n\
                 Cache-Control: no-store\r\nContent-Length: {length}\r\nConnection: close"
            )
        );
    }

    #[test]
    fn a_kept_connection_is_not_announced_as_closed() {
        let refusal = Refusal::Denied(Deny::new(Reason::Mode));
        let (head, _) = split(&refused(&refusal, None, Then::Keep));
        assert!(!head.contains("Connection:"));
    }

    #[test]
    fn every_refusal_has_its_status_error_and_reason() {
        let table = [
            (Refusal::BadHead, "400", "http_request_error", "malformed"),
            (Refusal::HeadTooLarge, "431", "http_request_denied", "limit"),
            (Refusal::HeadTooSlow, "408", "http_request_denied", "limit"),
            (
                Refusal::BadRequest(BadRequest::Host),
                "400",
                "http_request_error",
                "malformed",
            ),
            (
                Refusal::BadRequest(BadRequest::Trace),
                "405",
                "http_request_error",
                "malformed",
            ),
            (Refusal::Limit, "503", "http_request_denied", "limit"),
            (Refusal::NoAddress, "502", "dns_error", "dns-failed"),
            (Refusal::NoAnswer, "504", "dns_timeout", "dns-failed"),
            (
                Refusal::Unreachable,
                "502",
                "connection_refused",
                "dial-failed",
            ),
            (
                Refusal::TimedOut,
                "504",
                "connection_timeout",
                "dial-failed",
            ),
            (
                Refusal::BadResponse,
                "502",
                "http_protocol_error",
                "dial-failed",
            ),
        ];
        for (refusal, status, error, reason) in table {
            let (head, body) = split(&refused(&refusal, None, Then::Close));
            let status_line = format!("HTTP/1.1 {status} ");
            assert!(head.starts_with(&status_line), "{head}");
            let line = format!("Proxy-Status: ocs; error={error}; details=\"{reason}\"");
            assert!(head.contains(&line), "{head}");
            assert_eq!(body.get("status").unwrap().to_string(), status);
        }
    }

    #[test]
    fn every_reason_of_a_policy_has_a_status() {
        for reason in Reason::ALL {
            let (head, body) = split(&refused(
                &Refusal::Denied(Deny::new(reason)),
                None,
                Then::Close,
            ));
            let status = match reason {
                Reason::Malformed => "400",
                Reason::Limit => "503",
                Reason::DnsFailed | Reason::DialFailed => "502",
                _ => "403",
            };
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert_eq!(body.get("reason").unwrap(), reason.code());
        }
    }
}
