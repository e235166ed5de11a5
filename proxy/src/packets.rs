//! Records the packets that the kernel refused, with exact counts.
//!
//! They come from NFLOG in the agent's namespace, over the socket that was passed. Each message is numbered by the
//! kernel, so those that did not fit into the socket's queue are counted too, as missed.
//!
//! Not here: what is refused (netctl's rules), and the windows in which counts are told (`tally`).
//!
//! Clauses: N6, R6, W8.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use policies::Reason;
use policies::audit::{Event, GapEvent, Lost, PacketEvent, Text};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::netlink;
use crate::sockets::watch;
use crate::tally::Tally;

/// `linux/netfilter/nfnetlink.h` and `nfnetlink_log.h`: subsystem ULOG, message PACKET.
const NFLOG_PACKET: u16 = 4 << 8;
/// `linux/netfilter/nfnetlink.h`, struct `nfgenmsg`: stands before the attributes.
const FAMILY_HEADER: usize = 4;
/// `linux/netfilter/nfnetlink_log.h`, enum `nfulnl_attr_type`.
const PAYLOAD: u16 = 9;
/// As [`PAYLOAD`].
const SEQUENCE: u16 = 12;
/// The kernel gathers at most so many bytes for one read: 128 KiB, `NFULNL_NLBUFSIZ_MAX`.
const BUFFER: usize = 128 * 1024;
/// Reads in a row before others have their turn.
const READS: usize = 16;

/// One kind of packet, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Seen {
    /// The queue was full.
    Missed,
    Packets(Kind),
}

/// Protocol and destination; without destination it stands for many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    /// `None` for what is no packet of IP.
    protocol: Option<u8>,
    address: Option<IpAddr>,
    port: Option<u16>,
}

/// Reads what the kernel refuses from `nflog` and tells `record`, until `shutdown`; then the rest.
///
/// # Errors
/// The socket cannot be watched.
pub async fn run(
    nflog: OwnedFd,
    record: impl Fn(Event),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut log = Log::new(nflog)?;
    let tally = Tally::new();
    let (end, ended) = oneshot::channel::<()>();
    let read = async {
        tokio::select! {
            never = log.read(&tally) => match never {},
            () = shutdown => log.drain(&tally),
        }
        drop(end);
    };
    let tell = tally.run(
        |window| {
            for (seen, count) in window {
                record(event(&seen, count));
            }
        },
        async { drop(ended.await) },
    );
    let ((), ()) = tokio::join!(read, tell);
    if log.overflowed {
        // More was lost than any message told of since.
        record(gap(None));
    }
    Ok(())
}

/// The socket, and how far its numbers have come.
struct Log {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    next: u32,
    overflowed: bool,
}

