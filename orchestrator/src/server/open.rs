//! `ocs web`, `web-auth` and `terminal`: COMPATIBILITY 4.13. Each becomes the program that opens the server.
//! Clauses: B6.
use std::path::PathBuf;

use super::password::Password;
use super::running;
use crate::cli::TerminalArgs;
use crate::console::Console;
use crate::engine::staying::become_program;
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::tools::{Profile, on_path};
use crate::world::World;

/// Runs `ocs web`.
///
/// # Errors
/// The server does not run, or nothing here opens an address (exit 1).
pub(crate) fn web(world: &World, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let project = super::project(world, console)?;
    open(&running(&project)?.url, &project, world, console)
}

/// Runs `ocs web-auth`.
///
/// # Errors
/// As `ocs web`.
pub(crate) fn web_auth(world: &World, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let project = super::project(world, console)?;
    let facts = running(&project)?;
    let password = Password::read(project.state())?;
    console.note("the address that is opened holds the password: programs of yours can see it while the browser starts, and the browser may keep it; ocs web and the file opencode-password avoid that");
    let address = format!(
        "http://opencode:{}@127.0.0.1:{}",
        password.as_str(),
        facts.port
    );
    open(&address, &project, world, console)
}

/// Runs `ocs terminal`.
///
/// # Errors
/// The server does not run, or the tool is not installed on this host (exit 69).
pub(crate) fn terminal(
    args: &TerminalArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = super::project(world, console)?;
    let (config, _) = project.config()?;
    let facts = running(&project)?;
    let profile = Profile::found(&config.agent().tool, world);
    let missing = |what: String| {
        Failure::new(Exit::Missing, what).next("install it on this host, or: ocs web-auth")
    };
    let words = profile
        .attaching(&facts.url, &args.arguments)
        .ok_or_else(|| missing(format!("{} has no client for a terminal", profile.name)))?;
    let (name, rest) = words
        .split_first()
        .ok_or_else(|| missing("no tool".to_owned()))?;
    let program = on_path(name, Some(project.root()), world)
        .ok_or_else(|| missing(format!("`{name}` is not installed on this host")))?;
    let password = Password::read(project.state())?;
    let variable = profile.server.map_or("", |server| server.password);
    let error = become_program(&program, rest, &[(variable, password.as_str())]);
    Err(Failure::new(Exit::Missing, format!("start {}", program.display())).because(error))
}

fn open(
    address: &str,
    project: &Project,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let find = |name: &str| on_path(name, Some(project.root()), world);
    let Some(opener) = opener(std::env::consts::OS, &find) else {
        console.note("nothing on this host opens an address: neither xdg-open nor open is there");
        console.line(address)?;
        return Ok(Exit::No);
    };
    console.flush()?;
    let error = become_program(&opener, &[address.to_owned()], &[]);
    Err(Failure::new(Exit::No, format!("start {}", opener.display())).because(error))
}

/// macOS: `open`; elsewhere `xdg-open`, then `open`.
fn opener(system: &str, find: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let names: &[&str] = if system == "macos" {
        &["open"]
    } else {
        &["xdg-open", "open"]
    };
    names.iter().find_map(|name| find(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opener_is_the_system_s_own() {
        let both = |name: &str| Some(PathBuf::from(format!("/bin/{name}")));
        let only_open = |name: &str| (name == "open").then(|| PathBuf::from("/bin/open"));
        let none = |_: &str| None;
        assert_eq!(opener("macos", &both), Some("/bin/open".into()));
        assert_eq!(opener("linux", &both), Some("/bin/xdg-open".into()));
        assert_eq!(opener("linux", &only_open), Some("/bin/open".into()));
        assert_eq!(opener("linux", &none), None);
    }
}
