//! Reads the bytes of a message head: a strict check of ours, then `httparse`.
//!
//! Not here: what the head asks for (classify.rs) and where the body ends (framing.rs).
//! Two readers must not be able to read one head differently, so whatever is not plainly
//! a head is refused; nothing is repaired (docs/decisions/0003-http-on-the-wire.md).
//! Clauses: W2

use std::mem::MaybeUninit;

use thiserror::Error;

/// Header lines of one head.
const MAX_HEADERS: usize = 128; // common servers stop at 100; 32 bytes of stack each

/// Why a head was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// A byte that no head may hold, or a line that does not end in CR LF.
    #[error("the head holds a byte that is not allowed there")]
    Byte,
    /// A header line that begins with a space or a tab.
    #[error("a header line is folded")]
    Folded,
    /// The grammar of the start line or of a header line is broken.
    #[error("the head is not well formed")]
    Grammar,
    /// More header lines than we hold.
    #[error("the head has too many lines")]
    Lines,
    /// A version that is neither HTTP/1.0 nor HTTP/1.1.
    #[error("the version is not HTTP/1.0 or HTTP/1.1")]
    Version,
}

/// How far a scan came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The head ends before this offset.
    End(usize),
    /// All bytes so far may begin a head.
    More,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    StartLine,
    StartLineCr,
    LineStart,
    Line,
    LineCr,
    LastCr,
}

/// A resumable check of a head's raw bytes; it finds the head's end on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    state: State,
    at: usize,
}

impl Scan {
    /// Begins before the first byte.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::First,
            at: 0,
        }
    }

    /// Goes on through `bytes`, which begin where the head begins and include what was fed before.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Progress, HeadError> {
        while let Some(rest @ [byte, ..]) = bytes.get(self.at..) {
            // Most bytes change nothing: they are passed in one go.
            let same = match self.state {
                State::StartLine => run(rest, |byte| matches!(byte, b' '..=b'~')),
                State::Line => run(rest, |byte| matches!(byte, b' '..=b'~' | b'\t' | 0x80..)),
                State::First
                | State::StartLineCr
                | State::LineStart
                | State::LineCr
                | State::LastCr => 0,
            };
            if same > 0 {
                self.at += same;
                continue;
            }
            self.at += 1;
            self.state = match (self.state, byte) {
                (State::First | State::StartLine, b' '..=b'~') => State::StartLine,
                (State::StartLine, b'\r') => State::StartLineCr,
                (State::StartLineCr | State::LineCr, b'\n') => State::LineStart,
                (State::LineStart, b' ' | b'\t') => return Err(HeadError::Folded),
                (State::LineStart, b'\r') => State::LastCr,
                // Above ASCII only in a header's value, where it means nothing to us.
                (State::LineStart | State::Line, b' '..=b'~' | b'\t' | 0x80..) => State::Line,
                (State::Line, b'\r') => State::LineCr,
                (State::LastCr, b'\n') => return Ok(Progress::End(self.at)),
                _ => return Err(HeadError::Byte),
            };
        }
        Ok(Progress::More)
    }
}

/// How many bytes at the start are of one kind.
fn run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let end = bytes.iter().position(|byte| !is(*byte));
    end.unwrap_or(bytes.len())
}

/// HTTP's minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    fn parse(minor: Option<u8>) -> Result<Self, HeadError> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            Some(_) | None => Err(HeadError::Version),
        }
    }
}

/// One header line, its value without the spaces around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// As sent; compare without case.
    pub(crate) name: &'a str,
    /// As sent.
    pub(crate) value: &'a [u8],
}

/// The header lines of one head, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    fn new(headers: &[httparse::Header<'a>]) -> Self {
        let field = |header: &httparse::Header<'a>| Field {
            name: header.name,
            value: header.value,
        };
        Self(headers.iter().map(field).collect())
    }

    /// All lines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.0.iter().copied()
    }

    /// The values of every line of that name.
    pub(crate) fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + 'n {
        self.iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// The comma-separated members of every line of that name, trimmed, empty ones left out.
    pub(crate) fn members<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + 'n {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// Whether a member of that name's lines is `token`, without case.
    pub(crate) fn holds(&self, name: &str, token: &str) -> bool {
        self.members(name)
            .any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    /// As sent.
    pub(crate) method: &'a str,
    /// As sent.
    pub(crate) target: &'a str,
    /// HTTP/1.0 or HTTP/1.1.
    pub(crate) version: Version,
    /// The header lines.
    pub(crate) fields: Fields<'a>,
}

