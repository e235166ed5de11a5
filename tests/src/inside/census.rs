//! Counts what runs and is mounted in the world: a run is over when these are as before it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use super::links::{Networks, interfaces, run};
use crate::spec::{Census, Process};

/// The world as it stands.
pub(super) fn take(networks: &Networks) -> Result<Census> {
    let (interfaces, ruleset, sockets) =
        networks.on_host(|| Ok((interfaces()?, run("nft", &["list", "ruleset"])?, sockets()?)))?;
    let (processes, namespaces) = processes()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .context("read the mount table")?
        .lines()
        .count();
    Ok(Census {
        processes,
        mounts,
        namespaces,
        ruleset,
        interfaces,
        sockets,
    })
}

/// Sockets that somebody may speak to: TCP that listens, UDP, raw, and unix sockets with a name.
fn sockets() -> Result<Vec<String>> {
    /// The state of a TCP socket that listens. Linux, `include/net/tcp_states.h`.
    const LISTEN: &str = "0A";
    let mut sockets = Vec::new();
    for (table, local, state) in [
        ("tcp", 1, Some(LISTEN)),
        ("tcp6", 1, Some(LISTEN)),
        ("udp", 1, None),
        ("udp6", 1, None),
        ("raw", 1, None),
        ("raw6", 1, None),
        ("unix", 7, None),
    ] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"))
            .with_context(|| format!("read the table of {table}"))?;
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let wanted = state.is_none() || fields.get(3).copied() == state;
            sockets.extend(
                fields
                    .get(local)
                    .filter(|_| wanted)
                    .map(|name| format!("{table} {name}")),
            );
        }
    }
    sockets.sort();
    Ok(sockets)
}

fn processes() -> Result<(Vec<Process>, Vec<String>)> {
    let mut processes = Vec::new();
    let mut namespaces = BTreeSet::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let name = entry.context("list /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid == 1 {
            continue;
        }
        let Some(process) = process(pid) else {
            continue;
        }; // it ended meanwhile
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            if let Ok(link) = fs::read_link(format!("/proc/{pid}/ns/{kind}")) {
                namespaces.insert(link.to_string_lossy().into_owned());
            }
        }
        processes.push(process);
    }
    Ok((processes, namespaces.into_iter().collect()))
}

fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let words: Vec<_> = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .collect();
    let command = words
        .iter()
        .map(|word| word.escape_ascii().to_string())
        .collect::<Vec<_>>()
        .join(" ");
    Some(Process {
        pid,
        parent,
        name: name.to_owned(),
        state,
        command,
    })
}
