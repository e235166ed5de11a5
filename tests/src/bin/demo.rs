//! `make run`: plays the rehearsal and tells what happened. Ends with 0 only if exactly that happened which had to.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use harness::binaries;
use harness::rehearsal::play;
use harness::world::As;

fn main() -> Result<ExitCode> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "A real OpenCode works on example/ behind the fence. Its model server is a script, its internet a"
    )?;
    writeln!(
        out,
        "network namespace with no way out; this takes some seconds."
    )?;
    let rehearsal = play(As::Ordinary)?;
    writeln!(out, "\n{}", rehearsal.agent.stderr.trim())?;
    rehearsal.tell(&mut out)?;
    let kept =
        rehearsal.keep_record(&PathBuf::from(binaries::repository()).join("target/rehearsal"))?;
    writeln!(out, "The record: {}", kept.display())?;
    let differences = rehearsal.differences()?;
    if differences.is_empty() {
        writeln!(out, "\nExactly what had to happen happened.")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "\nThis is NOT what had to happen:\n{}",
        differences.join("\n")
    )?;
    Ok(ExitCode::FAILURE)
}
