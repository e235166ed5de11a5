//! `ocs autonomous`: rounds until the report is there, what a kill leaves, and how failing ends. The agent is a shell.
//! Clauses: O6, U2, U3.

use std::fs;

use anyhow::{Context, Result};
use harness::desk::Desk;
use harness::for_each_user;
use harness::project::Project;
use harness::run::Finished;
use harness::world::Call;
use serde_json::{Value, json};

fn policy(script: &str) -> String {
    let script = serde_json::to_string(script).unwrap_or_default();
    format!(
        "sandbox-name: desk\nhttp-domain-whitelist: [ok.test]\nagent:\n  tool: [sh, -c, {script}]\n"
    )
}

fn autonomous(project: &Project<'_>, more: &[&str]) -> Result<(Value, Finished)> {
    let words = [&["ocs", "autonomous", "--file", "SPEC.md"][..], more].concat();
    let finished = project.call(Call::new(&words).for_seconds(120))?;
    let document = serde_json::from_str(&finished.stdout).with_context(|| finished.to_string())?;
    Ok((document, finished))
}

fn at<'v>(document: &'v Value, key: &str) -> &'v Value {
    document.get(key).unwrap_or(&Value::Null)
}

for_each_user! {
    fn rounds_go_on_until_the_agent_s_report_is_there(who) {
        let desk = Desk::bare(who)?;
        let script = "mkdir -p docs; cat > docs/told.$(ls docs | wc -l); curl -s -o /dev/null https://evil.test/; \
            test $(ls docs | wc -l) -lt 4 || echo all done > docs/final_report.md; echo 'round over'";
        let project = desk.project("project", &policy(script))?;
        project.write("SPEC.md", "--do this\n")?;
        project.write("docs/final_report.md", "of another time")?;
        let (document, finished) = autonomous(&project, &[])?;
        let seen = (finished.code(), at(&document, "done"), at(&document, "rounds"));
        assert_eq!(seen, (0, &json!(true), &json!(3)), "{finished}");
        let read = |name: &str| fs::read_to_string(desk.world.outside(&project.directory().join(name)));
        let (first, second) = (read("docs/told.1")?, read("docs/told.2")?);
        assert!(first.ends_with("The specification:\n\n--do this\n") && !first.contains("not the first round"), "{first}");
        assert!(second.ends_with("The specification:\n\n--do this\n") && second.contains("not the first round"), "{second}");
        let log = read("logs/autonomous.log")?;
        assert_eq!(log.matches("== round ").count(), 3, "{log}");
        assert!(log.contains("evil.test") && log.contains("| round over\n"), "{log}");
        let again = autonomous(&project, &["--rounds", "1"])?;
        assert_eq!((again.1.code(), at(&again.0, "rounds")), (1, &json!(1)), "{}", again.1);
        Ok(())
    }

    fn a_start_after_a_kill_goes_on(who) {
        let desk = Desk::bare(who)?;
        let before = desk.world.census()?;
        let script = "test -e second && { mkdir docs; echo done > docs/final_report.md; exit 0; }; touch second; sleep 2468";
        let project = desk.project("project", &policy(script))?;
        project.write("SPEC.md", "x")?;
        let words = ["ocs", "autonomous", "--file", "SPEC.md"];
        let running = desk.world.start(who, Call::new(&words).within(project.directory()).for_seconds(120))?;
        desk.world.find(|process| process.command == "sleep 2468")?;
        let ocs = desk.world.find(|process| process.command.starts_with("ocs autonomous"))?;
        desk.world.signal(ocs.pid, "KILL")?;
        running.wait()?;
        assert_eq!(desk.world.settle(|census| *census == before)?, before);
        let (document, finished) = autonomous(&project, &[])?;
        let seen = (finished.code(), at(&document, "done"), at(&document, "rounds"));
        assert_eq!(seen, (0, &json!(true), &json!(2)), "{finished}");
        Ok(())
    }

    fn a_round_that_fails_is_tried_again_and_its_code_is_ours(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", &policy("echo x >> tries; ln -sfn /etc logs; exit 7"))?;
        project.write("SPEC.md", "x")?;
        let (document, finished) = autonomous(&project, &[])?;
        assert_eq!((finished.code(), at(&document, "done")), (7, &json!(false)), "{finished}");
        let tries = fs::read_to_string(desk.world.outside(&project.directory().join("tries")))?;
        assert_eq!(tries, "x\nx\nx\n");
        assert!(finished.stderr.contains("no copy of the log in the project"), "{finished}");
        let (late, finished) = autonomous(&project, &["--timeout", "1"])?;
        assert_eq!((finished.code(), at(&late, "exit_code")), (124, &json!(124)), "{finished}");
        project.write("SPEC.md", " \n")?;
        assert_eq!(project.ocs(&["autonomous", "--file", "SPEC.md"])?.code(), 64);
        assert_eq!(project.ocs(&["autonomous"])?.code(), 64);
        Ok(())
    }
}
