//! From the agent's start to its end: signals and stops pass through, the fence's parts and the project's protected names
//! are watched, and whatever ends first decides.
//! Clauses: U2, B2, B7.
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::pipe2;

use super::orders::Mend;
use super::{Native, Parts, Setup, tell};
use crate::engine::cover::{Cover, How};
use crate::engine::part::{Part, Start, number};
use crate::engine::signals::{Came, Signals};
use crate::engine::terminal;
use crate::engine::watch::{Seen, Watch};
use crate::engine::{Ending, EngineError};
use crate::exit::Failure;
use crate::launch::{NOTES, Streams};

/// How long an agent that was asked to end may take.
const GRACE: Duration = Duration::from_secs(10);
/// How often a repair is tried.
const REPAIRS: u8 = 3;
/// How long a repair of a protected name may take.
const MENDED: Duration = Duration::from_secs(5);

/// Attends until something ends.
///
/// # Errors
/// It cannot be attended any longer.
pub(super) fn until_the_end(
    engine: &mut Native,
    parts: &mut Parts,
    until: Option<BorrowedFd<'_>>,
) -> Result<Ending, EngineError> {
    let setup = engine
        .setup
        .as_mut()
        .ok_or_else(|| EngineError::fence("the run is over"))?;
    let (source, reasons) = (setup.policy.source(), setup.policy.reasons());
    let watch = Watch::over(&setup.covers, &setup.forbidden, source, reasons)
        .map_err(|error| EngineError::fence("watch the control files").because(error))?;
    let mut attending = Attending {
        setup,
        notes: &mut engine.told.notes,
        parts,
        watch,
        until,
        deadline: None,
    };
    let ending = attending.stay()?;
    Ok(match ending {
        // It was read, so nobody waits for it any longer.
        Ending::Agent(code) if until.is_some() && attending.until.is_none() => Ending::Asked(code),
        Ending::Agent(_) | Ending::Asked(_) | Ending::Fence { .. } => ending,
    })
}

struct Attending<'a> {
    setup: &'a mut Setup,
    notes: &'a mut Vec<String>,
    parts: &'a mut Parts,
    watch: Watch,
    /// The wish to end, as long as it has not come.
    until: Option<BorrowedFd<'a>>,
    /// When an agent that was asked to end is killed.
    deadline: Option<Instant>,
}

