//! The hand-over: every departure from the contract refuses it whole.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpStream;

use rustix::net::{
    Protocol, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, sendmsg,
    socket_with, socketpair,
};

use super::*;

const FOUR: &str =
    r#"{"v":1,"kind":"sockets","names":["explicit4","capture4","dns-udp4","dns-tcp4"]}"#;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

fn send(channel: &OwnedFd, text: &str, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(channel, &text, &mut control, SendFlags::empty()).unwrap();
}

fn tcp() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

fn udp() -> OwnedFd {
    UdpSocket::bind("127.0.0.1:0").unwrap().into()
}

fn netlink_socket(protocol: Protocol) -> OwnedFd {
    socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )
    .unwrap()
}

/// What comes of `text` with `descriptors`.
fn received(text: &str, descriptors: &[OwnedFd]) -> Result<Passed, SocketsError> {
    let (ours, theirs) = pair();
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    send(&theirs, text, &borrowed);
    receive(ours.as_fd())
}

fn message(text: &str, descriptors: &[OwnedFd]) -> String {
    received(text, descriptors).unwrap_err().to_string()
}

#[test]
fn all_ten_sockets_arrive_under_their_names() {
    let listeners6 = || TcpListener::bind("[::1]:0").unwrap().into();
    let sockets: [OwnedFd; 10] = [
        tcp(),
        listeners6(),
        tcp(),
        listeners6(),
        udp(),
        UdpSocket::bind("[::1]:0").unwrap().into(),
        tcp(),
        listeners6(),
        netlink_socket(netlink::NETFILTER),
        netlink_socket(netlink::SOCK_DIAG),
    ];
    let text = r#"{"v":1,"kind":"sockets","names":["explicit4","explicit6","capture4","capture6","dns-udp4","dns-udp6","dns-tcp4","dns-tcp6","nflog","sock-diag"]}"#;
    let passed = received(text, &sockets).unwrap();
    assert_eq!(
        (
            passed.explicit.len(),
            passed.capture.len(),
            passed.dns_udp.len(),
            passed.dns_tcp.len(),
            passed.nflog.is_some(),
            passed.sock_diag.is_some()
        ),
        (2, 2, 2, 2, true, true)
    );
}

#[test]
fn a_passed_listener_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let passed = received(FOUR, &[listener.into(), tcp(), udp(), tcp()]).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test is the client")]
    let client = TcpStream::connect(address).unwrap();
    let (_, peer) = passed.explicit[0].accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn without_ipv6_and_netlink_the_four_suffice() {
    let passed = received(FOUR, &[tcp(), tcp(), udp(), tcp()]).unwrap();
    assert!(passed.nflog.is_none() && passed.sock_diag.is_none());
}

#[test]
fn a_missing_required_socket_is_refused() {
    let text = r#"{"v":1,"kind":"sockets","names":["explicit4","capture4","dns-udp4"]}"#;
    assert_eq!(
        message(text, &[tcp(), tcp(), udp()]),
        "socket dns-tcp4 did not come"
    );
}

#[test]
fn an_unknown_name_is_refused() {
    let text = FOUR.replace("dns-tcp4", "admin4");
    assert!(matches!(
        received(&text, &[tcp(), tcp(), udp(), tcp()]),
        Err(SocketsError::Malformed(_))
    ));
}

#[test]
fn an_unknown_key_is_refused() {
    let text = FOUR.replace(r#""v":1"#, r#""v":1,"open":true"#);
    assert!(matches!(
        received(&text, &[tcp(), tcp(), udp(), tcp()]),
        Err(SocketsError::Malformed(_))
    ));
}

#[test]
fn another_kind_is_refused() {
    let text = FOUR.replace(r#""kind":"sockets""#, r#""kind":"dial""#);
    assert!(matches!(
        received(&text, &[tcp(), tcp(), udp(), tcp()]),
        Err(SocketsError::Malformed(_))
    ));
}

#[test]
fn another_version_is_refused() {
    let text = FOUR.replace(r#""v":1"#, r#""v":2"#);
    assert_eq!(
        message(&text, &[tcp(), tcp(), udp(), tcp()]),
        "ocs-netctl speaks version 2 of the hand-over, not 1: install both programs from one release"
    );
}

#[test]
fn fewer_descriptors_than_names_are_refused() {
    assert_eq!(
        message(FOUR, &[tcp(), tcp(), udp()]),
        "4 names came with 3 descriptors"
    );
}

#[test]
fn more_descriptors_than_names_are_refused() {
    assert_eq!(
        message(FOUR, &[tcp(), tcp(), udp(), tcp(), tcp()]),
        "4 names came with 5 descriptors"
    );
}

#[test]
fn more_descriptors_than_any_message_has_are_refused_as_cut() {
    let many: Vec<_> = (0..20).map(|_| udp()).collect();
    assert!(matches!(received(FOUR, &many), Err(SocketsError::Cut)));
}

#[test]
fn a_message_longer_than_any_of_the_contract_is_refused_as_cut() {
    let text = format!("{FOUR}{}", " ".repeat(5000));
    assert!(matches!(
        received(&text, &[tcp(), tcp(), udp(), tcp()]),
        Err(SocketsError::Cut)
    ));
}

#[test]
fn one_name_twice_is_refused() {
    let text = FOUR.replace("dns-tcp4", "capture4");
    assert_eq!(
        message(&text, &[tcp(), tcp(), udp(), tcp()]),
        "socket capture4 came twice"
    );
}

#[test]
fn a_closed_channel_is_an_error() {
    let (ours, theirs) = pair();
    drop(theirs);
    assert!(matches!(receive(ours.as_fd()), Err(SocketsError::Closed)));
}

#[test]
fn each_socket_that_is_not_as_named_is_refused() {
    let v6 = || OwnedFd::from(TcpListener::bind("[::1]:0").unwrap());
    let wide = || OwnedFd::from(TcpListener::bind("0.0.0.0:0").unwrap());
    let unbound = || {
        socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    };
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let cases = [
        (file(), Difference::Unreadable),
        (v6(), Difference::Family),
        (udp(), Difference::Type),
        (unbound(), Difference::Listening),
        (wide(), Difference::Bound),
    ];
    for (fd, difference) in cases {
        let refused = received(FOUR, &[fd, tcp(), udp(), tcp()]).unwrap_err();
        let SocketsError::NotAsNamed { name, what } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((name, what), (Name::Explicit4, difference));
    }
}

#[test]
fn a_netlink_socket_of_another_protocol_is_refused() {
    let text = FOUR.replace(r#""dns-tcp4""#, r#""dns-tcp4","nflog""#);
    let other = netlink_socket(netlink::SOCK_DIAG);
    assert_eq!(
        message(&text, &[tcp(), tcp(), udp(), tcp(), other]),
        "socket nflog is not what its name says: another protocol"
    );
}

#[test]
fn every_prefix_of_the_message_is_refused() {
    for end in 1..FOUR.len() {
        let refused = received(&FOUR[..end], &[tcp(), tcp(), udp(), tcp()]);
        assert!(matches!(refused, Err(SocketsError::Malformed(_))), "{end}");
    }
}
