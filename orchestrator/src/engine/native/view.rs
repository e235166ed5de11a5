//! What the agent sees of the host's files: a list of entries, in the order in which they are made. Reads the host to
//! know what is there; mounts nothing (`bwrap.rs`), and protects nothing inside the project (`cover.rs`).
//!
//! ```text
//! /usr /bin /lib*     the host's, read-only       /proc /dev         new; /proc read-only
//! /etc                an allow-list of the host's, /tmp /var/tmp      new
//!                     and files of our own         /run /home/agent   new
//! /<project>          the host's, read-write       tools, read-only-paths: where they are on the host, read-only
//! ```
//! The root itself is read-only, so nothing else can be made in it.
//! Clauses: B1.
mod etc;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::launch::{Access, Show};

/// Who the agent is in the box.
pub(crate) const USER: &str = "agent";
/// Its home.
pub(crate) const HOME: &str = "/home/agent";
/// Our own binary in the box, for `box-exec`.
pub(crate) const OURSELVES: &str = "/run/ocs";

/// One thing that the agent sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// New device files: null, zero, full, random, urandom, tty, a pts of its own.
    Devices(PathBuf),
    /// An empty directory.
    Directory {
        /// Where.
        at: PathBuf,
        /// Its mode, in octal, as text.
        mode: &'static str,
    },
    /// A file of ours, read-only.
    File {
        /// Where.
        at: PathBuf,
        /// What it says.
        text: String,
    },
    /// An empty directory in memory that the agent may write to.
    Fresh {
        /// Where.
        at: PathBuf,
        /// Its mode, in octal, as text.
        mode: &'static str,
        /// How much it may hold.
        bytes: u64,
    },
    /// A symlink.
    Link {
        /// Where.
        at: PathBuf,
        /// To what.
        to: PathBuf,
    },
    /// The processes of the box.
    Processes(PathBuf),
    /// The project, or something else of the host that the agent may write to.
    ReadWrite {
        /// Its place on the host.
        from: PathBuf,
        /// Where.
        at: PathBuf,
    },
    /// Something of the host.
    ReadOnly {
        /// Its place on the host.
        from: PathBuf,
        /// Where.
        at: PathBuf,
    },
    /// What was made so far becomes read-only at this mount.
    Sealed(PathBuf),
}

/// The whole view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// In the order to make them.
    pub(crate) entries: Vec<Entry>,
    /// The project's place in the box.
    pub(crate) project: PathBuf,
}

/// What a view is made of.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// The project on the host.
    pub(crate) project: &'a Path,
    /// Places of the host to show.
    pub(crate) shown: &'a [Shown],
    /// Our own executable.
    pub(crate) ourselves: &'a Path,
    /// The ids that the agent has in the box.
    pub(crate) ids: Ids,
    /// The machine's memory.
    pub(crate) memory_bytes: u64,
}

/// A place of the host that the box shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Where it really is.
    pub(crate) from: PathBuf,
    /// Where it is asked for.
    pub(crate) at: PathBuf,
    /// Whether the agent may write to it.
    pub(crate) access: Access,
}

impl Shown {
    /// Shown where it is, to be read.
    pub(crate) fn in_place(path: PathBuf) -> Self {
        Self::read_only(path.clone(), path)
    }

    /// Shown elsewhere, to be read.
    pub(crate) fn read_only(from: PathBuf, at: PathBuf) -> Self {
        Self {
            from,
            at,
            access: Access::ReadOnly,
        }
    }
}

impl From<&Show> for Shown {
    fn from(show: &Show) -> Self {
        let Show { from, at, access } = show.clone();
        Self { from, at, access }
    }
}

/// User and group in the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// The user.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
}

impl Ids {
    /// Those of the host, so that files look the same on both sides; root's are 1000, since programs that find
    /// themselves root do other things, and nothing in the box is root's.
    pub(crate) fn of(uid: u32, gid: u32) -> Self {
        let or_usual = |id| if id == 0 { 1000 } else { id };
        Self {
            uid: or_usual(uid),
            gid: or_usual(gid),
        }
    }
}

/// Why a project cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    /// Its directory's name cannot be that of a directory in the box.
    #[error("the project's directory has a name that the box cannot show: {}", .0.escape_debug())]
    Name(String),
    /// Ours would be replaceable by the agent.
    #[error("{} lies inside the project, where the agent could replace it", .0.display())]
    OurselvesInside(PathBuf),
}

/// Names at the root of the box that are not the project's to take.
const RESERVED: [&str; 26] = [
    "bin",
    "boot",
    "data",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "nix",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "snap",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
    "workspace",
];

/// Where a project of that name lies in the box: `/<basename>`, or `/workspace/<basename>` where that is taken.
///
/// # Errors
/// The name is empty, no text, or holds control characters.
pub(crate) fn place(project: &Path) -> Result<PathBuf, ViewError> {
    let shown = || ViewError::Name(project.to_string_lossy().into_owned());
    let name = project
        .file_name()
        .and_then(OsStr::to_str)
        .ok_or_else(shown)?;
    if name.chars().any(char::is_control) {
        return Err(shown());
    }
    if RESERVED.contains(&name) {
        Ok(Path::new("/workspace").join(name))
    } else {
        Ok(Path::new("/").join(name))
    }
}

