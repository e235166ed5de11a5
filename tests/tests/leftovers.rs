//! Whatever ends a run, nothing of it is left: no process, namespace, mount, rule, interface or file, by count.
//! Clauses: U2, U3.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::run::Finished;
use harness::spec::Census;
use harness::world::{As, Call, World};

/// A world with a project, and what it counted before anything ran.
struct Ground {
    world: World,
    who: As,
    before: Census,
}

impl Ground {
    fn new(who: As) -> Result<Self> {
        let world = World::new(&Order::usual()?)?;
        let before = world.census()?;
        assert_eq!(
            (before.processes.as_slice(), before.ruleset.as_str()),
            (&[][..], "")
        );
        Ok(Self { world, who, before })
    }

    fn project(&self) -> Result<Project<'_>> {
        Project::new(&self.world, self.who, USUAL)
    }

    /// Everything is as it was. `swept`: files that only the next start has to remove were given their next start.
    fn assert_clean(&self) -> Result<()> {
        let after = self.world.settle(|census| *census == self.before)?;
        assert_eq!(after, self.before);
        assert_eq!(self.stray_files()?, Vec::<PathBuf>::new());
        Ok(())
    }

    /// Files outside the project that are neither record nor approval.
    fn stray_files(&self) -> Result<Vec<PathBuf>> {
        let home = self.world.outside(&self.who.home());
        let mut files = files_below(&self.world.outside(Path::new("/tmp")))?;
        files.extend(files_below(&home)?);
        let project = home.join("project");
        // The record with its signatures and their key, what a person approved, and the lock that two starts at once meet at: all of them are meant to stay.
        files.retain(|path| {
            let record = path
                .extension()
                .is_some_and(|extension| extension == "jsonl" || extension == "checkpoint")
                || path.ends_with("checkpoint.key");
            let approved =
                path.ends_with("policy.lock") || path.iter().any(|part| part == "approved");
            !record && !approved && !path.ends_with("run/lock") && !path.starts_with(&project)
        });
        Ok(files)
    }

    /// A run that waits behind the fence; returns once the agent is there.
    fn endless(&self, work: impl FnOnce() -> Result<()>) -> Result<Finished> {
        let running = self.project()?.start(&["sh", "-c", "sleep 1234"])?;
        self.world.find(|process| process.command == "sleep 1234")?;
        work()?;
        running.wait()
    }

    fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let process = self
            .world
            .find(|process| process.name == name && !process.command.contains("box-enter"))?;
        self.world.signal(process.pid, signal)
    }
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?
        {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() {
                &mut todo
            } else {
                &mut found
            };
            list.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

for_each_user! {
    fn a_run_that_ends_by_itself(who) {
        let ground = Ground::new(who)?;
        ground.project()?.run(&["true"])?.succeeded()?;
        ground.assert_clean()
    }

    fn a_run_whose_agent_leaves_children(who) {
        let ground = Ground::new(who)?;
        ground.project()?.run(&["sh", "-c", "setsid sleep 4321 & exit 5"])?;
        ground.assert_clean()
    }

    fn a_run_that_is_terminated(who) {
        let ground = Ground::new(who)?;
        let finished = ground.endless(|| ground.kill("ocs", "TERM"))?;
        assert_eq!(finished.code(), 143, "{finished}");
        ground.assert_clean()
    }

    fn a_run_that_is_interrupted_at_its_terminal(who) {
        let ground = Ground::new(who)?;
        let project = ground.project()?;
        project.write("at-a-terminal.py", harness::terminal::DRIVER)?;
        // No child makes the file: a shell whose child ends in order while ^C comes takes it as handled, and goes on.
        let words = ["python3", "at-a-terminal.py", "ready", r"\x03", "ocs", "run", "--", "sh", "-c", ": >ready; exec sleep 1234"];
        let finished = project.call(Call::new(&words))?;
        assert_eq!(finished.code(), 130, "{finished}");
        ground.assert_clean()
    }

    fn a_run_whose_orchestrator_is_killed(who) {
        let ground = Ground::new(who)?;
        let finished = ground.endless(|| ground.kill("ocs", "KILL"))?;
        assert_eq!(finished.code(), 137, "{finished}");
        let after = ground.world.settle(|census| *census == ground.before)?;
        assert_eq!(after, ground.before);
        ground.project()?.run(&["true"])?.succeeded()?; // the next start sweeps what files the killed one left
        ground.assert_clean()
    }

    fn a_run_whose_proxy_is_killed(who) {
        let ground = Ground::new(who)?;
        let finished = ground.endless(|| ground.kill("ocs-proxy", "KILL"))?;
        assert_eq!(finished.code(), 70, "{finished}");
        ground.assert_clean()
    }

    fn a_run_whose_namespace_holder_is_killed(who) {
        let ground = Ground::new(who)?;
        let finished = ground.endless(|| ground.kill("ocs-netctl", "KILL"))?;
        assert_eq!(finished.code(), 70, "{finished}");
        ground.assert_clean()
    }

    fn a_run_whose_bubblewrap_is_killed(who) {
        let ground = Ground::new(who)?;
        let finished = ground.endless(|| {
            // Bubblewrap is two processes, without and within the box; the outer one is the older.
            let census = ground.world.census()?;
            let outer = census.processes.iter().filter(|process| process.name == "bwrap").min_by_key(|process| process.pid);
            ground.world.signal(outer.context("no bwrap")?.pid, "KILL")
        })?;
        assert_ne!(finished.code(), 0, "{finished}");
        ground.assert_clean()
    }
}
