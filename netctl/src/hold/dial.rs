//! Connections into the namespace, for published ports only: the one thing that the holder does for the proxy once the
//! fence stands.
//!
//! One thread, one loop: a service whose backlog is full keeps its own dial waiting, and nobody else's.
//!
//! Not here: which ports are published (`spec`), who may connect to them outside (the proxy).
//!
//! Clauses: N9.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::HoldError;
use super::connection::Connection;
use super::leash::Leash;
use crate::kernel::Ipv6;
use crate::protocol::{Ask, Reply, VERSION};
use crate::spec::Port;

/// A service that does not take a connection in this time is answered for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Dials under way at once; past it the answer is a refusal.
const PENDING_MAX: usize = 128;

/// Serves dials until the peer goes, or the starter.
pub(super) fn serve(
    connection: &Connection,
    leash: Option<&Leash>,
    published: &BTreeSet<Port>,
    ipv6: Ipv6,
) -> Result<(), HoldError> {
    let mut pending: Vec<Dial> = Vec::new();
    loop {
        let ready = wait(connection, leash, &pending)?;
        if ready.leash && leash.is_some_and(Leash::let_go) {
            return Ok(());
        }
        if ready.connection {
            let Some(message) = connection.receive()? else {
                return Ok(());
            };
            begin(connection, &message, published, ipv6, &mut pending)?;
        }
        let now = Instant::now();
        for dial in std::mem::take(&mut pending) {
            if let Some(dial) = go_on(connection, dial, &ready.dials, now)? {
                pending.push(dial);
            }
        }
    }
}

/// A connection under way.
struct Dial {
    id: u64,
    port: Port,
    socket: Socket,
    /// Where to try next if nobody listens here.
    next: Option<IpAddr>,
    until: Instant,
}

/// What can go on.
struct Ready {
    connection: bool,
    leash: bool,
    /// Ids of dials that ended, well or not.
    dials: Vec<u64>,
}

fn wait(
    connection: &Connection,
    leash: Option<&Leash>,
    pending: &[Dial],
) -> Result<Ready, HoldError> {
    let now = Instant::now();
    let first = pending
        .iter()
        .map(|dial| dial.until.saturating_duration_since(now))
        .min();
    let timeout = first.and_then(|wait| Timespec::try_from(wait).ok());
    let mut watched = vec![PollFd::new(connection, PollFlags::IN)];
    watched.extend(leash.map(|leash| PollFd::new(leash, PollFlags::IN)));
    watched.extend(
        pending
            .iter()
            .map(|dial| PollFd::new(&dial.socket, PollFlags::OUT)),
    );
    match poll(&mut watched, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            return Err(HoldError::Connection {
                what: "wait for the proxy",
                source: errno.into(),
            });
        }
    }
    let mut ready = watched.iter().map(|watched| !watched.revents().is_empty());
    Ok(Ready {
        connection: ready.next().unwrap_or_default(),
        leash: leash.and_then(|_| ready.next()).unwrap_or_default(),
        dials: pending
            .iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|(dial, _)| dial.id)
            .collect(),
    })
}

fn begin(
    connection: &Connection,
    message: &[u8],
    published: &BTreeSet<Port>,
    ipv6: Ipv6,
    pending: &mut Vec<Dial>,
) -> Result<(), HoldError> {
    // A peer that does not keep to the contract is not the proxy that we know: the fence ends with it.
    let Ask::Dial { v, id, port } =
        serde_json::from_slice(message).map_err(|error| HoldError::Connection {
            what: "understand the proxy's message",
            source: error.into(),
        })?;
    let refusal = |error: &str| refuse(connection, id, error);
    if v != VERSION {
        return refusal("this version of the message is not known");
    }
    let Some(port) = Port::new(port).filter(|port| published.contains(port)) else {
        return refusal("the port is not published");
    };
    if pending.len() >= PENDING_MAX {
        return refusal("too many connections are under way");
    }
    let next = (ipv6 == Ipv6::On).then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    match connect(IpAddr::V4(Ipv4Addr::LOCALHOST), port) {
        Ok(socket) => {
            pending.push(Dial {
                id,
                port,
                socket,
                next,
                until: Instant::now() + PATIENCE,
            });
            Ok(())
        }
        Err(error) => refusal(&error.to_string()),
    }
}

/// Starts a connection to the namespace's own loopback. This is the dial *in*: the socket is the namespace's, and there
/// is no way out of it.
fn connect(address: IpAddr, port: Port) -> io::Result<Socket> {
    let at = SocketAddr::new(address, port.get());
    let socket = Socket::new(
        Domain::for_address(at),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    match socket.connect(&at.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// The dial, if it is still under way.
fn go_on(
    connection: &Connection,
    mut dial: Dial,
    ready: &[u64],
    now: Instant,
) -> Result<Option<Dial>, HoldError> {
    if !ready.contains(&dial.id) {
        if now < dial.until {
            return Ok(Some(dial));
        }
        refuse(connection, dial.id, "the service does not answer")?;
        return Ok(None);
    }
    match (outcome(&dial.socket), dial.next.take()) {
        (Ok(()), _) => {
            let reply = Reply::Dialled {
                v: VERSION,
                id: dial.id,
            };
            connection.send(&reply, &[dial.socket.as_fd()])?;
            Ok(None)
        }
        // Many servers listen on ::1 alone when they are told "localhost".
        (Err(_), Some(next)) => match connect(next, dial.port) {
            Ok(socket) => Ok(Some(Dial { socket, ..dial })),
            Err(error) => refuse(connection, dial.id, &error.to_string()).map(|()| None),
        },
        (Err(error), None) => refuse(connection, dial.id, &error.to_string()).map(|()| None),
    }
}

fn outcome(socket: &Socket) -> io::Result<()> {
    match socket.take_error()? {
        Some(error) => Err(error),
        // With nobody listening a socket may connect to itself, if it was given the very port (RFC 9293 section 3.5).
        None if socket.local_addr()? == socket.peer_addr()? => Err(Errno::CONNREFUSED.into()),
        None => Ok(()),
    }
}

fn refuse(connection: &Connection, id: u64, error: &str) -> Result<(), HoldError> {
    let reply = Reply::Refused {
        v: VERSION,
        id,
        error: error.to_owned(),
    };
    connection.send(&reply, &[])
}
