//! `ocs policy reload`: every running sandbox of the project looks at the config now, and says what came of it. It may take
//! over no more than it would by itself: an edit in place, and what a person approved.
//! Clauses: B2, P9, W9.
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::ReloadArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::policy_copy::{OUTCOME, Outcome, WISH};
use crate::project::Project;
use crate::state::living;
use crate::whole_file::write_whole;
use crate::world::World;

/// How long a run may take to answer; it is looked at this often meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(25);

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    v: u32,
    ok: bool,
    runs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run: String,
    /// `applied`, `same`, `replaced`, `wrong`, `unreadable`, `ended` or `silent`.
    outcome: String,
    note: Option<String>,
}

/// Runs `ocs policy reload`.
///
/// # Errors
/// There is no project, the config is wrong (exit 64: nobody is asked), or the state directory cannot be used.
pub(super) fn run(
    args: &ReloadArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(None, world)?;
    project.config()?;
    let state = project.state();
    let runs = living(state).map_err(|error| Failure::of(Exit::No, &error))?;
    let since = world
        .now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let wish = format!("{}-{}", since.as_nanos(), std::process::id());
    if !runs.is_empty() {
        write_whole(&state.path().join(WISH), wish.as_bytes())?;
    }
    let until = Instant::now() + PATIENCE;
    let rows: Vec<Row> = runs.iter().map(|run| answer(run, &wish, until)).collect();
    let is_good = |row: &Row| matches!(row.outcome.as_str(), "applied" | "same" | "ended");
    let ok = rows.iter().all(is_good);
    let exit = if ok {
        Exit::Ok
    } else if rows.iter().any(|row| row.outcome == "wrong") {
        Exit::Usage
    } else {
        Exit::No
    };
    if args.json {
        console.document(&Document {
            v: 1,
            ok,
            runs: rows,
        })?;
        return Ok(exit);
    }
    if rows.is_empty() {
        console.line("no sandbox of this project runs; the next start reads the config")?;
    }
    for row in &rows {
        let style = if is_good(row) {
            Style::Good
        } else {
            Style::Bad
        };
        let outcome = console.styled(style, &row.outcome);
        console.line(format_args!("{}: {outcome}", escaped(&row.run)))?;
        for line in row.note.iter().flat_map(|note| note.lines()) {
            console.line(format_args!("  {}", escaped(line)))?;
        }
    }
    Ok(exit)
}

fn answer(run: &Path, wish: &str, until: Instant) -> Row {
    let row = |outcome: &str, note| Row {
        run: run
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        outcome: outcome.to_owned(),
        note,
    };
    loop {
        let text = std::fs::read(run.join(OUTCOME)).unwrap_or_default();
        match serde_json::from_slice::<Outcome>(&text) {
            Ok(came) if came.wish == wish => return row(&came.outcome, came.note),
            Ok(_) | Err(_) if !run.is_dir() => return row("ended", None),
            Ok(_) | Err(_) if Instant::now() >= until => {
                let note =
                    "it does not answer: it may still be starting, or runs under an older ocs";
                return row("silent", Some(note.to_owned()));
            }
            Ok(_) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
