//! Checking a record, line by line or in pieces of any size, in constant memory.
//!
//! A byte that was changed is named by the line that it stands in. What no reader can see from the record alone is that
//! whole lines are missing at its end: keep [`Verified::head`] elsewhere for that, and look at [`Verified::ended`].
//! Clauses: R3.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::chain::{DIGEST_CLOSE, DIGEST_OPEN, NO_PREV, hex};
use super::line;
use super::{Event, Record};

/// The longest line that is read: far above any that is written (every text in it is bounded).
const MAX_LINE: usize = 1 << 20;
/// A digest with what stands around it.
const DIGEST: usize = DIGEST_OPEN.len() + 64 + DIGEST_CLOSE.len();

/// The first bad line. Shown as `line 3: ...`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BadLine {
    /// Its place in the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not end in a digest, or not in the form that is written.
    #[error("not a line of the record")]
    Form,
    /// It is JSON, and not an event that we know.
    #[error("not an event of the record: {0}")]
    Event(String),
    /// Its bytes are not those that were written.
    #[error("changed: the digest does not fit")]
    Digest,
    /// The line before it is not the one that was written before it.
    #[error("the line before it is another: `prev` does not fit")]
    Prev,
    /// A number is missing, or came twice.
    #[error("number {found} stands where {expected} belongs")]
    Seq {
        /// What should stand there.
        expected: u64,
        /// What does.
        found: u64,
    },
    /// Another sandbox's or run's line, and no `start` came between.
    #[error("from another sandbox or run, without a `start`")]
    Stranger,
    /// The run had ended, and this is no new one.
    #[error("it stands behind the `stop` of the run")]
    AfterStop,
    /// A checkpoint was signed when this line was written, and says another hash: it and what stands before are not what
    /// was there then.
    #[error("not the line that was signed: the record was rewritten")]
    Rewritten,
    /// A checkpoint says that the record went further.
    #[error(
        "the record ends here, and a signed checkpoint says that it went on to number {signed}"
    )]
    Short {
        /// The number of the line that was signed.
        signed: u64,
    },
    /// It has no end.
    #[error("torn: the line has no end")]
    Torn,
    /// It is longer than any line that is written.
    #[error("longer than any line of a record")]
    Long,
    /// There is no line at all.
    #[error("the record is empty")]
    Empty,
}

/// What a whole record came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many lines.
    pub lines: u64,
    /// The number of the first line: 1, unless what was read is a later part of a record.
    pub first: u64,
    /// The number of the last line.
    pub seq: u64,
    /// The hash of the last line; keep it elsewhere to notice a record that was cut short.
    pub head: String,
    /// Whether the last line is `stop`. If not, the run goes on, or it was killed, or the end was cut off.
    pub ended: bool,
}

/// The reader's end of a record.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// Lines of the file that is read.
    place: u64,
    /// Lines of the files before it, and of the last of them that had any.
    before: u64,
    last: u64,
    first: u64,
    begins: Begins,
    seq: u64,
    prev: [u8; 64],
    origin: Option<(String, String)>,
    ended: bool,
    /// Lines that were signed, by number: their hashes.
    signed: BTreeMap<u64, String>,
    /// The beginning of a line whose end was not fed yet.
    partial: Vec<u8>,
}

