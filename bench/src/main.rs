//! `bench`: the proxies side by side on one machine in one run (`make bench`).
//!
//! Runs in a mount namespace of its own (`unshare --mount`, see the Makefile) whose `/etc/hosts` leads the origin's name
//! to loopback, so that every proxy resolves as it always does and nothing leaves the machine.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

mod cpu;
mod growth;
mod load;
mod origin;
mod peer;
mod plot;
mod report;
mod sealed;
mod startup;
mod tls;

use load::{Route, Way, Work};
use peer::{Daemon, Peer};
use report::Sample;

/// Measures ocs-proxy, asked and capturing, beside the floor, Squid and tinyproxy.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where ocs-proxy is.
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// Rounds; medians are of these.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Divides the number of operations.
    #[arg(long, default_value_t = 1)]
    quick: u64,
    /// Only these proxies (floor, ocs, "ocs captured", squid, tinyproxy).
    #[arg(long)]
    peer: Vec<String>,
    /// Only these works (by the start of their name).
    #[arg(long)]
    work: Vec<String>,
    /// Where the raw samples go, a line each.
    #[arg(long, default_value = "target/bench.tsv")]
    raw: PathBuf,
    /// Where the plots of growth go.
    #[arg(long, default_value = "target")]
    plots: PathBuf,
    /// Only these parts; all if none is named.
    #[arg(long, value_enum)]
    part: Vec<Part>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Cost as tunnels and rules grow, and where the record lies.
    Growth,
    /// What a command that does nothing takes in each box.
    Startup,
    /// Works and peers.
    Table,
}

const WORKS: [(&str, Work, u64); 7] = [
    (
        "new CONNECT + one request + close, us",
        Work::Tunnel,
        20_000,
    ),
    (
        "new CONNECT + TLS + one request + close, us",
        Work::Secure,
        8_000,
    ),
    ("request in an open tunnel, us", Work::Open, 160_000),
    ("plain HTTP, kept alive, us", Work::Plain, 80_000),
    (
        "download, us per MiB",
        Work::Download,
        2 * origin::BULK_MEBIBYTES,
    ),
    ("upload, us per MiB", Work::Upload, 2048),
    ("refused CONNECT, us", Work::Refused, 20_000),
];
const IDLE: (&str, usize) = ("idle tunnel, KiB", 4000);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")?;
    ensure!(
        most >= 12_000,
        "{most} open files are too few for {} tunnels (ulimit -Hn)",
        IDLE.1
    );
    let dir = tempfile::Builder::new().prefix("ocs-bench").tempdir()?;
    let _nginx = origin::start(dir.path())?;
    origin::sink()?;
    let asked = |part| arguments.part.is_empty() || arguments.part.contains(&part);
    let mut samples = Vec::new();
    let mut text = String::new();
    if asked(Part::Table) {
        samples.extend(rounds(&arguments, dir.path())?);
        let works = WORKS.iter().map(|w| w.0).chain([IDLE.0]);
        let works: Vec<String> = works.map(str::to_owned).collect();
        text.push_str(&report::table(&samples, &works, &Peer::ALL.map(Peer::name)));
    }
    if asked(Part::Growth) {
        let grown = growth::run(&arguments, dir.path())?;
        text.push('\n');
        text.push_str(&growth::table(&grown));
        samples.extend(grown);
    }
    if asked(Part::Startup) {
        let started = startup::run(dir.path(), &arguments.binaries, 4 * arguments.rounds)?;
        text.push('\n');
        text.push_str(&startup::table(&started));
        samples.extend(started);
    }
    fs::write(&arguments.raw, report::raw(&samples))
        .with_context(|| format!("write {}", arguments.raw.display()))?;
    say(&text);
    Ok(())
}

/// Works and peers, A B A B.
fn rounds(arguments: &Arguments, dir: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for round in 1..=arguments.rounds {
        for peer in Peer::ALL {
            if !arguments.peer.is_empty() && !arguments.peer.iter().any(|p| p == peer.name()) {
                continue;
            }
            one_round(arguments, dir, peer, round, &mut samples)?;
        }
    }
    Ok(samples)
}

