//! `battery [--doc FILE] LOG..`: reads what `cargo test` printed and what the cases noted, and shows the catalogue's table:
//! each id, its verdict, its time, and how the peers did. Ends with 1 if a case of ours failed.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use harness::escape::table::Table;

fn main() -> Result<ExitCode> {
    let mut logs = Vec::new();
    let mut doc = None;
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        if word == "--doc" {
            doc = words.next().map(PathBuf::from);
        } else {
            let log = std::fs::read(&word);
            let log = log.with_context(|| format!("read {}", word.display()))?;
            logs.push(String::from_utf8_lossy(&log).into_owned());
        }
    }
    let table = Table::read(&logs)?;
    let mut out = std::io::stdout();
    write!(out, "{}", table.text())?;
    if let Some(doc) = doc {
        std::fs::write(&doc, table.document())
            .with_context(|| format!("write {}", doc.display()))?;
    }
    Ok(if table.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
