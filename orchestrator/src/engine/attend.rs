//! From the agent's start to its end, in every engine: signals and stops pass through, the fence's parts and the project's
//! protected names are watched, a changed config is taken over, and whatever ends first decides.
//!
//! Not here: what differs between engines, which is [`Boxed`].
//! Clauses: U2, B2, B7.
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus};

use super::members::Members;
use super::signals::Came;
use super::watch::{Seen, Watch};
use super::{Ending, EngineError, terminal};
use crate::launch::{Marked, NOTES};

/// How long an agent that was asked to end may take.
const GRACE: Duration = Duration::from_secs(10);

/// A box that was brought up, as far as engines differ.
pub(in crate::engine) trait Boxed {
    /// Its fence, its agent, its terminal.
    fn members(&mut self) -> &mut Members;

    /// What it says about the agent that its process ended with this code.
    fn ended(&mut self, code: u8) -> Ending;

    /// Passes a signal on to the agent. It fails where the agent has just gone, which the next look at its process tells.
    fn pass_on(&mut self, signal: Signal);

    /// Protects again what was uncovered; all of it, where nothing is named. Gives why not, if not.
    fn cover_again(&mut self, marked: &mut Marked, uncovered: &[PathBuf]) -> Option<String>;
}

/// Attends until something ends. What a person should know at the end is added to `notes`.
///
/// # Errors
/// It cannot be attended any longer.
pub(in crate::engine) fn until_the_end(
    boxed: &mut impl Boxed,
    marked: &mut Marked,
    notes: &mut Vec<String>,
    until: Option<BorrowedFd<'_>>,
) -> Result<Ending, EngineError> {
    let (source, reasons) = (marked.policy.source(), marked.policy.reasons());
    let watch =
        Watch::over(&marked.covers, &marked.forbidden, source, reasons).map_err(unwatched)?;
    let mut attending = Attending {
        boxed,
        marked,
        notes,
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

struct Attending<'a, B> {
    boxed: &'a mut B,
    marked: &'a mut Marked,
    notes: &'a mut Vec<String>,
    watch: Watch,
    /// The wish to end, as long as it has not come.
    until: Option<BorrowedFd<'a>>,
    /// When an agent that was asked to end is killed.
    deadline: Option<Instant>,
}

impl<B: Boxed> Attending<'_, B> {
    fn stay(&mut self) -> Result<Ending, EngineError> {
        // What happened between the cover and the watch is not in its queue.
        if let Some(ending) = self.forbidden_already() {
            return Ok(ending);
        }
        loop {
            // The fence is looked at first, since its end is why an agent may have failed.
            if let Some(part) = self.boxed.members().fallen() {
                return Ok(Ending::Fence { part });
            }
            if let Some(ending) = self.agent()? {
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

    fn agent(&mut self) -> Result<Option<Ending>, EngineError> {
        loop {
            let Members {
                agent, terminal, ..
            } = self.boxed.members();
            let agent = agent.as_mut().ok_or_else(EngineError::not_started)?;
            match agent.change(WaitPidFlag::WUNTRACED) {
                None => return Ok(None),
                Some(WaitStatus::Exited(_, code)) => {
                    let code = u8::try_from(code).unwrap_or(u8::MAX);
                    return Ok(Some(self.boxed.ended(code)));
                }
                Some(WaitStatus::Signaled(_, signal, _)) => {
                    return Ok(Some(self.boxed.ended(code_of(signal))));
                }
                Some(WaitStatus::Stopped(group, by)) => match terminal {
                    Some(terminal) => terminal.stopped(group, by),
                    None => terminal::resume(group),
                },
                // Neither was asked for.
                Some(WaitStatus::Continued(_) | WaitStatus::StillAlive) => {}
                #[cfg(target_os = "linux")]
                Some(WaitStatus::PtraceEvent(..) | WaitStatus::PtraceSyscall(_)) => {}
            }
        }
    }

    /// Passes signals on. Gives whether the agent's time is over.
    fn signals(&mut self) -> Result<bool, EngineError> {
        let (signals, _) = self.boxed.members().agent()?;
        let came: Vec<Came> = std::iter::from_fn(|| signals.next()).collect();
        for came in came {
            let Came::ForAgent(signal) = came else {
                continue;
            };
            if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
                if self.deadline.is_some() {
                    return Ok(true);
                }
                self.deadline = Some(Instant::now() + GRACE);
            }
            self.boxed.pass_on(signal);
        }
        Ok(self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline))
    }

    fn wait(&mut self) -> Result<(), EngineError> {
        let (signals, _) = self.boxed.members().agent()?;
        let mut waiting = vec![
            PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let until = self.until;
        waiting.extend(until.map(|until| PollFd::new(until, PollFlags::POLLIN)));
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
        if until.is_some() && over {
            self.until = None;
            self.deadline.get_or_insert_with(|| Instant::now() + GRACE);
            self.boxed.pass_on(Signal::SIGTERM);
        }
        Ok(())
    }

    /// Looks after the project's protected names.
    fn project(&mut self) -> Result<Option<Ending>, EngineError> {
        let seen = self.watch.look().map_err(unwatched)?;
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
        let uncovered: &[PathBuf] = if seen.overflow { &[] } else { &seen.uncovered };
        if (seen.overflow || !uncovered.is_empty())
            && let Some(why) = self.boxed.cover_again(self.marked, uncovered)
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
        let Marked {
            covers, forbidden, ..
        } = &*self.marked;
        let there = |path: &&PathBuf| covers.project.join(path).symlink_metadata().is_ok();
        forbidden.iter().find(there).map(|path| planted(path))
    }

    /// Takes a changed config over, if it may be.
    fn policy(&mut self) {
        if let Some(note) = self.marked.policy.follow()
            && self.notes.last() != Some(&note)
        {
            self.write_down(&note);
            self.notes.push(note);
        }
    }

    /// For those who ask how it is while it goes on; a disk that refuses keeps them uninformed.
    fn write_down(&self, note: &str) {
        let path = self.marked.run.directory().join(NOTES);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path);
        let line = note.replace('\n', "; ");
        file.and_then(|mut file| writeln!(file, "{line}")).ok();
    }
}

fn unwatched(error: Errno) -> EngineError {
    EngineError::fence("watch the control files").because(error)
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
