//! The engine `native`'s own half of a start: what the box shows of the host, where the command runs, and with what.
//! Clauses: B1, B2, B6, U3.
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use policies::{Config, Mode};

use super::listed;
use super::marks::Marked;
use super::settled::{Programs, Settled};
use super::{Facts, Fence, Order, Prepared, surroundings};
use crate::console::Console;
use crate::engine::native::cgroup::{Bounds, Cgroups, Parents};
use crate::engine::native::tool::{self, Places, Tool, ToolError};
use crate::engine::native::view::{self, Ids, Shown, View, Wanted};
use crate::engine::native::{Setup, bwrap};
use crate::environment::Inside;
use crate::exit::{Exit, Failure};
use crate::monitor::Looks;
use crate::project::Project;
use crate::state::Run;
use crate::world::World;

/// Prepares everything. On an error nothing is left but what the next start sweeps.
pub(super) fn prepare(
    mut order: Order,
    mode: Mode,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Prepared, Failure> {
    let programs = Programs::find(world)?;
    let bwrap = bwrap::program().ok_or_else(|| {
        Failure::new(Exit::Missing, "bubblewrap is not installed").next("ocs doctor")
    })?;
    let (processes, parents) = limits(config)?;
    let policy = config.policy(Some(mode), surroundings());
    let settled = Settled::of(&order, (project, policy), world, console)?;
    let place = place(&order, project, config, world, console)?;
    let within = Inside {
        user: view::USER,
        home: Path::new(view::HOME),
        project: &place.view.project,
        runtime: &view::runtime_directory(place.ids),
        search: &view::search_path(&place.view, project.root(), &place.tool.search),
    };
    let (environment, skipped) =
        settled.variables(&mut order, (project, config), &within, world)?;
    let box_arguments = bwrap::arguments(&bwrap::Box {
        view: &place.view,
        ids: place.ids,
        environment: &environment,
        directory: &place.directory,
    });
    let marked = Marked::begin(project, world)?;
    let cgroups = cgroups(parents, project, &marked.run)?;
    let proxy_arguments = marked.proxy_arguments(project, "native", &order);
    let facts = Facts::of(
        "native",
        mode,
        place.view.project.clone(),
        &marked,
        &settled,
    );
    let published = order.publish.iter().map(|port| port.inside.get());
    let looks = Some(Looks::of(published.collect(), world));
    let setup = Setup {
        ourselves: programs.ourselves,
        netctl: programs.netctl,
        proxy: programs.proxy,
        proxy_arguments,
        bwrap,
        box_arguments,
        command: command(&order, &place, project, processes),
        targets: settled.targets,
        spec: order.spec(),
        marked,
        terminal: order.terminal(),
        streams: order.streams,
        cgroups,
    };
    Ok(Prepared {
        fence: Fence::Native(Box::new(setup)),
        looks,
        facts,
        skipped,
    })
}

/// Whether nothing that is seen at once forbids this engine: bubblewrap is there, and no setting forbids user namespaces.
/// `ocs doctor` looks closer.
pub(super) fn is_possible() -> bool {
    // user_namespaces(7), and Debian's own setting, which does not hold for root.
    let setting = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    let forbidden = setting("/proc/sys/user/max_user_namespaces")
        || (setting("/proc/sys/kernel/unprivileged_userns_clone")
            && !nix::unistd::geteuid().is_root());
    cfg!(target_os = "linux") && bwrap::program().is_some() && !forbidden
}

/// How the config's limits are kept: by a limit of the processes themselves, by cgroups, or not at all, which is refused.
fn limits(config: &Config) -> Result<(Option<u64>, Option<Parents>), Failure> {
    let limits = config.limits();
    // kernel/fork.c, copy_process: a process's own limit does not hold for the host's root.
    let root = nix::unistd::geteuid().is_root();
    let pids = limits.pids.map(u64::from);
    let bounds = Bounds {
        memory: limits.memory.map(|memory| memory.0),
        cpus_milli: limits.cpus.map(|cpus| cpus.milli),
        pids: pids.filter(|_| root),
    };
    let own = pids.filter(|_| !root);
    if bounds == Bounds::default() {
        return Ok((own, None));
    }
    let parents = Parents::find(Path::new("/"), bounds).map_err(|controller| {
        let what = if controller == "cpu" {
            "cpus"
        } else {
            controller
        };
        let why = format!("this user can add no cgroup with the controller {controller}");
        Failure::new(
            Exit::Missing,
            format!("the engine `native` cannot keep limits.{what}: {why}"),
        )
        .next(format!(
            "remove `{what}` from `limits`, or try in a scope: systemd-run --user --scope ocs ..."
        ))
    })?;
    Ok((own, Some(parents)))
}

/// Makes the run's cgroups, where there are to be any, after those of dead runs are removed.
fn cgroups(
    parents: Option<Parents>,
    project: &Project,
    run: &Run,
) -> Result<Option<Cgroups>, Failure> {
    let Some(parents) = parents else {
        return Ok(None);
    };
    let (sandbox, runs) = (project.id().as_str(), project.state().run());
    parents.sweep(sandbox, &|run| runs.join(run).is_dir());
    let made = parents.make(sandbox, run.id().as_str());
    made.map(Some)
        .map_err(|error| Failure::new(Exit::Fence, "make a cgroup for the box").because(error))
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
    order: &Order,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Place, Failure> {
    let places = listed::places(project, world);
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
        order
            .command
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
    shown.extend(
        listed::read_only(config, &places, console)?
            .into_iter()
            .filter(|(_, at)| !places.always_visible(at))
            .map(|(from, at)| Shown::read_only(from, at)),
    );
    shown.extend(order.shows.iter().map(Shown::from));
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

/// `box-exec` and the command, as they are called in the box.
fn command(
    order: &Order,
    place: &Place,
    project: &Project,
    processes: Option<u64>,
) -> Vec<Vec<u8>> {
    let mut command: Vec<OsString> = vec![view::OURSELVES.into(), "box-exec".into()];
    if let Some(processes) = processes {
        command.extend(["--processes".into(), processes.to_string().into()]);
    }
    command.push("--".into());
    let mut words = order.command.iter();
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
