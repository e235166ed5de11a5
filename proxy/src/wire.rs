//! One side of a connection: its socket, and the bytes that were read and not yet used.
//!
//! Not here: what the bytes mean (head.rs, chunked.rs, `client_hello.rs`).
//! Clauses: W8

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::scratch;

/// A socket and what was read ahead from it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    ahead: Ahead,
}

/// Bytes that were read and not yet used. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    from: usize,
}

impl Wire {
    /// A socket from which nothing was read yet.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            ahead: Ahead::default(),
        }
    }

    /// What was read ahead.
    pub(crate) fn ahead(&self) -> &[u8] {
        self.ahead.bytes()
    }

    /// Takes `count` bytes of what was read ahead as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.ahead.consume(count);
    }

    /// Reads once, and appends to what was read ahead. Zero is the end of the stream.
    ///
    /// # Errors
    /// The socket's own.
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are either still in the socket or in what was read ahead.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        let (mut read, _) = self.stream.split();
        let ahead = &mut self.ahead;
        poll_fn(|cx| ahead.poll_fill(cx, &mut read)).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The socket's own.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The reading half with what was read ahead, and the writing half.
    pub(crate) fn split(&mut self) -> (Reader<'_>, WriteHalf<'_>) {
        let (half, write) = self.stream.split();
        (
            Reader {
                half,
                ahead: &mut self.ahead,
            },
            write,
        )
    }

    /// Whether nothing came since the last read: no byte, no end, no error.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        // Where the kernel announced nothing, nothing is asked.
        let peeked = self.stream.try_io(Interest::READABLE, || {
            SockRef::from(&self.stream).peek(&mut byte)
        });
        self.ahead().is_empty()
            && peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The socket alone.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket, and what was read ahead from it.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.ahead.into_bytes())
    }
}

impl Ahead {
    /// What is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    /// Takes the first `count` bytes away.
    pub(crate) fn consume(&mut self, count: usize) {
        self.from += count;
        if self.from >= self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Used bytes go first: a client that always has half a request under way would otherwise never give them back.
    fn append(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.from);
        self.from = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.from);
        self.bytes
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        half: &mut ReadHalf<'_>,
    ) -> Poll<io::Result<usize>> {
        scratch::lend(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(half).poll_read(cx, &mut read))?;
            self.append(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    }
}

/// The reading half of a [`Wire`].
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    half: ReadHalf<'a>,
    ahead: &'a mut Ahead,
}

impl<'a> Reader<'a> {
    /// What was read ahead.
    pub(crate) fn ahead(&mut self) -> &mut Ahead {
        self.ahead
    }

    /// As [`Wire::fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead.poll_fill(cx, &mut self.half)
    }

    /// The socket's half, for what was not read ahead.
    pub(crate) fn half(&mut self) -> &mut ReadHalf<'a> {
        &mut self.half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_used_in_order_and_given_back_when_empty() {
        let mut ahead = Ahead::default();
        ahead.append(b"hello");
        ahead.consume(2);
        assert_eq!(ahead.bytes(), b"llo");
        ahead.append(b" world");
        assert_eq!(ahead.bytes(), b"llo world");
        ahead.consume(9);
        assert_eq!((ahead.bytes(), ahead.bytes.capacity()), (&b""[..], 0));
    }

    #[test]
    fn used_bytes_do_not_pile_up_while_some_are_left() {
        let mut ahead = Ahead::default();
        ahead.append(&[0; 100]);
        for _ in 0..10_000 {
            ahead.consume(99);
            ahead.append(&[0; 99]);
            assert_eq!(ahead.bytes.len(), 100);
        }
    }
}