impl Log {
    fn new(nflog: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: watch(nflog)?,
            buffer: vec![0; BUFFER],
            next: 0,
            overflowed: false,
        })
    }

    async fn read(&mut self, tally: &Tally<Seen>) -> Infallible {
        loop {
            match self.socket.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => std::future::pending().await, // the runtime is ending
            }
            // Readiness was cleared first, so whatever comes after the last of these wakes us again.
            while self.turn(tally) == Left::More {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what is there.
    fn drain(&mut self, tally: &Tally<Seen>) {
        while self.turn(tally) == Left::More {}
    }

    /// Reads some of what is there, so that a flood does not keep the thread.
    fn turn(&mut self, tally: &Tally<Seen>) -> Left {
        for _ in 0..READS {
            let buffer = &mut self.buffer[..];
            match rustix::net::recv(self.socket.get_ref(), buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => self.count(length, tally),
                Err(Errno::NOBUFS) => self.overflowed = true,
                Err(Errno::INTR) => {}
                Err(_) => return Left::Nothing,
            }
        }
        Left::More
    }

    /// Counts the messages of one read. After an overflow older ones may still come; the first that follows the loss
    /// tells how much was lost.
    fn count(&mut self, length: usize, tally: &Tally<Seen>) {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        for message in netlink::messages(bytes) {
            if message.kind == NFLOG_PACKET && count(message.payload, &mut self.next, tally) > 0 {
                self.overflowed = false;
            }
        }
    }
}

/// What a turn of reading leaves behind.
#[derive(PartialEq, Eq)]
enum Left {
    More,
    Nothing,
}

/// Counts one message, and those that its number says were missed before it; gives how many those are.
fn count(payload: &[u8], next: &mut u32, tally: &Tally<Seen>) -> u32 {
    let mut kind = Kind {
        protocol: None,
        address: None,
        port: None,
    };
    let mut missed = 0;
    for (attribute, value) in netlink::attributes(payload.get(FAMILY_HEADER..).unwrap_or_default())
    {
        if attribute == PAYLOAD {
            kind = packet(value).unwrap_or(kind);
        } else if attribute == SEQUENCE
            && let Some(number) = value.first_chunk().copied().map(u32::from_be_bytes)
        {
            missed = number.wrapping_sub(*next);
            *next = number.wrapping_add(1);
        }
    }
    // Half of all numbers ahead is behind: nothing was missed then.
    if missed >= u32::MAX / 2 {
        missed = 0;
    }
    if missed > 0 {
        tally.count(Seen::Missed, u64::from(missed), |_| Seen::Missed);
    }
    tally.count(Seen::Packets(kind), 1, |_| {
        Seen::Packets(Kind {
            address: None,
            port: None,
            ..kind
        })
    });
    missed
}

fn event(seen: &Seen, count: u64) -> Event {
    match seen {
        Seen::Missed => gap(Some(count)),
        Seen::Packets(kind) => Event::Packet(PacketEvent {
            protocol: protocol(kind.protocol),
            address: kind.address,
            port: kind.port,
            count,
            reason: Reason::Direct,
        }),
    }
}

fn gap(count: Option<u64>) -> Event {
    Event::Gap(GapEvent {
        lost: Lost::Packets,
        count,
    })
}

/// IANA protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

fn protocol(number: Option<u8>) -> Text {
    Text::new(match number {
        Some(ICMP) => "icmp",
        Some(TCP) => "tcp",
        Some(UDP) => "udp",
        Some(ICMPV6) => "icmpv6",
        Some(SCTP) => "sctp",
        Some(other) => return Text::new(&format!("ip-{other}")),
        None => "unknown",
    })
}

/// Protocol and destination of a packet of IP; the port where the bytes that were logged hold it.
fn packet(bytes: &[u8]) -> Option<Kind> {
    match bytes.first()? >> 4 {
        4 => ipv4(bytes),
        6 => ipv6(bytes),
        _ => None,
    }
}

/// RFC 791 section 3.1.
fn ipv4(bytes: &[u8]) -> Option<Kind> {
    let header = bytes.first_chunk::<20>()?;
    let [first, _, _, _, _, _, fragment0, fragment1, _, protocol, ..] = *header;
    let address = Ipv4Addr::from(*header.last_chunk::<4>()?);
    let rest = bytes
        .get(usize::from(first & 0x0f) * 4..)
        .unwrap_or_default();
    let is_later_fragment = u16::from_be_bytes([fragment0, fragment1]) & 0x1fff != 0;
    Some(Kind {
        protocol: Some(protocol),
        address: Some(address.into()),
        port: port(protocol, rest).filter(|_| !is_later_fragment),
    })
}

/// RFC 8200 section 3, and the extension headers of section 4.
fn ipv6(bytes: &[u8]) -> Option<Kind> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    const HEADERS: usize = 8; // each kind once, one of them twice, and some to spare
    let header = bytes.first_chunk::<40>()?;
    let address = Ipv6Addr::from(*header.last_chunk::<16>()?);
    let mut protocol = *header.get(6)?;
    let mut rest = bytes.get(40..).unwrap_or_default();
    let mut is_later_fragment = false;
    for _ in 0..HEADERS {
        let Some([next, length, high, low]) = rest.first_chunk::<4>().copied() else {
            break;
        };
        let bytes = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 + usize::from(length) * 8,
            AUTHENTICATION => 8 + usize::from(length) * 4, // RFC 4302 section 2.2
            FRAGMENT => {
                is_later_fragment |= u16::from_be_bytes([high, low]) >> 3 != 0;
                8
            }
            _ => break,
        };
        protocol = next;
        rest = rest.get(bytes..).unwrap_or_default();
    }
    Some(Kind {
        protocol: Some(protocol),
        address: Some(address.into()),
        port: port(protocol, rest).filter(|_| !is_later_fragment),
    })
}

/// The destination port: the second 16 bits in every protocol that has one.
fn port(protocol: u8, rest: &[u8]) -> Option<u16> {
    if !matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE) {
        return None;
    }
    rest.get(2..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;
