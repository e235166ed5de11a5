//! Every attempt that is made from inside, and the clause that it tries. Data; `wire` and `boxed` make them.
//!
//! Names end in `.ocs-verify.invalid`, each used once, so that the record can be held against the attempts one by one.
use std::borrow::Cow;

use super::boxed;

/// RFC 2606 section 2: names of nobody.
pub(super) const NOBODY: &str = "ocs-verify.invalid";

/// One attempt over the network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attempt {
    /// A datagram to a foreign address: the kernel says no at once.
    Datagram(&'static str),
    /// An echo request to a foreign address.
    Echo(&'static str),
    /// Bytes that no two readers read alike, to the proxy: 400, and closed.
    Malformed(&'static str),
    /// A service of the agent's own on the loopback: it answers.
    Own(&'static str),
    /// A query, over UDP: REFUSED.
    Query(&'static str, &'static str, u16),
    /// The same over TCP.
    QueryTcp(&'static str, &'static str, u16),
    /// A request to the proxy, `{}` stands for nobody's name: 403.
    Refused(&'static str),
    /// A stream to a foreign address, with these bytes: reset, or refused in words of the proxy.
    Stream(&'static str, &'static str),
    /// The same with a ClientHello of this name.
    StreamTls(&'static str, &'static str),
}

/// An attempt over the network, and what it tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) clause: &'static str,
    pub(super) what: &'static str,
    pub(super) attempt: Attempt,
}

const fn probe(clause: &'static str, what: &'static str, attempt: Attempt) -> Probe {
    Probe {
        clause,
        what,
        attempt,
    }
}

use Attempt::{Datagram, Echo, Malformed, Own, Query, QueryTcp, Refused, Stream, StreamTls};

// RFC 1035 section 3.2.2 and 3.2.3, RFC 3596 section 2.1.
const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const ANY: u16 = 255;

/// All of them.
#[rustfmt::skip]
pub(super) const PROBES: &[Probe] = &[
    probe("N3", "SSH to a foreign address", Stream("192.0.2.10:22", "SSH-2.0-ocs\r\n")),
    probe("N3", "SMTP to a foreign address", Stream("192.0.2.11:25", "EHLO ocs\r\n\r\n")),
    probe("N3", "no protocol to a foreign address on 4444", Stream("192.0.2.12:4444", "\0ocs\0\r\n\r\n")),
    probe("N3", "no protocol to a foreign address on 443", Stream("192.0.2.13:443", "\0ocs\0\r\n\r\n")),
    probe("N3", "SSH to a foreign IPv6 address", Stream("[2001:db8::10]:22", "SSH-2.0-ocs\r\n")),
    probe("N3", "no protocol to a foreign IPv6 address on 443", Stream("[2001:db8::13]:443", "\0ocs\0\r\n\r\n")),
    probe("N4", "a query to a foreign resolver", Query("192.0.2.53:53", "n1.ocs-verify.invalid", A)),
    probe("N4", "a query over TCP to a foreign resolver", QueryTcp("192.0.2.53:53", "n2.ocs-verify.invalid", A)),
    probe("N4", "a query to a foreign IPv6 resolver", Query("[2001:db8::53]:53", "n3.ocs-verify.invalid", A)),
    probe("N4", "a query to the loopback's resolver", Query("127.0.0.1:53", "n4.ocs-verify.invalid", A)),
    probe("N4", "a query to a container engine's resolver", Query("127.0.0.11:53", "n5.ocs-verify.invalid", A)),
    probe("N5", "a service of the agent's own on 127.0.0.1", Own("127.0.0.1:0")),
    probe("N5", "a service of the agent's own on ::1", Own("[::1]:0")),
    probe("N6", "QUIC to a foreign address", Datagram("192.0.2.20:443")),
    probe("N6", "NTP to a foreign address", Datagram("192.0.2.21:123")),
    probe("N6", "STUN to a foreign address", Datagram("192.0.2.22:3478")),
    probe("N6", "DNS over QUIC to a foreign address", Datagram("192.0.2.23:853")),
    probe("N6", "QUIC to a foreign IPv6 address", Datagram("[2001:db8::20]:443")),
    probe("N6", "an echo request to a foreign address", Echo("192.0.2.24:0")),
    probe("N6", "an echo request to a foreign IPv6 address", Echo("[2001:db8::24]:0")),
    probe("P1", "CONNECT to a name that is not listed", Refused("CONNECT p1.{}:443 HTTP/1.1\r\nHost: p1.{}:443\r\n\r\n")),
    probe("P1", "plain HTTP to a name that is not listed", Refused("GET http://p2.{}/ HTTP/1.1\r\nHost: p2.{}\r\nConnection: close\r\n\r\n")),
    probe("P1", "CONNECT to another port of it", Refused("CONNECT p3.{}:22 HTTP/1.1\r\nHost: p3.{}:22\r\n\r\n")),
    probe("P3", "a name with a dot at its end", Refused("CONNECT p4.{}.:443 HTTP/1.1\r\nHost: p4.{}.:443\r\n\r\n")),
    probe("P3", "a name in capitals", Refused("CONNECT P5.OCS-VERIFY.INVALID:443 HTTP/1.1\r\nHost: P5.OCS-VERIFY.INVALID:443\r\n\r\n")),
    probe("P3", "a name with a NUL", Malformed("CONNECT a.ocs-verify.invalid\0.b.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P3", "a name that is percent-encoded", Malformed("CONNECT a%2eocs-verify.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P3", "a name behind user information", Malformed("CONNECT a@b.ocs-verify.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P3", "a name in brackets", Malformed("CONNECT [a.ocs-verify.invalid]:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P3", "a name with an empty label", Malformed("CONNECT a..ocs-verify.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P4", "an address", Refused("CONNECT 192.0.2.30:443 HTTP/1.1\r\nHost: 192.0.2.30:443\r\n\r\n")),
    probe("P4", "an address over plain HTTP", Refused("GET http://192.0.2.31/ HTTP/1.1\r\nHost: 192.0.2.31\r\nConnection: close\r\n\r\n")),
    probe("P4", "an IPv6 address", Refused("CONNECT [2001:db8::30]:443 HTTP/1.1\r\nHost: [2001:db8::30]:443\r\n\r\n")),
    probe("P4", "an address mapped into IPv6", Refused("CONNECT [::ffff:192.0.2.32]:443 HTTP/1.1\r\nHost: [::ffff:192.0.2.32]:443\r\n\r\n")),
    probe("P4", "an address wrapped by NAT64", Refused("CONNECT [64:ff9b::c000:221]:443 HTTP/1.1\r\nHost: [64:ff9b::c000:221]:443\r\n\r\n")),
    probe("P4", "an address as one number", Malformed("CONNECT 3221225985:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P4", "an address in octal", Malformed("CONNECT 0300.0.02.1:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P4", "an address in hexadecimal", Malformed("CONNECT 0xc0.0.2.1:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("P4", "the proxy's own port by address", Refused("GET http://127.0.0.1:3128/ HTTP/1.1\r\nHost: 127.0.0.1:3128\r\nConnection: close\r\n\r\n")),
    probe("P5", "port 1 of the host", Refused("CONNECT docker.host:1 HTTP/1.1\r\nHost: docker.host:1\r\n\r\n")),
    probe("P6", "localhost by name", Refused("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n")),
    probe("W1", "a query for an address", Query("127.0.0.1:53", "w1.ocs-verify.invalid", A)),
    probe("W1", "a query for an IPv6 address", Query("127.0.0.1:53", "w2.ocs-verify.invalid", AAAA)),
    probe("W1", "a query for a text", Query("127.0.0.1:53", "w3.ocs-verify.invalid", TXT)),
    probe("W1", "a query for everything", Query("127.0.0.1:53", "w4.ocs-verify.invalid", ANY)),
    probe("W1", "a look-up backwards", Query("127.0.0.1:53", "1.2.0.192.in-addr.arpa", PTR)),
    probe("W2", "a length beside a coding", Malformed("POST http://a.ocs-verify.invalid/ HTTP/1.1\r\nHost: a.ocs-verify.invalid\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    probe("W2", "two hosts", Malformed("GET http://a.ocs-verify.invalid/ HTTP/1.1\r\nHost: a.ocs-verify.invalid\r\nHost: b.ocs-verify.invalid\r\n\r\n")),
    probe("W2", "no host", Malformed("GET http://a.ocs-verify.invalid/ HTTP/1.1\r\n\r\n")),
    probe("W2", "bare line feeds", Malformed("GET http://a.ocs-verify.invalid/ HTTP/1.1\nHost: a.ocs-verify.invalid\n\n")),
    probe("W2", "a folded header", Malformed("GET http://a.ocs-verify.invalid/ HTTP/1.1\r\nHost: a.ocs-verify.invalid\r\nX: a\r\n b\r\n\r\n")),
    probe("W2", "a signed length", Malformed("POST http://a.ocs-verify.invalid/ HTTP/1.1\r\nHost: a.ocs-verify.invalid\r\nContent-Length: +1\r\n\r\nx")),
    probe("W2", "an unknown coding", Malformed("POST http://a.ocs-verify.invalid/ HTTP/1.1\r\nHost: a.ocs-verify.invalid\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
    probe("W2", "a method in small letters", Malformed("connect a.ocs-verify.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    probe("W2", "HTTP/2 with prior knowledge", Malformed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    probe("W2", "SOCKS", Malformed("\x05\x01\0")),
    probe("W2", "a scheme that is not HTTP", Malformed("GET ftp://a.ocs-verify.invalid/ HTTP/1.1\r\nHost: a.ocs-verify.invalid\r\n\r\n")),
    probe("W3", "a Host unlike the absolute form", Refused("GET http://w5.{}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")),
    probe("W5", "TLS to a foreign address under nobody's name", StreamTls("192.0.2.40:443", "w6.ocs-verify.invalid")),
    probe("W5", "TLS to a foreign IPv6 address under nobody's name", StreamTls("[2001:db8::40]:443", "w7.ocs-verify.invalid")),
    probe("W5", "HTTP to a foreign address under nobody's name", Stream("192.0.2.41:80", "GET / HTTP/1.1\r\nHost: w8.ocs-verify.invalid\r\nConnection: close\r\n\r\n")),
    probe("W7", "a secret in a refused request", Refused("GET http://w9.{}/?token=ocs-verify-canary HTTP/1.1\r\nHost: w9.{}\r\nAuthorization: ocs-verify-canary\r\nConnection: close\r\n\r\n")),
];

/// What must be reported from the box.
pub(super) fn expected() -> Vec<(&'static str, Cow<'static, str>)> {
    let wire = PROBES
        .iter()
        .map(|probe| (probe.clause, Cow::Borrowed(probe.what)));
    wire.chain(boxed::expected()).collect()
}

/// Clauses in the order of `docs/security.md`, with what each group is about.
pub(super) const GROUPS: [(char, &str); 6] = [
    ('N', "the network namespace"),
    ('P', "the policy"),
    ('W', "the wire"),
    ('R', "the record"),
    ('B', "the box"),
    ('U', "bring-up"),
];

/// Clauses that cannot be tried so, and why.
pub(super) const NOT_TRIED: &[(&str, &str)] = &[
    ("N2, N9", "need somebody outside"),
    ("N7, N8, N12", "are of the shared topology"),
    (
        "P2, P7, P8, W4",
        "need an origin: a name that is allowed would be asked for and dialled",
    ),
    ("P10", "needs a person who answers"),
    (
        "P9, W6, W8, W9, R2, B6, U2, U4",
        "are held by the project's own suites",
    ),
];

/// Where a clause stands: by group, then by number.
pub(super) fn place(clause: &str) -> (usize, u32) {
    let group = GROUPS
        .iter()
        .position(|(letter, _)| clause.starts_with(*letter));
    let number = clause.get(1..).and_then(|number| number.parse().ok());
    (group.unwrap_or(GROUPS.len()), number.unwrap_or(0))
}
