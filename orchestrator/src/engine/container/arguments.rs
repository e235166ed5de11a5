//! The command lines of a sandbox's containers, as pure functions of what was settled. No value of a variable, no password and
//! no policy stands in any of them.
//!
//! Not here: calling the client (`client.rs`), and the order of the calls (`mod.rs`).
//! Clauses: B1, B2, B3, B5, B6, N11; COMPATIBILITY 1.16 to 1.22, P14.
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use policies::{Bytes, Limits};

use super::host::HostAddress;
use crate::engine::client::{Facts, Kind};
use crate::engine::cover::{Covers, How};
use crate::launch::{Access, Publish};

/// What everything of a run is called. The agent's container is called as opencode-sandbox called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) agent: String,
    pub(crate) holder: String,
    pub(crate) proxy: String,
    pub(crate) probe: String,
    /// The run's network and volume.
    pub(crate) own: String,
}

impl Names {
    /// `sandbox` is the `SANDBOX_ID`; `run` ends in what tells it from others.
    pub(crate) fn of(sandbox: &str, run: &str) -> Self {
        let agent = format!("opencode-sandbox-{sandbox}");
        let of_run = run.rsplit('-').next().unwrap_or(run);
        let own = format!("{agent}-{of_run}");
        Self {
            holder: format!("{own}-net"),
            proxy: format!("{own}-proxy"),
            probe: format!("{own}-probe"),
            agent,
            own,
        }
    }
}

/// By what a run's leftovers are found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) sandbox: String,
    pub(crate) run: String,
    /// The state directory: two users of one engine may have the same `SANDBOX_ID`.
    pub(crate) state: PathBuf,
}

impl Labels {
    /// As options of anything that is made.
    pub(crate) fn options(&self) -> Vec<OsString> {
        let mut state = OsString::from("ocs.state=");
        state.push(&self.state);
        let text = [
            format!("ocs.sandbox={}", self.sandbox).into(),
            format!("ocs.run={}", self.run).into(),
            state,
        ];
        text.into_iter()
            .flat_map(|label| ["--label".into(), label])
            .collect()
    }
}

/// What all containers of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) facts: Facts,
    pub(crate) names: Names,
    pub(crate) labels: Labels,
    /// Uid and gid of the proxy and of the agent, as the container counts them.
    pub(crate) ids: (u32, u32),
    /// The image of holder, proxy and probe.
    pub(crate) sidecar: String,
    /// Whether this host's kernel speaks IPv6.
    pub(crate) ipv6: bool,
    /// Our own limits of open files and of processes, which no container can exceed where the engine may not raise them.
    pub(crate) most: (u64, u64),
}

/// Something of the host that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) from: PathBuf,
    pub(crate) at: PathBuf,
    pub(crate) access: Access,
}

/// Where the volume lies, by which the sockets cross.
const VOLUME: &str = "/run/ocs";
const SOCKET: &str = "/run/ocs/net.sock";
/// What the proxy's hosts file calls the host.
const HOST: &str = "docker.host";

struct Words(Vec<OsString>);

impl Words {
    fn add<W: AsRef<OsStr>>(&mut self, words: impl IntoIterator<Item = W>) {
        self.0
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
    }

    fn pair(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.add([name.as_ref(), value.as_ref()]);
    }
}

impl Frame {
    /// `user:group` of the proxy, the probe and the agent.
    fn user(&self) -> String {
        format!("{}:{}", self.ids.0, self.ids.1)
    }

    /// What holds for every container: nothing is pulled, nothing may be gained.
    fn common(&self, verb: &str, name: &str) -> Words {
        let mut words = Words(vec![verb.into()]);
        words.add(["--pull", "never"]);
        words.pair("--name", name);
        words.add(self.labels.options());
        words.add(["--cap-drop", "ALL"]);
        words.pair("--security-opt", "no-new-privileges");
        words.add(["--read-only"]);
        words.pair("--ulimit", "core=0:0");
        words
    }

