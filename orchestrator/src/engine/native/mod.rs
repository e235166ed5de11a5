//! The engine `native`: user namespaces and bubblewrap, no daemon, no root. `docs/native.md` is the picture.
//!
//! Three processes: netctl holds the fenced namespace, the proxy carries, and the process at the gate becomes the box. All
//! are started at once and wait for each other over pipes; all die with `ocs`.
//! Clauses: U1, U2, U3, B3, B6, B7.
mod attend;
pub(crate) mod bwrap;
pub(crate) mod cgroup;
pub(crate) mod enter;
pub(crate) mod exec;
pub(crate) mod mounts;
mod orders;
pub mod seccomp;
pub(crate) mod tool;
pub(crate) mod view;

use std::ffi::OsString;
use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::pipe2;
use serde::Serialize;

use self::attend::InBox;
use self::bwrap::Argument;
use self::cgroup::Cgroups;
use self::orders::{Join, Open, Report, Try};
use crate::engine::attend::until_the_end;
use crate::engine::members::{self, Members, Ready};
use crate::engine::part::{Part, Start, number};
use crate::engine::signals::Signals;
use crate::engine::terminal::Terminal;
use crate::engine::{Ending, Engine, EngineError, ReadBack, Told};
use crate::launch::{Marked, Streams};
use crate::probe::{Finding, Proven, Targets};
use crate::teardown::Teardown;

/// Everything that a run of this engine needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Our own executable.
    pub(crate) ourselves: PathBuf,
    /// `ocs-netctl`.
    pub(crate) netctl: PathBuf,
    /// `ocs-proxy`.
    pub(crate) proxy: PathBuf,
    /// The proxy's arguments.
    pub(crate) proxy_arguments: Vec<OsString>,
    /// Bubblewrap.
    pub(crate) bwrap: PathBuf,
    /// Bubblewrap's arguments.
    pub(crate) box_arguments: Vec<Argument>,
    /// What runs in the box: `box-exec` and the agent's command.
    pub(crate) command: Vec<Vec<u8>>,
    /// What must be refused before the agent starts.
    pub(crate) targets: Targets,
    /// The spec of the namespace, one line.
    pub(crate) spec: String,
    /// The run, and what of the project it protects.
    pub(crate) marked: Marked,
    /// Whether our terminal is the agent's to have.
    pub(crate) terminal: bool,
    /// What the command reads and writes.
    pub(crate) streams: Streams,
    /// What limits the box, beside the limits of its processes.
    pub(crate) cgroups: Option<Cgroups>,
}

/// The engine, for one run.
#[derive(Debug)]
pub(crate) struct Native {
    setup: Option<Setup>,
    told: Told,
}

/// What was begun.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    members: Members,
    orders: Option<File>,
    /// Ends when the last process that could be the box is gone.
    alive: Option<OwnedFd>,
}

/// How long a part may take to say that it is ready. Measured: 10 ms; a machine under load needs more.
const READY: Duration = Duration::from_secs(10);
/// How long all probes together may take: each has a second, and they run at the same time.
const PROBED: Duration = Duration::from_secs(5);
/// How long the proxy may take to write the last of the record.
const DRAINED: Duration = Duration::from_secs(3);
/// How long the kernel may take to end the processes of a box.
const GONE: u16 = 2000;

impl Native {
    /// The engine for one run.
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup: Some(setup),
            told: Told::default(),
        }
    }

    fn setup(&mut self) -> Result<&mut Setup, EngineError> {
        self.setup.as_mut().ok_or_else(EngineError::over)
    }
}

impl Engine for Native {
    type Parts = Parts;

