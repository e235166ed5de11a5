//! Reads the chunked transfer coding, strictly, a few bytes at a time if need be.
//!
//! Extensions are read and dropped, and so are trailers: a field that arrives after the head
//! was judged must not become one (H10). Not here: sockets (body.rs).
//! Clauses: W2

use thiserror::Error;

/// Bytes of one chunk's size line with its extension; and of all trailer lines together.
const MAX_LINE: u16 = 4096; // an extension is dropped unread: this only bounds its reading
const MAX_TRAILERS: u16 = 16 * 1024; // as above

/// Why a chunked body was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum ChunkError {
    /// A byte that cannot stand there.
    #[error("a byte of the chunked body is not allowed where it stands")]
    Byte,
    /// A line longer than we read.
    #[error("a line of the chunked body is too long")]
    Line,
    /// A size that does not fit 64 bits.
    #[error("a chunk's size is too large")]
    Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SizeFirst,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerFirst,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    state: State,
    left: u64,
    line: u16,
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The body ends before this offset.
    End(usize),
    /// Data from one offset to another; go on at the latter.
    Data(usize, usize),
    /// All bytes were read, and more are wanted.
    More,
}

impl Chunked {
    /// Begins before the first size line.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::SizeFirst,
            left: 0,
            line: 0,
        }
    }

    /// Reads `bytes` from `at` up to the end of one run of data, the end of the body, or theirs.
    pub(crate) fn step(&mut self, bytes: &[u8], at: usize) -> Result<Step, ChunkError> {
        if self.state == State::End {
            return Ok(Step::End(at));
        }
        for (offset, byte) in bytes.iter().enumerate().skip(at) {
            if self.state == State::Data {
                return Ok(self.data(bytes.len(), offset));
            }
            self.state = self.next(*byte)?;
            if self.state == State::End {
                return Ok(Step::End(offset + 1));
            }
        }
        Ok(Step::More)
    }

    fn data(&mut self, length: usize, from: usize) -> Step {
        let here = length - from;
        let run = usize::try_from(self.left).map_or(here, |left| left.min(here));
        self.left -= run as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        Step::Data(from, from + run)
    }

    fn next(&mut self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::SizeFirst, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                (self.left, self.line) = (0, 0);
                self.digit(byte)
            }
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (State::Size, b';') | (State::Extension, b' '..=b'~' | b'\t') => {
                self.count(State::Extension, MAX_LINE)
            }
            (State::Size | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::SizeLf, b'\n') if self.left > 0 => Ok(State::Data),
            (State::SizeLf, b'\n') => {
                self.line = 0;
                Ok(State::TrailerFirst)
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeFirst),
            (State::TrailerFirst, b'\r') => Ok(State::EndLf),
            (State::TrailerFirst, b' ' | b'\t' | b':') => Err(ChunkError::Byte),
            (State::TrailerFirst | State::Trailer, b' '..=b'~' | b'\t' | 0x80..) => {
                self.count(State::Trailer, MAX_TRAILERS)
            }
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerLf, b'\n') => Ok(State::TrailerFirst),
            (State::EndLf, b'\n') => Ok(State::End),
            _ => Err(ChunkError::Byte),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, ChunkError> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => byte - b'A' + 10,
        };
        let shifted = self.left.checked_mul(16).ok_or(ChunkError::Size)?;
        self.left = shifted | u64::from(value);
        self.count(State::Size, MAX_LINE)
    }

    fn count(&mut self, next: State, most: u16) -> Result<State, ChunkError> {
        self.line += 1;
        if self.line <= most {
            Ok(next)
        } else {
            Err(ChunkError::Line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, and the offset of the end where there was one, reading in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
        let mut chunked = Chunked::new();
        let mut data = Vec::new();
        for (index, piece) in bytes.chunks(size).enumerate() {
            let mut at = 0;
            loop {
                match chunked.step(piece, at)? {
                    Step::Data(from, to) => {
                        data.extend_from_slice(&piece[from..to]);
                        at = to;
                    }
                    Step::End(end) => return Ok((data, Some(index * size + end))),
                    Step::More => break,
                }
            }
        }
        Ok((data, None))
    }

    const BODY: &[u8] =
        b"5\r\nhello\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nHost: evil.test\r\nA: \xff\r\n\r\n";

    #[test]
    fn a_body_reads_the_same_in_pieces_of_any_size() {
        let mut bytes = BODY.to_vec();
        bytes.extend_from_slice(b"GET http://evil.test/");
        for size in 1..=bytes.len() {
            let expected = (b"hello0123456789".to_vec(), Some(BODY.len()));
            assert_eq!(read(&bytes, size), Ok(expected), "{size}");
        }
    }

    #[test]
    fn no_prefix_of_a_body_is_a_body() {
        for end in 0..BODY.len() {
            assert_eq!(read(&BODY[..end], BODY.len()).unwrap().1, None, "{end}");
        }
    }

    #[test]
    fn an_ended_body_stays_ended() {
        let mut chunked = Chunked::new();
        assert_eq!(chunked.step(b"0\r\n\r\n", 0), Ok(Step::End(5)));
        assert_eq!(chunked.step(b"5\r\nhello", 0), Ok(Step::End(0)));
    }

    #[test]
    fn bytes_out_of_place_are_refused() {
        for bytes in [
            &b"\r\n"[..],
            b";x\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"+5\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"g\r\n",
            b"5\nhello",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\rX",
            b"5;a\nb\r\n",
            b"5;a\0\r\n",
            b"5\rX",
            b"0\r\n\n",
            b"0\r\n A: folded\r\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA: \0\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\n\rX",
        ] {
            assert_eq!(
                read(bytes, 64),
                Err(ChunkError::Byte),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn sizes_up_to_64_bits_are_read_and_one_more_is_refused() {
        assert_eq!(read(b"ffffffffffffffff\r\nab", 64).unwrap().0, b"ab");
        assert_eq!(read(b"10000000000000000\r\nab", 64), Err(ChunkError::Size));
    }

    #[test]
    fn lines_longer_than_the_bound_are_refused() {
        let line = |zeros: usize| [&b"0".repeat(zeros)[..], b"\r\n\r\n"].concat();
        let most = usize::from(MAX_LINE);
        assert!(read(&line(most), 64).unwrap().1.is_some());
        assert_eq!(read(&line(most + 1), 64), Err(ChunkError::Line));
        let trailers = |bytes: usize| [b"0\r\n", &b"a".repeat(bytes)[..], b"\r\n\r\n"].concat();
        let most = usize::from(MAX_TRAILERS);
        assert!(read(&trailers(most), 64).unwrap().1.is_some());
        assert_eq!(read(&trailers(most + 1), 64), Err(ChunkError::Line));
    }
}
