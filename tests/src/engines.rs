//! A container engine of a test's own: Docker's daemon, podman as root, or podman without root, in a world's namespaces.
//!
//! What engines store is kept below `target/engines` from test to test, so that the base is imported once; a lock gives it to
//! one test at a time, and everything but images is removed before each. Nothing is pulled: the base is made here, by
//! debootstrap. Needs root, and the packages docker.io, podman and debootstrap.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde_json::Value;

use crate::order::Order;
use crate::project::Project;
use crate::rehearsal::agent_directory;
use crate::run::{Finished, Running};
use crate::world::{As, Call, World};
use crate::{binaries, command};

/// Whose containers, and by whom they are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Docker's daemon, used by an ordinary user who may speak to it.
    Docker,
    /// Podman, used by root.
    Podman,
    /// Podman without root.
    Rootless,
}

impl Kind {
    /// The client, which is also what `--engine` calls it.
    #[must_use]
    pub fn client(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman | Self::Rootless => "podman",
        }
    }

    /// Who uses it.
    #[must_use]
    pub fn who(self) -> As {
        match self {
            Self::Docker | Self::Rootless => As::Ordinary,
            Self::Podman => As::Root,
        }
    }

    fn stored(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Rootless => "rootless",
        }
    }
}

/// A test's engine, in its world.
#[derive(Debug)]
pub struct Engine {
    /// Which it is.
    pub kind: Kind,
    /// Where it runs.
    pub world: World,
    environment: Vec<(String, String)>,
    daemon: Option<Running>,
    /// What is stored is ours as long as this is held.
    _turn: Flock<File>,
}

/// Where what the engine stores lies in the world.
const STORE: &str = "/home/engine";
/// The base's name in every engine.
const BASE: &str = "localhost/ocs-test-base:2";
/// Where a user's own containers may be: `subuid(5)`.
const SUBORDINATE: &str = "alice:200000:65536\n";
/// Parent of all cgroups that Docker makes for a test.
const CGROUP: &str = "ocs-engines";

impl Engine {
    /// An engine in a usual world.
    ///
    /// # Errors
    /// It is not installed, does not start, or the base is not there.
    pub fn start(kind: Kind) -> Result<Self> {
        Self::ordered(kind, Order::usual()?)
    }

