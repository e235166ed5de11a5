//! Reads a connection's first flight: a ClientHello, or not, and which host it names.
//!
//! rustls parses it; nothing is answered and no key is made. Not here: whether the host is the right one
//! (`Policy::confirm_sni`), and whether it is named so that all read the same (`server_name.rs`).
//! Clauses: W4, W8

use std::time::Duration;

use rustls::server::Acceptor;
use thiserror::Error;
use tokio::time::timeout;

use crate::server_name;
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
pub(crate) struct Hello {
    acceptor: Acceptor,
    at: usize,
}

impl Hello {
    pub(crate) fn new() -> Self {
        Self {
            acceptor: Acceptor::default(),
            at: 0,
        }
    }

    /// Goes on through `bytes`, which begin where the connection begins and include what was fed before.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Opening>, PeekError> {
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
                if !server_name::is_plain(bytes) {
                    return Err(PeekError::NotHello);
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The least ClientHello for `ok.test`: one cipher suite, one group, one algorithm.
    fn hello() -> Vec<u8> {
        let name = b"\x00\x00\x00\x0c\x00\x0a\x00\x00\x07ok.test";
        let algorithms = b"\x00\x0d\x00\x04\x00\x02\x04\x03";
        let groups = b"\x00\x0a\x00\x04\x00\x02\x00\x1d";
        let extensions = [&name[..], algorithms, groups].concat();
        let length = u8::try_from(extensions.len()).unwrap();
        let ciphers = b"\x00\x02\xc0\x2f\x01\x00\x00";
        let body = [
            &b"\x03\x03"[..],
            &[7; 32],
            b"\x00",
            ciphers,
            &[length],
            &extensions,
        ]
        .concat();
        let size = |more: usize| u8::try_from(body.len() + more).unwrap();
        [&[22, 3, 1, 0, size(4), 1, 0, 0, size(0)][..], &body].concat()
    }

    fn named() -> Opening {
        Opening::Hello {
            sni: Some("ok.test".to_owned()),
        }
    }

    #[test]
    fn every_prefix_of_a_hello_wants_more_and_the_whole_names_its_host() {
        let hello = hello();
        for end in 0..hello.len() {
            assert_eq!(Hello::new().feed(&hello[..end]), Ok(None), "{end}");
        }
        assert_eq!(Hello::new().feed(&hello), Ok(Some(named())));
    }

    #[test]
    fn a_hello_read_in_two_pieces_cut_anywhere_is_the_same() {
        let hello = hello();
        for cut in 0..hello.len() {
            let mut reading = Hello::new();
            assert_eq!(reading.feed(&hello[..cut]), Ok(None), "{cut}");
            assert_eq!(reading.feed(&hello), Ok(Some(named())), "{cut}");
        }
    }

    /// What fuzzing found (`fuzz/src/client_hello.rs`): rustls stops at a type of name that it does not know, others go on.
    #[test]
    fn a_hello_with_a_second_name_behind_an_unknown_one_is_none() {
        let list = b"\x00\x00\x07ok.test\x0d\x00\x00\x00\x00\x09evil.test";
        let name = [b"\x00\x00\x00\x1b\x00\x19", &list[..]].concat();
        let extensions = [&name[..], b"\x00\x0d\x00\x04\x00\x02\x04\x03"].concat();
        let length = u8::try_from(extensions.len()).unwrap();
        let rest = b"\x00\x00\x02\xc0\x2f\x01\x00\x00";
        let body = [&b"\x03\x03"[..], &[7; 32], rest, &[length], &extensions].concat();
        let size = |more: usize| u8::try_from(body.len() + more).unwrap();
        let hello = [&[22, 3, 1, 0, size(4), 1, 0, 0, size(0)][..], &body].concat();
        assert_eq!(Hello::new().feed(&hello), Err(PeekError::NotHello));
    }

    #[test]
    fn what_follows_a_hello_is_left_alone() {
        let bytes = [&hello()[..], b"early data, or anything"].concat();
        assert_eq!(Hello::new().feed(&bytes), Ok(Some(named())));
    }

    #[test]
    fn a_changed_byte_of_the_name_is_another_name_or_no_hello() {
        let hello = hello();
        let name = hello.windows(7).position(|it| it == b"ok.test").unwrap();
        for at in 0..hello.len() {
            let mut changed = hello.clone();
            changed[at] ^= 1;
            let read = Hello::new().feed(&changed);
            if (name..name + 7).contains(&at) {
                assert_ne!(read, Ok(Some(named())), "{at}");
            }
        }
    }

    #[test]
    fn another_first_byte_is_another_protocol() {
        for first in (0..=255_u8).filter(|first| *first != HANDSHAKE) {
            assert_eq!(
                Hello::new().feed(&[first]),
                Ok(Some(Opening::Other)),
                "{first}"
            );
        }
    }
}
