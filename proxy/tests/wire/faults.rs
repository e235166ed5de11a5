//! What others do wrong, and what happens to us: origins that break off, resolvers that lie, a kill, a clock that jumps,
//! a crowd of slow clients. What is asked: nothing is passed off as whole, nothing is dialled in doubt, the record stays
//! a record, and whoever behaves is served.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use policies::audit::Verifier;
use serde_json::Value;
use socket2::SockRef;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::origin::{Guest, Origin};
use crate::support::proxy::{Proxy, Start};

/// Answers with the first bytes of `answer`, as many as `count` says then, and resets; or closes, once all is sent.
fn resetting(answer: &'static [u8], count: &Arc<Mutex<usize>>) -> Origin {
    let count = Arc::clone(count);
    Origin::start(move |guest: &mut Guest| {
        if guest.head().is_none() {
            return;
        }
        let count = *count.lock().unwrap();
        guest.write(&answer[..count]);
        if count < answer.len() {
            SockRef::from(&guest.stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    })
}

/// What a client reads to the end, and whether the end was a close and not a reset.
fn to_the_end(client: &mut Client) -> (Vec<u8>, bool) {
    use std::io::Read;
    let mut bytes = Vec::new();
    let closed = client.stream.read_to_end(&mut bytes).is_ok();
    (bytes, closed)
}

#[test]
fn an_answer_that_its_origin_broke_off_at_any_byte_never_looks_whole() {
    let dns = Dns::start();
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n0123456789",
    ] {
        let count = Arc::default();
        let origin = resetting(answer, &count);
        let to = format!("ok.test:{}", origin.port());
        let proxy = Proxy::start(&format!("http-domain-whitelist: ['{to}']\n"), &dns);
        let get = format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        for cut in 0..=answer.len() {
            *count.lock().unwrap() = cut;
            let mut client = Client::connect(proxy.address);
            client.send(&get);
            let (bytes, closed) = to_the_end(&mut client);
            let text = String::from_utf8_lossy(&bytes);
            if cut == answer.len() {
                assert!(closed && text.starts_with("HTTP/1.1 200 OK"), "{text}");
            } else if text.starts_with("HTTP/1.1 502 ") {
                assert!(text.contains("details=\"dial-failed\""), "{cut}: {text}");
            } else {
                let short = !text.ends_with("0\r\n\r\n") && !text.ends_with("\r\n\r\n0123456789");
                assert!(!closed || (answer[7] == b'1' && short), "{cut}: {text}");
            }
        }
        let events = proxy.settled(answer.len() + 1);
        let ends: Vec<&Value> = events.iter().filter(|it| it["event"] == "close").collect();
        let broken = ends.iter().filter(|it| it["outcome"] == "upstream-error");
        assert_eq!(
            (broken.count(), ends.len()),
            (answer.len(), answer.len() + 1)
        );
        proxy.stop();
    }
}

#[test]
fn a_tunnel_that_its_origin_broke_off_is_reset_and_not_closed() {
    let dns = Dns::start();
    let origin = Origin::start(|guest| {
        let mut buffer = [0; 5];
        guest.read(&mut buffer);
        guest.write(b"half");
        guest.read(&mut buffer);
        SockRef::from(&guest.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let to = format!("ok.test:{}", origin.port());
    let proxy = Proxy::start(&format!("tcp-endpoints: ['{to}']\n"), &dns);
    let mut client = Client::tunnel(proxy.address, &to);
    client.send(b"hello");
    assert_eq!(client.exactly(4), b"half");
    client.send(b"again");
    assert_eq!(to_the_end(&mut client), (Vec::new(), false));
    assert_eq!(proxy.settled(1)[1]["outcome"], "upstream-error");
    proxy.stop();
}

#[test]
fn a_client_that_breaks_off_its_tunnel_resets_the_origin_too() {
    let dns = Dns::start();
    let ended: Arc<Mutex<Option<bool>>> = Arc::default();
    let origin = {
        let ended = Arc::clone(&ended);
        Origin::start(move |guest| {
            use std::io::Read;
            let closed = guest.stream.read_to_end(&mut Vec::new()).is_ok();
            *ended.lock().unwrap() = Some(closed);
        })
    };
    let to = format!("ok.test:{}", origin.port());
    let proxy = Proxy::start(&format!("tcp-endpoints: ['{to}']\n"), &dns);
    let client = Client::tunnel(proxy.address, &to);
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    assert_eq!(proxy.settled(1)[1]["outcome"], "client-error");
    let since = Instant::now();
    while ended.lock().unwrap().is_none() {
        assert!(
            since.elapsed() < crate::support::PATIENCE,
            "the origin was not told"
        );
        std::thread::yield_now();
    }
    assert_eq!(*ended.lock().unwrap(), Some(false));
    proxy.stop();
}

/// What a scripted resolver does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolver {
    /// Says the truth after half a second.
    Slow,
    Silent,
    /// Answers with bytes that are no message.
    Garbage,
    /// Answers for another name.
    OtherName,
    /// Answers with another id.
    OtherId,
    /// Answers that the rest is to be had over TCP, where nobody listens.
    Truncated,
    /// Says that a public name lies on this machine.
    Private,
}

fn scripted(script: Resolver) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            let question = message.queries.first().unwrap().clone();
            message.metadata.message_type = MessageType::Response;
            let mut name = question.name().clone();
            let mut data = [127, 0, 0, 1];
            match script {
                Resolver::Silent => continue,
                Resolver::Garbage => {
                    socket
                        .send_to(&[&buffer[..2], &[0xff; 40]].concat(), from)
                        .unwrap();
                    continue;
                }
                Resolver::Slow => std::thread::sleep(Duration::from_millis(500)),
                Resolver::OtherName => name = Name::from_ascii("other.test.").unwrap(),
                Resolver::OtherId => message.metadata.id ^= 1,
                Resolver::Truncated => message.metadata.truncation = true,
                Resolver::Private => data = [10, 0, 0, 5],
            }
            if question.query_type() == RecordType::A && script != Resolver::Truncated {
                message
                    .answers
                    .push(Record::from_rdata(name, 60, RData::A(A(data.into()))));
            }
            socket.send_to(&message.to_vec().unwrap(), from).unwrap();
        }
    });
    address
}

