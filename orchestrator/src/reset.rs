//! `ocs reset`: clears state of one sandbox, guarded: only below its own state directory, only when nothing of it runs, and
//! only after a phrase was typed (COMPATIBILITY 2.8, O14). Links are removed, never followed; `.gitkeep` stays.
//! Clauses: U3.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::ResetArgs;
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};
use crate::launch;
use crate::project::StateDir;
use crate::server::{self, Standing, look};
use crate::state;
use crate::world::World;

/// What a person types.
const PHRASE: &str = "Yes, do as I say!";
/// What is kept wherever it is.
const KEPT: &str = ".gitkeep";
/// What is made anew when it is needed.
const CACHE: [&str; 13] = [
    "build",
    "docker-build.log",
    "entrypoint.sh",
    "env-passthrough.txt",
    "env.txt",
    "host-ports.txt",
    "mise.toml",
    "opencode.json",
    "server.log",
    "server.log.1",
    "squid-whitelist.txt",
    "squid.conf",
    "supervisor.log",
];

/// Runs `ocs reset`.
///
/// # Errors
/// Nothing was named, something runs, or a place is not what it should be (exit 64).
pub(crate) fn run(
    args: &ResetArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    if !(args.state || args.cache || args.all) {
        return Err(Failure::usage("what is to be cleared was not named")
            .next("ocs reset --state, --cache or --all"));
    }
    let project = server::project(world, console)?;
    let state = project.state();
    guard(state, world)?;
    if look(&state.run()) != Standing::Absent {
        return Err(Failure::usage("the agent's server runs").next("ocs stop"));
    }
    if state.run().is_dir() {
        launch::sweep(&project, console)?;
        if state::is_alive(state).map_err(|error| Failure::of(Exit::No, &error))? {
            return Err(Failure::usage("a run of this sandbox goes on").next("end it first"));
        }
    }
    let places = places(args, state);
    if places.is_empty() {
        console.note("there is nothing to clear");
        return Ok(Exit::Ok);
    }
    for place in &places {
        console.note(format_args!("  {}", place.display()));
    }
    if !args.destroy && !agreed(console)? {
        console.note("cancelled");
        return Ok(Exit::Ok);
    }
    for place in &places {
        clear(place).map_err(|error| {
            Failure::new(Exit::No, format!("clear {}", place.display())).because(error)
        })?;
    }
    console.note("cleared");
    Ok(Exit::Ok)
}

fn agreed(console: &mut Console<'_>) -> Result<bool, Failure> {
    let what = console.styled_note(Style::Warn, "all of the above is removed for good");
    console.note(what);
    console.prompt(format_args!("type `{PHRASE}` to go on: "));
    Ok(console.answer()?.as_deref() == Some(PHRASE))
}

/// Refuses every directory that cannot be one sandbox's state: none, the root, a home, or a link to anywhere.
fn guard(state: &StateDir, world: &World) -> Result<(), Failure> {
    let (root, path) = (state.root(), state.path());
    let refused = || Failure::usage(format!("{} is no sandbox's state", path.display()));
    let home = world.home.as_deref().unwrap_or(Path::new("/"));
    let below = path.strip_prefix(root).map_err(|_| refused())?;
    let is_one_name = below.components().count() == 1 && below.file_name().is_some();
    let is_home = [root, path].iter().any(|place| home.starts_with(place));
    if !path.is_absolute() || !is_one_name || is_home {
        return Err(refused());
    }
    for place in [root, path] {
        let found = place.symlink_metadata();
        if found.is_ok_and(|found| !found.is_dir()) {
            return Err(Failure::usage(format!(
                "{} is no directory of ours",
                place.display()
            )));
        }
    }
    Ok(())
}

/// What is there to be cleared.
fn places(args: &ResetArgs, state: &StateDir) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if args.all {
        places.push(state.path().to_owned());
    }
    if args.state {
        places.push(state.agent());
    }
    if args.cache {
        places.extend(CACHE.map(|name| state.path().join(name)));
    }
    places.retain(|place| place.symlink_metadata().is_ok());
    places
}

/// Removes a file, or all that a directory holds and the directory, but for what is kept.
fn clear(place: &Path) -> io::Result<()> {
    if !place.symlink_metadata()?.is_dir() {
        return fs::remove_file(place);
    }
    let mut empty = true;
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name() == KEPT {
            empty = false;
            continue;
        }
        clear(&entry.path())?;
        empty &= entry.path().symlink_metadata().is_err();
    }
    if empty { fs::remove_dir(place) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox_id::SandboxId;

    fn state(home: &Path) -> StateDir {
        let name = policies::SandboxName::parse("x").unwrap();
        StateDir::new(home, &SandboxId::new(&name, Path::new("/p")))
    }

    #[test]
    fn links_are_removed_and_not_followed_and_gitkeep_stays() {
        let keep = tempfile::tempdir().unwrap();
        let (inside, outside) = (keep.path().join("in"), keep.path().join("out"));
        for directory in [&inside.join("a/b"), &inside.join("c"), &outside] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(outside.join("precious"), "x").unwrap();
        fs::write(inside.join("a/b/.gitkeep"), "").unwrap();
        fs::write(inside.join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("c/link")).unwrap();
        clear(&inside).unwrap();
        assert!(outside.join("precious").exists());
        assert!(inside.join("a/b/.gitkeep").exists());
        assert!(!inside.join("a/b/file").exists() && !inside.join("c").exists());
    }

    #[test]
    fn a_state_directory_that_is_a_link_or_holds_the_home_is_refused() {
        let keep = tempfile::tempdir().unwrap();
        let home = keep.path().join("home");
        let of = |home: &Path| World::of(home, home, vec![]);
        fs::create_dir_all(home.join(".opencode-sandbox")).unwrap();
        assert_eq!(guard(&state(&home), &of(&home)), Ok(()));
        let inner = state(&home).path().join("inner");
        assert!(guard(&state(&home), &of(&inner)).is_err());
        std::os::unix::fs::symlink("/", state(&home).path()).unwrap();
        assert!(guard(&state(&home), &of(&home)).is_err());
    }

    #[test]
    fn only_what_was_named_and_is_there_is_cleared() {
        let keep = tempfile::tempdir().unwrap();
        let state = state(keep.path());
        fs::create_dir_all(state.agent()).unwrap();
        fs::create_dir_all(state.audit()).unwrap();
        fs::write(state.path().join("server.log"), "").unwrap();
        let args = |state, cache, all| ResetArgs {
            state,
            cache,
            all,
            destroy: true,
        };
        assert_eq!(places(&args(true, false, false), &state), [state.agent()]);
        let log = state.path().join("server.log");
        assert_eq!(places(&args(false, true, false), &state), [log]);
        assert_eq!(places(&args(false, false, true), &state), [state.path()]);
    }
}
