//! Where the command and what it needs lie on the host, and which directories of that the box must show. A tool below
//! `/usr` needs nothing; one in a home needs its install directory, its links and its interpreter, and nothing else of
//! the home: never a home itself, never a directory where credentials lie.
//! Reads the host's files; mounts nothing.
//! Clauses: B1.
mod places;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

pub(crate) use places::Places;

/// A command that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// What to execute, as a path of the host.
    pub(crate) program: PathBuf,
    /// What the box must show of the host, each once.
    pub(crate) shown: Vec<PathBuf>,
    /// Directories that the host looks programs up in, in order, whether the box shows them or not.
    pub(crate) search: Vec<PathBuf>,
}

/// Why a command cannot be run in the box.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// It lies where the box must not look.
    #[error("{} lies in {}, which the box never shows", program.display(), place.display())]
    Forbidden {
        /// The program, or a part of it.
        program: PathBuf,
        /// Why.
        place: PathBuf,
    },
    /// There is no such program.
    #[error("command not found: {}", name.to_string_lossy().escape_debug())]
    NotFound {
        /// As typed.
        name: OsString,
    },
}

/// Scripts whose interpreter is a script, and so on: the kernel stops at four (fs/exec.c, `exec_binprm`).
const INTERPRETERS_MAX: usize = 4;
/// The kernel follows no more links than this in a path (linux/namei.h, `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// Finds `name` on the host as a shell in `cwd` would, with `path` as its `PATH`.
///
/// # Errors
/// It is not there, or lies where the box never looks.
pub(crate) fn find(
    name: &OsStr,
    path: Option<&OsStr>,
    cwd: &Path,
    places: &Places,
) -> Result<Tool, ToolError> {
    let search = directories(path);
    let program = which(name, &search, cwd).ok_or_else(|| ToolError::NotFound {
        name: name.to_owned(),
    })?;
    let mut tool = Tool {
        program: program.clone(),
        shown: Vec::new(),
        search: Vec::new(),
    };
    let mut programs = VecDeque::from([program]);
    for _ in 0..=INTERPRETERS_MAX {
        let Some(program) = programs.pop_front() else {
            break;
        };
        let real = show(&program, places, &mut tool.shown)?;
        programs.extend(interpreter(&real, &search, cwd));
    }
    tool.search = search;
    Ok(tool)
}

/// A command that the host does not have: the box may, or will say so itself.
pub(crate) fn unknown(name: &OsStr, path: Option<&OsStr>) -> Tool {
    Tool {
        program: PathBuf::from(name),
        shown: Vec::new(),
        search: directories(path),
    }
}

fn directories(path: Option<&OsStr>) -> Vec<PathBuf> {
    let directories = path.map(std::env::split_paths).into_iter().flatten();
    directories
        .filter(|directory| directory.is_absolute())
        .collect()
}

fn which(name: &OsStr, search: &[PathBuf], cwd: &Path) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        let path = cwd.join(name);
        return executable(&path).then_some(path);
    }
    search
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Follows `path` link by link, notes what each step needs shown, and gives the file at the end.
fn show(path: &Path, places: &Places, shown: &mut Vec<PathBuf>) -> Result<PathBuf, ToolError> {
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        // The way there may hold links of its own; both ways must exist in the box.
        note(&at, places, shown)?;
        if let (Some(directory), Some(name)) = (at.parent(), at.file_name())
            && let Ok(directory) = directory.canonicalize()
        {
            at = directory.join(name);
            note(&at, places, shown)?;
        }
        match std::fs::read_link(&at) {
            Ok(target) => at = cleaned(&at.parent().unwrap_or(Path::new("/")).join(target)),
            Err(_) => return Ok(at),
        }
    }
    Err(ToolError::NotFound { name: path.into() })
}

fn note(file: &Path, places: &Places, shown: &mut Vec<PathBuf>) -> Result<(), ToolError> {
    let forbidden = |place: PathBuf| ToolError::Forbidden {
        program: file.to_owned(),
        place,
    };
    if let Some(place) = places.credentials_above(file) {
        return Err(forbidden(place));
    }
    if places.always_visible(file) || shown.iter().any(|root| file.starts_with(root)) {
        return Ok(());
    }
    let root = install_root(file, places);
    // What is inside the new one is shown by it.
    shown.retain(|other| !other.starts_with(&root));
    shown.push(root);
    Ok(())
}

/// The smallest directory that holds all of an installed program, or the file alone where that would show too much.
fn install_root(file: &Path, places: &Places) -> PathBuf {
    let mut before = PathBuf::new();
    for component in file.components() {
        before.push(component);
        let whole = component == Component::Normal("node_modules".as_ref());
        // A package finds its dependencies beside it; the store of nix is one web of links.
        if (whole || before == Path::new("/nix/store")) && places.may_show(&before) {
            return before;
        }
    }
    let directory = file.parent().unwrap_or(file);
    let of_programs = ["bin", "libexec", "sbin", "shims"].map(OsStr::new);
    let prefix = match directory.file_name() {
        Some(name) if of_programs.contains(&name) => directory.parent(),
        Some(_) | None => Some(directory),
    };
    match prefix {
        Some(prefix) if places.may_show(prefix) => prefix.to_owned(),
        Some(_) | None => file.to_owned(),
    }
}

/// The program that a script names in its first line; for `env` also the one that env is to find.
fn interpreter(file: &Path, search: &[PathBuf], cwd: &Path) -> Vec<PathBuf> {
    // linux/binfmts.h BINPRM_BUF_SIZE: the kernel reads no further.
    let mut head = [0; 256];
    let Ok(length) = File::open(file).and_then(|mut file| file.read(&mut head)) else {
        return Vec::new();
    };
    let line = head
        .get(..length)
        .and_then(|head| head.split(|byte| *byte == b'\n').next());
    let Some(line) = line.and_then(|line| line.strip_prefix(b"#!")) else {
        return Vec::new();
    };
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let Some(program) = words
        .next()
        .map(|word| PathBuf::from(OsStr::from_bytes(word)))
    else {
        return Vec::new();
    };
    let mut programs = Vec::new();
    if program.file_name() == Some("env".as_ref()) {
        // `env -S name arguments`, `env VARIABLE=value name`.
        let name = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
        programs.extend(name.and_then(|name| which(OsStr::from_bytes(name), search, cwd)));
    }
    programs.push(program);
    programs
}

/// Without `.` and `..`, by text: the path was canonical up to its last part.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::Prefix(_) | Component::RootDir => {
                clean.push(component);
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests;
