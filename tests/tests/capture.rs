//! Nothing needs a proxy variable: clients that know of no proxy are captured, and judged by name all the same.
//! Clauses: N3, N4, P4, P5, W1, W4, W5.

use anyhow::Result;
use harness::for_each_user;
use harness::measured::note;
use harness::order::{OK_ADDRESS, Order};
use harness::project::{Decided, Project, USUAL};
use harness::run::Finished;
use harness::world::{As, Call, World};

fn ground() -> Result<World> {
    World::new(&Order::usual()?)
}

/// The usual policy, and one raw port.
fn project(world: &World, who: As) -> Result<Project<'_>> {
    Project::new(
        world,
        who,
        &format!("{USUAL}tcp-endpoints:\n  - git.w.test:22\n"),
    )
}

/// Runs a shell line behind the fence with no variable but these: none of them speaks of a proxy.
fn bare(project: &Project<'_>, line: &str) -> Result<Finished> {
    let clean = [
        "env",
        "-i",
        "PATH=/usr/bin:/bin",
        "HOME=/tmp",
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    ];
    project.run(&[&clean[..], &["timeout", "10", "sh", "-c", line]].concat())
}

/// A real client: its name, and a line in which `NAME` is the host that it is to talk to over TLS.
const CLIENTS: &[(&str, &str)] = &[
    ("curl", "curl -sSf https://NAME/"),
    (
        "curl over IPv6 first",
        "curl -sSf --happy-eyeballs-timeout-ms 1 https://NAME/",
    ),
    ("wget", "wget -q -O - https://NAME/"),
    (
        "python urllib",
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"https://NAME/\").read().decode())'",
    ),
    (
        "python requests",
        "python3 -c 'import requests; print(requests.get(\"https://NAME/\").text)'",
    ),
    (
        "node fetch",
        "node --use-openssl-ca -e 'fetch(\"https://NAME/\").then(r => r.text()).then(console.log)'",
    ),
    (
        "openssl s_client",
        "printf 'GET / HTTP/1.0\\r\\nHost: NAME\\r\\n\\r\\n' | openssl s_client -quiet -connect NAME:443 -servername NAME 2>/dev/null",
    ),
    (
        "git over https",
        "git clone -q https://NAME/static/repo.git clone && cat clone/file && rm -rf clone",
    ),
];

