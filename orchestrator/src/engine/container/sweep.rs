//! Removes what a run made in the engine: its containers, then its network and volume, found by their labels alone.
//!
//! Not here: what a run made on the disk (`state`).
//! Clauses: U3.
use std::collections::BTreeSet;
use std::ffi::OsString;

use super::arguments::Labels;
use crate::engine::client::{Client, Kind, Refused};
use crate::project::StateDir;
use crate::state;

/// Removes all of one run, and goes on past what fails.
pub(crate) fn run(client: &Client, labels: &Labels) -> Vec<Refused> {
    let of_run = format!("ocs.run={}", labels.run);
    let kinds = KINDS.iter();
    kinds
        .filter_map(|(list, remove)| {
            // Podman keeps a container that others are joined to: those are gone after the first pass.
            let first = all(client, list, remove, &of_run);
            first.and_then(|_| all(client, list, remove, &of_run))
        })
        .collect()
}

/// Removes all of a kind that bear a label; gives what was refused.
fn all(client: &Client, list: &[&str], remove: &[&str], label: &str) -> Option<Refused> {
    match listed(client, list, &[label]) {
        Ok(ids) if ids.is_empty() => None,
        Ok(ids) => {
            let words = remove.iter().map(|word| (*word).to_owned()).chain(ids);
            client.call(words).err()
        }
        Err(refused) => Some(refused),
    }
}

/// Removes what dead runs of this sandbox left: those whose mark nobody holds. The current run is not marked yet.
pub(crate) fn dead(client: &Client, sandbox: &str, state: &StateDir) -> Vec<Refused> {
    let mut runs = BTreeSet::new();
    let mut failed = Vec::new();
    let of_sandbox = format!("ocs.sandbox={sandbox}");
    let of_state = format!("ocs.state={}", state.path().display());
    // What the clients call the label of a line differs.
    let label = match client.kind {
        Kind::Docker => "{{.Label \"ocs.run\"}}",
        Kind::Podman => "{{index .Labels \"ocs.run\"}}",
    };
    for list in [&["ps", "--all"][..], &["volume", "ls"]] {
        let list = [list, &["--format", label]].concat();
        match listed(client, &list, &[&of_sandbox, &of_state]) {
            Ok(found) => runs.extend(found),
            Err(refused) => failed.push(refused),
        }
    }
    for run_id in runs {
        if !state::goes_on(state, &run_id) {
            let labels = Labels {
                sandbox: sandbox.to_owned(),
                run: run_id,
                state: state.path().to_owned(),
            };
            failed.extend(run(client, &labels));
        }
    }
    failed
}

/// How each kind of thing is listed, and removed.
const KINDS: [(&[&str], &[&str]); 3] = [
    (&["ps", "--all", "--quiet"], &["rm", "--force", "--volumes"]),
    (&["network", "ls", "--quiet"], &["network", "rm"]),
    (&["volume", "ls", "--quiet"], &["volume", "rm"]),
];

fn listed(client: &Client, list: &[&str], labels: &[&str]) -> Result<Vec<String>, Refused> {
    let mut words: Vec<OsString> = list.iter().map(OsString::from).collect();
    for label in labels {
        words.extend(["--filter".into(), format!("label={label}").into()]);
    }
    let listed = client.call(words)?;
    let text = String::from_utf8_lossy(&listed);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
