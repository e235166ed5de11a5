//! Which events count: the filters of `ocs audit query`, compared by value and by whole labels, never by substring.
use policies::Reason;
use policies::audit::{Record, Timestamp};

use crate::cli::FilterArgs;
use crate::console::escaped;
use crate::exit::Failure;
use crate::world::World;

use super::moment;
use super::row::{Row, word};

/// The ways that a row can have.
const VIAS: [&str; 7] = [
    "captured-http",
    "captured-tcp",
    "captured-tls",
    "connect",
    "dns",
    "http",
    "packet",
];

/// Compiled filters.
#[derive(Debug)]
pub(crate) struct Filter {
    args: FilterArgs,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Filter {
    /// Reads what was typed.
    ///
    /// # Errors
    /// A reason, way or moment is none (exit 64): a filter that can match nothing would answer "nothing happened".
    pub(crate) fn new(args: &FilterArgs, world: &World) -> Result<Self, Failure> {
        let moment = |text: &Option<String>| {
            text.as_ref()
                .map(|text| moment::parse(text, world.now.into()))
                .transpose()
        };
        let reasons = Reason::ALL.map(Reason::code);
        known("reason", &args.reason, &reasons)?;
        known("via", &args.via, &VIAS)?;
        Ok(Self {
            since: moment(&args.since)?,
            until: moment(&args.until)?,
            args: args.clone(),
        })
    }

    /// Whether an event fits.
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let args = &self.args;
        if self.since.is_some_and(|since| record.time < since)
            || self.until.is_some_and(|until| record.time >= until)
            || !any(&args.run, |run| *run == record.run)
        {
            return false;
        }
        let row = Row::of(record);
        args.decision
            .as_deref()
            .is_none_or(|decision| row.decision.map(word) == Some(decision))
            && any(&args.reason, |reason| {
                row.reason.map(Reason::code) == Some(reason.as_str())
            })
            && any(&args.via, |via| row.via == Some(via.as_str()))
            && any(&args.host, |host| {
                row.host.as_deref().is_some_and(|found| covers(host, found))
            })
            && any(&args.process, |process| is_process(process, &row))
    }

    /// Whether only the time and the run are filtered, so that events without a decision count too.
    pub(super) fn takes_every_kind(&self) -> bool {
        let FilterArgs {
            decision,
            host,
            reason,
            via,
            process,
            run: _,
            since: _,
            until: _,
        } = &self.args;
        decision.is_none()
            && [host, reason, via, process]
                .iter()
                .all(|list| list.is_empty())
    }
}

fn any(wanted: &[String], fits: impl Fn(&String) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(fits)
}

fn known(what: &str, wanted: &[String], codes: &[&str]) -> Result<(), Failure> {
    match wanted.iter().find(|code| !codes.contains(&code.as_str())) {
        Some(code) => Err(
            Failure::usage(format!("there is no {what} `{}`", escaped(code)))
                .next(format!("one of {}", codes.join(", "))),
        ),
        None => Ok(()),
    }
}

/// `.d` covers d and all below; anything else only itself. Letters of either case, one dot at the end less.
fn covers(wanted: &str, found: &str) -> bool {
    let canonical = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (wanted, found) = (canonical(wanted), canonical(found));
    match wanted.strip_prefix('.') {
        Some(name) => {
            found == name
                || found
                    .strip_suffix(name)
                    .is_some_and(|above| above.ends_with('.'))
        }
        None => found == wanted,
    }
}

fn is_process(wanted: &str, row: &Row<'_>) -> bool {
    let Some(process) = row.process else {
        return false;
    };
    let by_number = wanted
        .parse()
        .is_ok_and(|pid: u32| process.pid == Some(pid));
    let exe = process.exe.as_ref().map(policies::audit::Text::as_str);
    by_number || exe.is_some_and(|exe| exe == wanted || exe.rsplit('/').next() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_by_labels() {
        for (wanted, found) in [
            ("a.test", "a.test"),
            ("A.Test.", "a.test"),
            (".a.test", "a.test"),
            (".a.test", "x.y.a.test"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert!(covers(wanted, found), "{wanted} {found}");
        }
        for (wanted, found) in [
            ("a.test", "x.a.test"),
            (".a.test", "xa.test"),
            ("a.test", "a.test.evil"),
            (".a.test", ""),
        ] {
            assert!(!covers(wanted, found), "{wanted} {found}");
        }
    }
}
