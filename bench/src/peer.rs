//! The proxies that are measured: how each is started, with its logs off (ours with its record on).

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{cpu, origin, sealed};

/// A server that is stopped when the value is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// What clients are captured in, and who holds it.
    sealed: Option<(Child, File)>,
}

impl Daemon {
    /// It and all that it started.
    #[must_use]
    pub(crate) fn pids(&self) -> Vec<u32> {
        cpu::family(self.child.id())
    }

    /// The namespace that its clients have to be in, if any.
    #[must_use]
    pub(crate) fn namespace(&self) -> Option<&File> {
        self.sealed.as_ref().map(|(_, namespace)| namespace)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Squid leaves its shared memory behind, and does not start again, unless it may end by itself.
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            for pid in self.pids() {
                // Gone already is as good, so the answer does not matter.
                i32::try_from(pid)
                    .map(|pid| kill(Pid::from_raw(pid), signal))
                    .ok();
            }
            for _ in 0..200 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    if let Some((mut holder, _)) = self.sealed.take() {
                        holder.wait().ok(); // it ends with the proxy
                    }
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A proxy under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The kernel's own cost: `bench/floor.c`.
    Floor,
    /// Ours.
    Ocs,
    /// Ours, for clients that know of no proxy.
    OcsCaptured,
    /// Debian's Squid.
    Squid,
    /// Debian's tinyproxy.
    Tinyproxy,
}

impl Peer {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 5] = [
        Self::Floor,
        Self::Ocs,
        Self::OcsCaptured,
        Self::Squid,
        Self::Tinyproxy,
    ];