    /// Holder, proxy and probe: what they say goes to us, and is kept nowhere else.
    fn sidecar(&self, verb: &str, name: &str) -> Words {
        let mut words = self.common(verb, name);
        words.add(["-i", "--log-driver", "none"]);
        if self.kind == Kind::Podman {
            // Podman asks for a million of each unless told otherwise, which not every service may give.
            let (files, processes) = self.most;
            words.pair("--ulimit", format!("nofile={files}:{files}"));
            words.pair("--ulimit", format!("nproc={processes}:{processes}"));
        }
        if self.facts.limits {
            words.pair("--pids-limit", "64");
        }
        words
    }

    /// Rootless podman: the user is the same number in there, for all that share the namespace.
    fn user_namespace(&self) -> bool {
        self.kind == Kind::Podman && self.facts.rootless
    }

    /// Options of the volume: it is the holder's. Podman would give it to whichever container comes first; without root its own
    /// 0 is the user, and the holder's 0 the first of those that the user has besides (`--userns keep-id`).
    pub(crate) fn of_volume(&self) -> Vec<OsString> {
        match (self.kind, self.user_namespace()) {
            (Kind::Docker, _) => Vec::new(),
            (Kind::Podman, rootless) => {
                let holder = u8::from(rootless);
                vec![
                    "--opt".into(),
                    format!("o=uid={holder},gid={holder}").into(),
                ]
            }
        }
    }

    /// `ocs-netctl hold`, in a namespace with no interface but `lo`.
    pub(crate) fn holder(&self) -> Vec<OsString> {
        let mut words = self.sidecar("run", &self.names.holder);
        words.add(["--network", "none", "--hostname", "sandbox"]);
        if self.kind == Kind::Docker {
            // Nobody is asked but the stub; the host's own resolvers are no business of the agent's.
            words.add(["--dns", "127.0.0.1"]);
            if self.ipv6 {
                // Docker switches it off where a container has no address of it; then no packet of it would be recorded.
                words.add(["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"]);
            }
        }
        if self.user_namespace() {
            words.add(["--userns", "keep-id"]);
        }
        words.add(["--user", "0:0"]);
        for capability in ["NET_ADMIN", "NET_BIND_SERVICE", "SETPCAP"] {
            words.pair("--cap-add", capability);
        }
        words.pair("--volume", format!("{}:{VOLUME}", self.names.own));
        let uid = self.ids.0.to_string();
        words.pair("--entrypoint", "/bin/ocs-netctl");
        words.add([&self.sidecar, "hold", "--attached"]);
        words.add(["--socket", SOCKET, "--peer-uid", &uid]);
        words.0
    }

    /// `ocs-proxy`, on a network of its own. What it is called with names paths of the host: they are the same in there.
    pub(crate) fn proxy(&self, proxy: &Proxy, host: &HostAddress) -> Vec<OsString> {
        let Proxy {
            shown,
            publish,
            arguments,
            ..
        } = proxy;
        let mut words = self.sidecar("run", &self.names.proxy);
        words.pair("--network", self.network());
        words.pair("--user", self.user());
        if self.user_namespace() {
            words.add(["--userns", "keep-id"]);
        }
        words.pair("--volume", format!("{}:{VOLUME}:ro", self.names.own));
        for mount in shown {
            words.pair("--mount", mount.option());
        }
        if let Some(host) = host {
            words.pair("--add-host", format!("{HOST}:{host}"));
        }
        for Publish { host, .. } in publish {
            words.pair("--publish", format!("127.0.0.1:{host}:{host}"));
        }
        words.pair("--entrypoint", "/bin/ocs-proxy");
        words.add([&self.sidecar]);
        words.add(arguments);
        words.add(["--sockets", SOCKET]);
        if !publish.is_empty() {
            words.add(["--behind-gateway"]);
        }
        if host.is_some() {
            words.add(["--host-in-hosts", HOST]);
        }
        words.0
    }

