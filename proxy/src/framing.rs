//! Says where a message's body ends, from its head alone; refuses every ambiguous head.
//!
//! Not here: reading the body (body.rs) and the chunks' grammar (chunked.rs).
//! Clauses: W2

use thiserror::Error;

use crate::head::{Fields, RequestHead, ResponseHead, Version};

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Where the last chunk says so.
    Chunked,
    /// Where the sender closes; only in a response.
    Close,
    /// After that many bytes.
    Length(u64),
    /// Before it began.
    None,
}

impl Framing {
    /// Whether no byte of a body follows the head.
    pub(crate) fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Why a head's framing was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum FramingError {
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both a length and a transfer coding are given")]
    Both,
    /// Anything but exactly one `chunked`, in HTTP/1.1.
    #[error("the transfer coding is not exactly `chunked`")]
    Coding,
    /// More than one length, or one that is not plain digits of 64 bits.
    #[error("the length is not one plain number")]
    Length,
}

/// A request's framing: without a length or a coding it has no body.
pub(crate) fn request(head: &RequestHead<'_>) -> Result<Framing, FramingError> {
    let declared = declared(&head.fields, head.version)?;
    Ok(declared.unwrap_or(Framing::None))
}

/// A response's framing, to a request of `method`.
///
/// The head is judged even where the status or the method says that no body follows.
pub(crate) fn response(head: &ResponseHead<'_>, method: &str) -> Result<Framing, FramingError> {
    let declared = declared(&head.fields, head.version)?;
    // RFC 9112 section 6.3, in its order.
    if method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304) {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::Close))
}

fn declared(fields: &Fields<'_>, version: Version) -> Result<Option<Framing>, FramingError> {
    let mut codings = fields.all("transfer-encoding");
    let mut lengths = fields.all("content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(FramingError::Both),
        (Some(coding), None) => {
            let sole = codings.next().is_none() && version == Version::Http11;
            if sole && coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Some(Framing::Chunked))
            } else {
                Err(FramingError::Coding)
            }
        }
        (None, Some(length)) => match (decimal(length), lengths.next()) {
            (Some(length), None) => Ok(Some(Framing::Length(length))),
            (_, _) => Err(FramingError::Length),
        },
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    if digits.is_empty() {
        None
    } else {
        digits.iter().try_fold(0, add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, headers: &str) -> Result<Framing, FramingError> {
        let text = format!("POST / HTTP/{version}\r\n{headers}\r\n");
        request(&RequestHead::parse(text.as_bytes()).unwrap())
    }

    fn back(method: &str, start: &str, headers: &str) -> Result<Framing, FramingError> {
        let text = format!("{start}\r\n{headers}\r\n");
        response(&ResponseHead::parse(text.as_bytes()).unwrap(), method)
    }

    #[test]
    fn a_request_body_ends_as_its_head_plainly_says() {
        assert_eq!(of("1.1", ""), Ok(Framing::None));
        assert_eq!(of("1.1", "Content-Length: 0\r\n"), Ok(Framing::Length(0)));
        assert_eq!(of("1.1", "Content-Length:  7 \r\n"), Ok(Framing::Length(7)));
        assert_eq!(of("1.0", "content-length: 7\r\n"), Ok(Framing::Length(7)));
        assert_eq!(
            of("1.1", "Transfer-Encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
        let most = format!("Content-Length: {}\r\n", u64::MAX);
        assert_eq!(of("1.1", &most), Ok(Framing::Length(u64::MAX)));
    }

    #[test]
    fn h06_a_length_beside_a_coding_is_refused() {
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        let turned = "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n";
        assert_eq!(of("1.1", both), Err(FramingError::Both));
        assert_eq!(of("1.1", turned), Err(FramingError::Both));
    }

    #[test]
    fn h07_any_coding_but_one_chunked_is_refused() {
        for value in [
            "xchunked",
            "identity",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            "chunked;a=b",
            "\"chunked\"",
            "chunked\r\nTransfer-Encoding: chunked",
            "chunked\r\nTransfer-Encoding: identity",
            "",
        ] {
            let header = format!("Transfer-Encoding: {value}\r\n");
            assert_eq!(of("1.1", &header), Err(FramingError::Coding), "{value:?}");
        }
        assert_eq!(
            of("1.0", "Transfer-Encoding: chunked\r\n"),
            Err(FramingError::Coding)
        );
    }

    #[test]
    fn h08_lengths_that_are_not_one_plain_number_are_refused() {
        for value in [
            "+5",
            "-5",
            "5, 6",
            "5,5",
            "5\r\nContent-Length: 5",
            "5\r\nContent-Length: 6",
            "0x5",
            "5 5",
            "5.0",
            "",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            let header = format!("Content-Length: {value}\r\n");
            assert_eq!(of("1.1", &header), Err(FramingError::Length), "{value:?}");
        }
    }

    #[test]
    fn a_response_body_ends_as_status_method_and_head_say() {
        let ok = "HTTP/1.1 200 OK";
        assert_eq!(
            back("GET", ok, "Content-Length: 3\r\n"),
            Ok(Framing::Length(3))
        );
        assert_eq!(
            back("GET", ok, "Transfer-Encoding: chunked\r\n"),
            Ok(Framing::Chunked)
        );
        assert_eq!(back("GET", ok, ""), Ok(Framing::Close));
        assert_eq!(back("HEAD", ok, "Content-Length: 3\r\n"), Ok(Framing::None));
        for start in ["HTTP/1.1 100 Go on", "HTTP/1.1 204 No", "HTTP/1.1 304 Same"] {
            assert_eq!(
                back("GET", start, "Content-Length: 3\r\n"),
                Ok(Framing::None)
            );
        }
    }

    #[test]
    fn h25_an_ambiguous_response_is_refused_even_where_no_body_follows() {
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(
            back("HEAD", "HTTP/1.1 200 OK", both),
            Err(FramingError::Both)
        );
        let twice = "Content-Length: 3\r\nContent-Length: 3\r\n";
        assert_eq!(
            back("GET", "HTTP/1.1 304 Same", twice),
            Err(FramingError::Length)
        );
        let old = "Transfer-Encoding: chunked\r\n";
        assert_eq!(
            back("GET", "HTTP/1.0 200 OK", old),
            Err(FramingError::Coding)
        );
    }
}
