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
use policies::Port;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::bwrap::Argument;
use self::cgroup::Cgroups;
use self::orders::{Join, Open, Report, Try};
use crate::engine::cover::Covers;
use crate::engine::part::{Part, Start, number};
use crate::engine::signals::Signals;
use crate::engine::terminal::Terminal;
use crate::engine::{Ending, Engine, EngineError, ReadBack, Told};
use crate::launch::Streams;
use crate::policy_copy::PolicyCopy;
use crate::probe::{Finding, Proven, Targets};
use crate::state;
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
    /// What to protect in the project.
    pub(crate) covers: Covers,
    /// Names, seen from the project, that must not come to be.
    pub(crate) forbidden: Vec<PathBuf>,
    /// What must be refused before the agent starts.
    pub(crate) targets: Targets,
    /// The policy that the proxy reads.
    pub(crate) policy: PolicyCopy,
    /// The run's place on the disk.
    pub(crate) run: state::Run,
    /// Ports of the namespace that the proxy may lead connections of the host to.
    pub(crate) published: Vec<Port>,
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
    signals: Option<Signals>,
    netctl: Option<Part>,
    proxy: Option<Part>,
    gate: Option<Part>,
    orders: Option<File>,
    /// Ends when the last process that could be the box is gone.
    alive: Option<OwnedFd>,
    terminal: Option<Terminal>,
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
        self.setup
            .as_mut()
            .ok_or_else(|| EngineError::fence("the run is over"))
    }
}

/// What netctl and the proxy say first (docs/architecture.md, "How listeners cross").
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Said {
    Failed {
        error: String,
        #[serde(default)]
        differences: Vec<String>,
    },
    Ready {
        pid: u32,
        #[serde(default)]
        ipv6: bool,
    },
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
        let spec = spec(&setup.published);
        let spec = [IoSlice::new(spec.as_bytes())];
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
        let logs = setup.run.directory().to_owned();
        let netctl = Start {
            name: "ocs-netctl",
            program: &setup.netctl,
            arguments: ["hold", "--userns"].map(OsString::from).into(),
        };
        parts.netctl = Some(netctl.of_fence(to_netctl, logs.join("netctl.log"))?);
        let arguments = setup.proxy_arguments.clone();
        let proxy = Start {
            name: "ocs-proxy",
            program: &setup.proxy,
            arguments,
        };
        parts.proxy = Some(proxy.of_fence(to_proxy, logs.join("proxy.log"))?);
        begin_gate(setup, parts).map_err(kernel("start the gate"))??;
        if let (Some(cgroups), Some(gate)) = (&setup.cgroups, &parts.gate) {
            // Before it is told anything: all of the box descends from it.
            cgroups
                .admit(gate.pid().as_raw())
                .map_err(|error| EngineError::fence("limit the box").because(error))?;
        }
        // After the starts: a process inherits what is blocked, and the proxy must hear that it is to end.
        parts.signals = Some(Signals::take_over().map_err(kernel("take the signals over"))?);
        Ok(())
    }

    fn seal(&mut self, parts: &mut Parts) -> Result<ReadBack, EngineError> {
        let (holder, ipv6) = ready(&mut parts.netctl, parts.signals.as_ref())?;
        let covers = self.setup()?.covers.clone();
        tell(&mut parts.orders, &Join { holder, covers })?;
        Ok(ReadBack { ipv6 })
    }

    fn serve(&mut self, parts: &mut Parts) -> Result<(), EngineError> {
        ready(&mut parts.proxy, parts.signals.as_ref()).map(drop)
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
        let record = setup
            .run
            .record()
            .metadata()
            .map_or(0, |record| record.len());
        parts.terminal = setup.terminal.then(Terminal::of_this_process).flatten();
        self.told.record_from = record;
        if let (Some(terminal), Some(gate)) = (&mut parts.terminal, &parts.gate) {
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
        attend::until_the_end(self, parts, until)
    }

    fn end(&mut self, parts: Parts) -> Vec<EngineError> {
        let mut teardown = Teardown::default();
        let Parts {
            signals,
            netctl,
            proxy,
            gate,
            orders,
            alive,
            terminal,
        } = parts;
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
            let (removed, failed) = setup.run.end();
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

/// The sealed topology with the ports of docs/architecture.md. Group 0 of NFLOG is anybody's default.
fn spec(published: &[Port]) -> String {
    let published: Vec<u16> = published.iter().map(|port| port.get()).collect();
    let spec = json!({"topology": "sealed", "v": 1, "explicit": 3128, "capture": 3129, "dns": 53, "nflog_group": 1, "published": published});
    spec.to_string()
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
        .map(|gate| parts.gate = Some(gate)))
}

/// Waits for a part to say that it is ready; gives its number and what it said of IPv6.
fn ready(part: &mut Option<Part>, signals: Option<&Signals>) -> Result<(u32, bool), EngineError> {
    let (Some(part), Some(signals)) = (part, signals) else {
        return Err(EngineError::fence("nothing was started"));
    };
    let Some(line) = part.line(READY, signals)? else {
        return Err(part.gone());
    };
    match serde_json::from_str(&line) {
        Ok(Said::Ready { pid, ipv6 }) if i32::try_from(pid) == Ok(part.pid().as_raw()) => {
            Ok((pid, ipv6))
        }
        Ok(Said::Ready { pid, .. }) => Err(EngineError::fence(format!(
            "process {pid} answered in place of ours"
        ))),
        Ok(Said::Failed { error, differences }) => Err(part.refused(&error, &differences)),
        Err(_) => Err(EngineError::fence(format!("{} said {line:?}", part.name()))),
    }
}

fn tell(orders: &mut Option<File>, order: &impl Serialize) -> Result<(), EngineError> {
    let orders = orders
        .as_mut()
        .ok_or_else(|| EngineError::fence("nothing was started"))?;
    let mut line = serde_json::to_vec(order).map_err(EngineError::fence)?;
    line.push(b'\n');
    orders
        .write_all(&line)
        .map_err(|error| EngineError::fence("tell the gate").because(error))
}

fn report(parts: &mut Parts) -> Result<Option<Report>, EngineError> {
    let (Some(gate), Some(signals)) = (&mut parts.gate, &parts.signals) else {
        return Err(EngineError::fence("nothing was started"));
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
