//! The attempts over the network, with blocking sockets and a limit. Silence counts as a hole: nobody can tell it from a
//! slow way out.
//! Clauses: N3, N4, N5, N6, P1, P3, P4, P5, P6, W1, W2, W3, W5, W7.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use netctl::probe::words::{REFUSED, code, question, says_no, without_ipv6};
use socket2::{Domain, Protocol, Socket, Type};

use super::catalogue::{Attempt, NOBODY};
use super::finding::Outcome;

/// How long an attempt may take to be refused: the bring-up's own bound (`netctl::probe`).
const LIMIT: Duration = Duration::from_secs(1);
/// docs/architecture.md, "Ports inside the namespace".
const PROXY: &str = "127.0.0.1:3128";

/// Makes one attempt.
pub(super) fn outcome(attempt: &Attempt) -> Outcome {
    let (to, outcome) = match *attempt {
        Attempt::Datagram(to) => (to, datagram(to)),
        Attempt::Echo(to) => (to, echo(to)),
        Attempt::Malformed(bytes) => (PROXY, malformed(bytes)),
        Attempt::Own(at) => (at, own(at)),
        Attempt::Query(to, name, kind) => (to, query(to, &question(QUERY_ID, name, kind))),
        Attempt::QueryTcp(to, name, kind) => {
            (to, query_over_tcp(to, &question(QUERY_ID, name, kind)))
        }
        Attempt::Refused(request) => (PROXY, refused(&request.replace("{}", NOBODY))),
        Attempt::Stream(to, bytes) => (to, stream(to, bytes.as_bytes(), Alert::Theirs)),
        Attempt::StreamTls(to, name) => (to, stream(to, &hello(name), Alert::Ours)),
    };
    outcome.unwrap_or_else(|error| failed(&error, to))
}

/// An attempt at `to` that came to no answer. IPv4 is never missing: what fails over it was not tried.
fn failed(error: &io::Error, to: &str) -> Outcome {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        Outcome::Hole(format!("it was not refused within {LIMIT:?}"))
    } else if to.starts_with('[') && without_ipv6(error) {
        Outcome::Absent("there is no IPv6 here".to_owned())
    } else {
        Outcome::Hole(format!("it could not be tried: {error}"))
    }
}

/// Every stream is captured: that it cannot be connected is no refusal of ours, for it may be somebody else's.
fn stream(to: &str, bytes: &[u8], alert: Alert) -> io::Result<Outcome> {
    let mut socket = match connected(to, Type::STREAM) {
        // It was connected, and reset before we looked: whoever refuses a connection answers otherwise (connect(2)).
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return refused_at_once(error),
        Err(error) if error.kind() != ErrorKind::TimedOut => {
            return Ok(Outcome::Hole(format!("it was not captured: {error}")));
        }
        connected => connected?,
    };
    if let Err(error) = socket.write_all(bytes) {
        return refused_at_once(error);
    }
    let answer = match read(&mut socket) {
        Ok(answer) => answer,
        Err(error) => return refused_at_once(error),
    };
    // RFC 8446 section 5.1: 21 is an alert.
    Ok(match answer.first() {
        None => Outcome::Held("closed".to_owned()),
        Some(21) if answer.len() <= 7 && alert == Alert::Ours => {
            Outcome::Held("a TLS alert".to_owned())
        }
        Some(_) if is_ours(&answer, &["400", "403"]) => Outcome::Held(status(&answer)),
        Some(_) => Outcome::Hole(format!("it was answered: {}", shown(&answer))),
    })
}

/// Whether an alert may be the proxy's answer: it gives one to a ClientHello alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alert {
    Ours,
    Theirs,
}

fn datagram(to: &str) -> io::Result<Outcome> {
    match connected(to, Type::DGRAM) {
        Ok(socket) => unanswered(socket, b"ocs verify"),
        Err(error) => refused_at_once(error),
    }
}

