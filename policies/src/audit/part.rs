//! The names of a record's files: the one that is written to, and the parts before it that rotation closed.
//!
//! `demo.jsonl` is written to; `demo.00001.jsonl` is the oldest part of the same record, and `demo.00002.jsonl` goes on
//! where it ends. Sorted by name, the parts come in their order and the open file last. A part that somebody compressed
//! has `.gz` or `.zst` behind its name. Not here: renaming (`proxy`), reading (`orchestrator`).
//! Clauses: R3.

/// Digits of a part's number: 99,999 parts of 50 MB are 5 TB.
const DIGITS: usize = 5;
/// The highest number of a part.
pub const LAST_PART: u32 = 99_999;

/// How a file is packed, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    /// gzip (RFC 1952).
    Gzip,
    /// Not at all.
    Plain,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// A file of a record, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name of the file that is written to.
    pub open: String,
    /// Which part, from 1; none for the file that is written to.
    pub number: Option<u32>,
    /// How it is packed.
    pub packing: Packing,
}

impl Part {
    /// The name of a part of the record whose open file has this name.
    #[must_use]
    pub fn name(open: &str, number: u32) -> String {
        match open.rsplit_once('.') {
            Some((stem, extension)) => format!("{stem}.{number:0DIGITS$}.{extension}"),
            None => format!("{open}.{number:0DIGITS$}"),
        }
    }

    /// What a file's name says.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let packings = [(".gz", Packing::Gzip), (".zst", Packing::Zstd)];
        let packed = packings
            .into_iter()
            .find_map(|(end, packing)| Some((name.strip_suffix(end)?, packing)));
        let (plain, packing) = packed.unwrap_or((name, Packing::Plain));
        let numbered = plain.rsplit_once('.').and_then(|(stem, extension)| {
            let (stem, number) = stem.rsplit_once('.')?;
            Some((format!("{stem}.{extension}"), part_number(number)?))
        });
        match numbered {
            Some((open, number)) => Self {
                open,
                number: Some(number),
                packing,
            },
            None => Self {
                open: plain.to_owned(),
                number: None,
                packing,
            },
        }
    }

    /// Where the file belongs among those of its record: parts by number, the open file last.
    #[must_use]
    pub fn place(&self) -> u32 {
        self.number.unwrap_or(u32::MAX)
    }
}

fn part_number(text: &str) -> Option<u32> {
    let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(open: &str, number: Option<u32>, packing: Packing) -> Part {
        Part {
            open: open.to_owned(),
            number,
            packing,
        }
    }

    #[test]
    fn names_say_which_part_of_which_record_a_file_is() {
        for (name, expected) in [
            ("r.jsonl", part("r.jsonl", None, Packing::Plain)),
            ("r.jsonl.gz", part("r.jsonl", None, Packing::Gzip)),
            ("r.00001.jsonl", part("r.jsonl", Some(1), Packing::Plain)),
            (
                "r.99999.jsonl.zst",
                part("r.jsonl", Some(LAST_PART), Packing::Zstd),
            ),
            ("r.00000.jsonl", part("r.00000.jsonl", None, Packing::Plain)),
            ("r.0001.jsonl", part("r.0001.jsonl", None, Packing::Plain)),
            (
                "r.000001.jsonl",
                part("r.000001.jsonl", None, Packing::Plain),
            ),
            ("r.+0001.jsonl", part("r.+0001.jsonl", None, Packing::Plain)),
            ("audit", part("audit", None, Packing::Plain)),
            ("", part("", None, Packing::Plain)),
        ] {
            assert_eq!(Part::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_named_is_read_back() {
        for open in ["r.jsonl", "a.b.log"] {
            let name = Part::name(open, 42);
            assert_eq!(Part::parse(&name), part(open, Some(42), Packing::Plain));
            assert!(*name < *open, "{name} stands in front of {open}");
        }
        assert_eq!(Part::name("audit", 7), "audit.00007");
    }
}
