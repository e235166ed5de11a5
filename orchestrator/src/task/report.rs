//! The one document about a task. Its fields are the contract of `docs/ci.md`; all of them are always there.
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::launch::Ended;
use crate::summary::{Refusal, Summary};
use crate::tools::{Tokens, Told};

/// What a task came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The agent did it, as far as it says itself.
    ok: bool,
    /// The code that `ocs` ends with.
    exit_code: u8,
    timed_out: bool,
    /// The agent's final text.
    result: String,
    /// The agent's own name for the conversation.
    session: Option<String>,
    /// The file with all that it said.
    events: Option<String>,
    duration_ms: u64,
    refused: Vec<Refusal>,
    /// None where the project has too many files to compare.
    changed_files: Option<Vec<String>>,
    tokens: Option<Tokens>,
    /// Why it failed, for people.
    error: Option<String>,
    run: Option<String>,
    record: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

/// How a task of a running server ended, and what its run's record holds of that time.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) exit: Exit,
    pub(super) timed_out: bool,
    pub(super) refused: Vec<Refusal>,
    pub(super) run: Option<String>,
    pub(super) record: Option<PathBuf>,
}

impl Report {
    /// Nothing was started, or nothing can be told of it.
    pub(super) fn of_failure(failure: &Failure, took: Duration) -> Self {
        let error = match failure.next_step() {
            Some(next) => format!("{failure}; next: {next}"),
            None => failure.to_string(),
        };
        Self {
            ok: false,
            exit_code: failure.exit().code(),
            timed_out: false,
            result: String::new(),
            session: None,
            events: None,
            duration_ms: millis(took),
            refused: Vec::new(),
            changed_files: Some(Vec::new()),
            tokens: None,
            error: Some(error),
            run: None,
            record: None,
            exit: failure.exit(),
        }
    }

    /// A task that came to an end.
    pub(super) fn of(ended: &Ended, told: Told, timed_out: bool, took: Duration) -> Self {
        let (summary, unread) = match &ended.summary {
            Ok(summary) => (Some(summary), None),
            Err(error) => (None, Some(format!("the record cannot be read: {error}"))),
        };
        let fence = ended.failure.as_ref().map(Failure::to_string);
        // Some tools tell of their failure only in what they say.
        let says_no = ended.exit.code() == 0 && told.error.is_some();
        let exit = match (timed_out, says_no) {
            (true, _) => Exit::Timeout,
            (false, true) => Exit::No,
            (false, false) => ended.exit,
        };
        let late =
            timed_out.then(|| "the time was over; everything of the task was ended".to_owned());
        Self {
            ok: exit.code() == 0 && fence.is_none(),
            exit_code: exit.code(),
            timed_out,
            result: told.result,
            session: told.session,
            events: None,
            duration_ms: millis(took),
            refused: summary.map_or_else(Vec::new, Summary::refusals),
            changed_files: None,
            tokens: told.tokens,
            error: fence.or(late).or(told.error).or(unread),
            run: Some(ended.facts.run.clone()),
            record: Some(ended.facts.record.display().to_string()),
            exit,
        }
    }

    /// A task that a running server did.
    pub(super) fn of_attached(attached: Attached, told: Told, took: Duration) -> Self {
        let Attached {
            exit,
            timed_out,
            refused,
            run,
            record,
        } = attached;
        let exit = if exit == Exit::Ok && told.error.is_some() {
            Exit::No
        } else {
            exit
        };
        let late = timed_out.then(|| "the time was over; the server was told to stop".to_owned());
        Self {
            ok: exit.code() == 0,
            exit_code: exit.code(),
            timed_out,
            result: told.result,
            session: told.session,
            events: None,
            duration_ms: millis(took),
            refused,
            changed_files: None,
            tokens: told.tokens,
            error: late.or(told.error),
            run,
            record: record.map(|record| record.display().to_string()),
            exit,
        }
    }

    pub(super) fn with_changes(self, changed_files: Option<Vec<String>>) -> Self {
        Self {
            changed_files,
            ..self
        }
    }

    pub(super) fn with_events(self, path: &Path) -> Self {
        Self {
            events: Some(path.display().to_string()),
            ..self
        }
    }

    /// The code to end with.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// The conversation, if the agent named one.
    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
