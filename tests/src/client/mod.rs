//! A real client in the box: how it is run, with and without proxy variables, and what of it is judged where.
//!
//! Responsible for: the runs and their judgement (at the origin, at the DNS server, in the record), and one file of rows per
//! client. Not for: which clients there are (`tests/clients.rs`), the world that they run in (`ground`), the table (`table`).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::binaries;
use crate::project::{Decided, Project, Record};
use crate::run::{Finished, Running};
use crate::spec::Readings;
use crate::world::{As, Call, World};

mod ground;
mod row;
mod table;

pub use ground::{Origin, ground};
pub use row::Row;
pub use table::render;

/// The port that is listed for no name, and where an origin stands all the same.
const OTHER_PORT: u16 = 8443;

/// A client: `NAME` and `PORT` in its line are the destination, `COUNT` how often it is to ask.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// As people call it.
    pub name: &'static str,
    /// A shell line that says which one it is.
    pub version: &'static str,
    /// A shell line that asks the destination.
    pub line: &'static str,
    /// How its tries are timed.
    pub timed: Timed,
    /// What it reaches where it may.
    pub host: &'static str,
    /// Its port.
    pub port: u16,
    /// What only the origin can have said.
    pub expects: &'static str,
    /// What the record calls its way without variables, and with them.
    pub via: [&'static str; 2],
    /// Names that it asks for besides, and that are refused: of services (SRV), or for settings (TXT).
    pub asides: &'static [&'static str],
}

/// How the time of a refused connect is taken: from the question of DNS or the connect to the end of the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    /// Of a library, by the program that calls it and asks `COUNT` times: from the call to its error.
    Call,
    /// Of a program, on the loopback of its box: `tests/clients/waits.py`.
    Sockets,
}

