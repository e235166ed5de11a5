//! The invariants of a box of engine native that runs: what the host's kernel says of each of its processes.
use std::fs;

use super::{Finding, Verdict};
use crate::monitor::Inside;

/// What every process of a box must say of itself (proc(5), `status`): no new privileges, a filter of system calls, no capability.
const MUST: [(&str, &str); 4] = [
    ("NoNewPrivs", "1"),
    ("Seccomp", "2"),
    ("CapEff", "0000000000000000"),
    ("CapPrm", "0000000000000000"),
];

/// Of the box that this process holds.
pub(super) fn findings(supervisor: u32) -> Vec<Finding> {
    let pids: Vec<u32> = Inside::of(supervisor).pids().collect();
    if pids.is_empty() {
        return vec![Finding::of(
            "box",
            Verdict::Unknown,
            "no process of it is seen",
        )];
    }
    let host = network_of(std::process::id());
    let mut findings = Vec::new();
    for pid in &pids {
        // It may have ended meanwhile: then it breaks nothing.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        let network = network_of(*pid);
        let outside = network.is_some() && network == host;
        findings.extend(wrong(&status).map(|what| (*pid, what)));
        findings
            .extend(outside.then(|| (*pid, "it is in the host's network namespace".to_owned())));
    }
    if findings.is_empty() {
        let detail = format!(
            "{} processes, none with a privilege, all filtered and fenced",
            pids.len()
        );
        return vec![Finding::of("box", Verdict::Good, detail)];
    }
    let bad = |(pid, what)| Finding::of("box", Verdict::Bad, format!("process {pid}: {what}"));
    findings.into_iter().map(bad).collect()
}

fn wrong(status: &str) -> Option<String> {
    let mut broken = MUST.iter().filter_map(|(name, must)| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let is = line.map_or("missing", str::trim);
        (is != *must).then(|| format!("{name} is {is}"))
    });
    broken.next()
}

fn network_of(pid: u32) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privilege_or_a_missing_filter_is_named() {
        let good =
            "NoNewPrivs:\t1\nSeccomp:\t2\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
        assert_eq!(wrong(good), None);
        assert_eq!(
            wrong(&good.replace("Seccomp:\t2", "Seccomp:\t0")),
            Some("Seccomp is 0".to_owned())
        );
        assert_eq!(
            wrong(&good.replace("NoNewPrivs:\t1\n", "")),
            Some("NoNewPrivs is missing".to_owned())
        );
        let root = good.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000001000");
        assert_eq!(wrong(&root), Some("CapEff is 0000000000001000".to_owned()));
    }
}
