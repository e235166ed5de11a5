//! What `ocs run` does before anything is started: finds, approves, marks, and puts the engine's setup together.
//! Clauses: B1, B2, B6, U3, P9.
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use policies::{
    Config, Destination, DnsName, Mode, NameVerdict, Policy, Request, Surroundings, Verdict, Via,
};

use super::warn;
use crate::approval::{self, Snapshot};
use crate::cli::RunArgs;
use crate::console::Console;
use crate::engine::native::cover::{How, Survey};
use crate::engine::native::mounts::Covers;
use crate::engine::native::tool::{self, Places, Tool, ToolError};
use crate::engine::native::view::{self, Ids, Shown, View, Wanted};
use crate::engine::native::{Setup, bwrap};
use crate::environment::{self, Inside};
use crate::exit::{Exit, Failure};
use crate::hook;
use crate::policy_copy::PolicyCopy;
use crate::probe::{TYPE_A, TYPE_TXT, Targets};
use crate::project::Project;
use crate::state::{self, Run};
use crate::summary::Summary;
use crate::world::World;

/// Everything for a start, and for what is said at the end.
pub(super) struct Prepared {
    pub(super) setup: Setup,
    pub(super) summing_up: SummingUp,
}

/// What the end needs to know.
pub(super) struct SummingUp {
    pub(super) run: String,
    pub(super) record: PathBuf,
    targets: Targets,
    policy: Policy,
}

impl SummingUp {
    /// What was refused since the record was `from` bytes long.
    pub(super) fn read(&self, from: u64) -> io::Result<Summary> {
        Summary::read(&self.record, from, &self.targets, &self.policy)
    }
}

