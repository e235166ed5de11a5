//! Start-up: what a command that does nothing takes in each box, wall time, one after the other in turns.
//!
//! Who is not on this machine is named and left out. Not responsible for the load of others: the median of the turns is
//! given, and the least of them, which others disturb least.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::report::{self, Sample};

/// The row of the table.
pub(crate) const NAME: &str = "start-up";

struct Box_ {
    name: &'static str,
    program: String,
    words: Vec<&'static str>,
}

/// Times every box that is here; `rounds` turns of each.
///
/// # Errors
/// One that is here and does not run `true`.
pub(crate) fn run(dir: &Path, binaries: &Path, rounds: u32) -> Result<Vec<Sample>> {
    let project = dir.join("project");
    fs::create_dir_all(&project)?;
    fs::write(
        project.join("opencode-sandbox-config.yaml"),
        "sandbox-name: start\n",
    )?;
    let boxes = boxes(binaries);
    let mut samples = Vec::new();
    for one in &boxes {
        // The first is not counted: it approves the project, fills caches, pulls nothing.
        let first = time(one, &project, dir);
        if one.name == "bare" {
            first.with_context(|| one.name)?;
        } else if let Err(error) = first {
            crate::tell(&format!(
                "start-up: {} is not run here: {error:#}",
                one.name
            ));
            continue;
        }
        for round in 1..=rounds {
            let took = time(one, &project, dir)?;
            samples.push(Sample::of(NAME, one.name, round, took.as_secs_f64() * 1e3));
        }
    }
    Ok(samples)
}

fn boxes(binaries: &Path) -> Vec<Box_> {
    let of = |name, program: &str, words: &[&'static str]| Box_ {
        name,
        program: program.to_owned(),
        words: words.to_vec(),
    };
    let ocs = binaries.join("ocs");
    let srt = binaries.with_file_name("srt").join("node_modules/.bin/srt");
    vec![
        of("bare", "true", &[]),
        of("unshare", "unshare", &["-Urn", "true"]),
        of(
            "bwrap",
            "bwrap",
            &[
                "--unshare-all",
                "--ro-bind",
                "/",
                "/",
                "--dev",
                "/dev",
                "--proc",
                "/proc",
                "true",
            ],
        ),
        of(
            "ocs run",
            &ocs.display().to_string(),
            &["run", "--", "true"],
        ),
        of(
            "docker run",
            "docker",
            &["run", "--rm", "--pull=never", "busybox", "true"],
        ),
        of("sandbox-runtime", &srt.display().to_string(), &["true"]),
    ]
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bench starts what it measures; nothing here is in a sandbox's path"
)]
fn time(one: &Box_, project: &Path, home: &Path) -> Result<Duration> {
    let began = Instant::now();
    let status = Command::new(&one.program)
        .args(&one.words)
        .current_dir(project)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("start {}", one.program))?;
    ensure!(status.success(), "{} ended with {status}", one.program);
    Ok(began.elapsed())
}

/// The table: the median and the least of each, and how much that is over the bare command.
#[must_use]
pub(crate) fn table(samples: &[Sample]) -> String {
    let names = [
        "bare",
        "unshare",
        "bwrap",
        "ocs run",
        "docker run",
        "sandbox-runtime",
    ];
    let of = |name: &str| -> Vec<f64> {
        let its = samples.iter().filter(|s| s.work == NAME && s.peer == name);
        its.map(|s| s.cost).collect()
    };
    let bare = report::median(of("bare"));
    let mut text =
        String::from("| `true` in | median, ms | least, ms | over bare, ms |\n|---|---|---|---|\n");
    for name in names {
        let its = of(name);
        if its.is_empty() {
            text.push_str(&format!("| {name} | not run here | - | - |\n"));
            continue;
        }
        let least = its.iter().copied().fold(f64::INFINITY, f64::min);
        let median = report::median(its);
        text.push_str(&format!(
            "| {name} | {median:.1} | {least:.1} | {:.1} |\n",
            median - bare
        ));
    }
    text
}
