//! Writes the record: one line per event, chained, on disk before the event is acted on.
//!
//! What cannot be written did not happen: the line is taken back, and whoever asked is refused. Only the
//! ends of what was allowed are kept and written later, because those happened. The lines of one turn of the event
//! loop are written together: a decision waits until whatever is ready now has decided too
//! (docs/decisions/0013-lines-of-one-turn.md). Not here: the files (`record_writer.rs`), and the rights of directories
//! (`orchestrator`).
//! Clauses: R1, R2, R3

use std::fs::File;
use std::future::poll_fn;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use policies::audit::{
    CloseEvent, Decision, Event, Header, Lost, Outcome, RequestEvent, StopEvent, Text,
};
use thiserror::Error;
use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::record_file;
use crate::record_writer::{Begun, Rotation, Writer};

mod inner;

use inner::{Inner, Tally, Ticket, gap};

/// The record could not take an event: what it was for must not be done.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the record could not be written")]
pub struct Unrecorded;

/// The record of one run.
#[derive(Debug)]
pub struct Sink {
    inner: Mutex<Inner>,
    metrics: Arc<Metrics>,
    /// Ends wait to be written, and no decision of this turn takes them along.
    waits: Notify,
}

/// A decision whose line waits. Dropped, it is written all the same, and told to have led to nothing.
struct Waiting<'a> {
    sink: &'a Sink,
    ticket: Ticket,
    id: u64,
    allows: bool,
    ended: bool,
}

/// How the record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Lines so far.
    pub(crate) lines: u64,
    /// SHA-256 of the last one.
    pub(crate) head: String,
    /// Whether the last line that was tried could not be written: new requests are refused.
    pub(crate) refuses: bool,
    /// Events that happened and wait for room.
    pub(crate) owed: usize,
    /// Requests that were refused because they could not be recorded, since the last that could.
    pub(crate) lost: u64,
}

impl Sink {
    /// Opens a record, or goes on with one that is there.
    ///
    /// # Errors
    /// The file cannot be opened as a plain file of ours, or is no record.
    pub fn open(
        path: &Path,
        header: &Header,
        rotation: Rotation,
    ) -> Result<Self, record_file::OpenError> {
        let Begun {
            writer,
            chain,
            torn,
        } = Writer::open(path, header, rotation)?;
        let metrics = Arc::new(Metrics::default());
        let mut inner = Inner::new(writer, chain, &rotation, Arc::clone(&metrics));
        if torn {
            inner.owed.push_back(gap(Lost::Tail, None));
        }
        Ok(Self {
            inner: Mutex::new(inner),
            metrics,
            waits: Notify::new(),
        })
    }

    /// The counters, which follow what is written.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Writes one event that may also not happen.
    ///
    /// # Errors
    /// [`Unrecorded`]: the disk's fault; the event must not be acted on.
    pub fn record(&self, event: &Event) -> Result<(), Unrecorded> {
        let mut inner = self.lock();
        inner.flush();
        inner.settle()?;
        inner.write(event)
    }

    /// Writes a decision, and gives its number. The event's own `id` is not looked at.
    ///
    /// The decisions that are made until all that is ready has had its turn are written with it.
    ///
    /// # Errors
    /// [`Unrecorded`]: the disk's fault; the request must be refused.
    ///
    /// # Cancel safety
    /// Whoever waits no more for an allowed request's line is told to have abandoned it.
    pub async fn decision(&self, event: RequestEvent) -> Result<u64, Unrecorded> {
        let allows = event.decision == Decision::Allow;
        let (ticket, id) = self.lock().queue_decision(event);
        let mut waiting = Waiting {
            sink: self,
            ticket,
            id,
            allows,
            ended: false,
        };
        turn().await;
        waiting.end()
    }

    /// As [`decision`](Self::decision), but at once.
    ///
    /// # Errors
    /// [`Unrecorded`]: the disk's fault.
    pub fn decision_now(&self, event: RequestEvent) -> Result<u64, Unrecorded> {
        let mut inner = self.lock();
        let (ticket, id) = inner.queue_decision(event);
        inner.flush();
        inner.became(ticket, id)
    }

    /// Writes an event that has happened: with the next decision, at the end of this turn, or as soon as the disk takes it.
    pub fn owe(&self, event: Event) {
        let mut inner = self.lock();
        let alone = inner.batch.events.is_empty();
        inner.queue(event, None);
        if alone {
            self.waits.notify_one();
        }
    }

    /// Writes what waits at the end of each turn; never ends.
    pub async fn serve(&self) {
        loop {
            self.waits.notified().await;
            turn().await;
            self.lock().flush();
        }
    }

    /// Writes `stop`, and makes sure that all of it is on the disk.
    ///
    /// # Errors
    /// [`Unrecorded`]: the record ends without `stop`.
    pub fn stop(&self, cause: &str) -> Result<(), Unrecorded> {
        let mut inner = self.lock();
        inner.flush();
        inner.settle()?;
        let Tally {
            allowed,
            denied,
            packets,
        } = inner.tally;
        inner.write(&Event::Stop(StopEvent {
            cause: Text::new(cause),
            allowed,
            denied,
            packets,
        }))?;
        let files = inner.writer.unsynced();
        files
            .iter()
            .try_for_each(File::sync_data)
            .map_err(|_| Unrecorded)
    }

    /// Tries again what is owed, and hands out the files that hold lines which may not be on the disk yet.
    pub(crate) fn unsynced(&self) -> Vec<File> {
        let mut inner = self.lock();
        inner.flush();
        drop(inner.settle());
        inner.writer.unsynced()
    }

    /// How the record stands now.
    pub(crate) fn standing(&self) -> Standing {
        let mut inner = self.lock();
        inner.flush();
        Standing {
            lines: inner.chain.seq(),
            head: inner.chain.head(),
            refuses: inner.refuses,
            owed: inner.owed.len(),
            lost: inner.lost,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held may have left half a line: the writer knows, and the next line cuts it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// What became of it: written by one of those it waited for, or now.
    fn end(&mut self) -> Result<u64, Unrecorded> {
        self.ended = true;
        let mut inner = self.sink.lock();
        if inner.batch.holds(self.ticket) {
            inner.flush();
        }
        inner.became(self.ticket, self.id)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let (Ok(id), true) = (self.end(), self.allows) {
            self.sink.owe(Event::Close(CloseEvent {
                id,
                outcome: Outcome::Abandoned,
                bytes_up: 0,
                bytes_down: 0,
                duration_ms: 0,
            }));
        }
    }
}

/// Lets everything else run that is ready now.
async fn turn() {
    let mut ran = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut ran, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