/// Prepares everything. On an error nothing is left but what the next start sweeps.
pub(super) fn all(
    args: &RunArgs,
    mode: Mode,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Prepared, Failure> {
    let programs = Programs::find(world)?;
    let processes = processes(config)?;
    let policy = config.policy(Some(mode), surroundings());
    let targets = targets(&policy)?;
    sweep(project, console)?;
    let approved = approval::settle(project, world, console)?;
    let place = place(args, project, config, world, console)?;
    let environment = variables(project, config, &place, &approved, world, console)?;
    let box_arguments = bwrap::arguments(&bwrap::Box {
        view: &place.view,
        ids: place.ids,
        environment: &environment,
        directory: &place.directory,
    });
    let (run, covers) = begin(project, world)?;
    let text = &project.config_file().text;
    let copies = private_directory(run.directory(), "policy")?;
    let copy = PolicyCopy::make(&project.config_file().path, project.root(), &copies, text)
        .map_err(|error| Failure::new(Exit::No, "copy the policy").because(error))?;
    let proxy_arguments = proxy_arguments(args, &copy, &run, project);
    let (id, record) = (run.id().as_str().to_owned(), run.record().to_owned());
    let setup = Setup {
        ourselves: programs.ourselves,
        netctl: programs.netctl,
        proxy: programs.proxy,
        proxy_arguments,
        bwrap: programs.bwrap,
        box_arguments,
        command: command(args, &place, project, processes),
        covers,
        forbidden: forbidden(project.root()),
        targets: targets.clone(),
        policy: copy,
        run,
    };
    Ok(Prepared {
        setup,
        summing_up: SummingUp {
            run: id,
            record,
            targets,
            policy,
        },
    })
}

/// The programs that a run consists of.
struct Programs {
    ourselves: PathBuf,
    netctl: PathBuf,
    proxy: PathBuf,
    bwrap: PathBuf,
}

impl Programs {
    /// Ours lie beside this one, and nowhere else; no variable changes that.
    fn find(world: &World) -> Result<Self, Failure> {
        let missing = |what: String| Failure::new(Exit::Missing, what).next("ocs doctor");
        let beside = |name: &str| {
            let path = world.exe.with_file_name(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(missing(format!("{} is not there", path.display())))
            }
        };
        Ok(Self {
            netctl: beside("ocs-netctl")?,
            proxy: beside("ocs-proxy")?,
            bwrap: bwrap::program()
                .ok_or_else(|| missing("bubblewrap is not installed".to_owned()))?,
            ourselves: world.exe.clone(),
        })
    }
}

/// The most processes that the box may have, where the config limits them; limits that nothing here enforces are refused.
fn processes(config: &Config) -> Result<Option<u64>, Failure> {
    let limits = config.limits();
    let cannot = |what: &str, why: &str| {
        Failure::new(
            Exit::Missing,
            format!("the engine `native` cannot keep limits.{what}: {why}"),
        )
        .next(format!("remove `{what}` from `limits`"))
    };
    if limits.memory.is_some() || limits.cpus.is_some() {
        let what = if limits.memory.is_some() {
            "memory"
        } else {
            "cpus"
        };
        return Err(cannot(what, "it makes no cgroup"));
    }
    match limits.pids {
        // kernel/fork.c, copy_process: the limit does not hold for the host's root.
        Some(_) if nix::unistd::geteuid().is_root() => {
            Err(cannot("pids", "it does not hold for root"))
        }
        pids => Ok(pids.map(u64::from)),
    }
}

/// What the engine `native` takes for the host: where its loopback services are.
fn surroundings() -> Surroundings {
    let host_addresses = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    Surroundings {
        host_addresses,
        own_addresses: Vec::new(),
    }
}

/// A name of nobody (RFC 2606 section 2).
const PROBE_NAME: &str = "ocs-probe.invalid";

/// What this very policy refuses, so that it can be seen to be refused.
fn targets(policy: &Policy) -> Result<Targets, Failure> {
    let none = || {
        Failure::new(
            Exit::Fence,
            "there is nothing that this policy refuses, so it cannot be proven",
        )
    };
    let refused = |authority: &str| {
        let destination = Destination::parse_authority(authority, None);
        destination.is_ok_and(|destination| {
            let request = Request {
                destination,
                via: Via::Connect,
            };
            matches!(policy.decide(&request), Verdict::Deny(_))
        })
    };
    let authorities = ["ocs-probe.invalid:443", "192.0.2.1:443", "127.0.0.1:443"];
    let authority = authorities
        .into_iter()
        .find(|authority| refused(authority))
        .ok_or_else(none)?;
    let name = DnsName::parse(PROBE_NAME).map_err(|_| none())?;
    let kind = match policy.allows_name(&name) {
        NameVerdict::Deny(_) => TYPE_A,
        // Where every name passes, this type still does not.
        NameVerdict::Allow(_) => TYPE_TXT,
    };
    Ok(Targets::in_the_box(
        (PROBE_NAME.to_owned(), kind),
        authority.to_owned(),
    ))
}

fn sweep(project: &Project, console: &mut Console<'_>) -> Result<(), Failure> {
    let swept = state::sweep(project.state()).map_err(|error| Failure::of(Exit::No, &error))?;
    for path in &swept.removed {
        warn(
            &format!(
                "{} was made by an agent whose run was killed, and is removed",
                path.display()
            ),
            console,
        );
    }
    for error in &swept.failed {
        warn(&Failure::of(Exit::No, error).to_string(), console);
    }
    Ok(())
}

/// Where the command runs, and what it sees.
struct Place {
    view: View,
    ids: Ids,
    tool: Tool,
    /// The working directory in the box.
    directory: PathBuf,
}

fn place(
    args: &RunArgs,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Place, Failure> {
    let home = world.home.clone().unwrap_or_default();
    let places = Places {
        home: home.canonicalize().unwrap_or(home),
        project: project.root().to_owned(),
    };
    let cwd = world
        .cwd
        .canonicalize()
        .unwrap_or_else(|_| world.cwd.clone());
    let directory = if cwd.starts_with(project.root()) {
        cwd
    } else {
        project.root().to_owned()
    };
    let (name, path) = (
        args.command
            .first()
            .map_or(OsStr::new(""), OsString::as_os_str),
        world.variable("PATH"),
    );
    let mut tool = match tool::find(name, path.as_deref(), &directory, &places) {
        Ok(tool) => tool,
        Err(ToolError::NotFound { .. }) => tool::unknown(name, path.as_deref()),
        Err(error @ ToolError::Forbidden { .. }) => return Err(Failure::of(Exit::Usage, &error)),
    };
    let mut shown: Vec<Shown> = tool.shown.iter().cloned().map(Shown::in_place).collect();
    shown.extend(listed(config, &places, console)?);
    tool.search
        .retain(|directory| looked_through(directory, &shown, &places));
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    let ids = Ids::of(uid, gid);
    let memory_bytes = nix::sys::sysinfo::sysinfo().map_or(1 << 30, |info| info.ram_total());
    let wanted = Wanted {
        project: project.root(),
        shown: &shown,
        ourselves: &world.exe,
        ids,
        memory_bytes,
    };
    let view = View::of(&wanted).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let directory = view.inside(&directory, project.root());
    Ok(Place {
        view,
        ids,
        tool,
        directory,
    })
}

/// Whether programs are to be found in a directory of the host in the box too.
fn looked_through(directory: &Path, shown: &[Shown], places: &Places) -> bool {
    let shows =
        |shown: &Shown| directory.starts_with(&shown.at) || shown.at.parent() == Some(directory);
    directory.is_dir() && (places.always_visible(directory) || shown.iter().any(shows))
}

/// `read-only-paths`: what is there is shown, what holds credentials is refused.
fn listed(
    config: &Config,
    places: &Places,
    console: &mut Console<'_>,
) -> Result<Vec<Shown>, Failure> {
    let mut shown = Vec::new();
    for path in config.read_only_paths() {
        let at = path.expand(&places.home);
        let Ok(from) = at.canonicalize() else {
            warn(
                &format!(
                    "read-only-paths: {} is not there, and is not shown",
                    at.display()
                ),
                console,
            );
            continue;
        };
        if let Some(place) = places.refuses(&at).or_else(|| places.refuses(&from)) {
            let (path, place) = (path.as_str(), place.display());
            return Err(Failure::usage(format!(
                "read-only-paths: `{path}` would show {place}"
            )));
        }
        if let Some(why) = refused_behind_links(&from, &places.home) {
            let (path, place) = (path.as_str(), from.display());
            return Err(Failure::usage(format!(
                "read-only-paths: `{path}` leads to {place}, which cannot be shown: {why}"
            )));
        }
        if !places.always_visible(&at) {
            shown.push(Shown { from, at });
        }
    }
    Ok(shown)
}

/// What the config's text could not say: a link may lead to where no config may point.
fn refused_behind_links(real: &Path, home: &Path) -> Option<&'static str> {
    policies::why_not_shown(&real.to_string_lossy(), home.to_str())
}

fn variables(
    project: &Project,
    config: &Config,
    place: &Place,
    approved: &Snapshot,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Vec<(OsString, OsString)>, Failure> {
    let names = config
        .env_passthrough()
        .iter()
        .map(|passed| passed.host.as_str());
    let hook = approved.hook().filter(|hook| !hook.is_empty());
    let from_hook = hook::run(project.root(), hook, names, world.terminal)?;
    let inside = Inside {
        user: view::USER,
        home: Path::new(view::HOME),
        project: &place.view.project,
        runtime: &view::runtime_directory(place.ids),
        search: &view::search_path(&place.view, project.root(), &place.tool.search),
    };
    let (variables, skipped) = environment::variables(&inside, config, &from_hook, world);
    for skipped in skipped {
        warn(
            &format!(
                "env-passthrough: {} is skipped, ${} is not set",
                skipped.inside, skipped.host
            ),
            console,
        );
    }
    Ok(variables)
}

/// Looks at the project, and marks the run before anything in it is made.
fn begin(project: &Project, world: &World) -> Result<(Run, Covers), Failure> {
    let disk = |error: state::StateError| Failure::of(Exit::No, &error);
    let turn = state::turn(project.state()).map_err(disk)?;
    let others = state::placeholders(project.state(), &turn).map_err(disk)?;
    let Survey { covers, absent } =
        Survey::of(project.root(), &others).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let absent = absent.into_iter().map(|absent| (absent.path, absent.kind));
    let forbidden = forbidden(project.root());
    let run = Run::begin(
        project.state(),
        project.root(),
        world.now,
        absent,
        forbidden,
        turn,
    )
    .map_err(disk)?;
    let corner = private_directory(run.directory(), "corner")?;
    let failed = |error: io::Error| {
        Failure::new(Exit::No, format!("write to {}", corner.display())).because(error)
    };
    std::fs::write(corner.join("file"), "").map_err(failed)?;
    private_directory(&corner, "directory")?;
    for (number, cover) in covers.iter().enumerate() {
        if let How::Show(text) = &cover.how {
            std::fs::write(corner.join(number.to_string()), text).map_err(failed)?;
        }
    }
    let covers = Covers {
        project: project.root().to_owned(),
        corner,
        list: covers,
    };
    Ok((run, covers))
}

/// With this file git takes its config, and with it its hooks, from where the file says; an empty one breaks git.
const COMMON: &str = ".git/commondir";
/// With this file a directory can be a repository by itself, whose `config` git reads where `.git` is none (any longer).
const BARE: &str = "HEAD";

fn forbidden(root: &Path) -> Vec<PathBuf> {
    let is_repository = root
        .join(".git")
        .symlink_metadata()
        .is_ok_and(|found| found.is_dir());
    let mut forbidden = vec![PathBuf::from(BARE)];
    if is_repository {
        forbidden.push(PathBuf::from(COMMON));
    }
    // One that is there is the person's own.
    forbidden.retain(|path| root.join(path).symlink_metadata().is_err());
    forbidden
}

fn private_directory(parent: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = parent.join(name);
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| {
            Failure::new(Exit::No, format!("make {}", path.display())).because(error)
        })?;
    Ok(path)
}

fn proxy_arguments(
    args: &RunArgs,
    copy: &PolicyCopy,
    run: &Run,
    project: &Project,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--sandboxed".into()];
    let mut add = |name: &str, value: &OsStr| arguments.extend([name.into(), value.to_owned()]);
    add("--policy", copy.path().as_os_str());
    add("--audit", run.record().as_os_str());
    add("--sandbox", project.id().as_str().as_ref());
    add("--run", run.id().as_str().as_ref());
    add("--engine", "native".as_ref());
    if let Some(mode) = args.mode.map(Mode::from) {
        add("--mode", mode.code().as_ref());
    }
    arguments
}

/// `box-exec` and the command, as they are called in the box.
fn command(
    args: &RunArgs,
    place: &Place,
    project: &Project,
    processes: Option<u64>,
) -> Vec<Vec<u8>> {
    let mut command: Vec<OsString> = vec![view::OURSELVES.into(), "box-exec".into()];
    if let Some(processes) = processes {
        command.extend(["--processes".into(), processes.to_string().into()]);
    }
    command.push("--".into());
    let mut words = args.command.iter();
    if let Some(name) = words.next() {
        // An absolute path of the project is another in the box; names and relative paths are what they are.
        let absolute = Path::new(name).is_absolute();
        command.push(if absolute {
            place.view.inside(Path::new(name), project.root()).into()
        } else {
            name.clone()
        });
    }
    command.extend(words.cloned());
    command
        .into_iter()
        .map(|word| word.as_bytes().to_vec())
        .collect()
}
