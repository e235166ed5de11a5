//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::command;

static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The directory that holds `ocs`, `ocs-proxy`, `ocs-netctl` and the tests' own programs.
///
/// `OCS_BIN_DIR` names it where a caller has built them (`make` does). Otherwise they are built here, once per test
/// process, so that a test never runs against programs older than the source.
///
/// # Errors
/// They could not be built, or are not there.
pub fn directory() -> Result<&'static Path> {
    let built = BUILT.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    built
        .as_ref()
        .map(PathBuf::as_path)
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// The repository's root.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The directory of the running profile's own programs: `world`, `model-server`.
///
/// # Errors
/// The running program has no place.
pub fn ours() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("find the running program")?;
    let directory = exe
        .parent()
        .context("the running program has no directory")?;
    let above = if directory.ends_with("deps") {
        directory.parent()
    } else {
        Some(directory)
    };
    above
        .map(Path::to_owned)
        .context("the running program has no profile directory")
}

fn find() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("OCS_BIN_DIR") {
        let given = PathBuf::from(given);
        for program in ["ocs", "ocs-proxy", "ocs-netctl"] {
            ensure!(
                given.join(program).is_file(),
                "{} has no {program}: `make build` first",
                given.display()
            );
        }
        return Ok(given);
    }
    let cargo = std::env::var_os("CARGO")
        .context("neither OCS_BIN_DIR nor CARGO is set: run through cargo or make")?;
    let mut command = command::new(&cargo.to_string_lossy());
    for name in [
        "HOME",
        "PATH",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "CARGO_TARGET_DIR",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.args([
        "build",
        "--quiet",
        "-p",
        "orchestrator",
        "-p",
        "proxy",
        "-p",
        "netctl",
        "--bins",
    ]);
    command.current_dir(repository());
    command::output(command).context("build the programs under test")?;
    ours()
}
