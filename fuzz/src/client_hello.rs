//! A first flight is read alike however the network cuts it; the name in it is the one that a second parser reads, and
//! only its own destination is confirmed.

use policies::{Config, Destination, Permit, Policy, Request, Source, Surroundings, Verdict, Via};
use proxy::fuzz::{Flight, first_flight};
use tls_parser::{
    TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_extensions,
    parse_tls_message_handshake,
};

/// A first flight of any bytes; the first byte says where the network cuts it.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let whole = first_flight(bytes, bytes.len());
    let pieces = first_flight(bytes, usize::from(*cut));
    assert_eq!(pieces, whole, "cut at {cut}");
    let Flight::Hello(sni) = whole else {
        return;
    };
    assert_eq!(bytes.first(), Some(&22));
    let (policy, permit) = permit();
    let same = sni
        .as_deref()
        .is_some_and(|name| name.eq_ignore_ascii_case("ok.test"));
    assert_eq!(
        policy.confirm_sni(&permit, sni.as_deref()).is_ok(),
        same,
        "{sni:?}"
    );
    if let Some(name) = &sni {
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(name.is_ascii() && !name.is_empty() && name.len() <= 255);
    }
    let theirs = second_reading(bytes);
    if let Some(names) = theirs {
        match (&sni, names.as_slice()) {
            // rustls takes an address for no name; and it drops a name's trailing dot nowhere, nor do they.
            (Some(ours), [name]) => assert!(
                name.eq_ignore_ascii_case(ours.as_bytes()),
                "{ours} and {name:?}"
            ),
            (Some(ours), names) => panic!("{ours} beside {names:?}"),
            (None, _) => {}
        }
    }
}

fn permit() -> (Policy, Permit) {
    let source = Source {
        name: "config",
        text: "sandbox-name: a\nhttp-domain-whitelist:\n  - ok.test\n",
    };
    let (config, _) = Config::parse(&source).expect("a file");
    let policy = config.policy(
        None,
        Surroundings {
            host_addresses: Vec::new(),
            own_addresses: Vec::new(),
        },
    );
    let destination = Destination::parse_authority("ok.test:443", None).expect("an authority");
    match policy.decide(&Request {
        destination,
        via: Via::Connect,
    }) {
        Verdict::Allow(permit) => (policy, permit),
        Verdict::Deny(deny) => panic!("{deny:?}"),
    }
}

/// The host names of the first ClientHello by another parser; `None` where it reads none.
fn second_reading(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let handshake = joined(bytes)?;
    let (_, message) = parse_tls_message_handshake(&handshake).ok()?;
    let TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)) = message else {
        return None;
    };
    // It stops without an error at an extension whose content it does not like.
    let (unread, extensions) = parse_tls_extensions(hello.ext?).ok()?;
    if !unread.is_empty() {
        return None;
    }
    let names = extensions
        .into_iter()
        .filter_map(|extension| match extension {
            TlsExtension::SNI(names) => Some(names),
            _ => None,
        });
    Some(names.flatten().map(|(_, name)| name.to_vec()).collect())
}

/// The bytes of the handshake records that the flight begins with, until one message is whole.
fn joined(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut handshake = Vec::new();
    loop {
        let (&[22, _, _, high, low], rest) = bytes.split_first_chunk::<5>()? else {
            return None;
        };
        let (record, after) =
            rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        handshake.extend_from_slice(record);
        if let Some(&[_, a, b, c]) = handshake.first_chunk::<4>() {
            let length = 4 + u32::from_be_bytes([0, a, b, c]) as usize;
            if handshake.len() >= length {
                handshake.truncate(length);
                return Some(handshake);
            }
        }
        bytes = after;
    }
}
