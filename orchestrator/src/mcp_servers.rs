//! `agent.mcp-config`: the MCP servers that a project names for its agent, read from a file and checked. They run in the box.
//!
//! The file may be the agent's to write, and so may what leads to it: it is read through the kernel's containment, from the
//! project or a listed place, so that nothing is read for the box that the box would not show anyhow. A mistake in it costs
//! the servers that it concerns, never the start (COMPATIBILITY 1.6).
//! Clauses: B1, O10.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use policies::Config;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::mcp::Files;
use crate::project::Project;

/// Servers by name.
pub(crate) type Servers = BTreeMap<String, Server>;

/// One server, as OpenCode has it (its documentation, "MCP servers").
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Server {
    /// A program of the box.
    Local {
        command: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        environment: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        enabled: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<u32>,
    },
    /// A host, which must be listed like any other.
    Remote {
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        headers: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        enabled: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<u32>,
    },
}

/// The servers that the config's file names, and what is wrong with others.
pub(crate) fn read(project: &Project, config: &Config, home: &Path) -> (Servers, Vec<String>) {
    let Some(name) = &config.agent().mcp_config else {
        return (Servers::new(), Vec::new());
    };
    match find(name, &places(project, config, home), home) {
        Ok(text) => understood(&text),
        Err(why) => (Servers::new(), vec![format!("agent.mcp-config: {why}")]),
    }
}

/// Where it may lie: as it is asked for, and where that really is.
fn places(project: &Project, config: &Config, home: &Path) -> Vec<(PathBuf, PathBuf)> {
    let root = project.root().to_owned();
    let listed = config.read_only_paths().iter().filter_map(|path| {
        let at = path.expand(home);
        Some((at.clone(), at.canonicalize().ok()?))
    });
    std::iter::once((root.clone(), root))
        .chain(listed)
        .collect()
}

/// The text of the first that can be read; the first complaint where none can.
fn find(name: &str, places: &[(PathBuf, PathBuf)], home: &Path) -> Result<String, String> {
    let wanted = match name.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(name),
    };
    let mut complaint = None;
    for (at, real) in places {
        let below = if wanted.is_absolute() {
            wanted
                .strip_prefix(at)
                .or_else(|_| wanted.strip_prefix(real))
        } else {
            Ok(wanted.as_path())
        };
        let Ok(below) = below else {
            continue;
        };
        let (root, below) = match (real.is_dir(), real.parent(), real.file_name()) {
            (false, Some(above), Some(name)) if below.as_os_str().is_empty() => {
                (above, Path::new(name))
            }
            (_, _, _) => (real.as_path(), below),
        };
        let read = Files::of(root)
            .map_err(|error| format!("{}: {error}", root.display()))
            .and_then(|files| files.read(&below.to_string_lossy()));
        match read {
            Ok(text) => return Ok(text),
            Err(error) => complaint = complaint.or(Some(error)),
        }
    }
    Err(complaint.unwrap_or_else(|| {
        format!("`{name}` lies neither in the project nor in a place of read-only-paths")
    }))
}

fn understood(text: &str) -> (Servers, Vec<String>) {
    let wrong = |why: String| vec![format!("agent.mcp-config: {why}")];
    let listed: Map<String, Value> = match serde_json::from_str(text) {
        Ok(listed) => listed,
        Err(error) => return (Servers::new(), wrong(error.to_string())),
    };
    let (mut servers, mut warnings) = (Servers::new(), Vec::new());
    for (name, value) in listed {
        match serde_json::from_value(value) {
            Ok(Server::Local { command, .. }) if command.is_empty() => {
                warnings.extend(wrong(format!("`{name}`: its command is empty")));
            }
            Ok(server) => drop(servers.insert(name, server)),
            Err(error) => warnings.extend(wrong(format!("`{name}`: {error}"))),
        }
    }
    (servers, warnings)
}

