//! Packets of the tests' own making, as the kernel would hand them over.

use std::sync::Mutex;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

use super::*;
use crate::tally::Window;

fn kind(protocol: u8, address: &str, port: Option<u16>) -> Kind {
    Kind {
        protocol: Some(protocol),
        address: Some(address.parse().unwrap()),
        port,
    }
}

fn v4(protocol: u8, fragment: u16, options: usize, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x40 | u8::try_from(5 + options).unwrap(), 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&fragment.to_be_bytes());
    bytes.extend_from_slice(&[64, protocol, 0, 0, 127, 0, 0, 1, 203, 0, 113, 9]);
    bytes.extend_from_slice(&vec![1; options * 4]);
    bytes.extend_from_slice(rest);
    bytes
}

fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    bytes.extend_from_slice(&"::1".parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(&"2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(rest);
    bytes
}

/// Source port 1, destination port 443.
const PORTS: [u8; 4] = [0, 1, 1, 0xbb];

#[test]
fn protocols_with_ports_are_told_with_them_and_others_without() {
    for (number, port) in [
        (UDP, Some(443)),
        (TCP, Some(443)),
        (SCTP, Some(443)),
        (33, Some(443)),
        (136, Some(443)),
        (ICMP, None),
        (47, None),
    ] {
        assert_eq!(
            packet(&v4(number, 0, 0, &PORTS)),
            Some(kind(number, "203.0.113.9", port))
        );
        assert_eq!(
            packet(&v6(number, &PORTS)),
            Some(kind(number, "2001:db8::9", port))
        );
    }
}

#[test]
fn options_and_extension_headers_are_skipped() {
    assert_eq!(
        packet(&v4(UDP, 0, 10, &PORTS)),
        Some(kind(UDP, "203.0.113.9", Some(443)))
    );
    let hop_by_hop = [60, 0, 0, 0, 0, 0, 0, 0];
    let destination = [&[51, 1, 0, 0], [0; 12].as_slice()].concat();
    let authentication = [&[44, 4, 0, 0], [0; 20].as_slice()].concat();
    let fragment = [UDP, 0, 0, 1, 0, 0, 0, 0];
    let rest = [
        &hop_by_hop[..],
        &destination,
        &authentication,
        &fragment,
        &PORTS,
    ]
    .concat();
    assert_eq!(
        packet(&v6(0, &rest)),
        Some(kind(UDP, "2001:db8::9", Some(443)))
    );
}

#[test]
fn a_later_fragment_has_no_port() {
    assert_eq!(
        packet(&v4(UDP, 0x2000, 0, &PORTS)),
        Some(kind(UDP, "203.0.113.9", Some(443)))
    );
    assert_eq!(
        packet(&v4(UDP, 0x0001, 0, &PORTS)),
        Some(kind(UDP, "203.0.113.9", None))
    );
    let fragment = [UDP, 0, 0, 8, 0, 0, 0, 0];
    assert_eq!(
        packet(&v6(44, &[&fragment[..], &PORTS].concat())),
        Some(kind(UDP, "2001:db8::9", None))
    );
}

#[test]
fn extension_headers_without_end_stop_the_walk() {
    let endless = [0_u8, 0, 0, 0, 0, 0, 0, 0].repeat(100);
    assert_eq!(packet(&v6(0, &endless)), Some(kind(0, "2001:db8::9", None)));
}

#[test]
fn every_prefix_of_a_packet_is_read_without_harm() {
    let whole4 = v4(UDP, 0, 2, &PORTS);
    for end in 0..whole4.len() {
        let expected = (end >= 20).then(|| kind(UDP, "203.0.113.9", None));
        assert_eq!(packet(&whole4[..end]), expected, "{end}");
    }
    let whole6 = v6(UDP, &PORTS);
    for end in 0..whole6.len() {
        let expected = (end >= 40).then(|| kind(UDP, "2001:db8::9", None));
        assert_eq!(packet(&whole6[..end]), expected, "{end}");
    }
    assert_eq!(packet(&[0x50; 64]), None);
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message of NFLOG with that number.
fn message(number: u32, packet: &[u8]) -> Vec<u8> {
    let attributes = [
        vec![2, 0, 0, 1],
        attribute(10, b"N6\0"),
        attribute(PAYLOAD, packet),
        attribute(SEQUENCE, &number.to_be_bytes()),
    ];
    netlink::request(NFLOG_PACKET, &attributes.concat())
}

fn counted(numbers: &[u32]) -> Window<Seen> {
    let (tally, mut next) = (Tally::new(), 0);
    for number in numbers {
        let bytes = message(*number, &v4(UDP, 0, 0, &PORTS));
        for message in netlink::messages(&bytes) {
            count(message.payload, &mut next, &tally);
        }
    }
    tally.take()
}

#[test]
fn numbers_that_are_missing_are_counted_exactly_also_before_the_first() {
    let packets = Seen::Packets(kind(UDP, "203.0.113.9", Some(443)));
    assert_eq!(counted(&[0, 1, 2]), [(packets.clone(), 3)]);
    assert_eq!(counted(&[2, 3, 10]), [(Seen::Missed, 2 + 6), (packets, 3)]);
}

#[test]
fn numbers_wrap() {
    let (tally, mut next) = (Tally::new(), u32::MAX);
    for number in [u32::MAX, 0, 2] {
        let bytes = message(number, &v4(UDP, 0, 0, &PORTS));
        count(
            netlink::messages(&bytes).next().unwrap().payload,
            &mut next,
            &tally,
        );
    }
    assert_eq!(tally.take()[1], (Seen::Missed, 1));
}

#[test]
fn packets_are_told_in_the_words_of_the_record() {
    let told = |protocol, address: Option<&str>, port, count| {
        let address = address.map(|text| text.parse().unwrap());
        Event::Packet(PacketEvent {
            protocol: Text::new(protocol),
            address,
            port,
            count,
            reason: Reason::Direct,
        })
    };
    let many = Kind {
        protocol: Some(ICMPV6),
        address: None,
        port: None,
    };
    let none = Kind {
        protocol: None,
        ..many
    };
    let events = [
        event(&Seen::Packets(kind(UDP, "203.0.113.9", Some(443))), 3),
        event(&Seen::Packets(kind(47, "203.0.113.9", None)), 1),
        event(&Seen::Packets(many), 7),
        event(&Seen::Packets(none), 1),
        event(&Seen::Missed, 9),
    ];
    assert_eq!(
        events,
        [
            told("udp", Some("203.0.113.9"), Some(443), 3),
            told("ip-47", Some("203.0.113.9"), None, 1),
            told("icmpv6", None, None, 7),
            told("unknown", None, None, 1),
            gap(Some(9)),
        ]
    );
}

#[test]
fn r14_a_spray_over_many_addresses_is_counted_exactly_in_few_lines() {
    let tally = Tally::new();
    let mut next = 0;
    for number in 0..100_000_u32 {
        let mut packet = v4(UDP, 0, 0, &PORTS);
        packet[16..20].copy_from_slice(&number.to_be_bytes());
        let bytes = message(number, &packet);
        count(
            netlink::messages(&bytes).next().unwrap().payload,
            &mut next,
            &tally,
        );
    }
    let window = tally.take();
    let total: u64 = window.iter().map(|(_, count)| count).sum();
    let rest = Seen::Packets(Kind {
        protocol: Some(UDP),
        address: None,
        port: None,
    });
    assert_eq!(
        (window.len(), total, &window[256]),
        (257, 100_000, &(rest, 100_000 - 256))
    );
}

#[tokio::test]
async fn what_comes_over_the_socket_is_told_and_the_rest_at_the_end() {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, kernel) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let batch = [
        message(0, &v4(UDP, 0, 0, &PORTS)),
        message(1, &v6(ICMPV6, &PORTS)),
    ]
    .concat();
    rustix::net::send(&kernel, &batch, SendFlags::empty()).unwrap();
    rustix::net::send(&kernel, b"nonsense", SendFlags::empty()).unwrap();
    rustix::net::send(
        &kernel,
        &message(5, &v4(UDP, 0, 0, &PORTS)),
        SendFlags::empty(),
    )
    .unwrap();
    let events = Mutex::new(Vec::new());
    run(
        ours,
        |event| events.lock().unwrap().push(event),
        std::future::ready(()),
    )
    .await
    .unwrap();
    let packet = |protocol, address: &str, port, count| {
        let address = Some(address.parse().unwrap());
        Event::Packet(PacketEvent {
            protocol: Text::new(protocol),
            address,
            port,
            count,
            reason: Reason::Direct,
        })
    };
    assert_eq!(
        events.into_inner().unwrap(),
        [
            packet("udp", "203.0.113.9", Some(443), 2),
            packet("icmpv6", "2001:db8::9", None, 1),
            gap(Some(3)),
        ]
    );
}
