//! Writes the record: one line per event, chained, on disk before the event is acted on.
//!
//! What cannot be written did not happen: the line is taken back, and whoever asked is refused. Only the
//! ends of what was allowed are kept and written later, because those happened. Not here: the files
//! (`record_writer.rs`), and the rights of directories (`orchestrator`).
//! Clauses: R1, R2, R3

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use policies::audit::{
    Chain, Decision, Event, GapEvent, Header, Lost, RequestEvent, StopEvent, Text, Timestamp,
};
use thiserror::Error;

use crate::metrics::Metrics;
use crate::record_file;
use crate::record_writer::{Begun, Rotation, Writer};

/// Ends of connections that are kept while the disk is full. Past it they become a `gap`.
const MOST_OWED: usize = 20_000; // twice the default of limits.connections

/// The record could not take an event: what it was for must not be done.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the record could not be written")]
pub struct Unrecorded;

/// The record of one run.
#[derive(Debug)]
pub struct Sink {
    inner: Mutex<Inner>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    chain: Chain,
    owed: VecDeque<Event>,
    lost: u64,
    lost_closes: u64,
    tally: Tally,
    refuses: bool,
    metrics: Arc<Metrics>,
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

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    allowed: u64,
    denied: u64,
    packets: u64,
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
        let mut inner = Inner {
            metrics: Arc::clone(&metrics),
            writer,
            chain,
            owed: VecDeque::new(),
            lost: 0,
            lost_closes: 0,
            tally: Tally::default(),
            refuses: false,
        };
        if torn {
            inner.owed.push_back(gap(Lost::Tail, None));
        }
        Ok(Self {
            inner: Mutex::new(inner),
            metrics,
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
        inner.settle()?;
        inner.write(event)
    }

    /// Writes a decision, and gives its number. The event's own `id` is not looked at.
    ///
    /// # Errors
    /// [`Unrecorded`]: the disk's fault; the request must be refused.
    pub fn decision(&self, mut event: RequestEvent) -> Result<u64, Unrecorded> {
        let mut inner = self.lock();
        // A request is known by the number of its own line: unique in the file, also after a restart.
        let written = inner.settle().and_then(|()| {
            event.id = inner.chain.seq() + 1;
            inner.write(&Event::Request(event))
        });
        // Unwritten, it is refused, and counted until it can be told.
        inner.lost += u64::from(written.is_err());
        written.map(|()| inner.chain.seq())
    }

    /// Writes an event that has happened: now, or as soon as the disk takes it.
    pub fn owe(&self, event: Event) {
        let mut inner = self.lock();
        if inner.owed.len() < MOST_OWED {
            inner.owed.push_back(event);
        } else {
            inner.lost_closes += 1;
        }
        drop(inner.settle());
    }

    /// Writes `stop`, and makes sure that all of it is on the disk.
    ///
    /// # Errors
    /// [`Unrecorded`]: the record ends without `stop`.
    pub fn stop(&self, cause: &str) -> Result<(), Unrecorded> {
        let mut inner = self.lock();
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
        drop(inner.settle());
        inner.writer.unsynced()
    }

    /// How the record stands now.
    pub(crate) fn standing(&self) -> Standing {
        let inner = self.lock();
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

impl Inner {
    /// Writes what is owed, oldest first.
    fn settle(&mut self) -> Result<(), Unrecorded> {
        while let Some(event) = self.owed.pop_front() {
            if self.write(&event).is_err() {
                self.owed.push_front(event);
                return Err(Unrecorded);
            }
        }
        if self.lost > 0 {
            self.write(&gap(Lost::Requests, Some(self.lost)))?;
            self.lost = 0;
        }
        if self.lost_closes > 0 {
            self.write(&gap(Lost::Closes, Some(self.lost_closes)))?;
            self.lost_closes = 0;
        }
        Ok(())
    }

    fn write(&mut self, event: &Event) -> Result<(), Unrecorded> {
        let time = Timestamp::from(SystemTime::now());
        let line = self.chain.line(time, event);
        self.refuses = self.writer.append(line).is_err();
        if self.refuses {
            self.chain.undo();
            self.metrics.lost();
            return Err(Unrecorded);
        }
        self.tally.count(event);
        self.metrics.count(event);
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, event: &Event) {
        match event {
            Event::Request(request) if request.decision == Decision::Allow => self.allowed += 1,
            Event::Request(request) => self.denied += request.count,
            Event::Packet(packet) => self.packets += packet.count,
            Event::Close(_)
            | Event::Dns(_)
            | Event::Gap(_)
            | Event::Policy(_)
            | Event::Question(_)
            | Event::Start(_)
            | Event::Stop(_) => {}
        }
    }
}

fn gap(lost: Lost, count: Option<u64>) -> Event {
    Event::Gap(GapEvent { lost, count })
}