/// The same as Claude Code's `--mcp-config` takes them (its documentation, "Connect Claude Code to tools via MCP").
pub(crate) fn for_claude(servers: &Servers) -> Value {
    let mut listed = Map::new();
    for (name, server) in servers {
        let value = match server {
            Server::Local {
                enabled: Some(false),
                ..
            }
            | Server::Remote {
                enabled: Some(false),
                ..
            } => {
                continue;
            }
            Server::Local {
                command,
                environment,
                ..
            } => {
                let (program, arguments) = command.split_first().unzip();
                json!({"type": "stdio", "command": program, "args": arguments, "env": environment.clone().unwrap_or_default()})
            }
            Server::Remote { url, headers, .. } => {
                json!({"type": "http", "url": url, "headers": headers.clone().unwrap_or_default()})
            }
        };
        listed.insert(name.clone(), value);
    }
    json!({ "mcpServers": listed })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const ONE: &str = r#"{"a": {"type": "local", "command": ["x", "y"], "enabled": true}}"#;

    fn found(name: &str, places: &[&Path], home: &Path) -> Result<String, String> {
        let places: Vec<_> = places
            .iter()
            .map(|at| (at.to_path_buf(), at.canonicalize().unwrap()))
            .collect();
        find(name, &places, home)
    }

    #[test]
    fn a_file_is_found_in_the_project_then_in_the_listed_places_and_nowhere_else() {
        let keep = tempfile::tempdir().unwrap();
        let home = keep.path().canonicalize().unwrap();
        let (project, shared) = (home.join("project"), home.join("shared"));
        for directory in [&project, &shared] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(shared.join("both.json"), "shared").unwrap();
        fs::write(home.join("secret.json"), "{}").unwrap();
        let places = [project.as_path(), shared.as_path()];
        let text = |name: &str| found(name, &places, &home);
        assert_eq!(text("both.json"), Ok("shared".to_owned()));
        fs::write(project.join("both.json"), "project").unwrap();
        assert_eq!(text("both.json"), Ok("project".to_owned()));
        assert_eq!(text("~/shared/both.json"), Ok("shared".to_owned()));
        let absolute = shared.join("both.json");
        assert_eq!(text(&absolute.to_string_lossy()), Ok("shared".to_owned()));
        assert_eq!(
            found("~/shared/both.json", &[&project, &absolute], &home),
            Ok("shared".to_owned())
        );
        let outside =
            "`~/secret.json` lies neither in the project nor in a place of read-only-paths";
        assert_eq!(text("~/secret.json"), Err(outside.to_owned()));
        assert!(text("none.json").unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_link_of_the_agent_s_reads_nothing_of_the_host() {
        let keep = tempfile::tempdir().unwrap();
        let project = keep.path().join("project");
        fs::create_dir(&project).unwrap();
        fs::write(keep.path().join("secret.json"), ONE).unwrap();
        symlink("../secret.json", project.join("up.json")).unwrap();
        symlink(keep.path().join("secret.json"), project.join("to.json")).unwrap();
        symlink("/proc/self/root/etc/hostname", project.join("magic.json")).unwrap();
        for name in ["up.json", "to.json", "magic.json"] {
            let expected = format!("{name} leads out of the project");
            assert_eq!(found(name, &[&project], keep.path()), Err(expected));
        }
    }

    #[test]
    fn what_is_wrong_costs_the_servers_that_it_concerns() {
        let text = r#"{
            "good": {"type": "remote", "url": "https://ok.test/mcp", "headers": {"X": "{env:KEY}"}, "timeout": 5000},
            "none": {"type": "local", "command": []},
            "word": {"type": "local", "command": "x"},
            "more": {"type": "local", "command": ["x"], "shell": true},
            "kind": {"command": ["x"]},
            "list": []
        }"#;
        let (servers, warnings) = understood(text);
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(
            serde_json::to_value(&servers).unwrap(),
            json!({"good": {"type": "remote", "url": "https://ok.test/mcp", "headers": {"X": "{env:KEY}"}, "timeout": 5000}})
        );
        let about: Vec<_> = warnings
            .iter()
            .filter_map(|text| text.split('`').nth(1))
            .collect();
        assert_eq!(about, ["kind", "list", "more", "none", "word"]);
        assert_eq!(understood("[1]").0, Servers::new());
        assert_eq!(understood("[1]").1.len(), 1);
        assert_eq!(understood(ONE).1, Vec::<String>::new());
    }

    #[test]
    fn claude_is_told_of_those_that_are_enabled_in_its_own_form() {
        let text = r#"{
            "off": {"type": "local", "command": ["x"], "enabled": false},
            "here": {"type": "local", "command": ["x", "y"], "environment": {"A": "1"}},
            "there": {"type": "remote", "url": "https://ok.test/mcp"}
        }"#;
        let expected = json!({"mcpServers": {
            "here": {"type": "stdio", "command": "x", "args": ["y"], "env": {"A": "1"}},
            "there": {"type": "http", "url": "https://ok.test/mcp", "headers": {}},
        }});
        assert_eq!(for_claude(&understood(text).0), expected);
    }
}
