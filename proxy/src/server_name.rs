//! Whether a ClientHello names one server so that every reader reads the same one.
//!
//! RFC 6066 section 3 makes the extension a list of names of several types, of which only one was ever defined. Readers
//! differ on what to do with the rest of a list: some take the first name, some go on, some stop at a type that they do
//! not know (rustls does). So a list of anything but one host name is refused.
//!
//! Not here: whether the message is a ClientHello (rustls read it already), and the name (it gives it).
//! Clauses: W4

/// `ContentType.handshake`. RFC 8446 section 5.1.
const HANDSHAKE: u8 = 22;
/// `HandshakeType.client_hello`. RFC 8446 section 4.
const CLIENT_HELLO: u8 = 1;
/// The version and the random in front of everything that has a length. RFC 8446 section 4.1.2.
const FIXED: usize = 2 + 32;
/// `ExtensionType.server_name`, and `NameType.host_name`. RFC 6066 section 3.
const SERVER_NAME: [u8; 2] = [0, 0];
const HOST_NAME: u8 = 0;

/// Whether the ClientHello that `flight` begins with has no list of server names, or one with one host name and nothing
/// else. What cannot be read is not plain.
pub(crate) fn is_plain(flight: &[u8]) -> bool {
    let Some(handshake) = first_message(flight) else {
        return false;
    };
    lists(&handshake).is_some_and(|lists| match lists.as_slice() {
        [] => true,
        [list] => is_one_host_name(list),
        [_, _, ..] => false,
    })
}

/// The body of the first handshake message, put together from its records.
fn first_message(mut flight: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        let (&[HANDSHAKE, _, _, high, low], rest) = flight.split_first_chunk()? else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (record, after) = rest.split_at_checked(length)?;
        joined.extend_from_slice(record);
        flight = after;
        let Some((&[kind, a, b, c], body)) = joined.split_first_chunk() else {
            continue;
        };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        if let Some(body) = body.get(..length) {
            return (kind == CLIENT_HELLO).then(|| body.to_vec());
        }
    }
}

/// The contents of every extension of server names in a ClientHello.
fn lists(hello: &[u8]) -> Option<Vec<&[u8]>> {
    let rest = hello.get(FIXED..)?;
    let (_session, rest) = short(rest)?;
    let (_ciphers, rest) = long(rest)?;
    let (_compressions, rest) = short(rest)?;
    let mut found = Vec::new();
    if rest.is_empty() {
        return Some(found);
    }
    let (mut extensions, []) = long(rest)? else {
        return None;
    };
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk()?;
        let (content, rest) = long(rest)?;
        if *kind == SERVER_NAME {
            found.push(content);
        }
        extensions = rest;
    }
    Some(found)
}

fn is_one_host_name(extension: &[u8]) -> bool {
    let Some((list, [])) = long(extension) else {
        return false;
    };
    let Some((&HOST_NAME, name)) = list.split_first() else {
        return false;
    };
    matches!(long(name), Some(([_, ..], [])))
}

/// What a length of one byte covers, and the rest.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// What a length of two bytes covers, and the rest.
fn long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes()[..], bytes].concat()
    }

    fn entry(kind: u8, name: &[u8]) -> Vec<u8> {
        [&[kind][..], &sized(name)].concat()
    }

    /// A ClientHello's handshake message with these extensions.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let rest = b"\x00\x00\x02\xc0\x2f\x01\x00";
        let body = [&b"\x03\x03"[..], &[7; 32], rest, &sized(extensions)].concat();
        [&b"\x01\x00"[..], &sized(&body)].concat()
    }

    fn record(piece: &[u8]) -> Vec<u8> {
        [&b"\x16\x03\x01"[..], &sized(piece)].concat()
    }

    fn plain(list: &[u8]) -> bool {
        let extension = [&b"\x00\x00"[..], &sized(&sized(list))].concat();
        is_plain(&record(&message(&extension)))
    }

    #[test]
    fn one_host_name_or_no_list_is_plain() {
        assert!(plain(&entry(0, b"ok.test")));
        assert!(is_plain(&record(&message(b"\x00\x0a\x00\x00"))));
        assert!(is_plain(&record(&message(b""))));
    }

    #[test]
    fn a_list_that_readers_may_read_differently_is_not() {
        let ok = entry(0, b"ok.test");
        for (list, what) in [
            (Vec::new(), "nothing"),
            (entry(0, b""), "an empty name"),
            (entry(13, b"ok.test"), "another type"),
            (
                [ok.clone(), entry(13, b"")].concat(),
                "a type that nobody knows behind it",
            ),
            (
                [ok.clone(), entry(13, b""), entry(0, b"evil.test")].concat(),
                "a name behind that",
            ),
            ([entry(13, b""), ok.clone()].concat(), "one in front"),
            ([ok.clone(), entry(0, b"evil.test")].concat(), "two names"),
            ([ok.clone(), vec![0]].concat(), "a byte too many"),
        ] {
            assert!(!plain(&list), "{what}");
        }
        let twice = [&b"\x00\x00"[..], &sized(&sized(&ok))].concat().repeat(2);
        assert!(!is_plain(&record(&message(&twice))), "two lists");
    }

    #[test]
    fn records_are_put_together_wherever_the_message_is_cut() {
        let extension = [&b"\x00\x00"[..], &sized(&sized(&entry(0, b"ok.test")))].concat();
        let message = message(&extension);
        for cut in 0..=message.len() {
            let (first, second) = message.split_at(cut);
            assert!(is_plain(&[record(first), record(second)].concat()), "{cut}");
            assert!(
                !is_plain(&record(&message[..cut])) || cut == message.len(),
                "{cut}"
            );
        }
    }
}
