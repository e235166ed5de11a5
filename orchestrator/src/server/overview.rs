//! What is shown before a server starts: COMPATIBILITY 4.12 (d), values of the host never.
use policies::Config;

use super::lease::Facts;
use crate::console::{Console, Style, escaped};
use crate::environment::Skipped;
use crate::launch;

/// Shows it.
pub(super) fn show(
    facts: &Facts,
    inside: &launch::Facts,
    config: &Config,
    skipped: &[Skipped],
    console: &mut Console<'_>,
) {
    let mut say = |head: &str, text: &str| {
        let head = console.styled_note(Style::Bold, format!("{head:<11}"));
        console.note(format_args!("{head} {}", escaped(text)));
    };
    say("sandbox", &format!("opencode-sandbox-{}", facts.sandbox));
    say(
        "engine",
        &format!("{}, network-mode {}", facts.engine, facts.mode),
    );
    say("url", &facts.url);
    let (host, inside) = (facts.project.display(), inside.project.display());
    say("workspace", &format!("{host} as {inside}"));
    list("env vars", variables(config, skipped), console);
    list("whitelist", whitelist(config), console);
    let ports = config
        .host_ports()
        .map(|port| format!("docker.host:{port}"));
    list("host ports", ports.collect(), console);
}

fn list(head: &str, entries: Vec<String>, console: &mut Console<'_>) {
    let mut head = head;
    let entries = if entries.is_empty() {
        vec!["(none)".to_owned()]
    } else {
        entries
    };
    for entry in entries {
        let label = console.styled_note(Style::Bold, format!("{head:<11}"));
        console.note(format_args!("{label} {}", escaped(&entry)));
        head = "";
    }
}

/// Of what is passed through, names only; what stands in the config is no secret.
fn variables(config: &Config, skipped: &[Skipped]) -> Vec<String> {
    let passed = config.env_passthrough().iter().map(|passed| {
        let (inside, host) = (passed.inside.as_str(), passed.host.as_str());
        if skipped.iter().any(|skipped| skipped.inside == inside) {
            format!("{inside} (skipped \u{2014} ${host} not set on host)")
        } else {
            format!("{inside} (from ${host})")
        }
    });
    let fixed = config
        .env()
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    passed.chain(fixed).collect()
}

fn whitelist(config: &Config) -> Vec<String> {
    let own = config
        .allow()
        .filter(|(_, rule)| !rule.file.starts_with("preset:"))
        .map(|(pattern, _)| pattern.to_string());
    let presets = config.presets().map(|name| format!("preset {name}"));
    own.chain(presets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let source = policies::Source { name: "c", text };
        Config::parse(&source).unwrap().0
    }

    #[test]
    fn of_variables_that_are_passed_through_only_the_names_are_shown() {
        let config = config(
            "sandbox-name: x\nenv-passthrough:\n  A: HOST_A\n  B: HOST_B\nenv:\n  C: plain\n",
        );
        let skipped = [Skipped {
            inside: "B".to_owned(),
            host: "HOST_B".to_owned(),
        }];
        assert_eq!(
            variables(&config, &skipped),
            [
                "A (from $HOST_A)",
                "B (skipped \u{2014} $HOST_B not set on host)",
                "C=plain"
            ]
        );
    }

    #[test]
    fn of_presets_the_names_are_shown_and_of_the_list_the_entries() {
        let config = config(
            "sandbox-name: x\npresets: [github]\nhttp-domain-whitelist: [.a.test, b.test:8443]\n",
        );
        assert_eq!(
            whitelist(&config),
            [".a.test", "b.test:8443", "preset github"]
        );
    }
}
