//! The box of this engine while it goes on: how its agent ends and is signalled, and how what a program on the host uncovered
//! is covered again.
//!
//! Not here: when any of that is done (`engine/attend.rs`).
//! Clauses: B2, B7.
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::WaitStatus;
use nix::unistd::pipe2;

use super::orders::Mend;
use super::tell;
use crate::engine::attend::Boxed;
use crate::engine::cover::{Cover, Covers, How};
use crate::engine::members::Members;
use crate::engine::part::{Part, Start, number};
use crate::engine::{Ending, EngineError};
use crate::exit::Failure;
use crate::launch::{Marked, Streams};

/// How often a repair is tried.
const REPAIRS: u8 = 3;
/// How long a repair of a protected name may take.
const MENDED: Duration = Duration::from_secs(5);

/// The box.
pub(super) struct InBox<'a> {
    pub(super) members: &'a mut Members,
    /// Our own executable.
    pub(super) ourselves: &'a Path,
}

impl Boxed for InBox<'_> {
    fn members(&mut self) -> &mut Members {
        self.members
    }

    fn ended(&mut self, code: u8) -> Ending {
        Ending::Agent(code)
    }

    fn pass_on(&mut self, signal: Signal) {
        if let Some(gate) = &self.members.agent {
            killpg(gate.pid(), signal).ok();
        }
    }

    /// The host may go on changing things meanwhile, so it is tried more than once.
    fn cover_again(&mut self, marked: &mut Marked, _uncovered: &[PathBuf]) -> Option<String> {
        let mut why = None;
        for _ in 0..REPAIRS {
            why = fill_gaps(marked).or_else(|| {
                let failed = self.mend(&marked.covers).err()?;
                Some(Failure::of(failed.exit(), &failed).to_string())
            });
            if why.is_none() {
                break;
            }
        }
        why
    }
}

/// Gives each protected name that is gone a placeholder.
fn fill_gaps(marked: &mut Marked) -> Option<String> {
    let Marked { covers, run, .. } = marked;
    let gone = |cover: &&Cover| covers.project.join(&cover.path).symlink_metadata().is_err();
    let mut gaps = covers.list.iter().filter(gone);
    gaps.find_map(|cover| match cover.how {
        How::Pin => Some(format!("{} is gone", cover.path.display())),
        How::ReadOnly | How::Show(_) => {
            let replaced = run.replace(&cover.path);
            replaced.err().map(|error| error.to_string())
        }
    })
}

impl InBox<'_> {
    fn mend(&self, covers: &Covers) -> Result<(), EngineError> {
        let kernel = |error: Errno| EngineError::fence("start the repair").because(error);
        let (signals, gate) = self.members.agent()?;
        let (orders, to_it): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC).map_err(kernel)?;
        let (says, report) = pipe2(OFlag::O_CLOEXEC).map_err(kernel)?;
        let start = Start {
            name: "ocs box-mend",
            program: self.ourselves,
            arguments: vec!["box-mend".into(), "--orders".into(), number(&orders)],
        };
        // The pipe of its end: it holds the other side, and says nothing.
        let mut mender: Part =
            start.of_box(&[orders.as_fd(), report.as_fd()], says, Streams::default())?;
        drop((orders, report));
        let order = Mend {
            gate: u32::try_from(gate.pid().as_raw()).unwrap_or_default(),
            covers: covers.clone(),
        };
        tell(&mut Some(to_it.into()), &order)?;
        let heard = mender.line(MENDED, signals);
        let status = mender.wait();
        mender.end(None)?;
        heard?;
        match status {
            Some(WaitStatus::Exited(_, 0)) => Ok(()),
            Some(status) => Err(EngineError::fence(mender.epitaph(status))),
            None => Err(EngineError::fence("the repair does not end")),
        }
    }
}
