//! The exit codes of `ocs-netctl`, the ones of `docs/netctl.md`.

use std::process::ExitCode;

/// How `ocs-netctl` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, as asked.
    Done,
    /// The command line or the spec is wrong: nothing was touched.
    Usage,
    /// The kernel, or this build, lacks what is needed: nothing was touched.
    Missing,
    /// The fence could not be put up, or is not what was planned.
    Refused,
}

impl Exit {
    /// The number, as `sysexits.h` has it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 64,   // EX_USAGE
            Self::Missing => 69, // EX_UNAVAILABLE
            Self::Refused => 70, // EX_SOFTWARE
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
