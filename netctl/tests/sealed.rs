//! What the agent meets in a sealed namespace, and what the proxy sees of it from outside.
//!
//! The holder and the agent share a namespace that a thread of the test made; the proxy's part is played by another
//! thread, outside it, on the sockets that the holder handed over.
//!
//! Clauses: N2, N3, N4, N5, N6.

#![expect(
    clippy::disallowed_methods,
    reason = "the test plays the agent, who connects wherever it likes"
)]

#[cfg(test)]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;

use rustix::io::Errno;
use rustix::net::sockopt;
use support::diag::tcp_sockets;
use support::sealed::{PING, SCTP_INIT, datagram, original, raw, sealed, v4, v6};
use support::{counted, ip, nflog, read_all};

#[test]
fn n3_tcp_to_any_address_arrives_at_the_capture_listener_with_its_destination() {
    let targets = [
        v4(203, 0, 113, 9, 443),
        v4(169, 254, 169, 254, 80),
        v4(10, 0, 0, 1, 22),
        v4(240, 0, 0, 1, 65535),
        v6("2001:db8::9", 443),
        v6("fd00::1", 3128),
        v6("::ffff:0:203.0.113.9", 1),
        // Addresses that `lo` itself has, for resolvers to count: captured no less.
        v4(198, 18, 0, 1, 22),
        v6("2001:2::1", 22),
    ];
    sealed(
        "n3_tcp_to_any_address_arrives_at_the_capture_listener_with_its_destination",
        move || {
            for target in targets {
                let mut stream = TcpStream::connect(target).unwrap();
                assert_eq!(read_all(&mut stream), target.to_string());
            }
        },
        |sockets| {
            let (capture4, capture6) = (sockets.listener("capture4"), sockets.listener("capture6"));
            for target in targets {
                let listener = if target.is_ipv4() {
                    &capture4
                } else {
                    &capture6
                };
                let (mut stream, _) = listener.accept().unwrap();
                let original = original(&stream);
                stream.write_all(original.to_string().as_bytes()).unwrap();
                assert_eq!(original, target);
            }
        },
    );
}

#[test]
fn the_explicit_listener_is_reached_as_it_is_addressed() {
    sealed(
        "the_explicit_listener_is_reached_as_it_is_addressed",
        || {
            for target in [v4(127, 0, 0, 1, 3128), v6("::1", 3128)] {
                assert_eq!(
                    read_all(&mut TcpStream::connect(target).unwrap()),
                    "explicit"
                );
            }
        },
        |sockets| {
            for name in ["explicit4", "explicit6"] {
                let (mut stream, peer) = sockets.listener(name).accept().unwrap();
                assert!(peer.ip().is_loopback());
                stream.write_all(b"explicit").unwrap();
            }
        },
    );
}

#[test]
fn n4_dns_to_any_server_is_answered_by_the_stub_as_if_by_that_server() {
    let servers = [
        v4(8, 8, 8, 8, 53),
        v4(127, 0, 0, 1, 53),
        v4(127, 0, 0, 53, 53),
        v6("2001:db8::53", 53),
        v6("::1", 53),
    ];
    sealed(
        "n4_dns_to_any_server_is_answered_by_the_stub_as_if_by_that_server",
        move || {
            for server in servers {
                let any: IpAddr = if server.is_ipv4() {
                    Ipv4Addr::UNSPECIFIED.into()
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                };
                let socket = UdpSocket::bind(SocketAddr::new(any, 0)).unwrap();
                socket.send_to(b"query", server).unwrap();
                let mut answer = [0; 16];
                assert_eq!(socket.recv_from(&mut answer).unwrap(), (6, server));
                assert_eq!(&answer[..6], b"answer");
                assert_eq!(read_all(&mut TcpStream::connect(server).unwrap()), "answer");
            }
        },
        |sockets| {
            let (udp4, udp6) = (sockets.datagrams("dns-udp4"), sockets.datagrams("dns-udp6"));
            let (tcp4, tcp6) = (sockets.listener("dns-tcp4"), sockets.listener("dns-tcp6"));
            for server in servers {
                let (udp, tcp) = if server.is_ipv4() {
                    (&udp4, &tcp4)
                } else {
                    (&udp6, &tcp6)
                };
                let mut query = [0; 16];
                let (length, from) = udp.recv_from(&mut query).unwrap();
                assert_eq!(&query[..length], b"query");
                udp.send_to(b"answer", from).unwrap();
                tcp.accept().unwrap().0.write_all(b"answer").unwrap();
            }
        },
    );
}

