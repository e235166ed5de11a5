//! The attempts themselves, each with blocking sockets and a limit. No judgement: `probe` says what the outcomes mean.
//! Clauses: U1.
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Outcome, Probe, Targets, words};

/// Makes one attempt.
pub(super) fn outcome(probe: Probe, targets: &Targets, limit: Duration) -> Outcome {
    let ([foreign4, foreign6], [resolver4, resolver6]) = (targets.foreign, targets.resolvers);
    let [proxy4, proxy6] = targets.proxies;
    let outcome = match probe {
        Probe::Interfaces => interfaces(),
        Probe::Tcp4 => stream(foreign4, limit),
        Probe::Tcp6 => stream(foreign6, limit),
        Probe::Udp4 => datagram(foreign4, limit),
        Probe::Udp6 => datagram(foreign6, limit),
        Probe::Dns4 => query(resolver4, &targets.query, limit),
        Probe::Dns6 => query(resolver6, &targets.query, limit),
        Probe::Proxy4 => proxied(proxy4, &targets.authority, limit),
        Probe::Proxy6 => proxied(proxy6, &targets.authority, limit),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn interfaces() -> io::Result<Outcome> {
    // proc_pid_net(5): two lines of headings, then one line for each interface, its name before the colon.
    let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let others: Vec<&str> = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        .filter(|name| *name != "lo")
        .collect();
    if others.is_empty() {
        Ok(Outcome::Refused("only lo".to_owned()))
    } else {
        Ok(Outcome::Passed(others.join(" ")))
    }
}

fn stream(to: SocketAddr, limit: Duration) -> io::Result<Outcome> {
    let mut socket = socket(to, Type::STREAM, Protocol::TCP, limit)?;
    if let Err(error) = socket.connect_timeout(&to.into(), limit) {
        return refused(error);
    }
    // Our capture listener takes every connection; what no protocol is must end it without an answer.
    if let Err(error) = socket.write_all(b"\0ocs probe\0\r\n\r\n") {
        return refused(error);
    }
    answer(&mut socket, |bytes| {
        Outcome::Passed(format!("answered {} bytes", bytes.len()))
    })
}

/// The rules say no to the sender, before anything is sent. What comes after that came from where it went to, but for
/// icmpv6(7)'s "administratively prohibited", which is what our rules answer.
fn datagram(to: SocketAddr, limit: Duration) -> io::Result<Outcome> {
    let mut socket = socket(to, Type::DGRAM, Protocol::UDP, limit)?;
    if let Err(error) = socket
        .connect(&to.into())
        .and_then(|()| socket.send(b"ocs probe"))
    {
        return refused(error);
    }
    match socket.read(&mut [0; 2048]) {
        Ok(length) => Ok(Outcome::Passed(format!("answered {length} bytes"))),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => refused(error),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(error)
        }
        Err(error) => Ok(Outcome::Passed(format!("was sent, and then: {error}"))),
    }
}

fn query(to: SocketAddr, (name, kind): &(String, u16), limit: Duration) -> io::Result<Outcome> {
    let mut socket = socket(to, Type::DGRAM, Protocol::UDP, limit)?;
    let message = words::question(QUERY_ID, name, *kind);
    if let Err(error) = socket
        .connect(&to.into())
        .and_then(|()| socket.send(&message))
    {
        if words::without_ipv6(&error) {
            return Err(error);
        }
        return Ok(Outcome::Untried(format!("no resolver answers: {error}")));
    }
    answer(&mut socket, |bytes| match words::code(QUERY_ID, bytes) {
        Some(words::REFUSED) => Outcome::Refused("REFUSED".to_owned()),
        Some(code) => Outcome::Passed(format!("answered with code {code}")),
        None => Outcome::Passed("answered something else".to_owned()),
    })
}

const QUERY_ID: [u8; 2] = *b"oc";

fn proxied(to: SocketAddr, authority: &str, limit: Duration) -> io::Result<Outcome> {
    let mut socket = socket(to, Type::STREAM, Protocol::TCP, limit)?;
    socket.connect_timeout(&to.into(), limit)?;
    write!(
        socket,
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    )?;
    answer(&mut socket, |bytes| {
        let head = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        if head.starts_with("http/1.1 403 ") && head.contains("\r\nproxy-status: ocs;") {
            Outcome::Refused("403".to_owned())
        } else if bytes.is_empty() {
            Outcome::Untried("the proxy hung up".to_owned())
        } else {
            Outcome::Passed(
                head.lines()
                    .next()
                    .unwrap_or_default()
                    .escape_debug()
                    .to_string(),
            )
        }
    })
    .map(spoken)
}

/// For the other attempts the end of the connection is the refusal; the proxy must say it.
fn spoken(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused(how) if how != "403" => Outcome::Untried(how),
        Outcome::Hung
        | Outcome::NoIpv6
        | Outcome::Passed(_)
        | Outcome::Refused(_)
        | Outcome::Untried(_) => outcome,
    }
}

/// The first bytes of an answer, judged by `of_bytes`; the end of the connection, or its reset, is a refusal.
fn answer(socket: &mut Socket, of_bytes: impl FnOnce(&[u8]) -> Outcome) -> io::Result<Outcome> {
    let mut bytes = [0; 2048];
    match socket.read(&mut bytes) {
        Ok(0) => Ok(Outcome::Refused("closed".to_owned())),
        Ok(length) => Ok(of_bytes(bytes.get(..length).unwrap_or_default())),
        Err(error) => refused(error),
    }
}

/// An error that says no is a refusal.
fn refused(error: io::Error) -> io::Result<Outcome> {
    if words::says_no(&error) {
        Ok(Outcome::Refused(error.to_string()))
    } else {
        Err(error)
    }
}

fn failed(error: &io::Error) -> Outcome {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        Outcome::Hung
    } else if words::without_ipv6(error) {
        Outcome::NoIpv6
    } else {
        Outcome::Untried(error.to_string())
    }
}

fn socket(to: SocketAddr, kind: Type, protocol: Protocol, limit: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    Ok(socket)
}
