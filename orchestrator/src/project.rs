//! Which project we are in, what its sandbox is called, and where its state lies. Creates nothing but the state
//! directory, when asked. What the config means is `policies`' word, how it is found `config_file`'s.
//!
//! ```text
//! ~/.opencode-sandbox/            0700
//!   <SANDBOX_ID>/                 0700
//!     audit/<run>.jsonl           the record, 0600
//!     run/                        sockets and pid files of what runs now
//!     policy.lock  approved/      what a person approved: hashes, and the contents they are of
//!     opencode-state/             the agent's own sessions, as opencode-sandbox left them
//! ```
//! Clauses: R5 (a project that would contain its own state is refused), P9 (every mistake is named).
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use policies::{Config, ConfigErrors, SandboxName, Warning};

use crate::config_file::{ConfigFile, NoConfig};
use crate::exit::{Exit, Failure};
use crate::sandbox_id::{SandboxId, nearest_name};
use crate::world::World;

/// The script that runs on the host before a start.
pub const HOOK_FILE: &str = "opencode-sandbox-pre-start-container.sh";
/// The directory under the user's home that holds all state.
pub const STATE_ROOT: &str = ".opencode-sandbox";

/// A project: its place, its config as text, its identity and its state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    config: ConfigFile,
    name: SandboxName,
    id: SandboxId,
    state: StateDir,
}

impl Project {
    /// The project that the working directory lies in; `config` replaces its own config (see [`ConfigFile::find`]).
    ///
    /// # Errors
    /// None is found, its config has no name, or the directory may not be a project.
    pub fn find(config: Option<&Path>, world: &World) -> Result<Self, ProjectError> {
        let config = ConfigFile::find(config, world)?;
        let name = match config.sandbox_name() {
            Some(text) => SandboxName::parse(text).ok_or_else(|| text.to_owned()),
            None => Err(String::new()),
        };
        let name = name.map_err(|text| match config.parse() {
            // A config without a name may have more mistakes; all are named at once.
            Err(errors) => ProjectError::Config(errors),
            Ok(_) => ProjectError::BadName {
                path: config.path.clone(),
                text,
            },
        })?;
        let home = world.home.as_deref().ok_or(ProjectError::NoHome)?;
        let id = SandboxId::new(&name, &config.root);
        let state = StateDir::new(home, &id);
        refuse_overlap(&config.root, &state.root)?;
        Ok(Self {
            config,
            name,
            id,
            state,
        })
    }

    /// The project's directory, with no symlink left in it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.config.root
    }

    /// The config, found and read.
    #[must_use]
    pub fn config_file(&self) -> &ConfigFile {
        &self.config
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

    /// The config as meant, with what is worth a warning.
    ///
    /// # Errors
    /// The config is wrong anywhere: every mistake, each with its place (exit 64).
    pub fn config(&self) -> Result<(Config, Vec<Warning>), ProjectError> {
        let (config, warnings) = self.config.parse()?;
        // The identity was made from our own reading of the name; two readings that differ would mix up two sandboxes.
        if *config.sandbox_name() != self.name {
            let (path, text) = (self.config.path.clone(), self.name.to_string());
            return Err(ProjectError::BadName { path, text });
        }
        Ok((config, warnings))
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

    /// The directory that holds every sandbox's state.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
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
    /// The config's `sandbox-name` is not one that everybody reads alike.
    #[error("{}: cannot use `{text}` as sandbox-name", path.display())]
    BadName {
        /// The config.
        path: PathBuf,
        /// What stands there.
        text: String,
    },
    /// The config is wrong: every mistake, one a line.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The project contains the state directory, so the agent would reach its own record.
    #[error("{} contains {}, which the agent must not reach", root.display(), state.display())]
    ContainsState {
        /// The project.
        root: PathBuf,
        /// The state directory.
        state: PathBuf,
    },
    /// There is no config.
    #[error(transparent)]
    NoConfig(#[from] NoConfig),
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
        let usage = || Self::of(Exit::Usage, &error);
        match error {
            ProjectError::BadName { ref text, .. } => {
                usage().next(format!("write `sandbox-name: {}`", nearest_name(text)))
            }
            ProjectError::Config(_) => usage().next("correct the config, then: ocs policy check"),
            ProjectError::ContainsState { .. } => {
                usage().next("keep the project in a directory of its own")
            }
            ProjectError::NoConfig(error) => error.into(),
            ProjectError::NoHome => usage().next("set HOME to a directory of yours"),
            ProjectError::State { .. } => Self::of(Exit::No, &error),
        }
    }
}

/// Refuses a directory as a project if the agent would reach the state directory from it, or the other way round.
///
/// # Errors
/// It contains the state directory or lies in it, or nobody knows where that is.
pub fn refuse_state_inside(root: &Path, world: &World) -> Result<(), ProjectError> {
    let home = world.home.as_deref().ok_or(ProjectError::NoHome)?;
    refuse_overlap(root, &home.join(STATE_ROOT))
}

fn refuse_overlap(root: &Path, state: &Path) -> Result<(), ProjectError> {
    // The state may not exist yet: the nearest part of it that does says where it really lies.
    let real = state
        .ancestors()
        .find_map(|part| Some((part.canonicalize().ok()?, part)));
    let real = real.map_or(state.to_owned(), |(real, part)| {
        match state.strip_prefix(part) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            Ok(_) | Err(_) => real,
        }
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