#[test]
fn n5_the_agents_own_services_are_its_own() {
    sealed(
        "n5_the_agents_own_services_are_its_own",
        || {
            for address in ["127.0.0.1:0", "127.8.9.10:0", "[::1]:0"] {
                let listener = TcpListener::bind(address).unwrap();
                let at = listener.local_addr().unwrap();
                let client = thread::spawn(move || read_all(&mut TcpStream::connect(at).unwrap()));
                listener.accept().unwrap().0.write_all(b"own").unwrap();
                assert_eq!(client.join().unwrap(), "own");

                let (one, other) = (
                    UdpSocket::bind(address).unwrap(),
                    UdpSocket::bind(address).unwrap(),
                );
                one.send_to(b"own", other.local_addr().unwrap()).unwrap();
                let mut bytes = [0; 8];
                assert_eq!(
                    other.recv_from(&mut bytes).unwrap(),
                    (3, one.local_addr().unwrap())
                );
            }
            // Nobody there: told at once, by the kernel's own reset and ICMP error (N2).
            let nobody = v4(127, 0, 0, 1, 9);
            assert_eq!(
                TcpStream::connect(nobody).unwrap_err().kind(),
                ErrorKind::ConnectionRefused
            );
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(nobody).unwrap();
            socket.send(b"anybody").unwrap();
            assert_eq!(
                socket.recv(&mut [0; 8]).unwrap_err().kind(),
                ErrorKind::ConnectionRefused
            );
        },
        |_| {},
    );
}

#[test]
fn n6_everything_else_is_refused_at_once_counted_and_logged() {
    sealed(
        "n6_everything_else_is_refused_at_once_counted_and_logged",
        || {
            let outcomes = [
                datagram(v4(203, 0, 113, 9, 443)),
                datagram(v4(8, 8, 8, 8, 5353)),
                datagram(v6("2001:db8::9", 443)),
                raw(1, PING, v4(203, 0, 113, 9, 0)),
                raw(1, PING, v4(127, 0, 0, 1, 0)),
                raw(58, PING, v6("2001:db8::9", 0)),
                raw(132, SCTP_INIT, v4(203, 0, 113, 9, 0)),
                raw(132, SCTP_INIT, v6("2001:db8::9", 0)),
                // Of no transport that anybody serves: GRE, ESP, and numbers for experiments (RFC 3692).
                raw(47, PING, v4(203, 0, 113, 9, 0)),
                raw(50, PING, v6("2001:db8::9", 0)),
                raw(253, PING, v4(203, 0, 113, 9, 0)),
                raw(254, PING, v6("2001:db8::9", 0)),
                datagram(v4(198, 18, 0, 1, 4444)),
                datagram(v6("2001:2::1", 4444)),
            ];
            assert_eq!(outcomes, [Err(Errno::PERM); 14]);
            assert_eq!(counted("output"), [14, 0, 14], "logged, reset, rejected");
        },
        |sockets| {
            let nflog = sockets.take("nflog");
            nflog::wait(&nflog);
            let packets = nflog::read_packets(&nflog, 14);
            let sequences: Vec<u32> = packets.iter().map(|packet| packet.sequence).collect();
            assert_eq!(sequences, Vec::from_iter(0..14));
            assert!(packets.iter().all(|packet| packet.prefix == "N6"));
            let v6_octets = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets();
            assert_eq!(
                [packets[0].v4(), packets[1].v4()],
                [(17, [203, 0, 113, 9], 443), (17, [8, 8, 8, 8], 5353)]
            );
            assert_eq!(packets[2].v6(), (17, v6_octets, 443));
            assert_eq!([packets[3].v4().0, packets[4].v4().0], [1, 1]);
            assert_eq!(packets[6].v4(), (132, [203, 0, 113, 9], 9));
            let sixes = [5, 7, 9, 11].map(|at: usize| packets[at].v6().0);
            assert_eq!(sixes, [58, 132, 50, 254]);
            assert_eq!([packets[8].v4().0, packets[10].v4().0], [47, 253]);
            let own = "2001:2::1".parse::<Ipv6Addr>().unwrap().octets();
            assert_eq!(packets[12].v4(), (17, [198, 18, 0, 1], 4444));
            assert_eq!(packets[13].v6(), (17, own, 4444));
        },
    );
}

