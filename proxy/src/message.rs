//! Carries one message, head and body, from one side to the other, and ends exactly where it ends.
//!
//! Chunked bodies are read strictly and written anew, without extensions and trailers. Not here: what
//! the head says (`headers.rs`, `framing.rs`).
//! Clauses: W2, W8

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::tcp::WriteHalf;

use crate::chunked::{ChunkError, Chunked, Step};
use crate::flow::{Fault, Flow, FlowEnd, Until};
use crate::framing::Framing;
use crate::wire::{Ahead, Reader};

/// How a chunked body leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// In chunks of ours.
    Chunks,
    /// Bare, for a receiver that knows no chunks: the end is the close.
    Plain,
}

/// Why a message did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageError {
    /// The sender closed, or broke off, before the end.
    From,
    /// The sender's chunks are malformed.
    Malformed,
    /// The receiver broke off.
    To,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) enum Message {
    /// In chunks.
    Chunked(Rewrite),
    /// Of a known length, or until the close.
    Flow(Flow),
}

/// A chunked body that is read and written anew.
#[derive(Debug)]
pub(crate) struct Rewrite {
    chunked: Chunked,
    coding: Coding,
    out: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Message {
    /// A message of `head` and what of its body was read ahead already.
    ///
    /// # Errors
    /// [`ChunkError`]: the sender's chunks are malformed, as far as they came.
    pub(crate) fn new(
        mut head: Vec<u8>,
        framing: Framing,
        coding: Coding,
        ahead: &mut Ahead,
    ) -> Result<Self, ChunkError> {
        let length = match framing {
            Framing::Chunked => {
                let mut rewrite = Rewrite {
                    chunked: Chunked::new(),
                    coding,
                    out: head,
                    written: 0,
                    ended: false,
                };
                rewrite.advance(ahead)?;
                return Ok(Self::Chunked(rewrite));
            }
            Framing::Close => None,
            Framing::Length(length) => Some(length),
            Framing::None => Some(0),
        };
        let there = ahead.bytes();
        let most = length.map_or(there.len(), |length| {
            usize::try_from(length).map_or(there.len(), |length| length.min(there.len()))
        });
        head.extend_from_slice(there.get(..most).unwrap_or_default());
        ahead.consume(most);
        let until = match length {
            Some(length) => Until::Length(length.saturating_sub(most as u64)),
            None => Until::Ended,
        };
        Ok(Self::Flow(Flow::new(head, until)))
    }

    /// Whether all of it was read; nothing after it belongs to it.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Self::Chunked(rewrite) => rewrite.ended,
            Self::Flow(flow) => flow.is_read(),
        }
    }

    /// Moves what can be moved now.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader<'_>,
        to: &mut WriteHalf<'_>,
        moved: &AtomicU64,
    ) -> Poll<Result<(), MessageError>> {
        match self {
            Self::Chunked(rewrite) => rewrite.poll(cx, from, to, moved),
            Self::Flow(flow) => Poll::Ready(match ready!(flow.poll(cx, from.half(), to, moved)) {
                Ok(FlowEnd::Complete) => Ok(()),
                Ok(FlowEnd::Short) | Err(Fault::From) => Err(MessageError::From),
                Err(Fault::To) => Err(MessageError::To),
            }),
        }
    }
}

impl Rewrite {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader<'_>,
        to: &mut WriteHalf<'_>,
        moved: &AtomicU64,
    ) -> Poll<Result<(), MessageError>> {
        loop {
            while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, rest));
                let count = written.map_err(|_| MessageError::To)?;
                self.written += count;
                moved.fetch_add(count as u64, Ordering::Relaxed);
            }
            (self.out, self.written) = (Vec::new(), 0);
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(from.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(MessageError::From)),
                Ok(_) => self
                    .advance(from.ahead())
                    .map_err(|_| MessageError::Malformed)?,
            }
        }
    }

    /// Reads what is there, and puts its data into `out`.
    fn advance(&mut self, ahead: &mut Ahead) -> Result<(), ChunkError> {
        let mut at = 0;
        loop {
            match self.chunked.step(ahead.bytes(), at)? {
                Step::Data(from, to) => {
                    let data = ahead.bytes().get(from..to).unwrap_or_default();
                    if self.coding == Coding::Chunks {
                        self.out
                            .extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    }
                    self.out.extend_from_slice(data);
                    if self.coding == Coding::Chunks {
                        self.out.extend_from_slice(b"\r\n");
                    }
                    at = to;
                }
                Step::End(end) => {
                    if self.coding == Coding::Chunks {
                        self.out.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.ended = true;
                    ahead.consume(end);
                    return Ok(());
                }
                Step::More => {
                    ahead.consume(ahead.bytes().len());
                    return Ok(());
                }
            }
        }
    }
}
