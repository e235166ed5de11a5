//! Resolves names that a permit allows; the only room that does.
//!
//! A name is asked for absolutely, as A and AAAA, and nothing else ever is. Answers are remembered for as long as they
//! say, within bounds; whoever asks for the same name meanwhile shares one lookup. No answer is judged here: that is
//! `Policy::pin`, which sees all of them.
//!
//! Not here: servers and the hosts file (`upstream`).
//!
//! Clauses: W1, W8.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::{DnsName, Permit, Target};
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::upstream::Upstream;
pub use crate::upstream::{Files, Servers};

/// Names that are remembered; the one remembered first goes first.
const REMEMBERED: usize = 4096; // about 1 MiB
/// Names that are looked up at once; each costs two sockets.
const LOOKUPS: usize = 256;

/// Why a name did not resolve.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// Too many lookups are under way.
    #[error("too many lookups are under way")]
    Busy,
    /// No server answered, or none with an answer that could be used.
    #[error("no resolver gave an answer")]
    Failed,
    /// The name has no address.
    #[error("the name has no address")]
    NotFound,
    /// No server answered in time.
    #[error("no resolver answered in time")]
    TimedOut,
}

/// What a lookup came to, and for how long that holds. A time of zero holds for those who wait already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Result<Arc<[IpAddr]>, ResolveError>,
    pub(crate) holds: Duration,
}

/// Looks names up, and remembers answers for as long as they say.
#[derive(Debug)]
pub struct Resolver {
    upstream: Upstream,
    remembered: Mutex<Remembered>,
    flights: Mutex<HashMap<DnsName, Flight>>,
}

/// One lookup, and all who wait for it. If the one who drives it goes away, the next one starts it again.
type Flight = Arc<OnceCell<Answer>>;

impl Resolver {
    /// A resolver that asks `servers`, and gives each name `timeout` in all.
    #[must_use]
    pub fn new(servers: Servers, files: Files, timeout: Duration) -> Self {
        Self {
            upstream: Upstream::new(servers, files, timeout),
            remembered: Mutex::default(),
            flights: Mutex::default(),
        }
    }

    /// The addresses of an allowed name, in the servers' order; none for a permit that is not resolved.
    ///
    /// # Errors
    /// [`ResolveError`]: the name's servers are at fault, or too many lookups are under way.
    ///
    /// # Cancel safety
    /// Others who wait for the same name are not disturbed.
    pub async fn lookup(&self, permit: &Permit) -> Result<Vec<IpAddr>, ResolveError> {
        match permit.target() {
            Target::Resolve(name) => self.addresses(name).await.map(|found| found.to_vec()),
            Target::Address(_) | Target::SandboxHost => Ok(Vec::new()),
        }
    }

    async fn addresses(&self, name: &DnsName) -> Result<Arc<[IpAddr]>, ResolveError> {
        if let Some(outcome) = self.remembered().get(name, Instant::now()) {
            return outcome;
        }
        let aboard = self.board(name)?;
        let drive = || async {
            let answer = self.upstream.ask(name).await;
            self.remembered().insert(name, &answer, Instant::now());
            answer
        };
        aboard.flight.get_or_init(drive).await.outcome.clone()
    }

    /// Joins the lookup of a name, or begins one.
    fn board(&self, name: &DnsName) -> Result<Aboard<'_>, ResolveError> {
        let mut flights = self.flights();
        if flights.len() >= LOOKUPS && !flights.contains_key(name) {
            return Err(ResolveError::Busy);
        }
        let flight = Arc::clone(flights.entry(name.clone()).or_default());
        Ok(Aboard {
            of: self,
            name: name.clone(),
            flight,
        })
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<DnsName, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a lookup. The last one, or the first after it ended, takes it out of the table.
struct Aboard<'a> {
    of: &'a Resolver,
    name: DnsName,
    flight: Flight,
}

impl Drop for Aboard<'_> {
    fn drop(&mut self) {
        let mut flights = self.of.flights();
        let Some(flight) = flights.get(&self.name) else {
            return;
        };
        // Two of it are the table's and this one's.
        let last = self.flight.initialized() || Arc::strong_count(&self.flight) <= 2;
        if last && Arc::ptr_eq(flight, &self.flight) {
            flights.remove(&self.name);
        }
    }
}

/// What is known without asking.
#[derive(Debug, Default)]
struct Remembered {
    by_name: HashMap<DnsName, Entry>,
    order: VecDeque<DnsName>,
}

#[derive(Debug)]
struct Entry {
    outcome: Result<Arc<[IpAddr]>, ResolveError>,
    until: Instant,
}

impl Remembered {
    fn get(&self, name: &DnsName, now: Instant) -> Option<Result<Arc<[IpAddr]>, ResolveError>> {
        let entry = self.by_name.get(name).filter(|entry| now < entry.until)?;
        Some(entry.outcome.clone())
    }

    fn insert(&mut self, name: &DnsName, answer: &Answer, now: Instant) {
        if answer.holds.is_zero() {
            return;
        }
        let entry = Entry {
            outcome: answer.outcome.clone(),
            until: now + answer.holds,
        };
        if self.by_name.insert(name.clone(), entry).is_some() {
            return; // it keeps its place in the order
        }
        self.order.push_back(name.clone());
        if self.order.len() > REMEMBERED
            && let Some(first) = self.order.pop_front()
        {
            self.by_name.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests;
