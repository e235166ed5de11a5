//! A project in a world, and `ocs` run in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::{Finished, Running};
use crate::world::{As, Call, World};

/// The policy that most suites use; `evil.test` stands in no list.
pub const USUAL: &str = "\
sandbox-name: under-test
http-domain-whitelist:
  - ok.test
  - .w.test
  - private.test
  - metadata.test
  - mixed.test
http-domain-denylist:
  - bad.w.test
host-ports:
  - 5432
";

/// A directory with a config, and the user who works in it.
#[derive(Debug, Clone)]
pub struct Project<'w> {
    world: &'w World,
    who: As,
    directory: PathBuf,
}

impl<'w> Project<'w> {
    /// A project named `project` in the user's home, with this config.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn new(world: &'w World, who: As, config: &str) -> Result<Self> {
        Self::named(world, who, "project", config)
    }

    /// The same under another directory name.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn named(world: &'w World, who: As, name: &str, config: &str) -> Result<Self> {
        let directory = who.home().join(name);
        let project = Self {
            world,
            who,
            directory,
        };
        project.write("opencode-sandbox-config.yaml", config)?;
        Ok(project)
    }

    /// Where it is, in the world.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        self.world
            .write(self.who, &self.directory.join(name), content)
    }

    /// A call of a program in the project's directory, by its user.
    ///
    /// # Errors
    /// It could not be started.
    pub fn call(&self, call: Call<'_>) -> Result<Finished> {
        self.world.run(self.who, call.within(&self.directory))
    }

    /// `ocs ARGUMENTS..` to its end.
    ///
    /// # Errors
    /// It could not be started.
    pub fn ocs(&self, arguments: &[&str]) -> Result<Finished> {
        self.call(Call::new(&words(&["ocs"], arguments)))
    }

    /// `ocs run -- COMMAND..` to its end.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run(&self, command: &[&str]) -> Result<Finished> {
        self.ocs(&words(&["run", "--"], command))
    }

    /// `ocs run -- COMMAND..` with this on stdin.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run_fed(&self, command: &[&str], input: &str) -> Result<Finished> {
        self.call(Call::new(&words(&["ocs", "run", "--"], command)).fed(input))
    }

    /// `ocs run -- COMMAND..`, not waited for.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&self, command: &[&str]) -> Result<Running> {
        let words = words(&["ocs", "run", "--"], command);
        self.world
            .start(self.who, Call::new(&words).within(&self.directory))
    }

    /// The record of the newest run.
    ///
    /// # Errors
    /// There is none, or it is not JSON lines.
    pub fn newest_record(&self) -> Result<Record> {
        let files = self.world.record_files(self.who)?;
        let newest = files.last().context("there is no record")?;
        let text = std::fs::read_to_string(newest)
            .with_context(|| format!("read {}", newest.display()))?;
        let events = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>();
        let events = events.with_context(|| format!("parse {}", newest.display()))?;
        Ok(Record {
            events,
            lines: text.lines().map(str::to_owned).collect(),
            file: newest.clone(),
        })
    }
}

fn words<'a>(first: &[&'a str], then: &[&'a str]) -> Vec<&'a str> {
    first.iter().chain(then).copied().collect()
}

/// The events of one run.
#[derive(Debug, Clone)]
pub struct Record {
    /// In order.
    pub events: Vec<Value>,
    /// The same, as written.
    pub lines: Vec<String>,
    /// Where they stand, as reached from outside the world.
    pub file: PathBuf,
}

/// What was decided about one destination: the part of an event that suites compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decided {
    /// `request`, `dns` or `packet`.
    pub event: String,
    /// Host, name, or protocol and address.
    pub what: String,
    /// 0 where there is none.
    pub port: u64,
    /// The reason's code, or `allow`.
    pub verdict: String,
}

impl Decided {
    /// A verdict about a request.
    #[must_use]
    pub fn request(host: &str, port: u64, verdict: &str) -> Self {
        Self {
            event: "request".to_owned(),
            what: host.to_owned(),
            port,
            verdict: verdict.to_owned(),
        }
    }

    /// A refused query.
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self {
            event: "dns".to_owned(),
            what: name.to_owned(),
            port: 0,
            verdict: "dns".to_owned(),
        }
    }

    /// Packets that the kernel refused.
    #[must_use]
    pub fn packet(protocol: &str, address: &str, port: u64) -> Self {
        let what = format!("{protocol} {address}");
        Self {
            event: "packet".to_owned(),
            what,
            port,
            verdict: "direct".to_owned(),
        }
    }

    fn of(event: &Value) -> Option<Self> {
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        let port = event
            .get("port")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let verdict = || match text("decision") {
            Some("allow") => Some("allow"),
            _ => text("reason"),
        };
        match text("event")? {
            "request" => Some(Self::request(
                text("host").unwrap_or_default(),
                port,
                verdict()?,
            )),
            "dns" if text("decision")? == "deny" => Some(Self::dns(text("name")?)),
            "packet" => Some(Self::packet(
                text("protocol")?,
                text("address").unwrap_or_default(),
                port,
            )),
            _ => None,
        }
    }
}

impl Record {
    /// Every decision but those about the probes that `ocs` itself makes before the agent starts; sorted, each once.
    #[must_use]
    pub fn decided(&self) -> Vec<Decided> {
        let mut decided: Vec<_> = self.events.iter().filter_map(Decided::of).collect();
        decided.retain(|decided| !is_probe(decided));
        decided.sort();
        decided.dedup();
        decided
    }

    /// Every decision of one kind of event, in order, repeated ones included; but for the fence's own probes.
    #[must_use]
    pub fn decided_each(&self, kind: &str) -> Vec<Decided> {
        let decided = self.events.iter().filter_map(Decided::of);
        decided
            .filter(|decided| decided.event == kind && !is_probe(decided))
            .collect()
    }

    /// How many decisions the events of one kind tell of, by their `count`; but for the fence's own probes.
    #[must_use]
    pub fn told(&self, kind: &str) -> u64 {
        let of_kind = self.of_kind(kind).into_iter();
        of_kind
            .filter(|event| Decided::of(event).is_some_and(|decided| !is_probe(&decided)))
            .map(|event| event.get("count").and_then(Value::as_u64).unwrap_or(1))
            .sum()
    }

    /// Events of one kind.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| event.get("event").and_then(Value::as_str) == Some(kind))
            .collect()
    }
}

/// Names and addresses that only the fence's own proof uses: `orchestrator/src/probe/attempts.rs`.
fn is_probe(decided: &Decided) -> bool {
    let what = decided.what.as_str();
    what.ends_with(".invalid") || what.contains("192.0.2.") || what.contains("2001:db8:")
}
