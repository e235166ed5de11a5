//! `ocs policy suggest`: from a record to the smallest addition to the config under which the same run would pass. Suggests;
//! a person decides, and approves.
//! Clauses: P1.
mod choose;
mod wanted;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policies::{Config, Mode, Policy, Surroundings};
use serde::Serialize;
use similar::TextDiff;

use crate::audit_cmd::record::{self, Filter};
use crate::cli::{FilterArgs, SuggestArgs};
use crate::config_edit;
use crate::config_file::ConfigFile;
use crate::console::{Console, escaped};
use crate::exit::{Exit, Failure};
use crate::project::ProjectError;
use crate::world::World;

use self::choose::Line;
use self::wanted::{Left, Wanted};

/// Destinations of one line that people are shown.
const COVERS_SHOWN: usize = 5;

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    file: &'a str,
    lines: Vec<LineDocument<'a>>,
    /// What was refused and is not suggested.
    left: Vec<LeftDocument<'a>>,
    /// Requests past the bound of what is told apart.
    more: u64,
    /// The change as a unified diff; null where the file has a shape that cannot be edited.
    patch: Option<&'a str>,
}

#[derive(Serialize)]
struct LineDocument<'a> {
    key: &'a str,
    entry: &'a str,
    covers: Vec<CoverDocument<'a>>,
}

#[derive(Serialize)]
struct CoverDocument<'a> {
    destination: &'a str,
    requests: u64,
}

#[derive(Serialize)]
struct LeftDocument<'a> {
    destination: &'a str,
    reason: &'static str,
    requests: u64,
}

/// Runs `ocs policy suggest`.
///
/// # Errors
/// There is no project or no record, the config is wrong, or a record cannot be read.
pub(super) fn run(
    args: &SuggestArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let file = ConfigFile::find(args.config.as_deref(), world)?;
    let (config, _) = file.parse().map_err(ProjectError::Config)?;
    let filter = FilterArgs {
        run: args.run.clone(),
        since: args.since.clone(),
        ..FilterArgs::default()
    };
    let filter = Filter::new(&filter, world)?;
    let mut wanted = Wanted::default();
    let unread = record::each(&args.files, world, |record| {
        if filter.takes(&record) {
            wanted.add(&record);
        }
        Ok(())
    })?;
    let (wants, mut left) = wanted.judged_by(&policy(&config));
    let lines = choose::lines(wants, &config);
    let text = edited(&file, &lines);
    if let Some(text) = &text {
        left.extend(still_refused(&file, text, &wanted)?);
    }
    let patch = text.map(|text| patch(&file, &text));
    if args.json {
        console.document(&document(
            &file.short_name(),
            &lines,
            &left,
            &wanted,
            patch.as_deref(),
        ))?;
    } else {
        show(&lines, &left, patch.as_deref(), console)?;
        unread.tell(console);
    }
    Ok(Exit::Ok)
}

/// The lists alone, whatever the mode: `observe` would pass everything.
fn policy(config: &Config) -> Policy {
    let host_addresses = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    config.policy(
        Some(Mode::Filtered),
        Surroundings {
            host_addresses,
            own_addresses: Vec::new(),
        },
    )
}

fn edited(file: &ConfigFile, lines: &[Line]) -> Option<String> {
    let mut text = file.text.clone();
    for key in [
        "presets",
        "http-domain-whitelist",
        "host-ports",
        "llm-endpoints",
        "tcp-endpoints",
    ] {
        let entries: Vec<String> = lines
            .iter()
            .filter(|line| line.key == key)
            .map(|line| line.entry.clone())
            .collect();
        if !entries.is_empty() {
            text = config_edit::add(&text, key, &entries)?;
        }
    }
    Some(text)
}

/// What the config would refuse even with the additions: nothing, or we would promise too much.
fn still_refused(file: &ConfigFile, text: &str, wanted: &Wanted) -> Result<Vec<Left>, Failure> {
    let edited = ConfigFile {
        text: text.to_owned(),
        ..file.clone()
    };
    let (config, _) = edited.parse().map_err(|errors| {
        Failure::new(Exit::No, "the config with the suggested lines is wrong").because(errors)
    })?;
    let (wants, _) = wanted.judged_by(&policy(&config));
    let left = |want: wanted::Want| Left {
        destination: want.request.destination.to_string(),
        reason: policies::Reason::NotWhitelisted,
        count: want.count,
    };
    Ok(wants.into_iter().map(left).collect())
}

fn patch(file: &ConfigFile, text: &str) -> String {
    let name = file.short_name();
    TextDiff::from_lines(file.text.as_str(), text)
        .unified_diff()
        .header(&name, &name)
        .to_string()
}

fn document<'a>(
    file: &'a str,
    lines: &'a [Line],
    left: &'a [Left],
    wanted: &Wanted,
    patch: Option<&'a str>,
) -> Document<'a> {
    let cover = |(destination, requests): &'a (String, u64)| CoverDocument {
        destination,
        requests: *requests,
    };
    let line = |line: &'a Line| LineDocument {
        key: line.key,
        entry: &line.entry,
        covers: line.covers.iter().map(cover).collect(),
    };
    let left_out = |left: &'a Left| LeftDocument {
        destination: &left.destination,
        reason: left.reason.code(),
        requests: left.count,
    };
    Document {
        v: 1,
        file,
        lines: lines.iter().map(line).collect(),
        left: left.iter().map(left_out).collect(),
        more: wanted.more,
        patch,
    }
}

/// The reasons as comments, then the patch: `patch -p0` takes the whole.
fn show(
    lines: &[Line],
    left: &[Left],
    patch: Option<&str>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    for line in lines {
        let count: u64 = line.covers.iter().map(|(_, count)| count).sum();
        console.line(format_args!(
            "# {}: {} ({count} times)",
            line.key,
            escaped(&line.entry)
        ))?;
        if line.covers.len() > 1 {
            for (destination, count) in line.covers.iter().take(COVERS_SHOWN) {
                console.line(format_args!("#     {} {count}", escaped(destination)))?;
            }
            if line.covers.len() > COVERS_SHOWN {
                console.line(format_args!(
                    "#     and {} more",
                    line.covers.len() - COVERS_SHOWN
                ))?;
            }
        }
    }
    for Left {
        destination,
        reason,
        count,
    } in left
    {
        console.line(format_args!(
            "# not suggested: {} ({}, {count} times)",
            escaped(destination),
            reason.code()
        ))?;
    }
    if lines.is_empty() {
        console.note("nothing to add: the lists allow what was asked for, or no line should");
        return Ok(());
    }
    match patch {
        Some(patch) => {
            if console.terminal().stdout {
                for line in patch.lines() {
                    console.line(escaped(line))?;
                }
            } else {
                // A line ends as it does in the config, or `patch` does not find it.
                console.bytes(patch.as_bytes())?;
            }
            console.note("to take it: ocs policy suggest | patch -p0, then ocs policy approve");
        }
        None => console.note(
            "a list in the config has a shape that is not edited here: add these lines by hand",
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
