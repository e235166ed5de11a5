//! Resolves names that a permit allows; the only room that does.
//!
//! Clauses: W1

use std::net::IpAddr;

use policies::Permit;
use thiserror::Error;

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

/// Looks names up, and remembers answers for as long as they say.
#[derive(Debug)]
pub struct Resolver {}

impl Resolver {
    /// The addresses of an allowed name, in the servers' order; none for a permit that is not resolved.
    ///
    /// # Errors
    /// [`ResolveError`]: the name's servers are at fault, or too many lookups are under way.
    #[expect(clippy::unused_async, reason = "nothing is resolved yet")]
    pub async fn lookup(&self, _permit: &Permit) -> Result<Vec<IpAddr>, ResolveError> {
        Err(ResolveError::Failed)
    }
}