impl<'a> RequestHead<'a> {
    /// Parses exactly one head, which [`Scan`] has passed.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(bytes, &mut headers);
        let whole = complete(status, bytes.len());
        let (Ok(()), Some(method), Some(target)) = (whole, request.method, request.path) else {
            return Err(whole.err().unwrap_or(HeadError::Grammar));
        };
        one_space_line(bytes, method, target)?;
        let version = Version::parse(request.version)?;
        Ok(Self {
            method,
            target,
            version,
            fields: Fields::new(request.headers),
        })
    }
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead<'a> {
    /// 100 to 599.
    pub(crate) status: u16,
    /// Empty where none was sent.
    pub(crate) phrase: &'a str,
    /// HTTP/1.0 or HTTP/1.1.
    pub(crate) version: Version,
    /// The header lines.
    pub(crate) fields: Fields<'a>,
}

impl<'a> ResponseHead<'a> {
    /// Parses exactly one head, which [`Scan`] has passed.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
        complete(status, bytes.len())?;
        let version = Version::parse(response.version)?;
        let Some(code @ 100..=599) = response.code else {
            return Err(HeadError::Grammar);
        };
        let phrase = response.reason.unwrap_or_default();
        Ok(Self {
            status: code,
            phrase,
            version,
            fields: Fields::new(response.headers),
        })
    }
}

fn complete(
    status: Result<httparse::Status<usize>, httparse::Error>,
    length: usize,
) -> Result<(), HeadError> {
    match status {
        Ok(httparse::Status::Complete(end)) if end == length => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::Lines),
        Err(httparse::Error::Version) => Err(HeadError::Version),
        Ok(_) | Err(_) => Err(HeadError::Grammar),
    }
}