impl Attending<'_> {
    fn stay(&mut self) -> Result<Ending, EngineError> {
        // What happened between the cover and the watch is not in its queue.
        if let Some(ending) = self.forbidden_already() {
            return Ok(ending);
        }
        loop {
            if let Some(ending) = self.children() {
                return Ok(ending);
            }
            if let Some(ending) = self.project()? {
                return Ok(ending);
            }
            self.wait()?;
            if self.signals()? {
                return Ok(Ending::Agent(128 + 9)); // killed by us, as asked
            }
        }
    }
    /// Who ended, if anybody did: the fence is looked at first, since its end is why an agent may have failed.
    fn children(&mut self) -> Option<Ending> {
        if let Some(part) = self.fence() {
            return Some(Ending::Fence { part });
        }
        loop {
            let gate = self.parts.gate.as_mut()?;
            match gate.change(WaitPidFlag::WUNTRACED)? {
                WaitStatus::Exited(_, code) => {
                    return Some(Ending::Agent(u8::try_from(code).unwrap_or(u8::MAX)));
                }
                WaitStatus::Signaled(_, signal, _) => return Some(Ending::Agent(code_of(signal))),
                WaitStatus::Stopped(group, by) => match &mut self.parts.terminal {
                    Some(terminal) => terminal.stopped(group, by),
                    None => terminal::resume(group),
                },
                // Neither was asked for.
                WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
                #[cfg(target_os = "linux")]
                WaitStatus::PtraceEvent(..) | WaitStatus::PtraceSyscall(_) => {}
            }
        }
    }

    /// Which part of the fence ended, and how, if one did. One that ended in order did so because the other was gone:
    /// then it is the other that is named.
    fn fence(&mut self) -> Option<String> {
        let mut parts = [&mut self.parts.proxy, &mut self.parts.netctl];
        let ended = parts.iter_mut().enumerate().find_map(|(nth, part)| {
            let status = part.as_mut()?.change(WaitPidFlag::empty())?;
            Some((nth, status))
        });
        let (nth, status) = ended?;
        let followed = matches!(status, WaitStatus::Exited(_, 0));
        let mut cause = None;
        for (other, part) in parts.iter_mut().enumerate() {
            if let (Some(part), true) = (part.as_mut(), followed && other != nth) {
                cause = part.wait().map(|status| part.epitaph(status));
            }
        }
        cause.or_else(|| {
            let part = parts.get_mut(nth)?.as_mut()?;
            Some(part.epitaph(status))
        })
    }

    /// Passes signals on. Gives whether the agent's time is over.
    fn signals(&mut self) -> Result<bool, EngineError> {
        let (Some(signals), Some(gate)) = (&self.parts.signals, &self.parts.gate) else {
            return Err(EngineError::fence("nothing was started"));
        };
        while let Some(came) = signals.next() {
            let Came::ForAgent(signal) = came else {
                continue;
            };
            if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
                if self.deadline.is_some() {
                    return Ok(true);
                }
                self.deadline = Some(Instant::now() + GRACE);
            }
            // It fails where the agent has just gone, which the next look at the children tells.
            killpg(gate.pid(), signal).ok();
        }
        Ok(self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline))
    }

    /// Asks the agent to end; it has its time for that.
    fn ask(&mut self) {
        self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
        if let Some(gate) = &self.parts.gate {
            // It fails where the agent has just gone, which the next look at the children tells.
            killpg(gate.pid(), Signal::SIGTERM).ok();
        }
    }

    fn wait(&mut self) -> Result<(), EngineError> {
        let signals = self.parts.signals.as_ref().map(Signals::as_fd);
        let mut waiting = vec![PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
        waiting.extend(signals.map(|signals| PollFd::new(signals, PollFlags::POLLIN)));
        waiting.extend(
            self.until
                .map(|until| PollFd::new(until, PollFlags::POLLIN)),
        );
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let wait = match left {
            // Rounded up: a wait of nothing would spin until the deadline.
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        match poll(&mut waiting, wait) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()),
            Err(error) => return Err(EngineError::fence("wait for the agent").because(error)),
        }
        let over = waiting.last().and_then(PollFd::any) == Some(true);
        if self.until.is_some() && over {
            self.until = None;
            self.ask();
        }
        Ok(())
    }

    /// Looks after the project's protected names.
    fn project(&mut self) -> Result<Option<Ending>, EngineError> {
        let failed = |error: Errno| EngineError::fence("watch the control files").because(error);
        let seen = self.watch.look().map_err(failed)?;
        if seen == Seen::default() {
            return Ok(None);
        }
        if let Some(path) = seen.forbidden.first() {
            return Ok(Some(planted(path)));
        }
        if seen.overflow
            && let Some(ending) = self.forbidden_already()
        {
            return Ok(Some(ending));
        }
        if (seen.overflow || !seen.uncovered.is_empty())
            && let Some(why) = self.cover_again()
        {
            let part = format!("the protection of the control files could not be renewed: {why}");
            return Ok(Some(Ending::Fence { part }));
        }
        if seen.config || seen.overflow {
            self.policy();
        }
        Ok(None)
    }

    fn forbidden_already(&self) -> Option<Ending> {
        let project = &self.setup.covers.project;
        let there = |path: &&std::path::PathBuf| project.join(path).symlink_metadata().is_ok();
        self.setup
            .forbidden
            .iter()
            .find(there)
            .map(|path| planted(path))
    }

    /// Covers what was uncovered; gives why not, if not. The host may go on changing things meanwhile, so it is tried more
    /// than once.
    fn cover_again(&mut self) -> Option<String> {
        let mut why = None;
        for _ in 0..REPAIRS {
            why = self.fill_gaps().or_else(|| match self.mend() {
                Ok(()) => None,
                Err(error) => Some(Failure::of(error.exit(), &error).to_string()),
            });
            if why.is_none() {
                break;
            }
        }
        why
    }

    /// Gives each protected name that is gone a placeholder.
    fn fill_gaps(&mut self) -> Option<String> {
        let Setup { covers, run, .. } = &mut *self.setup;
        let gone = |cover: &&Cover| covers.project.join(&cover.path).symlink_metadata().is_err();
        covers
            .list
            .iter()
            .filter(gone)
            .find_map(|cover| match cover.how {
                How::Pin => Some(format!("{} is gone", cover.path.display())),
                How::ReadOnly | How::Show(_) => run
                    .replace(&cover.path)
                    .err()
                    .map(|error| error.to_string()),
            })
    }

    fn mend(&mut self) -> Result<(), EngineError> {
        let kernel = |error: Errno| EngineError::fence("start the repair").because(error);
        let (Some(gate), Some(signals)) = (&self.parts.gate, &self.parts.signals) else {
            return Err(EngineError::fence("nothing was started"));
        };
        let (orders, to_it): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC).map_err(kernel)?;
        let (says, report) = pipe2(OFlag::O_CLOEXEC).map_err(kernel)?;
        let start = Start {
            name: "ocs box-mend",
            program: &self.setup.ourselves,
            arguments: vec!["box-mend".into(), "--orders".into(), number(&orders)],
        };
        // The pipe of its end: it holds the other side, and says nothing.
        let mut mender: Part =
            start.of_box(&[orders.as_fd(), report.as_fd()], says, Streams::default())?;
        drop((orders, report));
        let gate = u32::try_from(gate.pid().as_raw()).unwrap_or_default();
        tell(
            &mut Some(to_it.into()),
            &Mend {
                gate,
                covers: self.setup.covers.clone(),
            },
        )?;
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

    /// For those who ask how it is while it goes on; a disk that refuses keeps them uninformed.
    fn write_down(&self, note: &str) {
        let path = self.setup.run.directory().join(NOTES);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path);
        let line = note.replace('\n', "; ");
        file.and_then(|mut file| writeln!(file, "{line}")).ok();
    }

    /// Takes a changed config over, if it may be.
    fn policy(&mut self) {
        if let Some(note) = self.setup.policy.follow()
            && self.notes.last() != Some(&note)
        {
            self.write_down(&note);
            self.notes.push(note);
        }
    }
}

/// The one thing that has no placeholder: with it git on the host would take its whole config, hooks included, from
/// where it says.
fn planted(path: &Path) -> Ending {
    let path = path.display();
    Ending::Fence {
        part: format!("{path} was made, which points git on this host to another config"),
    }
}

/// 128 and the signal, as a shell says it.
fn code_of(signal: Signal) -> u8 {
    u8::try_from(signal as i32)
        .unwrap_or_default()
        .saturating_add(128)
}
