//! A desk at which tasks are given: a world, a project with a scripted model server, and an agent.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::model::Step;
use crate::order::Order;
use crate::project::Project;
use crate::rehearsal::agent_directory;
use crate::run::{Finished, Running};
use crate::world::{As, Call, World};

/// The policy at a desk: a model server of the host, and one name.
pub const POLICY: &str = "\
sandbox-name: desk
llm-endpoints:
  - http://docker.host:4711/v1
http-domain-whitelist:
  - ok.test
";

/// Where the model server listens, on the host.
const MODEL: &str = "127.0.0.1:4711";

/// A world with what a task needs.
#[derive(Debug)]
pub struct Desk {
    /// The world.
    pub world: World,
    /// Who works in it.
    pub who: As,
    path: String,
    model: Option<Running>,
}

impl Desk {
    /// A world without an agent and without a model.
    ///
    /// # Errors
    /// No world can be made.
    pub fn bare(who: As) -> Result<Self> {
        Self::ordered(who, &Order::usual()?)
    }

    /// The same in a world of this order.
    ///
    /// # Errors
    /// No world can be made.
    pub fn ordered(who: As, order: &Order) -> Result<Self> {
        Ok(Self {
            world: World::new(order)?,
            who,
            path: format!("/home/bin:{}", crate::command::PATH),
            model: None,
        })
    }

    /// A world with OpenCode, and a model server that plays these steps.
    ///
    /// # Errors
    /// Something that it stands on is missing.
    pub fn scripted(who: As, steps: &[Step]) -> Result<Self> {
        Self::scripted_in(who, Order::usual()?, steps)
    }

    /// The same in a world of this order.
    ///
    /// # Errors
    /// Something that it stands on is missing.
    pub fn scripted_in(who: As, order: Order, steps: &[Step]) -> Result<Self> {
        let shown = who.home().join(".local/lib/agent");
        let world = World::new(&order.showing(&agent_directory()?, &shown))?;
        let script = who.home().join("script.json");
        world.write(who, &script, &serde_json::to_string(steps)?)?;
        let words = ["/home/tools/model-server", MODEL, &script.to_string_lossy()];
        let mut model = world.start(who, Call::new(&words).for_seconds(1200))?;
        model.until(|written| written.contains("listening"))?;
        let bin = shown.join("node_modules/.bin");
        let path = format!("{}:/home/bin:{}", bin.display(), crate::command::PATH);
        Ok(Self {
            world,
            who,
            path,
            model: Some(model),
        })
    }

    /// A project of this name with this policy.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn project(&self, name: &str, policy: &str) -> Result<Project<'_>> {
        Project::named(&self.world, self.who, name, policy)
    }

    /// `ocs ARGUMENTS..` in a project, with this on stdin.
    ///
    /// # Errors
    /// It could not be started, or its stdout is not one JSON document.
    pub fn task(
        &self,
        project: &Project<'_>,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<Task> {
        let running = self.begin(project, arguments, input, &[])?;
        Task::of(running.wait()?)
    }

    /// The same, not waited for, with these variables.
    ///
    /// # Errors
    /// It could not be started.
    pub fn begin(
        &self,
        project: &Project<'_>,
        arguments: &[&str],
        input: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Running> {
        let words: Vec<&str> = [&["ocs", "task"][..], arguments].concat();
        let mut environment = vec![("PATH", self.path.as_str())];
        environment.extend_from_slice(variables);
        let call = Call::new(&words)
            .within(project.directory())
            .with(&environment)
            .for_seconds(600);
        let call = match input {
            Some(input) => call.fed(input),
            None => call,
        };
        self.world.start(self.who, call)
    }

    /// Any program in a project, with the agent on `PATH`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn call(&self, project: &Project<'_>, words: &[&str]) -> Result<Finished> {
        let environment = [("PATH", self.path.as_str())];
        project.call(Call::new(words).with(&environment).for_seconds(300))
    }

    /// Files that are left of tasks, but for their events, locks, signed records and approvals.
    ///
    /// # Errors
    /// A directory cannot be listed.
    pub fn left_over(&self) -> Result<Vec<PathBuf>> {
        let state = self
            .world
            .outside(&self.who.home().join(".opencode-sandbox"));
        let mut found = files_below(&state)?;
        found.retain(|path| {
            let kept = path
                .extension()
                .is_some_and(|kind| kind == "events" || kind == "jsonl" || kind == "checkpoint")
                || path.ends_with("checkpoint.key");
            let approved =
                path.ends_with("policy.lock") || path.iter().any(|part| part == "approved");
            !kept && !approved && !path.ends_with("run/lock") && !path.ends_with("tasks/lock")
        });
        Ok(found)
    }

    /// Ends the model server.
    ///
    /// # Errors
    /// There is none.
    pub fn close(&mut self) -> Result<()> {
        let Some(model) = self.model.take() else {
            bail!("there is no model server")
        };
        let server = self.world.find(|process| process.name == "model-server")?;
        self.world.signal(server.pid, "TERM")?;
        model.wait().map(drop)
    }
}

/// A task that is over.
#[derive(Debug)]
pub struct Task {
    /// How `ocs` ended.
    pub finished: Finished,
    /// Its one document.
    pub document: Value,
}

/// What a document always has.
const FIELDS: [&str; 13] = [
    "changed_files",
    "duration_ms",
    "error",
    "events",
    "exit_code",
    "ok",
    "record",
    "refused",
    "result",
    "run",
    "session",
    "timed_out",
    "tokens",
];

impl Task {
    /// Reads the document: one line, every field, and the code that `ocs` ended with.
    ///
    /// # Errors
    /// It is anything else.
    pub fn of(finished: Finished) -> Result<Self> {
        let document: Value = serde_json::from_str(&finished.stdout)
            .with_context(|| format!("stdout is not one JSON document: {finished:#?}"))?;
        let fields = document.as_object().context("a document is an object")?;
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        ensure!(names == FIELDS, "fields: {names:?}");
        let code = document.get("exit_code").and_then(Value::as_i64);
        ensure!(
            code == Some(finished.code().into()),
            "the codes differ: {finished:#?}"
        );
        Ok(Self { finished, document })
    }

    /// One field.
    #[must_use]
    pub fn field(&self, name: &str) -> &Value {
        self.document.get(name).unwrap_or(&Value::Null)
    }

    /// One field, as text.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.field(name).as_str().unwrap_or_default()
    }
}

fn files_below(directory: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry
                .with_context(|| format!("list {}", directory.display()))?
                .path();
            if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}
