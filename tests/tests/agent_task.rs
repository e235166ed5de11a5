//! `ocs task` with a real OpenCode and a scripted model server: what an agent's own stream comes to.
//! Needs: OpenCode in `target/agent` (`make agent`).
//! Clauses: O6, O9, P10, U2, U3.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use harness::desk::{Desk, POLICY};
use harness::for_each_user;
use harness::model::Step;
use harness::world::As;
use serde_json::json;

fn bash(line: &str) -> Step {
    Step::Bash(line.to_owned())
}

fn say(text: &str) -> Step {
    Step::Say(text.to_owned())
}

/// What a person's own rules would ask for: with nobody there, the box is what holds the agent.
const ASKS: &str = r#"{"permission": {"*": "ask", "bash": "ask", "edit": "ask"}}"#;

for_each_user! {
    fn a_task_is_done_and_told_with_what_was_refused_on_the_way(who) {
        let mut desk = Desk::scripted(who, &[
            bash("echo made > made.txt; curl -sS https://evil.test/; true"),
            bash("curl -sS -o fetched.txt https://ok.test/"),
            say("Both steps were done."),
        ])?;
        let before = desk.world.census()?;
        let project = desk.project("project", POLICY)?;
        project.write("opencode.jsonc", ASKS)?;
        let task = desk.task(&project, &["-"], Some("--do \"both\" steps,\nplease"))?;
        let seen = (task.finished.code(), task.field("ok"), task.text("result"), task.field("error"));
        assert_eq!(seen, (0, &json!(true), "Both steps were done.", &json!(null)), "{:#?}", task.finished);
        assert!(task.text("session").starts_with("ses_"), "{:?}", task.document);
        assert_eq!(task.field("tokens"), &json!({"input": 3, "output": 3}));
        assert_eq!(task.field("changed_files"), &json!(["fetched.txt", "made.txt"]));
        let refused = task.field("refused").as_array().cloned().unwrap_or_default();
        let evil = json!({"host": "evil.test", "port": 443, "reason": "not-whitelisted", "count": 1});
        assert!(refused.contains(&evil), "{refused:?}");
        let events = fs::read_to_string(desk.world.outside(task.text("events").as_ref()))?;
        assert!(events.lines().all(|line| line.starts_with('{')) && events.contains("step_finish"), "{events}");
        assert_eq!(desk.world.settle(|census| *census == before)?, before);
        assert_eq!(desk.left_over()?, Vec::<PathBuf>::new());
        desk.close()
    }
}

/// An MCP server of a few lines, that leaves a mark in the box and offers one tool.
const SERVER: &str = r#"
import json, sys
open("mcp-began", "w").write("x")
for line in sys.stdin:
    asked = json.loads(line)
    answers = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}},
        "tools/list": {"tools": [{"name": "weigh", "description": "Weighs.", "inputSchema": {"type": "object", "properties": {}}}]},
    }
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answers.get(asked["method"], {})}), flush=True)
"#;

/// What a host's git config can hold besides the two lines that a commit needs.
const GIT: &str = "[user]\n\tname = A Person\n\temail = person@ok.test\n\tsigningkey = secret-1\n\
    [http]\n\textraHeader = \"Authorization: secret-2\"\n[credential]\n\thelper = store --file secret-3\n";

