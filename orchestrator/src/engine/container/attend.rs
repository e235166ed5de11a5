//! From the agent's start to its end: signals pass through, the clients of the fence's containers and the project's protected
//! names are watched, and whatever ends first decides.
//! Clauses: U2, B2, B7.
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus};

use super::{Attached, Container, Parts, Setup, kill};
use crate::engine::signals::{Came, Signals};
use crate::engine::watch::Watch;
use crate::engine::{Ending, EngineError, terminal};
use crate::policy_copy::Look;

/// How long an agent that was asked to end may take.
const GRACE: Duration = Duration::from_secs(10);

/// Attends until something ends.
///
/// # Errors
/// It cannot be attended any longer.
pub(super) fn until_the_end(
    engine: &mut Container,
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
    let asked = until.is_some() && attending.until.is_none();
    if let Ending::Fence { .. } = ending {
        kill(&attending.setup.client, &attending.setup.frame.names.agent);
    }
    Ok(match ending {
        Ending::Agent(code) if asked => Ending::Asked(code),
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
        // What happened between the mounts and the watch is not in its queue.
        if let Some(ending) = self.forbidden_already() {
            return Ok(ending);
        }
        loop {
            if let Some(part) = self.fence() {
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

    /// Which part of the fence ended, and how, if one did. One that ended in order did so because the other was gone: then it
    /// is the other that is named.
    fn fence(&mut self) -> Option<String> {
        let mut parts = [&mut self.parts.proxy, &mut self.parts.holder];
        let ended = parts.iter_mut().enumerate().find_map(|(nth, attached)| {
            let Attached { part, .. } = attached.as_mut()?;
            Some((nth, part.change(WaitPidFlag::empty())?))
        });
        let (nth, status) = ended?;
        let followed = matches!(status, WaitStatus::Exited(_, 0));
        let mut cause = None;
        for (other, attached) in parts.iter_mut().enumerate() {
            if let (Some(Attached { part, .. }), true) =
                (attached.as_mut(), followed && other != nth)
            {
                cause = part.wait().map(|status| part.epitaph(status));
            }
        }
        cause.or_else(|| {
            let Attached { part, .. } = parts.get_mut(nth)?.as_mut()?;
            Some(part.epitaph(status))
        })
    }

    /// How the agent ended, if it did: its container is asked, since a client can be killed by itself.
    fn agent(&mut self) -> Result<Option<Ending>, EngineError> {
        loop {
            let Some(agent) = self.parts.agent.as_mut() else {
                return Err(EngineError::fence("nothing was started"));
            };
            match agent.change(WaitPidFlag::WUNTRACED) {
                None => return Ok(None),
                Some(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                    return Ok(Some(self.ending()));
                }
                Some(WaitStatus::Stopped(group, by)) => match &mut self.parts.terminal {
                    Some(terminal) => terminal.stopped(group, by),
                    None => terminal::resume(group),
                },
                // Neither was asked for.
                Some(_) => {}
            }
        }
    }

    fn ending(&self) -> Ending {
        let Setup { client, frame, .. } = &*self.setup;
        let format = "{{.State.Running}} {{.State.ExitCode}}";
        let said = client.call(["inspect", "--format", format, &frame.names.agent]);
        let said = said.map(|said| String::from_utf8_lossy(&said).trim().to_owned());
        let lost = |why: String| Ending::Fence { part: why };
        match said {
            Ok(said) => match said.split_once(' ') {
                Some(("false", code)) => match code.parse::<u8>() {
                    Ok(code) => Ending::Agent(code),
                    Err(_) => lost(format!("the agent's container ended with {code:?}")),
                },
                _ => lost(format!(
                    "the client of {} let go of the agent",
                    client.kind.name()
                )),
            },
            Err(refused) => lost(format!("{}: {}", refused.call, refused.said)),
        }
    }

    /// Passes signals on. Gives whether the agent's time is over.
    fn signals(&mut self) -> Result<bool, EngineError> {
        let Some(signals) = &self.parts.signals else {
            return Err(EngineError::fence("nothing was started"));
        };
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
            self.pass_on(signal);
        }
        let over = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        Ok(over)
    }

    fn pass_on(&self, signal: Signal) {
        if signal == Signal::SIGWINCH {
            // The client's: it tells the container how large the terminal is now.
            if let Some(agent) = &self.parts.agent {
                agent.signal(signal);
            }
            return;
        }
        let Setup { client, frame, .. } = &*self.setup;
        // It fails where the agent has just gone, which the next look at its client tells.
        drop(client.call(["kill", "--signal", signal.as_str(), &frame.names.agent]));
    }

    fn wait(&mut self) -> Result<(), EngineError> {
        let signals = self.parts.signals.as_ref().map(Signals::as_fd);
        let mut waiting = vec![PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
        waiting.extend(signals.map(|signals| PollFd::new(signals, PollFlags::POLLIN)));
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
            self.pass_on(Signal::SIGTERM);
        }
        Ok(())
    }

    /// Looks after the project's protected names. A mount in a running container cannot be renewed, so a name that lost its
    /// protection ends the agent.
    fn project(&mut self) -> Result<Option<Ending>, EngineError> {
        let failed = |error: Errno| EngineError::fence("watch the control files").because(error);
        let seen = self.watch.look().map_err(failed)?;
        if let Some(path) = seen.forbidden.first() {
            return Ok(Some(planted(path)));
        }
        if seen.overflow
            && let Some(ending) = self.forbidden_already()
        {
            return Ok(Some(ending));
        }
        if seen.overflow || !seen.uncovered.is_empty() {
            let which = seen.uncovered.first();
            let which = which.map_or("a control file".to_owned(), |path| {
                path.display().to_string()
            });
            let part = format!(
                "{which} was replaced on the host, and a container's protection of it cannot be renewed (edits in place are taken over)"
            );
            return Ok(Some(Ending::Fence { part }));
        }
        if seen.config {
            self.policy();
        }
        Ok(None)
    }

    fn forbidden_already(&self) -> Option<Ending> {
        let project = &self.setup.covers.project;
        let mut forbidden = self.setup.forbidden.iter();
        let there = forbidden.find(|path| project.join(path).symlink_metadata().is_ok());
        there.map(|path| planted(path))
    }

    /// Takes a changed config over, if it may be.
    fn policy(&mut self) {
        let note = match self.setup.policy.look() {
            Ok(Look::Applied | Look::Same) => return,
            Ok(Look::Replaced) => {
                "the config is another file than at the start: the policy stayed as it was"
                    .to_owned()
            }
            Ok(Look::Wrong(errors)) => {
                format!(
                    "the config was changed, and is wrong: the policy stayed as it was\n{errors}"
                )
            }
            Err(error) => {
                format!("the config cannot be read ({error}): the policy stayed as it was")
            }
        };
        if self.notes.last() != Some(&note) {
            self.notes.push(note);
        }
    }
}

/// With it git on the host would take its whole config, hooks included, from where it says.
fn planted(path: &Path) -> Ending {
    let path = path.display();
    Ending::Fence {
        part: format!("{path} was made, which points git on this host to another config"),
    }
}
