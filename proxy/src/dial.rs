//! Connects to what was judged; the only room that does.
//!
//! Clauses: P7, W8

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use policies::PinnedPermit;
use rustix::io::Errno;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::app::App;

/// A connection, and where it leads.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The origin.
    pub(crate) stream: TcpStream,
    /// One of the permit's addresses.
    pub(crate) address: SocketAddr,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum DialError {
    /// We have no descriptor or no memory left for it.
    #[error("no descriptor or no memory is left")]
    Exhausted,
    /// The origin, or the way to it, refused.
    #[error("the origin refused the connection")]
    Refused,
    /// Nobody answered.
    #[error("the origin did not answer in time")]
    TimedOut,
}

/// Connects to the first of the permit's addresses that answers, one after the other.
pub(crate) async fn connect(permit: &PinnedPermit, app: &App) -> Result<Dialed, DialError> {
    let began = Instant::now();
    let dialed = first(permit, app.limits.connect_timeout).await;
    app.sink.metrics().dial.observe(began.elapsed());
    dialed
}

/// `patience` is for all of them together: each gets an even share of what is left.
async fn first(permit: &PinnedPermit, patience: Duration) -> Result<Dialed, DialError> {
    let deadline = Instant::now() + patience;
    let mut failure = DialError::Refused;
    let mut left = u32::try_from(permit.addresses().len()).unwrap_or(u32::MAX);
    for &address in permit.addresses() {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a small write waits for the other side's acknowledgement; refused, it is only slower.
                stream.set_nodelay(true).ok();
                return Ok(Dialed { stream, address });
            }
            Ok(Err(error)) if exhausted(&error) => return Err(DialError::Exhausted),
            Ok(Err(_)) => {}
            Err(_) => failure = DialError::TimedOut,
        }
    }
    Err(failure)
}

/// Whether an error says that this process, or the machine, has run out.
pub(crate) fn exhausted(error: &io::Error) -> bool {
    let of = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    of(Errno::MFILE) || of(Errno::NFILE) || of(Errno::NOBUFS) || of(Errno::NOMEM)
}
