//! The tests' only door to other programs.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// A command that inherits nothing of the environment but a plain `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "tests drive real programs; this is the one place that makes commands"
)]
#[must_use]
pub fn new(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
    command
}

/// Where the system's programs are; administrators' ones too, since `ip` and `nft` live there.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs to the end; anything but success is an error that shows what the command said.
///
/// # Errors
/// The program is missing, or did not succeed.
pub fn output(mut command: Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(output)
}
