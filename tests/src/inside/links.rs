//! The world's two networks: the *host*, whose one uplink leads to the *internet*, which leads nowhere.
//!
//! The internet's side answers on every address there is (each is local to it), so whatever the code under test lets
//! out is met, answered and counted, and nothing reaches a real machine: neither side has any other interface.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::gettid;

/// The host's own address.
pub const HOST_V4: &str = "192.168.77.2";
/// The host's own address.
pub const HOST_V6: &str = "2a0f:ffff:77::2";
/// Where the resolver listens.
pub const RESOLVER: &str = "11.22.33.53";

/// The two namespaces, by descriptor.
#[derive(Debug)]
pub(super) struct Networks {
    internet: File,
    host: File,
}

impl Networks {
    /// Makes the second namespace, joins both by one link, and proves that no other way exists.
    pub(super) fn make() -> Result<Self> {
        let host =
            File::open("/proc/thread-self/ns/net").context("open the host's network namespace")?;
        let (ready_in, ready_out) = mpsc::channel();
        let (linked_in, linked_out) = mpsc::channel();
        let maker = thread::spawn(move || -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("unshare the internet's network namespace")?;
            ready_in.send(gettid()).context("report the thread")?;
            linked_out.recv().context("wait for the link")?;
            lead_nowhere()?;
            File::open("/proc/thread-self/ns/net").context("open the internet's network namespace")
        });
        let thread_id = ready_out
            .recv()
            .context("the internet's namespace was not made")?;
        let linked = link(thread_id.as_raw());
        let told = linked_in.send(()); // whatever came of the link, the thread must end
        let internet = maker
            .join()
            .map_err(|_| anyhow::anyhow!("the namespace's thread panicked"))?;
        linked?;
        told.context("tell the internet's thread")?;
        prove("the host", &["lo", "uplink"])?;
        Ok(Self {
            internet: internet?,
            host,
        })
    }

    /// Runs `work` on a thread that lives in the internet's namespace: its sockets belong there.
    pub(super) fn on_internet<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        Self::on(&self.internet, work)
    }

    /// The same for the host's namespace.
    pub(super) fn on_host<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        Self::on(&self.host, work)
    }

    fn on<T: Send + 'static>(
        namespace: &File,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = namespace
            .try_clone()
            .context("clone a namespace's descriptor")?;
        thread::spawn(move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)
                .context("enter a network namespace")?;
            work()
        })
        .join()
        .map_err(|_| anyhow::anyhow!("a thread in a namespace panicked"))?
    }
}

/// The host's end: an ordinary LAN address and a default route.
fn link(peer_thread: i32) -> Result<()> {
    let peer = peer_thread.to_string();
    ip(&["link", "set", "lo", "up"])?;
    ip(&[
        "link", "add", "uplink", "type", "veth", "peer", "name", "net0", "netns", &peer,
    ])?;
    ip(&["addr", "add", "192.168.77.2/24", "dev", "uplink"])?;
    ip(&[
        "-6",
        "addr",
        "add",
        "2a0f:ffff:77::2/64",
        "dev",
        "uplink",
        "nodad",
    ])?;
    ip(&["link", "set", "uplink", "up"])?;
    ip(&["route", "add", "default", "via", "192.168.77.1"])?;
    ip(&["-6", "route", "add", "default", "via", "2a0f:ffff:77::1"])
}

/// The internet's end: every address is local to it.
fn lead_nowhere() -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["addr", "add", "192.168.77.1/24", "dev", "net0"])?;
    ip(&[
        "-6",
        "addr",
        "add",
        "2a0f:ffff:77::1/64",
        "dev",
        "net0",
        "nodad",
    ])?;
    ip(&["link", "set", "net0", "up"])?;
    // In the main table, so that the way back to the host (a longer prefix there) is found first.
    ip(&[
        "route", "add", "local", "default", "dev", "lo", "table", "main",
    ])?;
    ip(&[
        "-6", "route", "add", "local", "default", "dev", "lo", "table", "main",
    ])?;
    prove("the internet", &["lo", "net0"])
}

/// No world is used whose networks have an interface that we did not make.
fn prove(side: &str, expected: &[&str]) -> Result<()> {
    let found = interfaces()?;
    ensure!(
        found == expected,
        "{side} of the world has interfaces {found:?}, not {expected:?}: it may lead out"
    );
    Ok(())
}

/// Names of the calling thread's interfaces, sorted.
pub(super) fn interfaces() -> Result<Vec<String>> {
    let listing = run("ip", &["-j", "link", "show"])?;
    let links: Vec<serde_json::Value> =
        serde_json::from_str(&listing).context("read `ip -j link`")?;
    let mut names: Vec<String> = links
        .iter()
        .filter_map(|link| link.get("ifname")?.as_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments).map(drop)
}

/// Runs a program of the system to its end and gives its output.
#[expect(
    clippy::disallowed_methods,
    reason = "the world is made with the system's own ip and nft"
)]
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program} (packages iproute2 and nftables)"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} answered in no UTF-8"))
}
