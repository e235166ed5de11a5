use std::path::PathBuf;

use super::*;
use crate::cli;
use crate::config_file::CONFIG_FILE;
use crate::console::tests::captured;
use crate::world::Terminal;

const CONFIG: &str = "\
sandbox-name: my-app
sandbox-name: again
http-domain-whitelist:
  - .github.com
  - mise.run:8443
http-domain-denylist: [gist.github.com]
host-ports: [5432]
llm-endpoints:
  - http://10.0.0.13:8000/v1
tcp-endpoints:
  - git.example.org:22
env-passthrough:
  INSIDE: OUTSIDE
env:
  SECRET: not shown
";

/// A home and a project with this config.
struct Place {
    _keep: tempfile::TempDir,
    home: PathBuf,
    root: PathBuf,
}

fn place(config: &str) -> Place {
    let keep = tempfile::tempdir().unwrap();
    let base = keep.path().canonicalize().unwrap();
    let (home, root) = (base.join("home"), base.join("work"));
    std::fs::create_dir(&home).unwrap();
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join(CONFIG_FILE), config).unwrap();
    Place {
        _keep: keep,
        home,
        root,
    }
}

impl Place {
    /// Types `line` after `ocs policy`, and `answers` when asked; gives code, stdout and stderr.
    fn types(&self, line: &str, answers: Option<&str>) -> (u8, String, String) {
        let world = World::of(&self.root, &self.home, vec![]);
        let words = ["ocs", "policy"].into_iter().chain(line.split_whitespace());
        let command = match cli::parse(words.map(Into::into)) {
            Ok(cli::Command::Policy(command)) => command,
            other => panic!("{line}: {other:?}"),
        };
        let terminal = Terminal {
            stdin: answers.is_some(),
            ..Terminal::default()
        };
        let (exit, out, err) = captured(answers.unwrap_or_default(), terminal, |console| {
            let ended = run(&command, &world, console);
            crate::dispatch::end(ended, console)
        });
        (exit.code(), out, err)
    }
}

#[test]
fn check_says_what_a_config_allows() {
    let (code, out, err) = place(CONFIG).types("check", None);
    let expected = "\
opencode-sandbox-config.yaml: ok
  sandbox          my-app
  network mode     filtered
  allowed hosts    .github.com
                   mise.run:8443
  refused hosts    gist.github.com
  host ports       docker.host:5432
  model servers    http://10.0.0.13:8000/v1
  raw TCP          git.example.org:22
  variables        INSIDE from $OUTSIDE
                   SECRET set here
  shown read-only  none
";
    assert_eq!((code, out.as_str()), (0, expected));
    let warned = "warning: opencode-sandbox-config.yaml:2:1: ";
    assert!(err.starts_with(warned) && err.lines().count() == 1, "{err}");
}

#[test]
fn check_tells_a_machine_the_same() {
    let (code, out, err) = place("sandbox-name: x\nhost-ports: [1]\n").types("check --json", None);
    let expected = r#"{"v":1,"ok":true,"file":"opencode-sandbox-config.yaml","errors":[],"warnings":[],"summary":{"sandbox-name":"x","network-mode":"filtered","http-domain-whitelist":[],"http-domain-denylist":[],"presets":[],"host-ports":[1],"llm-endpoints":[],"tcp-endpoints":[],"env":[],"env-passthrough":[],"read-only-paths":[]}}"#;
    assert_eq!((code, out, err.as_str()), (0, format!("{expected}\n"), ""));
}

#[test]
fn check_names_every_mistake_at_once_and_nothing_on_stdout() {
    let place = place("foo: 1\nhost-ports: [0]\n");
    let (code, out, err) = place.types("check", None);
    assert_eq!((code, out.as_str()), (64, ""));
    let places: Vec<&str> = err
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    let file = |place: &str| format!("{CONFIG_FILE}:{place}");
    assert_eq!(
        places[..3],
        [file("1:1"), file("1:1"), file("2:14")],
        "{err}"
    );
    assert_eq!(
        err.lines().last(),
        Some("3 mistakes; nothing would be started")
    );
    let (code, out, _) = place.types("check --json", None);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &document["ok"], &document["summary"]),
        (64, &false.into(), &serde_json::Value::Null)
    );
    assert_eq!(document["errors"].as_array().map(Vec::len), Some(3));
}

