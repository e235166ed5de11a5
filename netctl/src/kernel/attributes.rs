//! Netlink attributes, taken one by one: what was not taken at the end is something that the reader does not know.
//!
//! Not here: what any attribute means.

use std::ffi::CStr;

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};

/// The attributes of a message or of a nest.
#[derive(Debug)]
pub(super) struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    /// Splits bytes into attributes; nothing where they are not whole.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        NlasIterator::new(bytes)
            .map(|attribute| {
                let attribute = attribute.ok()?;
                let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
                Some((kind, attribute.into_inner().get(NLA_HEADER_SIZE..end)?))
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// Takes an attribute out.
    pub(super) fn take(&mut self, kind: u16) -> Option<&'a [u8]> {
        let at = self.0.iter().position(|(other, _)| *other == kind)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn u32(&mut self, kind: u16) -> Option<u32> {
        self.take(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, kind: u16) -> Option<u64> {
        self.take(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(super) fn u16(&mut self, kind: u16) -> Option<u16> {
        self.take(kind)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn string(&mut self, kind: u16) -> Option<String> {
        let text = CStr::from_bytes_with_nul(self.take(kind)?).ok()?;
        text.to_str().ok().map(str::to_owned)
    }

    pub(super) fn nest(&mut self, kind: u16) -> Option<Self> {
        Self::parse(self.take(kind)?)
    }

    /// The attribute has this value.
    pub(super) fn is(&mut self, kind: u16, value: u32) -> Option<()> {
        (self.u32(kind)? == value).then_some(())
    }

    /// The attribute has this value, or is left out, which means the same.
    pub(super) fn is_or_absent(&mut self, kind: u16, value: u32) -> Option<()> {
        if self.0.iter().any(|(other, _)| *other == kind) {
            self.is(kind, value)
        } else {
            Some(())
        }
    }

    /// Nothing is left but what says nothing.
    pub(super) fn nothing_but(self, idle: &[u16]) -> Option<()> {
        self.0
            .iter()
            .all(|(kind, _)| idle.contains(kind))
            .then_some(())
    }

    /// What is left, in order.
    pub(super) fn into_values(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        self.0.into_iter()
    }
}