fn one_round(
    arguments: &Arguments,
    dir: &Path,
    peer: Peer,
    round: u32,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    let wanted = |name: &str| {
        arguments.work.is_empty() || arguments.work.iter().any(|w| name.starts_with(w.as_str()))
    };
    let of = |work: &str, cost| Sample::of(work, peer.name(), round, cost);
    for (name, work, count) in WORKS.into_iter().filter(|w| wanted(w.0)) {
        let port = port_of(work, peer);
        let daemon = peer.start(dir, &arguments.binaries, port)?;
        let count = (count / arguments.quick).max(16);
        let (spent, run) = beside(&daemon, async || {
            let route = route(peer, port, dir)?;
            load::run(work, &route, count.min(64))
                .await
                .with_context(|| format!("{name} through {} (warming up)", peer.name()))?;
            let before = cpu::nanoseconds(&daemon.pids())?;
            let run = load::run(work, &route, count)
                .await
                .with_context(|| format!("{name} through {}", peer.name()))?;
            Ok((cpu::nanoseconds(&daemon.pids())? - before, run))
        })?;
        let at = |part: usize| {
            run.latencies_us
                .get(run.latencies_us.len() * part / 100)
                .copied()
                .unwrap_or(0)
        };
        samples.push(Sample {
            rate: float(count) / run.wall.as_secs_f64(),
            p50_us: at(50),
            p99_us: at(99),
            ..of(name, float(spent) / float(count) / 1000.0)
        });
        progress(samples.last());
    }
    if wanted(IDLE.0) {
        let daemon = peer.start(dir, &arguments.binaries, origin::HTTP_PORT)?;
        let grown = beside(&daemon, async || {
            let route = route(peer, origin::HTTP_PORT, dir)?;
            drop(load::hold(&route, 16).await?);
            let before = cpu::kibibytes(&daemon.pids())?;
            let held = load::hold(&route, IDLE.1).await?;
            let grown = cpu::kibibytes(&daemon.pids())?.saturating_sub(before);
            drop(held);
            Ok(grown)
        })?;
        samples.push(of(IDLE.0, float(grown) / IDLE.1 as f64));
        progress(samples.last());
    }
    Ok(())
}

/// The origin's port that a work goes to.
fn port_of(work: Work, peer: Peer) -> u16 {
    match work {
        Work::Upload => origin::SINK_PORT,
        Work::Secure => origin::TLS_PORT,
        // The other port carries anything, so that what is captured there is not looked into.
        Work::Plain if peer == Peer::OcsCaptured => origin::PLAIN_PORT,
        Work::Refused if peer == Peer::OcsCaptured => origin::REFUSED_PORT,
        Work::Tunnel | Work::Open | Work::Plain | Work::Download | Work::Refused => {
            origin::HTTP_PORT
        }
    }
}

/// How the clients of a peer reach the origin's port; to be asked where they are.
fn route(peer: Peer, port: u16, dir: &Path) -> Result<Route> {
    let (to, way) = if peer == Peer::OcsCaptured {
        let address = sealed::address(origin::NAME)?;
        (SocketAddr::from((address, port)), Way::Captured)
    } else {
        (peer.address(), Way::Explicit)
    };
    Ok(Route {
        to,
        origin: format!("{}:{port}", origin::NAME),
        way,
        tls: tls::config(dir)?,
    })
}

/// Runs the clients of a daemon: on a thread of their own, in the namespace that it captures if it does.
fn beside<T: Send>(daemon: &Daemon, clients: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    let work = move || {
        if let Some(namespace) = daemon.namespace() {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the sealed namespace")?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(clients())
    };
    let ended = thread::scope(|scope| scope.spawn(work).join());
    ended.map_err(|_| anyhow::anyhow!("the clients panicked"))?
}

fn float(n: u64) -> f64 {
    // Counts and nanoseconds of one run are far below 2^52.
    n as f64
}

#[expect(clippy::print_stderr, reason = "the bench's progress")]
fn tell(text: &str) {
    eprintln!("{text}");
}

fn progress(sample: Option<&Sample>) {
    if let Some(s) = sample {
        tell(&format!(
            "round {} {:>10}  {:<40} {:>10.2}  {:>9.0}/s  p50 {} us  p99 {} us",
            s.round, s.peer, s.work, s.cost, s.rate, s.p50_us, s.p99_us
        ));
    }
}

#[expect(clippy::print_stdout, reason = "the bench's result")]
fn say(table: &str) {
    print!("{table}");
}
