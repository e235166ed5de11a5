//! Watches, from outside, the names in the project that the box must not change: a program on the host that replaces or
//! removes such a file takes its protection away with it, in the box as well (the kernel detaches mounts from a file that
//! is renamed over). Tells what happened; what to do about it is `attend`.
//! Clauses: B2.
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::cover::{Covers, How};

/// A watch over one project.
#[derive(Debug)]
pub(in crate::engine) struct Watch {
    queue: Inotify,
    directories: Vec<(WatchDescriptor, PathBuf)>,
    names: Vec<PathBuf>,
    forbidden: Vec<PathBuf>,
    config: Option<PathBuf>,
    /// Files elsewhere whose change is a reason to look at the config.
    reasons: Vec<PathBuf>,
}

/// What happened since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Seen {
    /// Protected places that were made, replaced or removed.
    pub(in crate::engine) uncovered: Vec<PathBuf>,
    /// Names that must not be there, and came to be.
    pub(in crate::engine) forbidden: Vec<PathBuf>,
    /// Whether the config was written to, or there is another reason to look at it.
    pub(in crate::engine) config: bool,
    /// Whether so much happened that the kernel lost count: everything is to be looked at.
    pub(in crate::engine) overflow: bool,
}

impl Watch {
    /// Watches what `covers` protects, the names in `forbidden`, and the config if it lies in the project.
    ///
    /// # Errors
    /// The kernel has no watches left.
    pub(in crate::engine) fn over(
        covers: &Covers,
        forbidden: &[PathBuf],
        config: &Path,
        reasons: [&Path; 2],
    ) -> nix::Result<Self> {
        let queue = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut directories = vec![PathBuf::new()];
        directories.extend(
            covers
                .list
                .iter()
                .filter(|cover| cover.how == How::Pin)
                .map(|cover| cover.path.clone()),
        );
        let config = config
            .strip_prefix(&covers.project)
            .ok()
            .map(Path::to_owned);
        let moved = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        let flags = moved
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        let mut watch = Self {
            queue,
            directories: Vec::new(),
            names: covers.list.iter().map(|cover| cover.path.clone()).collect(),
            forbidden: forbidden.to_vec(),
            config,
            reasons: reasons.map(Path::to_owned).to_vec(),
        };
        // An absolute path stays what it is when it is joined to the project's.
        let mut elsewhere = reasons
            .map(|path| path.parent().unwrap_or(path).to_owned())
            .to_vec();
        elsewhere.dedup();
        directories.extend(elsewhere);
        for directory in directories {
            let descriptor = watch
                .queue
                .add_watch(&covers.project.join(&directory), flags)?;
            watch.directories.push((descriptor, directory));
        }
        Ok(watch)
    }

    /// What happened since the last look; nothing, if nothing did.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub(in crate::engine) fn look(&self) -> nix::Result<Seen> {
        let mut seen = Seen::default();
        loop {
            let events = match self.queue.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(seen),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    seen.overflow = true;
                }
                if let Some(path) = self.path(event.wd, event.name) {
                    self.note(path, event.mask, &mut seen);
                }
            }
        }
    }

    fn path(&self, descriptor: WatchDescriptor, name: Option<OsString>) -> Option<PathBuf> {
        let (_, directory) = self
            .directories
            .iter()
            .find(|(watched, _)| *watched == descriptor)?;
        Some(directory.join(name?))
    }

    fn note(&self, path: PathBuf, mask: AddWatchFlags, seen: &mut Seen) {
        let written = mask == AddWatchFlags::IN_CLOSE_WRITE;
        if self.config.as_ref() == Some(&path) || self.reasons.contains(&path) {
            seen.config = true;
        }
        if written {
            return;
        }
        let gone = mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM);
        if self.forbidden.contains(&path) {
            if !gone {
                seen.forbidden.push(path);
            }
        } else if self.names.contains(&path) && !seen.uncovered.contains(&path) {
            seen.uncovered.push(path);
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::engine::cover::Cover;

    fn project() -> (tempfile::TempDir, Watch) {
        let keep = tempfile::tempdir().unwrap();
        fs::create_dir(keep.path().join(".git")).unwrap();
        for name in ["config.yaml", ".git/config"] {
            fs::write(keep.path().join(name), "x").unwrap();
        }
        let cover = |path: &str, how| Cover {
            path: path.into(),
            how,
        };
        let covers = Covers {
            project: keep.path().to_owned(),
            corner: PathBuf::new(),
            list: vec![
                cover("config.yaml", How::ReadOnly),
                cover(".git", How::Pin),
                cover(".git/config", How::ReadOnly),
            ],
        };
        let forbidden = [PathBuf::from(".git/commondir")];
        fs::create_dir(keep.path().join("state")).unwrap();
        let [lock, wish] = ["state/lock", "state/wish"].map(|name| keep.path().join(name));
        let config = keep.path().join("config.yaml");
        let watch = Watch::over(&covers, &forbidden, &config, [&lock, &wish]).unwrap();
        (keep, watch)
    }

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn an_approval_or_a_wish_is_a_reason_to_look_at_the_config_and_nothing_else_there_is() {
        let (keep, watch) = project();
        let config = Seen {
            config: true,
            ..Seen::default()
        };
        for name in ["lock", "wish"] {
            fs::write(keep.path().join("state/new"), "x").unwrap();
            assert_eq!(watch.look().unwrap(), Seen::default());
            fs::rename(
                keep.path().join("state/new"),
                keep.path().join("state").join(name),
            )
            .unwrap();
            assert_eq!(watch.look().unwrap(), config);
        }
    }

    #[test]
    fn what_goes_on_beside_the_protected_names_is_not_seen() {
        let (keep, watch) = project();
        fs::write(keep.path().join("source.rs"), "x").unwrap();
        fs::write(keep.path().join(".git/index.lock"), "x").unwrap();
        fs::rename(
            keep.path().join(".git/index.lock"),
            keep.path().join(".git/index"),
        )
        .unwrap();
        assert_eq!(watch.look().unwrap(), Seen::default());
    }

    #[test]
    fn a_file_that_is_replaced_or_removed_is_uncovered() {
        let (keep, watch) = project();
        fs::write(keep.path().join("new"), "x").unwrap();
        fs::rename(keep.path().join("new"), keep.path().join("config.yaml")).unwrap();
        fs::remove_file(keep.path().join(".git/config")).unwrap();
        let seen = watch.look().unwrap();
        assert_eq!(
            (seen.uncovered, seen.config),
            (paths(&["config.yaml", ".git/config"]), true)
        );
    }

    #[test]
    fn an_edit_in_place_uncovers_nothing() {
        let (keep, watch) = project();
        fs::write(keep.path().join("config.yaml"), "y").unwrap();
        fs::write(keep.path().join(".git/config"), "y").unwrap();
        assert_eq!(
            watch.look().unwrap(),
            Seen {
                config: true,
                ..Seen::default()
            }
        );
    }

    #[test]
    fn a_forbidden_name_is_seen_when_it_comes_and_not_when_it_goes() {
        let (keep, watch) = project();
        let path = keep.path().join(".git/commondir");
        fs::write(&path, "../evil").unwrap();
        assert_eq!(watch.look().unwrap().forbidden, paths(&[".git/commondir"]));
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.look().unwrap(), Seen::default());
    }
}
