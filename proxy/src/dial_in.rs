//! Connections into the agent's namespace, for published ports only: asks `ocs-netctl`, which is inside, and takes the
//! connected socket from its answer.
//!
//! The contract is `docs/architecture.md`, "How listeners cross". Not here: which ports are published, and the relaying
//! (`publish`).
//!
//! Clauses: N9, W8.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::sockets::{SocketsError, read_message, watch};

/// Why there is no connection to a published port.
#[derive(Debug, thiserror::Error)]
pub enum DialInError {
    /// The channel failed, or ended: `ocs-netctl` is gone.
    #[error("the channel to ocs-netctl is gone")]
    Gone,
    /// Nothing listens there, says `ocs-netctl`.
    #[error("refused inside the sandbox: {0}")]
    Refused(String),
    /// No answer in time.
    #[error("no answer from ocs-netctl in time")]
    Timeout,
    /// The answer holds something that is not one connected TCP socket.
    #[error("ocs-netctl answered with something that is not a connection")]
    NotAConnection,
}

#[derive(Serialize)]
struct DialMessage {
    v: u32,
    kind: &'static str,
    id: u64,
    port: u16,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum DialAnswer {
    Dialled { v: u32, id: u64 },
    Refused { v: u32, id: u64, error: String },
}

type Answer = Result<OwnedFd, DialInError>;

/// The channel to `ocs-netctl` after the hand-over: asks for connections to ports inside the namespace.
#[derive(Debug)]
pub struct DialIn {
    channel: AsyncFd<OwnedFd>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    ended: bool,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
}

impl DialIn {
    /// Takes the channel that `sockets::receive` read the sockets from. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub fn new(channel: OwnedFd) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            channel: watch(channel)?,
            waiting: Mutex::default(),
        }))
    }

    /// Reads answers until the channel ends; then every one who waits, and who comes later, is told that it is gone.
    pub async fn run(&self) {
        while let Ok((bytes, descriptors)) = self.read().await {
            self.answer(&bytes, descriptors);
        }
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.answers.clear();
    }

    /// A connection to 127.0.0.1:`port` inside the namespace.
    ///
    /// # Errors
    /// [`DialInError`], each variant its cause.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up: an answer that comes late is closed.
    pub async fn connect(&self, port: u16, limit: Duration) -> Result<TcpStream, DialInError> {
        let (id, answer) = self.enlist()?;
        let _leave = Leave { of: self, id };
        let asked = async {
            self.ask(id, port).await?;
            answer.await.unwrap_or(Err(DialInError::Gone))
        };
        let fd = tokio::time::timeout(limit, asked)
            .await
            .unwrap_or(Err(DialInError::Timeout))?;
        let connected: std::net::TcpStream = fd.into();
        connected
            .set_nonblocking(true)
            .map_err(|_| DialInError::NotAConnection)?;
        TcpStream::from_std(connected).map_err(|_| DialInError::NotAConnection)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enlist(&self) -> Result<(u64, oneshot::Receiver<Answer>), DialInError> {
        let (tell, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err(DialInError::Gone);
        }
        waiting.last += 1;
        let id = waiting.last;
        waiting.answers.insert(id, tell);
        Ok((id, answer))
    }

    async fn ask(&self, id: u64, port: u16) -> Result<(), DialInError> {
        let message = DialMessage {
            v: 1,
            kind: "dial",
            id,
            port,
        };
        let bytes = serde_json::to_vec(&message).map_err(|_| DialInError::Gone)?;
        self.channel
            .async_io(tokio::io::Interest::WRITABLE, |fd| {
                rustix::net::send(fd, &bytes, SendFlags::NOSIGNAL).map_err(io::Error::from)
            })
            .await
            .map(drop)
            .map_err(|_| DialInError::Gone)
    }

    async fn read(&self) -> Result<(Vec<u8>, Vec<OwnedFd>), SocketsError> {
        loop {
            let mut ready = self.channel.readable().await?;
            match read_message(self.channel.get_ref().as_fd(), RecvFlags::empty()) {
                Err(SocketsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                }
                other => return other,
            }
        }
    }

    /// Hands an answer to the one who waits for it; nobody waits: the descriptors close here.
    fn answer(&self, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        let (id, answer) = match serde_json::from_slice(bytes) {
            Ok(DialAnswer::Dialled { v: 1, id }) => (id, connection(descriptors)),
            Ok(DialAnswer::Refused { v: 1, id, error }) => (id, Err(DialInError::Refused(error))),
            Ok(DialAnswer::Dialled { .. } | DialAnswer::Refused { .. }) | Err(_) => {
                tracing::warn!("a message from ocs-netctl was not understood");
                return;
            }
        };
        if let Some(tell) = self.waiting().answers.remove(&id) {
            drop(tell.send(answer)); // the asker may have left: then the connection closes here
        }
    }
}

/// Whoever stops waiting is forgotten, so that the table holds only those who wait.
struct Leave<'a> {
    of: &'a DialIn,
    id: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.of.waiting().answers.remove(&self.id);
    }
}

fn connection(descriptors: Vec<OwnedFd>) -> Answer {
    let [fd] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| DialInError::NotAConnection)?;
    let stream = sockopt::socket_type(&fd).is_ok_and(|kind| kind == SocketType::STREAM)
        && sockopt::socket_domain(&fd)
            .is_ok_and(|family| family == AddressFamily::INET || family == AddressFamily::INET6)
        && rustix::net::getpeername(&fd).is_ok_and(|peer| peer.is_some());
    if stream {
        Ok(fd)
    } else {
        Err(DialInError::NotAConnection)
    }
}

#[cfg(test)]
mod tests;