    /// The proxy's network: one where no neighbour is.
    fn network(&self) -> String {
        if self.user_namespace() {
            // Of each container alone; the host's loopback is where host-ports are, and the proxy dials no others. By this
            // handler a published port is reached from the gateway, as the proxy demands, and not from the container itself.
            "slirp4netns:allow_host_loopback=true,port_handler=slirp4netns".to_owned()
        } else {
            self.names.own.clone()
        }
    }

    /// Whether the proxy's network has to be made.
    pub(crate) fn needs_network(&self) -> bool {
        !self.user_namespace()
    }

    /// `ocs-netctl probe`, joined to the namespace, as weak as the agent.
    pub(crate) fn probe(&self) -> Vec<OsString> {
        let mut words = self.sidecar("run", &self.names.probe);
        words.add(["--rm"]);
        words.pair("--user", self.user());
        self.join(&mut words);
        words.pair("--entrypoint", "/bin/ocs-netctl");
        words.add([&self.sidecar, "probe"]);
        words.0
    }

    fn join(&self, words: &mut Words) {
        words.pair("--network", format!("container:{}", self.names.holder));
        if self.user_namespace() {
            words.pair("--userns", format!("container:{}", self.names.holder));
        }
    }

    /// The agent's container, made and not started.
    pub(crate) fn agent(&self, agent: &Agent<'_>) -> Vec<OsString> {
        let mut words = self.common("create", &self.names.agent);
        words.add(["--init"]);
        words.pair("--user", self.user());
        self.join(&mut words);
        if agent.reads {
            words.add(["-i"]);
        }
        if agent.terminal {
            words.add(["-t"]);
        }
        let mut profile = OsString::from("seccomp=");
        profile.push(agent.seccomp);
        words.pair("--security-opt", profile);
        self.limits(agent.limits, &mut words);
        self.log(&mut words);
        match agent.health {
            Some(port) => {
                // Bash's own connect: not every image has a client.
                words.pair(
                    "--health-cmd",
                    format!("bash -c ': </dev/tcp/127.0.0.1/{port}'"),
                );
                words.add(["--health-interval", "30s", "--health-timeout", "10s"]);
                words.add(["--health-retries", "3", "--health-start-period", "30s"]);
            }
            // An image's own would ask a port that nobody serves in this mode.
            None => words.add(["--no-healthcheck"]),
        }
        for (at, options) in TMPFS {
            words.pair(
                "--tmpfs",
                format!("{at}:rw,nosuid,nodev,mode=1777,{options}"),
            );
        }
        for mount in agent.shown {
            words.pair("--mount", mount.option());
        }
        words.pair("--env-file", agent.environment);
        for name in agent.from_client {
            words.pair("--env", name);
        }
        words.pair("--workdir", agent.directory);
        words.add(["--entrypoint", ""]);
        words.add([agent.image]);
        words.add(agent.command);
        words.0
    }

    /// COMPATIBILITY 1.18; the config's own win. Processes are counted by the cgroup and not by the limit of the user's, which would
    /// count everything of the same user on the host.
    fn limits(&self, limits: Limits, words: &mut Words) {
        words.pair("--ulimit", "nofile=4096:8192");
        if self.kind == Kind::Podman {
            let (_, processes) = self.most;
            words.pair("--ulimit", format!("nproc={processes}:{processes}"));
        }
        if !self.facts.limits {
            return;
        }
        words.pair("--pids-limit", limits.pids.unwrap_or(512).to_string());
        let Bytes(memory) = limits.memory.unwrap_or(Bytes(8 << 30));
        words.pair("--memory", memory.to_string());
        let cpus = limits.cpus.map(|cpus| cpus.milli);
        // More than there are is an error of the engine's.
        let usual = (self.facts.cpus > 4).then_some(4000);
        if let Some(milli) = cpus.or(usual) {
            words.pair("--cpus", format!("{}.{:03}", milli / 1000, milli % 1000));
        }
    }

