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

#[test]
fn query_prints_each_event_on_a_line() {
    let expected = "\
2026-11-21T01:00:00.000Z start  ocs 0.1.0, engine native, mode filtered
2026-11-21T01:30:00.000Z policy generation 1, mode filtered, opencode-sandbox-config.yaml abc
2026-11-21T02:00:00.000Z allow  connect       api.good.test:443  opencode-sandbox-config.yaml:4 .good.test, curl[7]
2026-11-21T02:30:00.000Z close  request 1: done, 1500 bytes up, 2500000 down, 40 ms
2026-11-21T03:00:00.000Z deny   connect       evil.test:443  not-whitelisted
2026-11-21T03:30:00.000Z deny   dns/TXT       secret.evil.test  dns, 3 times
2026-11-21T04:00:00.000Z allow  dns/TXT       secret.evil.test  3 times
2026-11-21T04:30:00.000Z deny   packet/udp    192.0.2.1:53  direct, 10 times
2026-11-21T05:00:00.000Z gap    an unknown number of events are missing here: packets
2026-11-21T05:30:00.000Z stop   drained: 1 requests allowed, 1 refused, 10 packets refused
";
    assert_eq!(
        place(&events()).types("query"),
        (0, expected.to_owned(), String::new())
    );
}

#[test]
fn query_filters_by_value() {
    let place = place(&events());
    let cases: [(&str, &[u64]); 16] = [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("--decision allow", &[3, 7]),
        ("--decision deny", &[5, 6, 8]),
        ("--host evil.test", &[5]),
        ("--host .evil.test", &[5, 6, 7]),
        ("--host .good.test --host 192.0.2.1", &[3, 8]),
        ("--reason dns --reason direct", &[6, 8]),
        ("--via connect", &[3, 5]),
        ("--via packet --decision allow", &[]),
        ("--process curl", &[3]),
        ("--process /usr/bin/curl", &[3]),
        ("--process 7", &[3]),
        ("--process bin/curl", &[]),
        ("--run run-2", &[]),
        ("--since 2026-11-21T05:00:00Z", &[9, 10]),
        ("--since 2026-11-20 --until 2026-11-21T01:30:00Z", &[1]),
    ];
    for (filters, expected) in cases {
        assert_eq!(place.numbers(filters), expected, "{filters}");
    }
}

#[test]
fn query_gives_a_machine_the_very_bytes_of_the_record() {
    let place = place(&events());
    let (_, out, _) = place.types("query --json");
    assert_eq!(out.as_bytes(), std::fs::read(&place.record).unwrap());
}

#[test]
fn query_makes_a_table_for_spreadsheets() {
    let place = place(&[
        request(
            1,
            "=cmd|' /C calc'!A0",
            Decision::Deny,
            Some("/opt/a, \"b\"\n\u{1b}[2J"),
        ),
        close(1),
    ]);
    let (code, out, err) = place.types("query --csv");
    let id = place.id();
    let expected = format!(
        "{}2026-11-21T01:00:00.000Z,{id},run-1,1,request,deny,not-whitelisted,connect,CONNECT,\
         '=cmd|' /C calc'!A0,443,,,,,,,7,\"/opt/a, \"\"b\"\"\\n\\u{{1b}}[2J\",1,1,,,,,,\r\n\
         2026-11-21T01:30:00.000Z,{id},run-1,2,close,,,,,,,,,,,,,,,,1,done,1500,2500000,40,,\r\n",
        csv::HEADER
    );
    assert_eq!((code, out, err.as_str()), (0, expected, ""));
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let place = place(&events());
    let (code, out, err) = place.types("query --reason not-whitlisted");
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(
        err.starts_with(
            "ocs: there is no reason `not-whitlisted`\nnext: one of denylisted, dial-failed, "
        ),
        "{err}"
    );
    let told = "ocs: there is no via `tls`\n\
        next: one of captured-http, captured-tcp, captured-tls, connect, dns, http, packet\n";
    assert_eq!(
        place.types("report --via tls"),
        (64, String::new(), told.to_owned())
    );
    let told = "ocs: `soon` is no moment\nnext: write 2026-11-21T01:14:00Z, 2026-11-21, or 90s, 15m, 2h, 7d\n";
    assert_eq!(
        place.types("query --since soon"),
        (64, String::new(), told.to_owned())
    );
}

