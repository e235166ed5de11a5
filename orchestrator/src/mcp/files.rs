//! Reads the project's files for a client, and nothing else's: the kernel keeps every step of a path beneath the project
//! (openat2), whatever the agent makes of the directories meanwhile.
//! Clauses: O8.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// The largest file that is given.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// The most names that are given.
const NAMES_MAX: usize = 10_000;
/// The most directories that are looked into.
const DIRECTORIES_MAX: usize = 50_000;

/// The project's directory, held open.
#[derive(Debug)]
pub(crate) struct Files(OwnedFd);

impl Files {
    /// Opens it.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
        Ok(Self(File::open(root)?.into()))
    }

    /// A file's text.
    pub(crate) fn read(&self, path: &str) -> Result<String, String> {
        let bytes = self.bytes(path, FILE_MAX_BYTES)?;
        String::from_utf8(bytes).map_err(|_| format!("{path} is no text"))
    }

    fn bytes(&self, path: &str, most: u64) -> Result<Vec<u8>, String> {
        // A FIFO does not keep us waiting, and a terminal does not become ours.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::from(self.open(path, flags)?);
        let found = file.metadata().map_err(|error| told(path, &error))?;
        if !found.is_file() {
            return Err(format!("{path} is no file"));
        }
        let mut bytes = Vec::new();
        let read = file.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| told(path, &error))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
            return Err(format!("{path} is larger than {most} bytes"));
        }
        Ok(bytes)
    }

    /// Writes a file of ours into a directory at the root, which is made where it is missing. No link is followed, and no
    /// name that a file has besides is written through.
    pub(crate) fn write(&self, directory: &Path, name: &str, content: &[u8]) -> Result<(), String> {
        let path = directory.join(name).to_string_lossy().into_owned();
        match mkdirat(&self.0, directory, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(told(&path, &error.into())),
        }
        // Nothing is cut off before it is known what was opened.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(0o644))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = openat2(&self.0, path.as_str(), how);
        let mut file = File::from(opened.map_err(|error| told(&path, &error.into()))?);
        let found = file.metadata().map_err(|error| told(&path, &error))?;
        if !found.is_file() || found.nlink() != 1 {
            return Err(format!("{path} is no file of its own"));
        }
        file.set_len(0)
            .and_then(|()| file.write_all(content))
            .map_err(|error| told(&path, &error))
    }

    /// What is in a directory, or with a pattern what is below it and fits; directories end in `/`. Sorted.
    pub(super) fn list(&self, path: &str, pattern: Option<&str>) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        let mut left = vec![PathBuf::new()];
        let mut seen = 0;
        while let Some(below) = left.pop() {
            seen += 1;
            let at = if below.as_os_str().is_empty() {
                path.into()
            } else {
                Path::new(path).join(&below).to_string_lossy().into_owned()
            };
            let directory = match self.entries(&at) {
                Ok(directory) => directory,
                Err(error) if below.as_os_str().is_empty() => return Err(error),
                Err(_) => continue, // it went meanwhile
            };
            for (name, is_directory) in directory {
                let at = below.join(&name);
                let text = at.to_string_lossy().into_owned();
                if pattern.is_none_or(|pattern| fits(pattern, &text)) {
                    names.push(if is_directory {
                        format!("{text}/")
                    } else {
                        text
                    });
                }
                if pattern.is_some() && is_directory && name != ".git" {
                    left.push(at);
                }
            }
            if names.len() > NAMES_MAX || seen > DIRECTORIES_MAX {
                return Err(format!(
                    "more than {NAMES_MAX} names: give a narrower path or pattern"
                ));
            }
        }
        names.sort();
        Ok(names)
    }

    fn entries(&self, path: &str) -> Result<Vec<(String, bool)>, String> {
        let opened = self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut directory = Dir::from_fd(opened).map_err(|error| told(path, &error.into()))?;
        let mut entries = Vec::new();
        for entry in directory.iter() {
            let entry = entry.map_err(|error| told(path, &error.into()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                entries.push((name, entry.file_type() == Some(Type::Directory)));
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &str, flags: OFlag) -> Result<OwnedFd, String> {
        let path = if path.is_empty() { "." } else { path };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(self.0.as_fd(), path, how).map_err(|error| {
            if matches!(error, Errno::EXDEV | Errno::ELOOP) {
                format!("{path} leads out of the project")
            } else {
                told(path, &error.into())
            }
        })
    }
}

/// A file that a person names on the command line. One of the project is read through the containment: the agent could have put a
/// link in its place, and what it leads to would be told to the next agent. Others are the person's own.
pub(crate) fn read_named(path: &Path, root: &Path, most: u64) -> Result<Vec<u8>, String> {
    // `..` as it was typed: no link is gone back through.
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    let path = plain.as_path();
    let above: Vec<&Path> = path.ancestors().collect();
    // From the top: what comes before the project's root is nothing of the agent's.
    let inside = above
        .iter()
        .rev()
        .find(|above| above.canonicalize().is_ok_and(|real| real == root));
    if let Some(below) = inside.and_then(|inside| path.strip_prefix(inside).ok()) {
        let files = Files::of(root).map_err(|error| told(&root.to_string_lossy(), &error))?;
        return files.bytes(&below.to_string_lossy(), most);
    }
    let shown = path.to_string_lossy();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| told(&shown, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        return Err(format!("{shown} is larger than {most} bytes"));
    }
    Ok(bytes)
}

fn told(path: &str, error: &io::Error) -> String {
    format!("{path}: {error}")
}

/// Whether a pattern fits a path: `*` is any text, `?` one character; without either, the pattern stands somewhere in it.
fn fits(pattern: &str, path: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return path.contains(pattern);
    }
    let (pattern, path): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), path.chars().collect());
    // Where to go on after the last `*`: one place is enough, so the work is bounded by the product of the lengths.
    let (mut at, mut from, mut again) = (0, 0, None);
    while from < path.len() {
        match pattern.get(at) {
            Some('*') => {
                again = Some((at, from));
                at += 1;
            }
            Some(char) if *char == '?' || path.get(from) == Some(char) => {
                at += 1;
                from += 1;
            }
            Some(_) | None => match again {
                Some((star, taken)) => {
                    again = Some((star, taken + 1));
                    at = star + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn project() -> (tempfile::TempDir, Files) {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("project");
        fs::create_dir_all(root.join("src/deep")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        for file in ["a.txt", "src/b.rs", "src/deep/c.rs", ".git/config"] {
            fs::write(root.join(file), file).unwrap();
        }
        fs::write(above.path().join("secret"), "secret").unwrap();
        let files = Files::of(&root).unwrap();
        (above, files)
    }

    #[test]
    fn a_path_never_leaves_the_project() {
        let (above, files) = project();
        let root = above.path().join("project");
        symlink("../secret", root.join("out")).unwrap();
        symlink("/etc/passwd", root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("src/b.rs", root.join("in")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        for escape in [
            "../secret",
            "src/../../secret",
            "/etc/passwd",
            "out",
            "absolute",
            "up/secret",
            "magic",
        ] {
            assert_eq!(
                files.read(escape),
                Err(format!("{escape} leads out of the project"))
            );
        }
        assert_eq!(
            files.list("up", None),
            Err("up leads out of the project".to_owned())
        );
        assert_eq!(files.read("in"), Ok("src/b.rs".to_owned()));
        assert_eq!(files.read("src/../a.txt"), Ok("a.txt".to_owned()));
    }

    #[test]
    fn a_named_file_of_the_project_leads_nowhere_else_and_others_are_read_as_they_are() {
        let (above, _) = project();
        let above = above.path().canonicalize().unwrap();
        let root = above.join("project");
        symlink("../secret", root.join("SPEC.md")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("project", above.join("alias")).unwrap();
        symlink("secret", above.join("mine")).unwrap();
        let read = |path: &str| read_named(&above.join(path), &root, 100);
        for planted in [
            "project/SPEC.md",
            "alias/SPEC.md",
            "project/up/secret",
            "project/src/../SPEC.md",
            "project/../project/SPEC.md",
        ] {
            assert!(
                read(planted)
                    .unwrap_err()
                    .contains("leads out of the project"),
                "{planted}"
            );
        }
        for (path, content) in [
            ("project/a.txt", "a.txt"),
            ("alias/src/b.rs", "src/b.rs"),
            ("mine", "secret"),
        ] {
            assert_eq!(read(path), Ok(content.as_bytes().to_vec()), "{path}");
        }
        assert!(
            read_named(&above.join("secret"), &root, 3)
                .unwrap_err()
                .contains("larger")
        );
    }

    #[test]
    fn what_we_write_lands_in_the_project_or_nowhere() {
        let (above, files) = project();
        let root = above.path().join("project");
        let write = |directory: &str| files.write(Path::new(directory), "log", b"ours");
        assert_eq!(write("logs"), Ok(()));
        assert_eq!(write("logs"), Ok(()));
        assert_eq!(fs::read(root.join("logs/log")).unwrap(), b"ours");
        for directory in ["to-dir", "a", "b", "c"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        symlink("../../secret", root.join("a/log")).unwrap();
        fs::hard_link(root.join("a.txt"), root.join("b/log")).unwrap();
        nix::unistd::mkfifo(&root.join("c/log"), Mode::S_IRWXU).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("to-dir", root.join("down")).unwrap();
        for directory in ["a", "b", "c", "up", "down", "a.txt"] {
            assert!(write(directory).is_err(), "{directory}");
        }
        assert_eq!(fs::read(above.path().join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read(root.join("a.txt")).unwrap(), b"a.txt");
        assert!(!above.path().join("log").exists() && !root.join("to-dir/log").exists());
    }

    #[test]
    fn what_is_no_text_file_is_told() {
        let (above, files) = project();
        let root = above.path().join("project");
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRUSR).unwrap();
        fs::write(root.join("binary"), [0xff, 0xfe]).unwrap();
        fs::write(root.join("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert_eq!(files.read("fifo"), Err("fifo is no file".to_owned()));
        assert_eq!(files.read("src"), Err("src is no file".to_owned()));
        assert_eq!(files.read("binary"), Err("binary is no text".to_owned()));
        assert_eq!(
            files.read("large"),
            Err("large is larger than 1048576 bytes".to_owned())
        );
        assert!(files.read("nothing").unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_directory_is_listed_and_below_it_with_a_pattern() {
        let (_above, files) = project();
        assert_eq!(files.list(".", None).unwrap(), [".git/", "a.txt", "src/"]);
        assert_eq!(files.list("src", None).unwrap(), ["b.rs", "deep/"]);
        assert_eq!(
            files.list(".", Some("*.rs")).unwrap(),
            ["src/b.rs", "src/deep/c.rs"]
        );
        assert_eq!(
            files.list(".", Some("dee")).unwrap(),
            ["src/deep/", "src/deep/c.rs"]
        );
        assert!(files.list("a.txt", None).is_err());
    }

    #[test]
    fn patterns_fit_as_a_shell_s_do() {
        for (pattern, path) in [
            ("*", "x"),
            ("*.rs", "a/b.rs"),
            ("s?c/*", "src/x"),
            ("a*b*c", "axbbxc"),
            ("**", ""),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("?", ""), ("*.rs", "b.rsx"), ("a*b", "acbd"), ("?", "ab")] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
        assert!(!fits(&"a*".repeat(500), &"a".repeat(400)));
    }
}
