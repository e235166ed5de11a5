//! What builds and runs a box: one trait, one module per engine. An engine does as `bringup` says, in that order, and
//! decides no policy. Only the modules below here spawn processes.
//!
//! Every step may be asked of parts that are only half there; `end` undoes however much there is.
//! Clauses: U1, U2, U3.
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::probe::{Finding, Proven};

mod attend;
pub(crate) mod client;
pub(crate) mod container;
pub(crate) mod cover;
mod members;
#[cfg(target_os = "linux")]
pub mod native;
mod part;
mod signals;
pub(crate) mod spawn;
pub(crate) mod staying;
mod terminal;
mod watch;

/// How a box is brought up, attended and taken down.
pub trait Engine {
    /// Everything that was begun so far, so that all of it can be ended; the default is nothing.
    type Parts: Default;

    /// Starts what can be started, the agent excepted.
    ///
    /// # Errors
    /// Something is missing on this machine, or could not be started.
    fn begin(&mut self, parts: &mut Self::Parts) -> Result<(), EngineError>;

    /// Waits until the rules stand and were read back equal.
    ///
    /// # Errors
    /// They do not stand, differ, or nobody said so in time.
    fn seal(&mut self, parts: &mut Self::Parts) -> Result<ReadBack, EngineError>;

    /// Waits until the proxy serves every listener, and the record has begun.
    ///
    /// # Errors
    /// It said otherwise, or nothing in time.
    fn serve(&mut self, parts: &mut Self::Parts) -> Result<(), EngineError>;

    /// Tries from inside what must fail, as weak as the agent will be.
    ///
    /// # Errors
    /// The attempts could not be made.
    fn probe(&mut self, parts: &mut Self::Parts) -> Result<Vec<Finding>, EngineError>;

    /// Lets the agent start. The proof is the only key.
    ///
    /// # Errors
    /// Whatever waited for the word is gone.
    fn open(&mut self, parts: &mut Self::Parts, proven: &Proven) -> Result<(), EngineError>;

    /// Waits until the agent ends or a part of the fence does; signals and the terminal pass through meanwhile. When
    /// `until` becomes readable or its other end is closed, the agent is asked to end, and killed where it does not.
    ///
    /// # Errors
    /// It cannot be attended any longer; the agent must be ended.
    fn attend(
        &mut self,
        parts: &mut Self::Parts,
        until: Option<BorrowedFd<'_>>,
    ) -> Result<Ending, EngineError>;

    /// Ends and removes everything, in reverse order, and goes on past what fails.
    fn end(&mut self, parts: Self::Parts) -> Vec<EngineError>;

    /// What there is to tell when all is over.
    fn told(&mut self) -> Told {
        Told::default()
    }
}

/// What an engine has to tell of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What a person should know at the end.
    pub notes: Vec<String>,
    /// Files that an agent made where nothing may be; they are gone.
    pub removed: Vec<PathBuf>,
    /// How long the record was when the agent started: what stands before is bring-up's.
    pub record_from: u64,
}

/// The rules in the kernel were read back and equal the plan. Only an engine's `seal` has one to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// Whether the namespace speaks IPv6.
    pub ipv6: bool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The agent ended with this code; 128 and the signal where one ended it.
    Agent(u8),
    /// The same, after it was asked to because `until` said so.
    Asked(u8),
    /// A part of the fence died first, and the agent was killed.
    Fence {
        /// Which part, and how it died.
        part: String,
    },
}

/// What an engine could not do: a message, and whether the machine lacks something or the fence is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    message: String,
    exit: Exit,
    #[source]
    source: Option<std::io::Error>,
}

impl EngineError {
    /// The fence could not be put up, proven or kept.
    pub fn fence(message: impl fmt::Display) -> Self {
        Self::new(Exit::Fence, message)
    }

    /// The machine lacks something.
    pub fn missing(message: impl fmt::Display) -> Self {
        Self::new(Exit::Missing, message)
    }

    /// A step was asked of parts that are not there.
    pub(crate) fn not_started() -> Self {
        Self::fence("nothing was started")
    }

    /// A step was asked of a run that was ended.
    pub(crate) fn over() -> Self {
        Self::fence("the run is over")
    }

    /// Somebody wanted us to end before there was an agent.
    pub fn interrupted(signal: i32) -> Self {
        let code = u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128));
        Self::new(Exit::Agent(code), "interrupted before the agent started")
    }

    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self {
            message,
            exit,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(self, source: impl Into<std::io::Error>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// The code to end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}
