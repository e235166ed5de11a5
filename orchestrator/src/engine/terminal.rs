//! The terminal that `ocs` shares with the agent. The agent is a process group of its own, and gets the terminal as a shell
//! gives it to a job: at once where a person sits at both ends, else when it first asks (a job that reads in the
//! background is stopped by the kernel, and that is the asking).
//! Clauses: B7.
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// The terminal, where there is one that is ours to give.
#[derive(Debug)]
pub(in crate::engine) struct Terminal {
    device: OwnedFd,
    /// A person reads what the agent writes: it gets the terminal from the start.
    both_ends: bool,
    settings: Option<Termios>,
    given: bool,
}

impl Terminal {
    /// The terminal on stdin, if our group has it now.
    pub(in crate::engine) fn of_this_process() -> Option<Self> {
        let stdin = std::io::stdin();
        let ours =
            stdin.is_terminal() && tcgetpgrp(stdin.as_fd()).is_ok_and(|group| group == getpgrp());
        let device = ours.then(|| stdin.as_fd().try_clone_to_owned().ok())??;
        let settings = tcgetattr(&device).ok();
        Some(Self {
            device,
            both_ends: std::io::stdout().is_terminal(),
            settings,
            given: false,
        })
    }

    /// Gives it to the agent, if it is to have it from the start.
    pub(in crate::engine) fn offer(&mut self, agent: Pid) {
        if self.both_ends {
            self.give(agent);
        }
    }

    /// The agent's group was stopped. Does what a shell does, and returns once it runs again.
    pub(in crate::engine) fn stopped(&mut self, agent: Pid, by: Signal) {
        let asks = matches!(by, Signal::SIGTTIN | Signal::SIGTTOU);
        if asks && !self.given && self.is_ours() {
            self.give(agent);
        } else {
            self.take();
            stop_with_our_group();
            // Somebody continued us: in the foreground or in the background.
            if self.is_ours() && (self.both_ends || asks) {
                self.give(agent);
            }
        }
        resume(agent);
    }

    /// Takes it back for good, as it was.
    pub(in crate::engine) fn end(mut self) {
        let was_given = self.given;
        self.take();
        if let Some(settings) = self.settings.as_ref().filter(|_| was_given) {
            // A program that was killed may have left it raw; nobody can be told if that cannot be mended.
            tcsetattr(&self.device, SetArg::TCSADRAIN, settings).ok();
        }
    }

    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.device).is_ok_and(|group| group == getpgrp())
    }

    fn give(&mut self, agent: Pid) {
        self.given = tcsetpgrp(&self.device, agent).is_ok();
    }

    fn take(&mut self) {
        if self.given {
            // It fails where the terminal is gone, and then there is nothing to take.
            tcsetpgrp(&self.device, getpgrp()).ok();
            self.given = false;
        }
    }
}

fn stop_with_our_group() {
    // All of our group, so that a shell sees its job stopped whatever else is in it. The kernel ignores it where no shell
    // could continue us; otherwise this returns when one does.
    let stop: SigSet = [Signal::SIGTSTP].into_iter().collect();
    stop.thread_unblock().ok();
    kill(Pid::from_raw(0), Signal::SIGTSTP).ok();
    stop.thread_block().ok();
}

/// Lets a stopped agent go on. Without a terminal that is all there is to do: nobody could ask for it to stop.
pub(in crate::engine) fn resume(agent: Pid) {
    // It fails where the agent is gone.
    killpg(agent, Signal::SIGCONT).ok();
}
