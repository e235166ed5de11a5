//! Bubblewrap: where it is, and the arguments that make a view of it. Builds arguments and the files they name; runs
//! nothing. Arguments go to it through a descriptor, so that no value of the environment is on a command line.
//! Clauses: B1, B3, B6.
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::seccomp;
use super::view::{Entry, Ids, View};

/// Where distributions put it. `PATH` is not asked: it may lead into a project.
pub(crate) const PLACES: [&str; 4] = [
    "/usr/bin/bwrap",
    "/bin/bwrap",
    "/usr/local/bin/bwrap",
    "/run/current-system/sw/bin/bwrap",
];

/// The program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    PLACES
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_file())
}

/// An argument for bubblewrap.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Argument {
    /// The number of a descriptor that ends when the box is gone.
    Alive,
    /// As it is, where that is no text.
    Bytes(Vec<u8>),
    /// The number of a descriptor that holds this; it is read to its end and closed.
    Content(String),
    /// The number of a descriptor that holds this one of the system call filters.
    Filter(usize),
    /// As it is.
    Text(String),
}

impl Argument {
    fn of(text: impl AsRef<OsStr>) -> Self {
        match text.as_ref().to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(text.as_ref().as_bytes().to_vec()),
        }
    }
}

/// What a box is made of.
#[derive(Debug)]
pub(crate) struct Box<'a> {
    pub(crate) view: &'a View,
    pub(crate) ids: Ids,
    pub(crate) environment: &'a [(OsString, OsString)],
    /// The working directory in the box.
    pub(crate) directory: &'a Path,
}

/// The arguments, without the command.
pub(crate) fn arguments(wanted: &Box<'_>) -> Vec<Argument> {
    let mut arguments = List(Vec::new());
    arguments.add([
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--disable-userns",
        "--die-with-parent",
        "--cap-drop",
        "ALL",
        "--hostname",
        "sandbox",
    ]);
    arguments.add(["--uid".to_owned(), wanted.ids.uid.to_string()]);
    arguments.add(["--gid".to_owned(), wanted.ids.gid.to_string()]);
    for entry in &wanted.view.entries {
        arguments.entry(entry);
    }
    arguments.add([OsStr::new("--chdir"), wanted.directory.as_os_str()]);
    arguments.add(["--clearenv"]);
    for (name, value) in wanted.environment {
        arguments.add([OsStr::new("--setenv"), name, value]);
    }
    for filter in 0..seccomp::COUNT {
        arguments.add(["--add-seccomp-fd"]);
        arguments.0.push(Argument::Filter(filter));
    }
    arguments.add(["--sync-fd"]);
    arguments.0.push(Argument::Alive);
    arguments.0
}

struct List(Vec<Argument>);

impl List {
    fn add<A: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) {
        self.0.extend(arguments.into_iter().map(Argument::of));
    }

    fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Devices(at) => self.at("--dev", at),
            Entry::Directory { at, mode } => {
                self.add(["--perms", mode]);
                self.at("--dir", at);
            }
            Entry::File { at, text } => {
                self.add(["--perms", "0444", "--ro-bind-data"]);
                self.0.push(Argument::Content(text.clone()));
                self.add([at]);
            }
            Entry::Fresh { at, mode, bytes } => {
                self.add(["--perms", mode, "--size", &bytes.to_string()]);
                self.at("--tmpfs", at);
            }
            Entry::Link { at, to } => {
                self.at("--symlink", to);
                self.add([at]);
            }
            Entry::Processes(at) => self.at("--proc", at),
            Entry::ReadOnly { from, at } => {
                self.at("--ro-bind", from);
                self.add([at]);
            }
            Entry::ReadWrite { from, at } => {
                self.at("--bind", from);
                self.add([at]);
            }
            Entry::Sealed(at) => self.at("--remount-ro", at),
        }
    }

    fn at(&mut self, option: &str, path: &Path) {
        self.add([OsStr::new(option), path.as_os_str()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::native::view::{View, Wanted};

    fn arguments_of(environment: &[(OsString, OsString)]) -> Vec<Argument> {
        let wanted = Wanted {
            project: Path::new("/home/u/app"),
            shown: &[],
            ourselves: Path::new("/usr/bin/env"),
            ids: Ids::of(0, 0),
            memory_bytes: 1 << 30,
        };
        let view = View::of(&wanted).unwrap();
        arguments(&Box {
            view: &view,
            ids: wanted.ids,
            environment,
            directory: Path::new("/app"),
        })
    }

    fn has(arguments: &[Argument], wanted: &[&str]) -> bool {
        let wanted: Vec<Argument> = wanted.iter().map(Argument::of).collect();
        arguments
            .windows(wanted.len())
            .any(|window| window == wanted)
    }

    #[test]
    fn b3_every_namespace_but_the_network_s_is_new_and_no_capability_is_kept() {
        let arguments = arguments_of(&[]);
        for option in ["user", "pid", "ipc", "uts"] {
            assert!(
                has(&arguments, &[&format!("--unshare-{option}")]),
                "{option}"
            );
        }
        for options in [
            &["--cap-drop", "ALL"][..],
            &["--disable-userns"],
            &["--die-with-parent"],
            &["--clearenv"],
        ] {
            assert!(has(&arguments, options), "{options:?}");
        }
        // It is joined already, and it is the fence.
        assert!(!has(&arguments, &["--unshare-net"]) && !has(&arguments, &["--unshare-all"]));
        assert!(!has(&arguments, &["--cap-add"]));
    }

    #[test]
    fn variables_are_set_after_the_host_s_are_cleared() {
        let arguments = arguments_of(&[("A".into(), "b c".into()), ("E".into(), "".into())]);
        assert!(has(
            &arguments,
            &["--clearenv", "--setenv", "A", "b c", "--setenv", "E", ""]
        ));
    }

    #[test]
    fn b4_both_seccomp_programs_are_there_in_their_order() {
        let arguments = arguments_of(&[]);
        let expected = [
            Argument::of("--add-seccomp-fd"),
            Argument::Filter(0),
            Argument::of("--add-seccomp-fd"),
            Argument::Filter(1),
        ];
        assert!(arguments.windows(4).any(|window| window == expected));
    }
}