#[test]
fn check_reads_another_file_where_there_is_no_project() {
    let place = place(CONFIG);
    let elsewhere = Place {
        _keep: tempfile::tempdir().unwrap(),
        home: place.home.clone(),
        root: place.home.clone(),
    };
    let (code, out, err) = elsewhere.types("check", None);
    let told = format!(
        "ocs: no opencode-sandbox-config.yaml in {} or any directory above it\nnext: ocs init\n",
        place.home.display()
    );
    assert_eq!((code, out.as_str(), err), (64, "", told));
    let (code, out, _) = elsewhere.types(&format!("check --config ../work/{CONFIG_FILE}"), None);
    assert_eq!(
        (code, out.lines().next()),
        (0, Some("opencode-sandbox-config.yaml: ok"))
    );
}

#[test]
fn explain_answers_with_the_rule_and_its_code() {
    let place = place(CONFIG);
    let (code, out, err) = place.types("explain https://api.github.com/x", None);
    let expected = "\
allow api.github.com:443 (connect), mode filtered, carries tls
  http-domain-whitelist, opencode-sandbox-config.yaml:4 `.github.com`: allows
";
    assert_eq!((code, out.as_str(), err.as_str()), (0, expected, ""));
    for (question, code, first) in [
        (
            "explain gist.github.com",
            1,
            "deny gist.github.com:443 (connect), mode filtered: denylisted",
        ),
        (
            "explain example.org",
            1,
            "deny example.org:443 (connect), mode filtered: not-whitelisted",
        ),
        (
            "explain 192.0.2.1",
            1,
            "deny 192.0.2.1:443 (connect), mode filtered: ip-literal",
        ),
        (
            "explain git.example.org:22",
            0,
            "allow git.example.org:22 (connect), mode filtered, carries raw",
        ),
        (
            "explain docker.host:5432",
            0,
            "allow docker.host:5432 (connect), mode filtered, carries raw",
        ),
        (
            "explain --mode none github.com",
            1,
            "deny github.com:443 (connect), mode none: mode",
        ),
    ] {
        let (found, out, err) = place.types(question, None);
        assert_eq!(
            (found, out.lines().next(), err.as_str()),
            (code, Some(first), ""),
            "{question}"
        );
    }
}

#[test]
fn explain_tells_a_machine_the_same() {
    let (code, out, err) = place(CONFIG).types("explain --json http://example.org", None);
    let expected = serde_json::json!({
        "decision": "deny", "reason": "not-whitelisted", "rule": null, "via": "http", "host": "example.org", "port": 80,
        "mode": "filtered", "carries": null, "steps": [], "nearest": null,
        "suggestion": "http-domain-whitelist: - example.org",
    });
    assert_eq!((code, err.as_str()), (1, ""));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap(),
        expected
    );
}

#[test]
fn explain_wants_a_destination_and_a_right_config() {
    let (code, out, err) = place(CONFIG).types("explain a..b", None);
    let told = "ocs: `a..b` is no destination: the host has an empty label\nnext: ocs policy explain HOST[:PORT], or a URL\n";
    assert_eq!((code, out.as_str(), err.as_str()), (64, "", told));
    let (code, out, err) = place("sandbox-name: x\nfoo: 1\n").types("explain a.b", None);
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(
        err.starts_with("ocs: opencode-sandbox-config.yaml:2:1: "),
        "{err}"
    );
    assert!(
        err.ends_with("next: correct the config, then: ocs policy check\n"),
        "{err}"
    );
}

