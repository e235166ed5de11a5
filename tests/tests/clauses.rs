//! Every promise of `docs/security.md` names the tests that hold it, and each of those exists; so does each file that is
//! said to keep it. A promise that nobody tries is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use harness::binaries::repository;

/// Clause, files and tests of one row.
struct Row {
    clause: String,
    files: Vec<String>,
    tests: Vec<String>,
}

fn rows() -> Result<Vec<Row>> {
    let text =
        fs::read_to_string(repository().join("docs/security.md")).context("read the clauses")?;
    let quoted = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let row = |line: &str| {
        let cells: Vec<_> = line
            .strip_prefix("| ")?
            .trim_end_matches(" |")
            .split(" | ")
            .collect();
        let [clause, _, files, tests] = cells.as_slice() else {
            return None;
        };
        let (letter, number) = clause.split_at_checked(1)?;
        let is_clause = "NPWRBU".contains(letter) && number.parse::<u8>().is_ok();
        is_clause.then(|| Row {
            clause: (*clause).to_owned(),
            files: quoted(files),
            tests: quoted(tests),
        })
    };
    Ok(text.lines().filter_map(row).collect())
}

/// The text of every Rust file below a directory.
fn sources(directory: &Path, into: &mut String) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, into)?;
        } else if name.ends_with(".rs") {
            into.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Words of the sources that are followed by what follows the name of a test: `fn NAME(` or a case's `NAME:`.
fn named(sources: &str) -> BTreeSet<&str> {
    let lines = sources.lines().map(str::trim_start);
    lines
        .filter_map(|line| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            match line.strip_prefix("fn ") {
                Some(rest) => rest.split('(').next(),
                None => line.split_once(':').map(|(name, _)| name),
            }
        })
        .collect()
}

#[test]
fn every_clause_names_a_test_and_each_of_them_exists() -> Result<()> {
    let mut text = String::new();
    for room in ["netctl", "orchestrator", "policies", "proxy", "tests"] {
        sources(&repository().join(room), &mut text)?;
    }
    let named = named(&text);
    let rows = rows()?;
    assert!(rows.len() >= 47, "only {} clauses are read", rows.len());
    for Row { clause, tests, .. } in &rows {
        assert!(!tests.is_empty(), "{clause} names no test");
        for test in tests {
            assert!(
                named.contains(test.as_str()),
                "{clause} names {test}, which is not there"
            );
        }
    }
    Ok(())
}

#[test]
fn every_file_that_is_said_to_keep_a_clause_is_there() -> Result<()> {
    for Row { clause, files, .. } in rows()? {
        let mut room = String::new();
        for file in files {
            // `policies/src/host.rs`, `pattern.rs`: the second lies beside the first.
            let path = if file.contains('/') {
                file.clone()
            } else {
                format!("{room}/{file}")
            };
            let several = path
                .split_once('{')
                .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
            let paths: Vec<String> = match several {
                Some((before, (names, after))) => names
                    .split(',')
                    .map(|name| format!("{before}{name}{after}"))
                    .collect(),
                None => vec![path.clone()],
            };
            for path in paths {
                assert!(
                    repository().join(&path).exists(),
                    "{clause} is said to be kept by {path}, which is not there"
                );
            }
            if let Some((above, _)) = path.rsplit_once('/') {
                above.clone_into(&mut room);
            }
        }
    }
    Ok(())
}