#[test]
fn n6_no_packet_goes_uncounted_when_the_reader_is_too_slow() {
    const FLOOD: u32 = 20_000;
    let (flooded, after_flood) = mpsc::channel::<()>();
    let (drained, after_drain) = mpsc::channel::<()>();
    sealed(
        "n6_no_packet_goes_uncounted_when_the_reader_is_too_slow",
        move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..FLOOD {
                socket.send_to(b"flood", "203.0.113.9:443").unwrap_err();
            }
            flooded.send(()).unwrap();
            after_drain.recv().unwrap();
            socket.send_to(b"one more", "203.0.113.9:444").unwrap_err();
        },
        move |sockets| {
            let nflog = sockets.take("nflog");
            nflog::wait(&nflog);
            sockopt::set_socket_recv_buffer_size(&nflog, 65_536).unwrap();
            after_flood.recv().unwrap();
            // What the queue held is whole and in order, and the kernel says that there was more.
            let mut held = 0;
            let mut overflowed = false;
            rustix::io::ioctl_fionbio(&nflog, true).unwrap();
            loop {
                match nflog::read(&nflog) {
                    Ok(packets) => {
                        for packet in packets {
                            assert_eq!(packet.sequence, held);
                            held += 1;
                        }
                    }
                    Err(Errno::NOBUFS) => overflowed = true,
                    Err(errno) => {
                        assert_eq!(errno, Errno::AGAIN);
                        break;
                    }
                }
            }
            assert!(overflowed && held < FLOOD, "{held} held");
            // The next number says how many there were, each of them.
            rustix::io::ioctl_fionbio(&nflog, false).unwrap();
            drained.send(()).unwrap();
            let last = loop {
                if let Some(packet) = nflog::read(&nflog).unwrap().pop() {
                    break packet;
                }
            };
            assert_eq!((last.sequence, last.v4().2), (FLOOD, 444));
        },
    );
}

#[test]
fn the_stub_s_queues_are_as_long_as_the_kernel_allows() {
    const WANTED: usize = 8 << 20;
    sealed(
        "the_stub_s_queues_are_as_long_as_the_kernel_allows",
        || {},
        |sockets| {
            let own = UdpSocket::bind("127.0.0.1:0").unwrap();
            let usual = sockopt::socket_recv_buffer_size(&own).unwrap();
            sockopt::set_socket_recv_buffer_size_force(&own, WANTED)
                .or_else(|_| sockopt::set_socket_recv_buffer_size(&own, WANTED))
                .unwrap();
            let most = sockopt::socket_recv_buffer_size(&own).unwrap();
            assert!(most > usual, "{most} bytes, {usual} by default");
            for name in ["dns-udp4", "dns-udp6"] {
                let queue = sockopt::socket_recv_buffer_size(sockets.take(name)).unwrap();
                assert_eq!(queue, most, "{name}");
            }
        },
    );
}

