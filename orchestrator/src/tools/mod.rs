//! The agent tools, as data: how each is started to do one task, to serve, to be attached to, and what its events say.
//!
//! Responsible for command lines, variables and event streams of tools that we do not write and that change between
//! versions. Not for starting them (`launch`), and not for their model servers (`provider`).
//!
//! A task never stands on a command line or in a variable: every profile reads it from stdin, which is a file. Only
//! OpenCode 1.x is run by our suites; the other profiles are declared from their documentation.
//! Clauses: O5, O6, O7.

mod events;
mod profiles;
mod version;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use policies::Tool;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::world::World;
pub(crate) use events::{Events, Tokens, Told, of_messages};
pub(crate) use version::Version;

/// How one tool is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The program, and the words that always follow it.
    pub(crate) program: Vec<String>,
    /// For a person at a terminal.
    interactive: &'static [&'static str],
    /// For one task, read from stdin to its end, with nobody there to be asked.
    headless: &'static [&'static str],
    /// What names the session to go on with.
    session: Option<&'static str>,
    /// Its server, where it has one.
    pub(crate) server: Option<Server>,
    /// What it writes to stdout while it does a task.
    pub(crate) events: Events,
    /// The directory below the home where it keeps its sessions.
    pub(crate) state: Option<&'static str>,
    /// The variable that names a config file of ours, where there is such a thing.
    pub(crate) config: Option<&'static str>,
    /// What names a file of MCP servers on its command line, in the form of Claude Code, where it takes one.
    pub(crate) mcp_servers: Option<&'static str>,
    /// What it should know of a box: no updates, no catalogues, nothing that would be refused anyway.
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

/// A tool's own server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// To serve programs.
    api: &'static [&'static str],
    /// To serve people too.
    web: &'static [&'static str],
    /// A terminal's client on the host; the URL follows.
    attach: &'static [&'static str],
    /// A task's client in the box, after the words of `headless`; the URL follows.
    client: &'static str,
    /// Answers 200 to who knows the password, once it serves.
    pub(crate) health: &'static str,
    /// The account of its basic authentication.
    pub(crate) user: &'static str,
    /// The variable that gives it, and its clients, the password.
    pub(crate) password: &'static str,
}

/// Whom a server is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Face {
    /// Programs.
    Api,
    /// People with a browser, and programs.
    Web,
}

/// What a task is to go on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Onto<'a> {
    /// The URL of a server, as seen in the box.
    pub(crate) server: Option<&'a str>,
    /// A session's id.
    pub(crate) session: Option<&'a str>,
}

impl Profile {
    /// The profile of a tool that the config names. `version` is that of its program, where it is known.
    pub(crate) fn of(tool: &Tool, version: Option<Version>) -> Self {
        match tool {
            Tool::OpenCode => profiles::opencode(vec!["opencode".to_owned()], version),
            Tool::Omp => profiles::omp(vec!["omp".to_owned()]),
            Tool::Command(words) => match words.first().map(String::as_str) {
                Some("opencode") => profiles::opencode(words.clone(), version),
                Some("opencode2") => {
                    profiles::opencode(words.clone(), Some(Version { major: 2, minor: 0 }))
                }
                Some("omp") => profiles::omp(words.clone()),
                Some("claude") => profiles::claude(words.clone()),
                Some(_) | None => profiles::command(words.clone()),
            },
        }
    }

    /// The same, with the version that is installed on the host: the one that the box will show.
    pub(crate) fn found(tool: &Tool, world: &World) -> Self {
        let profile = Self::of(tool, None);
        let path = world.variable("PATH").unwrap_or_default();
        let version = profile.program.first().and_then(|program| {
            let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
            version::beside(&places.find(|place| place.is_file())?)
        });
        match version {
            Some(version) => Self::of(tool, Some(version)),
            None => profile,
        }
    }

    /// The tool that somebody names on the command line: one word, a program.
    ///
    /// # Errors
    /// It is no program's name.
    pub(crate) fn named(name: &str) -> Result<Tool, Failure> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        match name {
            "opencode" => Ok(Tool::OpenCode),
            "omp" => Ok(Tool::Omp),
            _ if !name.is_empty() && !name.starts_with(['-', '.']) && name.bytes().all(inner) => {
                Ok(Tool::Command(vec![name.to_owned()]))
            }
            _ => Err(Failure::usage(format!(
                "`{}` is no tool: a program's name of letters, digits, `-`, `_` and `.`",
                name.escape_debug()
            ))
            .next("--tool opencode")),
        }
    }

    /// The command line of one task.
    pub(crate) fn headless(&self, onto: Onto<'_>, more: &[String]) -> Vec<String> {
        let mut words = self.with(self.headless);
        if let (Some(server), Some(url)) = (&self.server, onto.server) {
            words.extend([server.client.to_owned(), url.to_owned()]);
        }
        if let (Some(flag), Some(session)) = (self.session, onto.session) {
            words.extend([flag.to_owned(), session.to_owned()]);
        }
        words.extend_from_slice(more);
        words
    }

    /// The command line for a person at a terminal.
    pub(crate) fn interactive(&self, more: &[String]) -> Vec<String> {
        let mut words = self.with(self.interactive);
        words.extend_from_slice(more);
        words
    }

    /// The command line of its server on `port` of the box's loopback, where it has one.
    pub(crate) fn serving(&self, face: Face, port: u16) -> Option<Vec<String>> {
        let server = self.server?;
        let mut words = self.with(match face {
            Face::Api => server.api,
            Face::Web => server.web,
        });
        words.extend(["--hostname".to_owned(), "127.0.0.1".to_owned()]);
        words.extend(["--port".to_owned(), port.to_string()]);
        Some(words)
    }

    /// The command line of a terminal's client on the host, where the tool has one.
    pub(crate) fn attaching(&self, url: &str, more: &[String]) -> Option<Vec<String>> {
        let server = self.server?;
        let mut words = self.with(server.attach);
        words.push(url.to_owned());
        words.extend_from_slice(more);
        Some(words)
    }

    fn with(&self, words: &[&str]) -> Vec<String> {
        let mut all = self.program.clone();
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }
}

/// The version of the program at `path`, where its package says it.
#[cfg(test)]
fn version_at(path: &Path) -> Option<Version> {
    version::beside(path)
}

/// A program of that name, as the host's `PATH` has it. For one that runs on this host nothing below `project` counts: the
/// agent could have put it there.
pub(crate) fn on_path(name: &str, project: Option<&Path>, world: &World) -> Option<PathBuf> {
    let path = world.variable("PATH")?;
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_default();
    let within = |path: &PathBuf| {
        let above = path.parent().unwrap_or(path);
        project.is_some_and(|project| {
            real(path).starts_with(project) || real(above).starts_with(project)
        })
    };
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_program(path) && !within(path))
}

#[cfg(test)]
mod tests;