    fn begin(&mut self, parts: &mut Parts) -> Result<(), EngineError> {
        let setup = self.setup()?;
        let kernel =
            |what: &'static str| move |error: nix::Error| EngineError::fence(what).because(error);
        let flags = SockFlag::SOCK_CLOEXEC;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (to_netctl, to_proxy) = pair.map_err(kernel("connect netctl and the proxy"))?;
        // It waits in the socket until netctl is there to read it.
        let spec = [IoSlice::new(setup.spec.as_bytes())];
        sendmsg::<()>(
            std::os::fd::AsRawFd::as_raw_fd(&to_proxy),
            &spec,
            &[],
            MsgFlags::empty(),
            None,
        )
        .map_err(kernel("send the spec"))?;
        // The box's first process outlives bubblewrap by a moment, and is ours to bury.
        set_child_subreaper(true).map_err(kernel("adopt what the box leaves"))?;
        let logs = setup.marked.run.directory().to_owned();
        let netctl = Start {
            name: "ocs-netctl",
            program: &setup.netctl,
            arguments: ["hold", "--userns"].map(OsString::from).into(),
        };
        parts.members.netctl = Some(netctl.of_fence(to_netctl, logs.join("netctl.log"))?);
        let arguments = setup.proxy_arguments.clone();
        let proxy = Start {
            name: "ocs-proxy",
            program: &setup.proxy,
            arguments,
        };
        parts.members.proxy = Some(proxy.of_fence(to_proxy, logs.join("proxy.log"))?);
        begin_gate(setup, parts).map_err(kernel("start the gate"))??;
        if let (Some(cgroups), Some(gate)) = (&setup.cgroups, &parts.members.agent) {
            // Before it is told anything: all of the box descends from it.
            cgroups
                .admit(gate.pid().as_raw())
                .map_err(|error| EngineError::fence("limit the box").because(error))?;
        }
        // After the starts: a process inherits what is blocked, and the proxy must hear that it is to end.
        let signals = Signals::take_over().map_err(kernel("take the signals over"))?;
        parts.members.signals = Some(signals);
        Ok(())
    }

    fn seal(&mut self, parts: &mut Parts) -> Result<ReadBack, EngineError> {
        let Members {
            netctl, signals, ..
        } = &mut parts.members;
        let Ready { pid: holder, ipv6 } = ready(netctl, signals.as_ref())?;
        let covers = self.setup()?.marked.covers.clone();
        tell(&mut parts.orders, &Join { holder, covers })?;
        Ok(ReadBack { ipv6 })
    }

    fn serve(&mut self, parts: &mut Parts) -> Result<(), EngineError> {
        let Members { proxy, signals, .. } = &mut parts.members;
        ready(proxy, signals.as_ref()).map(drop)
    }

    fn probe(&mut self, parts: &mut Parts) -> Result<Vec<Finding>, EngineError> {
        let targets = self.setup()?.targets.clone();
        // Where the gate is gone it cannot be told; what it said before it went is the better message.
        let told = tell(&mut parts.orders, &Try { targets });
        match report(parts)? {
            Some(Report::Findings(findings)) => Ok(findings),
            Some(Report::Failed(why)) => Err(EngineError::fence(why)),
            None => Err(told
                .err()
                .unwrap_or_else(|| EngineError::fence("the gate is gone"))),
        }
    }

    fn open(&mut self, parts: &mut Parts, _proven: &Proven) -> Result<(), EngineError> {
        let setup = self.setup()?;
        let open = Open {
            program: setup.bwrap.clone(),
            arguments: std::mem::take(&mut setup.box_arguments),
            command: setup.command.clone(),
        };
        let record_from = setup.marked.record_bytes();
        let Members {
            agent, terminal, ..
        } = &mut parts.members;
        *terminal = setup.terminal.then(Terminal::of_this_process).flatten();
        self.told.record_from = record_from;
        if let (Some(terminal), Some(gate)) = (terminal, agent) {
            terminal.offer(gate.pid());
        }
        tell(&mut parts.orders, &open)?;
        parts.orders = None;
        match report(parts)? {
            None => Ok(()),
            Some(Report::Failed(why)) => Err(EngineError::fence(why)),
            Some(Report::Findings(_)) => Err(EngineError::fence("the gate said too much")),
        }
    }

    fn attend(
        &mut self,
        parts: &mut Parts,
        until: Option<BorrowedFd<'_>>,
    ) -> Result<Ending, EngineError> {
        let setup = self.setup.as_mut().ok_or_else(EngineError::over)?;
        let mut boxed = InBox {
            members: &mut parts.members,
            ourselves: &setup.ourselves,
        };
        until_the_end(&mut boxed, &mut setup.marked, &mut self.told.notes, until)
    }