#[test]
fn an_address_that_the_agent_bound_is_captured_like_any_other() {
    sealed(
        "an_address_that_the_agent_bound_is_captured_like_any_other",
        || {
            let own = TcpListener::bind("203.0.113.7:8080").unwrap();
            let at = own.local_addr().unwrap();
            assert_eq!(read_all(&mut TcpStream::connect(at).unwrap()), "captured");
            own.set_nonblocking(true).unwrap();
            assert_eq!(own.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        },
        |sockets| {
            let (mut stream, peer) = sockets.listener("capture4").accept().unwrap();
            assert_eq!(
                (peer.ip(), original(&stream)),
                (
                    Ipv4Addr::new(203, 0, 113, 7).into(),
                    v4(203, 0, 113, 7, 8080)
                )
            );
            stream.write_all(b"captured").unwrap();
        },
    );
}

#[test]
fn n1_an_interface_that_somebody_gave_the_namespace_leads_nowhere() {
    sealed(
        "n1_an_interface_that_somebody_gave_the_namespace_leads_nowhere",
        || {
            ip("link add stray type veth peer name yarts");
            ip("addr add 192.0.2.1/24 dev stray");
            ip("link set stray up");
            ip("link set yarts up");
            // `local default` is looked up before every other route, so the stray interface is not even asked.
            assert_eq!(
                read_all(&mut TcpStream::connect("192.0.2.2:80").unwrap()),
                "captured"
            );
        },
        |sockets| {
            let (mut stream, _) = sockets.listener("capture4").accept().unwrap();
            stream.write_all(b"captured").unwrap();
        },
    );
}

#[test]
fn a_client_that_says_nothing_is_not_lost_when_the_proxy_resets_it() {
    sealed(
        "a_client_that_says_nothing_is_not_lost_when_the_proxy_resets_it",
        || {
            let mut stream = TcpStream::connect("203.0.113.9:22").unwrap();
            assert_eq!(
                stream.read(&mut [0; 8]).unwrap_err().kind(),
                ErrorKind::ConnectionReset
            );
        },
        |sockets| {
            let (stream, _) = sockets.listener("capture4").accept().unwrap();
            // A reset crosses the redirection backwards, to the address that the client believes in (N2).
            socket2::SockRef::from(&stream)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
        },
    );
}

#[test]
fn n3_a_client_that_chose_its_own_address_is_captured_as_well() {
    sealed(
        "n3_a_client_that_chose_its_own_address_is_captured_as_well",
        || {
            for own in [v4(127, 0, 0, 1, 0), v4(192, 0, 2, 7, 0)] {
                let socket =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                        .unwrap();
                socket.bind(&own.into()).unwrap();
                socket.connect(&v4(203, 0, 113, 9, 443).into()).unwrap();
                assert_eq!(read_all(&mut socket.into()), "captured");
            }
        },
        |sockets| {
            let listener = sockets.listener("capture4");
            for own in [[127, 0, 0, 1], [192, 0, 2, 7]] {
                let (mut stream, peer) = listener.accept().unwrap();
                assert_eq!(
                    (peer.ip(), original(&stream)),
                    (own.into(), v4(203, 0, 113, 9, 443))
                );
                stream.write_all(b"captured").unwrap();
            }
        },
    );
}

#[test]
fn the_socket_behind_a_captured_connection_is_found_from_outside() {
    sealed(
        "the_socket_behind_a_captured_connection_is_found_from_outside",
        || {
            let mut stream = TcpStream::connect("203.0.113.9:443").unwrap();
            assert_eq!(read_all(&mut stream), "found");
        },
        |sockets| {
            let diag = sockets.take("sock-diag");
            let (mut stream, peer) = sockets.listener("capture4").accept().unwrap();
            let found = tcp_sockets(&diag);
            let agents = found
                .iter()
                .filter(|socket| socket.from == peer.port() && socket.to == 443);
            let inodes: Vec<u32> = agents.map(|socket| socket.inode).collect();
            assert!(inodes.len() == 1 && inodes[0] > 0, "{found:?}");
            stream.write_all(b"found").unwrap();
        },
    );
}
