//! Reads a connection's first flight: a ClientHello, or not, and which host it names.
//!
//! rustls parses it; nothing is answered and no key is made. Not here: whether the host is the right one
//! (`Policy::confirm_sni`).
//! Clauses: W4, W8

use std::time::Duration;

use rustls::server::Acceptor;
use thiserror::Error;
use tokio::time::timeout;

use crate::wire::Wire;

/// The first byte of a TLS record that carries a handshake. RFC 8446 section 5.1.
const HANDSHAKE: u8 = 22;

/// What a connection opened with. Its bytes stay in the wire, to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A whole ClientHello, with the name that it gives.
    Hello {
        /// Lower case; `None` where there is none, or it is no name.
        sni: Option<String>,
    },
    /// Something else than TLS.
    Other,
}

/// Why there is no opening.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum PeekError {
    /// It began as TLS and is no ClientHello that we can read.
    #[error("the first flight is not a ClientHello")]
    NotHello,
    /// The client closed, or broke off.
    #[error("the client left before its first flight was whole")]
    Gone,
    /// Too slow, or the server is expected to speak first.
    #[error("the client's first flight did not come in time")]
    TimedOut,
    /// Too long.
    #[error("the client's first flight is too long")]
    TooLarge,
}

/// Reads until the opening is known, within `patience` and `most` bytes.
pub(crate) async fn peek(
    wire: &mut Wire,
    patience: Duration,
    most: usize,
) -> Result<Opening, PeekError> {
    timeout(patience, read(wire, most))
        .await
        .unwrap_or(Err(PeekError::TimedOut))
}

async fn read(wire: &mut Wire, most: usize) -> Result<Opening, PeekError> {
    let mut hello = Hello::new();
    loop {
        if let Some(opening) = hello.feed(wire.ahead())? {
            return Ok(opening);
        }
        if wire.ahead().len() >= most {
            return Err(PeekError::TooLarge);
        }
        if !wire.fill().await.is_ok_and(|count| count > 0) {
            return Err(PeekError::Gone);
        }
    }
}

/// A resumable reading of a first flight.
struct Hello {
    acceptor: Acceptor,
    at: usize,
}

impl Hello {
    fn new() -> Self {
        Self {
            acceptor: Acceptor::default(),
            at: 0,
        }
    }

    /// Goes on through `bytes`, which begin where the connection begins and include what was fed before.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<Opening>, PeekError> {
        if bytes.first().is_some_and(|first| *first != HANDSHAKE) {
            return Ok(Some(Opening::Other));
        }
        while let Some(mut rest @ [_, ..]) = bytes.get(self.at..) {
            let count = self
                .acceptor
                .read_tls(&mut rest)
                .map_err(|_| PeekError::NotHello)?;
            self.at += count;
            if let Some(accepted) = self.acceptor.accept().map_err(|_| PeekError::NotHello)? {
                let sni = accepted.client_hello().server_name().map(str::to_owned);
                return Ok(Some(Opening::Hello { sni }));
            }
            if count == 0 {
                return Err(PeekError::NotHello);
            }
        }
        Ok(None)
    }
}
