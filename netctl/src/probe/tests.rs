use std::net::{TcpListener, UdpSocket};

use super::*;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn findings_cross_the_pipe_unchanged() {
    for outcome in [
        Outcome::Hung,
        Outcome::NoIpv6,
        Outcome::Passed("x".to_owned()),
    ] {
        let finding = Finding {
            probe: Probe::Udp6,
            outcome,
        };
        let text = serde_json::to_string(&finding).unwrap();
        assert_eq!(
            serde_json::from_str::<Finding>(&text).unwrap(),
            finding,
            "{text}"
        );
    }
}

/// Targets on loopback: everything at one address, over IPv4 only.
fn targets(at: SocketAddr) -> Targets {
    Targets {
        foreign: [at; 2],
        resolvers: [at; 2],
        proxies: [at; 2],
        query: ("probe.invalid".to_owned(), TYPE_A),
        authority: "probe.invalid:443".to_owned(),
    }
}

/// What an attempt says of a server that answers each connection's first bytes with `reply` and closes.
fn against_stream(probe: Probe, reply: &'static [u8]) -> Outcome {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let targets = targets(listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 2048]).unwrap();
            assert!(read > 0);
            stream.write_all(reply).unwrap();
            // What the probe still writes is read: unread, it would reset the connection before the reply is heard.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        });
        attempts::outcome(probe, &targets, LIMIT)
    })
}

/// The same for one datagram; no reply at all where `reply` is none.
fn against_datagram(probe: Probe, reply: Option<&'static [u8]>) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let targets = targets(socket.local_addr().unwrap());
    std::thread::scope(|scope| {
        let served = socket.try_clone().unwrap();
        scope.spawn(move || {
            let (_, from) = served.recv_from(&mut [0; 512]).unwrap();
            if let Some(reply) = reply {
                served.send_to(reply, from).unwrap();
            }
        });
        attempts::outcome(probe, &targets, if reply.is_some() { LIMIT } else { SHORT })
    })
}

#[test]
fn an_answered_stream_is_a_hole_and_a_closed_one_a_refusal() {
    let passed = Outcome::Passed("answered 2 bytes".to_owned());
    assert_eq!(against_stream(Probe::Tcp4, b"hi"), passed);
    assert_eq!(
        against_stream(Probe::Tcp4, b""),
        Outcome::Refused("closed".to_owned())
    );
}

#[test]
fn a_datagram_that_nobody_refuses_is_a_hole_whether_answered_or_not() {
    let passed = Outcome::Passed("answered 2 bytes".to_owned());
    assert_eq!(against_datagram(Probe::Udp4, Some(b"hi")), passed);
    assert_eq!(against_datagram(Probe::Udp4, None), Outcome::Hung);
    let free = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // It arrived, and its destination said that nobody listens: no rule of ours refused it.
    let arrived = attempts::outcome(Probe::Udp4, &targets(free), LIMIT);
    let said = "was sent, and then: Connection refused (os error 111)";
    assert_eq!(arrived, Outcome::Passed(said.to_owned()));
}

#[test]
fn only_the_answer_refused_refuses_a_query() {
    let cases: [(&'static [u8], Outcome); 4] = [
        (b"oc\x81\x05", Outcome::Refused("REFUSED".to_owned())),
        (
            b"oc\x81\x80",
            Outcome::Passed("answered with code 0".to_owned()),
        ),
        (
            b"oc\x01\x05",
            Outcome::Passed("answered something else".to_owned()),
        ),
        (
            b"xx\x81\x05",
            Outcome::Passed("answered something else".to_owned()),
        ),
    ];
    for (reply, outcome) in cases {
        assert_eq!(against_datagram(Probe::Dns4, Some(reply)), outcome);
    }
    assert_eq!(against_datagram(Probe::Dns4, None), Outcome::Hung);
}

#[test]
fn only_our_own_403_is_the_proxy_s_refusal() {
    let ours = b"HTTP/1.1 403 Forbidden\r\nProxy-Status: ocs; error=x\r\n\r\n";
    assert_eq!(
        against_stream(Probe::Proxy4, ours),
        Outcome::Refused("403".to_owned())
    );
    let others = b"HTTP/1.1 403 Forbidden\r\n\r\n";
    let passed = |line: &str| Outcome::Passed(line.to_owned());
    assert_eq!(
        against_stream(Probe::Proxy4, others),
        passed("http/1.1 403 forbidden")
    );
    let open = b"HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(
        against_stream(Probe::Proxy4, open),
        passed("http/1.1 200 ok")
    );
    assert_eq!(
        against_stream(Probe::Proxy4, b""),
        Outcome::Untried("closed".to_owned())
    );
}

#[test]
fn a_host_s_own_interfaces_are_seen_as_a_hole_or_there_are_none() {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let only_lo = table
        .lines()
        .skip(2)
        .all(|line| line.trim_start().starts_with("lo:"));
    let at = SocketAddr::from(([127, 0, 0, 1], 9));
    let refused = matches!(
        attempts::outcome(Probe::Interfaces, &targets(at), LIMIT),
        Outcome::Refused(_)
    );
    assert_eq!(refused, only_lo);
}