fn echo(to: &str) -> io::Result<Outcome> {
    let to = address(to)?;
    let protocol = if to.is_ipv4() {
        Protocol::ICMPV4
    } else {
        Protocol::ICMPV6
    };
    // ping(8)'s own socket; net.ipv4.ping_group_range says who may.
    let socket = match Socket::new(Domain::for_address(to), Type::DGRAM, Some(protocol)) {
        Ok(socket) => socket,
        Err(error) => return refused_at_once(error),
    };
    socket.set_read_timeout(Some(LIMIT))?;
    if let Err(error) = socket.connect(&to.into()) {
        return refused_at_once(error);
    }
    // RFC 792: echo is type 8; RFC 4443 section 4.1: 128. The kernel writes checksum and identifier.
    let kind = if to.is_ipv4() { 8 } else { 128 };
    unanswered(socket, &[kind, 0, 0, 0, 0, 0, 0, 1])
}

/// The rules say no to the sender, before anything is sent. An error that comes later came from where it went to.
fn unanswered(mut socket: Socket, bytes: &[u8]) -> io::Result<Outcome> {
    if let Err(error) = socket.send(bytes) {
        return refused_at_once(error);
    }
    Ok(match read_once(&mut socket) {
        Ok(answer) => Outcome::Hole(format!("it was answered: {}", shown(&answer))),
        // icmpv6(7): "administratively prohibited" is what our rules answer; for a UDP socket the send itself fails.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Outcome::Held(error.to_string())
        }
        Err(error) => Outcome::Hole(format!("it was sent, and then: {error}")),
    })
}

fn refused(request: &str) -> io::Result<Outcome> {
    let answer = asked(request)?;
    let ours = is_ours(&answer, &["403"]);
    let text = String::from_utf8_lossy(&answer);
    let leaks = ["/home/", "/root/", ".opencode-sandbox", "canary"];
    Ok(if !ours {
        Outcome::Hole(format!("not refused by the proxy: {}", shown(&answer)))
    } else if let Some(leak) = leaks.iter().find(|leak| text.contains(*leak)) {
        Outcome::Hole(format!("the refusal repeats `{leak}`"))
    } else {
        Outcome::Held(status(&answer))
    })
}

fn malformed(request: &str) -> io::Result<Outcome> {
    let answer = asked(request)?;
    let answers = answer
        .windows(b"HTTP/1.1 ".len())
        .filter(|window| window == b"HTTP/1.1 ")
        .count();
    Ok(if is_ours(&answer, &["400"]) && answers == 1 {
        Outcome::Held(status(&answer))
    } else {
        Outcome::Hole(format!("not one 400: {}", shown(&answer)))
    })
}

/// Everything that the proxy answers until it closes.
fn asked(request: &str) -> io::Result<Vec<u8>> {
    let mut socket = connected(PROXY, Type::STREAM)?;
    socket.write_all(request.as_bytes())?;
    read(&mut socket)
}

fn query(to: &str, message: &[u8]) -> io::Result<Outcome> {
    let mut socket = connected(to, Type::DGRAM)?;
    socket.send(message)?;
    Ok(rcode(&read_once(&mut socket)?))
}

fn query_over_tcp(to: &str, message: &[u8]) -> io::Result<Outcome> {
    let mut socket = connected(to, Type::STREAM)?;
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    socket.write_all(&[&length.to_be_bytes(), message].concat())?;
    let answer = read_once(&mut socket)?;
    Ok(rcode(answer.get(2..).unwrap_or_default()))
}

fn rcode(answer: &[u8]) -> Outcome {
    match code(QUERY_ID, answer) {
        Some(REFUSED) => Outcome::Held("REFUSED".to_owned()),
        Some(code) => Outcome::Hole(format!("it was answered with code {code}")),
        None => Outcome::Hole(format!("it was answered: {}", shown(answer))),
    }
}

const QUERY_ID: [u8; 2] = *b"ov";

