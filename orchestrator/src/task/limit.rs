//! The end of a task's time: a descriptor that becomes readable then, for `launch` to wait on.
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::exit::{Exit, Failure};

/// A clock that runs.
pub(super) struct Limit {
    over: OwnedFd,
    stop: Sender<()>,
    clock: JoinHandle<bool>,
}

impl Limit {
    /// Starts it: `time` from `begun` on.
    pub(super) fn start(time: Duration, begun: Instant) -> Result<Self, Failure> {
        let failed = |error: nix::Error| Failure::new(Exit::No, "make a pipe").because(error);
        let (over, held) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (stop, stopped) = mpsc::channel();
        let left = time.saturating_sub(begun.elapsed());
        let clock = std::thread::spawn(move || {
            let ended = stopped.recv_timeout(left);
            drop(held); // which is what the other side waits for
            ended == Err(RecvTimeoutError::Timeout)
        });
        Ok(Self { over, stop, clock })
    }

    /// What closes when the time is over.
    pub(super) fn over(&self) -> &OwnedFd {
        &self.over
    }

    /// Stops it, and gives whether the time was over.
    pub(super) fn end(self) -> bool {
        drop(self.stop);
        self.clock.join().unwrap_or(true)
    }
}
