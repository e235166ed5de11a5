//! How `ocs` ends: the codes of DESIGN "Commands", and the one shape that a failed command has. Nothing is printed here.
//! Clauses: U1 (70 is the only code for a fence that could not be put up or proven).
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The code that the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Ok,
    /// The answer is no: a refused destination, a record that is not whole; or an I/O error of ours.
    No,
    /// What was typed, or the config, is wrong. Nothing was started.
    Usage,
    /// An engine, a program of ours or a feature of the kernel is missing. Nothing was started.
    Missing,
    /// The fence could not be put up or could not be proven. No agent was started, or it was stopped.
    Fence,
    /// The time given ran out.
    Timeout,
    /// The agent's own code, passed through.
    Agent(u8),
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::No => 1,
            Self::Usage => 64,
            Self::Missing => 69,
            Self::Fence => 70,
            Self::Timeout => 124,
            Self::Agent(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what was asked: a code, what failed and on what, and what to type next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: String,
    next: Option<String>,
}

impl Failure {
    /// A failure whose message says what failed and on what: lowercase, no full stop.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            next: None,
        }
    }

    /// What was typed or configured is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure that is no news to anybody: nothing is said.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    /// A failure whose message is `error` and its causes.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(exit, message)
    }

    /// Adds what the reader should do now, as a command to type where there is one.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Adds the cause, printed once behind the message.
    #[must_use]
    pub fn because(self, source: impl Error) -> Self {
        let cause = Self::of(self.exit, &source);
        Self {
            message: format!("{}: {}", self.message, cause.message),
            ..self
        }
    }

    /// The same, of a start: 1 would be the agent's own code, and there was no agent.
    #[must_use]
    pub fn of_a_start(self) -> Self {
        if self.exit == Exit::No {
            return Self {
                exit: Exit::Fence,
                ..self
            };
        }
        self
    }

    /// The code to end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What to type next, if there is something.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

/// The message and its causes as one line: `read the config: permission denied`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let codes = [
            Exit::Ok,
            Exit::No,
            Exit::Usage,
            Exit::Missing,
            Exit::Fence,
            Exit::Timeout,
            Exit::Agent(7),
        ];
        assert_eq!(codes.map(Exit::code), [0, 1, 64, 69, 70, 124, 7]);
    }

    #[test]
    fn a_failure_prints_its_causes_once_in_a_chain() {
        let cause = std::io::Error::other("disk on fire");
        let failure = Failure::new(Exit::No, "read `x.jsonl`")
            .because(cause)
            .next("ocs doctor");
        assert_eq!(failure.to_string(), "read `x.jsonl`: disk on fire");
        assert_eq!(failure.next_step(), Some("ocs doctor"));
    }
}
