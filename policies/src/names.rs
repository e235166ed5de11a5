//! Finding what was listed for a name or for a name above it: one probe per label, whatever the number of entries.
//!
//! Not responsible for what an entry grants (`decide.rs`).
//! Clauses: P3.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::DnsName;

/// Values listed under names. Several values may stand under one name.
#[derive(Debug, Clone)]
pub(crate) struct Names<T> {
    /// Hash of a name -> the newest entry with that hash; older ones hang behind it.
    heads: HashMap<u64, u32, BuildHasherDefault<Ready>>,
    entries: Vec<Entry<T>>,
    /// The most labels of any name listed: nothing longer needs a probe.
    deepest: usize,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    name: DnsName,
    value: T,
    /// The next entry with the same hash; the name may be another.
    older: Option<u32>,
}

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Under a name above the one looked for.
    Above,
    /// Under the very name.
    Itself,
}

impl<T> Names<T> {
    pub(crate) fn new() -> Self {
        Self {
            heads: HashMap::default(),
            entries: Vec::new(),
            deepest: 0,
        }
    }

    /// Lists a value under a name.
    pub(crate) fn insert(&mut self, name: DnsName, value: T) {
        // A file of 2^32 entries is not read (`yaml.rs` bounds its size), so the number always fits.
        let Ok(number) = u32::try_from(self.entries.len()) else {
            return;
        };
        self.deepest = self.deepest.max(name.labels().count());
        let hash = Suffixes::new(name.as_str())
            .last()
            .map_or(0, |suffix| suffix.1);
        let older = self.heads.insert(hash, number);
        self.entries.push(Entry { name, value, older });
    }

    /// Every value with its name, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&DnsName, &T)> {
        self.entries.iter().map(|entry| (&entry.name, &entry.value))
    }

    /// All values listed under the name and the names above it; the shortest name first, and in no order within one.
    pub(crate) fn walk<'a>(&'a self, name: &'a DnsName) -> impl Iterator<Item = (Found, &'a T)> {
        let text = name.as_str();
        Suffixes::new(text)
            .take(self.deepest)
            .flat_map(move |(suffix, hash)| {
                let found = if suffix.len() == text.len() {
                    Found::Itself
                } else {
                    Found::Above
                };
                let mut next = self.heads.get(&hash).copied();
                std::iter::from_fn(move || {
                    let entry = self.entries.get(usize::try_from(next?).ok()?)?;
                    next = entry.older;
                    Some(entry)
                })
                .filter(move |entry| entry.name.as_str() == suffix)
                .map(move |entry| (found, &entry.value))
            })
    }
}

/// The suffixes of a name at label borders, shortest first, each with its hash; the text is read once.
struct Suffixes<'a> {
    text: &'a str,
    /// Where the last suffix began, or beyond the text.
    start: usize,
    hash: u64,
    done: bool,
}

/// FNV-1a's 64-bit constants: <https://www.rfc-editor.org/rfc/rfc9923>, section 5.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl<'a> Suffixes<'a> {
    const fn new(text: &'a str) -> Self {
        Self {
            text,
            start: text.len(),
            hash: OFFSET_BASIS,
            done: false,
        }
    }
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = (&'a str, u64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let bytes = self.text.as_bytes().get(..self.start)?;
        let mut at = self.start;
        self.done = true;
        for byte in bytes.iter().rev() {
            // The dot in front of the last suffix is hashed with the label that it ends.
            if *byte == b'.' && at != self.start {
                self.done = false;
                break;
            }
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            at -= 1;
        }
        self.start = at;
        Some((self.text.get(at..)?, spread(self.hash)))
    }
}

/// FNV leaves the high bits poor, and the table wants them: a multiply-xor round spreads them.
const fn spread(hash: u64) -> u64 {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15); // 2^64 / golden ratio
    mixed ^ (mixed >> 29)
}

/// A hasher for keys that are hashes. Only names of the project's own file are ever stored, so nobody gains by
/// choosing names that collide.
#[derive(Debug, Clone, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn suffixes_end_at_label_borders_and_come_shortest_first() {
        let all: Vec<&str> = Suffixes::new("a.bc.def").map(|suffix| suffix.0).collect();
        assert_eq!(all, ["def", "bc.def", "a.bc.def"]);
        let all: Vec<&str> = Suffixes::new("one").map(|suffix| suffix.0).collect();
        assert_eq!(all, ["one"]);
    }

    #[test]
    fn a_suffix_has_the_hash_that_it_has_as_a_whole_name() {
        for (suffix, hash) in Suffixes::new("a.b-c.d_e.example.org") {
            let whole = Suffixes::new(suffix).last().unwrap();
            assert_eq!((suffix, hash), whole);
        }
    }

    #[test]
    fn a_walk_finds_every_value_of_the_name_and_of_those_above_and_no_other() {
        let mut names = Names::new();
        for (index, text) in [
            "org",
            "example.org",
            "a.example.org",
            "example.org",
            "b.example.org",
            "xample.org",
        ]
        .into_iter()
        .enumerate()
        {
            names.insert(name(text), index);
        }
        let walk = |text: &str| {
            let text = name(text);
            let mut found: Vec<_> = names
                .walk(&text)
                .map(|(found, value)| (*value, found))
                .collect();
            found.sort_unstable_by_key(|pair| pair.0);
            found
        };
        assert_eq!(
            walk("a.example.org"),
            [
                (0, Found::Above),
                (1, Found::Above),
                (2, Found::Itself),
                (3, Found::Above)
            ]
        );
        assert_eq!(
            walk("deep.below.a.example.org"),
            [
                (0, Found::Above),
                (1, Found::Above),
                (2, Found::Above),
                (3, Found::Above)
            ]
        );
        assert_eq!(walk("example.com"), []);
        assert_eq!(walk("org"), [(0, Found::Itself)]);
    }

    #[test]
    fn names_of_equal_hash_are_told_apart_by_their_text() {
        let mut names = Names::new();
        names.insert(name("example.org"), 1);
        names.insert(name("example.net"), 2);
        // As if both had one hash: the chain of one leads through the other.
        let hash = Suffixes::new("example.org").last().unwrap().1;
        names.heads.insert(hash, 1);
        names.entries[1].older = Some(0);
        let org = name("example.org");
        let found: Vec<_> = names.walk(&org).collect();
        assert_eq!(found, [(Found::Itself, &1)]);
    }
}
