//! What each uid meets in a namespace that has egress: a veth pair leads to a peer in another namespace.
//!
//! Clauses: N2, N6, N7, N8, N9, N12.

#![expect(
    clippy::disallowed_methods,
    reason = "the test plays the agent and the proxy, who connect wherever they like"
)]

#[cfg(test)]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use netctl::kernel;
use rustix::io::Errno;
use support::sealed::{PING, raw};
use support::shared::{datagram, fenced, reached, refused};
use support::{AGENT, PROXY, Role, counted, spec};

#[test]
fn n7_only_the_proxy_reaches_the_outside() {
    fenced(
        &[Role::Proxy, Role::Agent, Role::Root],
        "n7_only_the_proxy_reaches_the_outside",
        |role, _peer| {
            for host in ["192.0.2.2", "[2001:db8::2]"] {
                let address = format!("{host}:80");
                if role == Role::Proxy {
                    reached(&address);
                } else {
                    refused(&address);
                }
            }
        },
    );
}

#[test]
fn n7_the_proxy_asks_its_resolvers_and_sends_no_other_datagram() {
    fenced(
        &[Role::Proxy, Role::Agent, Role::Root],
        "n7_the_proxy_asks_its_resolvers_and_sends_no_other_datagram",
        |role, _peer| {
            for host in ["192.0.2.2", "[2001:db8::2]"] {
                let expected = if role == Role::Proxy {
                    Ok(8)
                } else {
                    Err(Errno::PERM)
                };
                assert_eq!(datagram(&format!("{host}:53")), expected, "{host}");
                assert_eq!(datagram(&format!("{host}:443")), Err(Errno::PERM), "{host}");
            }
        },
    );
}

#[test]
fn n8_the_agent_reaches_what_the_spec_names_and_nothing_else() {
    fenced(
        &[Role::Agent, Role::Root],
        "n8_the_agent_reaches_what_the_spec_names_and_nothing_else",
        |role, _peer| {
            let named = [
                "127.0.0.1:3128",
                "[::1]:3128",
                "127.0.0.1:4096",
                "[::1]:4096",
                "127.0.0.1:53",
                "[::1]:53",
            ];
            let others = [
                "127.0.0.2:3128",
                "127.0.0.1:9090",
                "[::1]:9090",
                "192.0.2.1:3128",
                "[2001:db8::1]:3128",
            ];
            let listen = |address: &&str| TcpListener::bind(*address).unwrap();
            let _named: Vec<TcpListener> = named.iter().map(listen).collect();
            let _others: Vec<TcpListener> = others.iter().map(listen).collect();
            others.iter().for_each(|address| refused(address));
            let hosts = ["192.0.2.2:5432", "[2001:db8::2]:5432"];
            for address in named.iter().chain(&hosts) {
                if role == Role::Agent {
                    reached(address);
                } else {
                    refused(address);
                }
            }
            let stub = if role == Role::Agent {
                Ok(8)
            } else {
                Err(Errno::PERM)
            };
            let datagrams = [
                "127.0.0.1:53",
                "[::1]:53",
                "127.0.0.1:4096",
                "127.0.0.11:53",
                "127.0.0.1:3128",
                "192.0.2.2:5432",
            ];
            assert_eq!(
                datagrams.map(datagram),
                [
                    stub,
                    stub,
                    stub,
                    Err(Errno::PERM),
                    Err(Errno::PERM),
                    Err(Errno::PERM)
                ]
            );
        },
    );
}

#[test]
fn n6_what_was_refused_was_counted() {
    fenced(
        &[Role::Agent],
        "n6_what_was_refused_was_counted",
        |_, _peer| {
            refused("192.0.2.2:80");
            refused("[2001:db8::2]:80");
            assert_eq!(datagram("192.0.2.2:443"), Err(Errno::PERM));
            let counted = counted("output");
            // The kernel may have sent a multicast listener report meanwhile, which is refused too.
            let [logged, reset, rejected] = counted[..] else {
                panic!("{counted:?}");
            };
            assert!(
                reset == 2 && rejected >= 1 && logged == reset + rejected,
                "{counted:?}"
            );
        },
    );
}

#[test]
fn n9_from_outside_published_ports_are_reached_and_no_others() {
    fenced(
        &[Role::Proxy],
        "n9_from_outside_published_ports_are_reached_and_no_others",
        |_, peer| {
            let listen = |port: u16| TcpListener::bind(("::", port)).unwrap();
            let _listeners = [listen(8443), listen(3128), listen(4096)];
            let outcomes = peer.within(|| {
                [
                    "192.0.2.1:8443",
                    "[2001:db8::1]:8443",
                    "192.0.2.1:3128",
                    "[2001:db8::1]:4096",
                ]
                .map(|address| {
                    TcpStream::connect(address)
                        .map(drop)
                        .map_err(|error| error.kind())
                })
            });
            let no = Err(ErrorKind::ConnectionRefused);
            assert_eq!(outcomes, [Ok(()), Ok(()), no, no]);
            let told = peer.within(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect("192.0.2.1:9").unwrap();
                socket.send(b"knock").unwrap();
                socket.recv(&mut [0; 8]).unwrap_err().kind()
            });
            assert_eq!(
                told,
                ErrorKind::HostUnreachable,
                "administratively prohibited"
            );
        },
    );
}

#[test]
fn n2_a_connection_ends_in_order_though_its_socket_is_gone() {
    fenced(
        &[Role::Agent],
        "n2_a_connection_ends_in_order_though_its_socket_is_gone",
        |_, peer| {
            let listener = peer.tcp(5432);
            let mut stream = TcpStream::connect("192.0.2.2:5432").unwrap();
            let (mut other, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while let Ok(more) = stream.write(&[7; 4096]) {
                sent += more; // until the peer's window and our queue are full
            }
            drop(stream); // what the kernel still sends has no socket, and so no uid
            let mut bytes = Vec::new();
            assert_eq!(other.read_to_end(&mut bytes).unwrap(), sent);
        },
    );
}

#[test]
fn n2_a_connection_ends_when_the_rule_that_admitted_it_does() {
    fenced(
        &[Role::Agent],
        "n2_a_connection_ends_when_the_rule_that_admitted_it_does",
        |_, peer| {
            let listener = peer.tcp(5432);
            let mut stream = TcpStream::connect("192.0.2.2:5432").unwrap();
            let (mut other, _) = listener.accept().unwrap();
            stream.write_all(b"before").unwrap();
            other.read_exact(&mut [0; 6]).unwrap();
            let narrower = spec(&format!(
                r#"{{"v":1,"topology":"shared","proxy_uid":{PROXY},"agent_uid":{AGENT},"explicit":3128,"nflog_group":9}}"#
            ));
            kernel::replace(&narrower).unwrap();
            stream.write_all(b"after").unwrap();
            assert_eq!(
                stream.read(&mut [0; 1]).unwrap_err().kind(),
                ErrorKind::ConnectionReset
            );
        },
    );
}

#[test]
fn n12_neighbour_discovery_passes_and_echo_does_not() {
    fenced(
        &[Role::Proxy],
        "n12_neighbour_discovery_passes_and_echo_does_not",
        |_, _peer| {
            reached("[2001:db8::2]:80"); // its address was never resolved before
            let echoes = ["192.0.2.2:0", "[2001:db8::2]:0"].map(|target| target.parse().unwrap());
            assert_eq!(
                [raw(1, PING, echoes[0]), raw(58, PING, echoes[1])],
                [Err(Errno::PERM), Err(Errno::PERM)]
            );
        },
    );
}