    /// An engine in a world of this order.
    ///
    /// # Errors
    /// It is not installed, does not start, or the base is not there.
    pub fn ordered(kind: Kind, order: Order) -> Result<Self> {
        ensure!(
            geteuid().is_root(),
            "a container engine of its own needs root: start the suite as root"
        );
        let stored = kept()?.join(kind.stored());
        fs::create_dir_all(&stored).with_context(|| format!("make {}", stored.display()))?;
        let turn = File::create(stored.with_extension("lock")).context("make a lock")?;
        let turn = Flock::lock(turn, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .context("wait for the engine's turn")?;
        let world = World::new(&order.showing(&stored, Path::new(STORE)))?;
        let mut engine = Self {
            kind,
            world,
            environment: Vec::new(),
            daemon: None,
            _turn: turn,
        };
        engine.furnish()?;
        if kind == Kind::Docker {
            // The networks of worlds that are gone: a daemon that was killed may leave what the next one falls over.
            let words = ["rm", "-rf", &format!("{STORE}/data/network")];
            engine.world.run(As::Root, Call::new(&words))?.succeeded()?;
            engine.start_daemon()?;
        }
        engine.clear()?;
        engine.import_base()?;
        Ok(engine)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Gives the world what an engine wants of a machine, and keeps from it what the machine's own engines use.
    fn furnish(&mut self) -> Result<()> {
        // A plain Debian's client, wherever another one lies before it.
        self.set("PATH", &format!("/home/bin:{PATH}"));
        let script = "set -e
            for place in /run/containerd /run/containers /run/docker /run/libpod /run/netns /run/runc /run/user \
                /var/lib/cni /var/lib/containers /var/lib/docker /etc/cni/net.d /etc/docker; do
              mkdir -p $place; mount -t tmpfs -o mode=755 tmpfs $place
            done
            for node in 'net/tun 10 200' 'fuse 10 229'; do
              set -- $node; [ -e /dev/$1 ] || continue
              mknod -m 666 /home/node-$3 c $2 $3; mount --bind /home/node-$3 /dev/$1
            done
            if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/devices ]; then
              mount -t cgroup2 cgroup2 /sys/fs/cgroup
            fi
            touch /etc/subuid /etc/subgid
            printf \"$0\" >/home/subordinate
            mount --bind /home/subordinate /etc/subuid; mount --bind /home/subordinate /etc/subgid
            mkdir -p -m 700 /run/user/61000; chown 61000:61000 /run/user/61000";
        let words = ["sh", "-c", script, SUBORDINATE];
        self.world
            .run(As::Root, Call::new(&words))?
            .succeeded()
            .context("furnish a world for an engine")?;
        match self.kind {
            Kind::Docker => {
                self.set("DOCKER_HOST", "unix:///tmp/docker.sock");
                // The daemon's own builder: it needs nothing beside the client.
                self.set("DOCKER_BUILDKIT", "0");
            }
            Kind::Podman => self.configure_podman("/run/libpod")?,
            Kind::Rootless => {
                self.set("XDG_RUNTIME_DIR", "/run/user/61000");
                let words = ["chown", "61000:61000", STORE];
                self.world.run(As::Root, Call::new(&words))?.succeeded()?;
                self.configure_podman("/run/user/61000")?;
            }
        }
        Ok(())
    }

    /// containers.conf(5) and containers-storage.conf(5), where every podman looks: what ends a container for a podman that is
    /// gone inherits no variables. No systemd, no shared memory of the machine's.
    fn configure_podman(&self, run: &str) -> Result<()> {
        let who = self.kind.who();
        let at = who.home().join(".config/containers");
        let containers = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
             tmp_dir = \"{run}/tmp\"\n"
        );
        self.world
            .write(who, &at.join("containers.conf"), &containers)?;
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{STORE}/storage\"\nrunroot = \"{run}/storage\"\n"
        );
        self.world.write(who, &at.join("storage.conf"), &storage)?;
        if who == As::Root {
            let line = "set -e; cp -a -n /etc/containers/. $0/; mount --bind $0 /etc/containers";
            let words = ["sh", "-c", line, &at.to_string_lossy()];
            self.world.run(who, Call::new(&words))?.succeeded()?;
        }
        Ok(())
    }

    /// Starts Docker's daemon and waits until it answers. Anybody in the world may speak to it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_daemon(&mut self) -> Result<()> {
        let root = format!("{STORE}/data");
        let cgroup = format!("/{CGROUP}");
        let words = [
            "dockerd",
            "--data-root",
            &root,
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker/pid",
            "--cgroup-parent",
            &cgroup,
            "--host",
            "unix:///tmp/docker.sock",
        ];
        let environment = [("PATH", PATH)];
        let call = Call::new(&words).with(&environment).for_seconds(3000);
        let mut daemon = self.world.start(As::Root, call)?;
        let begun = Instant::now();
        loop {
            let answers = self.world.run(As::Root, {
                let words = &["test", "-S", "/tmp/docker.sock"];
                Call::new(words)
            })?;
            if answers.status.success() && self.client(&["version"])?.status.success() {
                break;
            }
            if !daemon.is_running()? || begun.elapsed() > Duration::from_secs(60) {
                self.kill_daemon("KILL")?;
                bail!("dockerd does not answer: {}", daemon.wait()?);
            }
            let opened = ["chmod", "666", "/tmp/docker.sock"];
            self.world.run(As::Root, Call::new(&opened))?;
            std::thread::sleep(Duration::from_millis(50));
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Ends Docker's daemon with this signal, and waits until it is gone.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn end_daemon(&mut self, signal: &str) -> Result<()> {
        if let Some(daemon) = self.daemon.take() {
            self.kill_daemon(signal)?;
            daemon.wait()?;
        }
        Ok(())
    }

    fn kill_daemon(&self, signal: &str) -> Result<()> {
        let line = format!("kill -s {signal} $(cat /run/docker/pid)");
        let words = ["sh", "-c", &line];
        self.world.run(As::Root, Call::new(&words)).map(drop)
    }

    /// Removes what a test before this one left: all but images.
    fn clear(&self) -> Result<()> {
        let line = "c=$0; for i in $($c ps -aq); do $c rm -f -v $i; done
            for i in $($c volume ls -q); do $c volume rm -f $i; done
            for i in $($c network ls --format '{{.Name}}' | grep ^opencode-sandbox); do $c network rm $i; done";
        let words = ["sh", "-c", line, self.kind.client()];
        self.call(&words)?.succeeded().map(drop)
    }

    fn import_base(&self) -> Result<()> {
        if self.client(&["image", "inspect", BASE])?.status.success() {
            return Ok(());
        }
        let base = base()?;
        let stored = kept()?.join(self.kind.stored()).join("base.tar");
        fs::copy(&base, &stored).context("copy the base")?;
        let from = format!("{STORE}/base.tar");
        let environment = format!("ENV PATH={}", command::PATH);
        let words = ["import", "--change", &environment, &from, BASE];
        self.client(&words)?.succeeded()?;
        fs::remove_file(stored).context("remove the base's copy")
    }

    /// A program, by the engine's user, with what leads its client to this engine.
    ///
    /// # Errors
    /// It could not be started.
    pub fn call(&self, words: &[&str]) -> Result<Finished> {
        self.world.run(
            self.kind.who(),
            Call::new(words).with(&self.environment()).for_seconds(120),
        )
    }

    /// The engine's client.
    ///
    /// # Errors
    /// It could not be started.
    pub fn client(&self, words: &[&str]) -> Result<Finished> {
        self.call(&[&[self.kind.client()], words].concat())
    }

    /// What the client prints, trimmed.
    ///
    /// # Errors
    /// It did not succeed.
    pub fn told(&self, words: &[&str]) -> Result<String> {
        let told = self.client(words)?.succeeded()?;
        Ok(told.stdout.trim().to_owned())
    }

    /// The same as `inspect` says it, by a format.
    ///
    /// # Errors
    /// There is no such container.
    pub fn inspect(&self, container: &str) -> Result<Value> {
        let told = self.told(&["inspect", container])?;
        let mut list: Vec<Value> = serde_json::from_str(&told).context("read what inspect says")?;
        list.pop().context("inspect says nothing")
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let pairs = self.environment.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// A project of the engine's user, whose agent has the base for its image.
    ///
    /// # Errors
    /// The engine or the file system refuses.
    pub fn project(&self, name: &str, config: &str) -> Result<Sandboxed<'_>> {
        let project = Project::named(&self.world, self.kind.who(), name, config)?;
        let sandboxed = Sandboxed {
            engine: self,
            id: String::new(),
            project,
        };
        let status = sandboxed.ocs(&["status", "--json"])?;
        let status: Value = serde_json::from_str(&status.stdout)
            .with_context(|| format!("read the status of {status}"))?;
        let id = status.get("sandbox").and_then(Value::as_str);
        let id = id.context("a sandbox has no id")?.to_owned();
        self.client(&["tag", BASE, &format!("opencode-sandbox-{id}")])?
            .succeeded()?;
        Ok(Sandboxed { id, ..sandboxed })
    }

    /// Gives a project's agent OpenCode beside the base: one file, the program itself.
    ///
    /// # Errors
    /// It is not installed (`make agent`), or the engine refuses.
    pub fn with_opencode(&self, sandboxed: &Sandboxed<'_>) -> Result<()> {
        const IMAGE: &str = "localhost/ocs-test-opencode:2";
        if !self.client(&["image", "inspect", IMAGE])?.status.success() {
            let packages = agent_directory()?.join("node_modules");
            let program = packages.join("opencode-ai/bin/opencode.exe");
            let context = kept()?.join(self.kind.stored()).join("opencode");
            fs::create_dir_all(&context)?;
            fs::copy(&program, context.join("opencode"))
                .with_context(|| format!("copy {}", program.display()))?;
            let file = format!("FROM {BASE}\nCOPY opencode /usr/local/bin/opencode\n");
            fs::write(context.join("Dockerfile"), file)?;
            let at = format!("{STORE}/opencode");
            self.client(&["build", "--tag", IMAGE, &at])?.succeeded()?;
            fs::remove_dir_all(context)?;
        }
        let name = sandboxed.agent();
        self.client(&["tag", IMAGE, &name])?.succeeded().map(drop)
    }

    /// What the engine has of runs: containers, networks and volumes by name.
    ///
    /// # Errors
    /// It does not answer.
    pub fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for list in [
            &["ps", "--all", "--format", "{{.Names}}"][..],
            &["network", "ls", "--format", "{{.Name}}"],
            &["volume", "ls", "--format", "{{.Name}}"],
        ] {
            let told = self.told(list)?;
            let ours = told.lines().filter(|name| name.starts_with("opencode-"));
            left.extend(ours.map(str::to_owned));
        }
        Ok(left)
    }

    /// Waits until nothing is left, or gives what is.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn left_in_the_end(&self) -> Result<Vec<String>> {
        let begun = Instant::now();
        loop {
            let left = self.left()?;
            if left.is_empty() || begun.elapsed() > Duration::from_secs(20) {
                return Ok(left);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Engine {
    /// An orderly end keeps what is stored whole; the world's end then takes the rest.
    fn drop(&mut self) {
        drop(self.clear());
        drop(self.end_daemon("TERM"));
        // Empty ones alone can be removed, so what another test still uses stays.
        for controller in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let ours = controller.path().join(CGROUP);
            for below in fs::read_dir(&ours).into_iter().flatten().flatten() {
                drop(fs::remove_dir(below.path()));
            }
            drop(fs::remove_dir(ours));
        }
    }
}

/// A project and its agent's image.
#[derive(Debug)]
pub struct Sandboxed<'e> {
    engine: &'e Engine,
    /// The `SANDBOX_ID`.
    pub id: String,
    /// The project.
    pub project: Project<'e>,
}