#[test]
fn report_says_where_the_agent_went_and_what_was_refused() {
    let place = place(&events());
    let expected = format!(
        "\
sandbox {}, 1 run, 2026-11-21T01:00:00.000Z to 2026-11-21T05:30:00.000Z
1 requests allowed; refused: 1 requests, 3 queries, 10 packets

refused                  times  first                last                 reasons, processes
udp 192.0.2.1:53            10  2026-11-21 04:30:00  2026-11-21 04:30:00  direct 10
dns secret.evil.test         3  2026-11-21 03:30:00  2026-11-21 03:30:00  dns 3
evil.test:443                1  2026-11-21 03:00:00  2026-11-21 03:00:00  not-whitelisted 1

allowed               times         up      down  first                last                 rules, processes
api.good.test:443         1     1.5 kB    2.5 MB  2026-11-21 02:00:00  2026-11-21 02:30:00  opencode-sandbox-config.yaml:4 .good.test, curl

the record says of itself that it lost 1 event
",
        place.id()
    );
    assert_eq!(place.types("report"), (0, expected, String::new()));
}

#[test]
fn report_tells_a_machine_the_same() {
    let place = place(&events());
    let (code, out, err) = place.types("report --json");
    let destination = |host: &str, port: serde_json::Value, protocol: &str, time: &str| {
        serde_json::json!({
            "host": host, "port": port, "protocol": protocol, "allowed": 0, "refused": 0, "bytes_up": 0, "bytes_down": 0,
            "first": time, "last": time, "reasons": {}, "rules": [], "processes": [],
        })
    };
    let mut packet = destination("192.0.2.1", 53.into(), "udp", "2026-11-21T04:30:00.000Z");
    packet["refused"] = 10.into();
    packet["reasons"] = serde_json::json!({"direct": 10});
    let mut good = destination(
        "api.good.test",
        443.into(),
        "tcp",
        "2026-11-21T02:00:00.000Z",
    );
    good["allowed"] = 1.into();
    good["bytes_up"] = 1500.into();
    good["bytes_down"] = 2_500_000.into();
    good["last"] = "2026-11-21T02:30:00.000Z".into();
    good["rules"] = serde_json::json!(["opencode-sandbox-config.yaml:4 .good.test"]);
    good["processes"] = serde_json::json!(["/usr/bin/curl"]);
    let mut evil = destination("evil.test", 443.into(), "tcp", "2026-11-21T03:00:00.000Z");
    evil["refused"] = 1.into();
    evil["reasons"] = serde_json::json!({"not-whitelisted": 1});
    let mut query = destination(
        "secret.evil.test",
        serde_json::Value::Null,
        "dns",
        "2026-11-21T03:30:00.000Z",
    );
    query["refused"] = 3.into();
    query["reasons"] = serde_json::json!({"dns": 3});
    let expected = serde_json::json!({
        "v": 1, "sandboxes": [place.id()], "runs": ["run-1"], "from": "2026-11-21T01:00:00.000Z",
        "until": "2026-11-21T05:30:00.000Z", "allowed": 1, "refused": 14, "refused_queries": 3, "refused_packets": 10,
        "lost": 1, "unread_lines": 0, "destinations": [packet, good, evil, query],
        "others": {"allowed": 0, "refused": 0}, "many_names": [],
    });
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap(),
        expected
    );
}