    /// COMPATIBILITY 1.21.
    fn log(&self, words: &mut Words) {
        match self.kind {
            Kind::Docker => {
                words.add(["--log-driver", "json-file", "--log-opt", "max-size=50m"]);
                words.add(["--log-opt", "max-file=5"]);
            }
            // It keeps one file, and begins it anew.
            Kind::Podman => words.add(["--log-driver", "k8s-file", "--log-opt", "max-size=50mb"]),
        }
    }
}

/// COMPATIBILITY 1.19. What builds and package managers run lies in the caches; elsewhere nothing is executed.
const TMPFS: [(&str, &str); 8] = [
    ("/tmp", "size=512m,noexec"),
    ("/var/tmp", "size=128m,noexec"),
    ("/run", "size=64m,noexec"),
    ("/home/agent/.config", "size=64m,noexec"),
    ("/home/agent/.cache", "size=256m,exec"),
    ("/home/agent/.local", "size=128m,exec"),
    ("/var/lib/apt", "size=256m,noexec"),
    ("/var/cache/apt", "size=256m,noexec"),
];

/// What the proxy's container is made of.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// What of the host it sees.
    pub(crate) shown: Vec<Mount>,
    /// Ports of the host that it serves.
    pub(crate) publish: Vec<Publish>,
    /// What it is called with.
    pub(crate) arguments: Vec<OsString>,
    /// Whether ports of the host are to be reached.
    pub(crate) wants_host: bool,
}

/// What the agent's container is made of.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    pub(crate) image: &'a str,
    pub(crate) command: &'a [OsString],
    pub(crate) directory: &'a Path,
    pub(crate) shown: &'a [Mount],
    /// A file of `NAME=value` lines, 0600.
    pub(crate) environment: &'a Path,
    /// Variables that no line can hold: they come by the client's own environment.
    pub(crate) from_client: &'a [OsString],
    pub(crate) limits: Limits,
    /// A profile, as a file.
    pub(crate) seccomp: &'a Path,
    /// The port that its server listens on, where it is one.
    pub(crate) health: Option<u16>,
    pub(crate) reads: bool,
    pub(crate) terminal: bool,
}

impl Mount {
    /// Read-only, at its own path.
    pub(crate) fn in_place(path: &Path, access: Access) -> Self {
        Self {
            from: path.to_owned(),
            at: path.to_owned(),
            access,
        }
    }

    /// As `--mount` has it: one record of comma-separated values (RFC 4180), which a path may need quotes in.
    fn option(&self) -> OsString {
        let mut option = OsString::from("type=bind");
        for (key, path) in [("source", &self.from), ("target", &self.at)] {
            let text = path.to_string_lossy();
            if text.contains([',', '"']) {
                option.push(format!(",\"{key}={}\"", text.replace('"', "\"\"")));
            } else {
                option.push(format!(",{key}="));
                option.push(path);
            }
        }
        if self.access == Access::ReadOnly {
            option.push(",readonly");
        }
        option
    }
}

/// The project and what protects its control files, directories before what is in them.
pub(crate) fn project(covers: &Covers, at: &Path) -> Vec<Mount> {
    let mut mounts = vec![Mount {
        from: covers.project.clone(),
        at: at.to_owned(),
        access: Access::ReadWrite,
    }];
    mounts.extend(covers.list.iter().enumerate().map(|(number, cover)| {
        let (from, access) = match &cover.how {
            How::Pin => (covers.project.join(&cover.path), Access::ReadWrite),
            How::ReadOnly => (covers.project.join(&cover.path), Access::ReadOnly),
            How::Show(_) => (covers.corner.join(number.to_string()), Access::ReadOnly),
        };
        Mount {
            from,
            at: at.join(&cover.path),
            access,
        }
    }));
    mounts
}

#[cfg(test)]
mod tests;
