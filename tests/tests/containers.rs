//! The engines `docker` and `podman`, as root and without root: a sandbox in containers comes up, holds, and leaves nothing.
//! Each case has a world and an engine of its own (`harness::engines`); what got out is judged at the far end.
//! Needs: root, docker.io, podman, debootstrap, uidmap, slirp4netns.
//! Clauses: U1, U2, U3, B1, B2, B3, B5, N1, N2, N3, N4, N9, N11.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use harness::engines::{Engine, Kind, Sandboxed};
use harness::project::Decided;
use harness::world::{As, Call};
use serde_json::Value;

/// Makes `NAME::docker`, `NAME::podman` and `NAME::rootless_podman` of each case.
macro_rules! for_each_engine {
    ($($(#[$meta:meta])* fn $name:ident($kind:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            fn case($kind: Kind) -> Result<()> $body

            #[test]
            fn docker() -> Result<()> {
                case(Kind::Docker)
            }

            #[test]
            fn podman() -> Result<()> {
                case(Kind::Podman)
            }

            #[test]
            fn rootless_podman() -> Result<()> {
                case(Kind::Rootless)
            }
        }
    )*};
}

/// Port 9999 of the host answers on every address, 5432 on its loopback alone.
const POLICY: &str = "\
sandbox-name: contained
http-domain-whitelist:
  - ok.test
host-ports:
  - 9999
";

/// Whose connections reached what: side, port.
fn reached(engine: &Engine) -> Result<BTreeSet<(String, u16)>> {
    let readings = engine.world.readings()?;
    let connections = readings.connections.iter();
    Ok(connections
        .map(|seen| (seen.side.clone(), seen.port))
        .collect())
}

fn pairs(list: &[(&str, u16)]) -> BTreeSet<(String, u16)> {
    list.iter()
        .map(|(side, port)| ((*side).to_owned(), *port))
        .collect()
}

