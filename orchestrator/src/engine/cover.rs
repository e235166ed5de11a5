//! Which places of the project the agent must not change, what is there now, and what has to be done about each. Reads the
//! project; the mounts are `native/mounts.rs`, the placeholders on disk are `state`.
//!
//! A directory that *contains* a protected file can be renamed away, and another made in its place; one that *is* a mount
//! cannot. So every directory on the way to a protected place is pinned: bound onto itself. What is absent gets a
//! placeholder, which is then protected as if it had always been there.
//! Clauses: B2.
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::{CONTROLS, Kind};
use crate::state::is_empty;

/// What is done to one place, which exists by then.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Cover {
    /// The place, seen from the project.
    pub(crate) path: PathBuf,
    /// What happens to it.
    pub(crate) how: How,
}

/// What happens to a place.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum How {
    /// The directory stays writable, but it cannot be moved.
    Pin,
    /// It shows what it holds, and cannot be changed.
    ReadOnly,
    /// It shows this, and cannot be changed.
    Show(String),
}

/// Something that is not there and must not appear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Absent {
    /// The place, seen from the project.
    pub(crate) path: PathBuf,
    /// What would belong there.
    pub(crate) kind: Kind,
}

/// A project to protect.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Covers {
    /// The project on the host.
    pub(crate) project: PathBuf,
    /// A directory of ours with an empty file `file`, an empty directory `directory`, and one file for each `Show`, named
    /// by its number in `list`.
    pub(crate) corner: PathBuf,
    /// What to do, in this order.
    pub(crate) list: Vec<Cover>,
}

/// Everything that has to be done, in this order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Survey {
    /// The places to cover: directories before what is in them.
    pub(crate) covers: Vec<Cover>,
    /// The placeholders to make first.
    pub(crate) absent: Vec<Absent>,
}

/// Why a place cannot be protected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unprotectable {
    /// Git takes its config from a file that is the agent's to write, as all of the project is.
    #[error("{} is a bare git repository, whose config the agent could change; run in a clone of it", .0.display())]
    Bare(PathBuf),
    /// The other name would not be protected.
    #[error("{} has a second hard link, through which the agent could change it", .0.display())]
    HardLink(PathBuf),
    /// It says that the rest lies where the agent may write.
    #[error("{} points into the project, where the agent could change git's config and hooks", .0.display())]
    Inside(PathBuf),
    /// What it points to would not be protected, or it would be pointed elsewhere.
    #[error("{} is a symlink, and what it points to is not protected", .0.display())]
    Link(PathBuf),
    /// It is neither file nor directory where that belongs.
    #[error("{} is not what belongs there", .0.display())]
    Odd(PathBuf),
    /// It cannot be looked at.
    #[error("read {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
}

impl Survey {
    /// Looks at the project. `placeholders` are ours from another run of the same project: there, and yet absent.
    ///
    /// # Errors
    /// A place is such that nothing protects it; then nothing is started.
    pub(crate) fn of(root: &Path, placeholders: &[PathBuf]) -> Result<Self, Unprotectable> {
        let mut survey = Surveying {
            root,
            placeholders,
            found: Self::default(),
        };
        for control in &CONTROLS {
            survey.control(Path::new(control.path), control.kind)?;
        }
        survey.of_git()?;
        let mut found = survey.found;
        if !found.absent.is_empty() && root.join(EXCLUDE).is_file() {
            found.hide_placeholders(root);
        }
        Ok(found)
    }

    /// Git in the box does not see the placeholders, so that an agent's `git add -A` does not add them.
    fn hide_placeholders(&mut self, root: &Path) {
        let mut text = std::fs::read_to_string(root.join(EXCLUDE)).unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for absent in self
            .absent
            .iter()
            .filter(|absent| !absent.path.starts_with(".git"))
        {
            text.push_str(&format!("/{}\n", absent.path.display()));
        }
        let info = Path::new(".git/info");
        self.cover(info, How::Pin);
        self.cover(Path::new(EXCLUDE), How::Show(text));
    }

    fn cover(&mut self, path: &Path, how: How) {
        // One that is read-only already stays so; what is below a read-only directory is read-only.
        let covered = |cover: &Cover| {
            cover.path == path || (cover.how == How::ReadOnly && path.starts_with(&cover.path))
        };
        if !self.covers.iter().any(covered) {
            self.covers.push(Cover {
                path: path.to_owned(),
                how,
            });
        }
    }
}

const EXCLUDE: &str = ".git/info/exclude";
/// Shown in place of an absent agent's config: an empty file is no JSON.
const EMPTY_JSON: &str = "{}\n";

struct Surveying<'a> {
    root: &'a Path,
    placeholders: &'a [PathBuf],
    found: Survey,
}