for_each_user! {
    fn real_clients_reach_an_allowed_name_and_no_other(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        make_repository(&world)?;
        let mut wrong = Vec::new();
        for (client, line) in CLIENTS {
            world.forget()?;
            let finished = bare(&project, &line.replace("NAME", "ok.test"))?;
            let decided = project.newest_record()?.decided();
            if !finished.stdout.contains("hello from ok.test") || decided != [Decided::request("ok.test", 443, "allow")] {
                wrong.push(format!("{client} did not pass: {finished}\n{decided:#?}"));
            }
            if world.readings()?.connections.iter().any(|seen| seen.sni.as_deref() != Some("ok.test")) {
                wrong.push(format!("{client} reached something else: {:#?}", world.readings()?.connections));
            }
            world.forget()?;
            let finished = bare(&project, &line.replace("NAME", "evil.test"))?;
            note("one refused run, captured", &format!("{}: {client}", who.account()), finished.took)?;
            let decided = project.newest_record()?.decided();
            if finished.stdout.contains("hello") || decided != [Decided::dns("evil.test")] {
                wrong.push(format!("{client} was not refused: {finished}\n{decided:#?}"));
            }
            let readings = world.readings()?;
            if (readings.queries.len(), readings.flows.len()) != (0, 0) {
                wrong.push(format!("{client} got out: {readings:#?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        Ok(())
    }

    fn the_address_that_a_client_chose_is_never_dialled(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        let lines = [
            "curl -sSf --resolve ok.test:443:11.22.33.66 https://ok.test/",
            "curl -sSf -H 'Host: ok.test' http://11.22.33.66/",
        ];
        for line in lines {
            world.forget()?;
            let finished = bare(&project, line)?.succeeded()?;
            assert_eq!(finished.stdout, "hello from ok.test\n");
            let reached = world.readings()?.connections.into_iter().map(|seen| seen.address.to_string());
            let ours = [OK_ADDRESS, harness::order::OK_ADDRESS_V6];
            assert!(reached.clone().all(|address| ours.contains(&address.as_str())), "{:?}", reached.collect::<Vec<_>>());
        }
        Ok(())
    }

    fn lookups_that_count_the_machine_s_addresses_find_allowed_names_and_no_other(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        project.write("lookups.py", LOOKUPS)?;
        let python = project.run(&["python3", "lookups.py"])?.succeeded()?;
        assert_eq!(python.stdout, LOOKED_UP);
        let node = "const {lookup, ADDRCONFIG} = require('dns'); const ask = (name, family) => \
                    lookup(name, {family, hints: ADDRCONFIG}, (e, a) => console.log(name, family, e ? e.code : a.replace(/[0-9]+[.][0-9]+$/, 'x'))); \
                    ask('ok.test', 4); ask('ok.test', 0);";
        let node = project.run(&["node", "-e", node])?.succeeded()?;
        let mut lines: Vec<_> = node.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["ok.test 0 198.18.x", "ok.test 4 198.18.x"]);
        assert_eq!(project.newest_record()?.decided(), []);
        assert_eq!(world.readings()?, harness::spec::Readings::default());
        Ok(())
    }

    fn a_raw_endpoint_carries_a_protocol_that_the_server_begins(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        let finished = bare(&project, "exec nc -w 3 git.w.test 22 </dev/null | head -n 1")?;
        assert_eq!(finished.stdout, "SSH-2.0-world\r\n", "{finished}");
        assert_eq!(project.newest_record()?.decided(), [Decided::request("git.w.test", 22, "allow")]);
        Ok(())
    }

    fn what_is_not_the_name_s_own_tls_never_reaches_the_origin(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        let cases = [
            ("echo | openssl s_client -connect ok.test:443 -noservername", "ok.test", 443, "no-sni"),
            ("echo | openssl s_client -connect ok.test:443 -servername evil.test", "ok.test", 443, "sni-mismatch"),
            ("echo SSH-2.0-x | nc -w 5 ok.test 443", "ok.test", 443, "not-tls"),
            ("echo | openssl s_client -connect 11.22.33.66:443 -servername evil.test", "evil.test", 443, "not-whitelisted"),
            ("echo hello | nc -w 5 11.22.33.66 4444", "11.22.33.66", 4444, "ip-literal"),
            ("echo SSH-2.0-x | nc -w 5 w.test 22", "w.test", 22, "port"),
        ];
        for (line, host, port, reason) in cases {
            world.forget()?;
            let finished = bare(&project, line)?;
            assert_ne!(finished.code(), 124, "{finished}");
            let decided = project.newest_record()?.decided();
            assert_eq!(decided, [Decided::request(host, port, reason)], "{finished}");
            let readings = world.readings()?;
            assert_eq!(readings.connections, [], "{line}");
            assert!(readings.queries.iter().all(|query| query.name == "ok.test"), "{line}: {:?}", readings.queries);
            assert!(readings.flows.iter().all(|flow| flow.port == 53), "{line}: {:?}", readings.flows);
        }
        Ok(())
    }

    fn the_stub_answers_allowed_names_and_refuses_every_other_question(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        project.write("ask.sh", QUESTIONS)?;
        let finished = project.run(&["sh", "ask.sh"])?.succeeded()?;
        assert_eq!(finished.stdout, ANSWERS);
        assert_eq!(world.readings()?, harness::spec::Readings::default());
        Ok(())
    }

    fn a_stalled_or_malformed_dns_client_costs_the_others_nothing(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        project.write("stall.py", STALL)?;
        let finished = project.run(&["timeout", "30", "python3", "stall.py"])?.succeeded()?;
        assert_eq!(finished.stdout, "answered\n");
        assert_eq!(world.readings()?, harness::spec::Readings::default());
        Ok(())
    }

    fn a_flood_of_questions_costs_the_others_no_answer(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        project.write("flood.py", FLOOD)?;
        let call = Call::new(&["ocs", "run", "--", "python3", "flood.py"]).for_seconds(300);
        let finished = project.call(call)?.succeeded()?;
        assert_eq!(finished.stdout, "1 port: 40 of 40\n500 ports: 40 of 40\n500 addresses: 40 of 40\n", "{finished}");
        assert_eq!(world.readings()?, harness::spec::Readings::default());
        Ok(())
    }

    fn the_agent_s_own_loopback_services_work(who) {
        let world = ground()?;
        let project = project(&world, who)?;
        let line = "python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 & \
                    for i in $(seq 100); do curl -sf http://127.0.0.1:8000/opencode-sandbox-config.yaml | head -n 1 | grep . && break; sleep 0.1; done";
        let finished = bare(&project, line)?.succeeded()?;
        assert_eq!(finished.stdout, "sandbox-name: under-test\n");
        assert_eq!(project.newest_record()?.decided(), []);
        Ok(())
    }
}

/// A bare repository that a plain file server can give away.
fn make_repository(world: &World) -> Result<()> {
    let line = "set -e; cd /home/static; git init -q -b main work; cd work; echo 'hello from ok.test' > file; git add file; \
                git -c user.name=a -c user.email=a@b commit -q -m x; git clone -q --bare . ../repo.git; \
                git --git-dir ../repo.git update-server-info; chmod -R a+rX /home/static";
    world
        .run(As::Root, Call::new(&["sh", "-c", line]))?
        .succeeded()
        .map(drop)
}

/// What getaddrinfo(3) says of each name and family under `AI_ADDRCONFIG`; of an address, the part that is the same each run.
const LOOKUPS: &str = r#"
import socket
families = [socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC]
for name in ["ok.test", "localhost", "::1", "evil.test"]:
    for family in families:
        try:
            found = socket.getaddrinfo(name, 443, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            said = " ".join(sorted({".".join(entry[4][0].split(".")[:2]) for entry in found}))
        except socket.gaierror as error:
            said = "-"
        print(name, family.name, said)
"#;

const LOOKED_UP: &str = "\
ok.test AF_INET 198.18
ok.test AF_INET6 -
ok.test AF_UNSPEC 198.18
localhost AF_INET 127.0
localhost AF_INET6 ::1
localhost AF_UNSPEC 127.0 ::1
::1 AF_INET -
::1 AF_INET6 ::1
::1 AF_UNSPEC ::1
evil.test AF_INET -
evil.test AF_INET6 -
evil.test AF_UNSPEC -
";

/// Prints the status of each answer, and what of it matters.
const QUESTIONS: &str = r#"
ask() { dig +tries=1 +time=3 "$@" | awk -v q="$*" '/status:/ {sub(/,/, "", $6); s=$6} /ANSWER: / {for (i=1;i<NF;i++) if ($i=="ANSWER:") {n=$(i+1); sub(/,/, "", n)}} END {print q ": " s " " n}'; }
for type in A AAAA HTTPS SVCB TXT NULL SRV ANY NAPTR MX; do ask ok.test $type; done
for name in evil.test secret.evil.test bad.w.test ok.test.evil.test; do ask $name A; done
ask +tcp ok.test A
ask +tcp evil.test A
ask -x 11.22.33.10
ask docker.host A
ask localhost A
a=$(dig +short ok.test); b=$(dig +short OK.TEST.); test "$a" = "$b" && echo stable
case $a in 198.18.*|198.19.*) echo synthetic;; esac
{ echo nameserver 8.8.8.8 >/etc/resolv.conf; } 2>/dev/null && echo written; grep -c 8.8.8.8 /etc/resolv.conf
for name in ok.test evil.test; do getent ahostsv4 $name | cut -d. -f1,2 | sort -u | grep . || echo none; done
"#;

const ANSWERS: &str = "\
ok.test A: NOERROR 1
ok.test AAAA: NOERROR 0
ok.test HTTPS: NOERROR 0
ok.test SVCB: NOERROR 0
ok.test TXT: REFUSED 0
ok.test NULL: REFUSED 0
ok.test SRV: REFUSED 0
ok.test ANY: REFUSED 0
ok.test NAPTR: REFUSED 0
ok.test MX: REFUSED 0
evil.test A: REFUSED 0
secret.evil.test A: REFUSED 0
bad.w.test A: REFUSED 0
ok.test.evil.test A: REFUSED 0
+tcp ok.test A: NOERROR 1
+tcp evil.test A: REFUSED 0
-x 11.22.33.10: REFUSED 0
docker.host A: NOERROR 1
localhost A: NOERROR 1
stable
synthetic
0
198.18
none
";

/// Holds 50 TCP clients with one byte each, sends every prefix of a query and some garbage, then asks properly.
const STALL: &str = r#"
import os, socket, struct
held = []
for _ in range(50):
    s = socket.create_connection(("127.0.0.1", 53), 5)
    s.send(b"\0")
    held.append(s)
query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\2ok\4test\0" + struct.pack(">2H", 1, 1)
u = socket.socket(type=socket.SOCK_DGRAM)
u.settimeout(5)
for length in range(len(query)):
    u.sendto(query[:length], ("127.0.0.1", 53))
u.sendto(b"\xff" * 600, ("127.0.0.1", 53))
u.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack(">2H", 1, 1), ("127.0.0.1", 53))
u = socket.socket(type=socket.SOCK_DGRAM)
u.settimeout(5)
u.sendto(query, ("127.0.0.1", 53))
answer = u.recv(512)
assert answer[:2] == query[:2] and answer[3] & 15 == 0, answer
print("answered")
"#;

/// Asks 40 questions as a stub resolver does (three times, 5 s each), beside a process that asks without end: from one port, from 500,
/// and from as many addresses.
const FLOOD: &str = r#"
import multiprocessing, os, socket, struct
SERVER = ("127.0.0.1", 53)
def question(name):
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    return os.urandom(2) + struct.pack(">5H", 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
def flood(sources, begun):
    asking = question("secret.evil.test")
    sockets = []
    for source in sources:
        sockets.append(socket.socket(type=socket.SOCK_DGRAM))
        sockets[-1].bind((source, 0))
    begun.set()
    while True:
        for s in sockets:
            try:
                s.sendto(asking, SERVER)
            except OSError:
                pass
def answered(name):
    asking = question(name)
    for _ in range(3):
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.sendto(asking, SERVER)
            answer = b""
            try:
                while answer[:2] != asking[:2]:  # it may be for whoever had this port before
                    answer = s.recv(512)
            except TimeoutError:
                continue
            return answer[3] & 15 == 0
    return False
kinds = [
    ("1 port", ["127.0.0.1"]),
    ("500 ports", ["127.0.0.1"] * 500),
    ("500 addresses", ["127.1.%d.%d" % (n // 250, n % 250 + 1) for n in range(500)]),
]
for kind, sources in kinds:
    begun = multiprocessing.Event()
    flooder = multiprocessing.Process(target=flood, args=(sources, begun), daemon=True)
    flooder.start()
    begun.wait()
    print(kind + ":", sum(answered("ok.test") for _ in range(40)), "of 40", flush=True)
    flooder.kill()
    flooder.join()
"#;