/// Waits for a line of the agent in a file of the project: its own streams are not read while it runs.
fn until_written(sandboxed: &Sandboxed<'_>, engine: &Engine, name: &str) -> Result<String> {
    let path = engine
        .world
        .outside(&sandboxed.project.directory().join(name));
    for _ in 0..600 {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.ends_with('\n') {
            return Ok(text);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    anyhow::bail!("{} was not written", path.display())
}

for_each_engine! {
    fn an_agent_comes_up_meets_the_policy_and_leaves_nothing(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        sandboxed.project.write("mine.txt", "of the host\n")?;
        let script = "set -e; cat mine.txt; pwd; touch made; curl -sS http://ok.test/; curl -sk https://ok.test/
            curl -s -o /dev/null -w '%{http_code}\\n' http://evil.test/
            curl -s -o /dev/null -w '%{http_code}\\n' http://docker.host:5432/
            curl -s -o /dev/null -w '%{http_code}\\n' http://docker.host:9999/; cat; exit 7";
        let words = ["ocs", "run", "--engine", kind.client(), "--", "sh", "-c", script];
        let finished = sandboxed.call(Call::new(&words).fed("typed\n"))?;
        let hello = "hello from ok.test\n";
        assert_eq!(
            (finished.code(), finished.stdout.as_str()),
            (7, format!("of the host\n/app\n{hello}{hello}403\n403\n200\ntyped\n").as_str()),
            "{finished}"
        );
        assert_eq!(reached(&engine)?, pairs(&[("host", 9999), ("internet", 80), ("internet", 443)]));
        let record = sandboxed.project.newest_record()?;
        for decided in [
            Decided::request("ok.test", 80, "allow"),
            Decided::request("ok.test", 443, "allow"),
            Decided::request("evil.test", 80, "not-whitelisted"),
            Decided::request("docker.host", 5432, "port"),
            Decided::request("docker.host", 9999, "allow"),
        ] {
            assert!(record.decided().contains(&decided), "{decided:?} in {:#?}", record.decided());
        }
        sandboxed.ocs(&["audit", "verify"])?.succeeded()?;
        assert_eq!(engine.left()?, Vec::<String>::new());
        let made = fs::metadata(engine.world.outside(&sandboxed.project.directory().join("made")))?;
        let own = fs::metadata(engine.world.outside(&sandboxed.project.directory().join("mine.txt")))?;
        use std::os::unix::fs::MetadataExt;
        assert_eq!((made.uid(), made.gid()), (own.uid(), own.gid()));
        Ok(())
    }

    fn nothing_leads_out_but_the_proxy(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        sandboxed.project.write("attempts.py", ATTEMPTS)?;
        let neighbour = neighbour(&engine)?;
        engine.world.forget()?;
        let proxy = "cat /proc/net/route >/dev/null; python3 attempts.py \"$@\"";
        let finished = sandboxed.run(&["sh", "-c", proxy, "sh", &neighbour, "192.168.77.2", "192.168.77.1", "172.17.0.1", "10.88.0.1", "10.0.2.2"])?;
        assert_eq!(finished.code(), 0, "{finished}");
        let answered: Vec<&str> = finished.stdout.lines().filter(|line| line.contains("ANSWERED")).collect();
        assert_eq!(answered, Vec::<&str>::new());
        ensure!(finished.stdout.lines().count() > 40, "few were tried: {finished}");
        let readings = engine.world.readings()?;
        assert_eq!((readings.connections, readings.queries, readings.flows), (vec![], vec![], vec![]), "{}", finished.stdout);
        assert_eq!(engine.told(&["logs", NEIGHBOUR])?, "listening");
        // The neighbour is there all the same.
        if kind != Kind::Rootless {
            let line = format!("exec 3<>/dev/tcp/{neighbour}/7777; read line <&3; echo $line");
            let words = ["bash", "-c", &line];
            assert_eq!(engine.call(&words)?.succeeded()?.stdout, "neighbour\n");
        }
        // Packets that go round the proxy are counted in the record.
        let record = sandboxed.project.newest_record()?;
        let packets: BTreeSet<_> = record.decided().into_iter().filter(|decided| decided.event == "packet").map(|decided| decided.what).collect();
        ensure!(packets.iter().any(|what| what.starts_with("udp")), "{packets:?}");
        Ok(())
    }

    fn what_runs_has_no_capability_and_sees_nothing_of_the_fence(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        let running = sandboxed.begin(&["sh", "-c", "(id; cat /proc/self/status; env) >seen; find / -xdev -path /usr -prune -o \\( -name 'policy*' -o -name '*.jsonl' -o -name 'opencode-password' -o -name 'ocs-*' -o -name 'agent.env' \\) -print 2>/dev/null >found; echo up >up; while [ ! -e go ]; do sleep 0.1; done"])?;
        until_written(&sandboxed, &engine, "up")?;
        let holder = sandboxed.of_fence("net")?;
        let proxy = sandboxed.of_fence("proxy")?;
        let agent = sandboxed.agent();
        // Root's own containers are root's; everybody else's are theirs.
        let user = if kind == Kind::Podman { "0" } else { "61000" };
        for name in [&holder, &proxy, &agent] {
            let process = Process::of(&engine, name)?;
            let expected = Process {
                ids: if *name == holder { process.ids.clone() } else { vec![user.to_owned(); 2] },
                capabilities: vec!["0000000000000000".to_owned(); 5],
                no_new_privileges: true,
                seccomp: true,
                root_is_read_only: true,
            };
            assert_eq!(process, expected, "{name}");
        }
        let state = "/home/agent/.local/share/opencode".to_owned();
        let (writable, readable) = mounts(&engine, &agent)?;
        assert_eq!(writable, BTreeSet::from(["/app".to_owned(), state]));
        ensure!(readable.contains("/app/opencode-sandbox-config.yaml") && readable.iter().all(|path| path.starts_with("/app/")), "{readable:?}");
        assert_eq!(mounts(&engine, &holder)?, (BTreeSet::from(["/run/ocs".to_owned()]), BTreeSet::new()));
        let (writable, readable) = mounts(&engine, &proxy)?;
        let ends = |paths: &BTreeSet<String>| -> Vec<String> {
            paths.iter().filter_map(|path| Some(path.rsplit('/').next()?.to_owned())).collect()
        };
        assert_eq!((ends(&writable), ends(&readable)), (vec!["audit".to_owned(), "admin".to_owned()], vec!["policy".to_owned(), "ocs".to_owned()]));
        let found = fs::read_to_string(engine.world.outside(&sandboxed.project.directory().join("found")))?;
        assert_eq!(found, "");
        sandboxed.project.write("go", "")?;
        let finished = running.wait()?;
        assert_eq!(finished.code(), 0, "{finished}");
        Ok(())
    }

    fn without_its_proxy_there_is_no_way_out_and_soon_no_agent(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        let running = sandboxed.begin(&["sh", "-c", "curl -sS http://ok.test/ >up; sleep 1000"])?;
        until_written(&sandboxed, &engine, "up")?;
        // Nobody reacts for as long as we look.
        let ocs = engine.world.find(|process| process.name == "ocs")?;
        engine.world.signal(ocs.pid, "STOP")?;
        let proxy = sandboxed.of_fence("proxy")?;
        engine.told(&["kill", &proxy])?;
        engine.world.forget()?;
        let tried = engine.client(&["exec", &sandboxed.agent(), "curl", "-sS", "-m", "5", "http://ok.test/"])?;
        assert_ne!(tried.code(), 0, "{tried}");
        assert_eq!(reached(&engine)?, pairs(&[]));
        engine.world.signal(ocs.pid, "CONT")?;
        let finished = running.wait()?;
        assert_eq!(finished.code(), 70, "{finished}");
        ensure!(finished.stderr.contains("ocs-proxy"), "{finished}");
        assert_eq!(engine.left()?, Vec::<String>::new());
        Ok(())
    }

    fn what_a_killed_ocs_leaves_has_no_way_out_and_is_swept(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        let running = sandboxed.begin(&["sh", "-c", "curl -sS http://ok.test/ >up; sleep 1000"])?;
        until_written(&sandboxed, &engine, "up")?;
        let ocs = engine.world.find(|process| process.name == "ocs")?;
        engine.world.signal(ocs.pid, "KILL")?;
        running.wait()?;
        // The fence ends by itself; the agent may be there still, shut in.
        let names = || engine.told(&["ps", "--format", "{{.Names}}"]);
        for _ in 0..200 {
            if names()?.lines().all(|name| name == sandboxed.agent()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        ensure!(names()?.lines().all(|name| name == sandboxed.agent()), "{}", names()?);
        engine.world.forget()?;
        let tried = engine.client(&["exec", &sandboxed.agent(), "curl", "-sS", "-m", "5", "http://ok.test/"])?;
        assert_ne!(tried.code(), 0, "{tried}");
        assert_eq!(reached(&engine)?, pairs(&[]));
        let again = sandboxed.run(&["echo", "again"])?;
        assert_eq!((again.code(), again.stdout.as_str()), (0, "again\n"), "{again}");
        assert_eq!(engine.left()?, Vec::<String>::new());
        Ok(())
    }

    fn signals_and_the_terminal_are_the_agent_s(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        let waiting = "trap 'exit 9' TERM; echo up >up; while :; do sleep 0.1; done";
        let running = sandboxed.begin(&["sh", "-c", waiting])?;
        until_written(&sandboxed, &engine, "up")?;
        let ocs = engine.world.find(|process| process.name == "ocs")?;
        engine.world.signal(ocs.pid, "TERM")?;
        let finished = running.wait()?;
        assert_eq!(finished.code(), 9, "{finished}");

        let client = kind.client();
        // The size is the client's to tell, a moment after the start.
        let line = format!("stty rows 31 cols 97; ocs run --engine {client} -- sh -c 'while stty size | grep -q ^0; do sleep 0.1; done; test -t 0 && test -t 1 && stty size && exit 5'");
        let words = ["script", "--quiet", "--return", "--command", &line, "/dev/null"];
        let finished = sandboxed.call(Call::new(&words))?;
        ensure!(finished.code() == 5 && finished.stdout.contains("31 97"), "{finished}");
        assert_eq!(engine.left()?, Vec::<String>::new());
        Ok(())
    }

    fn every_attempt_of_ocs_verify_is_refused(kind) {
        let engine = Engine::start(kind)?;
        let sandboxed = engine.project("app", POLICY)?;
        let verified = sandboxed.ocs(&["verify", "--engine", kind.client()])?;
        assert_eq!(verified.code(), 0, "{verified}");
        assert_eq!(engine.left()?, Vec::<String>::new());
        Ok(())
    }

    fn two_sandboxes_do_not_see_each_other(kind) {
        let engine = Engine::start(kind)?;
        let (one, two) = (engine.project("one", POLICY)?, engine.project("two", &POLICY.replace("contained", "other"))?);
        let serve = format!("python3 -c '{SERVER}' >served & curl -sS http://ok.test/ >up; while [ ! -e go ]; do sleep 0.1; done; cat served");
        let running = one.begin(&["sh", "-c", &serve])?;
        until_written(&one, &engine, "up")?;
        two.project.write("attempts.py", ATTEMPTS)?;
        let script = "curl -sS http://ok.test/; ls /one 2>&1; python3 attempts.py \"$@\" | grep 7777; ps ax 2>/dev/null; true";
        let names = [one.agent(), one.of_fence("net")?, one.of_fence("proxy")?];
        let [agent, holder, proxy] = names.each_ref().map(String::as_str);
        let finished = two.run(&["sh", "-c", script, "sh", agent, holder, proxy, "127.0.0.1", "172.18.0.2", "10.89.0.2"])?;
        assert_eq!(finished.code(), 0, "{finished}");
        ensure!(finished.stdout.starts_with("hello from ok.test\nls: cannot access '/one'"), "{finished}");
        ensure!(!finished.stdout.contains("ANSWERED"), "{finished}");
        one.project.write("go", "")?;
        let first = running.wait()?;
        assert_eq!((first.code(), first.stdout.as_str()), (0, "listening\n"), "{first}");
        assert_eq!(engine.left()?, Vec::<String>::new());
        Ok(())
    }
}

#[test]
fn an_engine_that_is_killed_mid_start_is_told_and_what_it_left_is_swept() -> Result<()> {
    let mut engine = Engine::start(Kind::Docker)?;
    {
        let sandboxed = engine.project("app", POLICY)?;
        let running = sandboxed.begin(&["echo", "never"])?;
        for _ in 0..600 {
            if sandboxed.of_fence("net").is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let line = "kill -s KILL $(cat /run/docker/pid) $(pidof containerd)";
        let words = ["sh", "-c", line];
        engine.world.run(As::Root, Call::new(&words))?.succeeded()?;
        let finished = running.wait()?;
        ensure!(
            [69, 70].contains(&finished.code()) && finished.stdout.is_empty(),
            "{finished}"
        );
    }
    engine.end_daemon("KILL")?;
    engine.start_daemon()?;
    let sandboxed = engine.project("app", POLICY)?;
    let again = sandboxed.run(&["echo", "again"])?;
    assert_eq!(
        (again.code(), again.stdout.as_str()),
        (0, "again\n"),
        "{again}"
    );
    assert_eq!(engine.left()?, Vec::<String>::new());
    Ok(())
}

/// Says a line to whoever connects, and tells of it.
const SERVER: &str = "import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((\"::\", 7777)); s.listen(9); print(\"listening\", flush=True)
while True:
    c, a = s.accept(); print(\"met\", flush=True); c.sendall(b\"neighbour\\n\"); c.close()";
const NEIGHBOUR: &str = "opencode-neighbour";

/// A container on the engine's own bridge; gives its address.
fn neighbour(engine: &Engine) -> Result<String> {
    let base = "localhost/ocs-test-base:2";
    engine.told(&[
        "run", "--detach", "--name", NEIGHBOUR, base, "python3", "-c", SERVER,
    ])?;
    for _ in 0..100 {
        if engine.told(&["logs", NEIGHBOUR])?.contains("listening") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let address = engine.told(&[
        "inspect",
        "--format",
        "{{.NetworkSettings.IPAddress}}",
        NEIGHBOUR,
    ])?;
    Ok(if address.is_empty() {
        "10.0.2.100".to_owned()
    } else {
        address
    })
}

/// Tries every argument, and what no sandbox may reach, by every protocol; one line each.
const ATTEMPTS: &str = r#"
import socket, struct, sys
EXTRA = sys.argv[1:]
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04evil\x04test\x00\x00\x01\x00\x01"

def refusal(said):
    """The stub's answer to a name that is not allowed: REFUSED or NXDOMAIN, and no record."""
    return said[:2] == QUERY[:2] and said[3] & 15 in (3, 5) and said[6:8] == b"\0\0"

def tried(name, attempt):
    try:
        said = attempt()
        print(name, "ANSWERED %r" % said if said else "closed", flush=True)
    except OSError as error:
        print(name, error.strerror or str(error) or "timed out", flush=True)

def tcp(host, port, first):
    def attempt():
        with socket.create_connection((host, port), timeout=2) as s:
            s.settimeout(2)
            if first:
                s.sendall(first)
            said = s.recv(200)
            # The fence's own refusals are none of theirs.
            return b"" if b"Proxy-Status: ocs" in said or refusal(said[2:]) else said
    return attempt

def udp(host, port):
    def attempt():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(0.5)
            s.connect((host, port)); s.send(QUERY)
            said = s.recv(512)
            return b"" if refusal(said) else said
    return attempt

def icmp(host, kind):
    def attempt():
        six = ":" in host
        family, protocol = (socket.AF_INET6, 58) if six else (socket.AF_INET, 1)
        with socket.socket(family, kind, protocol) as s:
            s.settimeout(0.5)
            s.sendto(struct.pack("!BBHHH", 128 if six else 8, 0, 0xf7fe if not six else 0, 1, 0), (host, 0))
            return s.recv(200)
    return attempt

OUTSIDE = ["11.22.33.66", "2a0f:ffff:11::66", "169.254.169.254"]
for host in OUTSIDE + EXTRA:
    for port in (22, 53, 80, 443, 4444, 5432, 7777, 9999):
        tried("tcp %s %d" % (host, port), tcp(host, port, b"GET / HTTP/1.0\r\n\r\n"))
for host in OUTSIDE + ["127.0.0.11", "11.22.33.53"] + [one for one in EXTRA if one[0].isdigit()]:
    for port in (53, 123, 443):
        tried("udp %s %d" % (host, port), udp(host, port))
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        tried("icmp %s %d" % (host, kind), icmp(host, kind))
tried("tcp 127.0.0.11 53", tcp("127.0.0.11", 53, struct.pack("!H", len(QUERY)) + QUERY))
for port in (5432, 2375, 2376):
    tried("host %d" % port, tcp("docker.host", port, b"GET / HTTP/1.0\r\n\r\n"))
"#;

/// What the kernel says of a container's first process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    /// Real uid and gid, as the host counts.
    ids: Vec<String>,
    /// Inheritable, permitted, effective, bounding, ambient.
    capabilities: Vec<String>,
    no_new_privileges: bool,
    seccomp: bool,
    root_is_read_only: bool,
}

impl Process {
    fn of(engine: &Engine, container: &str) -> Result<Self> {
        let inspected = engine.inspect(container)?;
        let pid = inspected
            .pointer("/State/Pid")
            .context("no pid")?
            .to_string();
        let status = read(engine, &format!("/proc/{pid}/status"))?;
        let values = |names: &[&str]| -> Vec<String> {
            let lines = status.lines().filter_map(|line| line.split_once(":\t"));
            lines
                .filter(|(name, _)| names.contains(name))
                .map(|(_, value)| value.trim().to_owned())
                .collect()
        };
        let mounts = read(engine, &format!("/proc/{pid}/mountinfo"))?;
        let root = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(4) == Some(&"/"));
        let root = root.context("no root")?;
        let first = |name| {
            values(&[name])
                .iter()
                .filter_map(|ids| ids.split_whitespace().next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        Ok(Self {
            ids: [first("Uid"), first("Gid")].concat(),
            capabilities: values(&["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]),
            no_new_privileges: values(&["NoNewPrivs"]) == ["1"],
            seccomp: values(&["Seccomp"]) == ["2"],
            root_is_read_only: root
                .get(5)
                .is_some_and(|flags| flags.split(',').any(|flag| flag == "ro")),
        })
    }
}

/// Where a container has something of the host or a volume: writable, and read-only.
fn mounts(engine: &Engine, container: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let inspected = engine.inspect(container)?;
    let mounts = inspected.get("Mounts").and_then(Value::as_array);
    let mounts = mounts.context("no mounts")?.iter().filter_map(|mount| {
        let at = mount.get("Destination")?.as_str()?.to_owned();
        Some((at, mount.get("RW")?.as_bool()?))
    });
    let (writable, readable): (Vec<_>, Vec<_>) = mounts.partition(|(_, writable)| *writable);
    let paths = |list: Vec<(String, bool)>| list.into_iter().map(|(at, _)| at).collect();
    Ok((paths(writable), paths(readable)))
}

fn read(engine: &Engine, path: &str) -> Result<String> {
    let words = ["cat", path];
    Ok(engine
        .world
        .run(As::Root, Call::new(&words))?
        .succeeded()?
        .stdout)
}
