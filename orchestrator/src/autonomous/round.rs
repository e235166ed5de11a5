//! One round: what the agent is told, and what its `ocs task` says came of it.
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;

use clap::ValueEnum;
use serde_json::Value;

use crate::cli::AutonomousArgs;
use crate::engine::spawn;
use crate::exit::{Exit, Failure};
use crate::world::World;

/// More is not what a task's document is.
const DOCUMENT_MAX_BYTES: u64 = 64 << 20;

/// How a specification is worked on: the files are those of sandboxed-opencode.
const HOW: &str = "\
You work alone: nobody reads or answers until you are done, so decide yourself and write down why. Work on the specification below \
until everything that it asks for is there and checked.

1. Write your plan to docs/plan.md: the parts, their order, how each is checked. Keep it true to what you do.
2. Go part by part. After each, write docs/development_cycle_N.md (N from 1): what was done, what was run to check it and what \
came of it, what is open.
3. When all of it is done and checked, and only then, write docs/final_report.md: what is there, how it was checked, what is not \
done and why. That file says that you are finished: delete one that is there already.

What the network refuses stays refused: do without it, and say so in the report.
";

const GOING_ON: &str = "
This is not the first round: docs/final_report.md is not written yet. Read docs/plan.md and the newest \
docs/development_cycle_N.md, look at what is there, and go on. If you cannot go on, say why in docs/final_report.md.
";

/// A round to be played.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) args: &'a AutonomousArgs,
    /// How long it may take.
    pub(super) seconds: u64,
    /// The conversation.
    pub(super) session: &'a str,
}

/// What came of a round: the document of its task.
#[derive(Debug)]
pub(super) struct Came(Value);

impl Round<'_> {
    /// Plays it to its end.
    ///
    /// # Errors
    /// It cannot be started, or says nothing.
    pub(super) fn play(
        &self,
        number: u32,
        spec: &str,
        project: &Path,
        world: &World,
    ) -> Result<Came, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::No, "start a round").because(error);
        let going_on = if number == 1 { "" } else { GOING_ON };
        let told = format!("{HOW}{going_on}\nThe specification:\n\n{spec}");
        let mut child = spawn::sibling(&world.exe, &self.words(world), project).map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // It reads all of it before it does anything; where it does not, its document says why.
            stdin.write_all(told.as_bytes()).ok();
        }
        let mut document = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout
                .take(DOCUMENT_MAX_BYTES)
                .read_to_end(&mut document)
                .map_err(failed)?;
        }
        let status = child.wait().map_err(failed)?;
        serde_json::from_slice(&document).map(Came).map_err(|_| {
            Failure::new(
                Exit::No,
                format!("the round ended with {status} and told nothing"),
            )
        })
    }

    fn words(&self, world: &World) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["task".into(), "-".into()];
        let mut add = |flag: &str, value: OsString| words.extend([flag.into(), value]);
        add("--session", self.session.into());
        add("--timeout", self.seconds.to_string().into());
        let fence = self.args.sandbox.fence;
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned())
        };
        if let Some(engine) = name(fence.engine.to_possible_value()) {
            add("--engine", engine.into());
        }
        if let Some(mode) = fence.mode.and_then(|mode| name(mode.to_possible_value())) {
            add("--mode", mode.into());
        }
        if let Some(config) = &self.args.sandbox.config {
            add("--config", world.cwd.join(config).into());
        }
        if let Some(tool) = &self.args.tool {
            add("--tool", tool.into());
        }
        if self.args.allow_observe {
            words.push("--allow-observe".into());
        }
        words
    }
}

impl Came {
    /// The code of the round.
    pub(super) fn exit_code(&self) -> u8 {
        let code = self.0.get("exit_code").and_then(Value::as_u64);
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }

    /// Why it failed.
    pub(super) fn error(&self) -> Option<String> {
        self.text("error").map(str::to_owned)
    }

    /// For the log: what people ask first.
    pub(super) fn lines(&self) -> String {
        let code = self.exit_code();
        let run = self.text("run").unwrap_or("none");
        let mut lines = format!(
            "exit code {code}, run {run}, events {}\n",
            self.text("events").unwrap_or("none")
        );
        for (name, key) in [("refused", "refused"), ("changed", "changed_files")] {
            if let Some(value) = self.0.get(key) {
                lines.push_str(&format!("{name}: {value}\n"));
            }
        }
        if let Some(error) = self.text("error") {
            lines.push_str(&format!("error: {}\n", error.escape_debug()));
        }
        if let Some(result) = self.text("result") {
            // The agent's words: a line of theirs cannot look like one of ours.
            result
                .lines()
                .for_each(|line| lines.push_str(&format!("| {}\n", line.escape_debug())));
        }
        lines
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_agent_says_cannot_look_like_a_line_of_ours() {
        let came = Came(json!({
            "exit_code": 3, "run": "r", "events": "/e", "refused": [], "changed_files": ["a"],
            "result": "exit code 0\n\u{1b}[2Jx", "error": null,
        }));
        let expected = "exit code 3, run r, events /e\nrefused: []\nchanged: [\"a\"]\n| exit code 0\n| \\u{1b}[2Jx\n";
        assert_eq!(came.lines(), expected);
        assert_eq!(Came(json!({})).exit_code(), 1);
    }
}
