//! Walks netlink messages and their attributes, as the kernel writes them: native byte order, padded to four bytes.
//!
//! Whatever is shorter than it says ends the walk; nothing is read past its end. Not here: what the messages mean
//! (`packets`, `sock_diag`).
//!
//! Clauses: R6.

/// A message's header. `linux/netlink.h`, struct nlmsghdr.
const HEADER: usize = 16;
/// An attribute's header. `linux/netlink.h`, struct nlattr.
const ATTRIBUTE: usize = 4;
/// The bits of an attribute's type that are its number. `linux/netlink.h`, `NLA_TYPE_MASK`.
const TYPE_MASK: u16 = 0x3fff;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let message = bytes.get(..length)?;
        let (header, payload) = message.split_at_checked(HEADER)?;
        let kind = u16::from_ne_bytes(*header.get(4..)?.first_chunk()?);
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some(Message { kind, payload })
    })
}

/// The attributes of a payload, as number and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let attribute = bytes.get(..length)?;
        let (header, value) = attribute.split_at_checked(ATTRIBUTE)?;
        let kind = u16::from_ne_bytes(*header.get(2..)?.first_chunk()?) & TYPE_MASK;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A request of one message, answered without an acknowledgement.
pub(crate) fn request(kind: u16, payload: &[u8]) -> Vec<u8> {
    const REQUEST: u16 = 1; // linux/netlink.h, NLM_F_REQUEST
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence number and port: one question at a time, and the kernel knows us
    message.extend_from_slice(payload);
    message
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    #[test]
    fn messages_are_found_one_after_the_other() {
        let mut bytes = request(7, b"abcde");
        bytes.resize(padded(bytes.len()), 0);
        bytes.extend_from_slice(&request(9, b""));
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(
            found,
            [
                Message {
                    kind: 7,
                    payload: b"abcde"
                },
                Message {
                    kind: 9,
                    payload: b""
                }
            ]
        );
    }

    #[test]
    fn attributes_are_found_without_their_flags_and_padding() {
        let bytes = [
            attribute(1, b"a"),
            attribute(0x8002, b""),
            attribute(3, b"four"),
        ]
        .concat();
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(1, b"a".as_slice()), (2, b""), (3, b"four")]);
    }

    #[test]
    fn every_prefix_gives_only_what_is_whole() {
        let first = request(7, b"abcd");
        let bytes = [first.clone(), request(9, b"efgh")].concat();
        for end in 0..bytes.len() {
            assert_eq!(
                messages(&bytes[..end]).count(),
                usize::from(end >= first.len()),
                "{end}"
            );
        }
        let bytes = [attribute(1, b"abcd"), attribute(2, b"efgh")].concat();
        for end in 0..bytes.len() {
            assert_eq!(
                attributes(&bytes[..end]).count(),
                usize::from(end >= 8),
                "{end}"
            );
        }
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for length in [0_u32, 1, 15, 17, u32::MAX] {
            let mut bytes = request(7, b"");
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "{length}");
        }
        for length in [0_u16, 1, 3, 6, u16::MAX] {
            let mut bytes = attribute(7, b"");
            bytes[..2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(attributes(&bytes).count(), 0, "{length}");
        }
    }
}
