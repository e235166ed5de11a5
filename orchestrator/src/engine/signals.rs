//! The signals that `ocs` takes as messages instead of dying of them, while it has something to take down.
//! Clauses: U3.
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Passed on to the agent.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The signals that came, as a queue. They are blocked as long as this lives.
#[derive(Debug)]
pub(in crate::engine) struct Signals {
    queue: SignalFd,
    before: SigSet,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Came {
    /// A child changed.
    Child,
    /// Something for the agent.
    ForAgent(Signal),
}

impl Signals {
    /// Takes the signals over. Only for the one thread that there is.
    ///
    /// # Errors
    /// The kernel refused.
    pub(in crate::engine) fn take_over() -> nix::Result<Self> {
        let mut all: SigSet = PASSED_ON.into_iter().collect();
        all.add(Signal::SIGCHLD);
        let queue = SignalFd::with_flags(&all, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // Not read, but blocked: the terminal is ours to change while we are in its background.
        all.add(Signal::SIGTTOU);
        let before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { queue, before })
    }

    /// The next one, if any came.
    pub(in crate::engine) fn next(&self) -> Option<Came> {
        let came = self.queue.read_signal().ok().flatten()?;
        let signal = i32::try_from(came.ssi_signo)
            .ok()
            .and_then(|number| Signal::try_from(number).ok())?;
        Some(if signal == Signal::SIGCHLD {
            Came::Child
        } else {
            Came::ForAgent(signal)
        })
    }

    /// Whether somebody wants us to end before there is an agent to pass that on to.
    pub(in crate::engine) fn wish_to_end(&self) -> Option<Signal> {
        let ends = [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
        ];
        std::iter::from_fn(|| self.next()).find_map(|came| match came {
            Came::ForAgent(signal) if ends.contains(&signal) => Some(signal),
            Came::Child | Came::ForAgent(_) => None,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What came too late to be read is nobody's any longer, and would end us with our work done.
        while self.next().is_some() {}
        self.before.thread_set_mask().ok();
    }
}