#[test]
fn whatever_the_resolver_does_nothing_is_dialled_that_it_did_not_plainly_say() {
    for (script, status, reason) in [
        (Resolver::Slow, 200, None),
        (Resolver::Silent, 504, Some("dns-failed")),
        (Resolver::Garbage, 504, Some("dns-failed")),
        (Resolver::OtherName, 502, Some("dns-failed")),
        (Resolver::OtherId, 504, Some("dns-failed")),
        (Resolver::Truncated, 502, Some("dns-failed")),
        (Resolver::Private, 403, Some("private-address")),
    ] {
        let origin = Origin::http();
        let to = format!("ok.test:{}", origin.port());
        let dns = Dns::played_by(scripted(script));
        let lines = format!("http-domain-whitelist: ['{to}']\nlimits: {{connect-timeout: 2s}}\n");
        let proxy = Proxy::start(&lines, &dns);
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "GET http://{to}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let answer = client.last_answer();
        let said = (answer.status, answer.reason());
        // A resolver that does not answer and one that answers nothing of use differ in words alone.
        let silent = reason == Some("dns-failed") && matches!(said.0, 502 | 504);
        assert!(said.0 == status || silent, "{script:?}: {said:?}");
        assert_eq!(said.1.as_deref(), reason, "{script:?}");
        assert_eq!(
            origin.seen().len(),
            usize::from(status == 200),
            "{script:?}"
        );
        proxy.settled(1);
        proxy.stop();
    }
}

#[test]
fn a_kill_under_load_loses_no_line_that_somebody_was_answered_for() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let to = format!("ok.test:{}", origin.port());
    let proxy = Proxy::start(&format!("http-domain-whitelist: ['{to}']\n"), &dns);
    let address = proxy.address;
    let answered: Arc<Mutex<Vec<String>>> = Arc::default();
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let (answered, to) = (Arc::clone(&answered), to.clone());
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                for turn in 0_u32.. {
                    // Refused and allowed by turns; the host tells which request it was.
                    let host = if turn % 2 == 0 {
                        to.clone()
                    } else {
                        format!("n{number}-{turn}.test:80")
                    };
                    let Ok(mut stream) = TcpStream::connect(address) else {
                        return;
                    };
                    let get = format!(
                        "GET http://{host}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    );
                    let mut bytes = Vec::new();
                    if stream.write_all(get.as_bytes()).is_err()
                        || stream.read_to_end(&mut bytes).is_err()
                        || bytes.is_empty()
                    {
                        return;
                    }
                    answered.lock().unwrap().push(host);
                }
            })
        })
        .collect();
    while answered.lock().unwrap().len() < 400 {
        std::thread::yield_now();
    }
    // The signal that the kernel sends when memory is short.
    let directory = proxy.kill();
    for client in clients {
        client.join().unwrap();
    }
    let bytes = std::fs::read(directory.path().join("audit.jsonl")).unwrap();
    let mut requests = Vec::new();
    let mut verifier = Verifier::new();
    verifier
        .feed(&bytes, |record| {
            if let policies::audit::Event::Request(request) = record.event {
                let (host, port) = (request.host.unwrap(), request.port.unwrap());
                requests.push(format!("{host}:{port}"));
            }
        })
        .unwrap();
    let answered = answered.lock().unwrap();
    let count = |all: &[String], one: &str| all.iter().filter(|it| *it == one).count();
    for host in answered.iter() {
        let (answers, lines) = (count(&answered, host), count(&requests, host));
        assert!(lines >= answers, "{host}: {answers} answers, {lines} lines");
    }
    let start = Start {
        policy: "",
        dns: &dns,
        arguments: &[],
        through: &[],
    };
    // The next run goes on in the same record. Of what was open there is no end in it: nobody was there to see one.
    let next = Proxy::start_in(directory, &start);
    next.signal("-TERM");
    while next.lines().last().unwrap()["event"] != "stop" {
        std::thread::yield_now();
    }
    verifier = Verifier::new();
    verifier
        .feed(&std::fs::read(next.record_file()).unwrap(), |_| {})
        .unwrap();
    verifier.finish().unwrap();
}

