//! The project's hook: what it exports feeds `env-passthrough`, as if it had been sourced before the start (COMPATIBILITY
//! 4.12, P16), but in a process of its own. Not responsible for asking whether it may run: that is `approval`.
//! Clauses: U4 (only names that the config lists come out of it), B6 (values are read from a pipe).
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::engine::spawn::{Call, Input, Mark, Messages, SpawnError};
use crate::exit::{Exit, Failure};
use crate::project::HOOK_FILE;
use crate::world::Terminal;

/// Sources the hook with its stdout on our stderr, then prints the environment and a mark. The old scripts sourced it
/// under `set -euo pipefail`, and read shell variables as well as exported ones: hence `set -a`. The redirection of `.`
/// is undone after it, and the pipe that bash keeps meanwhile is closed in every program that the hook starts.
const SCRIPT: &str = r#"set -euo pipefail
set -a
. "./$1" 1>&2
set +a
/usr/bin/env -0
printf '.\0'
exec 1>&2"#;

/// Ends the environment: an entry always has a `=`, so this is none.
const MARK: &[u8] = b"\0.\0";

/// Runs the hook of the project at `root` and gives the values of those of `names` that are set after it; a name that is
/// set but empty is set. `approved` is the hook as a person approved it; without one nothing runs. The hook may take its
/// time, and on a terminal it may ask.
///
/// # Errors
/// The hook is not what was approved, failed, or ended the shell before its own end: the start is off (exit 64, the project
/// is at fault). bash is missing: exit 69.
pub fn run<'n>(
    root: &Path,
    approved: Option<&[u8]>,
    names: impl IntoIterator<Item = &'n str>,
    terminal: Terminal,
) -> Result<BTreeMap<String, OsString>, Failure> {
    let Some(approved) = approved else {
        return Ok(BTreeMap::new());
    };
    // bash opens the file anew, so that the hook knows its own path: what stands there now must be what was judged.
    let now = std::fs::read(root.join(HOOK_FILE));
    if now.ok().as_deref() != Some(approved) {
        return Err(Failure::usage(format!(
            "the hook {HOOK_FILE} changed while it was looked at"
        ))
        .next("ocs policy diff"));
    }
    // Without a terminal stdin belongs to the command that will run in the box.
    let input = if terminal.stdin {
        Input::Ours
    } else {
        Input::Nothing
    };
    let call = Call::new("bash")
        .arguments(["-c", SCRIPT, "ocs", HOOK_FILE])
        .directory(root);
    let ended = call
        .streams(input, Messages::Ours)
        .run_to_mark(MARK)
        .map_err(|error| unstarted(&error))?;
    let failed = |how: String| {
        Err(Failure::usage(format!("the hook {HOOK_FILE} {how}"))
            .next(format!("bash -x {HOOK_FILE}")))
    };
    match ended.status.code() {
        Some(0) if ended.mark == Mark::Missing => {
            failed("ended the shell before its own end".to_owned())
        }
        Some(0) => Ok(picked(&ended.output, names)),
        Some(code) => failed(format!("failed with code {code}")),
        None => failed(format!("was ended by a signal ({})", ended.status)),
    }
}

fn unstarted(error: &SpawnError) -> Failure {
    let exit = if matches!(error, SpawnError::Start { .. }) {
        Exit::Missing
    } else {
        Exit::No
    };
    Failure::of(exit, error)
}