impl Sandboxed<'_> {
    /// The agent's container.
    #[must_use]
    pub fn agent(&self) -> String {
        format!("opencode-sandbox-{}", self.id)
    }

    /// The container of the running sandbox that ends so: `net` or `proxy`.
    ///
    /// # Errors
    /// There is no single one.
    pub fn of_fence(&self, end: &str) -> Result<String> {
        let told = self.engine.told(&["ps", "--format", "{{.Names}}"])?;
        let (first, last) = (format!("{}-", self.agent()), format!("-{end}"));
        let mut found = told
            .lines()
            .filter(|name| name.starts_with(&first) && name.ends_with(&last));
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name.to_owned()),
            _ => bail!("no single container {first}*{last} in {told:?}"),
        }
    }

    /// A program in its directory, with what leads its client to the engine.
    ///
    /// # Errors
    /// It could not be started.
    pub fn call(&self, call: Call<'_>) -> Result<Finished> {
        self.call_with(call, &[])
    }

    /// The same, with these variables besides, which win.
    ///
    /// # Errors
    /// It could not be started.
    pub fn call_with(&self, call: Call<'_>, variables: &[(&str, &str)]) -> Result<Finished> {
        let mut environment = self.engine.environment();
        environment.extend_from_slice(variables);
        self.project.call(call.with(&environment).for_seconds(180))
    }

    /// `ocs ARGUMENTS..` in it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn ocs(&self, arguments: &[&str]) -> Result<Finished> {
        self.call(Call::new(&[&["ocs"], arguments].concat()))
    }

    /// `ocs run --engine KIND -- COMMAND..` to its end.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run(&self, command: &[&str]) -> Result<Finished> {
        let first = ["run", "--engine", self.engine.kind.client(), "--"];
        self.ocs(&[&first, command].concat())
    }

    /// The same, not waited for.
    ///
    /// # Errors
    /// It could not be started.
    pub fn begin(&self, command: &[&str]) -> Result<Running> {
        let first = ["ocs", "run", "--engine", self.engine.kind.client(), "--"];
        let words = [&first, command].concat();
        let environment = self.engine.environment();
        let call = Call::new(&words).with(&environment).for_seconds(180);
        let call = call.within(self.project.directory());
        self.engine.world.start(self.engine.kind.who(), call)
    }
}