#[test]
fn a_wall_clock_that_jumps_ends_nothing_and_breaks_no_chain() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let to = format!("ok.test:{}", origin.port());
    let lines = format!("tcp-endpoints: ['{to}']\nlimits: {{idle-timeout: 1h}}\n");
    let clock = tempfile::tempdir().unwrap();
    let clock = clock.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    // The package faketime: the wall clock alone is what the file says, read at each look at it.
    let library = "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1";
    let through = [
        "env",
        &file,
        library,
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    let proxy = Proxy::start_with(&Start {
        policy: &lines,
        dns: &dns,
        arguments: &[],
        through: &through,
    });
    let mut client = Client::tunnel(proxy.address, &to);
    for (number, jump) in ["+3650d", "-3650d", "+0"].into_iter().enumerate() {
        std::fs::write(&clock, jump).unwrap();
        client.send(b"tick");
        assert_eq!(client.exactly(4), b"tick", "{jump}");
        let mut other = Client::tunnel(proxy.address, &to);
        other.send(b"tock");
        assert_eq!(other.exactly(4), b"tock", "{jump}");
        drop(other);
        proxy.wait_events(|events| events.len() == 1 + 2 * (number + 1));
    }
    drop(client);
    proxy.settled(4);
    let lines = proxy.stop();
    let years: Vec<&str> = lines
        .iter()
        .map(|line| &line["time"].as_str().unwrap()[..4])
        .collect();
    let (least, most) = (years.iter().min().unwrap(), years.iter().max().unwrap());
    assert!(
        most.parse::<u32>().unwrap() - least.parse::<u32>().unwrap() >= 19,
        "the clock did not jump: {years:?}"
    );
    for close in lines.iter().filter(|line| line["event"] == "close") {
        assert!(close["duration_ms"].as_u64().unwrap() < 60_000, "{close}");
    }
}

#[test]
fn two_thousand_slow_clients_do_not_keep_a_good_one_from_being_served() {
    const SLOW: usize = 2_000;
    let (dns, origin) = (Dns::start(), Origin::http());
    let to = format!("ok.test:{}", origin.port());
    let lines = format!("http-domain-whitelist: ['{to}']\nlimits: {{head-timeout: 5m}}\n");
    let through = ["prlimit", "--nofile=16384"];
    let proxy = Proxy::start_with(&Start {
        policy: &lines,
        dns: &dns,
        arguments: &[],
        through: &through,
    });
    let alone = served(&proxy, &to);
    // A byte of a head from each of them, again and again.
    let head = format!("GET http://{to}/ HTTP/1.1\r\nX: {}", "a".repeat(4096));
    let mut slow: Vec<TcpStream> = (0..SLOW)
        .map(|_| TcpStream::connect(proxy.address).unwrap())
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let dripping = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            use std::io::Write;
            for byte in head.bytes().take_while(|_| !stop.load(Ordering::Relaxed)) {
                for stream in &mut slow {
                    stream.write_all(&[byte]).unwrap();
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            slow
        })
    };
    let beside = served(&proxy, &to);
    stop.store(true, Ordering::Relaxed);
    let slow = dripping.join().unwrap();
    println!(
        "a good client's median request: {alone:?} alone, {beside:?} beside {} slow ones, {:.1} times as long",
        slow.len(),
        beside.as_secs_f64() / alone.as_secs_f64()
    );
    drop(slow);
    proxy.stop();
}

/// 200 requests in a row, each on a connection of its own, all of them answered; the median of their durations.
fn served(proxy: &Proxy, to: &str) -> Duration {
    let get = format!("GET http://{to}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            let since = Instant::now();
            let mut client = Client::connect(proxy.address);
            client.send(&get);
            assert_eq!(client.last_answer().status, 200);
            since.elapsed()
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}
