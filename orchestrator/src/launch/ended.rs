//! How a run ended, and what it came to. Prints only when told to.
//! Clauses: U2, R5.
use std::io;

use super::{Facts, tell_left};
use crate::bringup;
use crate::checkpoint::Watcher;
use crate::console::{Console, Style};
use crate::engine::{Ending, Engine, EngineError, Told};
use crate::exit::{Exit, Failure};
use crate::summary::Summary;

/// A run that is over; everything of it was taken down.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The agent's code, or 70 where the fence ended first.
    pub(crate) exit: Exit,
    /// Whether it ended because its time was over, as the caller wished.
    pub(crate) asked: bool,
    /// What happened to the fence, if something did: the agent was killed then.
    pub(crate) failure: Option<Failure>,
    /// What is known of the run.
    pub(crate) facts: Facts,
    /// What was refused.
    pub(crate) summary: io::Result<Summary>,
    left: Vec<EngineError>,
}

impl Ended {
    pub(super) fn of<E: Engine>(
        ended: bringup::Ended<E>,
        facts: Facts,
        checkpoints: Watcher,
    ) -> Self {
        let bringup::Ended {
            ending,
            left,
            mut engine,
        } = ended;
        let asked = matches!(ending, Ok(Ending::Asked(_)));
        let (exit, failure) = match ending {
            Ok(Ending::Agent(code) | Ending::Asked(code)) => (Exit::Agent(code), None),
            Ok(Ending::Fence { part }) => {
                let why = format!("{part}; the agent was killed, and nothing got out after that");
                (Exit::Fence, Some(Failure::new(Exit::Fence, why)))
            }
            Err(error) => (Exit::Fence, Some(Failure::of(Exit::Fence, &error))),
        };
        let Told {
            mut notes,
            removed,
            record_from,
        } = engine.told();
        notes.extend(
            removed
                .iter()
                .map(|path| format!("{} was made by the agent, and is removed", path.display())),
        );
        if let Err(error) = checkpoints.end() {
            notes.push(format!("the end of the record is not signed: {error}"));
        }
        let read = Summary::read(&facts.record, record_from, &facts.targets, &facts.policy);
        Self {
            exit,
            asked,
            failure,
            summary: read.map(|summary| summary.of_run(&facts.run, exit.code(), notes)),
            facts,
            left,
        }
    }

    /// Says what went wrong, if something did.
    pub(crate) fn tell(&self, console: &mut Console<'_>) {
        if let Some(failure) = &self.failure {
            let label = console.styled_note(Style::Bad, "ocs:");
            console.note(format_args!("{label} {failure}"));
        }
        tell_left(&self.left, console);
    }
}