impl Surveying<'_> {
    /// Protects one place.
    fn control(&mut self, path: &Path, kind: Kind) -> Result<(), Unprotectable> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.retain(|part| !part.as_os_str().is_empty());
        for part in above.into_iter().rev() {
            match self.look(part)? {
                Found::Directory => self.found.cover(part, How::Pin),
                // In a worktree `.git` is a file that says where the rest is; it decides as much as the rest.
                Found::File => {
                    self.found.cover(part, How::ReadOnly);
                    return Ok(());
                }
                Found::Nothing => {
                    self.absent(part, Kind::Directory);
                    return Ok(());
                }
            }
        }
        match (self.look(path)?, kind) {
            (Found::Directory, Kind::Directory) | (Found::File, Kind::File) => {
                self.found.cover(path, How::ReadOnly);
            }
            (Found::Nothing, kind) => self.absent(path, kind),
            (Found::Directory, Kind::File) | (Found::File, Kind::Directory) => {
                return Err(Unprotectable::Odd(self.root.join(path)));
            }
        }
        Ok(())
    }

    fn absent(&mut self, path: &Path, kind: Kind) {
        let absent = Absent {
            path: path.to_owned(),
            kind,
        };
        if self.found.absent.contains(&absent) {
            return;
        }
        self.found.absent.push(absent);
        let is_json = path
            .extension()
            .is_some_and(|suffix| suffix == "json" || suffix == "jsonc");
        let how = if is_json {
            How::Show(EMPTY_JSON.to_owned())
        } else {
            How::ReadOnly
        };
        self.found.cover(path, how);
    }

    /// Further places that git on the host takes commands from.
    fn of_git(&mut self) -> Result<(), Unprotectable> {
        let found = self.look(Path::new(".git"))?;
        // gitrepository-layout(5): what git takes for a repository where no `.git` is one.
        if self.root.join("HEAD").is_file()
            && self.root.join("objects").is_dir()
            && self.root.join("refs").is_dir()
        {
            return Err(Unprotectable::Bare(self.root.to_owned()));
        }
        if let Found::File = found {
            self.outside(&self.root.join(".git"))?;
        }
        // A linked worktree elsewhere on the host finds its config through these.
        if let Found::Directory = found {
            if let Found::Directory = self.look(Path::new(".git/worktrees"))? {
                self.control(Path::new(".git/worktrees"), Kind::Directory)?;
            }
            let config = self.root.join(".git/config");
            let config = match std::fs::read_to_string(&config) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(Unprotectable::Unreadable(config, error)),
            };
            if config.to_ascii_lowercase().contains("worktreeconfig") {
                self.control(Path::new(".git/config.worktree"), Kind::File)?;
            }
            for (path, kind) in named_in(&config, self.root) {
                self.control(&path, kind)?;
            }
        }
        Ok(())
    }

    /// `.git` as a file may only point to what the box does not show (gitrepository-layout(5)).
    fn outside(&self, file: &Path) -> Result<(), Unprotectable> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Unprotectable::Unreadable(file.to_owned(), error))?;
        let named = text.trim().strip_prefix("gitdir:").unwrap_or_default();
        let place = self.root.join(named.trim());
        let real = place.canonicalize().unwrap_or_else(|_| place.clone());
        if below(self.root, &place).is_some() || real.starts_with(self.root) {
            return Err(Unprotectable::Inside(file.to_owned()));
        }
        Ok(())
    }

    fn look(&self, path: &Path) -> Result<Found, Unprotectable> {
        let place = self.root.join(path);
        let found = match place.symlink_metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(Unprotectable::Unreadable(place, error)),
        };
        if self.placeholders.iter().any(|ours| ours == path) && is_empty(&place, &found) {
            return Ok(Found::Nothing);
        }
        if found.is_symlink() {
            Err(Unprotectable::Link(place))
        } else if found.is_dir() {
            Ok(Found::Directory)
        } else if !found.is_file() {
            Err(Unprotectable::Odd(place))
        } else if found.nlink() > 1 {
            Err(Unprotectable::HardLink(place))
        } else {
            Ok(Found::File)
        }
    }
}

enum Found {
    Directory,
    File,
    Nothing,
}

/// Places in the project that a git config names: hooks kept elsewhere, and files that it includes.
fn named_in(config: &str, root: &Path) -> Vec<(PathBuf, Kind)> {
    let mut named = Vec::new();
    let mut includes = false;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            includes = header.to_ascii_lowercase().starts_with("include");
        }
        // A key may stand on its section's own line.
        let line = line.rsplit(']').next().unwrap_or(line);
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let (key, value) = (
            key.trim().to_ascii_lowercase(),
            value.trim().trim_matches('"'),
        );
        let (from, kind) = match key.as_str() {
            "hookspath" => (root.to_owned(), Kind::Directory),
            "path" if includes => (root.join(".git"), Kind::File),
            _ => continue,
        };
        if let Some(path) = below(root, &from.join(value)) {
            named.push((path, kind));
        }
    }
    named
}

/// `path` as seen from `root`, if it lies in it; by text, and never the root itself.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::Prefix(_) | Component::RootDir => {
                clean.push(component);
            }
        }
    }
    let below = clean.strip_prefix(root).ok()?;
    (!below.as_os_str().is_empty()).then(|| below.to_owned())
}

#[cfg(test)]
mod tests;