fn picked<'n>(
    environment: &[u8],
    names: impl IntoIterator<Item = &'n str>,
) -> BTreeMap<String, OsString> {
    let entries = environment.split(|byte| *byte == 0).filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let (name, value) = entry.split_at(at);
        Some((OsStr::from_bytes(name), value.get(1..).unwrap_or_default()))
    });
    let entries: BTreeMap<&OsStr, &[u8]> = entries.collect();
    let value_of = |name: &str| {
        entries
            .get(OsStr::new(name))
            .map(|value| OsString::from_vec(value.to_vec()))
    };
    names
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), value_of(name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values, or the failure's code, message and next step.
    type Seen = Result<Vec<(String, String)>, (Exit, String, Option<String>)>;

    /// What the hook `script` gives for the names A, B and C; or its failure's code, message and next step.
    fn run_hook(script: &str) -> Seen {
        let project = tempfile::tempdir().unwrap();
        std::fs::write(project.path().join(HOOK_FILE), script).unwrap();
        let names = ["A", "B", "C"];
        let values = run(
            project.path(),
            Some(script.as_bytes()),
            names,
            Terminal::default(),
        );
        let text = |value: OsString| value.to_string_lossy().into_owned();
        values
            .map(|values| {
                values
                    .into_iter()
                    .map(|(name, value)| (name, text(value)))
                    .collect()
            })
            .map_err(|failure| {
                (
                    failure.exit(),
                    failure.to_string(),
                    failure.next_step().map(str::to_owned),
                )
            })
    }

    fn values(pairs: &[(&str, &str)]) -> Seen {
        Ok(pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect())
    }

    fn failure(how: &str) -> Seen {
        let message = format!("the hook opencode-sandbox-pre-start-container.sh {how}");
        Err((
            Exit::Usage,
            message,
            Some("bash -x opencode-sandbox-pre-start-container.sh".to_owned()),
        ))
    }

    #[test]
    fn exported_and_plain_variables_feed_the_passthrough_and_others_stay_out() {
        let script =
            "export A=exported\nB='plain; with $(chars)'\nOTHER=secret\necho to a person\n";
        assert_eq!(
            run_hook(script),
            values(&[("A", "exported"), ("B", "plain; with $(chars)")])
        );
    }

    #[test]
    fn set_but_empty_is_set_and_unset_is_not() {
        assert_eq!(run_hook("A=\nB=x\nunset B\n"), values(&[("A", "")]));
    }

    #[test]
    fn values_of_many_lines_and_equals_signs_come_through_whole() {
        assert_eq!(
            run_hook("A=$'one\\ntwo=2\\n.'\nB=a=b=\n"),
            values(&[("A", "one\ntwo=2\n."), ("B", "a=b=")])
        );
    }

    #[test]
    fn a_failing_command_ends_the_start() {
        assert_eq!(run_hook("A=1\nfalse\nA=2\n"), failure("failed with code 1"));
        assert_eq!(run_hook("false | true\n"), failure("failed with code 1"));
        assert!(matches!(
            run_hook("A=$NOT_SET_ANYWHERE\n"),
            Err((Exit::Usage, ..))
        ));
        assert_eq!(run_hook("exit 7\n"), failure("failed with code 7"));
    }

    #[test]
    fn a_hook_that_exits_well_before_its_end_ends_the_start_too() {
        assert_eq!(
            run_hook("A=1\nexit 0\n"),
            failure("ended the shell before its own end")
        );
    }

    #[test]
    fn a_hook_that_kills_its_shell_ends_the_start() {
        assert_eq!(
            run_hook("kill -9 $$\n"),
            failure("was ended by a signal (signal: 9 (SIGKILL))")
        );
    }

    #[test]
    fn a_background_process_of_the_hook_is_not_waited_for() {
        assert_eq!(
            run_hook("(while :; do sleep 5; exit; done) &\nA=1\n"),
            values(&[("A", "1")])
        );
    }

    #[test]
    fn what_a_trap_prints_at_the_end_is_not_taken_for_the_environment() {
        assert_eq!(
            run_hook("trap 'printf \"B=forged\\0\"' EXIT\nA=1\n"),
            values(&[("A", "1")])
        );
    }

    #[test]
    fn the_hook_runs_in_the_project_and_knows_its_own_path() {
        let project = tempfile::tempdir().unwrap();
        let script = "A=$(pwd -P)\nB=${BASH_SOURCE[0]}\n";
        std::fs::write(project.path().join(HOOK_FILE), script).unwrap();
        let names = ["A", "B"];
        let values = run(
            project.path(),
            Some(script.as_bytes()),
            names,
            Terminal::default(),
        );
        let root = project.path().canonicalize().unwrap().into_os_string();
        let path = format!("./{HOOK_FILE}").into();
        let expected = BTreeMap::from([("A".to_owned(), root), ("B".to_owned(), path)]);
        assert_eq!(values.unwrap(), expected);
    }

    #[test]
    fn a_hook_that_was_not_approved_does_not_run() {
        let project = tempfile::tempdir().unwrap();
        std::fs::write(project.path().join(HOOK_FILE), "touch ran\n").unwrap();
        let none = run(project.path(), None, ["A"], Terminal::default()).unwrap();
        assert_eq!(none, BTreeMap::new());
        let failure = run(project.path(), Some(b"true\n"), ["A"], Terminal::default()).unwrap_err();
        let message = format!("the hook {HOOK_FILE} changed while it was looked at");
        assert_eq!(
            (failure.exit(), failure.to_string()),
            (Exit::Usage, message)
        );
        assert!(!project.path().join("ran").exists());
    }
}
