//! The synthetic addresses, and the names that they were issued for.
//!
//! One table per run: the DNS stub issues an address of 198.18.0.0/15 for a name, the capture listener asks which name
//! an address stands for. A name keeps its address for the run. An address is given to another name only when all are
//! taken, and then only one that nobody has used for [`REUSE_AFTER`] and that no connection is open to; otherwise the
//! *new* name gets none. So whoever asks for a million names harms the names that come after, never those before.
//!
//! Not responsible for which names may have an address (`Policy::allows_name`), or for the answer (`dns_stub`).
//!
//! Clauses: W5, W8.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::DnsName;
use tokio::time::Instant;

/// 198.18.0.0, the first address of the range for benchmarks: never routed, never a real origin. RFC 2544 appendix C.2.2.
const FIRST: u32 = 0xC612_0000;
/// Addresses in 198.18.0.0/15.
const RANGE: u32 = 1 << 17;
/// The first 256 and the last address are never issued: some clients take `.0` and `.255` of a range for special.
const RESERVED_LOW: u32 = 256;
/// The last address of the range would be its broadcast.
const RESERVED_HIGH: u32 = 1;
/// How many addresses can be issued.
pub const CAPACITY: u32 = RANGE - RESERVED_LOW - RESERVED_HIGH;
/// An address is given to another name no sooner than this after its last use: far longer than clients keep an answer
/// whose TTL is [`dns_stub::TTL`](crate::dns_stub), and than most pool idle connections.
pub const REUSE_AFTER: Duration = Duration::from_secs(3600);
/// Addresses looked at for reuse before a new name is refused: with more connections open to the oldest names, a
/// search would cost every query.
const REUSE_TRIES: usize = 16;

/// Whether `address` lies in the range that only this table issues from.
#[must_use]
pub fn in_range(address: Ipv4Addr) -> bool {
    u32::from(address).wrapping_sub(FIRST) < RANGE
}

/// The table of one run. Cheap to clone: clones share it.
#[derive(Debug, Clone, Default)]
pub struct Synthetic(Arc<Mutex<Table>>);

/// What asking for an address gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// The name's address, issued now: the first that anyone hears of it.
    First(Ipv4Addr),
    /// The name's address, issued before.
    Again(Ipv4Addr),
    /// Every address is taken by a name that was used not long ago.
    Full,
}

impl Synthetic {
    /// The address of `name`; issues one if it has none.
    #[must_use]
    pub fn issue(&self, name: &DnsName, now: Instant) -> Issued {
        self.table().issue(name, now)
    }

    /// The name that `address` was issued for, held as long as the returned value lives; `None` if it was never issued.
    #[must_use]
    pub fn hold(&self, address: Ipv4Addr, now: Instant) -> Option<Held> {
        let (slot, name) = self.table().hold(address, now)?;
        Some(Held {
            of: self.clone(),
            slot,
            name,
        })
    }

    /// How many names have an address.
    #[must_use]
    pub fn issued(&self) -> usize {
        self.table().slots.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name whose address is in use: it keeps that address at least until this is dropped.
#[derive(Debug)]
pub struct Held {
    of: Synthetic,
    slot: usize,
    name: DnsName,
}

impl Held {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &DnsName {
        &self.name
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.table().release(self.slot, Instant::now());
    }
}

/// Slots in the order of their last use, as a list through their indices: every operation is O(1).
#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<DnsName, usize>,
    slots: Vec<Slot>,
    oldest: Option<usize>,
    newest: Option<usize>,
}

#[derive(Debug)]
struct Slot {
    name: DnsName,
    used: Instant,
    /// Connections open to it.
    open: u32,
    older: Option<usize>,
    newer: Option<usize>,
}

impl Table {
    fn issue(&mut self, name: &DnsName, now: Instant) -> Issued {
        if let Some(&slot) = self.by_name.get(name) {
            self.touch(slot, now);
            return address_of(slot).map_or(Issued::Full, Issued::Again);
        }
        let slot = match address_of(self.slots.len()) {
            Some(_) => self.slots.len(),
            None => match self.reusable(now) {
                Some(slot) => slot,
                None => return Issued::Full,
            },
        };
        self.place(slot, name, now);
        address_of(slot).map_or(Issued::Full, Issued::First)
    }

    fn hold(&mut self, address: Ipv4Addr, now: Instant) -> Option<(usize, DnsName)> {
        let slot = slot_of(address)?;
        self.touch(slot, now);
        let entry = self.slots.get_mut(slot)?;
        entry.open = entry.open.saturating_add(1);
        Some((slot, entry.name.clone()))
    }

    fn release(&mut self, slot: usize, now: Instant) {
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.open = entry.open.saturating_sub(1);
        }
        self.touch(slot, now);
    }

    /// The oldest slot that may stand for another name. Slots with open connections are in use, so they become newest.
    fn reusable(&mut self, now: Instant) -> Option<usize> {
        for _ in 0..REUSE_TRIES {
            let slot = self.oldest?;
            let entry = self.slots.get(slot)?;
            if now.saturating_duration_since(entry.used) < REUSE_AFTER {
                return None; // all others were used later
            }
            if entry.open == 0 {
                return Some(slot);
            }
            self.touch(slot, now);
        }
        None
    }

    /// Gives `slot`, new or reused, to `name`.
    fn place(&mut self, slot: usize, name: &DnsName, now: Instant) {
        if let Some(entry) = self.slots.get_mut(slot) {
            self.by_name.remove(&entry.name);
            entry.name = name.clone();
        } else {
            self.slots.push(Slot {
                name: name.clone(),
                used: now,
                open: 0,
                older: None,
                newer: None,
            });
            self.append(slot);
        }
        self.by_name.insert(name.clone(), slot);
        self.touch(slot, now);
    }

    /// Makes `slot` the newest.
    fn touch(&mut self, slot: usize, now: Instant) {
        if self.newest != Some(slot) && self.unlink(slot) {
            self.append(slot);
        }
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.used = now;
        }
    }

    /// Takes `slot` out of the list; false if there is no such slot.
    fn unlink(&mut self, slot: usize) -> bool {
        let Some(entry) = self.slots.get_mut(slot) else {
            return false;
        };
        let (older, newer) = (entry.older.take(), entry.newer.take());
        match older.and_then(|older| self.slots.get_mut(older)) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.slots.get_mut(newer)) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        true
    }

    /// Puts a slot that is in no list at its new end.
    fn append(&mut self, slot: usize) {
        let before = self.newest.replace(slot);
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.older = before;
        }
        match before.and_then(|before| self.slots.get_mut(before)) {
            Some(entry) => entry.newer = Some(slot),
            None => self.oldest = Some(slot),
        }
    }
}

/// The address of a slot; `None` past the range.
fn address_of(slot: usize) -> Option<Ipv4Addr> {
    let slot = u32::try_from(slot).ok()?;
    (slot < CAPACITY).then(|| Ipv4Addr::from(FIRST + RESERVED_LOW + slot))
}

/// The slot that an address stands for, issued or not; `None` outside of the issued range.
fn slot_of(address: Ipv4Addr) -> Option<usize> {
    let offset = u32::from(address).checked_sub(FIRST + RESERVED_LOW)?;
    if offset >= CAPACITY {
        return None;
    }
    usize::try_from(offset).ok()
}

#[cfg(test)]
mod tests;
