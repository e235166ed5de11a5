//! What the record is made of behind its lock: lines that wait, what is owed, and what is lost.
//!
//! Clauses: R1, R2, R3

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use policies::audit::{Chain, Decision, Event, GapEvent, Lost, Mark, RequestEvent, Timestamp};

use super::Unrecorded;
use crate::metrics::Metrics;
use crate::record_writer::{Rotation, Writer};

/// Ends of connections that are kept while the disk is full. Past it they become a `gap`.
const MOST_OWED: usize = 20_000; // twice the default of limits.connections
/// Bytes of lines that are written without waiting for the turn's end: more at once is no cheaper.
const BATCH: usize = 32 * 1024;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) writer: Writer,
    pub(super) chain: Chain,
    pub(super) batch: Batch,
    pub(super) owed: VecDeque<Event>,
    pub(super) lost: u64,
    pub(super) lost_closes: u64,
    pub(super) tally: Tally,
    pub(super) refuses: bool,
    pub(super) metrics: Arc<Metrics>,
}

/// Lines that are written together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lines: Vec<u8>,
    /// They are written when they are longer than this: no file grows past its bound by a batch.
    pub(super) most: usize,
    pub(super) events: Vec<(Event, Option<Ticket>)>,
    /// Where the chain was before them.
    pub(super) before: Mark,
    /// The next decision's.
    pub(super) ticket: Ticket,
    /// What became of the decisions of a batch that could not be written as one.
    pub(super) redone: HashMap<Ticket, Result<u64, Unrecorded>>,
}

/// A decision that waits for its batch.
pub(super) type Ticket = u64;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) packets: u64,
}

impl Batch {
    /// Whether that decision is among these, and not written yet.
    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        let first = self.events.iter().find_map(|(_, ticket)| *ticket);
        first.is_some_and(|first| ticket >= first)
    }
}

impl Inner {
    /// Nothing waits yet.
    pub(super) fn new(
        writer: Writer,
        chain: Chain,
        rotation: &Rotation,
        metrics: Arc<Metrics>,
    ) -> Self {
        let most = usize::try_from(rotation.most_bytes / 2);
        Self {
            batch: Batch {
                lines: Vec::with_capacity(BATCH),
                most: most.map_or(BATCH, |half| half.min(BATCH)),
                events: Vec::new(),
                before: chain.mark(),
                ticket: 0,
                redone: HashMap::new(),
            },
            writer,
            chain,
            owed: VecDeque::new(),
            lost: 0,
            lost_closes: 0,
            tally: Tally::default(),
            refuses: false,
            metrics,
        }
    }

    /// Adds a decision to what is written next; its ticket, and the number that it gets if all goes well.
    pub(super) fn queue_decision(&mut self, mut event: RequestEvent) -> (Ticket, u64) {
        // A request is known by the number of its own line: unique in the file, also after a restart.
        let id = self.chain.seq() + 1;
        event.id = id;
        let ticket = self.batch.ticket;
        self.batch.ticket += 1;
        self.queue(Event::Request(event), Some(ticket));
        (ticket, id)
    }

    pub(super) fn queue(&mut self, event: Event, ticket: Option<Ticket>) {
        if self.batch.events.is_empty() {
            self.batch.before = self.chain.mark();
        }
        let line = self.chain.line(Timestamp::from(SystemTime::now()), &event);
        self.batch.lines.extend_from_slice(line);
        self.batch.events.push((event, ticket));
        // What is owed since the disk was full comes first, and the next line may not fit into this file.
        if self.batch.lines.len() > self.batch.most || self.is_behind() {
            self.flush();
        }
    }

    fn is_behind(&self) -> bool {
        !self.owed.is_empty() || self.lost > 0 || self.lost_closes > 0
    }

    /// What became of a decision that is not in the batch any more.
    pub(super) fn became(&mut self, ticket: Ticket, id: u64) -> Result<u64, Unrecorded> {
        self.batch.redone.remove(&ticket).unwrap_or(Ok(id))
    }

    /// Writes what waits: as one, or else one by one.
    pub(super) fn flush(&mut self) {
        if self.batch.events.is_empty() {
            return;
        }
        if !self.is_behind() && self.writer.append(&self.batch.lines).is_ok() {
            self.refuses = false;
            for (event, _) in self.batch.events.drain(..) {
                self.tally.count(&event);
                self.metrics.count(&event);
            }
        } else {
            self.chain.rewind(self.batch.before);
            for (event, ticket) in std::mem::take(&mut self.batch.events) {
                self.redo(event, ticket);
            }
        }
        self.batch.lines.clear();
    }

    fn redo(&mut self, event: Event, ticket: Option<Ticket>) {
        let (mut event, ticket) = match (event, ticket) {
            (Event::Request(event), Some(ticket)) => (event, ticket),
            (event, _) => {
                if self.owed.len() < MOST_OWED {
                    self.owed.push_back(event);
                } else {
                    self.lost_closes += 1;
                }
                drop(self.settle());
                return;
            }
        };
        let count = event.count;
        let written = self.settle().and_then(|()| {
            event.id = self.chain.seq() + 1;
            self.write(&Event::Request(event))
        });
        // Unwritten, it is refused, and counted until it can be told.
        self.lost += if written.is_err() { count } else { 0 };
        let became = written.map(|()| self.chain.seq());
        self.batch.redone.insert(ticket, became);
    }

    /// Writes what is owed, oldest first.
    pub(super) fn settle(&mut self) -> Result<(), Unrecorded> {
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

    pub(super) fn write(&mut self, event: &Event) -> Result<(), Unrecorded> {
        let mark = self.chain.mark();
        let time = Timestamp::from(SystemTime::now());
        let line = self.chain.line(time, event);
        self.refuses = self.writer.append(line).is_err();
        if self.refuses {
            self.chain.rewind(mark);
            self.metrics.lost();
            return Err(Unrecorded);
        }
        self.tally.count(event);
        self.metrics.count(event);
        Ok(())
    }
}

impl Tally {
    pub(super) fn count(&mut self, event: &Event) {
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

pub(super) fn gap(lost: Lost, count: Option<u64>) -> Event {
    Event::Gap(GapEvent { lost, count })
}
