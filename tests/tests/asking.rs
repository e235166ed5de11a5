//! A refused destination that a person grants from a second terminal while the agent waits. Clauses: P10, B2, R1.

use std::fs;

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::run::{Finished, Running};
use harness::terminal::{ANSWERS, DRIVER};
use harness::world::{As, Call, World};
use serde_json::{Value, json};

/// A project whose runs ask, and the two terminals.
struct Ground<'w> {
    world: &'w World,
    who: As,
    project: Project<'w>,
}

impl<'w> Ground<'w> {
    fn new(world: &'w World, who: As) -> Result<Self> {
        let project = Project::new(world, who, USUAL)?;
        project.write("driver.py", DRIVER)?;
        project.write("answers.py", ANSWERS)?;
        Ok(Self {
            world,
            who,
            project,
        })
    }

    /// `ocs run --ask` at a terminal, not waited for.
    fn start(&self, flag: &str, script: &str) -> Result<Running> {
        let words = [
            "python3",
            "driver.py",
            "",
            "",
            "ocs",
            "run",
            flag,
            "--",
            "sh",
            "-c",
            script,
        ];
        self.world
            .start(self.who, Call::new(&words).within(self.project.directory()))
    }

    /// `ocs approve` at another: each time it asks, the next of these is typed.
    fn answer(&self, answers: &[&str]) -> Result<Finished> {
        // It says at once that nobody asks, where the run is not up yet.
        let until =
            "until ocs approve --list >/dev/null 2>&1; do sleep 0.05; done; exec ocs approve";
        let pairs: Vec<String> = answers
            .iter()
            .map(|keys| format!("[d]eny? ={keys}"))
            .collect();
        let mut words = vec!["python3", "answers.py"];
        words.extend(pairs.iter().map(String::as_str));
        words.extend(["--", "sh", "-c", until]);
        self.project.call(Call::new(&words))
    }

    /// What the questions of the newest run came to: host, answer, whose answer, how many waited.
    fn questions(&self) -> Result<Vec<Value>> {
        let record = self.project.newest_record()?;
        let questions = record.of_kind("question").into_iter();
        Ok(questions
            .map(|it| {
                json!([
                    it["host"],
                    it["port"],
                    it["answer"],
                    it.pointer("/by/user"),
                    it["waiting"]
                ])
            })
            .collect())
    }

    fn config(&self) -> Result<String> {
        let path = self
            .project
            .directory()
            .join("opencode-sandbox-config.yaml");
        Ok(fs::read_to_string(self.world.outside(&path))?)
    }
}

const CODE: &str = "curl -s -o /dev/null -w '%{http_code}\\n' http://evil.test/";

for_each_user! {
    fn once_for_the_run_and_no_as_a_person_says(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let script = format!("{CODE}; {CODE}; {CODE}; curl -s -o /dev/null -w '%{{http_code}}\\n' http://evil.test:8080/");
        let running = ground.start("--ask", &script)?;
        let approved = ground.answer(&["o", "x", "r", "d"])?;
        let finished = running.wait()?.succeeded()?;
        assert!(finished.stdout.contains("200\r\n200\r\n200\r\n403\r\n"), "{finished}\n{approved}");
        assert!(approved.stdout.contains("evil.test:80 by /usr/bin/curl ["), "{approved}");
        assert!(approved.stdout.contains("please answer o, r, a or d"), "{approved}");
        let user = who.account();
        assert_eq!(
            ground.questions()?,
            [
                json!(["evil.test", 80, "once", user, 1]),
                json!(["evil.test", 80, "run", user, 1]),
                json!(["evil.test", 8080, "deny", user, 1]),
            ]
        );
        ground.project.ocs(&["audit", "verify"])?.succeeded()?;
        assert_eq!(ground.config()?, USUAL);
        Ok(())
    }

    fn for_good_is_a_line_in_the_config_that_is_approved_and_nothing_else(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let running = ground.start("--ask", CODE)?;
        let approved = ground.answer(&["a"])?;
        let finished = running.wait()?.succeeded()?;
        assert!(finished.stdout.contains("200\r\n"), "{finished}\n{approved}");
        let expected = USUAL.replace("  - mixed.test\n", "  - mixed.test\n  - evil.test:80\n");
        assert_eq!(ground.config()?, expected);
        // Approved with it: the next start asks nothing, and passes without --ask.
        let next = ground.project.run(&["sh", "-c", CODE])?.succeeded()?;
        assert_eq!(next.stdout, "200\n");
        let record = ground.project.newest_record()?;
        let allowed = record.of_kind("request").into_iter().find(|it| it["decision"] == "allow");
        assert_eq!(allowed.context("nothing was allowed")?["rule"]["text"], "evil.test:80");
        Ok(())
    }

    fn what_somebody_else_changed_is_not_approved_along_with_an_answer(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let running = ground.start("--ask", &format!("touch up; {CODE}"))?;
        let up = world.outside(&ground.project.directory().join("up"));
        while !up.exists() {
            std::thread::yield_now();
        }
        ground.project.write("opencode.jsonc", "{\"plugin\": [\"theirs\"]}\n")?;
        let approved = ground.answer(&["a", "d"])?;
        running.wait()?;
        assert!(approved.stdout.contains("not done: the control files are not as they were approved"), "{approved}");
        assert_eq!(ground.config()?, USUAL);
        ground.project.ocs(&["policy", "diff"])?;
        assert_eq!(ground.questions()?, [json!(["evil.test", 80, "deny", who.account(), 1])]);
        Ok(())
    }

    fn where_nobody_answers_the_agent_is_refused_when_the_time_is_over(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        let finished = ground.start("--ask=1", &format!("{CODE}; {CODE}"))?.wait()?.succeeded()?;
        assert!(finished.stdout.contains("403\r\n403\r\n"), "{finished}");
        assert_eq!(ground.questions()?, [json!(["evil.test", 80, null, null, 1])]);
        assert_eq!(world.readings()?.queries, []);
        Ok(())
    }

    fn with_nobody_there_nothing_starts_and_nothing_is_answered(who) {
        let world = World::new(&Order::usual()?)?;
        let ground = Ground::new(&world, who)?;
        for words in [
            &["run", "--ask", "--", "true"][..],
            &["start", "--detach", "--ask"],
        ] {
            let finished = ground.project.ocs(words)?;
            assert_eq!(finished.code(), 64, "{finished}");
            assert!(finished.stderr.contains("nobody is there"), "{finished}");
        }
        let task = ground.project.ocs(&["task", "--ask", "x"])?;
        assert!(task.code() == 64 && task.stderr.contains("--ask"), "{task}");
        let approve = ground.project.ocs(&["approve"])?;
        assert!(approve.code() == 64 && approve.stderr.contains("nobody to answer"), "{approve}");
        assert_eq!(ground.project.ocs(&["approve", "--list"])?.code(), 1);
        Ok(())
    }
}
