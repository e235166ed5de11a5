//! Writes heads anew for the next hop: `Host` agrees, what belongs to one hop goes no further.
//!
//! Not here: which framing a head has (`framing.rs`).
//! Clauses: W3

use policies::{Destination, Port};

use crate::framing::Framing;
use crate::head::{Field, Fields, RequestHead, ResponseHead};

/// Fields of one hop (RFC 9110 section 7.6.1), those that we write ourselves, and h2c's offer.
const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "forwarded",
];

/// Fields that `Connection` cannot take away: without them a request means something else (H14).
const KEPT: [&str; 9] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "range",
    "set-cookie",
];

/// What a head says about the connection after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It is closed.
    Close,
    /// It is kept.
    Keep,
    /// It is another protocol's: `websocket`, the only one that is let through.
    WebSocket,
}

/// A request's head for the origin.
pub(crate) fn request(
    head: &RequestHead<'_>,
    destination: &Destination,
    path: &str,
    framing: Framing,
    after: After,
) -> Vec<u8> {
    let mut out = Writer::new();
    out.text(&[head.method, " ", path, " HTTP/1.1\r\nHost: "]);
    out.text(&[&destination.host.to_string()]);
    if destination.port != Port::HTTP {
        out.text(&[":", &destination.port.to_string()]);
    }
    out.text(&["\r\n"]);
    out.fields(&head.fields);
    // RFC 9110 section 7.6.3; it names no address and no version of ours.
    out.text(&["Via: 1.1 ocs\r\n"]);
    out.end(framing, after)
}

/// A response's head for the client.
pub(crate) fn response(head: &ResponseHead<'_>, framing: Framing, after: After) -> Vec<u8> {
    let mut out = Writer::new();
    out.text(&[
        "HTTP/1.1 ",
        &head.status.to_string(),
        " ",
        head.phrase,
        "\r\n",
    ]);
    // Nothing follows the head, but it may say how long the body would have been.
    let tells = framing == Framing::None && !matches!(head.status, 100..=199 | 204);
    let told = head.fields.all("content-length").next();
    out.fields(&head.fields);
    if let Some(value) = told.filter(|_| tells) {
        out.field(Field {
            name: "Content-Length",
            value,
        });
    }
    out.end(framing, after)
}

struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(Vec::with_capacity(1024)) // a usual head with its lines, in one allocation
    }

    fn text(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
    }

    fn field(&mut self, field: Field<'_>) {
        self.text(&[field.name, ": "]);
        self.0.extend_from_slice(field.value);
        self.text(&["\r\n"]);
    }

    fn fields(&mut self, fields: &Fields<'_>) {
        let hops: Vec<&[u8]> = fields.members("connection").collect();
        for field in fields.iter().filter(|field| passes(field.name, &hops)) {
            self.field(field);
        }
    }

    fn end(mut self, framing: Framing, after: After) -> Vec<u8> {
        match framing {
            Framing::Chunked => self.text(&["Transfer-Encoding: chunked\r\n"]),
            Framing::Length(length) => {
                self.text(&["Content-Length: ", &length.to_string(), "\r\n"]);
            }
            Framing::Close | Framing::None => {}
        }
        self.text(&[match after {
            After::Close => "Connection: close\r\n\r\n",
            After::Keep => "\r\n",
            After::WebSocket => "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        }]);
        self.0
    }
}

/// Whether a field goes on, where `hops` are those that `Connection` names.
fn passes(name: &str, hops: &[&[u8]]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let proxys = name
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("proxy-"));
    if proxys || OURS.iter().any(|other| is(other)) {
        return false;
    }
    let hop = hops
        .iter()
        .any(|hop| hop.eq_ignore_ascii_case(name.as_bytes()));
    !hop || KEPT.iter().any(|other| is(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &str, framing: Framing, after: After) -> String {
        let text = format!("POST http://ok.test:8080/p HTTP/1.1\r\n{lines}\r\n");
        let head = RequestHead::parse(text.as_bytes()).unwrap();
        let destination = Destination::parse_authority("ok.test:8080", None).unwrap();
        String::from_utf8(request(&head, &destination, "/p", framing, after)).unwrap()
    }

    fn answered(lines: &str, framing: Framing, after: After) -> String {
        let text = format!("HTTP/1.0 201 Made\r\n{lines}\r\n");
        let head = ResponseHead::parse(text.as_bytes()).unwrap();
        String::from_utf8(response(&head, framing, after)).unwrap()
    }

    #[test]
    fn a_request_is_written_anew_with_the_host_that_was_judged() {
        let lines = "Host: evil.test\r\nX-A: b\r\nContent-Length: 007\r\nVia: 1.1 a\r\n";
        assert_eq!(
            sent(lines, Framing::Length(7), After::Keep),
            "POST /p HTTP/1.1\r\nHost: ok.test:8080\r\nX-A: b\r\nVia: 1.1 a\r\nVia: 1.1 ocs\r\n\
             Content-Length: 7\r\n\r\n"
        );
    }

    #[test]
    fn h14_h15_h16_h17_what_belongs_to_one_hop_goes_no_further() {
        let lines = "Connection: keep-alive, X-Hop, Host, Authorization, HTTP2-Settings, Upgrade\r\n\
             X-Hop: 1\r\nAuthorization: Bearer x\r\nProxy-Authorization: Basic y\r\n\
             Proxy-Connection: keep-alive\r\nproxy-x: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
             Trailer: Host\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nForwarded: for=1.2.3.4\r\n";
        assert_eq!(
            sent(lines, Framing::Chunked, After::Keep),
            "POST /p HTTP/1.1\r\nHost: ok.test:8080\r\nAuthorization: Bearer x\r\nVia: 1.1 ocs\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn a_websocket_is_asked_for_in_our_words() {
        let lines = "Connection: Upgrade\r\nUpgrade: websocket, foo\r\nSec-WebSocket-Key: k\r\n";
        assert_eq!(
            sent(lines, Framing::None, After::WebSocket),
            "POST /p HTTP/1.1\r\nHost: ok.test:8080\r\nSec-WebSocket-Key: k\r\nVia: 1.1 ocs\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
    }

    #[test]
    fn the_default_port_is_not_named() {
        let head = RequestHead::parse(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let destination = Destination::parse_authority("ok.test:80", None).unwrap();
        let out = request(&head, &destination, "/", Framing::None, After::Close);
        let expected: &[u8] =
            b"GET / HTTP/1.1\r\nHost: ok.test\r\nVia: 1.1 ocs\r\nConnection: close\r\n\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_response_is_written_anew_and_cannot_speak_for_the_proxy() {
        let lines = "Connection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Status: ocs; error=x\r\n\
             Proxy-Authenticate: Basic\r\nServer: s\r\nContent-Length: 3\r\n";
        assert_eq!(
            answered(lines, Framing::Length(3), After::Keep),
            "HTTP/1.1 201 Made\r\nServer: s\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(
            answered("", Framing::Close, After::Close),
            "HTTP/1.1 201 Made\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_head_without_a_body_keeps_the_length_that_it_tells() {
        assert_eq!(
            answered("Content-Length: 3\r\n", Framing::None, After::Keep),
            "HTTP/1.1 201 Made\r\nContent-Length: 3\r\n\r\n"
        );
    }
}
