use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::audit::{
    Chain, CloseEvent, Decision, DnsEvent, Event, GapEvent, Header, Lost, Outcome, PacketEvent,
    PolicyEvent, Process, RequestEvent, StartEvent, StopEvent, Text, Timestamp,
};
use policies::{Generation, Mode, Reason, Rule, Via};

use super::*;
use crate::cli;
use crate::config_file::CONFIG_FILE;
use crate::console::tests::captured;
use crate::project::Project;
use crate::world::{Colour, Glyphs, Terminal};

/// 2026-11-21T01:00:00Z.
const START_MS: u64 = 1_795_222_800_000;

pub(crate) fn request(id: u64, host: &str, decision: Decision, exe: Option<&str>) -> Event {
    let is_denied = decision == Decision::Deny;
    let rule = Rule {
        file: Arc::from(CONFIG_FILE),
        line: 4,
        text: Arc::from(".good.test"),
    };
    Event::Request(RequestEvent {
        id,
        decision,
        reason: is_denied.then_some(Reason::NotWhitelisted),
        rule: (!is_denied).then_some(rule),
        via: Via::Connect,
        method: Some(Text::new("CONNECT")),
        host: Some(Text::new(host)),
        port: Some(443),
        sni: None,
        address: None,
        generation: Generation(1),
        process: Process {
            pid: exe.map(|_| 7),
            exe: exe.map(Text::new),
        },
        dropped: Vec::new(),
        count: 1,
    })
}

fn close(id: u64) -> Event {
    let (bytes_up, bytes_down) = (1_500, 2_500_000);
    Event::Close(CloseEvent {
        id,
        outcome: Outcome::Done,
        bytes_up,
        bytes_down,
        duration_ms: 40,
    })
}

/// One event of every kind, one every half hour.
pub(crate) fn events() -> Vec<Event> {
    let mode = Mode::Filtered;
    let (version, engine) = (Text::new("0.1.0"), Text::new("native"));
    let (hash, source) = (Text::new("abc"), Text::new(CONFIG_FILE));
    let query = |decision, reason| {
        let (name, kind) = (Text::new("secret.evil.test"), Text::new("TXT"));
        Event::Dns(DnsEvent {
            name,
            kind,
            decision,
            reason,
            count: 3,
        })
    };
    let packet = PacketEvent {
        protocol: Text::new("udp"),
        address: Some("192.0.2.1".parse().unwrap()),
        port: Some(53),
        count: 10,
        reason: Reason::Direct,
    };
    let stop = StopEvent {
        cause: Text::new("drained"),
        allowed: 1,
        denied: 1,
        packets: 10,
    };
    vec![
        Event::Start(StartEvent {
            version,
            mode,
            engine,
        }),
        Event::Policy(PolicyEvent {
            hash,
            generation: Generation(1),
            source,
            mode,
        }),
        request(1, "api.good.test", Decision::Allow, Some("/usr/bin/curl")),
        close(1),
        request(2, "evil.test", Decision::Deny, None),
        query(Decision::Deny, Some(Reason::Dns)),
        query(Decision::Allow, None),
        Event::Packet(packet),
        Event::Gap(GapEvent {
            lost: Lost::Packets,
            count: None,
        }),
        Event::Stop(stop),
    ]
}

pub(crate) fn record(sandbox: &str, run: &str, events: &[Event]) -> Vec<u8> {
    let mut chain = Chain::new(&Header {
        sandbox: sandbox.to_owned(),
        run: run.to_owned(),
    });
    let mut bytes = Vec::new();
    for (event, number) in events.iter().zip(0..) {
        let time = Timestamp::from_unix_millis(START_MS + number * 1_800_000);
        bytes.extend_from_slice(chain.line(time, event));
    }
    bytes
}

/// A project with a record of one run.
struct Place {
    _keep: tempfile::TempDir,
    root: PathBuf,
    home: PathBuf,
    record: PathBuf,
}

fn place(events: &[Event]) -> Place {
    let keep = tempfile::tempdir().unwrap();
    let base = keep.path().canonicalize().unwrap();
    let (root, home) = (base.join("work"), base.join("home"));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    // A config that is wrong still has a record to read.
    std::fs::write(root.join(CONFIG_FILE), "sandbox-name: app\nfoo: 1\n").unwrap();
    let project = Project::find(None, &World::of(&root, &home, vec![])).unwrap();
    let audit = project.state().audit();
    std::fs::create_dir_all(&audit).unwrap();
    let path = audit.join("run-1.jsonl");
    std::fs::write(&path, record(project.id().as_str(), "run-1", events)).unwrap();
    Place {
        _keep: keep,
        root,
        home,
        record: path,
    }
}

impl Place {
    fn id(&self) -> String {
        let world = World::of(&self.root, &self.home, vec![]);
        Project::find(None, &world).unwrap().id().to_string()
    }

    fn types_on(&self, terminal: Terminal, line: &str) -> (u8, String, String) {
        let world = World::of(&self.root, &self.home, vec![]);
        let words = ["ocs", "audit"].into_iter().chain(line.split_whitespace());
        let command = match cli::parse(words.map(Into::into)) {
            Ok(cli::Command::Audit(command)) => command,
            other => panic!("{line}: {other:?}"),
        };
        let (exit, out, err) = captured("", terminal, |console| {
            let ended = run(&command, &world, console);
            crate::dispatch::end(ended, console)
        });
        (exit.code(), out, err)
    }

    fn types(&self, line: &str) -> (u8, String, String) {
        self.types_on(Terminal::default(), line)
    }

    /// The sequence numbers of the events that a query prints.
    fn numbers(&self, line: &str) -> Vec<u64> {
        let (code, out, err) = self.types(&format!("query --json {line}"));
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        let number = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        };
        out.lines().map(number).collect()
    }
}

mod parts;
mod query;
mod reading;
mod report;
mod verify;
