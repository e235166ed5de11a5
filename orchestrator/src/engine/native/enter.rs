//! `ocs box-enter`: the process at the gate. It joins the fence's namespaces, covers the project's control files, tries the
//! fence, reports, and waits. Only on the word does it become bubblewrap; at the end of its orders it ends.
//!
//! It dies with `ocs`. It has no threads when it changes namespaces: the kernel allows that to nobody else.
//! Clauses: U1, B3, B5, B6.
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use serde::de::DeserializeOwned;

use super::bwrap::Argument;
use super::orders::{Join, Mend, Open, Report, Try};
use super::{mounts, seccomp};
use crate::exit::{Exit, Failure};
use crate::probe;

/// The descriptors that `ocs run` starts it with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    /// Orders come here.
    pub(crate) orders: RawFd,
    /// The report goes there.
    pub(crate) report: RawFd,
    /// Stays open as long as the box lives.
    pub(crate) alive: RawFd,
}

/// Stands at the gate.
///
/// # Errors
/// The orders ended, or could not be followed. Where it was asked for a report, that says so too.
pub(crate) fn stand(descriptors: Descriptors) -> Result<Exit, Failure> {
    let failed = |error: &anyhow::Error| Failure::new(Exit::Fence, format!("box-enter: {error:#}"));
    let Descriptors {
        orders,
        report,
        alive,
    } = descriptors;
    let mut report =
        taken(report, OpenOptions::new().write(true)).map_err(|error| failed(&error.into()))?;
    let Err(error) = until_box(orders, &mut report, alive);
    // ocs reads this pipe until bubblewrap has taken over; where ocs is gone, nobody is left to tell.
    drop(say(&mut report, &Report::Failed(format!("{error:#}"))));
    Err(failed(&error))
}

fn until_box(orders: RawFd, report: &mut File, alive: RawFd) -> anyhow::Result<Infallible> {
    use anyhow::Context;
    die_with_ocs()?;
    let orders = taken(orders, OpenOptions::new().read(true)).context("read orders")?;
    let mut orders = BufReader::new(orders);
    let filters = seccomp::programs().context("make the system call filters")?;
    order::<Join>(&mut orders)?.follow()?;
    let Try { targets } = order(&mut orders)?;
    say(report, &Report::Findings(probe::run(&targets))).context("report")?;
    let open: Open = order(&mut orders)?;
    drop(orders);
    open.follow(&filters, alive)
}

/// `ocs box-mend`: covers again what a program on the host uncovered, from inside the mount namespace of the gate.
///
/// # Errors
/// A control file cannot be protected any longer.
pub(crate) fn mend(orders: RawFd) -> Result<Exit, Failure> {
    let mend = || {
        die_with_ocs()?;
        let orders = taken(orders, OpenOptions::new().read(true))?;
        order::<Mend>(&mut BufReader::new(orders))?.follow()
    };
    let failed = |error: anyhow::Error| Failure::new(Exit::Fence, format!("box-mend: {error:#}"));
    mend().map(|()| Exit::Ok).map_err(failed)
}

impl Join {
    fn follow(&self) -> anyhow::Result<()> {
        use anyhow::Context;
        let (user, net) = (
            namespace(self.holder, "user")?,
            namespace(self.holder, "net")?,
        );
        let root = nix::unistd::geteuid().is_root();
        if root {
            // Root's other groups would go along into the box; an ordinary user's cannot be given up.
            nix::unistd::setgroups(&[]).context("give up groups")?;
        }
        setns(&user, CloneFlags::CLONE_NEWUSER).context("join the user namespace")?;
        setns(&net, CloneFlags::CLONE_NEWNET).context("join the network namespace")?;
        // Changing credentials may have cleared it (kernel/cred.c, commit_creds).
        die_with_ocs()?;
        unshare(CloneFlags::CLONE_NEWNS).context("take a mount namespace")?;
        mounts::cover(&self.covers).context("protect the control files")
    }
}

impl Mend {
    fn follow(&self) -> anyhow::Result<()> {
        use anyhow::Context;
        let (user, mount) = (namespace(self.gate, "user")?, namespace(self.gate, "mnt")?);
        setns(&user, CloneFlags::CLONE_NEWUSER).context("join the user namespace")?;
        setns(&mount, CloneFlags::CLONE_NEWNS).context("join the mount namespace")?;
        die_with_ocs()?;
        mounts::mend(&self.covers).context("protect the control files")
    }
}

impl Open {
    /// Becomes bubblewrap; returns only where that failed.
    fn follow(&self, filters: &[Vec<u8>], alive: RawFd) -> anyhow::Result<Infallible> {
        use anyhow::Context;
        let mut kept: Vec<OwnedFd> = Vec::new();
        let mut arguments = Vec::new();
        for argument in &self.arguments {
            let mut number_of = |content: &[u8]| {
                let file = readable(content)?;
                let number = file.as_raw_fd().to_string();
                kept.push(file);
                io::Result::Ok(number.into_bytes())
            };
            let bytes = match argument {
                Argument::Alive => alive.to_string().into_bytes(),
                Argument::Bytes(bytes) => bytes.clone(),
                Argument::Content(text) => number_of(text.as_bytes())?,
                Argument::Filter(index) => {
                    number_of(filters.get(*index).context("no such filter")?)?
                }
                Argument::Text(text) => text.clone().into_bytes(),
            };
            arguments.extend_from_slice(&bytes);
            arguments.push(0);
        }
        let list = readable(&arguments)?;
        let number = list.as_raw_fd().to_string().into_bytes();
        let mut command = vec![
            b"bwrap".to_vec(),
            b"--args".to_vec(),
            number,
            b"--".to_vec(),
        ];
        command.extend(self.command.iter().cloned());
        let command = command
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()?;
        // Bubblewrap outlives its child: what a terminal or a person sends to the group is for the agent, whose own mask
        // `box-exec` clears again.
        let not_for_it = [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
        ];
        not_for_it.into_iter().collect::<SigSet>().thread_block()?;
        let program = CString::new(self.program.as_os_str().as_bytes())?;
        Ok(nix::unistd::execv(&program, &command)?)
    }
}

fn namespace(process: u32, kind: &str) -> anyhow::Result<File> {
    use anyhow::Context;
    let path = format!("/proc/{process}/ns/{kind}");
    File::open(&path).with_context(|| format!("open {path}"))
}

/// A file in memory that survives the change into another program, to be read from its start.
fn readable(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"ocs", MFdFlags::empty())?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

fn die_with_ocs() -> anyhow::Result<()> {
    use anyhow::Context;
    set_pdeathsig(Signal::SIGKILL).context("die with ocs")
}

/// Takes a descriptor that we were started with: opened anew under a number of our own, and closed under the old.
fn taken(number: RawFd, how: &OpenOptions) -> io::Result<File> {
    let file = how.open(Path::new("/proc/self/fd").join(number.to_string()))?;
    nix::unistd::close(number)?;
    Ok(file)
}

fn order<T: DeserializeOwned>(orders: &mut impl BufRead) -> anyhow::Result<T> {
    let mut line = String::new();
    orders.read_line(&mut line)?;
    // The end of the orders is the end of ocs, or of its wish for a box.
    anyhow::ensure!(line.ends_with('\n'), "the orders ended");
    Ok(serde_json::from_str(&line)?)
}

fn say(report: &mut File, what: &Report) -> anyhow::Result<()> {
    let line = serde_json::to_string(what)?;
    Ok(report.write_all(format!("{line}\n").as_bytes())?)
}
