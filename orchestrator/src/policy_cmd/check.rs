//! `ocs policy check`: every mistake of the config at once, or what it allows.
//! Clauses: P9.
use policies::{Config, ConfigError, Warning};
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::config_file::ConfigFile;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::world::World;

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    ok: bool,
    file: &'a str,
    errors: Vec<Mistake<'a>>,
    warnings: Vec<Mistake<'a>>,
    /// Null where the config is wrong.
    summary: Option<Summary>,
}

#[derive(Serialize)]
struct Mistake<'a> {
    line: u32,
    column: u32,
    message: &'a str,
    write: Option<&'a str>,
}

/// What a config allows. Keys as in the file; values of variables are not shown.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    sandbox_name: String,
    network_mode: &'static str,
    http_domain_whitelist: Vec<String>,
    http_domain_denylist: Vec<String>,
    presets: Vec<PresetSummary>,
    host_ports: Vec<u16>,
    llm_endpoints: Vec<String>,
    tcp_endpoints: Vec<String>,
    env: Vec<String>,
    env_passthrough: Vec<Passthrough>,
    read_only_paths: Vec<String>,
}

#[derive(Serialize)]
struct PresetSummary {
    name: String,
    hosts: usize,
}

#[derive(Serialize)]
struct Passthrough {
    inside: String,
    host: String,
}

/// Runs `ocs policy check`.
///
/// # Errors
/// There is no config, or stdout cannot be written to. A wrong config is not an error of the command: exit 64.
pub(super) fn run(
    args: &CheckArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let file = ConfigFile::find(args.config.as_deref(), world)?;
    let name = file.short_name();
    let parsed = file.parse();
    let (errors, warnings) = match &parsed {
        Ok((_, warnings)) => (&[][..], warnings.as_slice()),
        Err(errors) => (errors.errors(), &[][..]),
    };
    let summary = parsed.as_ref().ok().map(|(config, _)| Summary::of(config));
    if args.json {
        let (errors, warnings) = (
            errors.iter().map(mistake),
            warnings.iter().map(|Warning(warning)| mistake(warning)),
        );
        let (errors, warnings): (Vec<_>, Vec<_>) = (errors.collect(), warnings.collect());
        console.document(&Document {
            v: 1,
            ok: summary.is_some(),
            file: &name,
            errors,
            warnings,
            summary,
        })?;
    } else {
        say(errors, warnings, console);
        if let Some(summary) = summary {
            let ok = console.styled(Style::Good, "ok");
            console.line(format_args!("{}: {ok}", escaped(&name)))?;
            for (label, items) in summary.rows() {
                show_row(label, &items, console)?;
            }
        }
    }
    Ok(if parsed.is_ok() {
        Exit::Ok
    } else {
        Exit::Usage
    })
}

fn say(errors: &[ConfigError], warnings: &[Warning], console: &mut Console<'_>) {
    for error in errors {
        let label = console.styled_note(Style::Bad, "error:");
        console.note(format_args!("{label} {}", escaped(&error.to_string())));
    }
    for Warning(warning) in warnings {
        let label = console.styled_note(Style::Warn, "warning:");
        console.note(format_args!("{label} {}", escaped(&warning.to_string())));
    }
    if let [_, ..] = errors {
        let mistakes = if errors.len() == 1 {
            "mistake"
        } else {
            "mistakes"
        };
        console.note(format_args!(
            "{} {mistakes}; nothing would be started",
            errors.len()
        ));
    }
}

fn show_row(label: &str, items: &[String], console: &mut Console<'_>) -> Result<(), Failure> {
    let none = ["none".to_owned()];
    let items = if items.is_empty() { &none[..] } else { items };
    for (index, item) in items.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        console.line(format_args!("  {label:<16} {}", escaped(item)))?;
    }
    Ok(())
}

fn mistake(error: &ConfigError) -> Mistake<'_> {
    Mistake {
        line: error.line,
        column: error.column,
        message: &error.message,
        write: error.write.as_deref(),
    }
}

impl Summary {
    fn of(config: &Config) -> Self {
        let preset = |name: &str| PresetSummary {
            name: name.to_owned(),
            hosts: config
                .allow()
                .filter(|(_, rule)| rule.file.strip_prefix("preset:") == Some(name))
                .count(),
        };
        let listed = config
            .allow()
            .filter(|(_, rule)| !rule.file.starts_with("preset:"));
        let passed = config.env_passthrough().iter();
        Self {
            sandbox_name: config.sandbox_name().to_string(),
            network_mode: config.mode().code(),
            http_domain_whitelist: listed.map(|(pattern, _)| pattern.to_string()).collect(),
            http_domain_denylist: config
                .deny()
                .map(|(pattern, _)| pattern.to_string())
                .collect(),
            presets: config.presets().map(preset).collect(),
            host_ports: config.host_ports().map(policies::Port::get).collect(),
            llm_endpoints: config
                .llm_endpoints()
                .iter()
                .map(ToString::to_string)
                .collect(),
            tcp_endpoints: config
                .tcp_endpoints()
                .iter()
                .map(|endpoint| endpoint.destination.to_string())
                .collect(),
            env: config
                .env()
                .iter()
                .map(|(name, _)| name.to_string())
                .collect(),
            env_passthrough: passed
                .map(|pass| Passthrough {
                    inside: pass.inside.to_string(),
                    host: pass.host.to_string(),
                })
                .collect(),
            read_only_paths: config
                .read_only_paths()
                .iter()
                .map(|path| path.as_str().to_owned())
                .collect(),
        }
    }

    /// The same for people, one row each.
    fn rows(&self) -> [(&'static str, Vec<String>); 9] {
        let presets = self
            .presets
            .iter()
            .map(|preset| format!("preset {}: {} hosts", preset.name, preset.hosts));
        let allowed = self.http_domain_whitelist.iter().cloned().chain(presets);
        let passed = self
            .env_passthrough
            .iter()
            .map(|pass| format!("{} from ${}", pass.inside, pass.host));
        let set = self.env.iter().map(|name| format!("{name} set here"));
        [
            ("sandbox", vec![self.sandbox_name.clone()]),
            ("network mode", vec![self.network_mode.to_owned()]),
            ("allowed hosts", allowed.collect()),
            ("refused hosts", self.http_domain_denylist.clone()),
            (
                "host ports",
                self.host_ports
                    .iter()
                    .map(|port| format!("docker.host:{port}"))
                    .collect(),
            ),
            ("model servers", self.llm_endpoints.clone()),
            ("raw TCP", self.tcp_endpoints.clone()),
            ("variables", passed.chain(set).collect()),
            ("shown read-only", self.read_only_paths.clone()),
        ]
    }
}
