//! `ocs task` from outside: one document whatever happens, the task's text untouched and nowhere to be read but in its file,
//! and nothing left behind. The agent here is a shell; `agent_task.rs` has the real one.
//! Clauses: O6, U2, U3.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use harness::desk::{Desk, Task};
use harness::for_each_user;
use harness::project::Project;
use harness::world::As;
use serde_json::{Value, json};

/// A project whose agent is this script.
fn policy(script: &str) -> String {
    let script = serde_json::to_string(script).unwrap_or_default();
    format!(
        "sandbox-name: desk\nhttp-domain-whitelist: [ok.test]\nagent:\n  tool: [sh, -c, {script}]\n"
    )
}

fn content(project: &Project<'_>, desk: &Desk, name: &str) -> Result<String> {
    let path = desk.world.outside(&project.directory().join(name));
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

for_each_user! {
    fn a_task_s_text_arrives_as_it_was_given_and_is_nowhere_else(who) {
        let desk = Desk::bare(who)?;
        let look = "cat > got; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ > seen 2>/dev/null; echo done";
        let project = desk.project("project", &policy(look))?;
        let texts = [
            "--marker-2718 leading dash",
            "marker-2718 'single' \"double\" $HOME `x` \\ ;|&\nsecond line\n\n",
            "marker-2718 \u{e9}\u{1f980}\t{\"json\": true}",
        ];
        for text in texts {
            let task = desk.task(&project, &["--", text], None)?;
            assert_eq!((task.finished.code(), task.text("result")), (0, "done"), "{:#?}", task.finished);
            assert_eq!(content(&project, &desk, "got")?, text);
            let seen = fs::read(desk.world.outside(&project.directory().join("seen")))?;
            let seen = String::from_utf8_lossy(&seen);
            assert!(seen.contains("PATH=") && !seen.contains("marker-2718"), "{seen}");
        }
        let long = format!("marker-2718 {}", "x\n".repeat(512 << 10));
        let task = desk.task(&project, &["-"], Some(&long))?;
        assert_eq!((task.finished.code(), task.field("ok")), (0, &json!(true)));
        assert_eq!(content(&project, &desk, "got")?.len(), long.len());
        assert_eq!(content(&project, &desk, "got")?, long);
        assert_eq!(desk.left_over()?, Vec::<std::path::PathBuf>::new());
        Ok(())
    }

    fn every_mistake_is_one_document_too(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", &policy("cat"))?;
        let wrong: [&[&str]; 8] = [
            &[],
            &["  "],
            &["--no-such-flag", "x"],
            &["--timeout", "soon", "x"],
            &["--timeout", "0", "x"],
            &["--file", "nowhere.md"],
            &["--tool", "../x", "x"],
            &["--session", "../x", "x"],
        ];
        for arguments in wrong {
            let task = desk.task(&project, arguments, None)?;
            let seen = (task.finished.code(), task.field("ok"), task.text("error").is_empty());
            assert_eq!(seen, (64, &json!(false), false), "{arguments:?}: {:#?}", task.finished);
        }
        project.write("opencode-sandbox-config.yaml", "sandbox-name: desk\nnonsense: 1\n")?;
        let task = desk.task(&project, &["x"], None)?;
        assert_eq!(task.finished.code(), 64);
        assert!(task.text("error").contains("nonsense"), "{:?}", task.document);
        assert_eq!(desk.left_over()?, Vec::<std::path::PathBuf>::new());
        Ok(())
    }

    fn the_text_may_come_from_a_file_or_the_variables_of_earlier_systems(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", &policy("cat"))?;
        project.write("SPEC.md", "from a file")?;
        let task = desk.task(&project, &["--file", "SPEC.md"], None)?;
        assert_eq!(task.text("result"), "from a file");
        let with = |variables: &[(&str, &str)]| Task::of(desk.begin(&project, &[], None, variables)?.wait()?);
        assert_eq!(with(&[("TASK", "from a variable"), ("TASK_FILE", "")])?.text("result"), "from a variable");
        assert_eq!(with(&[("TASK", "x"), ("TASK_FILE", "SPEC.md")])?.text("result"), "from a file");
        assert_eq!(with(&[("TASK", "")])?.finished.code(), 64);
        Ok(())
    }

    fn a_link_in_the_place_of_the_text_s_file_tells_the_agent_nothing(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", &policy("cat"))?;
        desk.world.write(who, &who.home().join("secret"), "secret-31")?;
        desk.call(&project, &["ln", "-s", "../secret", "SPEC.md"])?.succeeded()?;
        let task = desk.task(&project, &["--file", "SPEC.md"], None)?;
        assert_eq!(task.finished.code(), 64, "{:#?}", task.finished);
        assert!(task.text("error").contains("SPEC.md leads out of the project"), "{:?}", task.document);
        let autonomous = desk.call(&project, &["ocs", "autonomous", "--file", "SPEC.md"])?;
        assert_eq!(autonomous.code(), 64, "{autonomous}");
        let task = desk.task(&project, &["--file", "../secret"], None)?;
        assert_eq!(task.text("result"), "secret-31");
        Ok(())
    }

    fn an_agent_that_takes_too_long_is_ended_with_all_that_it_started(who) {
        let desk = Desk::bare(who)?;
        let before = desk.world.census()?;
        let script = "trap '' TERM; (setsid sleep 4321 &); echo begun; touch made; sleep 4321; sleep 4321";
        let project = desk.project("project", &policy(script))?;
        let task = desk.task(&project, &["--timeout", "10", "x"], None)?;
        let seen = (task.finished.code(), task.field("timed_out"), task.field("ok"), task.text("result"));
        assert_eq!(seen, (124, &json!(true), &json!(false), "begun"), "{:#?}", task.finished);
        assert_eq!(task.field("changed_files"), &json!(["made"]));
        assert_eq!(desk.world.settle(|census| *census == before)?, before);
        assert_eq!(desk.left_over()?, Vec::<std::path::PathBuf>::new());
        Ok(())
    }

    fn the_document_says_what_was_refused_and_what_was_changed(who) {
        let desk = Desk::bare(who)?;
        let script = "cat >/dev/null; rm gone; echo new > new; mkdir -p d; echo x > d/x; \
            curl -s -o /dev/null https://evil.test/; curl -s -o /dev/null https://evil.test/; echo said; exit 3";
        let project = desk.project("project", &policy(script))?;
        project.write("gone", "x")?;
        project.write("stays", "x")?;
        let task = desk.task(&project, &["x"], None)?;
        let refused = json!([{"host": "evil.test", "port": 443, "reason": "not-whitelisted", "count": 2}]);
        let seen = (task.finished.code(), task.field("ok"), task.text("result"), task.field("refused"));
        assert_eq!(seen, (3, &json!(false), "said", &refused), "{:#?}", task.finished);
        assert_eq!(task.field("changed_files"), &json!(["d/x", "gone", "new"]));
        let events = fs::read_to_string(desk.world.outside(task.text("events").as_ref()))?;
        assert_eq!(events, "said\n");
        let record = fs::read_to_string(desk.world.outside(task.text("record").as_ref()))?;
        assert!(record.contains("evil.test") && record.contains(task.text("run")));
        Ok(())
    }

    fn a_task_killed_from_outside_is_one_document_and_a_dead_one_is_swept(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", &policy("echo begun; sleep 1357"))?;
        let running = desk.begin(&project, &["x"], None, &[])?;
        desk.world.find(|process| process.command == "sleep 1357")?;
        let ocs = desk.world.find(|process| process.command.starts_with("ocs task"))?;
        desk.world.signal(ocs.pid, "TERM")?;
        let task = Task::of(running.wait()?)?;
        assert_eq!((task.finished.code(), task.field("timed_out")), (143, &json!(false)));

        let running = desk.begin(&project, &["--timeout", "600", "x"], None, &[])?;
        desk.world.find(|process| process.command == "sleep 1357")?;
        let ocs = desk.world.find(|process| process.command.starts_with("ocs task"))?;
        desk.world.signal(ocs.pid, "KILL")?;
        running.wait()?;
        let left = |process: &harness::spec::Process| process.command == "sleep 1357";
        let census = desk.world.settle(|census| !census.processes.iter().any(left))?;
        assert!(!census.processes.iter().any(left), "{census:#?}");
        assert_ne!(desk.left_over()?, Vec::<std::path::PathBuf>::new());
        project.write("opencode-sandbox-config.yaml", &policy("cat"))?;
        drop(desk.task(&project, &["x"], None)?);
        assert_eq!(desk.left_over()?, Vec::<std::path::PathBuf>::new());
        Ok(())
    }

    fn ten_tasks_at_once_have_ten_records_on_one_project_and_on_ten(who) {
        let desk = Desk::bare(who)?;
        let before = desk.world.census()?;
        let names: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
        let script = policy("read name; curl -s -o /dev/null https://$name.evil.test/; echo $name");
        let one = desk.project("project", &script)?;
        let many: Vec<Project<'_>> = names.iter().map(|name| desk.project(name, &script)).collect::<Result<_>>()?;
        for projects in [vec![&one; 10], many.iter().collect()] {
            let running: Vec<_> = projects
                .iter()
                .zip(&names)
                .map(|(project, name)| desk.begin(project, &[&format!("{name}\n")], None, &[]))
                .collect::<Result<_>>()?;
            let mut records = BTreeSet::new();
            for (running, name) in running.into_iter().zip(&names) {
                let task = Task::of(running.wait()?)?;
                assert_eq!((task.finished.code(), task.text("result")), (0, name.as_str()), "{:#?}", task.finished);
                let hosts: Vec<&Value> = task.field("refused").as_array().into_iter().flatten().filter_map(|row| row.get("host")).collect();
                assert_eq!(hosts, [&json!(format!("{name}.evil.test"))]);
                records.insert(task.text("record").to_owned());
            }
            assert_eq!(records.len(), 10);
        }
        assert_eq!(desk.world.settle(|census| *census == before)?, before);
        assert_eq!(desk.left_over()?, Vec::<std::path::PathBuf>::new());
        Ok(())
    }

    fn what_is_to_be_kept_is_kept(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", &policy("cat"))?;
        let task = desk.task(&project, &["--keep", "x"], None)?;
        assert_eq!(task.finished.code(), 0);
        let names = |desk: &Desk| -> Result<Vec<String>> {
            let mut names: Vec<String> = desk.left_over()?.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
            names.sort();
            Ok(names)
        };
        assert_eq!(names(&desk)?, ["gitconfig", "kept", "task"]);
        desk.task(&project, &["y"], None)?;
        assert_eq!(names(&desk)?, ["gitconfig", "kept", "task"]);
        Ok(())
    }
}

#[test]
fn a_mode_of_the_command_line_narrows_what_a_task_reaches() -> Result<()> {
    let desk = Desk::bare(As::Ordinary)?;
    let ask = "for url in http://docker.host:5432/ http://docker.host:9999/ http://ok.test/ http://docker.host:4711/; do \
        curl -s -o /dev/null -w '%{http_code} ' $url; done; echo";
    let script = serde_json::to_string(ask)?;
    let policy = format!(
        "sandbox-name: desk\nhttp-domain-whitelist: [ok.test]\nhost-ports: [9999]\nllm-endpoints: ['http://docker.host:4711/v1']\nagent:\n  tool: [sh, -c, {script}]\n"
    );
    let project = desk.project("project", &policy)?;
    let codes = |mode: &str| -> Result<String> {
        let task = desk.task(&project, &["--mode", mode, "x"], None)?;
        Ok(task.text("result").trim().to_owned())
    };
    // The model server is allowed, and nobody listens there: 502 is the proxy's word for that.
    assert_eq!(codes("filtered")?, "403 200 200 502");
    assert_eq!(codes("restricted")?, "403 200 403 502");
    // What goes to the host is captured: a refused connection is closed, which curl tells as 000.
    assert_eq!(codes("none")?, "000 000 403 000");
    Ok(())
}
