//! One direction of a connection: bytes from one socket to another, until an end that was agreed.
//!
//! Driven by readiness, and owning no buffer while nothing is in the way: what cannot be written
//! at once is held; a flow that keeps its buffer full moves inside the kernel, by splice(2).
//!
//! Not here: two directions together (relay.rs), bodies in chunks (body.rs).
//! Clauses: W8

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::pipes::Loan;
use crate::scratch;

/// Reads in a row that filled the whole buffer before a pipe is borrowed.
const FULL_READS: u8 = 2; // 128 KiB at once: most answers are smaller, and never cost a pipe
/// Bytes between two waits that keep a flow on its pipe: below it two calls of splice(2) cost more than to copy.
const BURST: u64 = 16 * 1024;

/// Whose fault the end of a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Reading failed.
    From,
    /// Writing failed.
    To,
}

/// How a flow ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowEnd {
    /// As agreed.
    Complete,
    /// The sender closed before the agreed length.
    Short,
}

/// What ends a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The sender's close, which is passed on.
    Closed,
    /// The sender's close, which is not passed on.
    Ended,
    /// So many bytes.
    Length(u64),
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Flow {
    held: Vec<u8>,
    written: usize,
    loan: Option<Loan>,
    until: Until,
    phase: Phase,
    full: u8,
    bulk: bool,
    burst: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Ending(FlowEnd),
    Ended(FlowEnd),
}

impl Flow {
    /// A flow that writes `held` first, and then reads until `until`, which does not count `held`.
    pub(crate) fn new(held: Vec<u8>, until: Until) -> Self {
        let phase = match until {
            Until::Length(0) => Phase::Ending(FlowEnd::Complete),
            Until::Length(_) | Until::Closed | Until::Ended => Phase::Open,
        };
        Self {
            held,
            written: 0,
            loan: None,
            until,
            phase,
            full: 0,
            bulk: false,
            burst: 0,
        }
    }

    /// The receiver is closed when this ends: its end is told by that, not by a call more.
    pub(crate) fn ends_with_receiver(&mut self) {
        if self.until == Until::Closed {
            self.until = Until::Ended;
        }
    }

    /// Whether all was read that belongs to it.
    pub(crate) fn is_read(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Moves what can be moved now. `moved` grows by what was written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        moved: &AtomicU64,
    ) -> Poll<Result<FlowEnd, Fault>> {
        loop {
            ready!(self.poll_flush(cx, to, moved)).map_err(|_| Fault::To)?;
            match self.phase {
                Phase::Ended(end) => return Poll::Ready(Ok(end)),
                Phase::Ending(end) => {
                    if self.until == Until::Closed {
                        ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Fault::To)?;
                    }
                    self.phase = Phase::Ended(end);
                }
                Phase::Open if self.bulk => ready!(self.poll_draw(cx, from.as_ref()))?,
                Phase::Open => ready!(self.poll_copy(cx, from, to, moved))?,
            }
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut WriteHalf<'_>,
        moved: &AtomicU64,
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.held.get(self.written..) {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            self.written += count;
            moved.fetch_add(count as u64, Ordering::Relaxed);
        }
        if self.written > 0 {
            (self.held, self.written) = (Vec::new(), 0);
        }
        let stream: &TcpStream = to.as_ref();
        while let Some(loan) = self.loan.as_mut().filter(|loan| loan.inside() > 0) {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_io(Interest::WRITABLE, || loan.pour(stream.as_fd())) {
                Ok(count) => {
                    moved.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        moved: &AtomicU64,
    ) -> Poll<Result<(), Fault>> {
        scratch::lend(|buffer| {
            let room = self.most(buffer.len());
            let mut read = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(|_| Fault::From)?;
            let bytes = read.filled();
            if bytes.is_empty() {
                self.end_of_stream();
                return Poll::Ready(Ok(()));
            }
            self.full = if bytes.len() == room {
                self.full.saturating_add(1)
            } else {
                0
            };
            self.bulk = self.full >= FULL_READS;
            self.count(bytes.len() as u64);
            let written = match Pin::new(to).poll_write(cx, bytes) {
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::To)),
                Poll::Pending => 0,
            };
            moved.fetch_add(written as u64, Ordering::Relaxed);
            if let Some(rest @ [_, ..]) = bytes.get(written..) {
                self.held = rest.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Fills the empty pipe. When there is nothing to read the pipe goes back before the wait.
    fn poll_draw(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<Result<(), Fault>> {
        if from
            .poll_read_ready(cx)
            .map_err(|_| Fault::From)?
            .is_pending()
        {
            self.rest();
            return Poll::Pending;
        }
        let most = self.most(usize::MAX);
        let Some(loan) = self.loan.take().or_else(Loan::take) else {
            (self.bulk, self.full) = (false, 0);
            return Poll::Ready(Ok(()));
        };
        let loan = self.loan.insert(loan);
        match from.try_io(Interest::READABLE, || loan.draw(from.as_fd(), most)) {
            Ok(0) => self.end_of_stream(),
            Ok(count) => {
                self.burst += count as u64;
                self.count(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(Err(Fault::From)),
        }
        Poll::Ready(Ok(()))
    }

    fn rest(&mut self) {
        self.loan = None;
        if self.burst < BURST {
            (self.bulk, self.full) = (false, 0);
        }
        self.burst = 0;
    }

    /// How much may be read, so that nothing past the agreed end is.
    fn most(&self, room: usize) -> usize {
        match self.until {
            Until::Length(left) => usize::try_from(left).map_or(room, |left| left.min(room)),
            Until::Closed | Until::Ended => room,
        }
    }

    fn count(&mut self, read: u64) {
        if let Until::Length(left) = &mut self.until {
            *left = left.saturating_sub(read);
            if *left == 0 {
                self.phase = Phase::Ending(FlowEnd::Complete);
            }
        }
    }

    fn end_of_stream(&mut self) {
        self.loan = None;
        self.phase = Phase::Ending(match self.until {
            Until::Length(_) => FlowEnd::Short,
            Until::Closed | Until::Ended => FlowEnd::Complete,
        });
    }
}