#[test]
fn diff_and_approve_go_together() {
    let place = place("sandbox-name: x\n");
    let (code, out, err) = place.types("diff", None);
    let shown =
        "--- (no such file)\n+++ opencode-sandbox-config.yaml\n@@ -0,0 +1 @@\n+sandbox-name: x\n";
    let fingerprint = err
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("fingerprint "))
        .unwrap()
        .to_owned();
    let told = format!(
        "nothing was approved yet; to approve all of this: ocs policy approve\nfingerprint {fingerprint}\n"
    );
    assert_eq!((code, out.as_str(), err), (1, shown, told));

    let (code, out, err) = place.types("approve", None);
    let told = format!(
        "{shown}ocs: there is nobody to ask\nnext: review the above, then: ocs policy approve --yes --hash {fingerprint}\n"
    );
    assert_eq!((code, out.as_str(), err), (64, "", told));

    let (code, out, err) = place.types("approve", Some("n\n"));
    let told = format!("{shown}approve this? [y/N] ocs: nothing was approved\n");
    assert_eq!((code, out.as_str(), err), (64, "", told));

    let (code, out, err) = place.types("approve", Some("y\n"));
    let told = format!("{shown}approve this? [y/N] approved; fingerprint {fingerprint}\n");
    assert_eq!((code, out.as_str(), err), (0, "", told));

    let (code, out, err) = place.types("diff", None);
    let told = format!("the control files are what was approved\nfingerprint {fingerprint}\n");
    assert_eq!((code, out.as_str(), err), (0, "", told));
}

#[test]
fn approve_without_asking_wants_the_fingerprint_of_what_is_there() {
    let place = place("sandbox-name: x\n");
    let (_, out, _) = place.types("diff --json", None);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let fingerprint = document["fingerprint"].as_str().unwrap().to_owned();
    let wrong = "0".repeat(64);
    let (code, _, err) = place.types(&format!("approve --yes --hash {wrong}"), None);
    let told = format!(
        "ocs: the control files have the fingerprint {fingerprint}, not the one given\n\
         next: ocs policy diff, and review what is there\n"
    );
    assert_eq!((code, err.ends_with(&told)), (64, true), "{err}");
    assert_eq!(place.types("diff", None).0, 1);
    assert_eq!(
        place
            .types(&format!("approve --yes --hash {fingerprint}"), None)
            .0,
        0
    );
    assert_eq!(place.types("diff", None).0, 0);
    assert_eq!(
        place
            .types(&format!("approve --yes --hash {fingerprint}"), None)
            .0,
        0
    );
    assert_eq!(
        place
            .types(&format!("approve --yes --hash {wrong}"), None)
            .0,
        64
    );
}

#[test]
fn diff_tells_a_machine_the_same() {
    let place = place("sandbox-name: x\n");
    assert_eq!(place.types("approve", Some("y\n")).0, 0);
    std::fs::write(
        place.root.join(CONFIG_FILE),
        "sandbox-name: x\n# \u{202e}\n",
    )
    .unwrap();
    let (code, out, err) = place.types("diff --json", None);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expected = serde_json::json!({
        "v": 1, "state": "changed", "fingerprint": document["fingerprint"],
        "changes": [{
            "file": CONFIG_FILE, "change": "changed",
            "diff": format!("--- {CONFIG_FILE}\n+++ {CONFIG_FILE}\n@@ -1 +1,2 @@\n sandbox-name: x\n+# \\u{{202e}}\n"),
        }],
    });
    assert_eq!((code, document, err.as_str()), (1, expected, ""));
}

#[test]
fn every_preset_can_be_listed_and_shown() {
    let place = place(CONFIG);
    let (code, out, err) = place.types("presets", None);
    assert_eq!((code, err.as_str()), (0, ""));
    let names: Vec<&str> = out
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, policies::presets::names().collect::<Vec<_>>());
    for name in names {
        let (code, out, err) = place.types(&format!("presets {name}"), None);
        assert_eq!((code, err.as_str()), (0, ""));
        let hosts = presets::find(name).unwrap().hosts.len();
        assert_eq!(out.lines().count(), 1 + hosts, "{out}");
    }
    let (code, out, err) = place.types("presets nothing", None);
    let told = "ocs: there is no preset `nothing`\nnext: ocs policy presets\n";
    assert_eq!((code, out.as_str(), err.as_str()), (64, "", told));
}

#[test]
fn the_schemas_are_those_of_the_policies() {
    let place = place(CONFIG);
    for (line, expected) in [
        ("schema", policies::schema::config_schema()),
        ("schema --record", policies::schema::audit_event_schema()),
    ] {
        let (code, out, err) = place.types(line, None);
        assert_eq!(
            (code, serde_json::from_str(&out).ok(), err.as_str()),
            (0, Some(expected), "")
        );
    }
}