#[test]
fn an_agent_gets_the_project_s_servers_our_commands_and_the_user_s_name_and_nothing_else()
-> Result<()> {
    let look = "git config user.name > who; git config user.email >> who; git config --list > git; \
        ls ~/.ocs/skills > skills; (echo x >> ~/.ocs/opencode.json) 2>/dev/null || echo kept > kept; \
        opencode debug skill > skill & opencode mcp list > servers 2>&1; wait";
    let mut desk = Desk::scripted(As::Ordinary, &[bash(look), say("Looked.")])?;
    let policy = format!("{POLICY}agent:\n  mcp-config: mcp.json\n");
    let project = desk.project("project", &policy)?;
    project.write("mcp.json", r#"{"scales": {"type": "local", "command": ["python3", "server.py"]}, "bad": {"type": "local"}}"#)?;
    project.write("server.py", SERVER)?;
    desk.world
        .write(desk.who, &desk.who.home().join(".gitconfig"), GIT)?;
    let task = desk.task(&project, &["--timeout", "120", "x"], None)?;
    assert_eq!(task.finished.code(), 0, "{:#?}", task.finished);
    let read = |name: &str| fs::read_to_string(desk.world.outside(&project.directory().join(name)));
    assert_eq!(read("who")?, "A Person\nperson@ok.test\n");
    assert!(!read("git")?.contains("secret"), "{}", read("git")?);
    assert_eq!(
        (read("skills")?, read("kept")?),
        (
            "refused-request\nwrite-worklog\n".to_owned(),
            "kept\n".to_owned()
        )
    );
    for (file, part) in [
        ("servers", "\u{2713} scales"),
        ("skill", "/home/agent/.ocs/skills/refused-request/SKILL.md"),
    ] {
        assert!(read(file)?.contains(part), "{file}: {}", read(file)?);
    }
    assert_eq!(read("mcp-began")?, "x");
    assert!(
        task.finished.stderr.contains("agent.mcp-config: `bad`"),
        "{:#?}",
        task.finished
    );
    desk.close()
}

#[test]
fn an_agent_that_fails_is_told_in_its_own_words() -> Result<()> {
    let mut desk = Desk::scripted(As::Ordinary, &[say("never")])?;
    let project = desk.project("project", POLICY)?;
    let arguments = ["--agent-arg", "--model", "--agent-arg", "vllm/nothing", "x"];
    let task = desk.task(&project, &arguments, None)?;
    assert_eq!(
        (task.finished.code(), task.field("ok")),
        (1, &json!(false)),
        "{:#?}",
        task.finished
    );
    assert!(
        !task.text("error").is_empty() && !task.text("result").is_empty(),
        "{:?}",
        task.document
    );
    assert_eq!(desk.left_over()?, Vec::<PathBuf>::new());
    desk.close()
}

#[test]
fn an_agent_at_work_is_ended_when_its_time_is_over() -> Result<()> {
    let mut desk = Desk::scripted(As::Ordinary, &[bash("sleep 4321"), say("never")])?;
    let before = desk.world.census()?;
    let project = desk.project("project", POLICY)?;
    let task = desk.task(&project, &["--timeout", "45", "x"], None)?;
    assert_eq!(
        (task.finished.code(), task.field("timed_out")),
        (124, &json!(true)),
        "{:#?}",
        task.finished
    );
    assert_eq!(desk.world.settle(|census| *census == before)?, before);
    assert_eq!(desk.left_over()?, Vec::<PathBuf>::new());
    desk.close()
}

#[test]
fn a_conversation_is_gone_on_with_by_name() -> Result<()> {
    let mut desk = Desk::scripted(As::Ordinary, &[bash("echo 1 >> count"), say("Done.")])?;
    let project = desk.project("project", POLICY)?;
    let first = desk.task(&project, &["--session", "mine", "first"], None)?;
    let second = desk.task(&project, &["--session", "mine", "second"], None)?;
    let other = desk.task(&project, &["--session", "other", "third"], None)?;
    assert_eq!(first.finished.code(), 0, "{:#?}", first.finished);
    assert_eq!(
        (second.finished.code(), second.text("session")),
        (0, first.text("session")),
        "{:#?}",
        second.finished
    );
    assert_ne!(other.text("session"), first.text("session"));
    // The script counts the tool results of the whole conversation: the second task found the first one's there.
    let count = fs::read_to_string(desk.world.outside(&project.directory().join("count")))?;
    assert_eq!(count, "1\n1\n");
    desk.close()
}
