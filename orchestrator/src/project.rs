//! Which project we are in, what its sandbox is called, and where its state lies. Reads the config's name only; what
//! the rest of the config means is `policies`' word. Creates nothing but the state directory, when asked.
//!
//! ```text
//! ~/.opencode-sandbox/            0700
//!   <SANDBOX_ID>/                 0700
//!     audit/<run>.jsonl           the record, 0600
//!     run/                        sockets and pid files of what runs now
//!     policy.lock  approved/      what a person approved: hashes, and the contents they are of
//!     opencode-state/             the agent's own sessions, as opencode-sandbox left them
//! ```
//! Clauses: R5 (a project that would contain its own state is refused).
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::sandbox_id::{NotASandboxName, SandboxId, SandboxName};
use crate::world::World;

/// The file that makes a directory a project.
pub const CONFIG_FILE: &str = "opencode-sandbox-config.yaml";
/// The script that runs on the host before a start.
pub const HOOK_FILE: &str = "opencode-sandbox-pre-start-container.sh";
/// The directory under the user's home that holds all state.
pub const STATE_ROOT: &str = ".opencode-sandbox";

/// A project: its place, its config as text, its identity and its state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
    config_path: PathBuf,
    config_text: String,
    name: SandboxName,
    id: SandboxId,
    state: StateDir,
}

impl Project {
    /// The project that the working directory lies in: the nearest directory upward, `/` included, with a config.
    ///
    /// # Errors
    /// None is found, its config cannot be read or has no name, or the directory may not be a project.
    pub fn find(world: &World) -> Result<Self, ProjectError> {
        let root = root_above(&world.cwd).ok_or_else(|| ProjectError::NotFound {
            cwd: world.cwd.clone(),
        })?;
        let config = root.join(CONFIG_FILE);
        Self::open(&root, &config, world)
    }

    /// The same, with `config` in place of the project's own file: the project is then the one found upward, or else
    /// the working directory. The directory of `config` is never taken for the project: it would be mounted.
    ///
    /// # Errors
    /// As for [`Project::find`].
    pub fn find_with(config: Option<&Path>, world: &World) -> Result<Self, ProjectError> {
        let Some(config) = config else {
            return Self::find(world);
        };
        let root = root_above(&world.cwd).unwrap_or_else(|| world.cwd.clone());
        Self::open(&root, &world.cwd.join(config), world)
    }

    fn open(root: &Path, config: &Path, world: &World) -> Result<Self, ProjectError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| ProjectError::Unreadable { path, source }
        };
        let root = root.canonicalize().map_err(unreadable(root))?;
        let config_path = config.canonicalize().map_err(unreadable(config))?;
        let metadata = config_path.metadata().map_err(unreadable(&config_path))?;
        refuse_foreign_owner(&config_path, &metadata)?;
        let config_text =
            std::fs::read_to_string(&config_path).map_err(unreadable(&config_path))?;
        let name = match name_in(&config_text) {
            None => return Err(ProjectError::NoName { path: config_path }),
            Some(text) => SandboxName::parse(text).map_err(|source| ProjectError::BadName {
                path: config_path.clone(),
                source,
            })?,
        };
        let home = world.home.as_deref().ok_or(ProjectError::NoHome)?;
        let id = SandboxId::new(&name, &root);
        let state = StateDir::new(home, &id);
        refuse_state_inside(&root, &state)?;
        Ok(Self {
            root,
            config_path,
            config_text,
            name,
            id,
            state,
        })
    }

    /// The project's directory, with no symlink left in it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The config file, with no symlink left in it.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// The config's text, as it was read once: what is approved, parsed and hashed is the same text.
    #[must_use]
    pub fn config_text(&self) -> &str {
        &self.config_text
    }

    /// The name in the config.
    #[must_use]
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// The sandbox's identity.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Where its state lies.
    #[must_use]
    pub fn state(&self) -> &StateDir {
        &self.state
    }
}

/// Where one sandbox's state lies. A value: only [`StateDir::create`] touches the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
    path: PathBuf,
}

impl StateDir {
    /// The state directory of `id` in `home`.
    #[must_use]
    pub fn new(home: &Path, id: &SandboxId) -> Self {
        let root = home.join(STATE_ROOT);
        let path = root.join(id.as_str());
        Self { root, path }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the records.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// The directory of what runs now.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The hashes of the control files that a person approved.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.join("policy.lock")
    }

    /// The contents that were approved, for showing what changed since.
    #[must_use]
    pub fn approved(&self) -> PathBuf {
        self.path.join("approved")
    }

