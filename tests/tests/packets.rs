//! What is neither TCP nor DNS: refused at once, counted to the packet, and told in few lines of record.
//! Clauses: N6, R6.

use std::collections::BTreeMap;

use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, Record, USUAL};
use harness::spec::Readings;
use harness::world::World;

/// How many packets the record tells of, by protocol, address and port; those that it does not tell apart under `-`.
fn counted(record: &Record) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in record.of_kind("packet") {
        let address = event["address"].as_str().unwrap_or("-");
        // What the fence's own proof sends before the agent starts: `orchestrator/src/probe/attempts.rs`.
        if !address.starts_with("192.0.2.") && !address.starts_with("2001:db8:") {
            let protocol = event["protocol"].as_str().unwrap_or_default();
            let kind = format!(
                "{protocol} {address} {}",
                event["port"].as_u64().unwrap_or_default()
            );
            *counts.entry(kind).or_default() += event["count"].as_u64().unwrap_or_default();
        }
    }
    for event in record
        .of_kind("gap")
        .into_iter()
        .filter(|event| event["lost"] == "packets")
    {
        *counts.entry("lost".to_owned()).or_default() +=
            event["count"].as_u64().unwrap_or_default();
    }
    counts
}

for_each_user! {
    fn each_packet_of_each_protocol_is_refused_by_the_call_that_sends_it_and_counted(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.write("spray.py", SPRAY)?;
        let finished = project.run(&["timeout", "30", "python3", "spray.py"])?.succeeded()?;
        // Of pings over IPv6 the kernel tells the sender nothing (net/ipv6/ping.c drops what became of the packet): two of 23.
        assert_eq!(finished.stdout, "21 of 23 refused\nSCTP refused\n", "{finished}");
        let expected = [
            ("icmp 203.0.113.9 0", 4), ("icmpv6 2a0f:ffff:99::9 0", 2), ("udp 203.0.113.9 443", 7), ("udp 203.0.113.9 444", 1),
            ("udp 2a0f:ffff:99::9 443", 5), ("udp 9.9.9.9 123", 3), ("udp 198.18.0.1 4444", 1),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(kind, count)| (kind.to_owned(), count)).into();
        let record = project.newest_record()?;
        assert_eq!(counted(&record), expected, "{record:#?}");
        assert_eq!(world.readings()?, Readings::default());
        Ok(())
    }

    fn a_flood_is_counted_exactly_and_told_in_few_lines(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.write("flood.py", FLOOD)?;
        let finished = project.run(&["timeout", "60", "python3", "flood.py"])?.succeeded()?;
        assert_eq!(finished.stdout, "20001 refused\n", "{finished}");
        let record = project.newest_record()?;
        let counts = counted(&record);
        assert_eq!(counts.values().sum::<u64>(), 20_001, "{counts:?}");
        // 1,000 kinds, at most 256 of them told apart in each second.
        assert!(counts["udp - 0"] > 0, "{counts:?}");
        assert!(record.lines.len() < 6_000, "{} lines", record.lines.len());
        assert_eq!(world.readings()?, Readings::default());
        Ok(())
    }
}

/// Datagrams and pings over both families, how many of them the call that sends them refuses; then an SCTP socket.
const SPRAY: &str = r#"
import errno, socket
V4, V6 = socket.AF_INET, socket.AF_INET6
PING4, PING6 = b"\x08\0\0\0\0\0\0\0", b"\x80\0\0\0\0\0\0\0"
sprays = [
    (V4, 0, "203.0.113.9", 443, 7, b"quic"),
    (V4, 0, "203.0.113.9", 444, 1, b"quic"),
    (V6, 0, "2a0f:ffff:99::9", 443, 5, b"quic"),
    (V4, 0, "9.9.9.9", 123, 3, b"time"),
    (V4, 0, "198.18.0.1", 4444, 1, b"own"),
    (V4, socket.IPPROTO_ICMP, "203.0.113.9", 0, 4, PING4),
    (V6, socket.IPPROTO_ICMPV6, "2a0f:ffff:99::9", 0, 2, PING6),
]
refused = 0
for family, protocol, address, port, count, content in sprays:
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as s:
        for _ in range(count):
            try:
                s.sendto(content, (address, port))
            except PermissionError:
                refused += 1
print(refused, "of", sum(spray[4] for spray in sprays), "refused")
try:
    with socket.socket(V4, socket.SOCK_STREAM, 132) as s:
        s.settimeout(5)
        s.connect(("203.0.113.9", 9))
    print("SCTP connected")
except OSError as error:
    # The kernel has none, the box may make no such socket, or the rules refuse its packet: anything else was not refused.
    refused = [errno.EPROTONOSUPPORT, errno.EPERM, errno.EACCES, errno.ECONNREFUSED, errno.EHOSTUNREACH]
    print("SCTP refused" if error.errno in refused else f"SCTP: {error!r}")
"#;

/// 20,000 datagrams to 1,000 ports, and one more when the burst is over.
const FLOOD: &str = r#"
import socket, time
refused = 0
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def send(port):
    global refused
    try:
        s.sendto(b"flood", ("203.0.113.9", port))
    except PermissionError:
        refused += 1
for number in range(20_000):
    send(20_000 + number % 1_000)
time.sleep(0.5)
send(443)
print(refused, "refused")
"#;
