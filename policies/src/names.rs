//! Finding what was listed for a name or for a name above it: one probe per label, whatever the number of entries.
//!
//! Built once, and laid out for memory that is far away: a probe is one line of the table, a hit one line of text more.
//! Not responsible for what an entry grants (`decide.rs`).
//! Clauses: P3.

use crate::DnsName;

/// Values listed under names. Several values may stand under one name.
#[derive(Debug, Clone)]
pub(crate) struct Names<T> {
    /// Open addressing, at most half full; its length is a power of two. Values of one name stand in the order in
    /// which they were listed.
    slots: Vec<Option<Slot<T>>>,
    /// All names, one behind the other.
    texts: String,
    /// The most labels of any name listed: nothing longer needs a probe.
    deepest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot<T> {
    /// The half of the hash that does not choose the slot.
    tag: u32,
    /// Where the name begins in `texts`.
    start: u32,
    len: u8,
    value: T,
}

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Under a name above the one looked for.
    Above,
    /// Under the very name.
    Itself,
}

impl<T: Copy> Names<T> {
    /// Lists values under names.
    pub(crate) fn new(entries: &[(&DnsName, T)]) -> Self {
        let room = if entries.is_empty() {
            0
        } else {
            (entries.len() * 2).next_power_of_two()
        };
        let mut names = Self {
            slots: vec![None; room],
            texts: String::with_capacity(entries.iter().map(|(name, _)| name.as_str().len()).sum()),
            deepest: 0,
        };
        for (name, value) in entries {
            names.insert(name, *value);
        }
        names
    }

    fn insert(&mut self, name: &DnsName, value: T) {
        let text = name.as_str();
        let hash = Suffixes::new(text).last().map_or(0, |suffix| suffix.1);
        // A name has at most 253 bytes (`host.rs`), and a file at most 2^26 (`yaml.rs`): both numbers always fit.
        let (Ok(start), Ok(len)) = (u32::try_from(self.texts.len()), u8::try_from(text.len()))
        else {
            return;
        };
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = place(hash, mask);
        while self.slots.get(at).is_some_and(Option::is_some) {
            at = (at + 1) & mask;
        }
        if let Some(slot) = self.slots.get_mut(at) {
            self.texts.push_str(text);
            self.deepest = self.deepest.max(name.labels().count());
            *slot = Some(Slot {
                tag: tag(hash),
                start,
                len,
                value,
            });
        }
    }

    /// Every value with its name, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, T)> {
        self.slots
            .iter()
            .flatten()
            .map(|slot| (self.text(slot), slot.value))
    }

    /// All values listed under the name, which must be canonical, and the names above it; the shortest name first,
    /// and in the order of their listing within one.
    pub(crate) fn walk<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Found, T)> {
        let mask = self.slots.len().wrapping_sub(1);
        Suffixes::new(text)
            .take(self.deepest)
            .flat_map(move |(suffix, hash)| {
                let found = if suffix.len() == text.len() {
                    Found::Itself
                } else {
                    Found::Above
                };
                let mut at = place(hash, mask);
                std::iter::from_fn(move || {
                    let slot = self.slots.get(at)?.as_ref()?;
                    at = (at + 1) & mask;
                    Some(slot)
                })
                .filter(move |slot| slot.tag == tag(hash) && self.text(slot) == suffix)
                .map(move |slot| (found, slot.value))
            })
    }

    fn text(&self, slot: &Slot<T>) -> &str {
        let range = usize::try_from(slot.start).map(|start| start..start + usize::from(slot.len));
        range
            .ok()
            .and_then(|range| self.texts.get(range))
            .unwrap_or_default()
    }
}

/// Where the search for a hash begins. A table of 4,294,967,296 slots would be larger than any file that is read.
fn place(hash: u64, mask: usize) -> usize {
    usize::try_from(hash & 0xffff_ffff).unwrap_or(0) & mask
}

/// The half of a hash that `place` does not look at.
fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
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

/// FNV leaves the high bits poor, and the table wants them: a multiply-xor round spreads them. The hash needs no key:
/// only names of the project's own file are ever stored, so nobody gains by asking for names that collide.
const fn spread(hash: u64) -> u64 {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15); // 2^64 / golden ratio
    mixed ^ (mixed >> 29)
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

    fn names<'n, T: Copy>(entries: &'n [(DnsName, T)]) -> Names<T> {
        let entries: Vec<(&'n DnsName, T)> =
            entries.iter().map(|(name, value)| (name, *value)).collect();
        Names::new(&entries)
    }

    #[test]
    fn a_walk_finds_every_value_of_the_name_and_of_those_above_and_no_other() {
        let listed = [
            "org",
            "example.org",
            "a.example.org",
            "example.org",
            "b.example.org",
            "xample.org",
        ];
        let entries: Vec<(DnsName, usize)> = listed.into_iter().map(name).zip(0..).collect();
        let names = names(&entries);
        let walk = |text: &str| {
            let found: Vec<_> = names
                .walk(text)
                .map(|(found, value)| (value, found))
                .collect();
            found
        };
        assert_eq!(
            walk("a.example.org"),
            [
                (0, Found::Above),
                (1, Found::Above),
                (3, Found::Above),
                (2, Found::Itself)
            ]
        );
        assert_eq!(
            walk("deep.below.a.example.org"),
            [
                (0, Found::Above),
                (1, Found::Above),
                (3, Found::Above),
                (2, Found::Above)
            ]
        );
        assert_eq!(walk("example.com"), []);
        assert_eq!(walk("org"), [(0, Found::Itself)]);
        let mut all: Vec<_> = names.iter().collect();
        all.sort_by_key(|(_, value)| *value);
        assert_eq!(all, listed.into_iter().zip(0..).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_found_where_nothing_is_listed() {
        let names: Names<u8> = names(&[]);
        assert_eq!(names.walk("example.org").count(), 0);
        assert_eq!(names.iter().count(), 0);
    }

    #[test]
    fn of_many_names_each_is_found_and_no_name_beside_them() {
        let entries: Vec<(DnsName, usize)> = (0..20_000)
            .map(|index| (name(&format!("n{index}.z{}.test", index % 7)), index))
            .collect();
        let names = names(&entries);
        for (listed, index) in &entries {
            let found: Vec<_> = names.walk(listed.as_str()).collect();
            assert_eq!(found, [(Found::Itself, *index)], "{listed}");
            assert_eq!(names.walk(&format!("x{listed}")).count(), 0, "{listed}");
        }
    }

    #[test]
    fn names_of_equal_hash_are_told_apart_by_their_text() {
        let entries = [(name("example.org"), 1), (name("example.net"), 2)];
        let mut names = names(&entries);
        // As if both had one hash and stood one behind the other.
        let hash = Suffixes::new("example.org").last().unwrap().1;
        let [org, net] = ["example.org", "example.net"].map(|text| {
            let slot = names
                .slots
                .iter()
                .flatten()
                .find(|slot| names.text(slot) == text);
            Slot {
                tag: tag(hash),
                ..*slot.unwrap()
            }
        });
        names.slots = vec![None; 4];
        for (offset, slot) in [net, org].into_iter().enumerate() {
            names.slots[(place(hash, 3) + offset) & 3] = Some(slot);
        }
        assert_eq!(
            names.walk("example.org").collect::<Vec<_>>(),
            [(Found::Itself, 1)]
        );
    }
}
