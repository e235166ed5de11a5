use std::path::PathBuf;

use policies::audit::{Decision, DnsEvent, Event, Text};
use policies::{Reason, Via};

use super::*;
use crate::audit_cmd::tests::{record, request};
use crate::cli;
use crate::config_file::CONFIG_FILE;
use crate::console::tests::captured;
use crate::project::Project;
use crate::world::Terminal;

struct Place {
    _keep: tempfile::TempDir,
    root: PathBuf,
    home: PathBuf,
}

fn place(config: &str, events: &[Event]) -> Place {
    let keep = tempfile::tempdir().unwrap();
    let base = keep.path().canonicalize().unwrap();
    let (root, home) = (base.join("work"), base.join("home"));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(root.join(CONFIG_FILE), config).unwrap();
    let project = Project::find(None, &World::of(&root, &home, vec![])).unwrap();
    let audit = project.state().audit();
    std::fs::create_dir_all(&audit).unwrap();
    std::fs::write(
        audit.join("run-1.jsonl"),
        record(project.id().as_str(), "run-1", events),
    )
    .unwrap();
    Place {
        _keep: keep,
        root,
        home,
    }
}

impl Place {
    fn types(&self, line: &str) -> (u8, String, String) {
        let world = World::of(&self.root, &self.home, vec![]);
        let words = ["ocs", "policy", "suggest"]
            .into_iter()
            .chain(line.split_whitespace());
        let Ok(cli::Command::Policy(command)) = cli::parse(words.map(Into::into)) else {
            panic!("{line}")
        };
        let (exit, out, err) = captured("", Terminal::default(), |console| {
            let ended = crate::policy_cmd::run(&command, &world, console);
            crate::dispatch::end(ended, console)
        });
        (exit.code(), out, err)
    }
}

fn refused(host: &str, port: u16, via: Via, reason: Reason) -> Event {
    let Event::Request(mut event) = request(1, host, Decision::Deny, None) else {
        panic!("a request")
    };
    (event.port, event.via, event.reason) = (Some(port), via, Some(reason));
    Event::Request(event)
}

fn wanted(host: &str) -> Event {
    refused(host, 443, Via::Connect, Reason::NotWhitelisted)
}

/// Passed by `observe`: no entry of a list allowed it.
fn observed(host: &str) -> Event {
    let Event::Request(mut event) = request(1, host, Decision::Allow, None) else {
        panic!("a request")
    };
    event.rule = None;
    Event::Request(event)
}

fn query(name: &str, kind: &str) -> Event {
    let (name, kind) = (Text::new(name), Text::new(kind));
    Event::Dns(DnsEvent {
        name,
        kind,
        decision: Decision::Deny,
        reason: Some(Reason::Dns),
        count: 2,
    })
}

const CONFIG: &str = "\
sandbox-name: app # ours
# why
http-domain-whitelist:
  - .listed.example.org   # stays
# end
host-ports: [1]
";

const TAKE_IT: &str = "to take it: ocs policy suggest | patch -p0, then ocs policy approve\n";

#[test]
fn each_way_of_asking_gets_its_own_line_and_comments_stay() {
    let place = place(
        CONFIG,
        &[
            wanted("api.example.com"),
            wanted("api.example.com"),
            refused("api.example.com", 80, Via::Http, Reason::NotWhitelisted),
            refused("api.example.com", 8443, Via::Connect, Reason::Port),
            refused(
                "db.example.com",
                5432,
                Via::CapturedTcp,
                Reason::NotWhitelisted,
            ),
            refused("docker.host", 9000, Via::Connect, Reason::NotWhitelisted),
            observed("seen.example.com"),
            query("resolved.example.com", "A"),
            wanted("x.listed.example.org"),
        ],
    );
    let expected = "\
# host-ports: 9000 (1 times)
# http-domain-whitelist: api.example.com (3 times)
#     api.example.com:443 2
#     api.example.com:80 1
# http-domain-whitelist: api.example.com:8443 (1 times)
# http-domain-whitelist: resolved.example.com (2 times)
# http-domain-whitelist: seen.example.com (1 times)
# tcp-endpoints: db.example.com:5432 (1 times)
--- opencode-sandbox-config.yaml
+++ opencode-sandbox-config.yaml
@@ -2,5 +2,12 @@
 # why
 http-domain-whitelist:
   - .listed.example.org   # stays
+  - api.example.com
+  - api.example.com:8443
+  - resolved.example.com
+  - seen.example.com
 # end
-host-ports: [1]
+host-ports: [1, 9000]
+
+tcp-endpoints:
+  - db.example.com:5432
";
    assert_eq!(
        place.types(""),
        (0, expected.to_owned(), TAKE_IT.to_owned())
    );
}

#[test]
fn what_no_line_should_allow_is_named_and_left_out() {
    let place = place(
        "sandbox-name: app\nhttp-domain-denylist: [evil.example.com]\n",
        &[
            wanted("evil.example.com"),
            refused("198.51.100.1", 443, Via::Connect, Reason::IpLiteral),
            refused(
                "fronted.example.com",
                443,
                Via::Connect,
                Reason::SniMismatch,
            ),
            refused(
                "inside.example.com",
                443,
                Via::Connect,
                Reason::PrivateAddress,
            ),
            query("c2VjcmV0.example.com", "TXT"),
            refused("a b", 443, Via::Connect, Reason::NotWhitelisted),
        ],
    );
    let expected = "\
# not suggested: 198.51.100.1:443 (ip-literal, 1 times)
# not suggested: a b:443 (malformed, 1 times)
# not suggested: c2VjcmV0.example.com (query for TXT) (dns, 2 times)
# not suggested: fronted.example.com:443 (sni-mismatch, 1 times)
# not suggested: inside.example.com:443 (private-address, 1 times)
# not suggested: evil.example.com:443 (denylisted, 1 times)
";
    let told = "nothing to add: the lists allow what was asked for, or no line should\n";
    assert_eq!(place.types(""), (0, expected.to_owned(), told.to_owned()));
}

