//! Text of untrusted origin on its way into the record.
//!
//! Clauses: R4.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most characters of an untrusted text that are kept: room for a DNS name four times over.
const MAX_CHARS: usize = 1024;
/// Stands where the rest was cut off.
const CUT: &str = "...";

/// A text of bounded length. Bytes that are no UTF-8 are written `\xNN`, and a backslash as `\x5c`, so nothing is
/// ambiguous; escaping for JSON comes later, when the line is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// Bounds a text that is UTF-8 already.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// Bounds and escapes bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let plain = |byte: &u8| byte.is_ascii() && *byte != b'\\';
        if let Ok(text) = std::str::from_utf8(bytes)
            && bytes.len() <= MAX_CHARS
            && bytes.iter().all(plain)
        {
            return Self(text.to_owned());
        }
        let mut out = String::with_capacity(bytes.len().min(MAX_CHARS));
        let mut left = MAX_CHARS;
        for chunk in bytes.utf8_chunks() {
            for char in chunk.valid().chars() {
                if left == 0 {
                    out.push_str(CUT);
                    return Self(out);
                }
                left -= 1;
                if char == '\\' {
                    out.push_str("\\x5c");
                } else {
                    out.push(char);
                }
            }
            for byte in chunk.invalid() {
                if left == 0 {
                    out.push_str(CUT);
                    return Self(out);
                }
                left -= 1;
                out.push_str(&format!("\\x{byte:02x}"));
            }
        }
        Self(out)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        Self::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_written_so_that_nothing_else_is() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"", ""),
            (b"a\xffb", "a\\xffb"),
            (b"a\\xffb", "a\\x5cxffb"),
            (b"\xe2\x82", "\\xe2\\x82"),
            ("\u{202e}\u{0}\n".as_bytes(), "\u{202e}\u{0}\n"),
        ] {
            assert_eq!(Text::from_bytes(bytes).as_str(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn length_is_bounded_whatever_the_bytes_are() {
        for byte in [b'a', 0xff, b'\\'] {
            let text = Text::from_bytes(&vec![byte; 5_000]);
            assert!(text.as_str().ends_with("..."));
            assert!(text.as_str().len() <= MAX_CHARS * 4 + CUT.len());
        }
        let exact = "x".repeat(MAX_CHARS);
        assert_eq!(Text::new(&exact).as_str(), exact);
    }
}