    fn end(&mut self, parts: Parts) -> Vec<EngineError> {
        let mut teardown = Teardown::default();
        let Parts {
            members,
            orders,
            alive,
        } = parts;
        let Members {
            signals,
            netctl,
            proxy,
            agent: gate,
            terminal,
        } = members;
        drop(orders);
        if let Some(mut gate) = gate {
            teardown.step(gate.end(None));
        }
        if let Some(alive) = alive {
            teardown.step(wait_until_gone(&alive));
        }
        if let Some(terminal) = terminal {
            terminal.end();
        }
        if let Some(mut proxy) = proxy {
            teardown.step(proxy.end(Some(DRAINED)));
        }
        if let Some(mut netctl) = netctl {
            teardown.step(netctl.end(None));
        }
        bury_the_rest();
        if let Some(setup) = self.setup.take() {
            let (removed, failed) = setup.marked.run.end();
            self.told.removed.extend(removed);
            for error in failed {
                teardown.step(Err(EngineError::fence(error)));
            }
        }
        drop(signals);
        teardown.failed()
    }

    fn told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }
}

fn begin_gate(setup: &mut Setup, parts: &mut Parts) -> nix::Result<Result<(), EngineError>> {
    let (orders_read, orders_write) = pipe2(OFlag::O_CLOEXEC)?;
    let (report_read, report_write) = pipe2(OFlag::O_CLOEXEC)?;
    let (alive_read, alive_write) = pipe2(OFlag::O_CLOEXEC)?;
    let mut arguments: Vec<OsString> = vec!["box-enter".into()];
    for (name, descriptor) in [
        ("--orders", &orders_read),
        ("--report", &report_write),
        ("--alive", &alive_write),
    ] {
        arguments.extend([name.into(), number(descriptor)]);
    }
    let gate = Start {
        name: "ocs box-enter",
        program: &setup.ourselves,
        arguments,
    };
    let kept = [&orders_read, &report_write, &alive_write].map(AsFd::as_fd);
    parts.orders = Some(File::from(orders_write));
    parts.alive = Some(alive_read);
    Ok(gate
        .of_box(&kept, report_read, std::mem::take(&mut setup.streams))
        .map(|gate| parts.members.agent = Some(gate)))
}

/// Waits for a part to say that it is ready: that one, and no other process.
fn ready(part: &mut Option<Part>, signals: Option<&Signals>) -> Result<Ready, EngineError> {
    let ready = members::ready(part, signals, READY)?;
    let ours = part.as_ref().map(|part| part.pid().as_raw());
    if i32::try_from(ready.pid).ok() == ours {
        Ok(ready)
    } else {
        let pid = ready.pid;
        Err(EngineError::fence(format!(
            "process {pid} answered in place of ours"
        )))
    }
}

fn tell(orders: &mut Option<File>, order: &impl Serialize) -> Result<(), EngineError> {
    let orders = orders.as_mut().ok_or_else(EngineError::not_started)?;
    let mut line = serde_json::to_vec(order).map_err(EngineError::fence)?;
    line.push(b'\n');
    orders
        .write_all(&line)
        .map_err(|error| EngineError::fence("tell the gate").because(error))
}

fn report(parts: &mut Parts) -> Result<Option<Report>, EngineError> {
    let Members { agent, signals, .. } = &mut parts.members;
    let (Some(gate), Some(signals)) = (agent, signals) else {
        return Err(EngineError::not_started());
    };
    let line = gate.line(PROBED, signals)?;
    line.map(|line| {
        serde_json::from_str(&line)
            .map_err(|_| EngineError::fence(format!("the gate said {line:?}")))
    })
    .transpose()
}

/// Waits for adopted processes that have ended; they end a moment after their descriptors are closed.
fn bury_the_rest() {
    for _ in 0..100 {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => {}
            // There are none.
            Err(_) => return,
        }
    }
}

/// The box's own first process holds the other end; when it is gone, the kernel has ended every process of the box.
fn wait_until_gone(alive: &OwnedFd) -> Result<(), EngineError> {
    let mut waiting = [PollFd::new(alive.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut waiting, PollTimeout::from(GONE)) {
            Ok(0) => return Err(EngineError::fence("the box's processes did not end")),
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(EngineError::fence("wait for the box's end").because(error)),
        }
    }
}
