//! What a run of the battery leaves for its table: one line per case in `target/battery/notes-SUBJECT.tsv`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries::repository;

/// Where notes and logs of a run lie.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from)
        .join("battery")
}

/// How long a case of ours took; whether it held is what the test says.
///
/// # Errors
/// The file system refuses.
pub fn note(engine: &str, account: &str, name: &str, took: Duration) -> Result<()> {
    line(&[
        engine,
        account,
        name,
        "took",
        &took.as_millis().to_string(),
        "",
    ])
}

/// How a peer did.
///
/// # Errors
/// The file system refuses.
pub fn note_peer(peer: &str, name: &str, took: Duration, leaks: &[String]) -> Result<()> {
    let verdict = if leaks.is_empty() { "held" } else { "failed" };
    let why = leaks.join("; ");
    line(&[
        peer,
        "-",
        name,
        verdict,
        &took.as_millis().to_string(),
        &why,
    ])
}

/// What a peer would need for a case that is not tried with it.
///
/// # Errors
/// The file system refuses.
pub fn note_peer_lacks(peer: &str, name: &str, needs: &str) -> Result<()> {
    line(&[peer, "-", name, "lacks", "0", needs])
}

fn line(fields: &[&str]) -> Result<()> {
    let subject = fields.first().copied().unwrap_or_default();
    let directory = directory();
    fs::create_dir_all(&directory).context("make the battery's directory")?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(format!("notes-{subject}.tsv")))
        .context("open the battery's notes")?;
    let fields: Vec<_> = fields
        .iter()
        .map(|field| field.replace(['\t', '\n'], " "))
        .collect();
    // One write: tests note from several threads, and half a line of two is no line.
    let line = fields.join("\t") + "\n";
    file.write_all(line.as_bytes()).context("note a case")
}
