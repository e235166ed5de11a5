//! The whole of it once: a real OpenCode works on `example/` behind the fence, in a world where every answer is known.
//!
//! Responsible for: `make run`, and the suite that asserts the same. What may happen is written down here; anything
//! else, more or less, is a failure, judged by the record and, without asking it, by the internet's own counters.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::binaries;
use crate::inside::RESOLVER;
use crate::order::{OK_ADDRESS, OK_ADDRESS_V6, Order};
use crate::project::{Decided, Project, Record};
use crate::run::Finished;
use crate::spec::{Flow, Readings};
use crate::world::{As, Call, World};

/// Where the model server of the rehearsal listens, on the host.
const MODEL_PORT: &str = "127.0.0.1:4711";

/// What the agent prints when the script ran to its end.
const LAST_WORDS: &str = "Done: one page fetched, everything else was refused.";

/// What was seen of one rehearsal.
#[derive(Debug)]
pub struct Rehearsal {
    /// The agent's run.
    pub agent: Finished,
    /// Its record.
    pub record: Record,
    /// `ocs audit verify` on it.
    pub verified: Finished,
    /// What the internet and the host saw.
    pub readings: Readings,
    /// What the agent wrote in the project.
    pub fetched: String,
}

/// Plays `example/script.json` once.
///
/// # Errors
/// Something that it stands on is missing: the agent, a world, a program.
pub fn play(who: As) -> Result<Rehearsal> {
    let agent = agent_directory()?;
    let shown = who.home().join(".local/lib/agent");
    let world = World::new(&Order::usual()?.showing(&agent, &shown))?;
    let example = binaries::repository().join("example");
    let read = |name: &str| {
        let path = example.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let project = Project::named(
        &world,
        who,
        "example",
        &read("opencode-sandbox-config.yaml")?,
    )?;
    project.write("opencode.jsonc", &read("opencode.jsonc")?)?;
    let script = who.home().join("script.json");
    world.write(who, &script, &read("script.json")?)?;
    let model = [
        "/home/tools/model-server",
        MODEL_PORT,
        &script.to_string_lossy(),
    ];
    let model = world.start(who, Call::new(&model).for_seconds(300))?;
    world.find(|process| process.name == "model-server")?;

    let path = format!(
        "{}/node_modules/.bin:/home/bin:{}",
        shown.display(),
        crate::command::PATH
    );
    let words = [
        "ocs",
        "run",
        "--",
        "opencode",
        "run",
        "--format",
        "json",
        "Do what the script says.",
    ];
    let agent = project.call(Call::new(&words).with(&[("PATH", &path)]).for_seconds(240))?;
    let record = project.newest_record()?;
    let verified = project.ocs(&["audit", "verify"])?;
    let readings = world.readings()?;
    let fetched = std::fs::read_to_string(world.outside(&project.directory().join("fetched.txt")))
        .unwrap_or_default();
    let server = world.find(|process| process.name == "model-server")?;
    world.signal(server.pid, "TERM")?;
    model.wait()?;
    Ok(Rehearsal {
        agent,
        record,
        verified,
        readings,
        fetched,
    })
}

/// The directory into which `make agent` installed OpenCode.
///
/// # Errors
/// It is not there.
pub fn agent_directory() -> Result<PathBuf> {
    let given = std::env::var_os("OCS_AGENT_DIR").map(PathBuf::from);
    let directory = given.unwrap_or_else(|| binaries::repository().join("target/agent"));
    ensure!(
        directory.join("node_modules/.bin/opencode").exists(),
        "no OpenCode in {}: `make agent` installs it",
        directory.display()
    );
    Ok(directory)
}

/// Every decision that the script and OpenCode's own start must lead to.
fn expected() -> Vec<Decided> {
    let mut expected = vec![
        Decided::request("docker.host", 4711, "allow"),
        Decided::request("ok.test", 443, "allow"),
        Decided::request("evil.test", 443, "not-whitelisted"),
        Decided::request("11.22.33.66", 443, "ip-literal"),
        Decided::request("169.254.169.254", 80, "ip-literal"),
        Decided::request("private.test", 443, "private-address"),
        Decided::request("ok.test", 8443, "port"),
        Decided::request("docker.host", 9999, "port"),
        Decided::dns("leak.evil.test"),
        Decided::dns("secret.evil.test"),
        Decided::packet("udp", "11.22.33.66", 443),
        // OpenCode's own: its list of models, and a package that it would like to have.
        Decided::request("models.opencode.ai", 443, "not-whitelisted"),
        Decided::request("registry.npmjs.org", 443, "not-whitelisted"),
    ];
    expected.sort();
    expected
}

impl Rehearsal {
    /// What differs from what had to happen; nothing, if all went as promised.
    ///
    /// # Errors
    /// Never, while the addresses written in this file are addresses.
    pub fn differences(&self) -> Result<Vec<String>> {
        let mut differences = Differences::default();
        self.compare_agent(&mut differences);
        self.compare_record(&mut differences);
        self.compare_readings(&mut differences)?;
        Ok(differences.0)
    }

    fn compare_agent(&self, differences: &mut Differences) {
        let Self {
            agent,
            verified,
            fetched,
            ..
        } = self;
        differences.unless(agent.code() == 0, "the agent did not end with 0", agent);
        let ended = agent.stdout.contains(LAST_WORDS);
        differences.unless(
            ended,
            "the agent did not get to the script's end",
            &agent.stdout,
        );
        let arrived = fetched == "hello from ok.test\n";
        differences.unless(arrived, "the page did not arrive in the project", fetched);
        differences.unless(verified.code() == 0, "the record does not verify", verified);
    }

    fn compare_record(&self, differences: &mut Differences) {
        let (decided, expected) = (self.record.decided(), expected());
        let missing: Vec<_> = expected
            .iter()
            .filter(|wanted| !decided.contains(wanted))
            .collect();
        let surplus: Vec<_> = decided
            .iter()
            .filter(|seen| !expected.contains(seen))
            .collect();
        differences.unless(missing.is_empty(), "missing in the record", &missing);
        differences.unless(surplus.is_empty(), "not expected in the record", &surplus);
    }

    fn compare_readings(&self, differences: &mut Differences) -> Result<()> {
        let Readings {
            queries,
            connections,
            flows,
        } = &self.readings;
        let asked: BTreeSet<_> = queries.iter().map(|query| query.name.as_str()).collect();
        let allowed = BTreeSet::from(["ok.test", "private.test"]);
        differences.unless(asked == allowed, "the DNS server was asked for", &asked);
        let allowed = [
            flow("tcp", OK_ADDRESS, 443)?,
            flow("tcp", OK_ADDRESS_V6, 443)?,
            flow("udp", RESOLVER, 53)?,
        ];
        let strayed: Vec<_> = flows
            .iter()
            .filter(|flow| !allowed.contains(flow))
            .collect();
        differences.unless(strayed.is_empty(), "left for elsewhere", &strayed);
        let reached = connections
            .iter()
            .map(|seen| (&*seen.side, seen.sni.as_deref(), seen.port));
        let reached: BTreeSet<_> = reached.collect();
        let allowed = BTreeSet::from([("internet", Some("ok.test"), 443)]);
        differences.unless(reached == allowed, "connections", &reached);
        Ok(())
    }

    /// What passed, what was refused and why, for people.
    ///
    /// # Errors
    /// Nobody reads.
    pub fn tell(&self, out: &mut dyn Write) -> Result<()> {
        let (passed, refused): (Vec<_>, Vec<_>) = self
            .record
            .decided()
            .into_iter()
            .partition(|decided| decided.verdict == "allow");
        writeln!(out, "\nWhat passed:")?;
        for Decided { what, port, .. } in &passed {
            writeln!(out, "  {what}:{port}")?;
        }
        writeln!(out, "What was refused, and why:")?;
        for Decided {
            event,
            what,
            port,
            verdict,
        } in &refused
        {
            let port = if *port == 0 {
                String::new()
            } else {
                format!(":{port}")
            };
            writeln!(out, "  {:<34} {verdict} ({event})", format!("{what}{port}"))?;
        }
        let asked: BTreeSet<_> = self
            .readings
            .queries
            .iter()
            .map(|query| query.name.as_str())
            .collect();
        writeln!(
            out,
            "What the DNS server was asked for: {}",
            asked.into_iter().collect::<Vec<_>>().join(", ")
        )?;
        writeln!(out, "ocs audit verify: {}", self.verified.stdout.trim())?;
        Ok(())
    }

    /// Keeps the record where it outlives the world.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn keep_record(&self, directory: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("make {}", directory.display()))?;
        let kept = directory.join("record.jsonl");
        let lines: String = self
            .record
            .lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&kept, lines).with_context(|| format!("write {}", kept.display()))?;
        Ok(kept)
    }
}

/// What was not as it had to be.
#[derive(Debug, Default)]
struct Differences(Vec<String>);

impl Differences {
    fn unless(&mut self, holds: bool, what: &str, seen: &dyn std::fmt::Debug) {
        if !holds {
            self.0.push(format!("{what}: {seen:#?}"));
        }
    }
}

fn flow(protocol: &str, address: &str, port: u16) -> Result<Flow> {
    Ok(Flow {
        protocol: protocol.to_owned(),
        address: address.parse()?,
        port,
    })
}