/// A service on the loopback answers its own process: the agent's programs need that.
fn own(at: &str) -> io::Result<Outcome> {
    let listener = TcpListener::bind(address(at)?)?;
    let served = listener.local_addr()?.to_string();
    let mut client = connected(&served, Type::STREAM)?;
    let (mut server, _) = listener.accept()?;
    server.write_all(b"own")?;
    Ok(match read_once(&mut client)?.as_slice() {
        b"own" => Outcome::Held("it answers".to_owned()),
        other => Outcome::Hole(format!("somebody else answers: {}", shown(other))),
    })
}

fn connected(to: &str, kind: Type) -> io::Result<Socket> {
    let to = address(to)?;
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    if kind == Type::STREAM {
        socket.connect_timeout(&to.into(), LIMIT)?;
    } else {
        socket.connect(&to.into())?;
    }
    Ok(socket)
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.parse()
        .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "no address"))
}

fn read_once(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 4096];
    let length = socket.read(&mut bytes)?;
    Ok(bytes.get(..length).unwrap_or_default().to_vec())
}

/// Everything until the end; the end must come, or nobody knows what else would.
fn read(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match read_once(socket) {
            Ok(piece) if piece.is_empty() => return Ok(all),
            Ok(piece) if all.len() + piece.len() > 1 << 16 => return Ok(piece),
            Ok(piece) => all.extend(piece),
            // Reset after an answer: the answer counts.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !all.is_empty() => {
                return Ok(all);
            }
            Err(error) => return Err(error),
        }
    }
}

/// An error that says no is a refusal.
fn refused_at_once(error: io::Error) -> io::Result<Outcome> {
    if says_no(&error) {
        Ok(Outcome::Held(error.to_string()))
    } else {
        Err(error)
    }
}

fn is_ours(answer: &[u8], statuses: &[&str]) -> bool {
    let head = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    statuses.contains(&status.as_str()) && head.contains("\r\nproxy-status: ocs;")
}

fn status(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn shown(answer: &[u8]) -> String {
    let start = answer.get(..60).unwrap_or(answer);
    format!("{} bytes, `{}`", answer.len(), start.escape_ascii())
}

/// A plain ClientHello of TLS 1.2 and 1.3 for this name (RFC 8446 section 4.1.2, RFC 6066 section 3).
fn hello(name: &str) -> Vec<u8> {
    let sized = |bytes: Vec<u8>| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        [length.to_be_bytes().to_vec(), bytes].concat()
    };
    let extension = |kind: u16, body: Vec<u8>| [kind.to_be_bytes().to_vec(), sized(body)].concat();
    let server_name = sized([vec![0], sized(name.as_bytes().to_vec())].concat());
    let extensions = [
        extension(0, server_name),
        extension(10, sized(vec![0, 0x1d, 0, 0x17])), // groups: x25519, secp256r1
        extension(13, sized(vec![4, 3, 8, 4, 4, 1])), // signatures
        extension(43, vec![4, 3, 4, 3, 3]),           // versions: 1.3, 1.2
        extension(51, sized([vec![0, 0x1d], sized(vec![9; 32])].concat())), // a share of x25519
    ]
    .concat();
    let body = [
        vec![3, 3],
        vec![7; 32],                                  // random
        vec![0],                                      // no session
        sized(vec![0x13, 1, 0xc0, 0x2b, 0xc0, 0x2f]), // suites
        vec![1, 0],                                   // no compression
        sized(extensions),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let length = length.get(1..).unwrap_or_default();
    let handshake = [&[1], length, &body].concat();
    [vec![22, 3, 1], sized(handshake)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_attempt_over_ipv6_can_fail_for_want_of_it() {
        for errno in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            let error = io::Error::from_raw_os_error(errno);
            let absent = Outcome::Absent("there is no IPv6 here".to_owned());
            assert_eq!(failed(&error, "[2001:db8::10]:22"), absent);
            let untried = Outcome::Hole(format!("it could not be tried: {error}"));
            assert_eq!(failed(&error, "192.0.2.10:22"), untried);
        }
    }
}