impl View {
    /// The view of this host.
    ///
    /// # Errors
    /// The project cannot be shown as it is.
    pub(crate) fn of(wanted: &Wanted<'_>) -> Result<Self, ViewError> {
        let project = place(wanted.project)?;
        if wanted.ourselves.starts_with(wanted.project) {
            return Err(ViewError::OurselvesInside(wanted.ourselves.to_owned()));
        }
        let mut entries = system();
        entries.extend(etc::entries(wanted.ids));
        entries.extend(fresh(wanted));
        entries.extend(masked());
        entries.push(Entry::ReadOnly {
            from: wanted.ourselves.to_owned(),
            at: PathBuf::from(OURSELVES),
        });
        for Shown { from, at, access } in wanted.shown.iter().cloned() {
            entries.push(match access {
                Access::ReadOnly => Entry::ReadOnly { from, at },
                Access::ReadWrite => Entry::ReadWrite { from, at },
            });
        }
        entries.push(Entry::ReadWrite {
            from: wanted.project.to_owned(),
            at: project.clone(),
        });
        // Absolute paths of the host, in a virtual environment's scripts for one, lead to the project as well.
        if project != wanted.project && !covered(wanted.project, wanted.shown) {
            entries.push(Entry::Link {
                at: wanted.project.to_owned(),
                to: project.clone(),
            });
        }
        entries.extend(["/proc", "/dev", "/"].map(|mount| Entry::Sealed(PathBuf::from(mount))));
        Ok(Self { entries, project })
    }

    /// Where something of the host is in the box, if it is there.
    pub(crate) fn inside(&self, on_host: &Path, project: &Path) -> PathBuf {
        match on_host.strip_prefix(project) {
            Ok(below) if below.as_os_str().is_empty() => self.project.clone(),
            Ok(below) => self.project.join(below),
            Err(_) => on_host.to_owned(),
        }
    }
}

/// `/usr`, and what lies beside it for history's sake, as the host has it: links as links.
fn system() -> Vec<Entry> {
    // Made first: bubblewrap makes a missing parent for its owner alone.
    let mut entries: Vec<Entry> = ["/etc", "/home", "/var"]
        .map(|at| directory(at, "0755"))
        .into();
    for name in [
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
    ]
    .map(PathBuf::from)
    {
        if let Ok(to) = std::fs::read_link(&name) {
            entries.push(Entry::Link { at: name, to });
        } else if name.is_dir() {
            entries.push(Entry::ReadOnly {
                from: name.clone(),
                at: name,
            });
        }
    }
    entries
}

fn fresh(wanted: &Wanted<'_>) -> Vec<Entry> {
    // A quarter each for the three that builds fill; a box cannot fill the machine's memory with files alone.
    let large = wanted.memory_bytes / 4;
    let small = 64 << 20;
    let new = |at: &str, mode, bytes| Entry::Fresh {
        at: PathBuf::from(at),
        mode,
        bytes,
    };
    vec![
        Entry::Processes(PathBuf::from("/proc")),
        Entry::Devices(PathBuf::from("/dev")),
        new("/dev/shm", "1777", large),
        new("/tmp", "1777", large),
        new("/var/tmp", "1777", small),
        new("/run", "0755", small),
        directory("/run/lock", "0755"),
        directory("/run/user", "0755"),
        directory(runtime_directory(wanted.ids), "0700"),
        Entry::Link {
            at: PathBuf::from("/var/run"),
            to: PathBuf::from("/run"),
        },
        Entry::Link {
            at: PathBuf::from("/var/lock"),
            to: PathBuf::from("/run/lock"),
        },
        new(HOME, "0700", large),
    ]
}

fn directory(at: impl Into<PathBuf>, mode: &'static str) -> Entry {
    Entry::Directory {
        at: at.into(),
        mode,
    }
}

/// What `/proc` tells about the machine and not about the box; readable by the host's root, whose id the agent may have.
fn masked() -> Vec<Entry> {
    let told = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/timer_list",
    ];
    let told = told
        .map(PathBuf::from)
        .into_iter()
        .filter(|path| path.exists());
    told.map(|at| Entry::ReadOnly {
        from: PathBuf::from("/dev/null"),
        at,
    })
    .collect()
}

/// `XDG_RUNTIME_DIR` in the box.
pub(crate) fn runtime_directory(ids: Ids) -> PathBuf {
    PathBuf::from(format!("/run/user/{}", ids.uid))
}

/// Whether a link at `path` would collide with what is shown there, or with a directory of the box.
fn covered(path: &Path, shown: &[Shown]) -> bool {
    let ours = [
        "/usr", "/bin", "/sbin", "/lib", "/etc", "/proc", "/dev", "/run", "/sys", HOME,
    ]
    .map(PathBuf::from);
    let mut all = ours.iter().chain(shown.iter().map(|shown| &shown.at));
    all.any(|root| path.starts_with(root) || root.starts_with(path))
}

/// `PATH` in the box: what the host looks through and the box shows, then what every system has.
pub(crate) fn search_path(view: &View, project: &Path, search: &[PathBuf]) -> OsString {
    let usual = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    let mut directories: Vec<PathBuf> =
        search.iter().map(|dir| view.inside(dir, project)).collect();
    directories.push(Path::new(HOME).join(".local/bin"));
    for directory in usual.map(PathBuf::from) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    // A colon cannot stand in an entry of PATH.
    directories.retain(|dir| !dir.as_os_str().as_bytes().contains(&b':'));
    std::env::join_paths(directories).unwrap_or_else(|_| OsString::from("/usr/bin:/bin"))
}

#[cfg(test)]
mod tests;
