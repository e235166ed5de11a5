//! `warm [ROUNDS]`: how long a task takes that brings up its own sandbox and OpenCode, beside one that goes to a server that runs;
//! and how long `ocs task` takes until the agent's program begins. Lower medians in milliseconds, on stdout.
//! Needs: OpenCode in `target/agent` (`make agent`), and the binaries that it is to measure in `OCS_BIN_DIR`.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use harness::desk::{Desk, POLICY};
use harness::model::Step;
use harness::project::Project;
use harness::world::As;
use serde_json::Value;

fn main() -> Result<()> {
    let rounds = std::env::args()
        .nth(1)
        .map_or(Ok(5), |rounds| rounds.parse())?;
    let mut desk = Desk::scripted(As::Ordinary, &[Step::Say("Said.".to_owned())])?;
    let tell = "sandbox-name: bare\nagent:\n  tool: [date, '+%s%N']\n";
    let bare = desk.project("bare", tell)?;
    let project = desk.project("project", POLICY)?;
    let begins = rows(rounds, || until_agent(&desk, &bare))?;
    let cold = rows(rounds, || took(&desk, &project, &["x"]))?;
    desk.call(&project, &["ocs", "conductor", "--detach"])?
        .succeeded()?;
    took(&desk, &project, &["--attach", "x"])?;
    let warm = rows(rounds, || took(&desk, &project, &["--attach", "x"]))?;
    desk.call(&project, &["ocs", "stop"])?.succeeded()?;
    writeln!(
        std::io::stdout(),
        "ocs task until the agent's program begins: {begins} ms\nOpenCode, one answer of the model, cold: {cold} ms\n\
         the same, attached: {warm} ms"
    )?;
    desk.close()
}

/// The lower median.
fn rows(rounds: usize, mut one: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut all = (0..rounds).map(|_| one()).collect::<Result<Vec<_>>>()?;
    all.sort_unstable();
    all.get(rounds.saturating_sub(1) / 2)
        .copied()
        .context("no rounds")
}

/// What the task's document says that it took.
fn took(desk: &Desk, project: &Project<'_>, arguments: &[&str]) -> Result<u64> {
    let task = desk.task(project, arguments, None)?;
    anyhow::ensure!(
        task.field("ok") == &Value::Bool(true),
        "{:#?}",
        task.finished
    );
    task.field("duration_ms").as_u64().context("a duration")
}

/// From before `ocs` is called to the first line of an agent that says what time it is.
fn until_agent(desk: &Desk, project: &Project<'_>) -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let task = desk.task(project, &["x"], None)?;
    let begun: u128 = task
        .text("result")
        .trim()
        .parse()
        .with_context(|| format!("{:#?}", task.finished))?;
    Ok(u64::try_from((begun - now) / 1_000_000)?)
}