    /// The agent's own state, named as opencode-sandbox named it.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.path.join("opencode-state")
    }

    /// Makes the directory and the one above it, mode 0700; what is there already is tightened to that.
    ///
    /// # Errors
    /// A directory cannot be made, is a symlink, or is somebody else's.
    pub fn create(&self) -> Result<(), ProjectError> {
        private_dir(&self.root)?;
        private_dir(&self.path)
    }
}

/// Makes `path` a directory of ours alone (0700), or refuses; its parent must exist.
///
/// # Errors
/// It cannot be made, is not a directory, or belongs to somebody else.
pub fn private_dir(path: &Path) -> Result<(), ProjectError> {
    let failed = |source| ProjectError::State {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    // What was there before us could have been put there for us: no link, no other owner, nobody else's access.
    let found = path.symlink_metadata().map_err(failed)?;
    if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(failed(io::Error::other("not a directory of yours")));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Why there is no project to work on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The walk upward ended at `/`.
    #[error("no {CONFIG_FILE} in {} or any directory above it", cwd.display())]
    NotFound {
        /// Where the walk began.
        cwd: PathBuf,
    },
    /// A path of the project cannot be read.
    #[error("read {}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The config has no `sandbox-name`.
    #[error("{} has no sandbox-name", path.display())]
    NoName {
        /// The config.
        path: PathBuf,
    },
    /// The config's `sandbox-name` is not of the form.
    #[error("{}", path.display())]
    BadName {
        /// The config.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NotASandboxName,
    },
    /// The config was put there by another ordinary user of this machine.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The config.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The project contains the state directory, so the agent would reach its own record.
    #[error("{} contains {}, which the agent must not reach", root.display(), state.display())]
    ContainsState {
        /// The project.
        root: PathBuf,
        /// The state directory.
        state: PathBuf,
    },
    /// Nobody knows the user's home.
    #[error("this user has no home directory: HOME is not set and the user database has none")]
    NoHome,
    /// The state directory cannot be made or is not ours.
    #[error("use {} for the sandbox's state", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        let next = match &error {
            ProjectError::NotFound { .. } => Some("ocs init".to_owned()),
            ProjectError::NoName { .. } => {
                Some("add a line such as `sandbox-name: my-project` to it".to_owned())
            }
            ProjectError::BadName { source, .. } => Some(format!(
                "write `sandbox-name: {}`",
                SandboxName::nearest(&source.0)
            )),
            ProjectError::ForeignOwner { path, .. } => Some(format!(
                "read it, and if you trust it: sudo chown $(id -u) {}",
                path.display()
            )),
            ProjectError::ContainsState { .. } => {
                Some("keep the project in a directory of its own".to_owned())
            }
            ProjectError::NoHome => Some("set HOME to a directory of yours".to_owned()),
            ProjectError::Unreadable { .. } | ProjectError::State { .. } => None,
        };
        let exit = if matches!(error, ProjectError::State { .. }) {
            Exit::No
        } else {
            Exit::Usage
        };
        let failure = Self::of(exit, &error);
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

fn root_above(cwd: &Path) -> Option<PathBuf> {
    cwd.ancestors()
        .find(|directory| directory.join(CONFIG_FILE).is_file())
        .map(Path::to_owned)
}

/// The value of the first `sandbox-name:` line (COMPATIBILITY 4.3): the first counts, a comment is cut, quotes go.
fn name_in(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().find_map(|line| {
        let value = line.strip_prefix("sandbox-name:")?.trim();
        let quoted = |quote| {
            value
                .strip_prefix(quote)
                .and_then(|rest| rest.split(quote).next())
        };
        let plain = value.split('#').next().unwrap_or_default().trim_end();
        let name = quoted('"').or_else(|| quoted('\'')).unwrap_or(plain);
        (!name.is_empty()).then_some(name)
    })
}

/// A config in a directory that others may write to (`/tmp`) could have been put there for us to find.
fn refuse_foreign_owner(path: &Path, metadata: &Metadata) -> Result<(), ProjectError> {
    let (owner, me) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner == me || owner == 0 || me == 0 {
        return Ok(());
    }
    Err(ProjectError::ForeignOwner {
        path: path.to_owned(),
        owner,
    })
}

fn refuse_state_inside(root: &Path, state: &StateDir) -> Result<(), ProjectError> {
    // The state may not exist yet: the nearest part of it that does says where it really lies.
    let real = state
        .root
        .ancestors()
        .find_map(|part| Some((part.canonicalize().ok()?, part)));
    let real = real.map_or(state.root.clone(), |(real, part)| {
        real.join(state.root.strip_prefix(part).unwrap_or(Path::new("")))
    });
    if real.starts_with(root) || root.starts_with(&real) {
        return Err(ProjectError::ContainsState {
            root: root.to_owned(),
            state: real,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
