//! Learning: what a session did under `observe`, told by `ocs policy suggest`, is a config under which it passes.
//! Needs: OpenCode in `target/agent` (`make agent`), npm, pip, patch.
//! Clauses: P1, P3.

use std::fs;

use anyhow::{Context, Result};
use harness::desk::Desk;
use harness::for_each_user;
use harness::model::Step;
use harness::order::{OK_ADDRESS, Order};
use harness::project::{Decided, Project};
use harness::spec::Answers;
use harness::world::{As, Call, World};
use serde_json::{Value, json};

/// A config as a person writes it: with remarks, in no order, and with no name listed.
const UNTAUGHT: &str = "\
# The desk of the learning suite.
sandbox-name: desk # as people call it

http-domain-whitelist: # nothing yet

# The model of the house.
llm-endpoints:
  - http://docker.host:4711/v1 # no key
";

/// The same with what the session needs.
const TAUGHT: &str = "\
# The desk of the learning suite.
sandbox-name: desk # as people call it

http-domain-whitelist: # nothing yet
  - a.co.uk
  - b.co.uk
  - c.co.uk
  - d.co.uk
  - e.co.uk
  - f.co.uk
  - g.co.uk
  - h.co.uk
  - npm.w.test
  - pypi.w.test
  - registry.npmjs.org

# The model of the house.
llm-endpoints:
  - http://docker.host:4711/v1 # no key
";

const NPMRC: &str = "\
registry=https://npm.w.test/static/npm/
cafile=/etc/ssl/certs/ca-certificates.crt
audit=false
fund=false
update-notifier=false
";

const PIP: &str = "\
[global]
index-url = https://pypi.w.test/static/simple
cert = /etc/ssl/certs/ca-certificates.crt
disable-pip-version-check = true
no-cache-dir = true
";

/// Two installs; and so many names below one public suffix that a suffix of their own would be worth a line.
const SESSION: &str = "npm install tiny && PIP_CONFIG_FILE=pip.conf python3 -m pip install --target got tiny && \
    for name in a b c d e f g h; do curl -sSk https://$name.co.uk/ >>pages || exit 1; done";

/// What both installs and all pages leave in the project.
fn leavings(desk: &Desk, project: &Project<'_>) -> Result<[String; 3]> {
    let read = |name: &str| {
        let path = desk.world.outside(&project.directory().join(name));
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    Ok([
        read("node_modules/tiny/file")?,
        read("got/tiny.py")?,
        read("pages")?,
    ])
}

/// The session once, from nothing; what was decided about requests and names, and that all of it arrived.
fn session(desk: &Desk, project: &Project<'_>, mode: &[&str]) -> Result<Vec<Decided>> {
    let clear = "rm -rf node_modules package-lock.json got pages";
    project.call(Call::new(&["sh", "-c", clear]))?.succeeded()?;
    project.write("package.json", "{}")?;
    let arguments = [mode, &["--timeout", "240", "x"]].concat();
    let task = desk.task(project, &arguments, None)?;
    let seen = (
        task.finished.code(),
        task.text("result"),
        task.field("refused"),
    );
    assert_eq!(seen, (0, "Installed.", &json!([])), "{}", task.finished);
    let pages: String = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|name| format!("hello from {name}.co.uk\n"))
        .concat();
    assert_eq!(
        leavings(desk, project)?,
        [
            "hello from npm\n".to_owned(),
            "WORDS = 'hello from pip'\n".to_owned(),
            pages
        ],
        "{}",
        task.finished
    );
    Ok(project.newest_record()?.decided())
}

/// What OpenCode asks for of its own accord, and all that the script does.
fn needed() -> Vec<Decided> {
    let mut needed = vec![Decided::request("docker.host", 4711, "allow")];
    let names = TAUGHT
        .lines()
        .filter_map(|line| line.strip_prefix("  - "))
        .filter(|entry| !entry.starts_with("http"));
    needed.extend(names.map(|name| Decided::request(name, 443, "allow")));
    needed.sort();
    needed
}

for_each_user! {
    fn a_real_session_passes_under_the_config_that_its_record_suggests(who) {
        let address = [OK_ADDRESS.parse()?];
        let mut order = Order::usual()?;
        for name in ["*.co.uk", "registry.npmjs.org"] {
            order = order.name(name, Answers::always(&address));
        }
        let steps = [Step::Bash(SESSION.to_owned()), Step::Say("Installed.".to_owned())];
        let mut desk = Desk::scripted_in(who, order, &steps)?;
        let packages = Call::new(&["sh", "-s", "/home/static", "npm.w.test"]);
        desk.world.run(As::Root, packages.fed(include_str!("../clients/furnish.sh")))?.succeeded()?;
        let project = desk.project("project", UNTAUGHT)?;
        project.write(".npmrc", NPMRC)?;
        project.write("pip.conf", PIP)?;

        assert_eq!(session(&desk, &project, &["--mode", "observe", "--allow-observe"])?, needed());
        let record = project.newest_record()?;
        let run = record.events.first().and_then(|event| event["run"].as_str()).context("no run")?;
        let suggested = project.ocs(&["policy", "suggest", "--run", run])?.succeeded()?;
        for host in ["npm.w.test", "pypi.w.test"] {
            assert!(suggested.stdout.contains(&format!("# http-domain-whitelist: {host} (")), "{suggested}");
        }
        project.call(Call::new(&["patch", "-p0"]).fed(&suggested.stdout))?.succeeded()?;
        let config = project.directory().join("opencode-sandbox-config.yaml");
        assert_eq!(fs::read_to_string(desk.world.outside(&config))?, TAUGHT, "{suggested}");

        let diff = project.ocs(&["policy", "diff", "--json"])?;
        let diff: Value = serde_json::from_str(&diff.stdout)?;
        let hash = diff["fingerprint"].as_str().context("no fingerprint")?;
        project.ocs(&["policy", "approve", "--yes", "--hash", hash])?.succeeded()?;
        assert_eq!(session(&desk, &project, &[])?, needed());
        let again = project.ocs(&["policy", "suggest", "--run", run])?.succeeded()?;
        assert_eq!(again.stdout, "", "nothing is left to add");
        desk.close()
    }

    fn a_name_that_nobody_knows_is_told_and_given_no_line(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, "sandbox-name: desk\nhttp-domain-whitelist: []\n")?;
        let line = "curl -sS https://ok.test/; curl -sS https://gone.test/ && exit 1; true";
        project.ocs(&["run", "--mode", "observe", "--allow-observe", "--", "sh", "-c", line])?.succeeded()?;
        let suggested = project.ocs(&["policy", "suggest", "--json"])?.succeeded()?;
        let told: Value = serde_json::from_str(&suggested.stdout)?;
        let seen = json!([&told["lines"], &told["left"]]);
        let ok = json!({"key": "http-domain-whitelist", "entry": "ok.test", "covers": [{"destination": "ok.test:443", "requests": 1}]});
        let gone = json!({"destination": "gone.test:443", "reason": "dns-failed", "requests": 1});
        assert_eq!(seen, json!([[ok], [gone]]), "{suggested}");
        Ok(())
    }
}
