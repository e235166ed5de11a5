//! What `ocs` was started in, read once in `main` and passed on as values: tests pass their own. Reads nothing else.
//! Clauses: U4 (variables are read by name, and only those named here or in the project's `env-passthrough`).
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Which of the standard streams are terminals, and what those can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// A person can be asked.
    pub stdin: bool,
    /// Results are read by a person.
    pub stdout: bool,
    /// Messages are read by a person.
    pub stderr: bool,
    /// Colours are wanted: `NO_COLOR` is not set and `TERM` is not `dumb`.
    pub colour: Colour,
    /// What characters can be drawn.
    pub glyphs: Glyphs,
}

/// Whether a terminal may be coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Never.
    #[default]
    Off,
    /// Where the stream is a terminal.
    Terminal,
}

/// What a terminal can draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// ASCII only.
    #[default]
    Ascii,
    /// Block characters too: the locale says UTF-8.
    Utf8,
}

/// Reads one environment variable by name.
type ReadVariable = dyn Fn(&OsStr) -> Option<OsString>;

/// The surroundings of one invocation.
pub struct World {
    /// The working directory.
    pub cwd: PathBuf,
    /// The user's home, or none where neither `HOME` nor the user database has one.
    pub home: Option<PathBuf>,
    /// Our own executable; `ocs-proxy` and `ocs-netctl` lie beside it, and nowhere else.
    pub exe: PathBuf,
    /// The standard streams.
    pub terminal: Terminal,
    /// When we were started.
    pub now: SystemTime,
    variables: Box<ReadVariable>,
}

impl World {
    /// The surroundings of this very process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let variables = |name: &OsStr| std::env::var_os(name);
        Self {
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            home: home(&variables),
            exe: std::env::current_exe().unwrap_or_default(),
            terminal: terminal(&variables),
            now: SystemTime::now(),
            variables: Box::new(variables),
        }
    }

    /// Surroundings made of values: no terminal, no variables but those given.
    #[must_use]
    pub fn of(cwd: &Path, home: &Path, variables: Vec<(&'static str, &'static str)>) -> Self {
        Self {
            cwd: cwd.to_owned(),
            home: Some(home.to_owned()),
            exe: PathBuf::from("/nowhere/ocs"),
            terminal: Terminal::default(),
            now: SystemTime::UNIX_EPOCH,
            variables: Box::new(move |name| {
                variables
                    .iter()
                    .find(|(key, _)| OsStr::new(key) == name)
                    .map(|(_, value)| value.into())
            }),
        }
    }

    /// The value of one environment variable; set but empty is a value.
    #[must_use]
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        (self.variables)(name.as_ref())
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("cwd", &self.cwd)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

fn home(variables: &ReadVariable) -> Option<PathBuf> {
    let named = variables(OsStr::new("HOME"))
        .map(PathBuf::from)
        .filter(|home| home.is_absolute());
    named.or_else(|| {
        nix::unistd::User::from_uid(nix::unistd::geteuid())
            .ok()
            .flatten()
            .map(|user| user.dir)
    })
}

fn terminal(variables: &ReadVariable) -> Terminal {
    let text =
        |name: &str| variables(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
    let filled = |name: &str| text(name).filter(|value| !value.is_empty());
    let plain = filled("NO_COLOR").is_some() || filled("TERM").is_none_or(|term| term == "dumb");
    // POSIX.1-2017 section 8.2: LC_ALL before LC_CTYPE before LANG.
    let locale = filled("LC_ALL")
        .or_else(|| filled("LC_CTYPE"))
        .or_else(|| filled("LANG"))
        .unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    Terminal {
        stdin: std::io::stdin().is_terminal(),
        stdout: std::io::stdout().is_terminal(),
        stderr: std::io::stderr().is_terminal(),
        colour: if plain { Colour::Off } else { Colour::Terminal },
        glyphs: if locale.contains("utf-8") || locale.contains("utf8") {
            Glyphs::Utf8
        } else {
            Glyphs::Ascii
        },
    }
}
