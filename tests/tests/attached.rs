//! `ocs task --attach` with a real OpenCode that `ocs conductor` keeps, and a scripted model server.
//! Needs: OpenCode in `target/agent` (`make agent`).
//! Clauses: O6, O7, U2, U3.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use harness::desk::{Desk, POLICY, Task};
use harness::for_each_user;
use harness::model::Step;
use harness::world::As;
use serde_json::json;

fn bash(line: &str) -> Step {
    Step::Bash(line.to_owned())
}

/// What a person's own rules would ask for.
const ASKS: &str = r#"{"permission": {"*": "ask", "bash": "ask", "edit": "ask"}}"#;

for_each_user! {
    fn tasks_are_done_by_the_server_that_runs_and_told_as_any_other(who) {
        let mut desk = Desk::scripted(who, &[
            bash("echo made >> made.txt; curl -sS https://evil.test/; true"),
            Step::Say("Done by the conductor.".to_owned()),
        ])?;
        let before = desk.world.census()?;
        let project = desk.project("project", POLICY)?;
        project.write("opencode.jsonc", ASKS)?;
        desk.call(&project, &["ocs", "conductor", "--detach"])?.succeeded()?;
        let mut sessions = Vec::new();
        for text in ["--do \"both\" steps,\nplease", "again"] {
            let task = desk.task(&project, &["--attach", "-"], Some(text))?;
            let seen = (task.finished.code(), task.field("ok"), task.text("result"), task.field("error"));
            assert_eq!(seen, (0, &json!(true), "Done by the conductor.", &json!(null)), "{:#?}", task.finished);
            assert_eq!(task.field("tokens"), &json!({"input": 2, "output": 2}));
            assert_eq!(task.field("changed_files"), &json!(["made.txt"]));
            let evil = json!({"host": "evil.test", "port": 443, "reason": "not-whitelisted", "count": 1});
            let refused = task.field("refused").as_array().cloned().unwrap_or_default();
            assert!(refused.contains(&evil), "{refused:?}");
            let events = fs::read_to_string(desk.world.outside(task.text("events").as_ref()))?;
            assert!(events.lines().count() > 2 && events.contains("Done by the conductor."), "{events}");
            let record = fs::read_to_string(desk.world.outside(task.text("record").as_ref()))?;
            assert!(record.contains(task.text("run")));
            sessions.push(task.text("session").to_owned());
        }
        assert!(sessions[0].starts_with("ses_") && sessions[0] != sessions[1], "{sessions:?}");
        let running: Vec<_> = ["one", "two", "three"]
            .iter()
            .map(|text| desk.begin(&project, &["--attach", text], None, &[]))
            .collect::<Result<_>>()?;
        for running in running {
            let task = Task::of(running.wait()?)?;
            assert_eq!((task.finished.code(), task.text("result")), (0, "Done by the conductor."));
            sessions.push(task.text("session").to_owned());
        }
        sessions.sort();
        sessions.dedup();
        assert_eq!(sessions.len(), 5);
        desk.call(&project, &["ocs", "stop"])?.succeeded()?;
        assert_eq!(desk.world.settle(|census| *census == before)?, before);
        let mut left = desk.left_over()?;
        left.retain(|path| path.components().any(|part| part.as_os_str() == "tasks"));
        assert_eq!(left, Vec::<PathBuf>::new());
        desk.close()
    }
}

#[test]
fn a_task_that_takes_too_long_or_is_ended_stops_and_the_server_goes_on() -> Result<()> {
    let steps = [bash("touch begun; sleep 4321"), bash("echo too late")];
    let mut desk = Desk::scripted(As::Ordinary, &steps)?;
    let project = desk.project("project", POLICY)?;
    desk.call(&project, &["ocs", "conductor", "--detach"])?
        .succeeded()?;
    let asleep = |process: &harness::spec::Process| process.command == "sleep 4321";
    let task = desk.task(&project, &["--attach", "--timeout", "20", "x"], None)?;
    let seen = (task.finished.code(), task.field("timed_out"));
    assert_eq!(seen, (124, &json!(true)), "{:#?}", task.finished);
    assert_eq!(task.field("changed_files"), &json!(["begun"]));
    let census = desk
        .world
        .settle(|census| !census.processes.iter().any(asleep))?;
    assert!(!census.processes.iter().any(asleep), "{census:#?}");

    let running = desk.begin(&project, &["--attach", "--timeout", "600", "x"], None, &[])?;
    desk.world.find(asleep)?;
    let ocs = desk
        .world
        .find(|process| process.command.starts_with("ocs task"))?;
    desk.world.signal(ocs.pid, "TERM")?;
    let task = Task::of(running.wait()?)?;
    let seen = (task.finished.code(), task.field("timed_out"));
    assert_eq!(seen, (143, &json!(false)), "{:#?}", task.finished);
    let census = desk
        .world
        .settle(|census| !census.processes.iter().any(asleep))?;
    assert!(!census.processes.iter().any(asleep), "{census:#?}");
    assert_eq!(desk.call(&project, &["ocs", "status"])?.code(), 0);
    desk.call(&project, &["ocs", "stop"])?.succeeded()?;
    desk.close()
}

#[test]
fn without_a_server_there_is_a_document_that_says_so() -> Result<()> {
    let desk = Desk::bare(As::Ordinary)?;
    let project = desk.project("project", POLICY)?;
    let task = desk.task(&project, &["--attach", "x"], None)?;
    let error = "the agent's server does not run; next: ocs conductor --detach";
    assert_eq!((task.finished.code(), task.text("error")), (1, error));
    let both = desk.task(&project, &["--attach", "--mode", "none", "x"], None)?;
    assert_eq!(both.finished.code(), 64);
    Ok(())
}
