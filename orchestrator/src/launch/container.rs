//! The engines `docker` and `podman`' own half of a start: client and images, what the agent's container sees, and with what.
//! Clauses: B1, B2, B3, B6, U3.
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use policies::{Config, Mode};

use super::listed;
use super::marks::Marked;
use super::settled::Settled;
use super::{Access, Facts, Fence, Order, Prepared, Stream, surroundings, warn};
use crate::console::Console;
use crate::engine::client::{self, Client, Kind};
use crate::engine::container::arguments::{self, Agent, Frame, Labels, Mount, Names, Proxy};
use crate::engine::container::{Setup, sweep};
use crate::engine::native::view;
use crate::environment::Inside;
use crate::exit::{Exit, Failure};
use crate::image::{seccomp, sidecar};
use crate::project::{Project, private_dir};
use crate::state::ADMIN;
use crate::world::World;

/// Where the agent's own state lies in its container (COMPATIBILITY 4.12; the image's user is `agent`).
const STATE: &str = "/home/agent/.local/share/opencode";

/// Prepares everything. On an error nothing is left but what the next start sweeps.
pub(super) fn prepare(
    kind: Kind,
    mut order: Order,
    mode: Mode,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Prepared, Failure> {
    let engine = Engine::find(kind, (project, config), world)?;
    let image = format!("opencode-sandbox-{}", project.id().as_str());
    let search = engine.image(&image)?;
    let policy = config.policy(Some(mode), surroundings());
    let settled = Settled::of(&order, (project, policy), world, console)?;
    engine.sweep(project, console);
    let at = view::place(project.root()).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let within = Inside {
        user: view::USER,
        home: Path::new(view::HOME),
        project: &at,
        runtime: Path::new("/run"),
        search: search.as_ref(),
    };
    let (variables, skipped) = settled.variables(&mut order, (project, config), &within, world)?;
    let variables = Variables::of(variables)?;
    let marked = Marked::begin(project, world)?;
    let frame = engine.frame(&marked, project, world)?;
    let files = Files {
        project,
        at: &at,
        order: &order,
        marked: &marked,
    };
    let shown = files.shown(config, world, console)?;
    let environment = files.private("agent.env", &variables.lines)?;
    let profile = files.private("seccomp.json", seccomp::PROFILE.as_bytes())?;
    let agent = frame.agent(&Agent {
        image: &image,
        command: &command(&order.command, project.root(), &at),
        directory: &inside(&world.cwd, project.root(), &at),
        shown: &shown,
        environment: &environment,
        from_client: &variables.names_of_client(),
        limits: *config.limits(),
        seccomp: &profile,
        health: order.publish.first().map(|port| port.inside.get()),
        reads: !matches!(order.streams.stdin, Stream::Nothing),
        terminal: order.terminal() && at_both_ends(),
    });
    let facts = Facts::of(kind.name(), mode, at, &marked, &settled);
    let setup = Setup {
        proxy: proxy(kind.name(), &marked, (project, config), &order),
        client: engine.client,
        frame,
        spec: order.spec(),
        agent,
        environment,
        of_client: variables.of_client,
        targets: settled.targets,
        marked,
        terminal: order.terminal(),
        streams: order.streams,
    };
    Ok(Prepared {
        fence: Fence::Container(Box::new(setup)),
        looks: None,
        facts,
        skipped,
    })
}

/// The proxy sees the policy's copy, the records and the place of its own socket, and nothing else of the host.
fn proxy(
    engine: &str,
    marked: &Marked,
    (project, config): (&Project, &Config),
    order: &Order,
) -> Proxy {
    let copies = marked.policy.path().parent().unwrap_or(Path::new("/"));
    Proxy {
        shown: vec![
            Mount::in_place(copies, Access::ReadOnly),
            Mount::in_place(&project.state().audit(), Access::ReadWrite),
            Mount::in_place(&marked.run.directory().join(ADMIN), Access::ReadWrite),
        ],
        publish: order.publish.clone(),
        arguments: marked.proxy_arguments(project, engine, order),
        wants_host: config.host_ports().len() > 0,
    }
}

fn at_both_ends() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// An engine that answers, and what it needs of this machine.
struct Engine {
    client: Client,
    facts: client::Facts,
}

impl Engine {
    fn find(
        kind: Kind,
        (project, config): (&Project, &Config),
        world: &World,
    ) -> Result<Self, Failure> {
        let client = Client::find(Some(kind), project.root(), world)?;
        let facts = client.facts()?;
        let limits = config.limits();
        if !facts.limits
            && (limits.memory.is_some() || limits.pids.is_some() || limits.cpus.is_some())
        {
            let message = format!(
                "{} without root cannot keep `limits` here: cgroups of version 1 are not the user's",
                kind.name()
            );
            return Err(Failure::new(Exit::Missing, message)
                .next("remove memory, pids and cpus from `limits`, or run it as root"));
        }
        Ok(Self { client, facts })
    }

    /// Removes what killed runs of this sandbox left in the engine.
    fn sweep(&self, project: &Project, console: &mut Console<'_>) {
        for refused in sweep::dead(&self.client, project.id().as_str(), project.state()) {
            warn(&format!("{}: {}", refused.call, refused.said), console);
        }
    }

    /// The agent's image must be there; gives what it looks for programs in.
    fn image(&self, image: &str) -> Result<String, Failure> {
        let format = "{{range .Config.Env}}{{println .}}{{end}}";
        let said = self
            .client
            .call(["image", "inspect", "--format", format, image]);
        let said = said.map_err(|_| {
            let message = format!("the image {image} is not there");
            Failure::new(Exit::Missing, message)
                .next(format!("ocs build --engine {}", self.client.kind.name()))
        })?;
        let text = String::from_utf8_lossy(&said).into_owned();
        let path = text.lines().find_map(|line| line.strip_prefix("PATH="));
        Ok(path.unwrap_or(USUAL_PATH).to_owned())
    }

    fn frame(&self, marked: &Marked, project: &Project, world: &World) -> Result<Frame, Failure> {
        let sidecar = sidecar::ensure(&self.client, world, marked.run.directory())?;
        let run = marked.run.id().as_str();
        let most = |what| getrlimit(what).map_or(1024, |(_, hard)| hard.min(1 << 20));
        Ok(Frame {
            kind: self.client.kind,
            facts: self.facts,
            names: Names::of(project.id().as_str(), run),
            labels: Labels {
                sandbox: project.id().as_str().to_owned(),
                run: run.to_owned(),
                state: project.state().path().to_owned(),
            },
            ids: self.ids(),
            sidecar,
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
            most: (most(Resource::RLIMIT_NOFILE), most(Resource::RLIMIT_NPROC)),
        })
    }

    /// The user's own, so that files look the same on both sides. Docker without root calls the user 0.
    fn ids(&self) -> (u32, u32) {
        if self.client.kind == Kind::Docker && self.facts.rootless {
            return (0, 0);
        }
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        (uid.as_raw(), gid.as_raw())
    }
}

/// What images without a PATH look through.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where something of the project is in the container; the project itself for everything else.
fn inside(on_host: &Path, root: &Path, at: &Path) -> PathBuf {
    let real = on_host.canonicalize();
    let real = real.as_deref().unwrap_or(on_host);
    match real.strip_prefix(root) {
        Ok(rest) if rest.as_os_str().is_empty() => at.to_owned(),
        Ok(rest) => at.join(rest),
        Err(_) => at.to_owned(),
    }
}

/// An absolute path of the project is another in the container; names and relative paths are what they are.
fn command(words: &[OsString], root: &Path, at: &Path) -> Vec<OsString> {
    let mut command = words.to_vec();
    if let Some(name) = command.first_mut()
        && Path::new(name).starts_with(root)
    {
        *name = inside(Path::new(name), root, at).into();
    }
    command
}

struct Files<'a> {
    project: &'a Project,
    at: &'a Path,
    order: &'a Order,
    marked: &'a Marked,
}

