//! Writing lines: common fields, the event, and the hashes that bind each line to the one before.
//!
//! A line is `{"v":1,"seq":N,"prev":"..","time":"..","sandbox":"..","run":"..","event":"..", .. ,"digest":".."}`.
//! `prev` is SHA-256 of the whole previous line without its newline. `digest` is SHA-256 of this line up to the comma
//! in front of it, so that the last line is covered as well, and a changed byte is named by its own line.
//! Clauses: R3, R4.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use sha2::{Digest, Sha256};

use super::{Event, Timestamp, encode};

/// The version of the line's form.
pub(super) const VERSION: u64 = 1;
/// `prev` of the first line.
pub(super) const NO_PREV: [u8; 64] = [b'0'; 64];
/// Stands between what the digest covers and the digest.
pub(super) const DIGEST_OPEN: &[u8] = b",\"digest\":\"";
/// Ends a line.
pub(super) const DIGEST_CLOSE: &[u8] = b"\"}";
/// Room for a usual line, so that the buffer grows once.
const LINE: usize = 1024;

/// What every line of one record has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The sandbox's id.
    pub sandbox: String,
    /// The run's id.
    pub run: String,
}

/// The writer's end of a record: the next number, the last hash, and a buffer that is used again and again.
#[derive(Debug)]
pub struct Chain {
    /// `,"sandbox":"..","run":"..",`, ready to copy.
    common: Vec<u8>,
    line: Vec<u8>,
    seq: u64,
    prev: [u8; 64],
}

/// A place in a chain: how many lines were there, and the hash of the last.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    seq: u64,
    prev: [u8; 64],
}

impl Chain {
    /// A chain whose first line is number 1.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let mut common = Vec::new();
        common.extend_from_slice(b",\"sandbox\":");
        append(&mut common, &header.sandbox);
        common.extend_from_slice(b",\"run\":");
        append(&mut common, &header.run);
        common.push(b',');
        Self {
            common,
            line: Vec::with_capacity(LINE),
            seq: 0,
            prev: NO_PREV,
        }
    }

    /// A chain that goes on after the last line of a record, given without its newline; `None` if it is no such line.
    #[must_use]
    pub fn after(header: &Header, last: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(last).ok()?;
        let seq = value.get("seq")?.as_u64()?;
        let prev = hex(&Sha256::digest(last).into());
        Some(Self {
            seq,
            prev,
            ..Self::new(header)
        })
    }

    /// The place that the next line begins at.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark {
            seq: self.seq,
            prev: self.prev,
        }
    }

    /// Takes the lines since `mark` back, which could not be written: the next one gets the number of the first of them.
    pub const fn rewind(&mut self, mark: Mark) {
        (self.seq, self.prev) = (mark.seq, mark.prev);
    }

    /// The next line, newline included. It counts as written: if it cannot be, the record ends here.
    pub fn line(&mut self, time: Timestamp, event: &Event) -> &[u8] {
        self.seq += 1;
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"v\":");
        encode::number(line, VERSION);
        line.extend_from_slice(b",\"seq\":");
        encode::number(line, self.seq);
        line.extend_from_slice(b",\"prev\":\"");
        line.extend_from_slice(&self.prev);
        line.extend_from_slice(b"\",\"time\":\"");
        line.extend_from_slice(&time.text());
        line.push(b'"');
        line.extend_from_slice(&self.common);
        encode::event(line, event);
        let mut hash = Sha256::new_with_prefix(&line);
        let digest = hex(&hash.clone().finalize().into());
        let covered = line.len();
        line.extend_from_slice(DIGEST_OPEN);
        line.extend_from_slice(&digest);
        line.extend_from_slice(DIGEST_CLOSE);
        hash.update(line.get(covered..).unwrap_or_default());
        self.prev = hex(&hash.finalize().into());
        line.push(b'\n');
        line
    }

    /// How many lines there are.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The hash of the last line: what `prev` of the next one will be.
    #[must_use]
    pub fn head(&self) -> String {
        self.prev.iter().copied().map(char::from).collect()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    // No table and no branch: the compiler does sixteen at once.
    let digit = |value: u8| value + b'0' + u8::from(value > 9) * (b'a' - b'9' - 1);
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
    }
    out
}

/// Appends a value as ASCII JSON. Our own values, written to memory: neither can fail.
pub(super) fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let mut serializer = serde_json::Serializer::with_formatter(out, Ascii);
    drop(value.serialize(&mut serializer));
}

/// The compact form of `serde_json`, with everything that is not printable ASCII escaped: no reader, terminal or editor of a
/// record is fed a control, bidirectional or look-alike character.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        for char in fragment.chars() {
            if char.is_ascii() && char != '\u{7f}' {
                writer.write_all(char.encode_utf8(&mut [0; 4]).as_bytes())?;
                continue;
            }
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod resume_tests {
    use super::*;
    use crate::audit::{CloseEvent, Outcome};

    fn event(id: u64) -> Event {
        Event::Close(CloseEvent {
            id,
            outcome: Outcome::Done,
            bytes_up: 1,
            bytes_down: 2,
            duration_ms: 3,
        })
    }

    fn header() -> Header {
        Header {
            sandbox: "box".into(),
            run: "run".into(),
        }
    }

    #[test]
    fn lines_taken_back_leave_no_trace() {
        let time = Timestamp::from_unix_millis(7);
        let (mut straight, mut other) = (Chain::new(&header()), Chain::new(&header()));
        straight.line(time, &event(1));
        other.line(time, &event(1));
        let mark = other.mark();
        other.line(time, &event(2));
        other.line(time, &event(3));
        other.rewind(mark);
        assert_eq!(
            (other.seq(), other.head()),
            (straight.seq(), straight.head())
        );
        assert_eq!(
            other.line(time, &event(3)).to_vec(),
            straight.line(time, &event(3)).to_vec()
        );
    }

    #[test]
    fn a_chain_goes_on_after_its_last_line() {
        let time = Timestamp::from_unix_millis(7);
        let mut straight = Chain::new(&header());
        let line = straight.line(time, &event(1)).to_vec();
        let mut resumed = Chain::after(&header(), line.trim_ascii_end()).unwrap();
        assert_eq!(
            resumed.line(time, &event(2)).to_vec(),
            straight.line(time, &event(2)).to_vec()
        );
        assert!(Chain::after(&header(), b"{\"v\":1}").is_none());
        assert!(Chain::after(&header(), b"not a line").is_none());
    }
}
