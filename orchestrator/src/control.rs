//! The control files of a project: what decides, on the host, what the sandbox may do or what the host will run. The box
//! shows them read-only, present or not (`engine`), and a start wants them approved (`approval`). Reads; judges nothing.
//! Clauses: B2.
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::config_file::CONFIG_FILE;
use crate::exit::{Exit, Failure};
use crate::project::{HOOK_FILE, Project};

/// One place that is controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Where it is, seen from the project's directory.
    pub path: &'static str,
    /// What belongs there.
    pub kind: Kind,
    /// What it does, for people.
    pub role: &'static str,
}

/// What belongs in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory, with all that is in it.
    Directory,
    /// A file.
    File,
}

/// Every controlled place (DESIGN "State on disk"). The agent's config is known under two names.
pub const CONTROLS: [Control; 7] = [
    Control {
        path: CONFIG_FILE,
        kind: Kind::File,
        role: "what the sandbox may reach",
    },
    Control {
        path: HOOK_FILE,
        kind: Kind::File,
        role: "runs on this host before a start",
    },
    Control {
        path: "opencode.json",
        kind: Kind::File,
        role: "the agent's permissions",
    },
    Control {
        path: "opencode.jsonc",
        kind: Kind::File,
        role: "the agent's permissions",
    },
    Control {
        path: "mise.toml",
        kind: Kind::File,
        role: "what mise installs and runs",
    },
    Control {
        path: ".git/config",
        kind: Kind::File,
        role: "programs that git on this host runs",
    },
    Control {
        path: ".git/hooks",
        kind: Kind::Directory,
        role: "programs that git on this host runs",
    },
];

/// The sample hooks that git itself writes; it never runs them.
const SAMPLE: &str = ".sample";
/// More than this is not what people review.
const FILE_MAX_BYTES: u64 = 4 << 20;
/// More files than this are not what people review.
const FILES_MAX: usize = 1000;

/// A controlled file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    /// Seen from the project's directory; absolute for a config outside it.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether somebody may execute it: git runs no hook that is not executable.
    pub executable: bool,
}

/// Why a controlled place cannot be read for what it is.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What it points to could be changed by the agent, or it could be pointed elsewhere.
    #[error("{} is a symlink: what it points to is not protected", path.display())]
    Link {
        /// Where.
        path: PathBuf,
    },
    /// It is neither file nor directory, or too large to be reviewed.
    #[error("{} is not a file of at most 4 MiB", path.display())]
    Odd {
        /// Where.
        path: PathBuf,
    },
    /// There are too many files.
    #[error("{} holds more than 1000 files", path.display())]
    TooMany {
        /// Where.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("read {}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let failure = Self::of(Exit::Usage, &error);
        match error {
            ControlError::Link { path } => failure.next(format!(
                "put a copy in its place: cp --remove-destination $(realpath {0}) {0}",
                path.display()
            )),
            ControlError::Odd { .. }
            | ControlError::TooMany { .. }
            | ControlError::Unreadable { .. } => failure,
        }
    }
}

/// Every controlled file that is there, sorted by name. The config is taken as it was read already.
///
/// # Errors
/// A place is a symlink, is odd, or cannot be read: then it is not known what it says, and nothing is started.
pub fn read(project: &Project) -> Result<Vec<ControlFile>, ControlError> {
    let mut files = Vec::new();
    for control in &CONTROLS {
        read_place(project.root(), Path::new(control.path), &mut files)?;
    }
    let config = project.config_file();
    let name = config
        .path
        .strip_prefix(project.root())
        .unwrap_or(&config.path)
        .to_string_lossy()
        .into_owned();
    // A file that is used in place of the project's config counts as one; the project's own stays controlled as well.
    let executable = files
        .iter()
        .any(|file| file.name == name && file.executable);
    files.retain(|file| file.name != name);
    files.push(ControlFile {
        name,
        content: config.text.clone().into_bytes(),
        executable,
    });
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn read_place(root: &Path, name: &Path, files: &mut Vec<ControlFile>) -> Result<(), ControlError> {
    let path = root.join(name);
    if files.len() >= FILES_MAX {
        return Err(ControlError::TooMany { path });
    }
    // `.git` itself may be a link, or (a worktree) a file: each step on the way is looked at.
    for part in name
        .ancestors()
        .skip(1)
        .filter(|part| !part.as_os_str().is_empty())
    {
        match found(&root.join(part))? {
            Found::Directory => {}
            Found::Nothing => return Ok(()),
            // A worktree's `.git` is a file that says where the rest lies: as good as the rest.
            Found::File(executable) => return read_file(root, part, executable, files),
        }
    }
    match found(&path)? {
        Found::Nothing => Ok(()),
        Found::Directory => read_directory(root, name, files),
        Found::File(_) if name.to_string_lossy().ends_with(SAMPLE) => Ok(()),
        Found::File(executable) => read_file(root, name, executable, files),
    }
}

fn read_file(
    root: &Path,
    name: &Path,
    executable: bool,
    files: &mut Vec<ControlFile>,
) -> Result<(), ControlError> {
    let content = content(&root.join(name))?;
    let name = name.to_string_lossy().into_owned();
    if files.iter().all(|file| file.name != name) {
        files.push(ControlFile {
            name,
            content,
            executable,
        });
    }
    Ok(())
}

fn read_directory(
    root: &Path,
    name: &Path,
    files: &mut Vec<ControlFile>,
) -> Result<(), ControlError> {
    let path = root.join(name);
    let unreadable = |source| ControlError::Unreadable {
        path: path.clone(),
        source,
    };
    for entry in fs::read_dir(&path).map_err(unreadable)? {
        read_place(
            root,
            &name.join(entry.map_err(unreadable)?.file_name()),
            files,
        )?;
    }
    Ok(())
}

enum Found {
    Directory,
    /// And whether it is executable.
    File(bool),
    Nothing,
}

fn found(path: &Path) -> Result<Found, ControlError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => {
            return Err(ControlError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    if metadata.is_symlink() {
        return Err(ControlError::Link {
            path: path.to_owned(),
        });
    }
    if metadata.is_dir() {
        return Ok(Found::Directory);
    }
    if !metadata.is_file() || metadata.len() > FILE_MAX_BYTES {
        return Err(ControlError::Odd {
            path: path.to_owned(),
        });
    }
    Ok(Found::File(metadata.permissions().mode() & 0o111 != 0))
}

fn content(path: &Path) -> Result<Vec<u8>, ControlError> {
    // The path may have changed since it was looked at: no link is followed, no pipe is waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut content = Vec::new();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    opened
        .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut content))
        .map_err(|source| ControlError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    Ok(content)
}

#[cfg(test)]
pub(crate) mod tests;
