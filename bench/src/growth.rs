//! How our cost grows: with tunnels that are held, with rules, and with where the record lies; and the plots of it.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::load::{self, Work};
use crate::peer::{self, Daemon, Peer};
use crate::plot;
use crate::report::{Sample, median};
use crate::{Arguments, beside, cpu, float, origin, progress, route};

/// CPU of a request in an open tunnel while so many others are held.
const TUNNELS: &str = "request in an open tunnel, us";
const HELD: [usize; 5] = [1, 10, 100, 1_000, 9_000]; // 20,000 descriptors are a common bound, and a tunnel has two
/// CPU of a refusal with so many entries.
const RULES: &str = "refused CONNECT, us";
const ENTRIES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// CPU of a plain request with its record on a disk, or in memory: what the disk's file system costs.
const RECORD: &str = "plain HTTP, kept alive, us";

/// Measures all, in as many rounds as the table has, and draws the plots.
///
/// # Errors
/// The proxy does not start, or answers wrong.
pub(crate) fn run(arguments: &Arguments, dir: &Path) -> Result<Vec<Sample>> {
    let dir = dir.join("growth");
    let memory = tempfile::tempdir_in("/dev/shm").context("a directory in memory")?;
    fs::create_dir_all(&dir)?;
    let mut samples = Vec::new();
    for round in 1..=arguments.rounds {
        let mut add = |work: &str, at: String, cost: f64| {
            samples.push(Sample::of(work, &at, round, cost));
            progress(samples.last());
        };
        for held in HELD {
            let daemon = peer::ocs(&dir, &arguments.binaries, 0, &dir)?;
            let cost = measured(&daemon, Work::Open, 40_000 / arguments.quick, held, &dir)?;
            add(TUNNELS, format!("{held} tunnels"), cost);
        }
        for entries in ENTRIES {
            let daemon = peer::ocs(&dir, &arguments.binaries, entries, &dir)?;
            let cost = measured(&daemon, Work::Refused, 8_000 / arguments.quick, 0, &dir)?;
            add(RULES, format!("{entries} rules"), cost);
        }
        for (place, record) in [("disk", dir.as_path()), ("memory", memory.path())] {
            let daemon = peer::ocs(&dir, &arguments.binaries, 0, record)?;
            let cost = measured(&daemon, Work::Plain, 40_000 / arguments.quick, 0, &dir)?;
            add(RECORD, format!("record on {place}"), cost);
        }
    }
    draw(&samples, &arguments.plots)?;
    Ok(samples)
}

fn measured(daemon: &Daemon, work: Work, count: u64, held: usize, dir: &Path) -> Result<f64> {
    let root = dir.parent().unwrap_or(dir);
    let spent = beside(daemon, async || {
        let route = route(Peer::Ocs, origin::HTTP_PORT, root)?;
        let _held = load::hold(&route, held).await?;
        load::run(work, &route, 64).await?;
        let before = cpu::nanoseconds(&daemon.pids())?;
        load::run(work, &route, count).await?;
        Ok(cpu::nanoseconds(&daemon.pids())? - before)
    })?;
    Ok(float(spent) / float(count) / 1000.0)
}

fn points(samples: &[Sample], work: &str, unit: &str, at: &[usize]) -> Vec<(f64, f64)> {
    let of = |count: &usize| {
        let name = format!("{count} {unit}");
        let its = samples.iter().filter(|s| s.work == work && s.peer == name);
        (*count as f64, median(its.map(|s| s.cost).collect()))
    };
    at.iter().map(of).collect()
}

fn draw(samples: &[Sample], plots: &Path) -> Result<()> {
    for (file, work, unit, at) in [
        ("performance-tunnels.svg", TUNNELS, "tunnels", &HELD[..]),
        ("performance-rules.svg", RULES, "rules", &ENTRIES[..]),
    ] {
        let picture = plot::line(work, unit, &points(samples, work, unit, at));
        let path = plots.join(file);
        fs::write(&path, picture).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The medians.
#[must_use]
pub(crate) fn table(samples: &[Sample]) -> String {
    let mut text = String::from("| work | at | CPU, us |\n|---|---|---|\n");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for s in samples {
        let row = (s.work.as_str(), s.peer.as_str());
        if seen.contains(&row) {
            continue;
        }
        seen.push(row);
        let its = samples
            .iter()
            .filter(|s| (s.work.as_str(), s.peer.as_str()) == row);
        let cost = median(its.map(|s| s.cost).collect());
        text.push_str(&format!("| {} | {} | {cost:.2} |\n", row.0, row.1));
    }
    text
}
