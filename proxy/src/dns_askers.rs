//! Datagrams that wait for the DNS stub: each asker has a line of its own, and the lines take turns.
//!
//! The kernel has one queue for all who ask, and whoever sends most fills it. So it is emptied first, which costs less
//! than filling it, and what it held waits here: an asker fills its own line and no other. Whoever had nothing waiting
//! shares every other turn with those alone who had nothing either, so that whoever asks without end from hundreds of ports
//! is behind whoever asks once. And whoever asks from 127.0.0.1 or `::1`, as every resolver library does here, has every
//! other turn whatever comes from elsewhere: that is 65,535 ports at most, where addresses are without number.
//!
//! Not here: sockets (`dns_serve`), answers (`dns_stub`).
//!
//! Clauses: W8.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Of one asker: what a resolver that asks much over one socket may have open. 256 questions of 64 bytes.
const BYTES_OF_ONE: usize = 16 * 1024;
/// Of all askers of one kind: a question of 256 bytes from every port of an address.
const BYTES_OF_ALL: usize = 16 * 1024 * 1024;
/// Of one kind: as many as an address has ports.
const MOST_ASKERS: usize = 65_535;

/// All that waits.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    usual: Lines,
    other: Lines,
    turn: usize,
}

impl Askers {
    /// Has a datagram wait; what an asker sends beyond its room is dropped, and is the asker's own.
    pub(crate) fn push(&mut self, from: SocketAddr, datagram: &[u8]) {
        if from.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) || from.ip() == Ipv6Addr::LOCALHOST {
            self.usual.push(from, datagram);
        } else {
            self.other.push(from, datagram);
        }
    }

    /// The next datagram, and whose it is.
    pub(crate) fn pop(&mut self) -> Option<(SocketAddr, Box<[u8]>)> {
        self.turn = self.turn.wrapping_add(1);
        let age = if self.turn & 2 == 0 {
            Age::New
        } else {
            Age::Old
        };
        if self.turn & 1 == 0 {
            self.usual.pop(age).or_else(|| self.other.pop(age))
        } else {
            self.other.pop(age).or_else(|| self.usual.pop(age))
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.usual.lines.is_empty() && self.other.lines.is_empty()
    }
}

/// Whether an asker had nothing waiting when it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    New,
    Old,
}

/// Askers of one kind.
#[derive(Debug, Default)]
struct Lines {
    lines: HashMap<SocketAddr, Line>,
    /// Whose line was empty before, in the order in which they came: one datagram of each.
    new: VecDeque<SocketAddr>,
    /// Who has more than that waiting, in the order of their turns.
    old: VecDeque<SocketAddr>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Line {
    datagrams: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Lines {
    fn push(&mut self, from: SocketAddr, datagram: &[u8]) {
        let known = self.lines.get(&from);
        let bytes = datagram.len() + known.map_or(0, |line| line.bytes);
        let full = known.is_none() && self.lines.len() >= MOST_ASKERS;
        if full || bytes > BYTES_OF_ONE || self.bytes + datagram.len() > BYTES_OF_ALL {
            return;
        }
        if known.is_none() {
            self.new.push_back(from);
        }
        let line = self.lines.entry(from).or_default();
        line.datagrams.push_back(datagram.into());
        line.bytes = bytes;
        self.bytes += datagram.len();
    }

    /// Of those of this age, or else of the others.
    fn pop(&mut self, age: Age) -> Option<(SocketAddr, Box<[u8]>)> {
        let from = match age {
            Age::New => self.new.pop_front().or_else(|| self.old.pop_front()),
            Age::Old => self.old.pop_front().or_else(|| self.new.pop_front()),
        }?;
        let line = self.lines.get_mut(&from)?;
        let datagram = line.datagrams.pop_front()?;
        line.bytes -= datagram.len();
        self.bytes -= datagram.len();
        if line.datagrams.is_empty() {
            self.lines.remove(&from);
        } else {
            self.old.push_back(from);
        }
        if self.lines.is_empty() {
            *self = Self::default(); // what a flood grew goes with it
        }
        Some((from, datagram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn elsewhere(number: u32) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 1))
    }

    fn all(askers: &mut Askers) -> Vec<(SocketAddr, Box<[u8]>)> {
        std::iter::from_fn(|| askers.pop()).collect()
    }

    #[test]
    fn who_asks_once_is_answered_after_one_of_whoever_asks_without_end() {
        let mut askers = Askers::default();
        for number in 0..100_000_u32 {
            askers.push(from(1), &number.to_be_bytes());
        }
        askers.push(from(2), b"once");
        let order = all(&mut askers);
        let once = order.iter().position(|(asker, _)| *asker == from(2));
        assert!(once.is_some_and(|turn| turn < 4), "{once:?}");
        // The first that came, and as many as it has room for.
        assert_eq!(order[0], (from(1), [0, 0, 0, 0].as_slice().into()));
        assert_eq!(order.len(), BYTES_OF_ONE / 4 + 1);
        assert!(askers.is_empty());
    }

    #[test]
    fn who_asks_once_is_before_hundreds_who_ask_without_end() {
        let mut askers = Askers::default();
        for _ in 0..10 {
            for port in 1..=500 {
                askers.push(from(port), b"flood");
            }
        }
        for _ in 0..1000 {
            askers.pop(); // by then each of them had a turn
        }
        askers.push(from(1000), b"once");
        let next: Vec<_> = (0..4).filter_map(|_| askers.pop()).collect();
        assert!(next.contains(&(from(1000), b"once".as_slice().into())));
    }

    #[test]
    fn every_port_of_the_loopback_has_room_though_every_other_is_full() {
        let mut askers = Askers::default();
        for port in 1..=u16::MAX {
            for _ in 0..20 {
                askers.push(from(port), &[0; 12]);
            }
        }
        assert_eq!(all(&mut askers).len(), usize::from(u16::MAX) * 20);
    }

    #[test]
    fn addresses_without_number_leave_the_usual_ones_every_other_turn() {
        let mut askers = Askers::default();
        for number in 0..200_000 {
            askers.push(elsewhere(number), b"x");
        }
        for port in 1..=9 {
            askers.push(from(port), b"y");
        }
        let order = all(&mut askers);
        assert_eq!(order.len(), MOST_ASKERS + 9);
        let usual: Vec<_> = order
            .iter()
            .take(18)
            .filter(|(_, it)| **it == *b"y")
            .collect();
        assert_eq!(usual.len(), 9);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let mut askers = Askers::default();
        for port in 1..=u16::MAX {
            askers.push(from(port), &[0; 1232]);
        }
        assert_eq!(all(&mut askers).len(), BYTES_OF_ALL / 1232);
    }
}