impl Files<'_> {
    /// Everything of the host that the agent sees.
    fn shown(
        &self,
        config: &Config,
        world: &World,
        console: &mut Console<'_>,
    ) -> Result<Vec<Mount>, Failure> {
        let mut mounts = arguments::project(&self.marked.covers, self.at);
        let places = listed::places(self.project, world);
        let listed = listed::read_only(config, &places, console)?;
        mounts.extend(listed.into_iter().map(|(from, at)| Mount {
            from,
            at,
            access: Access::ReadOnly,
        }));
        mounts.extend(self.order.shows.iter().map(|show| Mount {
            from: show.from.clone(),
            at: show.at.clone(),
            access: show.access,
        }));
        if mounts.iter().all(|mount| mount.at != Path::new(STATE)) {
            let state = self.project.state().agent();
            private_dir(&state)?;
            mounts.push(Mount {
                from: state,
                at: STATE.into(),
                access: Access::ReadWrite,
            });
        }
        Ok(mounts)
    }

    /// A file of the run, for its owner only.
    fn private(&self, name: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.marked.run.directory().join(name);
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|mut file| file.write_all(content));
        written.map_err(|error| {
            Failure::new(Exit::No, format!("write {}", path.display())).because(error)
        })?;
        Ok(path)
    }
}

