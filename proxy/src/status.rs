//! What `/status` says: one JSON document about a proxy, for `ocs status` and for whoever else watches it.
//!
//! It holds nothing of what an agent sent. Clauses: R2, P9, W8

use serde::Serialize;

use crate::app::App;
use crate::live::Phase;
use crate::questions::Counts;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    v: u32,
    phase: &'static str,
    record: Record,
    policy: Policy,
    requests: Requests,
    questions: Counts,
}

#[derive(Debug, Serialize)]
struct Record {
    /// False: a line could not be written, and every new request is refused until one can.
    ok: bool,
    lines: u64,
    head: String,
    owed: usize,
    lost: u64,
}

#[derive(Debug, Serialize)]
struct Policy {
    /// False: the file changed, and is not in force.
    ok: bool,
    generation: u64,
    hash: String,
    mode: &'static str,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Requests {
    allowed: u64,
    denied: u64,
    open: u64,
}

impl Status {
    pub(crate) fn of(app: &App) -> Self {
        let standing = app.sink.standing();
        let policy = app.live.policy();
        let error = app.live.fault();
        let (allowed, denied, open) = app.sink.metrics().requests_now();
        Self {
            v: 1,
            phase: match app.live.phase() {
                Phase::Running => "running",
                Phase::Draining => "draining",
                Phase::Ending => "ending",
            },
            record: Record {
                ok: !standing.refuses,
                lines: standing.lines,
                head: standing.head,
                owed: standing.owed,
                lost: standing.lost,
            },
            policy: Policy {
                ok: error.is_none(),
                generation: policy.generation().0,
                hash: policy.hash().to_owned(),
                mode: policy.mode().code(),
                error,
            },
            requests: Requests {
                allowed,
                denied,
                open,
            },
            questions: app.questions.counts(),
        }
    }
}