#[test]
fn report_draws_a_graph_on_a_terminal() {
    let deny = |id| request(id, "evil.test", Decision::Deny, None);
    let place = place(&[
        deny(1),
        deny(2),
        deny(3),
        close(9),
        close(9),
        close(9),
        deny(4),
    ]);
    let terminal = |glyphs| Terminal {
        stdout: true,
        colour: Colour::Off,
        glyphs,
        ..Terminal::default()
    };
    let row =
        "evil.test:443         4  2026-11-21 01:00:00  2026-11-21 04:00:00  not-whitelisted 4";
    for (glyphs, graph) in [
        (Glyphs::Utf8, "\u{2588}\u{2584} \u{2584}"),
        (Glyphs::Ascii, "@= ="),
    ] {
        let (_, out, _) = place.types_on(terminal(glyphs), "report");
        let lines: Vec<&str> = out.lines().skip(4).collect();
        assert_eq!(
            lines,
            [
                format!("{row}  {graph}").as_str(),
                "each step of a graph is 1 hour"
            ]
        );
    }
}

#[test]
fn an_allowed_request_counts_its_bytes_whatever_is_filtered() {
    let place = place(&events());
    let (_, out, _) = place.types("report --host api.good.test");
    assert!(
        out.contains("api.good.test:443         1     1.5 kB    2.5 MB"),
        "{out}"
    );
    assert!(!out.contains("evil.test"), "{out}");
}

#[test]
fn lines_that_are_none_are_skipped_counted_and_told() {
    let place = place(&events());
    let mut bytes = b"\n{\"v\":1}\n\xff\xfe\n{}garbage\n".to_vec();
    bytes.extend(std::fs::read(&place.record).unwrap());
    bytes.extend(b"{\"v\":1,\"seq\":11,\"pr");
    std::fs::write(&place.record, bytes).unwrap();
    let told = format!(
        "warning: 5 lines could not be read; the first: {}:1: not an event of the record: \
         EOF while parsing a value at byte 0\n",
        place.record.display()
    );
    let (code, out, err) = place.types("query");
    assert_eq!(
        (code, out.lines().count(), err.as_str()),
        (0, 10, told.as_str())
    );
    let (code, out, err) = place.types("report");
    assert_eq!(
        (code, out.lines().count(), err.as_str()),
        (0, 12, told.as_str())
    );
    let (_, out, _) = place.types("report --json");
    assert!(out.contains("\"unread_lines\":5"), "{out}");
}

#[test]
fn a_file_without_a_single_event_is_no_record() {
    let place = place(&events());
    std::fs::write(place.root.join("notes"), "one\ntwo\n").unwrap();
    let file = place.root.join("notes").display().to_string();
    let told = format!(
        "ocs: {file} is no record: no line of it is an event; line 1: not an event of the record: \
         expected value at byte 1\n"
    );
    for line in ["report notes", "report --json notes", "query notes"] {
        assert_eq!(
            place.types(line),
            (64, String::new(), told.clone()),
            "{line}"
        );
    }
}

#[test]
fn what_is_hostile_in_a_record_is_escaped() {
    let place = place(&[request(
        1,
        "a\u{1b}]0;x\u{7}\u{202e}b",
        Decision::Deny,
        Some("/\u{200b}\r\n"),
    )]);
    let (_, out, _) = place.types("query");
    let expected = "2026-11-21T01:00:00.000Z deny   connect       a\\u{1b}]0;x\\u{7}\\u{202e}b:443  \
        not-whitelisted, \\u{200b}\\r\\n[7]\n";
    assert_eq!(out, expected);
    let (_, out, _) = place.types("report");
    assert!(
        out.bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)),
        "{out:?}"
    );
}

#[test]
fn verify_says_that_a_record_is_whole() {
    let place = place(&events());
    let path = place.record.display();
    let (code, out, err) = place.types("verify");
    let head = out.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(
        (code, out, err.as_str()),
        (
            0,
            format!("{path}: whole, 10 lines, not signed, head {head}\n"),
            ""
        )
    );
    let expected = serde_json::json!({"v": 1, "ok": true, "files": [{
        "file": path.to_string(), "ok": true, "lines": 10, "first": 1, "bad_line": null, "error": null, "head": head,
        "ended": true, "signed": null, "key": null, "parts": [{"file": path.to_string(), "last": 10, "head": head}],
    }]});
    let (code, out, _) = place.types("verify --json");
    assert_eq!(
        (
            code,
            serde_json::from_str::<serde_json::Value>(&out).unwrap()
        ),
        (0, expected)
    );
}

