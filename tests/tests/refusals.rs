//! Every kind of destination that the policy does not list: refused at once, for a reason that is on record, and without
//! one packet or one query outside. Each is its own `ocs run`.
//! Clauses: N3, N4, N5, N6, P1, P2, P4, P5, P6, W1, W7, R1, R6.

use harness::for_each_user;
use harness::measured::note;
use harness::order::Order;
use harness::project::{Decided, Project, USUAL};
use harness::spec::Readings;
use harness::world::World;

struct Refusal {
    /// What the agent runs; `timeout 5` stands before it, so 124 would mean that it hung.
    command: &'static str,
    /// What the client may end with.
    codes: &'static [i32],
    /// Event, host or packet, port, reason.
    on_record: (&'static str, &'static str, u64, &'static str),
    /// The one name that the DNS server may be asked for: one that is listed, but whose address is refused.
    may_ask: Option<&'static str>,
}

/// curl's own words for it: cannot resolve, cannot connect, an HTTP error, TLS failed, empty reply, tunnel refused.
const CURL: &[i32] = &[6, 7, 22, 35, 52, 56];

const fn curl(
    command: &'static str,
    host: &'static str,
    port: u64,
    reason: &'static str,
) -> Refusal {
    Refusal {
        command,
        codes: CURL,
        on_record: ("request", host, port, reason),
        may_ask: None,
    }
}

const fn curl_after_a_lookup(command: &'static str, host: &'static str) -> Refusal {
    let on_record = ("request", host, 443, "private-address");
    Refusal {
        command,
        codes: CURL,
        on_record,
        may_ask: Some(host),
    }
}

const fn datagram(command: &'static str, packet: &'static str, port: u64) -> Refusal {
    Refusal {
        command,
        codes: &[1],
        on_record: ("packet", packet, port, "direct"),
        may_ask: None,
    }
}

const fn query(command: &'static str, name: &'static str) -> Refusal {
    Refusal {
        command,
        codes: &[9],
        on_record: ("dns", name, 0, "dns"),
        may_ask: None,
    }
}

/// With the proxy's variables, as the agent has them.
const EXPLICIT: &[Refusal] = &[
    curl(
        "curl -sSf https://evil.test/",
        "evil.test",
        443,
        "not-whitelisted",
    ),
    curl(
        "curl -sSf http://evil.test/",
        "evil.test",
        80,
        "not-whitelisted",
    ),
    curl(
        "curl -sSf https://x.ok.test/",
        "x.ok.test",
        443,
        "not-whitelisted",
    ),
    curl(
        "curl -sSf https://okw.test/",
        "okw.test",
        443,
        "not-whitelisted",
    ),
    curl(
        "curl -sSf https://bad.w.test/",
        "bad.w.test",
        443,
        "denylisted",
    ),
    curl("curl -sSf https://ok.test:8443/", "ok.test", 8443, "port"),
    curl("curl -sSf http://ok.test:8080/", "ok.test", 8080, "port"),
    curl(
        "curl -sSf http://docker.host:9999/",
        "docker.host",
        9999,
        "port",
    ),
    curl(
        "curl -sSf https://11.22.33.66/",
        "11.22.33.66",
        443,
        "ip-literal",
    ),
    curl(
        "curl -sSf https://11.22.33.10/",
        "11.22.33.10",
        443,
        "ip-literal",
    ),
    curl(
        "curl -sSf --noproxy '' 'http://[::1]/'",
        "::1",
        80,
        "ip-literal",
    ),
    curl(
        "curl -sSf 'https://[2a0f:ffff:11::10]/'",
        "2a0f:ffff:11::10",
        443,
        "ip-literal",
    ),
    curl(
        "curl -sSf http://169.254.169.254/latest/",
        "169.254.169.254",
        80,
        "ip-literal",
    ),
    curl_after_a_lookup("curl -sSf https://private.test/", "private.test"),
    curl_after_a_lookup("curl -sSf https://metadata.test/", "metadata.test"),
];

/// Without them, or of protocols that know none.
const DIRECT: &[Refusal] = &[
    query(
        "env -i dig +tries=1 +time=4 @9.9.9.9 udp.evil.test && exit 9",
        "udp.evil.test",
    ),
    query(
        "env -i dig +tcp +tries=1 +time=4 @9.9.9.9 tcp.evil.test && exit 9",
        "tcp.evil.test",
    ),
    query(
        "env -i dig +tries=1 +time=4 @2620:fe::fe v6.evil.test && exit 9",
        "v6.evil.test",
    ),
    datagram("python3 udp.py 11.22.33.66 443", "udp 11.22.33.66", 443),
    datagram("python3 udp.py 11.22.33.66 123", "udp 11.22.33.66", 123),
    datagram(
        "python3 udp.py 2a0f:ffff:11::66 443",
        "udp 2a0f:ffff:11::66",
        443,
    ),
    datagram("ping -n -c 1 -W 4 11.22.33.66", "icmp 11.22.33.66", 0),
    datagram(
        "ping -n -c 1 -W 4 2a0f:ffff:11::66",
        "icmpv6 2a0f:ffff:11::66",
        0,
    ),
];

/// Ends with 1 as soon as the kernel says no; a hang or an answer would be something else.
const UDP: &str = "\
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
try:
    s.connect((address, port))
    s.send(b'x')
    s.recv(1)
except OSError as error:
    sys.exit(f'refused: {error}')
sys.exit(9)
";

for_each_user! {
    fn each_fails_at_once_with_its_reason_on_record(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.write("udp.py", UDP)?;
        let mut wrong = Vec::new();
        for Refusal { command, codes, on_record, may_ask } in EXPLICIT.iter().chain(DIRECT) {
            world.forget()?;
            let finished = project.run(&["sh", "-c", &format!("timeout 5 {command}")])?;
            note("one refused run", &format!("{}: {command}", who.account()), finished.took)?;
            let (event, what, port, verdict) = *on_record;
            let wanted = Decided { event: event.into(), what: what.into(), port, verdict: verdict.into() };
            let decided = project.newest_record()?.decided();
            if !codes.contains(&finished.code()) || decided != [wanted.clone()] {
                wrong.push(format!("{finished}\nwanted {wanted:?}, the record has {decided:#?}"));
            }
            let Readings { queries, connections, flows } = world.readings()?;
            let asked = queries.iter().all(|query| Some(query.name.as_str()) == *may_ask);
            let left = flows.iter().any(|flow| flow.port != 53) || (may_ask.is_none() && !flows.is_empty());
            if !asked || !connections.is_empty() || left {
                wrong.push(format!("{command} got out: {queries:?} {connections:?} {flows:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
        Ok(())
    }
}