/// Where a record may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    Anywhere,
    AtTheFirstLine,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// A reader of a record that starts with line 1.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            place: 0,
            before: 0,
            last: 0,
            first: 1,
            begins: Begins::AtTheFirstLine,
            seq: 0,
            prev: NO_PREV,
            origin: None,
            ended: false,
            signed: BTreeMap::new(),
            partial: Vec::new(),
        }
    }

    /// A reader of a file that goes on where another one ended: `seq` is the last number there, `head` its hash.
    #[must_use]
    pub fn after(seq: u64, head: &str) -> Self {
        // What is no hash fits no line.
        let prev = <[u8; 64]>::try_from(head.as_bytes()).unwrap_or([b'-'; 64]);
        Self {
            seq,
            prev,
            ..Self::new()
        }
    }

    /// A reader of a part of a record, whose earlier parts are not at hand: its first line is taken for what it says.
    #[must_use]
    pub const fn of_a_part() -> Self {
        let mut verifier = Self::new();
        verifier.begins = Begins::Anywhere;
        verifier
    }

    /// Somebody signed that line `seq` had this hash: another one there, or none, is a record that was rewritten.
    pub fn expect(&mut self, seq: u64, head: &str) {
        self.signed.insert(seq, head.to_owned());
    }

    /// The record goes on in another file: lines are counted from 1 again, and the chain is the same.
    ///
    /// # Errors
    /// [`BadLine`]: the file before ends in half a line.
    pub fn next_file(&mut self) -> Result<(), BadLine> {
        if !self.partial.is_empty() {
            self.place += 1;
            return Err(self.bad(Fault::Torn));
        }
        if self.place > 0 {
            self.last = std::mem::take(&mut self.place);
            self.before += self.last;
        }
        Ok(())
    }

    /// How many lines were read of all files.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.before + self.place
    }

    /// How many lines were read of the files before this one.
    #[must_use]
    pub const fn lines_before(&self) -> u64 {
        self.before
    }

    /// The number of the last line that was accepted, and its hash.
    #[must_use]
    pub fn head(&self) -> (u64, String) {
        (
            self.seq,
            self.prev.iter().copied().map(char::from).collect(),
        )
    }

    /// Checks the next bytes of a record, wherever they are cut; each whole line is given to `each`.
    ///
    /// # Errors
    /// [`BadLine`]: the record was changed or torn there. Nothing more is to be fed then.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Record)) -> Result<(), BadLine> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            let record = if self.partial.is_empty() {
                self.line(head)?
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(head);
                let record = self.line(&whole)?;
                // The buffer is used again: memory stays what the longest line needs.
                whole.clear();
                self.partial = whole;
                record
            };
            each(record);
            bytes = rest.get(1..).unwrap_or_default();
        }
        if self.partial.len() + bytes.len() > MAX_LINE {
            self.place += 1;
            return Err(self.bad(Fault::Long));
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Checks the next line, given without its newline.
    ///
    /// # Errors
    /// [`BadLine`]: the record was changed or torn there.
    pub fn line(&mut self, line: &[u8]) -> Result<Record, BadLine> {
        self.place += 1;
        self.check(line).map_err(|fault| self.bad(fault))
    }

    fn check(&mut self, line: &[u8]) -> Result<Record, Fault> {
        if line.len() > MAX_LINE {
            return Err(Fault::Long);
        }
        let covered = line.len().checked_sub(DIGEST).ok_or(Fault::Form)?;
        let (body, tail) = line.split_at_checked(covered).ok_or(Fault::Form)?;
        let digest = tail
            .strip_prefix(DIGEST_OPEN)
            .and_then(|rest| rest.strip_suffix(DIGEST_CLOSE));
        let digest = digest.ok_or(Fault::Form)?;
        let mut hash = Sha256::new_with_prefix(body);
        if digest != hex(&hash.clone().finalize().into()) {
            return Err(Fault::Digest);
        }
        hash.update(tail);
        let (record, prev) = line::parse(line)?;
        self.follow(&record, &prev)?;
        let head = hex(&hash.finalize().into());
        if let Some(signed) = self.signed.remove(&record.seq)
            && signed.as_bytes() != head
        {
            return Err(Fault::Rewritten);
        }
        self.prev = head;
        self.seq = record.seq;
        self.ended = matches!(record.event, Event::Stop(_));
        Ok(record)
    }

    /// Whether a line that is whole in itself belongs here.
    fn follow(&mut self, record: &Record, prev: &str) -> Result<(), Fault> {
        if self.lines() == 1 && self.begins == Begins::Anywhere {
            self.first = record.seq;
            self.seq = record.seq.saturating_sub(1);
            self.signed = self.signed.split_off(&record.seq);
            // What is no hash fits no line.
            self.prev = <[u8; 64]>::try_from(prev.as_bytes()).unwrap_or([b'-'; 64]);
        }
        let (expected, found) = (self.seq + 1, record.seq);
        if found != expected {
            return Err(Fault::Seq { expected, found });
        }
        if prev.as_bytes() != self.prev {
            return Err(Fault::Prev);
        }
        // A proxy that is started again goes on in the same file: a new run, and it says so. If it found half a line
        // there, it says that first.
        if matches!(record.event, Event::Start(_) | Event::Gap(_)) {
            self.origin = None;
        } else if self.ended {
            return Err(Fault::AfterStop);
        }
        match &self.origin {
            None => self.origin = Some((record.sandbox.clone(), record.run.clone())),
            Some((sandbox, run)) if *sandbox == record.sandbox && *run == record.run => {}
            Some(_) => return Err(Fault::Stranger),
        }
        Ok(())
    }

    const fn bad(&self, fault: Fault) -> BadLine {
        BadLine {
            line: self.place,
            fault,
        }
    }

    /// What the record came to.
    ///
    /// # Errors
    /// [`BadLine`] if the last line has no end, or if there was no line at all.
    pub fn finish(mut self) -> Result<Verified, BadLine> {
        self.next_file()?;
        if self.before == 0 {
            return Err(BadLine {
                line: 1,
                fault: Fault::Empty,
            });
        }
        if let Some((signed, _)) = self.signed.last_key_value() {
            return Err(BadLine {
                line: self.last,
                fault: Fault::Short { signed: *signed },
            });
        }
        let (seq, head) = self.head();
        Ok(Verified {
            lines: self.before,
            first: self.first,
            seq,
            head,
            ended: self.ended,
        })
    }
}

#[cfg(test)]
mod tests;
