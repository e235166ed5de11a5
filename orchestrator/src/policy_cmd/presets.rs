//! `ocs policy presets` and `schema`: what ships with ocs, printed.
use policies::presets::{self, Preset};
use serde::Serialize;

use crate::cli::{PresetsArgs, SchemaArgs};
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};

/// One preset as `--json` shows it.
#[derive(Serialize)]
struct Document {
    name: &'static str,
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
            let preset = presets::get(name).ok_or_else(|| unknown(name))?;
            if args.json {
                console.document(&document(preset))?;
            } else {
                show(&preset, console)?;
            }
        }
        None if args.json => {
            let all: Vec<Document> = presets::names()
                .filter_map(presets::get)
                .map(document)
                .collect();
            console.document(&all)?;
        }
        None => {
            let width = presets::names().map(str::len).max().unwrap_or_default();
            for preset in presets::names().filter_map(presets::get) {
                let name = console.styled(Style::Bold, format!("{:<width$}", preset.name));
                console.line(format_args!(
                    "{name}  {}",
                    first_sentence(&preset.description)
                ))?;
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

/// The failure for a name that is no preset, with the nearest that is.
pub(crate) fn unknown(name: &str) -> Failure {
    Failure::usage(format!(
        "there is no preset `{}`",
        crate::console::escaped(name)
    ))
    .next("ocs policy presets")
}

fn show(preset: &Preset, console: &mut Console<'_>) -> Result<(), Failure> {
    let name = console.styled(Style::Bold, preset.name);
    console.line(format_args!("{name}: {}", preset.description))?;
    let width = preset
        .hosts
        .iter()
        .map(|host| host.pattern.len())
        .max()
        .unwrap_or_default();
    for host in &preset.hosts {
        console.line(format_args!("  {:<width$}  {}", host.pattern, host.reason))?;
    }
    Ok(())
}

fn document(preset: Preset) -> Document {
    let host = |host: presets::PresetHost| Host {
        host: host.pattern,
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
