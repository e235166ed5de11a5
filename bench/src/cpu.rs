//! What a process cost: CPU time and memory, from the kernel's own accounting.
//!
//! Not responsible for wall time: machines are shared, and wall time is somebody else's load.

use std::fs;

use anyhow::{Context, Result};
use nix::{time::ClockId, unistd::Pid};

/// CPU time of all threads, ended ones too, of some processes since they started, in nanoseconds
/// (`clock_getcpuclockid(3)`).
///
/// # Errors
/// A process that is gone.
pub(crate) fn nanoseconds(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(*pid)?));
        let spent = clock
            .and_then(ClockId::now)
            .with_context(|| format!("process {pid} is gone"))?;
        sum += u64::try_from(spent.tv_sec())? * 1_000_000_000 + u64::try_from(spent.tv_nsec())?;
    }
    Ok(sum)
}

/// Proportional memory of some processes, in KiB (`Pss:` of `/proc/PID/smaps_rollup`).
///
/// # Errors
/// A process that is gone.
pub(crate) fn kibibytes(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("process {pid} is gone"))?;
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("Pss:"))
            .context("no Pss line")?;
        sum += line
            .trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .context("Pss is no number")?;
    }
    Ok(sum)
}

/// A process and all that it started, by `/proc/PID/task/*/children`.
#[must_use]
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                text.split_whitespace()
                    .filter_map(|p| p.parse::<u32>().ok()),
            );
        }
    }
    all
}