/// A minimal Debian from the archive that this machine uses, packed: what images are built on where none can be pulled.
///
/// # Errors
/// It cannot be made: debootstrap is missing, is not run by root, or reaches no archive.
pub fn base() -> Result<PathBuf> {
    let base = kept()?.join(format!("base-{PACKAGES}.tar"));
    fs::create_dir_all(kept()?).context("make target/engines")?;
    let turn = File::create(kept()?.join("base.lock")).context("make a lock")?;
    let _turn = Flock::lock(turn, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    if base.is_file() {
        return Ok(base);
    }
    // Where devices may be made and programs run, which not every place for files of a while allows.
    let scratch = tempfile::Builder::new()
        .prefix("ocs-base-")
        .tempdir_in("/var/tmp")?;
    let root = scratch.path().join("root");
    let include = format!("--include={PACKAGES}");
    let mut made = command::new("debootstrap");
    made.args(["--variant=minbase", &include, "bookworm"])
        .arg(&root);
    command::output(made).context("package debootstrap")?;
    let mut packed = command::new("tar");
    let beside = base.with_extension("new");
    packed.args(["--exclude=./var/cache/apt/archives/*.deb", "-C"]);
    packed.arg(&root).arg("-cf").arg(&beside).arg(".");
    command::output(packed)?;
    fs::rename(beside, &base).context("keep the base")?;
    Ok(base)
}

/// What an agent's attempts are made with.
const PACKAGES: &str = "ca-certificates,curl,python3-minimal";

/// Where a plain Debian's programs are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What is kept from test to test: `target/engines`, where the base is, too.
fn kept() -> Result<PathBuf> {
    let profile = binaries::ours()?;
    let target = profile.parent().context("no target directory")?;
    Ok(target.join("engines"))
}