/// The agent's variables, by the two ways that an engine has for them besides a command line.
struct Variables {
    /// `NAME=value` lines, for a file.
    lines: Vec<u8>,
    /// Those that no line can hold.
    of_client: Vec<(OsString, OsString)>,
}

impl Variables {
    fn of(variables: Vec<(OsString, OsString)>) -> Result<Self, Failure> {
        let (mut lines, mut of_client) = (Vec::new(), Vec::new());
        for (name, value) in variables {
            let bytes = value.as_bytes();
            // Both clients read lines of UTF-8.
            if value.to_str().is_some() && !bytes.contains(&b'\n') && !bytes.contains(&b'\r') {
                lines.extend_from_slice(name.as_bytes());
                lines.push(b'=');
                lines.extend_from_slice(bytes);
                lines.push(b'\n');
            } else if read_by_clients(&name) {
                let name = name.to_string_lossy();
                let message = format!(
                    "{name} has a line break or is no UTF-8, and cannot be given to a container"
                );
                return Err(Failure::usage(message).next("ocs run --engine native"));
            } else {
                of_client.push((name, value));
            }
        }
        Ok(Self { lines, of_client })
    }

    fn names_of_client(&self) -> Vec<OsString> {
        self.of_client
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// Names that mean something to a client, or to what it loads.
fn read_by_clients(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    let prefixes = [
        "BUILDAH_",
        "CONTAINER",
        "DBUS_",
        "DOCKER",
        "GO",
        "LC_",
        "PODMAN_",
        "REGISTRY_",
        "SSH_",
        "SSL_",
        "TMP",
        "XDG_",
        "_",
    ];
    let whole = ["HOME", "LANG", "PATH", "TERM", "USER"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
        || whole.contains(&name.as_str())
        || name.ends_with("_PROXY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_goes_by_the_client_and_others_by_the_file() {
        let pairs = [("A", "x y #'\""), ("KEY", "one\ntwo"), ("B", "")];
        let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
        let variables = Variables::of(pairs.into()).unwrap();
        assert_eq!(variables.lines, b"A=x y #'\"\nB=\n");
        assert_eq!(variables.of_client, [("KEY".into(), "one\ntwo".into())]);
    }

    #[test]
    fn a_value_that_would_change_the_client_itself_is_refused() {
        for name in [
            "PATH",
            "DOCKER_HOST",
            "https_proxy",
            "LC_ALL",
            "XDG_RUNTIME_DIR",
        ] {
            let pair = (name.into(), "a\nb".into());
            let failure = Variables::of(vec![pair]).err().unwrap();
            assert_eq!(failure.exit(), Exit::Usage, "{name}");
        }
    }

    #[test]
    fn what_lies_in_the_project_is_found_at_its_place_in_the_container() {
        let (root, at) = (Path::new("/nowhere/app"), Path::new("/app"));
        let of = |path: &str| inside(Path::new(path), root, at);
        assert_eq!(of("/nowhere/app/src"), Path::new("/app/src"));
        assert_eq!(of("/nowhere/app"), Path::new("/app"));
        assert_eq!(of("/nowhere/apple"), Path::new("/app"));
        let words = ["/nowhere/app/run.sh".into(), "/nowhere/app/x".into()];
        let expected: [OsString; 2] = ["/app/run.sh".into(), "/nowhere/app/x".into()];
        assert_eq!(command(&words, root, at), expected);
    }
}