/// `method SP target SP version`, with those two spaces and no other.
fn one_space_line(bytes: &[u8], method: &str, target: &str) -> Result<(), HeadError> {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let expected = method.len() + 1 + target.len() + 1 + "HTTP/1.1".len();
    if line.len() == expected && !target.is_empty() {
        Ok(())
    } else {
        Err(HeadError::Grammar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Result<Progress, HeadError> {
        Scan::new().feed(bytes)
    }

    const PLAIN: &[u8] =
        b"GET http://ok.test/a HTTP/1.1\r\nHost: ok.test\r\nX-A: caf\xc3\xa9\t1\r\n\r\n";

    #[test]
    fn every_prefix_of_a_head_wants_more_and_the_whole_ends_it() {
        for end in 0..PLAIN.len() {
            assert_eq!(scan(&PLAIN[..end]), Ok(Progress::More), "{end}");
        }
        assert_eq!(scan(PLAIN), Ok(Progress::End(PLAIN.len())));
    }

    #[test]
    fn a_scan_resumed_at_every_byte_finds_the_same_end() {
        for cut in 0..PLAIN.len() {
            let mut scan = Scan::new();
            assert_eq!(scan.feed(&PLAIN[..cut]), Ok(Progress::More));
            assert_eq!(scan.feed(PLAIN), Ok(Progress::End(PLAIN.len())), "{cut}");
        }
    }

    #[test]
    fn what_follows_the_head_is_not_looked_at() {
        let mut bytes = PLAIN.to_vec();
        bytes.extend_from_slice(b"\0\n\r\x7f");
        assert_eq!(scan(&bytes), Ok(Progress::End(PLAIN.len())));
    }

    #[test]
    fn bytes_that_no_head_holds_are_refused_where_they_stand() {
        for (bytes, error) in [
            (&b"\r\nGET"[..], HeadError::Byte),
            (b"\x16\x03\x01", HeadError::Byte),
            (b"GET / HTTP/1.1\nHost: a\n\n", HeadError::Byte),
            (b"GET / HTTP/1.1\rHost", HeadError::Byte),
            (b"GET /\0 ", HeadError::Byte),
            (b"GET /\t", HeadError::Byte),
            (b"GET /\xc3\xa9 HTTP/1.1", HeadError::Byte),
            (b"GET / HTTP/1.1\r\nA: b\rC: d", HeadError::Byte),
            (b"GET / HTTP/1.1\r\nA: b\n", HeadError::Byte),
            (b"GET / HTTP/1.1\r\nA: \0", HeadError::Byte),
            (b"GET / HTTP/1.1\r\nA: \x0b", HeadError::Byte),
            (b"GET / HTTP/1.1\r\nA: \x7f", HeadError::Byte),
            (b"GET / HTTP/1.1\r\nA: b\r\n\rX", HeadError::Byte),
            (b"GET / HTTP/1.1\r\n A: b", HeadError::Folded),
            (b"GET / HTTP/1.1\r\nA: b\r\n\tc", HeadError::Folded),
        ] {
            assert_eq!(scan(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_request_head_is_read_whole() {
        let head = RequestHead::parse(PLAIN).unwrap();
        assert_eq!(
            head,
            RequestHead {
                method: "GET",
                target: "http://ok.test/a",
                version: Version::Http11,
                fields: Fields(vec![
                    Field {
                        name: "Host",
                        value: b"ok.test"
                    },
                    Field {
                        name: "X-A",
                        value: b"caf\xc3\xa9\t1"
                    },
                ]),
            }
        );
    }

    #[test]
    fn request_heads_that_break_the_grammar_are_refused() {
        for (text, error) in [
            ("GET  / HTTP/1.1\r\n\r\n", HeadError::Grammar),
            ("GET /  HTTP/1.1\r\n\r\n", HeadError::Version),
            ("GET / HTTP/1.1 \r\n\r\n", HeadError::Grammar),
            ("GET /\r\n\r\n", HeadError::Grammar),
            (" GET / HTTP/1.1\r\n\r\n", HeadError::Grammar),
            ("G@T / HTTP/1.1\r\n\r\n", HeadError::Grammar),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", HeadError::Grammar),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", HeadError::Grammar),
            ("GET / HTTP/1.1\r\nA\r\n\r\n", HeadError::Grammar),
            ("GET / HTTP/1.1\r\nA b: c\r\n\r\n", HeadError::Grammar),
            ("PRI * HTTP/2.0\r\n\r\n", HeadError::Version),
            ("GET / HTTP/0.9\r\n\r\n", HeadError::Version),
            ("GET / http/1.1\r\n\r\n", HeadError::Version),
            (
                "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n\r\n",
                HeadError::Version,
            ),
        ] {
            assert_eq!(RequestHead::parse(text.as_bytes()), Err(error), "{text:?}");
        }
    }

    #[test]
    fn as_many_lines_as_we_hold_pass_and_one_more_does_not() {
        let head = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(lines));
        assert!(RequestHead::parse(head(MAX_HEADERS).as_bytes()).is_ok());
        let over = head(MAX_HEADERS + 1);
        assert_eq!(RequestHead::parse(over.as_bytes()), Err(HeadError::Lines));
    }

    #[test]
    fn a_response_head_is_read_whole() {
        let head = ResponseHead::parse(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n").unwrap();
        assert_eq!(
            head,
            ResponseHead {
                status: 404,
                phrase: "Not Found",
                version: Version::Http10,
                fields: Fields(vec![Field {
                    name: "A",
                    value: b"b"
                }]),
            }
        );
        assert_eq!(
            ResponseHead::parse(b"HTTP/1.1 200\r\n\r\n").unwrap().phrase,
            ""
        );
    }

    #[test]
    fn response_heads_that_break_the_grammar_are_refused() {
        for text in [
            "HTTP/1.1 99 Low\r\n\r\n",
            "HTTP/1.1 600 High\r\n\r\n",
            "HTTP/1.1 2000 Long\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        ] {
            assert!(ResponseHead::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn members_of_a_list_are_trimmed_and_found_without_case() {
        let text = b"GET / HTTP/1.1\r\nConnection: a ,B\r\nconnection:,, c\r\n\r\n";
        let head = RequestHead::parse(text).unwrap();
        let members: Vec<&[u8]> = head.fields.members("Connection").collect();
        assert_eq!(members, [&b"a"[..], b"B", b"c"]);
        assert!(head.fields.holds("connection", "b"));
        assert!(!head.fields.holds("connection", "d"));
    }
}