#[test]
fn a_preset_is_taken_where_at_least_half_of_it_is_wanted() {
    let npm = policies::presets::get("npm").unwrap().unwrap();
    let whole = policies::presets::get("maven").unwrap().unwrap();
    let hosts = |preset: &policies::presets::Preset| -> Vec<Event> {
        preset
            .hosts
            .iter()
            .map(|host| wanted(host.pattern.name().as_str()))
            .collect()
    };
    assert!(
        npm.hosts.len() == 1 && whole.hosts.len() >= 2,
        "presets changed; choose others"
    );
    let events = [hosts(&npm), hosts(&whole)].concat();
    let (code, out, _) = place("sandbox-name: app\npresets:\n", &events).types("--json");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let lines: Vec<(&str, &str)> = document["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["key"].as_str().unwrap(),
                line["entry"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("presets", "maven"),
        (
            "http-domain-whitelist",
            npm.hosts[0].pattern.name().as_str(),
        ),
    ];
    assert_eq!((code, lines), (0, expected.to_vec()));
}

#[test]
fn many_names_below_one_become_a_suffix_but_never_a_public_one() {
    let below = |parent: &str, count: usize| -> Vec<Event> {
        (0..count)
            .map(|number| wanted(&format!("n{number}.{parent}")))
            .collect()
    };
    let entries = |events: &[Event]| -> Vec<String> {
        let (_, out, _) = place("sandbox-name: app\n", events).types("--json");
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let lines = document["lines"].as_array().unwrap().clone();
        lines
            .iter()
            .map(|line| line["entry"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(entries(&below("cdn.example.com", 8)), [".cdn.example.com"]);
    assert_eq!(entries(&below("cdn.example.com", 7)).len(), 7);
    assert_eq!(entries(&below("co.uk", 8)).len(), 8);
    assert_eq!(entries(&below("github.io", 8)).len(), 8);
}

#[test]
fn under_the_suggested_lines_everything_that_was_suggested_passes() {
    let events = [
        wanted("a.example.com"),
        observed("b.example.com"),
        refused("c.example.com", 22, Via::CapturedTcp, Reason::Port),
    ];
    let place = place("sandbox-name: app\n", &events);
    let (_, out, _) = place.types("");
    let added: String = out
        .lines()
        .filter(|line| line.starts_with([' ', '+']) && !line.starts_with("+++"))
        .map(|line| format!("{}\n", &line[1..]))
        .collect();
    std::fs::write(place.root.join(CONFIG_FILE), added).unwrap();
    let told = "nothing to add: the lists allow what was asked for, or no line should\n";
    assert_eq!(place.types(""), (0, String::new(), told.to_owned()));
}

#[test]
fn a_patch_has_the_line_ends_of_the_config() {
    let config = "sandbox-name: app\r\nhttp-domain-whitelist:\r\n  - x.example.com\r\n";
    let (code, out, _) = place(config, &[wanted("a.example.com")]).types("");
    let hunk = out.split_once("@@\n").unwrap().1;
    let expected = " sandbox-name: app\r\n http-domain-whitelist:\r\n   - x.example.com\r\n+  - a.example.com\r\n";
    assert_eq!((code, hunk), (0, expected));
}

#[test]
fn only_the_run_and_the_time_asked_for_count() {
    let place = place(
        "sandbox-name: app\n",
        &[wanted("a.example.com"), wanted("b.example.com")],
    );
    let lines = |line: &str| -> Vec<String> {
        let (_, out, _) = place.types(line);
        out.lines()
            .filter(|line| line.starts_with("# "))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(lines("--run run-2"), Vec::<String>::new());
    assert_eq!(lines("--run run-1").len(), 2);
    assert_eq!(
        lines("--since 2026-11-21T01:30:00Z"),
        ["# http-domain-whitelist: b.example.com (1 times)"]
    );
}

#[test]
fn a_config_of_another_shape_is_not_edited_but_the_lines_are_told() {
    let place = place(
        "sandbox-name: app\nhttp-domain-whitelist: [\n  x.example.com]\n",
        &[wanted("a.example.com")],
    );
    let expected = "# http-domain-whitelist: a.example.com (1 times)\n";
    let told =
        "a list in the config has a shape that is not edited here: add these lines by hand\n";
    assert_eq!(place.types(""), (0, expected.to_owned(), told.to_owned()));
}

#[test]
fn what_bring_up_itself_tries_is_no_wish_of_the_agent() {
    let events = [
        wanted("ocs-probe.invalid"),
        query("ocs-probe.invalid", "A"),
        query("ocs-probe.invalid", "TXT"),
        refused("192.0.2.1", 443, Via::CapturedTcp, Reason::IpLiteral),
        refused("2001:db8::1", 443, Via::CapturedTcp, Reason::IpLiteral),
    ];
    let told = "nothing to add: the lists allow what was asked for, or no line should\n";
    assert_eq!(
        place("sandbox-name: app\n", &events).types(""),
        (0, String::new(), told.to_owned())
    );
}