impl Timed {
    /// Tries of one run.
    const fn count(self) -> usize {
        match self {
            Self::Call => 21,
            Self::Sockets => 9,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Captured,
    Variables,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Allowed,
    RefusedName,
    RefusedPort,
}

/// What every client needs to trust the origins' authority, and nothing about a proxy. The authority stands alone in its file:
/// reading the system's whole bundle takes some of them longer than anything that is measured here.
const TRUST: &[&str] = &[
    "HOME=/tmp",
    "LANG=C.UTF-8",
    "PATH=/home/suite/clients/bin:/home/suite/rust/bin:/usr/bin:/bin",
    "PYTHONPATH=/home/suite/clients/python",
    "SSL_CERT_FILE=/project/root.pem",
    "NODE_EXTRA_CA_CERTS=/project/root.pem",
    "REQUESTS_CA_BUNDLE=/project/root.pem",
    "PIP_CERT=/project/root.pem",
    "CARGO_HTTP_CAINFO=/project/root.pem",
    "GIT_SSL_CAINFO=/project/root.pem",
    "GIT_SSL_CAPATH=/tmp/none",
];

/// The policy of the suite; `evil.test` stands in no list.
pub const POLICY: &str = "\
sandbox-name: under-test
http-domain-whitelist:
  - ok.test
  - .w.test
  - h2.w.test:9445
  - ws.w.test:9443
  - grpc.w.test:9444
tcp-endpoints:
  - git.w.test:2222
  - pg.w.test:5433
  - redis.w.test:6379
read-only-paths:
  - /home/suite/clients
  - /home/suite/scripts
  - /home/suite/rust
";

impl Client {
    /// Runs it allowed and refused, with and without variables, in a world with these origins; writes its rows.
    ///
    /// # Errors
    /// All that was not as it must be, and what was seen.
    pub fn tried(&self, origins: &[Origin]) -> Result<()> {
        let world = ground(origins)?;
        let project = Project::new(&world, As::Ordinary, POLICY)?;
        ground::furnish(&project, &world, origins)?;
        let version = world.run(As::Ordinary, self.called(&["sh", "-c", self.version]))?;
        let version = version.stdout.lines().next().unwrap_or_default().to_owned();
        let (mut wrong, mut rows) = (Vec::new(), Vec::new());
        for way in [Way::Captured, Way::Variables] {
            let mut told = Vec::new();
            for aim in [Aim::Allowed, Aim::RefusedName, Aim::RefusedPort] {
                world.forget()?;
                let (finished, took) = self.run(&world, &project, way, aim)?;
                let readings = world.readings()?;
                if let Err(error) = self.judge(&project, &finished, &readings, way, aim) {
                    wrong.push(format!(
                        "{} {way:?} {aim:?}: {error:#}\n{finished}\n{readings:#?}",
                        self.name
                    ));
                }
                // What is allowed is not timed.
                let took = if aim == Aim::Allowed { vec![0] } else { took };
                let said = Told::of(&finished.stdout, self.target(aim).0, took);
                told.push(said.with_context(|| format!("{finished}"))?);
            }
            let [allowed, name, port] = told.as_slice() else {
                continue;
            };
            rows.push(Row {
                client: self.name.to_owned(),
                version: version.clone(),
                variables: way == Way::Variables,
                via: self.via(way).to_owned(),
                said: allowed.said.clone(),
                refused_name: name.said.clone(),
                refused_name_us: name.median_us,
                refused_port: port.said.clone(),
                refused_port_us: port.median_us,
                inside: self.timed == Timed::Call,
            });
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        row::write(self.name, &rows)
    }

    fn called<'a>(&self, words: &'a [&'a str]) -> Call<'a> {
        const PATHS: &[(&str, &str)] = &[
            (
                "PATH",
                "/home/suite/clients/bin:/home/suite/rust/bin:/usr/sbin:/usr/bin:/bin",
            ),
            ("PYTHONPATH", "/home/suite/clients/python"),
        ];
        Call::new(words).with(PATHS)
    }

    fn via(&self, way: Way) -> &'static str {
        let [captured, variables] = self.via;
        match way {
            Way::Captured => captured,
            Way::Variables => variables,
        }
    }

    fn target(&self, aim: Aim) -> (&'static str, u16) {
        match aim {
            Aim::Allowed => (self.host, self.port),
            Aim::RefusedName => ("evil.test", self.port),
            Aim::RefusedPort => (self.host, OTHER_PORT),
        }
    }

    /// What came of it, and how long its tries took where they are timed from outside.
    fn run(
        &self,
        world: &World,
        project: &Project<'_>,
        way: Way,
        aim: Aim,
    ) -> Result<(Finished, Vec<u64>)> {
        let (host, port) = self.target(aim);
        let count = match aim {
            Aim::Allowed => 1,
            Aim::RefusedName | Aim::RefusedPort => self.timed.count(),
        };
        let count = count.to_string();
        let line = self.line.replace("NAME", host);
        let line = line.replace("PORT", &port.to_string());
        let line = format!("{{ {}; }} 2>&1", line.replace("COUNT", &count));
        let mut words = vec!["ocs", "run", "--", "env"];
        if way == Way::Captured {
            words.push("-i");
        }
        words.extend(TRUST);
        words.extend(["timeout", "280", "bash"]);
        if aim == Aim::Allowed || self.timed == Timed::Call {
            words.extend(["-c", &line]);
            let finished = project.call(Call::new(&words).for_seconds(300))?;
            return Ok((finished, Vec::new()));
        }
        let name = format!("{way:?}{aim:?}");
        words.extend(["/home/suite/scripts/tries.sh", &count, &name, &line]);
        let directory = project.directory();
        let mut running = world.start(
            As::Ordinary,
            Call::new(&words).within(directory).for_seconds(300),
        )?;
        let ready = world.outside(&directory.join(format!("{name}.ready")));
        while !ready.exists() {
            ensure!(running.is_running()?, "{}", running.wait()?);
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut waits = heard(world, &count)?;
        waits.until(|said| said.contains("listening"))?;
        project.write(&format!("{name}.go"), "")?;
        let finished = running.wait()?;
        Ok((finished, took(&waits.wait()?.succeeded()?.stdout)))
    }

    fn judge(
        &self,
        project: &Project<'_>,
        finished: &Finished,
        readings: &Readings,
        way: Way,
        aim: Aim,
    ) -> Result<()> {
        let (host, port) = self.target(aim);
        let record = project.newest_record()?;
        let mut decided = record.decided();
        let explicit = ["connect", "http"].contains(&self.via(way));
        let expected = match aim {
            Aim::Allowed => Decided::request(host, port.into(), "allow"),
            Aim::RefusedName if explicit => Decided::request(host, port.into(), "not-whitelisted"),
            Aim::RefusedName => Decided::dns(host),
            Aim::RefusedPort => Decided::request(host, port.into(), "port"),
        };
        decided.retain(|decided| {
            let aside = |name: &&str| *decided == Decided::dns(&name.replace("NAME", host));
            *decided == expected || !self.asides.iter().any(aside)
        });
        ensure!(decided == [expected], "the record has {decided:#?}");
        if aim == Aim::Allowed {
            return self.judge_allowed(&record, finished, readings, way);
        }
        ensure!(
            ![0, 124, 137].contains(&finished.code()),
            "it was not refused"
        );
        ensure!(!finished.stdout.contains(self.expects), "it got an answer");
        ensure!(*readings == Readings::default(), "it got out");
        Ok(())
    }

    fn judge_allowed(
        &self,
        record: &Record,
        finished: &Finished,
        readings: &Readings,
        way: Way,
    ) -> Result<()> {
        let requests = record.of_kind("request");
        let requests = requests.iter().filter(|event| event["host"] == self.host);
        let via = self.via(way);
        let ways: Vec<_> = requests.map(|event| event["via"].as_str()).collect();
        ensure!(
            ways.iter().all(|found| *found == Some(via)),
            "it went by {ways:?}"
        );
        let passed = finished.code() == 0 && finished.stdout.contains(self.expects);
        ensure!(passed, "it did not pass");
        let mut reached = readings
            .flows
            .iter()
            .filter(|flow| flow.port != 53)
            .peekable();
        ensure!(reached.peek().is_some(), "the origin saw nothing");
        let named = readings
            .connections
            .iter()
            .all(|seen| seen.sni.as_deref() == Some(self.host));
        ensure!(named, "another name was sent");
        ensure!(
            reached.all(|flow| (flow.protocol.as_str(), flow.port) == ("tcp", self.port)),
            "more was reached"
        );
        ensure!(
            readings.queries.iter().all(|query| query.name == self.host),
            "more was asked"
        );
        Ok(())
    }
}

/// Listens on the loopback of the one box that runs.
fn heard(world: &World, count: &str) -> Result<Running> {
    let holder = world.find(|process| process.name == "ocs-netctl")?.pid;
    let network = format!("--net=/proc/{holder}/ns/net");
    let script = "/home/suite/scripts/waits.py";
    let words = ["nsenter", &network, "python3", script, count];
    world.start(As::Root, Call::new(&words).for_seconds(300))
}

fn took(said: &str) -> Vec<u64> {
    let lines = said.lines().map(str::trim);
    let numbers = lines.filter_map(|line| line.strip_prefix("took ")?.parse().ok());
    numbers.collect()
}

/// What a client said, and how long its tries took.
#[derive(Debug)]
struct Told {
    said: String,
    median_us: u64,
}

impl Told {
    /// Of what it says, the last line that speaks of `host`, else the last one. Without times from outside, its own.
    fn of(stdout: &str, host: &str, from_outside: Vec<u64>) -> Result<Self> {
        let mut times = if from_outside.is_empty() {
            took(stdout)
        } else {
            from_outside
        };
        times.sort_unstable();
        let (mut said, mut speaks) = (String::new(), false);
        for line in stdout.lines().map(str::trim) {
            let skipped = line.is_empty() || line.starts_with("took ");
            if !skipped && (!speaks || line.contains(host)) {
                speaks = line.contains(host);
                line.clone_into(&mut said);
            }
        }
        Ok(Self {
            said,
            median_us: *times.get(times.len() / 2).context("no time was taken")?,
        })
    }
}

/// Where the clients were put, and where their rows go.
///
/// # Errors
/// `make clients-packages` was not run.
pub fn directory() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| binaries::repository().join("target"), PathBuf::from);
    let directory = target.join("clients");
    let done = directory.join("done");
    ensure!(
        done.exists(),
        "{} is missing: `make clients-packages` first",
        done.display()
    );
    directory.canonicalize().context("find the clients")
}
