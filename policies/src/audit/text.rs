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
        Self::escaped(|out| out.bytes(bytes, &['\\']))
    }

    /// Bounds and escapes the labels of a DNS name, with a dot between each two; a dot inside of a label is `\x2e`.
    #[must_use]
    pub fn from_labels(labels: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        Self::escaped(|out| {
            for (index, label) in labels.into_iter().enumerate() {
                if index > 0 {
                    out.piece(".")?;
                }
                out.bytes(label.as_ref(), &['\\', '.'])?;
            }
            Some(())
        })
    }

    fn escaped(write: impl FnOnce(&mut Bounded) -> Option<()>) -> Self {
        let mut out = Bounded {
            text: String::new(),
            left: MAX_CHARS,
        };
        if write(&mut out).is_none() {
            out.text.push_str(CUT);
        }
        Self(out.text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text with room for so many more characters or escapes.
struct Bounded {
    text: String,
    left: usize,
}

impl Bounded {
    /// Appends one character or escape; `None` when there is no room for it.
    fn piece(&mut self, piece: &str) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        self.text.push_str(piece);
        Some(())
    }

    /// Appends bytes: those that are no UTF-8, and these characters, as escapes.
    fn bytes(&mut self, bytes: &[u8], special: &[char]) -> Option<()> {
        for chunk in bytes.utf8_chunks() {
            for char in chunk.valid().chars() {
                if special.contains(&char) {
                    self.piece(&format!("\\x{:02x}", u32::from(char)))?;
                } else {
                    self.piece(char.encode_utf8(&mut [0; 4]))?;
                }
            }
            for byte in chunk.invalid() {
                self.piece(&format!("\\x{byte:02x}"))?;
            }
        }
        Some(())
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
    fn a_dot_inside_of_a_label_is_told_from_one_between_two_and_from_its_own_escape() {
        for (labels, expected) in [
            (
                &[&b"a.b"[..], b"\xff\n", b"test"][..],
                "a\\x2eb.\\xff\n.test",
            ),
            (&[b"a\\x2eb", b"test"], "a\\x5cx2eb.test"),
            (&[b"a", b"b", b"test"], "a.b.test"),
            (&[], ""),
        ] {
            assert_eq!(Text::from_labels(labels).as_str(), expected, "{labels:?}");
        }
        let long = Text::from_labels(vec![b"."; MAX_CHARS]);
        assert!(long.as_str().ends_with("\\x2e...."), "{long}");
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