    /// Its name in the table.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ocs => "ocs",
            Self::OcsCaptured => "ocs captured",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    /// Where it listens; the one that captures is reached by the addresses of its names.
    #[must_use]
    pub(crate) fn address(self) -> SocketAddr {
        let port = match self {
            Self::Floor => 18090,
            Self::Ocs | Self::OcsCaptured => 18091,
            Self::Squid => 18092,
            Self::Tinyproxy => 18093,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Starts it. The floor knows one origin only, so it is started per origin port.
    ///
    /// # Errors
    /// Its program is missing or does not listen.
    pub(crate) fn start(self, dir: &Path, binaries: &Path, origin_port: u16) -> Result<Daemon> {
        let dir = dir.join(self.name());
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?; // squid and tinyproxy give root up
        let port = self.address().port();
        match self {
            Self::Floor => {
                let built = dir.join("floor");
                compile_floor(&built)?;
                spawn(
                    &built.display().to_string(),
                    &[&port.to_string(), &origin_port.to_string()],
                    port,
                )
            }
            Self::Ocs => ocs(&dir, binaries, 0, &dir),
            Self::OcsCaptured => {
                let (policy, audit) = ocs_files(&dir, 0, &dir)?;
                let (child, holder, namespace) = sealed::start(binaries, &policy, &audit)?;
                Ok(Daemon {
                    child,
                    sealed: Some((holder, namespace)),
                })
            }
            Self::Squid => {
                let conf = dir.join("squid.conf");
                fs::write(&conf, squid_conf(&dir, port))?;
                spawn("squid", &["-N", "-f", &conf.display().to_string()], port)
            }
            Self::Tinyproxy => {
                let (conf, filter) = (dir.join("tinyproxy.conf"), dir.join("filter"));
                fs::write(&filter, "^origin\\.test$\n")?;
                fs::write(&conf, tinyproxy_conf(&dir, &filter, port))?;
                spawn(
                    "tinyproxy",
                    &["-d", "-c", &conf.display().to_string()],
                    port,
                )
            }
        }
    }
}

/// Starts ours with so many entries beside those that are used, its record in that directory.
///
/// # Errors
/// Its program is missing or does not listen.
pub(crate) fn ocs(dir: &Path, binaries: &Path, entries: usize, record: &Path) -> Result<Daemon> {
    let (policy, audit) = ocs_files(dir, entries, record)?;
    let address = Peer::Ocs.address();
    spawn(
        &binaries.join("ocs-proxy").display().to_string(),
        &[
            "--policy",
            &policy.display().to_string(),
            "--listen",
            &address.to_string(),
            "--audit",
            &audit.display().to_string(),
            "--flood-after",
            sealed::LINE_BY_LINE,
        ],
        address.port(),
    )
}

/// Our config, and where our record goes.
fn ocs_files(dir: &Path, entries: usize, record: &Path) -> Result<(PathBuf, PathBuf)> {
    let (policy, audit) = (
        dir.join("opencode-sandbox-config.yaml"),
        record.join("record.jsonl"),
    );
    fs::write(&policy, ocs_policy(entries))?;
    drop(fs::remove_file(&audit)); // a record of an earlier start would be verified and continued
    Ok((policy, audit))
}

fn tinyproxy_conf(dir: &Path, filter: &Path, port: u16) -> String {
    format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 600\nLogFile \"{}/log\"\nLogLevel Critical\nMaxClients 10000\n\
         Filter \"{}\"\nFilterDefaultDeny Yes\nFilterExtended On\nConnectPort {}\nConnectPort {}\nConnectPort {}\nAllow 127.0.0.1\n",
        dir.display(),
        filter.display(),
        origin::HTTP_PORT,
        origin::SINK_PORT,
        origin::TLS_PORT,
    )
}

fn ocs_policy(entries: usize) -> String {
    let name = origin::NAME;
    let mut text = format!(
        "sandbox-name: bench\ntcp-endpoints:\n  - {name}:{http}\n  - {name}:{sink}\nhttp-domain-whitelist:\n  - {name}:{http}\n\
         \x20 - {name}:{plain}\n  - {name}:{tls}\nprivate-addresses:\n  - 127.0.0.1\n",
        http = origin::HTTP_PORT,
        plain = origin::PLAIN_PORT,
        sink = origin::SINK_PORT,
        tls = origin::TLS_PORT,
    );
    text.push_str("http-domain-denylist:\n  - never.test\n");
    for entry in 0..entries {
        text.push_str(&format!("  - host-{entry}.example.org\n"));
    }
    text
}

fn squid_conf(dir: &Path, port: u16) -> String {
    format!(
        "http_port 127.0.0.1:{port}\nacl ok dstdomain {name}\nacl p port {http} {sink} {tls}\nacl CONNECT method CONNECT\n\
         http_access deny !p\nhttp_access allow ok\nhttp_access deny all\ncache deny all\naccess_log none\ncache_log /dev/null\n\
         cache_store_log none\ndebug_options ALL,0\nhosts_file /etc/hosts\npid_filename {dir}/squid.pid\ncoredump_dir {dir}\n\
         max_filedescriptors 20000\nvisible_hostname bench\nshutdown_lifetime 0 seconds\n",
        name = origin::NAME,
        http = origin::HTTP_PORT,
        sink = origin::SINK_PORT,
        tls = origin::TLS_PORT,
        dir = dir.display(),
    )
}

/// Starts a program and waits until it listens on `port` of 127.0.0.1.
///
/// # Errors
/// It is missing, ends, or does not listen within 20 s.
#[expect(
    clippy::disallowed_methods,
    reason = "the bench starts the servers that it measures; nothing here is in a sandbox's path"
)]
pub(crate) fn spawn(program: &str, arguments: &[&str], port: u16) -> Result<Daemon> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| {
            format!("start {program}: is it installed? (make bench installs what it needs)")
        })?;
    for _ in 0..400 {
        if listens(port) {
            return Ok(Daemon {
                child,
                sealed: None,
            });
        }
        if let Some(status) = child.try_wait()? {
            bail!("{program} ended at its start: {status}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(Daemon {
        child,
        sealed: None,
    });
    bail!("{program} does not listen on 127.0.0.1:{port}")
}

fn listens(port: u16) -> bool {
    // A connect would cost the server one of the operations that are counted: the table of sockets costs it nothing.
    let wanted = format!("0100007F:{port:04X} 00000000:0000 0A");
    fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&wanted))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bench builds its own floor with the system's C compiler"
)]
fn compile_floor(to: &Path) -> Result<()> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("floor.c");
    let status = Command::new("cc")
        .args(["-O2", "-o"])
        .arg(to)
        .arg(&source)
        .status()
        .context("start cc")?;
    if !status.success() {
        bail!("cc could not build {}", source.display());
    }
    Ok(())
}
