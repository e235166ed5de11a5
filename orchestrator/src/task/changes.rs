//! Which files of the project a task changed: the tree before and after, as the host's kernel tells it. Nothing of the
//! project is run or understood for it, git least of all: the agent writes what git would read.
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A larger tree is not compared.
const FILES_MAX: usize = 1_000_000;

/// The files of a project, with what changes when they do. None where there are too many, or they cannot be listed.
#[derive(Debug)]
pub(crate) struct Tree(Option<BTreeMap<PathBuf, Stamp>>);

/// The inode, its size, and when it was changed last: no program can set that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Tree {
    /// Looks at all of it but git's own directory. Follows no link and leaves no file system.
    pub(crate) fn of(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        let device = root.symlink_metadata().map(|found| found.dev()).ok();
        let mut left = vec![PathBuf::new()];
        while let Some(directory) = left.pop() {
            let Ok(entries) = fs::read_dir(root.join(&directory)) else {
                continue; // it went meanwhile, or is closed to us: what is in it is nobody's news
            };
            for entry in entries.flatten() {
                let path = directory.join(entry.file_name());
                let Ok(found) = root.join(&path).symlink_metadata() else {
                    continue;
                };
                if !found.is_dir() {
                    files.insert(path, Stamp::of(&found));
                } else if path != Path::new(".git") && Some(found.dev()) == device {
                    left.push(path);
                }
                if files.len() > FILES_MAX {
                    return Self(None);
                }
            }
        }
        Self(Some(files))
    }

    /// All paths, from the project's root on; none where there are too many.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        let files = self.0.iter().flatten();
        files.map(|(path, _)| path.to_string_lossy().into_owned())
    }

    /// The paths, from the project's root on, that are new, changed or gone in `after`; sorted.
    pub(super) fn changed(&self, after: &Self) -> Option<Vec<String>> {
        let (Self(Some(before)), Self(Some(after))) = (self, after) else {
            return None;
        };
        let new = after
            .iter()
            .filter(|(path, stamp)| before.get(*path) != Some(*stamp));
        let gone = before.iter().filter(|(path, _)| !after.contains_key(*path));
        let mut paths: Vec<String> = new
            .chain(gone)
            .map(|(path, _)| path.to_string_lossy().into_owned())
            .collect();
        paths.sort();
        Some(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_changed_or_gone_is_named_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for directory in ["a", ".git", "a/.git"] {
            fs::create_dir(at(directory)).unwrap();
        }
        for file in ["same", "gone", "a/edited", ".git/index"] {
            fs::write(at(file), "one").unwrap();
        }
        std::os::unix::fs::symlink("/etc", at("a/link")).unwrap();
        let before = Tree::of(root.path());
        assert_eq!(
            before.changed(&Tree::of(root.path())).unwrap(),
            Vec::<String>::new()
        );
        fs::remove_file(at("gone")).unwrap();
        fs::write(at("a/edited"), "other").unwrap();
        fs::write(at("a/.git/new"), "").unwrap();
        fs::write(at(".git/index"), "two").unwrap();
        let changed = before.changed(&Tree::of(root.path())).unwrap();
        assert_eq!(changed, ["a/.git/new", "a/edited", "gone"]);
    }

    #[test]
    fn an_edit_that_sets_size_and_time_back_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("x");
        fs::write(&file, "one").unwrap();
        let (before, time) = (
            Tree::of(root.path()),
            file.metadata().unwrap().modified().unwrap(),
        );
        fs::write(&file, "two").unwrap();
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(before.changed(&Tree::of(root.path())).unwrap(), ["x"]);
    }
}