#[test]
fn verify_names_the_first_bad_line_after_a_byte_is_changed() {
    let place = place(&events());
    let good = std::fs::read(&place.record).unwrap();
    let path = place.record.display().to_string();
    // Every byte is changed in `policies`; here it is the file and line that count.
    for at in (0..good.len()).step_by(101) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&place.record, &bad).unwrap();
        let line = 1 + good[..at].iter().filter(|byte| **byte == b'\n').count();
        let (code, out, _) = place.types("verify");
        assert_eq!(code, 1, "byte {at}: {out}");
        assert!(
            out.starts_with(&format!("{path}:{line}: bad: ")),
            "byte {at} of line {line}: {out}"
        );
    }
}

#[test]
fn verify_sees_lost_lines_and_says_where_the_end_is_open() {
    let place = place(&events());
    let good = std::fs::read_to_string(&place.record).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let path = place.record.display().to_string();
    std::fs::write(&place.record, [&lines[..2], &lines[3..]].concat().concat()).unwrap();
    let expected = format!("{path}:3: bad: number 4 stands where 3 belongs\n");
    assert_eq!(place.types("verify"), (1, expected, String::new()));
    std::fs::write(&place.record, lines[..5].concat()).unwrap();
    let (code, out, _) = place.types("verify");
    let expected = format!(
        "{path}: whole, 5 lines, no stop at its end: it goes on, or was cut off, not signed, head "
    );
    assert_eq!((code, out.starts_with(&expected)), (0, true), "{out}");
    std::fs::write(&place.record, &good[..good.len() - 1]).unwrap();
    let expected = format!("{path}:10: bad: torn: the line has no end\n");
    assert_eq!(place.types("verify"), (1, expected, String::new()));
}

#[test]
fn verify_refuses_a_whole_record_of_another_sandbox_in_the_projects_place() {
    let place = place(&events());
    std::fs::write(&place.record, record("other-123456", "run-1", &events())).unwrap();
    let path = place.record.display().to_string();
    let expected = format!("{path}:1: bad: from another sandbox: other-123456\n");
    assert_eq!(place.types("verify"), (1, expected, String::new()));
    assert_eq!(place.types(&format!("verify {path}")).0, 0);
}

#[test]
fn any_file_can_be_read_from_anywhere() {
    let place = place(&events());
    let elsewhere = place.home.join("x.txt");
    std::fs::copy(&place.record, &elsewhere).unwrap();
    let away = Place {
        _keep: tempfile::tempdir().unwrap(),
        root: place.home.clone(),
        home: place.home.clone(),
        record: elsewhere,
    };
    for line in ["query x.txt", "report x.txt", "verify x.txt"] {
        assert_eq!(away.types(line).0, 0, "{line}");
    }
    let (code, out, err) = away.types("query");
    let told = format!(
        "ocs: no {CONFIG_FILE} in {} or any directory above it\nnext: ocs init\n",
        away.root.display()
    );
    assert_eq!((code, out.as_str(), err), (64, "", told));
    let gone = away.root.join("gone.jsonl").display().to_string();
    let told = format!("ocs: read {gone}: No such file or directory (os error 2)\n");
    assert_eq!(away.types("verify gone.jsonl"), (64, String::new(), told));
}

#[test]
fn a_project_without_a_record_is_told_how_to_get_one() {
    let place = place(&events());
    std::fs::remove_file(&place.record).unwrap();
    let directory = place
        .record
        .parent()
        .map(Path::display)
        .map(|path| path.to_string())
        .unwrap();
    let told = format!("ocs: there is no record in {directory}\nnext: ocs run -- CMD writes one\n");
    for line in ["query", "report", "verify"] {
        assert_eq!(place.types(line), (64, String::new(), told.clone()));
    }
}

mod parts;
