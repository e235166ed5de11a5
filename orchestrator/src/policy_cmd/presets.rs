//! `ocs policy presets` and `schema`: what ships with ocs, printed.
use policies::presets::{self, Preset};
use serde::Serialize;

use crate::cli::{PresetsArgs, SchemaArgs};
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};

/// One preset as `--json` shows it.
#[derive(Serialize)]
struct Document {
    name: String,
    description: String,
    hosts: Vec<Host>,
}

#[derive(Serialize)]
struct Host {
    host: String,
    reason: String,
}

/// Runs `ocs policy presets`.
///
/// # Errors
/// There is no preset of that name (exit 64), or stdout cannot be written to.
pub(super) fn run(args: &PresetsArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match &args.name {
        Some(name) => {
            let preset = find(name)?;
            if args.json {
                console.document(&document(preset))?;
            } else {
                show(&preset, console)?;
            }
        }
        None => {
            let all = presets::names()
                .map(find)
                .collect::<Result<Vec<Preset>, Failure>>()?;
            if args.json {
                console.document(&all.into_iter().map(document).collect::<Vec<Document>>())?;
            } else {
                list(&all, console)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Runs `ocs policy schema`.
///
/// # Errors
/// stdout cannot be written to.
pub(super) fn schema(args: &SchemaArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let schema = match args.record {
        true => policies::schema::audit_event_schema(),
        false => policies::schema::config_schema(),
    };
    console.line(format_args!("{schema:#}")).map(|()| Exit::Ok)
}

/// The preset of that name.
///
/// # Errors
/// There is none (exit 64), or it is broken, which is a fault of ours.
pub(crate) fn find(name: &str) -> Result<Preset, Failure> {
    match presets::get(name) {
        Some(Ok(preset)) => Ok(preset),
        Some(Err(broken)) => Err(Failure::of(Exit::No, &broken)),
        None => Err(
            Failure::usage(format!("there is no preset `{}`", escaped(name)))
                .next("ocs policy presets"),
        ),
    }
}

fn list(all: &[Preset], console: &mut Console<'_>) -> Result<(), Failure> {
    let width = all
        .iter()
        .map(|preset| preset.name.len())
        .max()
        .unwrap_or_default();
    for preset in all {
        let name = console.styled(Style::Bold, format!("{:<width$}", preset.name));
        console.line(format_args!(
            "{name}  {}",
            first_sentence(&preset.description)
        ))?;
    }
    Ok(())
}

fn show(preset: &Preset, console: &mut Console<'_>) -> Result<(), Failure> {
    let name = console.styled(Style::Bold, &preset.name);
    console.line(format_args!("{name}: {}", preset.description))?;
    let hosts = || {
        preset
            .hosts
            .iter()
            .map(|host| (host.pattern.to_string(), &host.reason))
    };
    let width = hosts()
        .map(|(pattern, _)| pattern.len())
        .max()
        .unwrap_or_default();
    for (pattern, reason) in hosts() {
        console.line(format_args!("  {pattern:<width$}  {reason}"))?;
    }
    Ok(())
}

fn document(preset: Preset) -> Document {
    let host = |host: presets::PresetHost| Host {
        host: host.pattern.to_string(),
        reason: host.reason,
    };
    Document {
        name: preset.name,
        description: preset.description,
        hosts: preset.hosts.into_iter().map(host).collect(),
    }
}

fn first_sentence(text: &str) -> &str {
    text.find(". ")
        .and_then(|end| text.get(..=end))
        .unwrap_or(text)
}
