//! Times that suites report and never assert: one line each in `target/test-logs/measured.tsv`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries::repository;

/// Notes how long something took.
///
/// # Errors
/// The file system refuses.
pub fn note(suite: &str, what: &str, took: Duration) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    let directory = target.join("test-logs");
    fs::create_dir_all(&directory).context("make the directory of measured times")?;
    let path = directory.join("measured.tsv");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .context("open the measured times")?;
    writeln!(file, "{suite}\t{what}\t{} ms", took.as_millis()).context("note a time")
}
